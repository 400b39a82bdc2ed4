package health

import (
	"strings"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cause"
)

var begin = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

// play steps through observations, one every five seconds, and returns the verdicts after the last.
type play struct {
	t     *testing.T
	state State
	now   time.Time
	last  map[Type]Verdict
}

func newPlay(t *testing.T) *play { return &play{t: t, now: begin} }

func (p *play) step(seen Observation, lasts time.Duration) *play {
	for end := p.now.Add(lasts); ; p.now = p.now.Add(5 * time.Second) {
		var verdicts []Verdict
		p.state, verdicts = Step(p.state, seen, p.now)
		p.last = make(map[Type]Verdict)
		for _, v := range verdicts {
			p.last[v.Type] = v
		}
		if !p.now.Before(end) {
			return p
		}
	}
}

func (p *play) want(t Type, status string) *play {
	p.t.Helper()
	v, known := p.last[t]
	got := "unknown"
	if known {
		got = map[bool]string{true: "True", false: "False"}[v.True]
	}
	if got != status {
		p.t.Errorf("%s is %s at +%s, want %s (%s: %s)", t, got, p.now.Sub(begin), status, v.Reason, v.Message)
	}
	if known && (v.Reason == "" || v.Message == "" || v.Since.IsZero()) {
		p.t.Errorf("%s: something is missing: %+v", t, v)
	}
	return p
}

func runtime(up, seen bool) Observation {
	return Observation{Runtime: &Runtime{Up: up, Ready: up, Seen: seen, Reason: "x"}}
}

// TestRuntimeHolds: at the default numbers, 45 s down and 15 s up.
func TestRuntimeHolds(t *testing.T) {
	p := newPlay(t).step(runtime(true, true), 0).want(ContainerRuntimeUnavailable, "False")
	p.step(runtime(false, true), 40*time.Second).want(ContainerRuntimeUnavailable, "False")
	p.step(runtime(true, true), 0).step(runtime(false, true), 40*time.Second).want(ContainerRuntimeUnavailable, "False") // a restart begins the count anew
	p.step(runtime(false, true), 10*time.Second).want(ContainerRuntimeUnavailable, "True")
	p.step(runtime(true, true), 10*time.Second).want(ContainerRuntimeUnavailable, "True")
	p.step(runtime(true, true), 10*time.Second).want(ContainerRuntimeUnavailable, "False")
}

// TestRuntimeNeverSeen: a socket that never answered is the agent's own trouble, unless the kubelet says the same of the runtime.
func TestRuntimeNeverSeen(t *testing.T) {
	newPlay(t).step(runtime(false, false), time.Hour).want(ContainerRuntimeUnavailable, "unknown")
	agrees := runtime(false, false)
	agrees.Runtime.KubeletAgrees = true
	newPlay(t).step(agrees, time.Minute).want(ContainerRuntimeUnavailable, "True")
	newPlay(t).step(Observation{}, time.Hour).want(ContainerRuntimeUnavailable, "unknown").want(ImagePullFailing, "unknown")
}

func TestRuntimeNotReady(t *testing.T) {
	seen := Observation{Runtime: &Runtime{Up: true, Seen: true, Reason: "storage is broken"}}
	p := newPlay(t).step(seen, time.Minute).want(ContainerRuntimeUnavailable, "True")
	if v := p.last[ContainerRuntimeUnavailable]; v.Reason != "ContainerRuntimeNotReady" || !strings.Contains(v.Message, "storage is broken") {
		t.Errorf("%+v", v)
	}
}

const established = "registry.example.com"

func failing(c cause.Cause, registry, namespace, owner string) Failing {
	return Failing{Namespace: namespace, Owner: owner, Registry: registry, Cause: c, Scope: c.Scope()}
}

func pulls(f ...Failing) Observation {
	return Observation{Pulls: &Pulls{Failing: f, Established: map[string]bool{established: true}}}
}

