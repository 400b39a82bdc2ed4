package agent

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/pkg/probe"
)

var scheduleStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// asks runs a schedule for a while and tells when each registry was asked. answer tells whether one failed, and how long it wants peace.
func asks(s *schedule, from, to time.Time, answer func(name string, at time.Time) (failed bool, after time.Duration)) map[string][]time.Duration {
	all := make(map[string][]time.Duration)
	for now := from; now.Before(to); now = now.Add(100 * time.Millisecond) {
		for name, _, ok := s.due(now); ok; name, _, ok = s.due(now) {
			all[name] = append(all[name], now.Sub(from))
			failed, after := answer(name, now)
			s.done(name, failed, after, now)
		}
	}
	return all
}

func fine(string, time.Time) (bool, time.Duration) { return false, 0 }

func TestScheduleHealthy(t *testing.T) {
	const interval = 5 * time.Minute
	for range 50 {
		s := newSchedule(interval, 10)
		s.want([]string{"a"}, nil, scheduleStart)
		at := asks(s, scheduleStart, scheduleStart.Add(time.Hour), fine)["a"]
		if at[0] > firstWithin {
			t.Errorf("first asked after %s", at[0])
		}
		for i := 1; i < len(at); i++ {
			gap := at[i] - at[i-1]
			if gap > interval || i > 1 && gap < interval*9/10 {
				t.Errorf("%s between question %d and the next", gap, i)
			}
		}
	}
}

// TestScheduleFleet has many agents start together and the registry die for all of them: they must not march in step, and their sums are
// those of docs/probing.md.
func TestScheduleFleet(t *testing.T) {
	const agents, interval, dies, end = 500, 5 * time.Minute, 30 * time.Minute, 90 * time.Minute
	perSecond := make([]float64, int(end.Seconds()))
	for range agents {
		s := newSchedule(interval, 10)
		s.want([]string{"a"}, nil, scheduleStart)
		for _, at := range asks(s, scheduleStart, scheduleStart.Add(end), func(_ string, at time.Time) (bool, time.Duration) { return at.Sub(scheduleStart) > dies, 0 })["a"] {
			perSecond[int(at.Seconds())] += 5000. / agents
		}
	}
	mean := func(from, to time.Duration) (sum float64) {
		for _, n := range perSecond[int(from.Seconds()):int(to.Seconds())] {
			sum += n
		}
		return sum / (to - from).Seconds()
	}
	var peak float64
	for from := dies; from < end-time.Minute; from += 10 * time.Second {
		peak = max(peak, mean(from, from+10*time.Second))
	}
	health, first, later := mean(10*time.Minute, dies), mean(dies, dies+10*time.Minute), mean(dies+30*time.Minute, end)
	t.Logf("for 5,000 agents: %.1f a second in health, %.1f in the first 10 minutes of a failure (at most %.1f in 10 s), %.1f after half an hour", health, first, peak, later)
	if health > 20 || first > 40 || later > 20 {
		t.Errorf("that is more than 20 in health or 40 in failure")
	}
	for second, n := range perSecond[int((10 * time.Minute).Seconds()):int(dies.Seconds())] {
		if n > 150 { // of 17.5 on average; one agent is 10
			t.Errorf("%v of 5,000 agents ask in second %d", n, second)
		}
	}
}

func TestScheduleFailing(t *testing.T) {
	const interval = 5 * time.Minute
	s := newSchedule(interval, 10)
	s.want([]string{"a"}, nil, scheduleStart)
	failing := func(string, time.Time) (bool, time.Duration) { return true, 0 }
	at := asks(s, scheduleStart, scheduleStart.Add(30*time.Minute), failing)["a"]
	for i, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, interval, interval} {
		if gap := at[i+1] - at[i]; gap < want*3/4 || gap > want*5/4+time.Second {
			t.Errorf("%s until try %d, want about %s", gap, i+2, want)
		}
	}
	// One that is back is asked at the interval, and when it fails again soon.
	now := scheduleStart.Add(time.Hour)
	s.due(now)
	s.done("a", false, 0, now)
	if wait := s.wait(now); wait < interval*9/10 {
		t.Errorf("asked %s after it answered", wait)
	}
	now = now.Add(interval)
	s.due(now)
	s.done("a", true, 0, now)
	if wait := s.wait(now); wait > 40*time.Second {
		t.Errorf("asked only %s after it failed", wait)
	}
}

func TestScheduleRetryAfter(t *testing.T) {
	s := newSchedule(5*time.Minute, 10)
	s.want([]string{"a"}, nil, scheduleStart)
	at := asks(s, scheduleStart, scheduleStart.Add(time.Hour), func(string, time.Time) (bool, time.Duration) { return true, 20 * time.Minute })["a"]
	for i := 1; i < len(at); i++ {
		if gap := at[i] - at[i-1]; gap < 20*time.Minute {
			t.Errorf("asked after %s, which it had asked not to be", gap)
		}
	}
}

