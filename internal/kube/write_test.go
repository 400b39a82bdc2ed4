package kube

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/pullwatch/pullwatch/internal/kube/kubetest"
)

// writable is an API server with the node node-1, which has conditions of others, and a client for that node.
func writable(t *testing.T) (*kubetest.Server, *Client) {
	t.Helper()
	s := kubetest.Start(t)
	s.SetNode(kubetest.NewNode("node-1"))
	kubeconfig, err := s.Kubeconfig(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{Kubeconfig: kubeconfig, NodeName: "node-1", UserAgent: "pullwatch/1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// conditionsOf are a node's conditions by type.
func conditionsOf(s *kubetest.Server, node string) map[string]corev1.NodeCondition {
	conditions := make(map[string]corev1.NodeCondition)
	for _, c := range s.Node(node).Status.Conditions {
		conditions[string(c.Type)] = c
	}
	return conditions
}

// written is the one request that was made, with its body where that is JSON.
func written(t *testing.T, s *kubetest.Server) (request kubetest.Request, body map[string]any) {
	t.Helper()
	requests := s.Requests()
	if len(requests) != 1 {
		t.Fatalf("%d requests: %+v, want one", len(requests), requests)
	}
	if strings.HasSuffix(requests[0].ContentType, "json") {
		if err := json.Unmarshal(requests[0].Body, &body); err != nil {
			t.Errorf("%s: %v", requests[0].Body, err)
		}
	}
	if agent := requests[0].UserAgent; agent != "pullwatch/1.2.3" {
		t.Errorf("user agent %q", agent)
	}
	return requests[0], body
}

var (
	since = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	at    = since.Add(5 * time.Minute)
)

// TestPatchConditions: to the letter what is sent, and that conditions of others stay as they are.
func TestPatchConditions(t *testing.T) {
	s, c := writable(t)
	others := conditionsOf(s, "node-1")
	if len(others) < 2 {
		t.Fatalf("the node has no conditions of others: %v", others)
	}
	both := []Condition{
		{Type: "Ours", Status: "True", Reason: "R", Message: "it is so", Since: since},
		{Type: "OursToo", Status: "False", Reason: "Fine", Message: "fine", Since: since},
	}
	if err := c.PatchConditions(t.Context(), both, at); err != nil {
		t.Fatal(err)
	}
	request, body := written(t, s)
	if what := request.Method + " " + request.Path + " " + request.ContentType; what != "PATCH /api/v1/nodes/node-1/status application/strategic-merge-patch+json" {
		t.Errorf("asked %s", what)
	}
	one := func(kind, status, reason, message string) map[string]any {
		return map[string]any{
			"type": kind, "status": status, "reason": reason, "message": message,
			"lastTransitionTime": "2026-11-03T12:00:00Z", "lastHeartbeatTime": "2026-11-03T12:05:00Z",
		}
	}
	want := map[string]any{"status": map[string]any{"conditions": []any{one("Ours", "True", "R", "it is so"), one("OursToo", "False", "Fine", "fine")}}}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}

	// The next write replaces ours, and nothing else.
	both[0].Status, both[0].Since = "False", at
	if err := c.PatchConditions(t.Context(), both, at.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	now := conditionsOf(s, "node-1")
	if len(now) != len(others)+2 || len(s.Node("node-1").Status.Conditions) != len(now) {
		t.Errorf("conditions %+v, want ours once each beside those of others", s.Node("node-1").Status.Conditions)
	}
	if ours := now["Ours"]; ours.Status != "False" || !ours.LastTransitionTime.Time.Equal(at) || !ours.LastHeartbeatTime.Time.Equal(at.Add(time.Minute)) {
		t.Errorf("ours is %+v", ours)
	}
	delete(now, "Ours")
	delete(now, "OursToo")
	if diff := cmp.Diff(others, now); diff != "" {
		t.Errorf("conditions of others (-before +after):\n%s", diff)
	}
	// One without a status goes, and with it nothing else.
	if err := c.PatchConditions(t.Context(), []Condition{both[1], {Type: "Ours"}, {Type: "NeverThere"}}, at); err != nil {
		t.Fatal(err)
	}
	if now := conditionsOf(s, "node-1"); len(now) != len(others)+1 || now["OursToo"].Reason != "Fine" {
		t.Errorf("conditions %+v, want one of ours beside those of others", now)
	}
	if node, err := c.Node(t.Context()); err != nil || !slices.Contains(node.Conditions, Condition{Type: "OursToo", Status: "False", Reason: "Fine", Message: "fine", Since: since.Local()}) {
		t.Errorf("read back: %+v, %v", node.Conditions, err)
	}
}

// TestRemoveConditions: ours go from the node that is named, those of others and of other nodes stay.
func TestRemoveConditions(t *testing.T) {
	s, c := writable(t)
	others := conditionsOf(s, "node-1")
	if err := c.PatchConditions(t.Context(), []Condition{{Type: "Ours", Status: "True", Since: since}}, at); err != nil {
		t.Fatal(err)
	}
	here := s.Node("node-1")
	there := here.DeepCopy()
	there.Name, there.UID = "node-2", "uid-2"
	s.SetNode(there)
	for _, again := range []bool{false, true} { // what is not there is no error
		if err := c.RemoveConditions(t.Context(), "node-2", []string{"Ours", "OursToo"}); err != nil {
			t.Errorf("again %v: %v", again, err)
		}
		if diff := cmp.Diff(others, conditionsOf(s, "node-2")); diff != "" {
			t.Errorf("again %v: the node that was named (-want +got):\n%s", again, diff)
		}
	}
	if diff := cmp.Diff(here, s.Node("node-1")); diff != "" {
		t.Errorf("the other node (-before +after):\n%s", diff)
	}
	requests := s.Requests()
	const want = `{"status":{"conditions":[{"$patch":"delete","type":"Ours"},{"$patch":"delete","type":"OursToo"}]}}`
	if last := requests[len(requests)-1]; string(last.Body) != want || last.Path != "/api/v1/nodes/node-2/status" {
		t.Errorf("asked %s %s, want %s", last.Path, last.Body, want)
	}
}

// TestCreateNodeEvent: `kubectl describe node` finds events by the node's UID, in the namespace default.
func TestCreateNodeEvent(t *testing.T) {
	s, c := writable(t)
	begin := time.Now().Truncate(time.Second)
	if err := c.CreateNodeEvent(t.Context(), NodeEvent{NodeUID: "uid-1", Warning: true, Reason: "R", Message: "it is so"}); err != nil {
		t.Fatal(err)
	}
	request, _ := written(t, s)
	if what := request.Method + " " + request.Path + " " + request.ContentType; what != "POST /api/v1/namespaces/default/events application/vnd.kubernetes.protobuf" {
		t.Errorf("asked %s", what)
	}
	if err := c.CreateNodeEvent(t.Context(), NodeEvent{NodeUID: "uid-1", Reason: "Fine", Message: "it is over"}); err != nil {
		t.Fatal(err)
	}
	events := s.Events("default")
	if len(events) != 2 {
		t.Fatalf("%d events, want two: no name may be taken twice", len(events))
	}
	for i, want := range []struct{ kind, reason, message string }{{"Warning", "R", "it is so"}, {"Normal", "Fine", "it is over"}} {
		e := events[i]
		if e.Type != want.kind || e.Reason != want.reason || e.Message != want.message || e.Count != 1 {
			t.Errorf("event %d is %s %s %q, %d times; want %+v", i, e.Type, e.Reason, e.Message, e.Count, want)
		}
		if about := (corev1.ObjectReference{Kind: "Node", APIVersion: "v1", Name: "node-1", UID: "uid-1"}); e.InvolvedObject != about {
			t.Errorf("event %d is about %+v", i, e.InvolvedObject)
		}
		if e.Source.Component != "pullwatch" || e.Source.Host != "node-1" || e.ReportingController != "pullwatch" || e.ReportingInstance != "node-1" {
			t.Errorf("event %d is from %+v, %s %s", i, e.Source, e.ReportingController, e.ReportingInstance)
		}
		if !strings.HasPrefix(e.Name, "node-1.") || e.FirstTimestamp != e.LastTimestamp || e.FirstTimestamp.Time.Before(begin) {
			t.Errorf("event %d is %s of %s to %s", i, e.Name, e.FirstTimestamp, e.LastTimestamp)
		}
	}
}

func TestNodeNames(t *testing.T) {
	s, c := writable(t)
	s.SetNode(kubetest.NewNode("node-2"))
	names, err := c.NodeNames(t.Context())
	if err != nil || !slices.Equal(names, []string{"node-1", "node-2"}) {
		t.Errorf("names %q, %v", names, err)
	}
	if request, _ := written(t, s); request.Path != "/api/v1/nodes" || request.Query.Encode() != "resourceVersion=0" {
		t.Errorf("asked %s?%s, want what the API server has in its cache", request.Path, request.Query.Encode())
	}
}

// TestWriteErrors: what a person reads of each write that is refused.
func TestWriteErrors(t *testing.T) {
	patch := func(t *testing.T, c *Client) error {
		return c.PatchConditions(t.Context(), []Condition{{Type: "Ours", Status: "True", Since: since}}, at)
	}
	remove := func(t *testing.T, c *Client) error {
		return c.RemoveConditions(t.Context(), "node-1", []string{"Ours"})
	}
	event := func(t *testing.T, c *Client) error {
		return c.CreateNodeEvent(t.Context(), NodeEvent{NodeUID: "uid-1", Reason: "R"})
	}
	names := func(t *testing.T, c *Client) error { _, err := c.NodeNames(t.Context()); return err }
	forbid := func(resource string) func(*kubetest.Server) { return func(s *kubetest.Server) { s.Forbid(resource) } }
	status := func(code int) func(*kubetest.Server) { return func(s *kubetest.Server) { s.SetStatus(code) } }
	gone := func(s *kubetest.Server) { s.DeleteNode("node-1") }
	for name, tc := range map[string]struct {
		ask           func(*testing.T, *Client) error
		fault         func(*kubetest.Server)
		op, say, hint string
	}{
		"patch, forbidden":  {patch, forbid("nodes/status"), "patch status of node node-1", `cannot patch resource "nodes/status"`, "patch on nodes/status"},
		"patch, no node":    {patch, gone, "patch status of node node-1", `nodes "node-1" not found`, "--node-name"},
		"patch, conflict":   {patch, status(http.StatusConflict), "patch status of node node-1", "Conflict", "API server runs"},
		"patch, overloaded": {patch, status(http.StatusTooManyRequests), "patch status of node node-1", "Too Many Requests", "overloaded"},
		"remove, forbidden": {remove, forbid("nodes/status"), "patch status of node node-1", "is forbidden", "patch on nodes/status"},
		"remove, no node":   {remove, gone, "patch status of node node-1", `nodes "node-1" not found`, "--node-name"},
		"event, forbidden":  {event, forbid("events"), "create event about node node-1", `cannot create resource "events" in API group "" in the namespace "default"`, "create on events"},
		"event, conflict":   {event, status(http.StatusConflict), "create event about node node-1", "Conflict", "API server runs"},
		"event, overloaded": {event, status(http.StatusTooManyRequests), "create event about node node-1", "Too Many Requests", "overloaded"},
		"names, forbidden":  {names, forbid("nodes"), "list nodes", `cannot list resource "nodes"`, "list and watch on nodes"},
		"names, down":       {names, (*kubetest.Server).Down, "list nodes", "connection refused", "API server runs"},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := writable(t)
			tc.fault(s)
			err := tc.ask(t, c)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v, want one that is an *Error", err)
			}
			checkError(t, e, s.URL())
			if !strings.HasPrefix(err.Error(), tc.op+" at "+s.URL()+": ") || !strings.Contains(err.Error(), tc.say) || strings.Contains(err.Error(), kubetest.Token) {
				t.Errorf("says %q, want what was asked, where, and %q", err, tc.say)
			}
			if !strings.Contains(e.Hint(), tc.hint) {
				t.Errorf("hint %q, want %q", e.Hint(), tc.hint)
			}
		})
	}
}
