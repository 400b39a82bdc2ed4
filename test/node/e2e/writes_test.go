package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/test/node"
)

// beat is the heartbeat of the agent in TestWrites.
const beat = 10 * time.Second

// Reasons of ContainerRuntimeUnavailable, and how long the runtime must be away or back for them (internal/health).
const (
	runtimeAway, awayHold = "ContainerRuntimeDoesNotAnswer", 45 * time.Second
	runtimeBack, backHold = "ContainerRuntimeAnswers", 15 * time.Second
)

// TestWrites reads in the API server's audit log what the agent writes and asks, and when: on a node where nothing fails, and over outages of
// the API server in which the runtime dies and the agent is killed. Each of the three begins where the one before left the node.
func TestWrites(t *testing.T) {
	t.Parallel()
	n := startNode(t, node.Options{Containerd: node.Containerd16, Kubelet: node.Kubelet134})
	a := startAgent(t, n, "--heartbeat-interval", beat.String())
	for _, kind := range health.Types {
		eventually(t, time.Minute, string(kind)+" is False", is(t.Context(), n, kind, corev1.ConditionFalse))
	}
	for _, part := range []struct {
		name string
		test func(*testing.T, *agent)
	}{
		{"nothing fails", testNothingFails},
		{"runtime dies while the API server is away", testDiesUnseen},
		{"agent is killed while the API server is away", testKilledUnseen},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.test(t, a) }) {
			return
		}
	}
}

// testNothingFails: a node that is well costs the API server one patch for each heartbeat, and each watcher of nodes no more than that.
func testNothingFails(t *testing.T, a *agent) {
	n := a.n
	before, begin := ours(t, n), time.Now()
	beats := make(map[metav1.Time]bool)
	eventually(t, 10*beat, "three heartbeats", func() error {
		now := ours(t, n)[health.ImagePullFailing].LastHeartbeatTime
		if now != before[health.ImagePullFailing].LastHeartbeatTime {
			beats[now] = true
		}
		if len(beats) < 3 {
			return fmt.Errorf("%d seen", len(beats))
		}
		return nil
	})
	after, took := ours(t, n), time.Since(begin)

	writes := 0
	for _, e := range asked(t, n, begin) {
		if what, _ := request(n, e); what != "patch status" || e.URI != "/api/v1/nodes/"+n.NodeName+"/status" || e.Code != 200 {
			t.Errorf("beside the heartbeats: %s %s: %d", e.Verb, e.URI, e.Code)
			continue
		}
		writes++
	}
	if most := int(took/(beat*9/10)) + 1; writes < len(beats) || writes > most { // a heartbeat comes up to a tenth early
		t.Errorf("%d writes in %s, %d heartbeats seen; want %d writes at most", writes, took.Round(time.Second), len(beats), most)
	}
	for kind, c := range after {
		was := before[kind]
		if c.Status != was.Status || c.LastTransitionTime != was.LastTransitionTime || !c.LastHeartbeatTime.After(was.LastHeartbeatTime.Time) {
			t.Errorf("%s was %+v, is %+v; want nothing but another heartbeat", kind, was, c)
		}
	}
	if after[health.ImagePullFailing].LastHeartbeatTime != after[health.ContainerRuntimeUnavailable].LastHeartbeatTime {
		t.Errorf("conditions are written one by one: %+v", after)
	}

	// From the start: what checks the node's name, and each stream as a streamed list or as a list and a watch.
	reads := make(map[string]int)
	for _, e := range asked(t, n, n.Created) {
		if what, _ := request(n, e); what != "patch status" {
			reads[what]++
		}
	}
	t.Logf("%d writes in %s; read since the start: %v", writes, took.Round(time.Second), reads)
	for what, times := range reads {
		if !slices.Contains([]string{"get nodes", "list pods", "watch pods", "list nodes", "watch nodes"}, what) || times > 2 {
			t.Errorf("%s, %d times, is more than the streams need", what, times)
		}
	}
}

