package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/pullwatch/pullwatch/test/node"
)

func up(ctx context.Context, f flags, _ []string) error {
	_, err := node.Start(ctx, f.options())
	return err
}

// bringUp starts a node, unless the one that is wanted is up.
func bringUp(ctx context.Context, o node.Options, p *node.Progress) (*node.Node, error) {
	n, err := node.Open(o.Dir)
	if err != nil || !n.Up() {
		return node.Start(ctx, o)
	}
	if n.RuntimeOnly != o.RuntimeOnly || !o.RuntimeOnly && (n.Options.Containerd != o.Containerd || n.Options.Kubelet != o.Kubelet) {
		return nil, fmt.Errorf("another node is up in %s: containerd %s, %s\ntake it down first: make down", n.Dir, n.Options.Containerd, kubeletOf(n))
	}
	n.SetProgress(p)
	p.Say("the node in %s is up", n.Dir)
	return n, nil
}

func kubeletOf(n *node.Node) string {
	if n.RuntimeOnly {
		return "no kubelet"
	}
	return "kubelet " + n.Options.Kubelet
}

// down takes down the node in --dir, else those of demo and quickstart.
func down(_ context.Context, f flags, _ []string) error {
	dirs := []string{f.dir}
	if f.dir == "" {
		dirs = []string{node.DemoDir, node.QuickstartDir}
	}
	errs := []error{node.Sweep()}
	for _, dir := range dirs {
		n, err := node.Open(dir)
		if err != nil { // nothing to take down is what was asked for
			fmt.Fprintln(os.Stderr, "no node in", dir)
			continue
		}
		if err := n.Down(); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintln(os.Stderr, "the node in", dir, "is down, nothing of it is left")
	}
	return errors.Join(errs...)
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
