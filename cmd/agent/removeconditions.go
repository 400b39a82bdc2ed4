package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pullwatch/pullwatch/internal/health"
)

func removeConditionsCommand(p *program) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "remove-conditions",
		Short: "Take Pullwatch's conditions off this node, or off all",
		Long: `Takes the conditions that Pullwatch writes off this node's status, or with --all-nodes off every node's: what to do last when it is
uninstalled, since a condition stays for as long as its node where nobody removes it. Stop the agents first: they write theirs again.

It needs the right to patch nodes/status, and with --all-nodes to list nodes.

Exit codes: 0 they are off; 2 it could not be done, or wrong use.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			k, err := p.settings.kube()
			if err != nil {
				return withHint(err, "Name an API server with --kubeconfig.")
			}
			nodes := []string{p.settings.nodeName}
			if all {
				if nodes, err = k.NodeNames(cmd.Context()); err != nil {
					return err
				}
			}
			var types []string
			for _, t := range health.Types {
				types = append(types, string(t))
			}
			var failed []error
			for i, node := range nodes {
				if err := k.RemoveConditions(cmd.Context(), node, types); err != nil {
					failed = append(failed, err)
				}
				if n := i + 1; n%100 == 0 {
					p.note("%d of %d nodes", n, len(nodes))
				}
			}
			if len(failed) > 0 {
				return withHint(fmt.Errorf("conditions are left on %d of %d nodes: %w", len(failed), len(nodes), errors.Join(failed[:min(len(failed), 3)]...)),
					"Grant the right to patch nodes/status and run it again.")
			}
			_, err = fmt.Fprintf(p.stdout, "The conditions are off %d node(s).\n", len(nodes))
			return err
		},
	}
	cmd.Flags().BoolVar(&all, "all-nodes", false, "off every node of the cluster")
	return cmd
}
