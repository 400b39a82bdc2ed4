package health

import (
	"slices"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cause"
)

// TestComing: what is about to be said is told from the first judgement on, with the time at which it is said, and no longer once it is.
func TestComing(t *testing.T) {
	full := Observation{Runtime: &Runtime{Up: true, Ready: true}, Pulls: &Pulls{Failing: []Failing{{Cause: cause.DiskFull, Scope: cause.ScopeNode}}}}
	p := newPlay(t).step(Observation{Runtime: full.Runtime, Pulls: &Pulls{}}, time.Minute)
	if got := p.state.Coming(); len(got) > 0 {
		t.Fatalf("nothing is wrong, and %+v is about to be said", got)
	}
	failed := p.now
	p.step(full, 30*time.Second).want(ImagePullFailing, "False")
	got := p.state.Coming()
	if len(got) != 1 || got[0].Type != ImagePullFailing || !got[0].True || got[0].Reason != "DiskFull" || !got[0].Since.Equal(failed) {
		t.Fatalf("about to be said: %+v", got)
	}
	p.step(full, got[0].Turns.Sub(p.now)).want(ImagePullFailing, "True")
	if got := p.state.Coming(); len(got) > 0 {
		t.Fatalf("it was said, and is still about to be: %+v", got)
	}
	p.step(Observation{}, 0)
	if got := p.state.Coming(); len(got) > 0 {
		t.Fatalf("what is not seen is about to be said: %+v", got)
	}
}

// TestAdvice: there is one for every reason with which a condition is True.
func TestAdvice(t *testing.T) {
	for _, fault := range faults {
		if Advice(RegistryUnreachable, fault.reason) == "" {
			t.Errorf("none for %s", fault.reason)
		}
	}
	for _, c := range cause.All() {
		if got := Advice(ImagePullFailing, camel(c.String())); got != c.Advice() {
			t.Errorf("%s: %q, want %q", c, got, c.Advice())
		}
	}
	for _, reason := range []string{"ContainerRuntimeDoesNotAnswer", "ContainerRuntimeNotReady"} {
		if Advice(ContainerRuntimeUnavailable, reason) == "" {
			t.Errorf("none for %s", reason)
		}
	}
	for _, typ := range slices.Concat(Types[1:], []Type{"Ready"}) {
		if got := Advice(typ, "Invented"); got != "" {
			t.Errorf("%s for a reason that is not ours: %q", typ, got)
		}
	}
}
