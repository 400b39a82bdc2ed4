package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/test/node"
)

func startNode(t *testing.T, o node.Options) *node.Node {
	t.Helper()
	o.SmallDiskMiB, o.Out = 64, os.Stderr // room for the agent's image and what else runs, and none for the large one
	n, err := node.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, part := range []string{agentPart, node.PartKubelet} {
				t.Logf("the end of the log of %s:\n%s", part, tail(n.LogFile(part), 6000))
			}
		}
		if err := n.Down(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// startControlPlane is an API server with kubectl beside it, and no node.
func startControlPlane(t *testing.T) *node.Node {
	t.Helper()
	n, err := node.Start(t.Context(), node.Options{ControlPlaneOnly: true, Out: os.Stderr})
	must(t, err)
	t.Cleanup(func() {
		if err := n.Down(); err != nil {
			t.Error(err)
		}
	})
	must(t, node.EnsurePrograms(t.Context(), node.NewProgress(os.Stderr), map[string]string{"kubectl": "kubernetes-client"}))
	return n
}

func tail(file string, size int) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-size):])
}

// TestNode goes through the life of one node with containerd 1.6, and kubelet 1.34 first, then 1.31.
func TestNode(t *testing.T) {
	t.Parallel()
	n := startNode(t, node.Options{Containerd: node.Containerd16, Kubelet: node.Kubelet134})
	a := startAgent(t, n)
	t.Run("rights", func(t *testing.T) { testRights(t, a) })
	t.Run("causes", func(t *testing.T) { testCauses(t, a) })
	t.Run("agent restarts", func(t *testing.T) {
		testAgentRestarts(t, a, "typo-in-tag")
		m, err := a.metrics()
		if err != nil {
			t.Fatal(err)
		}
		if sum, _ := m.Sum("pullwatch_image_pull_failures_total"); sum != 0 {
			t.Errorf("%v failures counted by an agent that only started", sum)
		}
	})
	t.Run("runtime dies", func(t *testing.T) { testRuntimeDies(t, a) })
	t.Run("API server is away", func(t *testing.T) { testAPIServerAway(t, a) })
	t.Run("requests", func(t *testing.T) { testRequests(t, n) })
	t.Run("conditions", func(t *testing.T) { testConditions(t, a) })
	t.Run("kubelet 1.31", func(t *testing.T) { testOldKubelet(t, a) })
}

// TestContainerd2 breaks pulls in all ways with containerd 2, whose texts differ.
func TestContainerd2(t *testing.T) {
	t.Parallel()
	n := startNode(t, node.Options{Containerd: node.Containerd24, Kubelet: node.Kubelet134})
	a := startAgent(t, n)
	t.Run("rights", func(t *testing.T) { testRights(t, a) })
	testCauses(t, a)
}