// testDiesUnseen: what becomes of a condition while the API server is away is written once it is back, once, as of when it happened. That the
// agent is back costs the API server no more than a handful of requests, however many pods fail.
func testDiesUnseen(t *testing.T, a *agent) {
	ctx, n := t.Context(), a.n
	const pods = 12
	for i := range pods {
		if _, err := n.CreatePod(ctx, n.Pod(fmt.Sprintf("wrong-%d", i), "NOPE:1")); err != nil { // nobody pulls for it, with a runtime or without
			t.Fatal(err)
		}
	}
	eventually(t, 3*time.Minute, "their failures are seen", a.failing(ctx, pods))
	before := ours(t, n)
	must(t, n.Stop(node.PartAPIServer))
	left := time.Now()
	must(t, n.Kill(node.PartContainerd))
	died := time.Now()
	eventually(t, 3*time.Minute, "the agent's own judgement turns", func() error {
		m, err := a.metrics()
		if err != nil {
			return err
		}
		if is, _ := m.Sum("pullwatch_condition", `type="`+string(health.ContainerRuntimeUnavailable)+`"`); is != 1 {
			return fmt.Errorf("pullwatch_condition is %v", is)
		}
		return nil
	})
	turned := time.Now()
	if turned.Sub(died) < awayHold {
		t.Errorf("it turned %s after the runtime died, want %s at least", turned.Sub(died), awayHold)
	}
	time.Sleep(time.Until(left.Add(2*time.Minute + 5*time.Second))) // the agent waits for up to two minutes between two tries
	returned := time.Now()
	must(t, n.Restart(ctx, node.PartAPIServer))
	eventually(t, 4*time.Minute, "the condition is written", is(ctx, n, health.ContainerRuntimeUnavailable, corev1.ConditionTrue))
	written := time.Now()
	eventually(t, 2*time.Minute, "the stream is followed", a.stream(1))
	eventually(t, time.Minute, "an event on the node", events(ctx, n, runtimeAway, 1))
	eventually(t, time.Minute, "the heartbeats go on", beaten(t, n, written.Add(time.Second)))

	after := ours(t, n)
	c := after[health.ContainerRuntimeUnavailable]
	if late := turned.Sub(c.LastTransitionTime.Time); late < 0 || late > 3*time.Second { // the time on the node has seconds
		t.Errorf("the condition says that it is true since %s, and the agent's judgement turned at %s", c.LastTransitionTime, turned)
	}
	if c.Reason != runtimeAway || !strings.Contains(c.Message, "containerd.sock") {
		t.Errorf("reason %s, message %s", c.Reason, c.Message)
	}
	if was, is := before[health.ImagePullFailing], after[health.ImagePullFailing]; is.Status != was.Status || is.LastTransitionTime != was.LastTransitionTime {
		t.Errorf("the other condition was %+v, is %+v", was, is)
	}
	if err := events(ctx, n, runtimeAway, 1)(); err != nil {
		t.Error(err)
	}
	if err := a.failing(ctx, pods)(); err != nil {
		t.Error(err)
	}
	// Two streams: each goes on from where it was, and where the API server has forgotten that, asks for a streamed list or for a list and a
	// watch. And the patch, its event, and a heartbeat. That is less than one for each pod.
	const most = 2*4 + 3
	requests := asked(t, n, returned)
	busiest := 0
	for i, e := range requests {
		within := slices.IndexFunc(requests[i:], func(later node.AuditEntry) bool { return later.Received.Sub(e.Received) > 10*time.Second })
		if within < 0 {
			within = len(requests) - i
		}
		busiest = max(busiest, within)
	}
	t.Logf("written %s after the return; %d requests since, at most %d in 10 s", written.Sub(returned).Round(time.Second), len(requests), busiest)
	if busiest > most {
		t.Errorf("%d requests within 10 s, want %d at most: %s", busiest, most, list(n, requests))
	}
}

