package nodestatus

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/internal/kube"
)

// fake records what is written, and refuses while broken.
type fake struct {
	broken atomic.Bool
	mu     sync.Mutex
	record
}

// record is what was written.
type record struct {
	tries   int
	patches []patch
	events  []kube.NodeEvent
}

func (f *fake) so() record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.record
}

type patch struct {
	at         time.Time
	conditions []kube.Condition
}

func (f *fake) PatchConditions(_ context.Context, conditions []kube.Condition, at time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tries++
	if f.broken.Load() {
		return errors.New("the API server is away")
	}
	f.patches = append(f.patches, patch{at, conditions})
	return nil
}

func (f *fake) CreateNodeEvent(_ context.Context, e kube.NodeEvent) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, e)
	return nil
}

// verdict of one condition; both are always given together.
func verdicts(runtime, pulls bool, message string) []health.Verdict {
	since := time.Now()
	return []health.Verdict{
		{Type: health.ContainerRuntimeUnavailable, True: runtime, Reason: "R", Message: message, Since: since},
		{Type: health.ImagePullFailing, True: pulls, Reason: "P", Message: message, Since: since},
	}
}

func run(t *testing.T, test func(m *Manager, f *fake)) {
	t.Helper()
	runWith(t, Heartbeat, test)
}

func runWith(t *testing.T, heartbeat time.Duration, test func(m *Manager, f *fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		m := New(f, heartbeat, slog.New(slog.DiscardHandler), func(string, error) {})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { m.Run(ctx); close(done) }()
		test(m, f)
		stop()
		<-done
	})
}

func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestStatusAtOnceTextWithTheHeartbeat(t *testing.T) {
	run(t, func(m *Manager, f *fake) {
		m.Found("uid", nil, nil)
		m.Set(verdicts(false, false, "fine"))
		wait(time.Second)
		if len(f.so().patches) != 1 || len(f.so().patches[0].conditions) != 2 || f.so().patches[0].conditions[0].Status != "False" {
			t.Fatalf("%+v, want one patch with both", f.so().patches)
		}
		if len(f.so().events) != 0 {
			t.Errorf("an event at the first visit: %+v", f.so().events)
		}
		m.Set(verdicts(false, false, "still fine, in other words"))
		wait(Heartbeat/10 - 2*time.Second)
		if n := len(f.so().patches); n != 1 {
			t.Errorf("%d patches for a text that changed", n)
		}
		wait(Heartbeat)
		n := len(f.so().patches)
		if n < 2 || n > 3 || f.so().patches[1].conditions[0].Message != "still fine, in other words" {
			t.Errorf("%d patches after a heartbeat: %+v", n, f.so().patches)
		}
		m.Set(verdicts(false, true, "bad"))
		wait(time.Second)
		if now := len(f.so().patches); now != n+1 || f.so().patches[n].conditions[1].Status != "True" {
			t.Errorf("%d patches after a change, %d before", now, n)
		}
		if len(f.so().events) != 1 || !f.so().events[0].Warning || f.so().events[0].NodeUID != "uid" {
			t.Errorf("%+v, want one warning", f.so().events)
		}
		m.Set(verdicts(false, false, "fine"))
		wait(time.Second)
		if len(f.so().events) != 2 || f.so().events[1].Warning {
			t.Errorf("%+v, want a normal event at the end", f.so().events)
		}
	})
}

func TestHeartbeats(t *testing.T) {
	for _, heartbeat := range []time.Duration{Heartbeat, HeartbeatLeast} {
		runWith(t, heartbeat, func(m *Manager, f *fake) {
			m.Found("uid", nil, nil)
			m.Set(verdicts(false, false, "fine"))
			wait(12 * heartbeat)
			patches := f.so().patches
			if n := len(patches); n < 11 || n > 16 {
				t.Errorf("every %s: %d patches in 12 times that", heartbeat, n)
			}
			for i := 1; i < len(patches); i++ {
				least := heartbeat * 9 / 10
				if i == 1 { // the one before was a change, after which a fleet is spread
					least = heartbeat / 10
				}
				if gap := patches[i].at.Sub(patches[i-1].at); gap < least || gap > heartbeat*11/10 {
					t.Errorf("every %s: %s between two heartbeats", heartbeat, gap)
				}
			}
		})
	}
}

func TestNothingBeforeTheNodeWasRead(t *testing.T) {
	run(t, func(m *Manager, f *fake) {
		m.Set(verdicts(true, true, "bad"))
		wait(time.Hour)
		if f.so().tries != 0 {
			t.Errorf("%d writes", f.so().tries)
		}
	})
}

// TestRestartWritesNothing: what stands on the node is what holds, so nothing changes and no event is due.
func TestRestartWritesNothing(t *testing.T) {
	const heartbeat = 1000 * Heartbeat // the first comes anywhere within it
	runWith(t, heartbeat, func(m *Manager, f *fake) {
		m.Found("uid", verdicts(true, false, "bad"), nil)
		m.Set(verdicts(true, false, "bad, still"))
		wait(time.Second)
		if f.so().tries != 0 {
			t.Errorf("%d writes", f.so().tries)
		}
		wait(2 * heartbeat)
		if len(f.so().events) != 0 {
			t.Errorf("%+v", f.so().events)
		}
	})
}

// TestJudgedNoMore: what an agent that was told otherwise has left goes with the first write, once, and an outage does not keep it.
func TestJudgedNoMore(t *testing.T) {
	run(t, func(m *Manager, f *fake) {
		f.broken.Store(true)
		m.Found("uid", verdicts(false, false, "fine")[1:], []health.Type{health.ContainerRuntimeUnavailable})
		m.Set(verdicts(false, false, "fine")[1:])
		wait(time.Second)
		if f.so().tries == 0 {
			t.Error("not at once")
		}
		f.broken.Store(false)
		wait(retryMost)
		wait(2 * Heartbeat)
		removal := kube.Condition{Type: string(health.ContainerRuntimeUnavailable)}
		for i, p := range f.so().patches {
			if first := i == 0; slices.Contains(p.conditions, removal) != first || p.conditions[0].Status != "False" {
				t.Errorf("patch %d: %+v, want the removal in the first alone", i, p.conditions)
			}
		}
		if n := len(f.so().patches); n < 3 {
			t.Errorf("%d patches, want the first and heartbeats", n)
		}
		if len(f.so().events) != 0 {
			t.Errorf("%+v", f.so().events)
		}
	})
}

// TestOutage: writes are tried again with a back-off, and what holds at the end is what is written.
func TestOutage(t *testing.T) {
	run(t, func(m *Manager, f *fake) {
		f.broken.Store(true)
		m.Found("uid", nil, nil)
		m.Set(verdicts(true, false, "bad"))
		wait(10 * time.Minute)
		if f.so().tries < 5 || f.so().tries > 20 {
			t.Errorf("%d tries in ten minutes", f.so().tries)
		}
		m.Set(verdicts(false, false, "fine"))
		f.broken.Store(false)
		wait(retryMost)
		if len(f.so().patches) == 0 || f.so().patches[0].conditions[0].Status != "False" || len(f.so().events) != 0 {
			t.Errorf("%+v %+v, want a patch of what holds and no event of what was never announced", f.so().patches, f.so().events)
		}
	})
}
