package main

import (
	"cmp"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

var podStates = []string{"Ready", "NotReady"}

func podsCommand(p *program) *cobra.Command {
	var l listing
	cmd := &cobra.Command{
		Use:   "pods",
		Short: "List the pod sandboxes on this node",
		Long: `Lists the pod sandboxes on this node, the newest first. Flags and columns are those of crictl.

A pod whose sandbox image cannot be pulled has none: "pullwatch failures" shows it.

Exit codes: 0; 2 could not tell or wrong use.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := l.validate(podStates); err != nil {
				return err
			}
			client, _, err := p.settings.runtime()
			if err != nil {
				return err
			}
			defer func() { _ = client.Close() }()
			pods, err := client.ListPodSandboxes(cmd.Context())
			if err != nil {
				return err
			}
			return p.printPods(&l, keep(&l, pods, func(s *runtimeapi.PodSandbox) listedAs {
				return listedAs{s.GetMetadata().GetName(), s.GetMetadata().GetNamespace(), stateWord(s.GetState(), podStates)}
			}))
		},
	}
	l.flags(cmd.Flags(), "pod", podStates)
	return cmd
}

func (p *program) printPods(l *listing, pods []*runtimeapi.PodSandbox) error {
	now := time.Now()
	ids := make([]string, 0, len(pods))
	rows := [][]string{{"POD ID", "CREATED", "STATE", "NAME", "NAMESPACE", "ATTEMPT", "RUNTIME"}}
	for _, s := range pods {
		ids = append(ids, s.GetId())
		rows = append(rows, []string{
			l.shown(s.GetId()), ago(s.GetCreatedAt(), now), stateWord(s.GetState(), podStates), s.GetMetadata().GetName(), s.GetMetadata().GetNamespace(),
			strconv.FormatUint(uint64(s.GetMetadata().GetAttempt()), 10), cmp.Or(s.GetRuntimeHandler(), "(default)"),
		})
	}
	return l.print(p, &runtimeapi.ListPodSandboxResponse{Items: pods}, ids, rows)
}
