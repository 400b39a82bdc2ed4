package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFleet measures a small fleet, and holds what the agents ask against what they need.
func TestFleet(t *testing.T) {
	const nodes = 3
	o := options{agent: filepath.Join("..", "..", "..", "..", "bin", "pullwatch"), nodes: nodes, pods: 5, rest: 10 * time.Second, load: 20 * time.Second}
	r, err := measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	start := r.start.kinds()
	for kind, want := range map[string]int{"get nodes": nodes, "list nodes": nodes, "list pods": nodes, "watch nodes": nodes, "watch pods": nodes} {
		if start[kind] != want {
			t.Errorf("at the start: %d times %q, want %d", start[kind], kind, want)
		}
	}
	if writes := start["patch nodes/status"]; writes < nodes || writes > 2*nodes {
		t.Errorf("at the start: status written %d times by %d agents, want once by each, and perhaps a heartbeat", writes, nodes)
	}
	for kind, n := range r.rest.with.kinds() {
		if kind != "patch nodes/status" || n > nodes {
			t.Errorf("at rest: %d times %q, want heartbeats alone", n, kind)
		}
	}
	if n := r.watches(r.rest.with.to) - r.watches(r.rest.without.to); n != 2*nodes {
		t.Errorf("%v open watches more with %d agents, want 2 each", n, nodes)
	}
	// Each change goes to the agent of its node alone.
	sent := func(s span) float64 {
		return s.grew("apiserver_watch_events_total", `resource="pods"`) / s.grew("apiserver_request_total", `resource="pods"`, `subresource="status"`, `verb="PATCH"`)
	}
	if more := sent(r.churn.with) - sent(r.churn.without); more < 0.5 || more > 2 {
		t.Errorf("%.1f events more with agents for each pod that changes", more)
	}
	if n := r.watches(r.restart.to) - r.watches(r.rest.without.to); n != 2*nodes {
		t.Errorf("%v open watches after the API server's restart, want %d", n, 2*nodes)
	}
	if writes := r.restart.peak(isWrite); writes >= nodes {
		t.Errorf("%d writes in a second after the API server's restart, though no condition changed", writes)
	}
	if page := r.page(); strings.Contains(page, "NaN") || strings.Contains(page, "Inf") || strings.Contains(page, "%!") {
		t.Errorf("the page has figures that are none:\n%s", page)
	} else {
		t.Log(page)
	}
}
