package probed

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/test/node"
)

var (
	update = flag.Bool("update", false, "write docs/probe-faults.md")
	only   = flag.String("case", "", "regular expression: the cases to try")
)

func TestMain(m *testing.M) {
	flag.Parse()
	run := enter
	if testing.Short() || os.Getenv(insideVariable) != "" {
		run = func() (int, error) { return inside(m.Run) }
	}
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// inside runs the tests; in the namespaces, on their networks.
func inside(run func() int) (int, error) {
	if os.Getenv(insideVariable) == "" {
		return run(), nil
	}
	dir, err := os.MkdirTemp("", "pullwatch-probed-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if err := furnish(dir); err != nil {
		return 1, err
	}
	return run(), nil
}

// versions are those of containerd.
var versions = []string{node.Containerd16, node.Containerd24}

// TestFaults asks the probe and both containerds about every case.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("two containerds and some twenty registries, which make e2e brings up")
	}
	match := regexp.MustCompile(*only)
	var cases []*Case
	for _, c := range Cases() {
		if match.MatchString(c.Name) {
			cases = append(cases, c)
		}
	}
	_, kept, err := readPage()
	if err != nil && !*update {
		t.Fatal(err)
	}
	told := map[string]row{}
	for _, c := range cases {
		told[c.Name] = row{}
	}
	for _, version := range versions {
		t.Run(version, func(t *testing.T) { tryAll(t, version, cases, told) })
	}
	if *update {
		for _, c := range cases {
			if len(told[c.Name]) == len(columns) {
				kept[c.Name] = told[c.Name]
			}
		}
		if err := os.WriteFile(pageFile, []byte(document(Cases(), kept)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range cases {
		for _, column := range columns {
			if have, now := kept[c.Name][column], told[c.Name][column]; have != now {
				t.Errorf("%s: %s has in %q\n%s\nand it is now\n%s", c.Name, pageFile, column, have, now)
			}
		}
	}
}

// tryAll tries the cases with one containerd, those of one setup at the same time.
func tryAll(t *testing.T, version string, cases []*Case, told map[string]row) {
	n, err := node.Start(t.Context(), node.Options{RuntimeOnly: true, Containerd: version, Out: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Down(); err != nil {
			t.Error(err)
		}
	})
	l, err := newLab(t.Context(), n, version, cases)
	defer l.close()
	if err != nil {
		t.Fatal(err)
	}
	for _, setup := range setups(cases) {
		var now []*place
		for _, at := range l.places {
			if at.setup() == setup {
				now = append(now, at)
			}
		}
		if err := l.setUp(t.Context(), now[0].Case); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		var mu sync.Mutex
		slots := make(chan struct{}, 32) // most of them wait
		for _, at := range now {
			all.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				var pulled said
				var pull sync.WaitGroup
				pull.Go(func() { pulled = l.pull(t.Context(), at) })
				probed, requests, err := l.probe(t.Context(), at)
				if err != nil {
					t.Error(err)
				}
				pull.Wait()
				mu.Lock()
				defer mu.Unlock()
				check(t, at, version, probed, pulled, requests, told[at.Name])
			})
		}
		all.Wait()
	}
}

// mostRequests is what a probe of one endpoint may cost a registry: the question, five redirects, and a token.
const mostRequests = 7

// check holds what was said against the case.
func check(t *testing.T, at *place, version string, probed, pulled said, requests int64, told row) {
	t.Helper()
	if want := at.wantedProbe(); probed.outcome != want {
		t.Errorf("%s: the probe says %s, want %s\n%s", at.Name, probed.outcome, want, probed.text)
	}
	if want := at.wanted(version); pulled.outcome != want {
		t.Errorf("%s: containerd says %s, want %s\n%s", at.Name, pulled.outcome, want, pulled.text)
	}
	if strings.Contains(probed.text+pulled.text, node.PrivatePassword) {
		t.Errorf("%s: a password is told", at.Name)
	}
	if requests > mostRequests {
		t.Errorf("%s: %d requests", at.Name, requests)
	}
	now := row{columnProbe: probed.cell(), columnRequests: fmt.Sprint(requests), containerdColumn(version): pulled.cell()}
	for column, cell := range now {
		if before := cmp.Or(told[column], cell); before != cell {
			t.Errorf("%s: %q differs with containerd's version\n%s\n%s", at.Name, column, before, cell)
		}
		told[column] = cell
	}
}

// TestPage holds what can be seen without a run: the page has a row for each case and no other, and every exception has a reason.
func TestPage(t *testing.T) {
	text, rows, err := readPage()
	if err != nil {
		t.Fatal(err)
	}
	if text != document(Cases(), rows) {
		t.Errorf("%s is not what is rendered of the table: run make probed", filepath.Base(pageFile))
	}
	hosts := map[string]bool{}
	for _, c := range Cases() {
		if hosts[c.host()] {
			t.Errorf("%s is there twice", c.host())
		}
		hosts[c.host()] = true
		if (c.Note == "") != (c.Probe+c.Runtime+c.Runtime16+c.Runtime24 == "") {
			t.Errorf("%s: an exception without a reason, or a reason without an exception", c.Name)
		}
		for _, column := range columns {
			if rows[c.Name][column] == "" {
				t.Errorf("%s: %s has nothing in %q", c.Name, filepath.Base(pageFile), column)
			}
		}
	}
	for _, c := range []cause.Cause{
		cause.DNS, cause.Connection, cause.TLS, cause.Proxy, cause.Timeout, cause.RateLimited, cause.RegistryError, cause.Unauthorized,
		cause.AccessDenied, cause.NotFound,
	} {
		if !strings.Contains(text, "| "+c.String()+" | **") {
			t.Errorf("no fault is expected to be %s", c)
		}
	}
}