// testCauses breaks pods in every way that the node can, and mends what can be mended. Each must show in `pullwatch failures` and in the
// metrics with its cause, and be gone from both once it is mended.
func testCauses(t *testing.T, a *agent) {
	ctx := t.Context()
	list := a.n.Possible()
	if len(list) < 12 {
		t.Fatalf("only %d ways to break a pull", len(list))
	}
	before, err := a.metrics()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range list {
		if err := a.n.Break(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	each(t, list, func(t *testing.T, b node.Breakage) {
		begin := time.Now()
		eventually(t, b.Slow+90*time.Second, b.Name+" shows its cause", func() error { return a.shows(ctx, b) })
		t.Logf("%-20s shown after %s", b.Name, time.Since(begin).Round(100*time.Millisecond))
	})
	after, err := a.metrics()
	if err != nil {
		t.Fatal(err)
	}
	was, _ := before.Sum("pullwatch_image_pull_failures_total")
	is, _ := after.Sum("pullwatch_image_pull_failures_total")
	if int(is-was) != len(list) {
		t.Errorf("%v failures counted for %d pods that began to fail", is-was, len(list))
	}

	mended := slices.DeleteFunc(slices.Clone(list), func(b node.Breakage) bool {
		return b.Mend == nil || b.Name == "typo-in-tag" || b.Kind == "volume" && a.n.Options.Containerd == node.Containerd16 // it cannot mount one
	})
	for _, b := range slices.Backward(mended) { // the sandbox image first: nothing starts without it
		if err := a.n.Mend(ctx, b); err != nil {
			t.Error(err)
		}
	}
	each(t, mended, func(t *testing.T, b node.Breakage) {
		eventually(t, 4*time.Minute, b.Name+" is over", func() error { return a.over(ctx, b.Name) })
	})
}

// shows tells whether a breakage is in `failures` and in the metrics as it should be.
func (a *agent) shows(ctx context.Context, b node.Breakage) error {
	failures, err := a.failures(ctx)
	if err != nil {
		return err
	}
	f, ok := failures[b.Name]
	switch {
	case !ok:
		return fmt.Errorf("not in failures")
	case !slices.Contains(b.Causes, f.Cause.String()):
		return fmt.Errorf("cause %s, want %v: %s", f.Cause, b.Causes, f.Message)
	case string(f.Kind) != b.Kind || b.Kind != "sandbox" && f.Container != b.Container:
		return fmt.Errorf("%s %q, want %s %q", f.Kind, f.Container, b.Kind, b.Container)
	case b.Kind == "sandbox" && f.Scope != "node":
		return fmt.Errorf("scope %s of a sandbox, want node", f.Scope)
	case f.Advice == "" || f.Reason == "" || f.Message == "" || f.Since.IsZero() || f.Basis != "text":
		return fmt.Errorf("something is missing: %+v", f)
	}
	m, err := a.metrics()
	if err != nil {
		return err
	}
	if _, series := m.Sum("pullwatch_container_failing_since_timestamp_seconds", `pod="`+b.Name+`"`, `cause="`+f.Cause.String()+`"`); series != 1 {
		return fmt.Errorf("%d series of the failing container, want 1", series)
	}
	if sum, _ := m.Sum("pullwatch_containers_failing", `cause="`+f.Cause.String()+`"`, `registry="`+f.Registry+`"`, `scope="`+string(f.Scope)+`"`); sum < 1 {
		return fmt.Errorf("pullwatch_containers_failing is %v", sum)
	}
	return nil
}

// over tells whether a pod's failure is gone everywhere.
func (a *agent) over(ctx context.Context, pod string) error {
	failures, err := a.failures(ctx)
	if err != nil {
		return err
	}
	if f, ok := failures[pod]; ok {
		return fmt.Errorf("still in failures: %s %s %s", f.Reason, f.Cause, f.Message)
	}
	m, err := a.metrics()
	if err != nil {
		return err
	}
	if _, series := m.Sum("pullwatch_container_failing_since_timestamp_seconds", `pod="`+pod+`"`); series != 0 {
		return fmt.Errorf("%d series of the failing container are left", series)
	}
	return nil
}

// testAgentRestarts kills the agent: what fails must be known again with its cause, and since when by the pod's events.
func testAgentRestarts(t *testing.T, a *agent, pod string) {
	ctx := t.Context()
	before, err := a.failures(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if before[pod].SinceFrom != pulls.Observed {
		t.Errorf("%s began before the eyes of the agent, but since is %q", pod, before[pod].SinceFrom)
	}
	if err := a.n.Kill(agentPart); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the agent is gone", func() error {
		if a.get("/healthz", nil) == nil {
			return fmt.Errorf("it still answers")
		}
		return nil
	})
	a.start(t)
	eventually(t, 90*time.Second, "since when is known again", func() error {
		after, err := a.failures(ctx)
		if err != nil {
			return err
		}
		was, is := before[pod], after[pod]
		switch {
		case is.Cause != was.Cause:
			return fmt.Errorf("cause %s, was %s", is.Cause, was.Cause)
		case is.SinceFrom != pulls.Event || is.AttemptsFrom != pulls.Event || is.Attempts == 0:
			return fmt.Errorf("since from %q, %d attempts from %q, want both from events", is.SinceFrom, is.Attempts, is.AttemptsFrom)
		case is.Since.Sub(was.Since).Abs() > 20*time.Second: // the kubelet tells of many pods at once late
			return fmt.Errorf("since %s, was %s", is.Since, was.Since)
		}
		return nil
	})
}

// testRuntimeDies stops, hangs and restarts containerd. The same agent must see all of it.
func testRuntimeDies(t *testing.T, a *agent) {
	eventually(t, 20*time.Second, "the runtime is up", a.runtimeUp(1))
	if err := a.n.Kill(node.PartContainerd); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the runtime is down", a.runtimeUp(0))
	if err := a.n.Restart(t.Context(), node.PartContainerd); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the runtime is back", a.runtimeUp(1))
	if err := a.n.Signal(node.PartContainerd, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the runtime hangs", a.runtimeUp(0))
	if err := a.n.Signal(node.PartContainerd, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the runtime goes on", a.runtimeUp(1))
}

func (a *agent) runtimeUp(want float64) func() error {
	return func() error {
		m, err := a.metrics()
		if err != nil {
			return err
		}
		if is, series := m.Sum("pullwatch_runtime_up"); series != 1 || is != want {
			return fmt.Errorf("pullwatch_runtime_up is %v in %d series, want %v", is, series, want)
		}
		return nil
	}
}

// testAPIServerAway takes the API server down and up: what was known stays known, says how old it is, and goes on.
func testAPIServerAway(t *testing.T, a *agent) {
	ctx := t.Context()
	before, err := a.failures(ctx)
	if err != nil || len(before) == 0 {
		t.Fatalf("nothing fails, so nothing is tested: %v", err)
	}
	if err := a.n.Stop(node.PartAPIServer); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the stream is lost", a.stream(0))
	away, err := a.failures(ctx)
	if err != nil || len(away) != len(before) {
		t.Errorf("%d failures while the API server is away, before %d: %v", len(away), len(before), err)
	}
	if err := a.n.Restart(ctx, node.PartAPIServer); err != nil {
		t.Fatal(err)
	}
	eventually(t, 90*time.Second, "the stream is followed", a.stream(1))
	if _, err := a.n.CreatePod(ctx, a.n.Pod("after-the-outage", a.n.Registry().Ref("shop/none:1"))); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "a new failure is seen", func() error {
		failures, err := a.failures(ctx)
		if f := failures["after-the-outage"]; err == nil && f.Cause.String() != "not_found" {
			return fmt.Errorf("cause %q", f.Cause)
		}
		return err
	})
}

func (a *agent) stream(want float64) func() error {
	return func() error {
		m, err := a.metrics()
		if err != nil {
			return err
		}
		if sum, series := m.Sum("pullwatch_api_stream_up", `resource="pods"`); series != 1 || sum != want {
			return fmt.Errorf("pullwatch_api_stream_up is %v", sum)
		}
		return nil
	}
}

// testOldKubelet changes to kubelet 1.31, whose back-off names no cause. The cause must be kept while the agent runs, and be found in the
// pod's events after a restart.
func testOldKubelet(t *testing.T, a *agent) {
	ctx := t.Context()
	if err := a.n.StopKubelet(); err != nil {
		t.Fatal(err)
	}
	if err := a.n.StartKubelet(ctx, node.Kubelet131); err != nil {
		t.Fatal(err)
	}
	const pod = "old-kubelet"
	if _, err := a.n.CreatePod(ctx, a.n.Pod(pod, a.n.Registry().Ref("shop/older:1"))); err != nil {
		t.Fatal(err)
	}
	cause := func(want string) func() error {
		return func() error {
			failures, err := a.failures(ctx)
			if f := failures[pod]; err == nil && f.Cause.String() != want {
				return fmt.Errorf("cause %q (%s %s), want %q", f.Cause, f.Reason, f.Message, want)
			}
			return err
		}
	}
	eventually(t, 90*time.Second, "the cause is seen", cause("not_found"))
	status, err := a.n.WaitWaiting(ctx, metav1.NamespaceDefault, pod, "ImagePullBackOff")
	if err != nil {
		t.Fatal(err)
	}
	if message := status.State.Waiting.Message; strings.Contains(message, "not found") {
		t.Fatalf("this kubelet names the cause while it backs off, so nothing is tested: %s", message)
	}
	eventually(t, 10*time.Second, "the cause is kept", cause("not_found"))
	testAgentRestarts(t, a, pod)
}

// each runs a check for all breakages at once.
func each(t *testing.T, list []node.Breakage, check func(*testing.T, node.Breakage)) {
	t.Helper()
	var all sync.WaitGroup
	for _, b := range list {
		all.Go(func() { check(t, b) })
	}
	all.Wait()
}
