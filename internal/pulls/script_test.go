package pulls_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/internal/pulls"
)

// start is when every script begins. Times in what is wanted are told relative to it.
var start = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

// What containerd says, as kubelets hand it on.
const (
	image     = "registry.example/shop/web:1"
	notFound  = `failed to pull and unpack image "registry.example/shop/web:1": failed to resolve reference "registry.example/shop/web:1": registry.example/shop/web:1: not found`
	noHost    = `failed to pull and unpack image "registry.example/shop/web:1": failed to resolve reference "registry.example/shop/web:1": failed to do request: Head "https://registry.example/v2/shop/web/manifests/1": dial tcp: lookup registry.example: no such host`
	refused   = `failed to pull and unpack image "registry.example/shop/web:1": failed to resolve reference "registry.example/shop/web:1": failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://registry.example/token?scope=repository%3Ashop%2Fweb%3Apull: 401 Unauthorized`
	bare      = `Back-off pulling image "registry.example/shop/web:1"`
	noSecret  = `Unable to retrieve some image pull secrets (regcred); attempting to pull the image may not succeed.`
	pauseText = `Failed to create pod sandbox: rpc error: code = NotFound desc = failed to get sandbox image "registry.example/pause:9": failed to pull image "registry.example/pause:9": failed to pull and unpack image "registry.example/pause:9": failed to resolve reference "registry.example/pause:9": registry.example/pause:9: not found`
	cniText   = `Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "4c9f": plugin type="bridge" failed (add): failed to allocate for range 0: no IP addresses available in range set`
)

// script drives a tracker through fake time.
type script struct {
	now     time.Time
	tracker *pulls.Tracker
	told    []pulls.Change
}

func newScript() *script {
	s := &script{now: start}
	s.tracker = pulls.NewTracker(func() time.Time { return s.now }, func(changes []pulls.Change) { s.told = append(s.told, changes...) })
	return s
}

// following is a script whose tracker has seen its first list, with nothing in it.
func following() *script {
	s := newScript()
	s.tracker.Replace(nil)
	return s
}

// at sets the time since the start.
func (s *script) at(d time.Duration) *script {
	s.now = start.Add(d)
	return s
}

// wantTold checks the changes told since it was last called, in any order: a map's order is nobody's promise.
func (s *script) wantTold(t *testing.T, want ...string) {
	t.Helper()
	got := make([]string, 0, len(s.told))
	for i := range s.told {
		if s.told[i].What == pulls.Updated { // seen in the failure itself
			continue
		}
		got = append(got, tell(&s.told[i]))
	}
	s.told = nil
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
		t.Errorf("changes at +%s (-want +got):\n%s", s.now.Sub(start), diff)
	}
}

func (s *script) wantFailing(t *testing.T, want ...string) {
	t.Helper()
	got := make([]string, 0, len(want))
	for _, f := range s.tracker.Failures() {
		got = append(got, show(&f))
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("failures at +%s (-want +got):\n%s", s.now.Sub(start), diff)
	}
}

// wantDue checks which pods' events are to be asked for.
func (s *script) wantDue(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, ask := range s.tracker.Due() {
		if ask.Namespace != "shop" || ask.UID != uid(ask.Name) {
			t.Errorf("asked for %+v", ask)
		}
		got = append(got, ask.Name)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
		t.Errorf("due at +%s (-want +got):\n%s", s.now.Sub(start), diff)
	}
}

// only is the one failure there is.
func (s *script) only(t *testing.T) pulls.Failure {
	t.Helper()
	failures := s.tracker.Failures()
	if len(failures) != 1 {
		t.Fatalf("%d failures at +%s, want 1: %+v", len(failures), s.now.Sub(start), failures)
	}
	return failures[0]
}

func tell(c *pulls.Change) string {
	text := fmt.Sprintf("%s %s/%s %s", map[pulls.Step]string{pulls.Began: "began", pulls.Retried: "retried", pulls.Renamed: "renamed", pulls.Ended: "ended"}[c.What], c.Pod, c.Container, c.Cause)
	if c.What == pulls.Renamed {
		text += " was " + c.Before.String()
	}
	if c.What == pulls.Began && !c.Fresh {
		text += " (found)"
	}
	return text
}

func show(f *pulls.Failure) string {
	when := func(t time.Time, from pulls.Source) string {
		switch {
		case t.IsZero() && from == "":
			return "?"
		case t.IsZero() || from == "":
			return fmt.Sprintf("BAD(%s %s)", t, from)
		}
		return fmt.Sprintf("%s(%s)", t.Sub(start), from)
	}
	attempts := "?"
	if f.Attempts != 0 || f.AttemptsFrom != "" {
		attempts = fmt.Sprintf("%d(%s)", f.Attempts, f.AttemptsFrom)
	}
	return fmt.Sprintf("%s/%s %s %s since %s tried %s next %s", f.Pod, f.Container, f.Kind, f.Cause, when(f.Since, f.SinceFrom), attempts,
		when(f.NextTry, f.NextTryFrom))
}

func uid(name string) string { return "uid-" + name }

// pod is one that the kubelet took on a minute ago and that has its sandbox.
func pod(name string, containers ...kube.Container) kube.Pod {
	return kube.Pod{
		UID: uid(name), Namespace: "shop", Name: name, Created: start.Add(-time.Minute), Started: start.Add(-time.Minute), HasSandbox: true,
		Containers: containers,
	}
}

// unsandboxed is a pod that the kubelet took on at the start and that got no further.
func unsandboxed(name string) kube.Pod {
	p := pod(name, waits("app", image, "ContainerCreating", ""))
	p.Started, p.HasSandbox = start, false
	return p
}

func waits(name, image, reason, message string) kube.Container {
	return kube.Container{Name: name, Kind: kube.KindContainer, Image: image, State: kube.Waiting, Reason: reason, Message: message}
}

func is(name, image string, state kube.State) kube.Container {
	return kube.Container{Name: name, Kind: kube.KindContainer, Image: image, State: state}
}

// app is the pod "web" with one container, which waits.
func app(reason, message string) kube.Pod { return pod("web", waits("app", image, reason, message)) }

// failed is the kubelet's event of a failed pull of the container app, count times between two times since the start.
func failed(image, text string, count int, first, last time.Duration) kube.Event {
	return kube.Event{
		Reason: "Failed", Message: fmt.Sprintf("Failed to pull image %q: %s", image, text), FieldPath: "spec.containers{app}", Count: count,
		First: start.Add(first), Last: start.Add(last),
	}
}

func podEvent(reason, text string, count int, first, last time.Duration) kube.Event {
	return kube.Event{Reason: reason, Message: text, Count: count, First: start.Add(first), Last: start.Add(last)}
}
