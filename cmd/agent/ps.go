package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/pkg/cri"
)

var containerStates = []string{"Created", "Running", "Exited", "Unknown"}

func psCommand(p *program) *cobra.Command {
	var l listing
	var pod, image string
	var all, resolve bool
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "List the containers on this node",
		Long: `Lists the containers that run on this node, the newest first; with --all, --state, --latest or --last the others too. Flags and columns
are those of crictl, but for -r, which names the runtime's socket here as everywhere.

Exit codes: 0; 2 could not tell or wrong use.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := l.validate(containerStates); err != nil {
				return err
			}
			switch {
			case l.latest || l.last > 0:
				l.state = "" // of all of them, whatever else was said
			case l.state == "" && !all:
				l.state = "running"
			}
			client, _, err := p.settings.runtime()
			if err != nil {
				return err
			}
			defer func() { _ = client.Close() }()
			containers, err := containersOf(cmd.Context(), client, pod, image)
			if err != nil {
				return err
			}
			containers = keep(&l, containers, func(c *runtimeapi.Container) listedAs {
				namespace, _ := cri.PodOf(c.GetLabels())
				return listedAs{c.GetMetadata().GetName(), namespace, stateWord(c.GetState(), containerStates)}
			})
			var images cri.ImageIndex
			if resolve && l.format == "table" {
				list, err := client.ListImages(cmd.Context())
				if err != nil {
					return err
				}
				images = cri.IndexImages(list)
			}
			return p.printContainers(&l, containers, images)
		},
	}
	l.flags(cmd.Flags(), "container", containerStates)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "containers in every state, not only those that run")
	cmd.Flags().StringVarP(&pod, "pod", "p", "", "only containers of the pod sandbox with this ID, or the start of it")
	cmd.Flags().StringVar(&image, "image", "", "only containers of this image, by reference or ID")
	cmd.Flags().BoolVar(&resolve, "resolve-image-path", false, "show the image's name instead of its ID")
	return cmd
}

// containersOf lists the containers in a pod sandbox and of an image, where these are named.
func containersOf(ctx context.Context, client *cri.Client, pod, image string) (some []*runtimeapi.Container, err error) {
	var only cri.ImageIndex
	if image != "" {
		found, _, err := client.ImageStatus(ctx, image, false)
		if found == nil {
			return nil, err
		}
		only = cri.IndexImages([]*runtimeapi.Image{found})
	}
	all, err := client.ListContainers(ctx)
	for _, c := range all {
		if strings.HasPrefix(c.GetPodSandboxId(), pod) && (image == "" || only.Of(c) != nil) {
			some = append(some, c)
		}
	}
	return some, err
}

func (p *program) printContainers(l *listing, containers []*runtimeapi.Container, images cri.ImageIndex) error {
	now := time.Now()
	ids := make([]string, 0, len(containers))
	rows := [][]string{{"CONTAINER", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD ID", "POD", "NAMESPACE"}}
	for _, c := range containers {
		ids = append(ids, c.GetId())
		image := c.GetImage().GetImage()
		if strings.HasPrefix(image, "sha256:") {
			image = l.shown(image)
		}
		if tags := images.Of(c).GetRepoTags(); len(tags) > 0 {
			image = tags[0]
		}
		namespace, pod := cri.PodOf(c.GetLabels())
		rows = append(rows, []string{
			l.shown(c.GetId()), image, ago(c.GetCreatedAt(), now), stateWord(c.GetState(), containerStates), c.GetMetadata().GetName(),
			strconv.FormatUint(uint64(c.GetMetadata().GetAttempt()), 10), l.shown(c.GetPodSandboxId()), pod, namespace,
		})
	}
	return l.print(p, &runtimeapi.ListContainersResponse{Containers: containers}, ids, rows)
}
