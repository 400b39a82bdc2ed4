package filled

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"
)

var (
	update = flag.Bool("update", false, "write docs/disk-filled.md")
	quick  = flag.Bool("quick", false, "leave out what waits for garbage collection")
	only   = flag.String("case", "", "regular expression: the cases to try")
)

func TestMain(m *testing.M) {
	flag.Parse()
	// What the disks do is wait, so that it is not the processors' number that limits how many do at a time.
	if err := flag.Set("test.parallel", strconv.Itoa(len(disks))); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// TestDisks fills the disks and compares what the kubelet says with what was said before.
func TestDisks(t *testing.T) {
	if testing.Short() {
		t.Skip("several nodes, which make e2e brings up")
	}
	match := regexp.MustCompile(*only)
	for i := range disks {
		d := disks[i]
		d.Cases = slices.DeleteFunc(slices.Clone(d.Cases), func(c Case) bool { return !match.MatchString(c.Name) || c.Slow && *quick })
		if len(d.Cases) == 0 {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			l, err := newLab(t.Context(), &d, os.Stderr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := l.close(); err != nil {
					t.Error(err)
				}
			})
			for i := range d.Cases {
				t.Run(d.Cases[i].Name, func(t *testing.T) {
					c := &d.Cases[i]
					begin := time.Now()
					r, err := l.try(t.Context(), c)
					if err != nil {
						t.Fatal(err)
					}
					t.Logf("%s", time.Since(begin).Round(time.Second))
					r.check(t, c)
				})
			}
		})
	}
}

// result is what both sides said in a case.
type result struct {
	said    figures // by Pullwatch, before
	summary figures // by the kubelet in /stats/summary, before; nil while it was held
	told    *told   // by the kubelet, then
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
	before, err := l.log()
	if err != nil {
		return nil, err
	}
	since := time.Now()
	if err := l.startKubelet(ctx); err != nil {
		return nil, err
	}
	if _, err := l.observe(ctx, 0); err != nil {
		return nil, err
	}
	if err := errors.Join(l.run(ctx, c.Images), l.pull(ctx, c.Late)); err != nil {
		return nil, err
	}
	settings, err := l.settings(ctx)
	if err != nil {
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
	if r.said, err = l.said(ctx, settings); err != nil {
		return nil, err
	}
	if c.Fill != (fill{}) {
		if err := l.hold(false); err != nil {
			return nil, err
		}
	} else if r.summary, err = l.asks.summary(ctx); err != nil && c.Says != nil {
		return nil, err
	}
	limit := patienceEviction
	if c.Slow {
		limit = patience
	}
	last := is
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
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the kubelet did not do it within %s\nit said %q and removed %d images; the disk %v", limit, r.told.events, r.told.removed, last)
		}
		last = now
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return nil, err
		}
	}
	if err := l.clear(ctx); err != nil {
		return nil, err
	}
	return r, l.StopKubelet()
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

// check holds what both said against each other and the case.
func (r *result) check(t *testing.T, c *Case) {
	t.Helper()
	for _, e := range r.told.events {
		t.Logf("%s: %s", e.Reason, e.Text)
	}
	t.Logf("removed %d", r.told.removed)
	for _, name := range slices.Sorted(maps.Keys(r.told.figures)) {
		t.Logf("%-30s kubelet %15s, said before %15s", name, number(r.told.figures[name]), number(r.said[name]))
	}
	t.Logf("summary %v", r.summary)
	t.Logf("said %v", r.said)
}
