package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/test/node"
)

const foreign = "SomebodyElsesProblem"

// condition reads a condition of the node; nil where it has none of that type.
func condition(ctx context.Context, n *node.Node, t string) (*corev1.NodeCondition, error) {
	object, err := n.Client().CoreV1().Nodes().Get(ctx, n.NodeName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	for i := range object.Status.Conditions {
		if c := &object.Status.Conditions[i]; string(c.Type) == t {
			return c, nil
		}
	}
	return nil, nil
}

func is(ctx context.Context, n *node.Node, t health.Type, status corev1.ConditionStatus) func() error {
	return func() error {
		c, err := condition(ctx, n, string(t))
		switch {
		case err != nil:
			return err
		case c == nil:
			return fmt.Errorf("the node has no condition %s", t)
		case c.Status != status:
			return fmt.Errorf("%s is %s (%s: %s)", t, c.Status, c.Reason, c.Message)
		}
		return nil
	}
}

// setForeign writes a condition of somebody else's.
func setForeign(ctx context.Context, n *node.Node, reason string) error {
	now := metav1.Now()
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []corev1.NodeCondition{{
		Type: foreign, Status: corev1.ConditionTrue, Reason: reason, Message: "not ours", LastHeartbeatTime: now, LastTransitionTime: now,
	}}}})
	if err != nil {
		return err
	}
	_, err = n.Client().CoreV1().Nodes().Patch(ctx, n.NodeName, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// testConditions: what many workloads share becomes a condition, what one tenant does never, and foreign conditions stay as they are.
func testConditions(t *testing.T, a *agent) {
	ctx := t.Context()
	n := a.n
	eventually(t, 3*time.Minute, "the runtime's condition is False", is(ctx, n, health.ContainerRuntimeUnavailable, corev1.ConditionFalse))
	eventually(t, 4*time.Minute, "the condition of the pulls is False, with typos about", is(ctx, n, health.ImagePullFailing, corev1.ConditionFalse))

	// Somebody else changes a condition all the time.
	noise, stopNoise := context.WithCancel(ctx)
	defer stopNoise()
	last := make(chan string, 1)
	go func() {
		reason := ""
		for i := 0; noise.Err() == nil; i++ {
			if r := fmt.Sprintf("Change%d", i); setForeign(noise, n, r) == nil {
				reason = r
			}
			time.Sleep(20 * time.Millisecond)
		}
		last <- reason
	}()

	private := n.PrivateRegistry().Ref("shop/billing:4.9") // images have come from there: it is established
	for i, namespace := range []string{"tenant-a", "tenant-b"} {
		if _, err := n.Client().CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		for name, image := range map[string]string{"secret": private, "junk": fmt.Sprintf("junk-%d.invalid/a:b", i)} {
			pod := n.Pod(name, image)
			pod.Namespace = namespace
			if _, err := n.CreatePod(ctx, pod); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, 4*time.Minute, "a secret that is wrong in two namespaces is a condition", is(ctx, n, health.ImagePullFailing, corev1.ConditionTrue))
	c, err := condition(ctx, n, string(health.ImagePullFailing))
	if err != nil || c == nil {
		t.Fatal(err)
	}
	if c.Reason != "Unauthorized" || !strings.Contains(c.Message, n.PrivateRegistry().Addr) || strings.Contains(c.Message, "junk") {
		t.Errorf("reason %s, message %s", c.Reason, c.Message)
	}
	eventually(t, 10*time.Second, "an event on the node", events(ctx, n, "Unauthorized", 1))

	// Killed in the middle of it, the agent flips nothing.
	if err := n.Kill(agentPart); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // its port and socket are free
	a.start(t)
	for range 15 {
		after, err := condition(ctx, n, string(health.ImagePullFailing))
		if err != nil || after == nil || after.Status != corev1.ConditionTrue || !after.LastTransitionTime.Equal(&c.LastTransitionTime) {
			t.Fatalf("after a restart: %+v, before: %+v (%v)", after, c, err)
		}
		time.Sleep(time.Second)
	}

	for _, namespace := range []string{"tenant-a", "tenant-b"} {
		for _, pod := range []string{"secret", "junk"} {
			if err := n.DeletePod(ctx, namespace, pod); err != nil {
				t.Error(err)
			}
		}
	}
	testRuntimeHangs(t, n) // while the pulls' condition waits for its own hold to end
	eventually(t, 3*time.Minute, "the condition of the pulls is False again", is(ctx, n, health.ImagePullFailing, corev1.ConditionFalse))

	// Uninstalled: ours are gone, the foreign one is as its owner wrote it last.
	if err := n.Stop(agentPart); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(ctx, a.bin, "remove-conditions", "--node-name", n.NodeName, "--kubeconfig", n.AgentKubeconfig()).CombinedOutput()
	if err != nil {
		t.Errorf("remove-conditions: %v: %s", err, out)
	}
	stopNoise()
	reason := <-last
	for _, kind := range health.Types {
		if left, err := condition(ctx, n, string(kind)); err != nil || left != nil {
			t.Errorf("%s is left: %+v (%v)", kind, left, err)
		}
	}
	if theirs, err := condition(ctx, n, foreign); err != nil || theirs == nil || theirs.Reason != reason && !strings.HasPrefix(theirs.Reason, "Change") {
		t.Errorf("the foreign condition is %+v, its owner wrote %s last (%v)", theirs, reason, err)
	}
	if ready, err := condition(ctx, n, "Ready"); err != nil || ready == nil {
		t.Errorf("the kubelet's own condition is gone (%v)", err)
	}
	a.start(t)
}

// testRuntimeHangs: a runtime that takes calls and answers none is unavailable, is named, and is back once it goes on.
func testRuntimeHangs(t *testing.T, n *node.Node) {
	ctx := t.Context()
	must(t, n.Signal(node.PartContainerd, syscall.SIGSTOP))
	hung := time.Now()
	eventually(t, 3*time.Minute, "the runtime is unavailable", is(ctx, n, health.ContainerRuntimeUnavailable, corev1.ConditionTrue))
	must(t, n.Signal(node.PartContainerd, syscall.SIGCONT))
	woken := time.Now()
	c := ours(t, n)[health.ContainerRuntimeUnavailable]
	if c.Reason != runtimeAway || !strings.Contains(c.Message, "containerd.sock") || !strings.Contains(c.Message, "no answer") {
		t.Errorf("reason %s, message %s", c.Reason, c.Message)
	}
	if held := c.LastTransitionTime.Sub(hung); held < awayHold-time.Second { // the time on the node has seconds
		t.Errorf("it turned %s after the runtime hung, want %s at least", held, awayHold)
	}
	eventually(t, 10*time.Second, "an event on the node", events(ctx, n, runtimeAway, 1))
	eventually(t, 2*time.Minute, "the runtime is back", is(ctx, n, health.ContainerRuntimeUnavailable, corev1.ConditionFalse))
	if held := ours(t, n)[health.ContainerRuntimeUnavailable].LastTransitionTime.Sub(woken); held < backHold-time.Second {
		t.Errorf("it turned %s after the runtime went on, want %s at least", held, backHold)
	}
	eventually(t, 10*time.Second, "an event of its return", events(ctx, n, runtimeBack, 1))
}
