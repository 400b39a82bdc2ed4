package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullwatch/pullwatch/test/node"
)

// TestSmoke brings a node up, runs a good pod and broken ones, mends, and takes the node down.
//
// PULLWATCH_NODE_CONTAINERD and PULLWATCH_NODE_KUBELET choose versions, PULLWATCH_NODE_BREAKAGES=all breaks and mends
// in every way, and PULLWATCH_NODE_TEXTS=FILE appends what the kubelet said to a file.
func TestSmoke(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	begin := time.Now()
	n, err := node.Start(ctx, node.Options{
		NodeName:   "smoke-node",
		Containerd: os.Getenv("PULLWATCH_NODE_CONTAINERD"), Kubelet: os.Getenv("PULLWATCH_NODE_KUBELET"),
		SmallDiskMiB: 48, Out: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("up after %s", time.Since(begin).Round(time.Millisecond))
	t.Cleanup(func() {
		begin := time.Now()
		if err := n.Down(); err != nil {
			t.Error(err)
		}
		t.Logf("down after %s", time.Since(begin).Round(time.Millisecond))
		if _, err := os.Stat(n.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", n.Dir, err)
		}
	})

	begin = time.Now()
	if _, err := n.CreatePod(ctx, n.Pod("good", n.GoodImage())); err != nil {
		t.Fatal(err)
	}
	if err := n.WaitRunning(ctx, metav1.NamespaceDefault, "good"); err != nil {
		t.Fatal(err)
	}
	t.Logf("a good pod runs after %s", time.Since(begin).Round(time.Millisecond))

	var list []node.Breakage
	for _, b := range n.Possible() {
		if os.Getenv("PULLWATCH_NODE_BREAKAGES") == "all" || slices.Contains([]string{"typo-in-tag", "refused", "sandbox-image"}, b.Name) {
			list = append(list, b)
		}
	}
	begin = time.Now()
	for _, b := range list {
		if err := n.Break(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	each(t, list, func(b node.Breakage) error {
		ctx, cancel := context.WithTimeout(ctx, b.Slow+60*time.Second)
		defer cancel()
		err := n.Shows(ctx, b)
		t.Logf("%-20s shows after %s", b.Name, time.Since(begin).Round(time.Millisecond))
		return err
	})
	if writes, err := n.WaitingWrites(metav1.NamespaceDefault, "typo-in-tag", "ErrImagePull"); err != nil || len(writes) == 0 {
		t.Errorf("the audit log has no write of typo-in-tag's ErrImagePull: %v", err)
	}
	// Until the kubelet backs off, so that its other texts are seen too.
	if _, err := n.WaitWaiting(ctx, metav1.NamespaceDefault, "typo-in-tag", "ImagePullBackOff"); err != nil {
		t.Error(err)
	}
	record(ctx, t, n)

	begin = time.Now()
	for _, b := range slices.Backward(list) { // the sandbox image first: nothing starts without it
		if b.Mend != nil {
			if err := n.Mend(ctx, b); err != nil {
				t.Error(err)
			}
		}
	}
	each(t, list, func(b node.Breakage) error {
		if b.Mend == nil || b.Kind == "volume" && n.Options.Containerd == node.Containerd16 { // it cannot mount one
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
		defer cancel()
		err := n.WaitRunning(ctx, metav1.NamespaceDefault, b.Name)
		t.Logf("%-20s runs %s after it was mended", b.Name, time.Since(begin).Round(time.Millisecond))
		return err
	})
	if t.Failed() {
		record(ctx, t, n)
	}
}

// each runs f for all breakages at once.
func each(t *testing.T, list []node.Breakage, f func(node.Breakage) error) {
	t.Helper()
	var wg sync.WaitGroup
	for _, b := range list {
		wg.Go(func() {
			if err := f(b); err != nil {
				t.Errorf("%s: %v", b.Name, err)
			}
		})
	}
	wg.Wait()
}

// record logs what the kubelet says, and writes it to the file that the environment names.
func record(ctx context.Context, t *testing.T, n *node.Node) {
	t.Helper()
	texts, err := n.Texts(ctx)
	if err != nil {
		t.Error(err)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "# containerd %s, kubelet %s\n", n.Options.Containerd, n.Options.Kubelet)
	oneLine := strings.NewReplacer("\n", `\n`, "\t", `\t`)
	for _, x := range texts {
		fmt.Fprintf(&out, "%s\t%s\t%s\n", x.Reason, oneLine.Replace(x.Message), x.Image)
	}
	t.Log(out.String())
	if path := os.Getenv("PULLWATCH_NODE_TEXTS"); path != "" {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(out.String())
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
