package health

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestRegistriesHold: two minutes until True, half a minute until False.
func TestRegistriesHold(t *testing.T) {
	bad, fine := probed(noResolver), probed(reached)
	p := newPlay(t).step(fine, 0).step(bad, 115*time.Second).want(RegistryUnreachable, "False")
	p.step(bad, 10*time.Second).want(RegistryUnreachable, "True")
	p.step(fine, 25*time.Second).want(RegistryUnreachable, "True")
	p.step(fine, 10*time.Second).want(RegistryUnreachable, "False")
	for range 20 {
		p.step(bad, 90*time.Second).step(fine, 30*time.Second).want(RegistryUnreachable, "False")
	}
	// Without any verdict before, the same hold.
	p = newPlay(t).step(bad, 115*time.Second).want(RegistryUnreachable, "unknown")
	p.step(bad, 10*time.Second).want(RegistryUnreachable, "True")
	for range 20 {
		p.step(fine, 20*time.Second).step(bad, 100*time.Second).want(RegistryUnreachable, "True")
	}
	// A fault that changes its reason is one fault.
	p = newPlay(t).step(fine, 0).step(bad, time.Minute).step(probed(proxyDead), 65*time.Second).want(RegistryUnreachable, "True")
	if v := p.last[RegistryUnreachable]; v.Reason != "ProxyFails" {
		t.Errorf("%+v", v)
	}
}

// TestRegistriesNotSeen: what is not looked at for a while neither ripens nor ends, whether nothing is seen or nothing is known.
func TestRegistriesNotSeen(t *testing.T) {
	bad, fine := probed(noResolver), probed(reached)
	for _, nothing := range []Observation{{}, probed(), probed(unknown, unknown)} {
		p := newPlay(t).step(nothing, time.Hour).want(RegistryUnreachable, "unknown")
		p.step(fine, 0).step(bad, time.Minute).step(nothing, time.Hour).want(RegistryUnreachable, "False")
		p.step(bad, time.Minute).want(RegistryUnreachable, "False")
		p.step(bad, 65*time.Second).want(RegistryUnreachable, "True")
		p.step(fine, 20*time.Second).step(nothing, time.Hour).want(RegistryUnreachable, "True")
		p.step(fine, 20*time.Second).want(RegistryUnreachable, "True")
		p.step(fine, 15*time.Second).want(RegistryUnreachable, "False")
	}
}

// TestRegistriesResume: an agent that restarts in the middle of an outage flips nothing, and ends it when it is over.
func TestRegistriesResume(t *testing.T) {
	since := begin.Add(-time.Hour)
	for _, first := range []Observation{probed(noResolver), probed(reached)} {
		p := newPlay(t)
		p.state = Resume([]Verdict{{Type: RegistryUnreachable, True: true, Reason: "NameResolutionFails", Message: "m", Since: since}})
		p.step(Observation{}, time.Minute).want(RegistryUnreachable, "True")
		p.step(first, 20*time.Second).want(RegistryUnreachable, "True")
		if v := p.last[RegistryUnreachable]; !v.Since.Equal(since) {
			t.Errorf("since %s, want %s", v.Since, since)
		}
		p.step(probed(reached), 35*time.Second).want(RegistryUnreachable, "False")
	}
}

// site is a registry that is asked at the defaults: every 5 minutes, and after a failure 30, 60, 120 and 240 s later, each a quarter more
// or less.
type site struct {
	next  time.Time
	retry time.Duration
	said  Probed
}

func (s *site) ask(now time.Time, answer Probed) {
	const interval = 5 * time.Minute
	if now.Before(s.next) {
		return
	}
	s.said = answer
	if *answer.Reached {
		s.retry = 30 * time.Second
		s.next = now.Add(interval*9/10 + rand.N(interval/10))
		return
	}
	s.next = now.Add(s.retry*3/4 + rand.N(s.retry/2))
	s.retry = min(2*s.retry, interval)
}

// TestRegistryOutages: three registries that are asked at the defaults. An outage is True after all have been asked again and the hold is
// over, and False after one was reached and the hold is over; one that is shorter than two repeats never shows.
func TestRegistryOutages(t *testing.T) {
	const known, least, most = 10 * time.Minute, 2 * time.Minute, 5*time.Minute + 2*time.Minute + 5*time.Second
	for _, outage := range []time.Duration{time.Minute, 20 * time.Minute} {
		for range 200 {
			down := begin.Add(known + rand.N(5*time.Minute))
			up := down.Add(outage)
			sites := []*site{{}, {}, {}}
			for _, s := range sites {
				s.next, s.retry, s.said = begin.Add(rand.N(5*time.Minute)), 30*time.Second, unknown
			}
			var state State
			var turned []time.Time
			for now := begin; now.Before(up.Add(10 * time.Minute)); now = now.Add(5 * time.Second) {
				answer := reached
				if !now.Before(down) && now.Before(up) {
					answer = stalled
				}
				var seen []Probed
				for _, s := range sites {
					s.ask(now, answer)
					seen = append(seen, s.said)
				}
				var verdicts []Verdict
				state, verdicts = Step(state, probed(seen...), now)
				for _, v := range verdicts {
					if is := v.Type == RegistryUnreachable && v.True; is != (len(turned)%2 == 1) {
						turned = append(turned, now)
					}
				}
			}
			if outage == time.Minute {
				if len(turned) != 0 {
					t.Fatalf("an outage of %s turns it %d times", outage, len(turned))
				}
				continue
			}
			if len(turned) != 2 {
				t.Fatalf("an outage of %s turns it %d times, want 2", outage, len(turned))
			}
			if late := turned[0].Sub(down); late < least || late > most {
				t.Fatalf("True %s after the outage began, want %s to %s", late, least, most)
			}
			if late := turned[1].Sub(up); late < 30*time.Second || late > 6*time.Minute+50*time.Second {
				t.Fatalf("False %s after the outage ended", late)
			}
		}
	}
}
