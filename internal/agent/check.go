package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// check is one periodic observation. An error means that it could not tell; that something is wrong with the node is a result.
type check struct {
	name     string
	interval time.Duration
	timeout  time.Duration
	run      func(context.Context) error

	done     chan struct{} // closed after the first run, whatever it told
	finished atomic.Int64  // when a run last ended, in Unix nanoseconds
}

// retryFirst is how soon a check that could not tell is run again; it doubles up to the check's interval.
const retryFirst = time.Second

// observer is told how each run went.
type observer func(name string, took time.Duration, at time.Time, ok bool)

// loop runs the check until ctx ends: at once, then at its interval with a tenth of jitter, so that the agents of a fleet do not march
// in step. It logs when a check stops or starts being able to tell, not each run.
func (c *check) loop(ctx context.Context, log *slog.Logger, observe observer) {
	retry := retryFirst
	failing := false
	for {
		start := time.Now()
		err := c.once(ctx)
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		observe(c.name, now.Sub(start), now, err == nil)
		if c.finished.Swap(now.UnixNano()) == 0 {
			close(c.done)
		}
		wait := c.interval
		switch {
		case err != nil:
			if !failing {
				log.Warn("check cannot tell", append([]any{"check", c.name, "error", err, "hint", hint(err)}, stack(err)...)...)
			}
			wait, retry = min(retry, c.interval), min(2*retry, c.interval)
		case failing:
			log.Info("check can tell again", "check", c.name)
			fallthrough
		default:
			retry = retryFirst
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait*9/10 + rand.N(wait/5+1)):
		}
	}
}

// once runs the check with its deadline. A panic is an error like any other: one check must not take the agent down.
func (c *check) once(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, debug.Stack()}
		}
	}()
	return c.run(ctx)
}

// stalled tells whether the check should have ended a run by now and has not.
func (c *check) stalled(started, now time.Time) bool {
	last := started
	if at := c.finished.Load(); at != 0 {
		last = time.Unix(0, at)
	}
	return now.Sub(last) > 2*c.interval+c.timeout+time.Minute
}

// panicError is a defect of ours. Its stack is for the log alone.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// stack is the attribute of a log line about a defect of ours.
func stack(err error) []any {
	var p *panicError
	if errors.As(err, &p) {
		return []any{"stack", string(p.stack)}
	}
	return nil
}

// hint is the sentence on what to do that an error, or one that it wraps, may carry.
func hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
