// Package nodestatus decides what is written of the node's conditions, and when.
//
// It promises three things. A condition that changes its status is written at once, one that changes its text alone with the heartbeat. All
// conditions go in one patch, so that a write costs every watcher of nodes one update. Nothing is written before the node's own conditions
// were read, and nothing on a stop: how old a condition is shows in its heartbeat. One that this agent judges no more is taken off, since it
// would stand there for ever.
package nodestatus

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/internal/kube"
)

// Heartbeat is how often conditions are written that do not change, unless another time is given. The kubelet's own do so every 5 minutes
// too; each write reaches every watcher of nodes.
const Heartbeat = 5 * time.Minute

// HeartbeatLeast is the shortest time between heartbeats that makes sense: the kubelet looks at its own conditions no more often
// (nodeStatusUpdateFrequency, 10 s by default).
const HeartbeatLeast = 10 * time.Second

// How long to wait after a failed write: doubling, and anywhere in the second half of it, so that the agents of a fleet do not all come
// back with the API server at the same moment.
const (
	retryFirst = 2 * time.Second
	retryMost  = 2 * time.Minute
)

// Writer is the two writes there are. kube.Client is one.
type Writer interface {
	PatchConditions(ctx context.Context, conditions []kube.Condition, at time.Time) error
	CreateNodeEvent(ctx context.Context, event kube.NodeEvent) error
}

// Manager writes the verdicts that it is given.
type Manager struct {
	writer    Writer
	heartbeat time.Duration
	log       *slog.Logger
	observe   func(write string, err error)
	now       func() time.Time

	wake chan struct{}

	mu       sync.Mutex
	uid      string // of the Node; empty until it was read
	verdicts []health.Verdict
	written  []health.Verdict // as last written, or found on the node
	gone     []health.Type    // to be taken off with the next write
}

// New makes a manager. heartbeat is the time between two writes of conditions that do not change; 0 is Heartbeat. observe is told of each
// write, "condition" or "event", and how it went.
func New(w Writer, heartbeat time.Duration, log *slog.Logger, observe func(write string, err error)) *Manager {
	return &Manager{writer: w, heartbeat: cmp.Or(heartbeat, Heartbeat), log: log, observe: observe, now: time.Now, wake: make(chan struct{}, 1)}
}

// Found is told once what stands on the node, before the first Set, and what of it is judged no more.
func (m *Manager) Found(uid string, conditions []health.Verdict, gone []health.Type) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.uid, m.written, m.gone = uid, slices.Clone(conditions), gone
}

// Set gives the verdicts that hold now.
func (m *Manager) Set(verdicts []health.Verdict) {
	m.mu.Lock()
	m.verdicts = slices.Clone(verdicts)
	changed := m.changed()
	m.mu.Unlock()
	if changed {
		select {
		case m.wake <- struct{}{}:
		default: // a wake is waiting already
		}
	}
}

func (m *Manager) due() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed()
}

// changed tells whether a status differs from what was written, or is to go. The caller holds the lock.
func (m *Manager) changed() bool {
	return len(m.gone) > 0 || slices.ContainsFunc(m.verdicts, func(v health.Verdict) bool {
		i := indexOf(m.written, v.Type)
		return i < 0 || m.written[i].True != v.True
	})
}

func indexOf(verdicts []health.Verdict, t health.Type) int {
	return slices.IndexFunc(verdicts, func(v health.Verdict) bool { return v.Type == t })
}

// Run writes until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	// The first heartbeat comes anywhere within its time, since agents start together after an upgrade.
	beat := time.NewTimer(rand.N(m.heartbeat))
	defer beat.Stop()
	retry := retryFirst
	for {
		// A tenth of jitter keeps the fleet from falling into step.
		next := m.heartbeat*9/10 + rand.N(m.heartbeat/5)
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
			if !m.due() {
				continue // it was written meanwhile, with a retry
			}
			// A fleet writes at the same moment when it was started, or lost something, at the same moment: the beat after that is anywhere.
			next = m.heartbeat/10 + rand.N(m.heartbeat)
		case <-beat.C:
		}
		for {
			err := m.write(ctx)
			if err == nil || ctx.Err() != nil {
				retry = retryFirst
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(retry/2 + rand.N(retry/2)):
			}
			retry = min(2*retry, retryMost)
		}
		beat.Reset(next)
	}
}

// write patches all conditions, and tells of those that changed by an event.
func (m *Manager) write(ctx context.Context) error {
	m.mu.Lock()
	verdicts, before, gone, uid := slices.Clone(m.verdicts), m.written, m.gone, m.uid
	m.mu.Unlock()
	if len(verdicts) == 0 || uid == "" {
		return nil
	}
	conditions := make([]kube.Condition, len(verdicts))
	for i, v := range verdicts {
		conditions[i] = kube.Condition{Type: string(v.Type), Status: status(v.True), Reason: v.Reason, Message: v.Message, Since: v.Since}
	}
	for _, t := range gone {
		conditions = append(conditions, kube.Condition{Type: string(t)})
	}
	err := m.writer.PatchConditions(ctx, conditions, m.now())
	m.observe("condition", err)
	if err != nil {
		m.log.Warn("conditions not written", "error", err)
		return err
	}
	m.mu.Lock()
	m.written, m.gone = verdicts, nil
	m.mu.Unlock()
	for _, t := range gone {
		m.log.Info("condition taken off, since it is judged no more", "type", string(t))
	}
	for _, v := range verdicts {
		i := indexOf(before, v.Type)
		if i >= 0 && before[i].True == v.True || i < 0 && !v.True {
			continue // what was never announced is not announced as recovered
		}
		m.log.Info("condition", "type", string(v.Type), "status", status(v.True), "reason", v.Reason, "message", v.Message)
		// An event that is lost is not worth another try: the condition stands.
		err := m.writer.CreateNodeEvent(ctx, kube.NodeEvent{NodeUID: uid, Warning: v.True, Reason: v.Reason, Message: string(v.Type) + " is " + status(v.True) + ": " + v.Message})
		m.observe("event", err)
		if err != nil {
			m.log.Warn("event not written", "error", err)
		}
	}
	return nil
}

func status(is bool) string {
	if is {
		return "True"
	}
	return "False"
}
