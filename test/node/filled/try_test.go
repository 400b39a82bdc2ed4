package filled

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	patienceEviction = 45 * time.Second
)

// try brings one case about.
func (l *lab) try(ctx context.Context, c *Case) (*result, error) {
	if err := errors.Join(l.configure(c.Settings), l.pull(ctx, c.Images)); err != nil {
		return nil, err
	}
	l.entered = slices.Concat(c.Images, c.Late)
	if err := l.startKubelet(ctx); err != nil {
		return nil, err
	}
	if err := l.startAgent(ctx); err != nil {
		return nil, err
	}
	if err := errors.Join(l.run(ctx, c.Images), l.pull(ctx, c.Late), l.waitAgent(ctx)); err != nil {
		return nil, err
	}
	r := &result{}
	rest := stale
	if c.Fill != (fill{}) { // while it is held, the kubelet does not see how it comes about
		if err := errors.Join(l.hold(true), l.write(c.Fill)); err != nil {
			return nil, err
		}
		rest = 3 * time.Second
	}
	is, err := l.freeze(ctx, rest)
	if err != nil {
		return nil, err
	}
	looked := time.Now()
	if c.Slow {
		looked = looked.Add(imagesLookedAt)
	}
	if r.said, err = l.said(ctx, looked); err != nil {
		return nil, err
	}
	// What the kubelet says when it starts is not looked at: whether it collects then depends on whether its statistics are there yet.
	before, err := l.log()
	if err != nil {
		return nil, err
	}
	since := time.Now()
	if c.Fill != (fill{}) {
		if err := l.hold(false); err != nil {
			return nil, err
		}
	} else if r.summary, err = l.asks.summary(ctx); err != nil && !c.Blind {
		return nil, err
	}
	limit := patienceEviction
	if c.Slow {
		limit = patience
	}
	for deadline := time.Now().Add(limit); ; {
		// The disk is looked at first: what the kubelet does changes it.
		now, err := l.statfs()
		if err != nil {
			return nil, err
		}
		if r.told, err = l.told(ctx, before, since); err != nil {
			return nil, err
		}
		acts := len(r.told.says()) > 0 || r.told.figures["wantedBytes"] != 0
		if !acts && !maps.Equal(now, is) {
			return nil, fmt.Errorf("the disk changed before the kubelet looked: from %v to %v", is, now)
		}
		if done(c, r.told) {
			break
		}
		if !acts && c.Slow { // no condition comes about in the seconds for which a kubelet is held
			if r.condition, err = l.condition(ctx); err != nil {
				return nil, err
			}
		}
		if time.Now().After(deadline) {
			if c.Says == nil && c.Removes == 0 {
				break
			}
			return nil, fmt.Errorf("the kubelet did not do it within %s\nit said %q and deleted %d images", limit, r.told.events, r.told.removed)
		}
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return nil, err
		}
	}
	// It may delete more than the case wants.
	if err := sleep(ctx, 2*time.Second); err != nil {
		return nil, err
	}
	if r.told, err = l.told(ctx, before, since); err != nil {
		return nil, err
	}
	if err := l.clear(ctx); err != nil {
		return nil, err
	}
	return r, errors.Join(l.Stop(agentPart), l.StopKubelet())
}

// done tells that the kubelet has done all that the case is to see.
func done(c *Case, t *told) bool {
	for _, reason := range c.Says {
		if !slices.Contains(t.says(), reason) {
			return false
		}
	}
	return t.removed >= c.Removes && (len(c.Says) > 0 || c.Removes > 0)
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

// check holds what both said against each other and against the case.
func (r *result) check(t *testing.T, c *Case, fs string) {
	t.Helper()
	if !slices.Equal(r.told.says(), c.Says) {
		t.Errorf("the kubelet says %q, want %q", r.told.events, c.Says)
	}
	if r.told.removed != c.Removes {
		t.Errorf("the kubelet deletes %d images, want %d", r.told.removed, c.Removes)
	}
	condition := ""
	if r.condition != nil {
		condition = r.condition.Reason
	}
	if condition != c.Condition {
		t.Errorf("before that, the reason of the condition is %q, want %q", condition, c.Condition)
	}
	kubelet := r.kubelet()
	for _, name := range r.compared() {
		said, ok := r.said[name]
		switch differs := slices.Contains(c.Differs, name); {
		case !ok:
			t.Errorf("%s: the kubelet has %d, and nothing was said", name, kubelet[name])
		case (said == kubelet[name]) == differs:
			t.Errorf("%s: the kubelet has %s, and %s was said before", name, number(kubelet[name]), number(said))
		}
	}
	for _, name := range c.wanted(fs) {
		if _, ok := kubelet[name]; !ok {
			t.Errorf("%s: the kubelet has not told it, so nothing is tested", name)
		}
	}
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
