package agent

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// When registries are asked.
const (
	// firstWithin spreads the first questions of agents that start together after an upgrade.
	firstWithin = 20 * time.Second
	// retryFirstProbe is how soon a registry that failed is asked again; it doubles up to the interval.
	retryFirstProbe = 30 * time.Second
	// leastBetween bounds what failing pulls can make an agent ask: a registry is asked no more often, whatever happens.
	leastBetween = 30 * time.Second
)

// schedule decides which registries are asked when. It is owned by one goroutine.
type schedule struct {
	interval time.Duration
	most     int // registries in all
	entries  map[string]*scheduled
}

// scheduled is one registry.
type scheduled struct {
	established bool
	asking      bool
	failing     bool      // when it was asked last
	asked       int       // so often
	last        time.Time // when it was asked last
	next        time.Time
	notBefore   time.Time     // it wants to be left alone until then
	retry       time.Duration // after the next failure
}

func newSchedule(interval time.Duration, most int) *schedule {
	return &schedule{interval: interval, most: most, entries: make(map[string]*scheduled)}
}

// want names the registries to ask, in the order in which they are given: established ones first, then as many of those that only pods name as there is
// room for. One that is known keeps its time.
func (s *schedule) want(established, named []string, now time.Time) {
	wanted := make(map[string]bool)
	for i, name := range slices.Concat(established, named) {
		if len(wanted) == s.most {
			break
		}
		if _, ok := wanted[name]; !ok {
			wanted[name] = i < len(established)
		}
	}
	maps.DeleteFunc(s.entries, func(name string, e *scheduled) bool { _, ok := wanted[name]; return !ok && !e.asking })
	for name, of := range wanted {
		e := s.entries[name]
		if e == nil {
			e = &scheduled{next: now.Add(rand.N(min(firstWithin, s.interval))), retry: min(retryFirstProbe, s.interval)}
			s.entries[name] = e
		}
		e.established = of
	}
}

// due takes the registry whose time has come, the longest due first.
func (s *schedule) due(now time.Time) (name string, established, ok bool) {
	for candidate, e := range s.entries {
		if !e.asking && !e.next.After(now) && (!ok || cmp.Or(e.next.Compare(s.entries[name].next), cmp.Compare(candidate, name)) < 0) {
			name, ok = candidate, true
		}
	}
	if !ok {
		return "", false, false
	}
	e := s.entries[name]
	e.asking, e.last = true, now
	e.asked++
	return name, e.established, true
}

// wait is the time until a registry is due.
func (s *schedule) wait(now time.Time) time.Duration {
	least := s.interval
	for _, e := range s.entries {
		if !e.asking {
			least = min(least, e.next.Sub(now))
		}
	}
	return max(least, 0)
}

// done plans the next question. failed is for a registry that does not serve; after is how long it wants to be left alone. It tells whether
// the registry has begun to fail.
func (s *schedule) done(name string, failed bool, after time.Duration, now time.Time) (began bool) {
	e := s.entries[name]
	if e == nil {
		return false
	}
	began = failed && !e.failing
	e.asking, e.failing, e.notBefore = false, failed, now.Add(after)
	switch {
	case failed:
		// A quarter of jitter either way, so that the nodes that lost a registry together do not come back to it together.
		e.next = now.Add(max(e.retry*3/4+rand.N(e.retry/2), after))
		e.retry = min(2*e.retry, s.interval)
		return began
	case e.asked == 1:
		// The second question comes anywhere within the interval: from then on a fleet is spread all over it.
		e.next = now.Add(rand.N(s.interval))
	default:
		e.next = now.Add(s.interval*19/20 + rand.N(s.interval/20))
	}
	e.retry = min(retryFirstProbe, s.interval)
	return began
}

// hurry has a registry asked as soon as may be: a pull from it has just failed, or has worked. One that wants to be left alone is: the pulls that fail
// for that would each bring it another question.
func (s *schedule) hurry(name string, now time.Time) {
	e := s.entries[name]
	if e == nil {
		return
	}
	soon := now
	if !e.last.IsZero() && e.last.Add(leastBetween).After(soon) {
		soon = e.last.Add(leastBetween)
	}
	if e.notBefore.After(soon) {
		soon = e.notBefore
	}
	if e.next.After(soon) {
		e.next = soon
	}
}
