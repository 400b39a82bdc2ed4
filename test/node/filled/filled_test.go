package filled

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
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
	var mu sync.Mutex
	rows := map[string]string{}
	t.Run("all", func(t *testing.T) {
		for i := range disks {
			d := disks[i]
			d.Cases = slices.DeleteFunc(slices.Clone(d.Cases), func(c Case) bool { return !match.MatchString(c.Name) || c.Slow && *quick })
			if len(d.Cases) == 0 {
				continue
			}
			t.Run(d.Name, func(t *testing.T) {
				t.Parallel()
				l := startLab(t, &d)
				for i := range d.Cases {
					c := &d.Cases[i]
					ok := t.Run(c.Name, func(t *testing.T) {
						begin := time.Now()
						r, err := l.try(t.Context(), c)
						if err != nil {
							t.Fatal(err)
						}
						t.Logf("%s", time.Since(begin).Round(time.Second))
						r.check(t, c, l.fs)
						mu.Lock()
						defer mu.Unlock()
						rows[c.Name] = r.row(c)
					})
					if !ok {
						break // the disk is not as the next one wants it
					}
				}
			})
		}
	})
	keep(t, rows, nil)
}

// startLab brings a lab up for as long as the test lasts.
func startLab(t *testing.T, d *Disk) *lab {
	t.Helper()
	l, err := newLab(t.Context(), d, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	return l
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

var page sync.Mutex

// keep writes rows into the page, or holds them against what it has.
func keep(t *testing.T, filled, configured map[string]string) {
	t.Helper()
	page.Lock()
	defer page.Unlock()
	_, haveFilled, haveConfigured, err := readPage()
	if err != nil && !*update {
		t.Fatal(err)
	}
	for _, of := range []struct{ have, now map[string]string }{{haveFilled, filled}, {haveConfigured, configured}} {
		for name, row := range of.now {
			switch {
			case *update:
				of.have[name] = row
			case shape(of.have[name]) != shape(row):
				t.Errorf("%s: %s has\n%sand it is now\n%s", name, pageFile, of.have[name], row)
			}
		}
	}
	if *update && !t.Failed() {
		if err := os.WriteFile(pageFile, []byte(document(haveFilled, haveConfigured)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPage holds what can be seen without a run: the page has a row for each case and each configuration and no other.
func TestPage(t *testing.T) {
	text, filled, configured, err := readPage()
	if err != nil {
		t.Fatal(err)
	}
	if text != document(filled, configured) {
		t.Errorf("%s is not what is rendered of the tables: run make filled", pageFile)
	}
	seen := map[string]bool{}
	for _, d := range disks {
		for _, c := range d.Cases {
			if filled[c.Name] == "" || seen[c.Name] {
				t.Errorf("%s: no row, or two", c.Name)
			}
			seen[c.Name] = true
			if len(c.Says) == 0 && c.Removes == 0 {
				t.Errorf("%s: nothing is waited for", c.Name)
			}
			if len(c.Differs) > 0 && c.Note == "" {
				t.Errorf("%s: a difference without a reason", c.Name)
			}
		}
	}
	for _, c := range configurations {
		if configured[c.Name] == "" || seen[c.Name] {
			t.Errorf("%s: no row, or two", c.Name)
		}
		seen[c.Name] = true
	}
	if len(seen) != len(filled)+len(configured) {
		t.Errorf("%d rows for %d cases and configurations", len(filled)+len(configured), len(seen))
	}
}
