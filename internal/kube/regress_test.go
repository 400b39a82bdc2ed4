package kube

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestStreamStops: that the agent stops while it waits for an answer is no loss of the API server.
func TestStreamStops(t *testing.T) {
	t.Parallel()
	s := serve(t, hang)
	stream, _, states, stop := follow(t, s)
	until(t, func() bool { return len(s.requests()) > 0 })
	stop()
	for len(states) > 0 {
		t.Errorf("told %+v on the stop", <-states)
	}
	if err := stream.State().Err; err != nil {
		t.Errorf("state says %v", err)
	}
}

// TestAnotherKind: an answer that is well-formed and something else is an error, not an empty Node or a node without pods.
func TestAnotherKind(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "x"}}`))
	})
	c := s.client(t)
	if node, err := c.Node(t.Context()); err == nil {
		t.Errorf("node %+v without an error", node)
	}
	if pods, err := c.Pods(t.Context()); err == nil {
		t.Errorf("pods %+v without an error", pods)
	}
	if events, err := c.PodEvents(t.Context(), "shop", "web", "u"); err == nil {
		t.Errorf("events %+v without an error", events)
	}
}

// TestNoAnswerSaysHowLong: the time that is named is the time that was waited.
func TestNoAnswerSaysHowLong(t *testing.T) {
	s := serve(t, hang)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.client(t).Node(ctx); err == nil || strings.Contains(err.Error(), "15s") {
		t.Errorf("after 50 ms: %v", err)
	}
}

// TestBoundedRubbish: what is no UTF-8 grows when it is replaced, and is bounded all the same.
func TestBoundedRubbish(t *testing.T) {
	for _, text := range []string{strings.Repeat("a\xff", maxMessage/2), strings.Repeat("a\xff", maxMessage)} {
		if got := bounded(text); len(got) > maxMessage+len("…") || !strings.Contains(got[:10], "\uFFFD") {
			t.Errorf("bounded(%d bytes of rubbish) has %d bytes and begins %q; want at most %d and each replaced", len(text), len(got), got[:10], maxMessage+len("…"))
		}
	}
}
