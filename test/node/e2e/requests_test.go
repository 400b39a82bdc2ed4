package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/test/node"
)

// testRequests reads in the API server's audit log what the agent asked, all in all.
func testRequests(t *testing.T, n *node.Node) {
	entries := asked(t, n, n.Created)
	if len(entries) == 0 {
		t.Fatal("the audit log knows no request of the agent")
	}
	verbs := make(map[string]int)
	for _, e := range entries {
		what, query := request(n, e)
		verbs[what]++
		switch {
		case what == "list events" && (!strings.Contains(query, "involvedObject.uid") || !strings.Contains(query, "limit=")):
			t.Errorf("events are only listed, for one pod, with a limit: %s %s", e.Verb, e.URI)
		case strings.HasSuffix(what, " pods") && !strings.Contains(query, "spec.nodeName"):
			t.Errorf("pods of other nodes were asked for: %s %s", e.Verb, e.URI)
		}
	}
	t.Logf("requests of the agent: %v", verbs)
	for verb := range verbs {
		if !slices.Contains([]string{"list pods", "watch pods", "get nodes", "list nodes", "watch nodes", "list events", "patch status", "create events"}, verb) {
			t.Errorf("an unexpected request: %s", verb)
		}
	}
}

// asked are the requests of the agent from a moment on, in the order in which they came.
func asked(t *testing.T, n *node.Node, from time.Time) []node.AuditEntry {
	t.Helper()
	entries, err := n.AuditEntries(func(e node.AuditEntry) bool {
		return strings.HasSuffix(e.User, node.AgentUser) && !e.Received.Before(from)
	})
	must(t, err)
	slices.SortStableFunc(entries, func(a, b node.AuditEntry) int { return a.Received.Compare(b.Received) })
	return entries
}

// request is the verb and the resource of a request, and its query.
func request(n *node.Node, e node.AuditEntry) (what, query string) {
	path, query, _ := strings.Cut(e.URI, "?")
	resource := path[strings.LastIndexByte(path, '/')+1:]
	if resource == n.NodeName {
		resource = "nodes"
	}
	return e.Verb + " " + resource, query
}

// list is requests as a person reads them.
func list(n *node.Node, requests []node.AuditEntry) string {
	var b strings.Builder
	for _, e := range requests {
		what, _ := request(n, e)
		fmt.Fprintf(&b, "\n%s %s: %d", e.Received.Format(time.StampMilli), what, e.Code)
	}
	return b.String()
}

// readFirst holds that the agent wrote nothing before it had read its node.
func readFirst(t *testing.T, n *node.Node, from time.Time) {
	t.Helper()
	requests := asked(t, n, from)
	first := func(what ...string) int {
		return slices.IndexFunc(requests, func(e node.AuditEntry) bool {
			is, _ := request(n, e)
			return slices.Contains(what, is) && e.Code == 200
		})
	}
	if read, wrote := first("list nodes", "watch nodes"), first("patch status"); read < 0 || wrote < read {
		t.Errorf("the agent wrote before it had read its node: %s", list(n, requests))
	}
}