// testKilledUnseen: an agent that starts while the API server is away knows nothing of its conditions and writes none, until it has read
// what stands on the node. That holds for as long as it is so, and what is over is told as over, after its hold.
func testKilledUnseen(t *testing.T, a *agent) {
	ctx, n := t.Context(), a.n
	before := ours(t, n)
	returned := killUnseen(t, a, false)
	eventually(t, 2*time.Minute, "the heartbeats go on", beaten(t, n, returned))
	for kind, c := range ours(t, n) {
		if was := before[kind]; c.Status != was.Status || c.LastTransitionTime != was.LastTransitionTime {
			t.Errorf("%s was %+v, is %+v", kind, was, c)
		}
	}
	readFirst(t, n, returned)
	if err := events(ctx, n, runtimeAway, 1)(); err != nil {
		t.Errorf("what stood there is told again: %v", err)
	}

	returned = killUnseen(t, a, true)
	eventually(t, 2*time.Minute, "the runtime is back", is(ctx, n, health.ContainerRuntimeUnavailable, corev1.ConditionFalse))
	if held := ours(t, n)[health.ContainerRuntimeUnavailable].LastTransitionTime.Sub(returned); held < backHold-time.Second {
		t.Errorf("it is over %s after the API server's return, want %s at least: only then did the agent know of it", held, backHold)
	}
	readFirst(t, n, returned)
	eventually(t, 30*time.Second, "an event of its return", events(ctx, n, runtimeBack, 1))
}

// killUnseen takes the API server away, kills the agent, brings the runtime back or not, starts the agent and lets it see which, and brings
// the API server back.
func killUnseen(t *testing.T, a *agent, back bool) (returned time.Time) {
	t.Helper()
	must(t, a.n.Stop(node.PartAPIServer))
	must(t, a.n.Kill(agentPart))
	up := 0.
	if back {
		must(t, a.n.Restart(t.Context(), node.PartContainerd))
		up = 1
	}
	a.startUntil(t, "/healthz")
	eventually(t, time.Minute, "it has asked the runtime", a.runtimeUp(up))
	time.Sleep(10 * time.Second) // two rounds of judgement, and a heartbeat
	returned = time.Now()
	must(t, a.n.Restart(t.Context(), node.PartAPIServer))
	return returned
}

// ours are the agent's conditions on the node.
func ours(t *testing.T, n *node.Node) map[health.Type]corev1.NodeCondition {
	t.Helper()
	conditions := make(map[health.Type]corev1.NodeCondition)
	for _, kind := range health.Types {
		c, err := condition(t.Context(), n, string(kind))
		if err != nil || c == nil {
			t.Fatalf("condition %s: %+v (%v)", kind, c, err)
		}
		conditions[kind] = *c
	}
	return conditions
}

// beaten tells whether the conditions have been written after a moment.
func beaten(t *testing.T, n *node.Node, after time.Time) func() error {
	return func() error {
		if last := ours(t, n)[health.ContainerRuntimeUnavailable].LastHeartbeatTime; !last.After(after) {
			return fmt.Errorf("the last was at %s, and now it is %s", last, time.Now())
		}
		return nil
	}
}

// events tells whether there are so many events with a reason about the node.
func events(ctx context.Context, n *node.Node, reason string, want int) func() error {
	return func() error {
		object, err := n.Client().CoreV1().Nodes().Get(ctx, n.NodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		found, err := n.Client().CoreV1().Events(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.kind=Node,reason=" + reason + ",involvedObject.uid=" + string(object.UID),
		})
		if err == nil && len(found.Items) != want {
			return fmt.Errorf("%d events %s, want %d", len(found.Items), reason, want)
		}
		return err
	}
}

// failing tells whether so many pods cannot pull in the agent's eyes.
func (a *agent) failing(ctx context.Context, want int) func() error {
	return func() error {
		failures, err := a.failures(ctx)
		if err == nil && len(failures) != want {
			return fmt.Errorf("%d pods fail, want %d", len(failures), want)
		}
		return err
	}
}
