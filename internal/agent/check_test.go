package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// logged is a log that a test reads while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) count(text string) int { return strings.Count(l.String(), text) }

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// hinted is an error that says what to do.
type hinted struct{ error }

func (hinted) Hint() string { return "do this" }

// loopOf runs a check in a synctest bubble for a while and gives when each run began, its log, and what the observer was told.
func loopOf(t *testing.T, c *check, during time.Duration) (runs []time.Duration, log *logged, oks []bool) {
	t.Helper()
	log = &logged{}
	c.done = make(chan struct{})
	run, start := c.run, time.Now()
	c.run = func(ctx context.Context) error {
		runs = append(runs, time.Since(start))
		return run(ctx)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.loop(ctx, log.logger(), func(name string, _ time.Duration, _ time.Time, ok bool) {
			if name != c.name {
				t.Errorf("observed as %q", name)
			}
			oks = append(oks, ok)
		})
	}()
	time.Sleep(during) // the bubble's clock
	synctest.Wait()
	cancel()
	<-ended
	return runs, log, oks
}

func TestCheckRunsAtOnceAndAtItsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &check{name: "fine", interval: time.Minute, timeout: time.Second, run: func(context.Context) error { return nil }}
		runs, log, oks := loopOf(t, c, time.Hour)
		if runs[0] != 0 {
			t.Errorf("first run after %v, want at once", runs[0])
		}
		jitter := false
		for i := 1; i < len(runs); i++ {
			wait := runs[i] - runs[i-1]
			if wait < 54*time.Second || wait > 66*time.Second {
				t.Errorf("run %d after %v, want a minute and at most a tenth", i, wait)
			}
			jitter = jitter || wait != time.Minute
		}
		if !jitter {
			t.Error("no jitter: a fleet would march in step")
		}
		if len(runs) < 54 || slices.Contains(oks, false) || log.String() != "" {
			t.Errorf("%d runs, observed %v, log %q", len(runs), oks, log)
		}
	})
}

func TestCheckThatCannotTellIsRetriedSoonerAndLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c := &check{name: "sick", interval: time.Minute, timeout: time.Second, run: func(context.Context) error {
			if n++; n <= 12 {
				return hinted{errors.New("no answer")}
			}
			return nil
		}}
		runs, log, oks := loopOf(t, c, 20*time.Minute)
		for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second,
			time.Minute, time.Minute, time.Minute} {
			if got := runs[i+1] - runs[i]; got < want*9/10 || got > want*11/10+time.Millisecond {
				t.Errorf("retry %d after %v, want about %v", i+1, got, want)
			}
		}
		if got := log.count("check cannot tell"); got != 1 {
			t.Errorf("%d lines of the failure, want one for the transition:\n%s", got, log)
		}
		if got := log.count("check can tell again"); got != 1 {
			t.Errorf("%d lines of the recovery, want 1:\n%s", got, log)
		}
		if !strings.Contains(log.String(), `hint="do this"`) || !strings.Contains(log.String(), "check=sick") {
			t.Errorf("the line lacks check or hint:\n%s", log)
		}
		if oks[11] || !oks[12] {
			t.Errorf("observed %v, want false twelve times and then true", oks)
		}
	})
}

// A check that was sick before starts again with the short wait when it becomes sick anew.
func TestCheckRetryStartsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c := &check{name: "flaps", interval: time.Minute, timeout: time.Second, run: func(context.Context) error {
			if n++; n == 7 {
				return nil
			}
			return errors.New("no answer")
		}}
		runs, _, _ := loopOf(t, c, 5*time.Minute)
		if got := runs[8] - runs[7]; got > 2*time.Second {
			t.Errorf("first retry of the second failure after %v, want about a second", got)
		}
	})
}

func TestCheckSurvivesAPanic(t *testing.T) {
	old := slog.Default()
	t.Cleanup(func() { slog.SetDefault(old) })
	slog.SetDefault(slog.New(slog.DiscardHandler))
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c := &check{name: "wild", interval: time.Minute, timeout: time.Second, run: func(context.Context) error {
			if n++; n == 1 {
				panic("nil map")
			}
			return nil
		}}
		runs, log, oks := loopOf(t, c, 10*time.Second)
		if len(runs) != 2 || !slices.Equal(oks, []bool{false, true}) {
			t.Fatalf("%d runs, observed %v, want it run again after a second", len(runs), oks)
		}
		if log.count("nil map") != 1 {
			t.Errorf("log does not say what the panic was:\n%s", log)
		}
	})
}

// The stack of a panic goes where the agent logs, not to whatever the process has as default.
func TestPanicIsLoggedToTheAgentsLog(t *testing.T) {
	old := slog.Default()
	t.Cleanup(func() { slog.SetDefault(old) })
	var elsewhere logged
	slog.SetDefault(elsewhere.logger())
	synctest.Test(t, func(t *testing.T) {
		c := &check{name: "wild", interval: time.Minute, timeout: time.Second, run: func(context.Context) error { panic("nil map") }}
		loopOf(t, c, 10*time.Second)
	})
	if elsewhere.String() != "" {
		t.Errorf("written to slog.Default(): %d lines", elsewhere.count("\n"))
	}
}

func TestCheckHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &check{name: "slow", interval: time.Minute, timeout: 3 * time.Second, run: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		runs, _, oks := loopOf(t, c, 4500*time.Millisecond)
		if len(runs) != 2 || len(oks) != 1 || oks[0] {
			t.Errorf("runs at %v, observed %v, want the first ended after 3 s and the second begun", runs, oks)
		}
	})
}

// A stop in the middle of a run says nothing of the check: neither counted nor logged.
func TestStopDuringARunIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &check{name: "slow", interval: time.Minute, timeout: time.Hour, run: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		_, log, oks := loopOf(t, c, time.Second)
		if len(oks) != 0 || log.String() != "" {
			t.Errorf("observed %v, log %q", oks, log)
		}
	})
}

func TestStalled(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const patience = 2*15*time.Second + 10*time.Second + time.Minute
	for _, test := range []struct {
		name     string
		finished time.Duration // after start; 0 is never
		now      time.Duration
		want     bool
	}{
		{"just started", 0, time.Second, false},
		{"first run takes its time", 0, patience, false},
		{"first run never ends", 0, patience + time.Second, true},
		{"runs", time.Hour, time.Hour + 16*time.Second, false},
		{"stopped running", time.Hour, time.Hour + patience + time.Second, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &check{interval: 15 * time.Second, timeout: 10 * time.Second}
			if test.finished != 0 {
				c.finished.Store(start.Add(test.finished).UnixNano())
			}
			if got := c.stalled(start, start.Add(test.now)); got != test.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// TestChecksAreInTheirRunbook: the page of the alert on checks that cannot tell says of each what it needs.
func TestChecksAreInTheirRunbook(t *testing.T) {
	page, err := os.ReadFile("../../docs/runbooks/PullwatchChecksStale.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range New(Config{}).checks {
		if !strings.Contains(string(page), "\n| `"+c.name+"` | ") {
			t.Errorf("the page has no row of the check %s", c.name)
		}
	}
}

func TestHint(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{errors.New("x"), ""},
		{hinted{errors.New("x")}, "do this"},
		{&ListenError{"unix", "/run/x.sock", "--socket", errors.New("x")}, `Name another path with --socket, or none with --socket="".`},
		{fmt.Errorf("look: %w", hinted{errors.New("y")}), "do this"},
	} {
		if got := hint(test.err); got != test.want {
			t.Errorf("hint(%v) = %q, want %q", test.err, got, test.want)
		}
	}
}
