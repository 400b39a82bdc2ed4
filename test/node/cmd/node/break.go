package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pullwatch/pullwatch/test/node"
)

// breakPods breaks what is named, or all that can be; it returns once the kubelet says so of each.
func breakPods(ctx context.Context, f flags, names []string) error {
	n, err := node.Open(f.dir)
	if err != nil {
		return err
	}
	list := n.Possible()
	if len(names) > 0 {
		list = nil
		for _, name := range names {
			b, err := node.FindBreakage(name)
			if err != nil {
				return fmt.Errorf("%w\n%w", err, errUsage)
			}
			list = append(list, b)
		}
	}
	p := node.NewProgress(os.Stderr)
	if err := makeBroken(ctx, n, list, p); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, b := range list {
		wg.Go(func() {
			if errs[i] = n.Shows(ctx, b); errs[i] == nil {
				p.Say("%s shows", b.Name)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// makeBroken makes the breakages, in the given order.
func makeBroken(ctx context.Context, n *node.Node, list []node.Breakage, p *node.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for _, b := range list {
		if err := n.Break(ctx, b); err != nil {
			return err
		}
		p.Say("broke %s: %s", b.Name, b.What)
	}
	return nil
}

func mend(ctx context.Context, f flags, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("mend what?\n%w", errUsage)
	}
	n, err := node.Open(f.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		b, err := node.FindBreakage(name)
		if err != nil {
			return err
		}
		if err := n.Mend(ctx, b); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "mended %s; the kubelet tries again within 5 minutes, sooner while the failure is young\n", name)
	}
	return nil
}

func texts(ctx context.Context, f flags, _ []string) error {
	n, err := node.Open(f.dir)
	if err != nil {
		return err
	}
	all, err := n.Texts(ctx)
	if err != nil {
		return err
	}
	oneLine := strings.NewReplacer("\n", `\n`, "\t", `\t`)
	for _, t := range all {
		fmt.Printf("%s\t%s\t%s\t%s\n", t.Pod, t.Reason, oneLine.Replace(t.Message), t.Image)
	}
	return nil
}
