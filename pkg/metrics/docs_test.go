package metrics

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestDocs holds docs/metrics.md to what is rendered.
func TestDocs(t *testing.T) {
	m := newMetrics()
	fill(m)
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("# Metrics\n\nServed at `/metrics` on `--listen-address`, as text or OpenMetrics. This page is made from the code (`make docs`). Beside these there\n" +
		"are the usual `go_*` and `process_*` of the agent itself.\n\nNo series has a node's name: that is a target's label, which the scrape configuration adds. The label `registry` of what tenants name is\n" +
		"capped (`--max-registries`); the rest is `other` in what can be added up, and left out elsewhere. `cause` and `scope` are those of\n" +
		"[causes.md](causes.md).\n\n| metric | type | labels | what it says |\n|---|---|---|---|\n")
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "pullwatch_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, " "), f.GetHelp())
	}
	const page = "../../docs/metrics.md"
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil || string(have) != b.String() {
		t.Errorf("%s is not what is rendered (%v): run make docs", page, err)
	}
}
