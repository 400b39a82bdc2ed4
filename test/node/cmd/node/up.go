package main

import (
	"context"
	"fmt"
	"os"

	"github.com/pullwatch/pullwatch/test/node"
)

func up(ctx context.Context, f flags, _ []string) error {
	_, err := node.Start(ctx, f.options())
	return err
}

func down(_ context.Context, f flags, _ []string) error {
	err := node.Sweep()
	n, openErr := node.Open(f.dir)
	if openErr != nil { // nothing to take down is what was asked for
		fmt.Fprintln(os.Stderr, "no node in", f.dir)
		return err
	}
	if err := n.Down(); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "the node in", f.dir, "is down, nothing of it is left")
	return err
}

func status(ctx context.Context, f flags, _ []string) error {
	n, err := node.Open(f.dir)
	if err != nil {
		return err
	}
	running := n.Running()
	for _, part := range node.PartNames {
		state := "ended, see " + n.LogFile(part)
		if running[part] {
			state = fmt.Sprintf("pid %d", n.PID(part))
		}
		fmt.Printf("%-12s %s\n", part, state)
	}
	fmt.Printf("\nnode         %s (kubelet %s, containerd %s)\nkubeconfig   %s\nruntime      %s\nregistry     %s\n",
		n.NodeName, n.Options.Kubelet, n.Options.Containerd, n.Kubeconfig(node.Admin), n.CRISocket(), n.RegistryAddr())
	fmt.Printf("\nbreakages\n")
	for _, b := range n.Possible() {
		fmt.Printf("  %-20s %s\n", b.Name, b.What)
	}
	if !n.Up() {
		return fmt.Errorf("not all parts run\nlook into the logs above, or start over: make down")
	}
	return nil
}