func TestScheduleHurry(t *testing.T) {
	s := newSchedule(5*time.Minute, 10)
	s.want([]string{"a"}, nil, scheduleStart)
	now := scheduleStart.Add(time.Minute)
	s.due(now)
	s.done("a", false, 0, now)
	// Pulls that fail all the time ask no more often than leastBetween.
	asked := 0
	for end := now.Add(10 * time.Minute); now.Before(end); now = now.Add(time.Second) {
		s.hurry("a", now)
		if _, _, ok := s.due(now); ok {
			asked++
			s.done("a", true, 0, now)
		}
	}
	if asked < 18 || asked > 20 {
		t.Errorf("asked %d times in 10 minutes of failing pulls, want one in %s", asked, leastBetween)
	}
	now = now.Add(time.Hour)
	s.hurry("a", now)
	if _, _, ok := s.due(now); !ok {
		t.Error("a pull that fails does not have the registry asked at once")
	}
	s.hurry("nobody", now) // is not known

	// Pulls that fail since it is asked too much are no reason to ask it.
	s.done("a", true, time.Hour, now)
	s.hurry("a", now.Add(time.Minute))
	if _, _, ok := s.due(now.Add(59 * time.Minute)); ok {
		t.Error("a pull that fails has a registry asked that wanted to be left alone")
	}
	if _, _, ok := s.due(now.Add(time.Hour)); !ok {
		t.Error("it is not asked after that")
	}
}

// TestEstablishedOrder: what bounds the number of registries takes those first that the operator means, and of those that pods bring to the node no
// domain has all.
func TestEstablishedOrder(t *testing.T) {
	a := &Agent{config: Config{Registries: []string{"z.operator.example"}}, registries: &registryWatch{named: []string{"y.configured.example", "ghcr.io"}}}
	a.snapshot.images.Store(&Part[Images]{Value: Images{Registries: []string{
		"a.evil.example", "b.evil.example", "c.evil.example:5000", "ghcr.io", "quay.io", "192.0.2.1:5000",
	}}})
	got := a.established()
	want := []string{
		"z.operator.example", "y.configured.example", "ghcr.io", "a.evil.example", "quay.io", "192.0.2.1:5000", "b.evil.example", "c.evil.example:5000",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestNamedOrder: a host that many pods fail on is one host, and comes before the second of any domain.
func TestNamedOrder(t *testing.T) {
	a := &Agent{registries: &registryWatch{}}
	a.snapshot.images.Store(&Part[Images]{})
	var failures []pulls.Failure
	for i := range 20 {
		failures = append(failures, pulls.Failure{Registry: fmt.Sprintf("%d.evil.example", i)}, pulls.Failure{Registry: "registry.shop.example"})
	}
	a.snapshot.failures.Store(&Part[[]pulls.Failure]{Value: failures})
	if _, named := a.registryNames(); len(named) != 21 || slices.Index(named, "registry.shop.example") > 1 {
		t.Errorf("%q", named)
	}
}

// TestLimitPasses: of a window that has passed nothing is known.
func TestLimitPasses(t *testing.T) {
	for window, lasts := range map[float64]time.Duration{60: time.Minute, 0: limitLasts} {
		l := rateLimit{&probe.RateLimit{WindowSeconds: window}, scheduleStart}
		if l.past(scheduleStart.Add(lasts)) || !l.past(scheduleStart.Add(lasts+time.Second)) {
			t.Errorf("a window of %g s does not last %s", window, lasts)
		}
	}
}

func TestScheduleWant(t *testing.T) {
	s := newSchedule(5*time.Minute, 3)
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("tenant-%d", i))
	}
	s.want([]string{"a", "b"}, append([]string{"a"}, many...), scheduleStart)
	if len(s.entries) != 3 || s.entries["a"] == nil || s.entries["b"] == nil || !s.entries["a"].established {
		t.Errorf("established registries are crowded out: %v", s.entries)
	}
	s.want([]string{"b"}, nil, scheduleStart)
	if len(s.entries) != 1 {
		t.Errorf("%d entries for one registry", len(s.entries))
	}
	// One that is being asked stays until it answered, and then goes.
	later := scheduleStart.Add(time.Hour)
	name, _, _ := s.due(later)
	s.want(nil, nil, later)
	s.done(name, false, 0, later)
	s.want(nil, nil, later)
	if len(s.entries) != 0 {
		t.Errorf("%d entries for none", len(s.entries))
	}
}

func TestScheduleLongestDueFirst(t *testing.T) {
	s := newSchedule(5*time.Minute, 10)
	s.want([]string{"c", "a", "b"}, nil, scheduleStart)
	for i, name := range []string{"b", "c", "a"} {
		s.entries[name].next = scheduleStart.Add(time.Duration(i) * time.Second)
	}
	var order []string
	for name, _, ok := s.due(scheduleStart.Add(time.Minute)); ok; name, _, ok = s.due(scheduleStart.Add(time.Minute)) {
		order = append(order, name)
	}
	if !slices.Equal(order, []string{"b", "c", "a"}) {
		t.Errorf("order %v", order)
	}
}

// TestAnswerJSON: half an answer is none.
func TestAnswerJSON(t *testing.T) {
	w := httptest.NewRecorder()
	answerJSON(w, []any{"first", math.Inf(1)})
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "first") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
