package filled

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pullwatch/pullwatch/test/node"
)

// result is what both sides said in a case.
type result struct {
	said    figures // by Pullwatch, before
	summary figures // by the kubelet in /stats/summary, before; nil while it was held
	told    *told   // by the kubelet, then
	// condition is ImageFilesystemPressure before that, where it was true.
	condition *corev1.NodeCondition
}

// patience is how long the kubelet may take: 5 minutes between two collections, 10 s between two looks at evictions, and some.
const (
	patience         = 5*time.Minute + 40*time.Second
	patienceEviction = 90 * time.Second
)

// try brings one case about.
func (l *lab) try(ctx context.Context, c *Case) (*result, error) {
	if err := l.prepare(ctx, c); err != nil {
		return nil, err
	}
	r := &result{}
	is, err := l.before(ctx, c, r)
	if err != nil {
		return nil, err
	}
	if err := l.then(ctx, c, is, r); err != nil {
		return nil, err
	}
	return r, errors.Join(l.Stop(agentPart), l.clear(ctx))
}

// prepare has the case's images on the disk, and the kubelet and Pullwatch running. What the kubelet is to see as old is there before it.
func (l *lab) prepare(ctx context.Context, c *Case) error {
	l.entered = slices.Concat(c.Images, c.Late)
	for _, step := range []func() error{
		func() error { return l.configure(c.Settings) },
		func() error { return l.pull(ctx, c.Images) },
		func() error {
			if !c.Sandbox {
				return nil
			}
			return l.PullImage(ctx, l.SandboxImage())
		},
		func() error { return l.startKubelet(ctx) },
		l.startAgent,
		func() error { return l.run(ctx, c.Images) },
		func() error { return l.pull(ctx, c.Late) },
		func() error { return l.waitAgent(ctx) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// before fills the disk and asks Pullwatch. It returns what the kernel says of the disk, which does not change any more until the kubelet
// acts. A kubelet that looks every 10 s is held meanwhile: it sees the disk full or not at all.
func (l *lab) before(ctx context.Context, c *Case, r *result) (figures, error) {
	held, rest := c.held(), stale
	if held {
		if err := errors.Join(l.hold(true), l.write(ctx, c.Fill)); err != nil {
			return nil, err
		}
		rest = 3 * time.Second
	}
	is, err := l.freeze(ctx, rest)
	if err != nil {
		return nil, err
	}
	look := time.Now()
	if c.Slow {
		look = look.Add(imagesLookedAt)
	}
	if r.said, err = l.said(ctx, look); err != nil || held {
		return is, err
	}
	if r.summary, err = l.asks.summary(ctx); c.Blind {
		err = nil
	}
	return is, err
}

func (c *Case) held() bool { return c.Fill != fill{} }

// then waits until the kubelet has done what the case is to see. What it said when it started is not looked at: whether it collects then
// depends on whether its statistics are there yet.
func (l *lab) then(ctx context.Context, c *Case, is figures, r *result) error {
	before, err := l.log()
	if err != nil {
		return err
	}
	since, limit := time.Now(), patience
	if c.held() {
		if err := l.hold(false); err != nil {
			return err
		}
		limit = patienceEviction
	}
	for {
		// The disk is looked at first: what the kubelet does changes it.
		now, err := l.statfs()
		if err != nil {
			return err
		}
		if r.told, err = l.told(ctx, before, since); err != nil {
			return err
		}
		acts := len(r.told.events) > 0 || len(r.told.figures) > 0
		switch {
		case r.told.done(c):
			return l.settle(ctx, before, since, r)
		case !acts && !maps.Equal(now, is):
			return fmt.Errorf("the disk changed before the kubelet looked: from %v to %v", is, now)
		case time.Since(since) > limit:
			return fmt.Errorf("the kubelet did not do it within %s\nit said %q and deleted %d images", limit, r.told.events, r.told.removed)
		case !acts && c.Slow: // no condition comes about in the seconds for which a kubelet is held
			if r.condition, err = l.condition(ctx); err != nil {
				return err
			}
		}
		if err := node.Sleep(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
}

// settle waits for what the kubelet does beyond the case.
func (l *lab) settle(ctx context.Context, before string, since time.Time, r *result) error {
	err := node.Sleep(ctx, 2*time.Second)
	if err == nil {
		r.told, err = l.told(ctx, before, since)
	}
	return err
}

// done tells that the kubelet has done all that the case is to see.
func (t *told) done(c *Case) bool {
	for _, reason := range c.Says {
		if !slices.Contains(t.says(), reason) {
			return false
		}
	}
	return t.removed >= c.Removes
}

// names are those of figures, in the order in which they are told.
var names = strings.Fields(`usedPercent highPercent lowPercent wantedBytes reclaimableBytes sizeBytes availableBytes inodes inodesFree`)

// compared are the names of the figures that the kubelet told.
func (r *result) compared() []string {
	list := slices.Collect(maps.Keys(r.kubelet()))
	slices.SortFunc(list, func(a, b string) int {
		if x, y := slices.Index(names, a), slices.Index(names, b); x >= 0 && y >= 0 {
			return x - y
		}
		return strings.Compare(a, b)
	})
	return list
}

// kubelet are all figures that it told.
func (r *result) kubelet() figures {
	all := maps.Clone(r.told.figures)
	maps.Copy(all, r.summary)
	return all
}

// wanted are the figures without which nothing is compared.
func (c *Case) wanted(fs string) []string {
	switch {
	case c.Blind:
		return nil
	case c.Slow && slices.Contains(c.Says, "FreeDiskSpaceFailed"):
		return names
	case c.Slow:
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "reclaimableBytes" })
	case c.Fill.LeaveInodes > 0:
		return []string{fs + ".inodesFree", fs + ".inodesFree" + capacity, fs + ".inodesFree" + below}
	}
	return []string{fs + ".available", fs + ".available" + capacity, fs + ".available" + below}
}
