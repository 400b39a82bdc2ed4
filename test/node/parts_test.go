package node_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullwatch/pullwatch/test/node"
)

// TestPartsEndAndComeBack holds the harness to what end-to-end tests do to it: kill, stop and exchange parts.
func TestPartsEndAndComeBack(t *testing.T) {
	if testing.Short() {
		t.Skip("a whole node, which make e2e brings up")
	}
	n, err := node.Start(t.Context(), node.Options{NodeName: "parts-node", Out: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Down(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // it compiles another kubelet
	defer cancel()
	for _, part := range node.PartNames {
		if err := n.Kill(part); err != nil {
			t.Errorf("kill %s: %v", part, err)
		}
		if n.Running()[part] || n.Up() {
			t.Errorf("%s runs after it was killed", part)
		}
		if err := n.Restart(ctx, part); err != nil {
			t.Fatalf("restart %s: %v", part, err)
		}
	}
	if other, err := node.Open(n.Dir); err != nil || !other.Up() {
		t.Errorf("another process does not find the node up: %v", err)
	}
	if err := n.StopKubelet(); err != nil {
		t.Fatal(err)
	}
	if err := n.StartKubelet(ctx, node.Kubelet131); err != nil {
		t.Fatal(err)
	}
	if _, err := n.CreatePod(ctx, n.Pod("old", "127.0.0.1:1/nothing:here")); err != nil {
		t.Fatal(err)
	}
	s, err := n.WaitWaiting(ctx, metav1.NamespaceDefault, "old", "ImagePullBackOff")
	if err != nil {
		t.Fatal(err)
	}
	if want := `Back-off pulling image "127.0.0.1:1/nothing:here"`; s.State.Waiting.Message != want {
		t.Errorf("kubelet 1.31 backs off with %q, want %q", s.State.Waiting.Message, want)
	}
	// A runtime that hangs must not keep the node from going down.
	if err := n.Signal(node.PartContainerd, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}