// TestWhatMayAlarm: each sentence of what may make ImagePullFailing True, and what never may.
func TestWhatMayAlarm(t *testing.T) {
	sandbox := failing(cause.NotFound, "elsewhere.example", "a", "1")
	sandbox.Sandbox, sandbox.Scope = true, cause.ScopeNode
	many := func(c cause.Cause, registry string) (f []Failing) {
		for _, namespace := range []string{"a", "b", "c"} {
			f = append(f, failing(c, registry, namespace, namespace+"-owner"))
		}
		return f
	}
	for _, test := range []struct {
		name string
		seen []Failing
		want string
	}{
		{"nothing fails", nil, "False"},
		{"a typo in the tag", many(cause.NotFound, established), "False"},
		{"a typo in the host", many(cause.DNS, "typo.example"), "False"},
		{"an unreachable host that only pods name", many(cause.Connection, "tenant.example"), "False"},
		{"a wrong name", many(cause.InvalidReference, ""), "False"},
		{"no scope", many(cause.Unknown, established), "False"},
		{"throttled at boot", many(cause.Throttled, established), "False"},
		{"the node's disk", []Failing{failing(cause.DiskFull, "tenant.example", "a", "1")}, "True"},
		{"network to an established registry", []Failing{failing(cause.TLS, established, "a", "1")}, "True"},
		{"a sandbox image, whatever the cause", []Failing{sandbox}, "True"},
		{"one workload's secret", []Failing{failing(cause.Unauthorized, established, "a", "1"), failing(cause.Unauthorized, established, "a", "1")}, "False"},
		{"two workloads of one namespace", []Failing{failing(cause.Unauthorized, established, "a", "1"), failing(cause.Unauthorized, established, "a", "2")}, "False"},
		{"one owner in two namespaces", []Failing{failing(cause.Unauthorized, established, "a", "1"), failing(cause.Unauthorized, established, "b", "1")}, "False"},
		{"two namespaces and two owners", []Failing{failing(cause.Unauthorized, established, "a", "1"), failing(cause.Unauthorized, established, "b", "2")}, "True"},
		{"so, but for two causes", []Failing{failing(cause.Unauthorized, established, "a", "1"), failing(cause.RateLimited, established, "b", "2")}, "False"},
		{"so, on a registry that only pods name", many(cause.RateLimited, "tenant.example"), "False"},
		{"rate limited, widely", many(cause.RateLimited, established), "True"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t).step(pulls(), 0).want(ImagePullFailing, "False")
			p.step(pulls(test.seen...), 3*time.Minute).want(ImagePullFailing, test.want)
		})
	}
}

// TestPullsHold: two minutes until True, one until False.
func TestPullsHold(t *testing.T) {
	bad, fine := pulls(failing(cause.DiskFull, established, "a", "1")), pulls()
	p := newPlay(t).step(fine, 0).step(bad, 115*time.Second).want(ImagePullFailing, "False")
	p.step(bad, 10*time.Second).want(ImagePullFailing, "True")
	p.step(fine, 55*time.Second).want(ImagePullFailing, "True")
	p.step(fine, 10*time.Second).want(ImagePullFailing, "False")
}

// TestFlapping: a fault that comes and goes within the hold never shows.
func TestFlapping(t *testing.T) {
	bad, fine := pulls(failing(cause.DiskFull, established, "a", "1")), pulls()
	p := newPlay(t)
	for range 20 {
		p.step(fine, 30*time.Second).step(bad, 90*time.Second).want(ImagePullFailing, "False")
	}
}

// TestNotSeen: what cannot be looked at neither ripens nor changes anything.
func TestNotSeen(t *testing.T) {
	bad := pulls(failing(cause.DiskFull, established, "a", "1"))
	p := newPlay(t).step(pulls(), 0).step(bad, time.Minute).step(Observation{}, time.Hour).want(ImagePullFailing, "False")
	p.step(bad, time.Minute).want(ImagePullFailing, "False")
	p.step(bad, 2*time.Minute).want(ImagePullFailing, "True")
	p.step(Observation{}, time.Hour).want(ImagePullFailing, "True")
}

// TestResume: an agent that restarts in the middle of an outage flips nothing, and keeps since when.
func TestResume(t *testing.T) {
	since := begin.Add(-time.Hour)
	p := newPlay(t)
	p.state = Resume([]Verdict{{Type: ImagePullFailing, True: true, Reason: "DiskFull", Message: "m", Since: since}, {Type: "Foreign", True: true}})
	p.step(Observation{}, time.Minute).want(ImagePullFailing, "True")
	p.step(pulls(), 30*time.Second).want(ImagePullFailing, "True")
	if v := p.last[ImagePullFailing]; !v.Since.Equal(since) {
		t.Errorf("since %s, want %s", v.Since, since)
	}
	p.step(pulls(), time.Minute).want(ImagePullFailing, "False")
	if _, known := p.last["Foreign"]; known {
		t.Error("a condition of somebody else's was taken over")
	}
}

// TestMessage names cause, registry and number, the most frequent first, and is bounded.
func TestMessage(t *testing.T) {
	var many []Failing
	for i := range 40 {
		f := failing(cause.Connection, established, "a", "1")
		if i%4 == 0 {
			f = failing(cause.DiskFull, strings.Repeat("x", i)+".example", "a", "1")
		}
		many = append(many, f)
	}
	v := newPlay(t).step(pulls(many...), 3*time.Minute).last[ImagePullFailing]
	if !strings.HasPrefix(v.Message, "The registry cannot be connected to (connection) at "+established+": 30 waiting; ") || !strings.HasSuffix(v.Message, "and 6 more") {
		t.Errorf("message %q", v.Message)
	}
	if v.Reason != "Connection" {
		t.Errorf("reason %q", v.Reason)
	}
}

func TestReasonsAreOneWord(t *testing.T) {
	for _, c := range cause.All() {
		if reason := camel(c.String()); strings.ContainsAny(reason, "_ ") || reason[0] < 'A' || reason[0] > 'Z' {
			t.Errorf("%s reads %q", c, reason)
		}
	}
}
