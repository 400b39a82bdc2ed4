// Package runtime holds pkg/cri against a real containerd and a real registry, without Kubernetes. It is Debian's containerd 1.6, or the one that
// PULLWATCH_NODE_CONTAINERD names (2.4 is compiled first).
package runtime

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/pkg/cri/critest"
	"github.com/pullwatch/pullwatch/test/node"
)

func start(t *testing.T) (*node.Node, *cri.Client) {
	t.Helper()
	n, err := node.Start(t.Context(), node.Options{RuntimeOnly: true, Containerd: os.Getenv("PULLWATCH_NODE_CONTAINERD"), SmallDiskMiB: 48, Out: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Down(); err != nil {
			t.Error(err)
		}
	})
	client, err := cri.Dial(cri.Config{Runtime: n.CRISocket(), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return n, client
}

// TestConformance is the suite that the fake passes too.
func TestConformance(t *testing.T) {
	n, client := start(t)
	present := n.Registry().Ref("shop/present:1")
	for _, tag := range []string{"shop/present:1", "shop/pullable:1"} {
		if err := n.Registry().PushTag(t.Context(), tag); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.PullImage(t.Context(), present); err != nil {
		t.Fatal(err)
	}
	missing := n.Registry().Ref("shop/missing:1")
	critest.Conformance(t, critest.Target{
		Client: client, Name: "containerd",
		Present: present, PresentOS: "linux", PresentArch: runtime.GOARCH,
		Absent: n.Registry().Ref("shop/absent:1"), Pullable: n.Registry().Ref("shop/pullable:1"),
		NotFound: missing, NotFoundCode: codes.NotFound, NotFoundText: missing + ": not found",
		Stall: func(t *testing.T) (resume func()) {
			if err := n.Signal(node.PartContainerd, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			return func() { _ = n.Signal(node.PartContainerd, syscall.SIGCONT) }
		},
	})
}

// TestSocketFaults has one client live through all that a socket can do.
func TestSocketFaults(t *testing.T) {
	n, client := start(t)
	ask := func() cri.Kind {
		t.Helper()
		begin := time.Now()
		_, err := client.Version(t.Context())
		if err == nil {
			return 255
		}
		if took := time.Since(begin); took > 8*time.Second {
			t.Errorf("an answer took %s: %v", took, err)
		}
		var e *cri.Error
		if !errors.As(err, &e) || e.Hint() == "" || strings.Contains(err.Error(), "\n") {
			t.Errorf("no error of ours, or one without a hint: %v", err)
		}
		return cri.KindOf(err)
	}
	want := func(when string, kind cri.Kind) {
		t.Helper()
		if got := ask(); got != kind {
			t.Errorf("%s: %v, want %v", when, got, kind)
		}
	}
	want("it runs", 255)
	if err := n.Kill(node.PartContainerd); err != nil {
		t.Fatal(err)
	}
	// The connection that stood may end in the middle of a call; then nobody listens any more.
	for end := time.Now().Add(5 * time.Second); ask() == cri.Unavailable && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	want("it was killed", cri.Refused)
	socket := strings.TrimPrefix(n.CRISocket(), "unix://")
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	want("its socket is gone", cri.Missing)
	if err := n.Restart(t.Context(), node.PartContainerd); err != nil {
		t.Fatal(err)
	}
	want("it is back", 255)
}

// TestPullTexts pulls in the ways that need no pod and holds what containerd says to the cause.
func TestPullTexts(t *testing.T) {
	n, client := start(t)
	checked := 0
	for _, b := range n.Possible() {
		if b.Kind != "container" || b.Slow > 0 || b.Name == "never" || b.Name == "upper-case" || b.Name == "wrong-password" {
			continue // the kubelet's own affair, or its credentials
		}
		t.Run(b.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if b.Prepare != nil && b.Name != "secret-missing" {
				if err := b.Prepare(ctx, n); err != nil {
					t.Fatal(err)
				}
			}
			image := b.Pod(n).Spec.Containers[0].Image
			_, err := client.PullImage(ctx, image, nil)
			if err == nil {
				t.Fatalf("%s was pulled", image)
			}
			var e *cri.Error
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			_, text, ok := e.Answer()
			if !ok {
				t.Fatalf("not an answer of the runtime: %v", err)
			}
			want := b.Causes
			if b.Name == "secret-missing" { // the kubelet tells of the secret, the runtime of what follows
				want = []string{"unauthorized"}
			}
			got := cause.Classify("ErrImagePull", text, image).Cause.String()
			if slices.Contains(want, got) {
				checked++
				return
			}
			t.Errorf("cause %s, want %v: %s", got, want, text)
		})
	}
	if checked < 10 {
		t.Errorf("only %d ways were checked", checked)
	}
}
