// Package agent is the daemon: it runs the checks and the streams, owns the snapshot of what they found, and is the only place where
// one observer's output becomes another's input.
//
// It promises: each part works alone, so that a runtime, an API server or a socket that is not there costs only what depends on it and
// heals by itself; the snapshot is read without waiting for anybody; a stop ends everything that was started.
package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/platforms"
	"github.com/shirou/gopsutil/v3/host"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/pullwatch/pullwatch/internal/disk"
	"github.com/pullwatch/pullwatch/internal/history"
	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/internal/nodestatus"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/pkg/metrics"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

// Config is what the agent is told.
type Config struct {
	Version, Revision string
	NodeName          string
	Settings          cri.Settings // where the runtime is
	NoRuntime         bool         // told to do without one
	Timeout           time.Duration
	Kube              *kube.Client  // nil: told to do without an API server
	Registries        []string      // established by configuration
	Conditions        bool          // write the node's conditions
	Heartbeat         time.Duration // between two writes of conditions that do not change; 0 is the default
	Probing           Probing
	Disk              DiskConfig
	MaxFailingSeries  int
	MaxRegistries     int
	Listen            string // of /metrics and health; empty serves none
	WebConfig         string // exporter-toolkit's file for TLS and basic auth
	Page              Page
	Socket            string // of the subcommands; empty serves none
	Log               *slog.Logger
}

// Page is where the page for people is served.
type Page struct {
	Address  string // empty serves none; the unix socket has it too
	Optional bool   // do without it where the address cannot be had
}

// Probing is how registries are asked.
type Probing struct {
	Interval         time.Duration // between two probes of a registry; 0 probes none
	Most             int           // registries in all
	Exclude          []string
	ImageInterval    time.Duration                            // between two questions to a registry about an image in use; 0 asks for no image
	PullSecrets      bool                                     // read those that failing pods name, and ask with their logins too
	RateLimitImages  []string                                 // asked for by HEAD with each probe of their registries, for what is left of the rate limit
	Proxy            func(units []string) registries.Proxying // how the runtime, as one of these systemd units, reaches the network
	ContainerdConfig string                                   // its file, where it is not at its usual place
}

// Agent is a running daemon.
type Agent struct {
	config     Config
	log        *slog.Logger
	metrics    *metrics.Metrics
	runtime    *runtimeSource
	tracker    *pulls.Tracker
	registries *registryWatch
	images     imageWatch
	store      imageStore
	volumes    imageVolumes
	pulled     podRegistries // without a runtime
	disks      diskWatch
	minAge     atomic.Int64 // how long the kubelet leaves a new image alone, in nanoseconds
	checks     []*check
	pods       *kube.Stream // nil without an API server, as is node
	node       *kube.Stream
	status     *nodestatus.Manager // nil where no conditions are written
	started    time.Time
	host       metrics.Node // what the machine itself says, for want of a Node object

	snapshot struct {
		runtime    atomic.Pointer[Part[Runtime]]
		images     atomic.Pointer[Part[Images]]
		node       atomic.Pointer[Part[kube.Node]]
		failures   atomic.Pointer[Part[[]pulls.Failure]]
		registries atomic.Pointer[Part[[]RegistryState]]

		disk        atomic.Pointer[Part[*disk.Report]]
		imageProbes atomic.Pointer[Part[[]ImageState]]
	}
	publishing  sync.Mutex
	digests     map[string]bool // of the images when they were last listed; of the check of images alone
	runtimeSeen atomic.Bool     // the runtime has answered in this process's life

	judged  atomic.Pointer[judged]
	history history.Ring // for the page
}

// The intervals. The runtime's state is asked for often since a call takes a millisecond; the images change with pulls only.
const (
	runtimeEvery = 15 * time.Second
	imagesEvery  = time.Minute
)

// The rate at which events of pods are asked for, in all: a node with a hundred failing pods is told of within a minute and the API
// server hardly notices.
const (
	eventRate  = 5 // a second
	eventBurst = 20
)

// New prepares an agent.
func New(c Config) *Agent {
	if c.NoRuntime {
		c.Probing.Interval = 0 // only the runtime tells whom to ask
	}
	a := &Agent{config: c, log: c.Log, started: time.Now()}
	a.metrics = metrics.New(metrics.Options{
		Version: c.Version, Revision: c.Revision, MaxFailing: c.MaxFailingSeries, MaxRegistries: c.MaxRegistries,
	})
	a.runtime = &runtimeSource{none: c.NoRuntime, settings: c.Settings, config: cri.Config{Timeout: c.Timeout, Observe: a.observeCall}}
	a.tracker = pulls.NewTracker(time.Now, a.changed)
	a.registries = newRegistryWatch(c.Probing, a.runtime, "pullwatch/"+c.Version)
	if !c.NoRuntime {
		a.checks = []*check{
			{name: "runtime", interval: runtimeEvery, timeout: 10 * time.Second, run: a.checkRuntime},
			{name: "images", interval: imagesEvery, timeout: 30 * time.Second, run: a.checkImages},
		}
	}
	a.checks = append(a.checks, &check{name: "disk", interval: diskEvery, timeout: 20 * time.Second, run: a.checkDisk})
	for _, c := range a.checks {
		c.done = make(chan struct{})
	}
	a.judged.Store(&judged{})
	a.snapshot.runtime.Store(&Part[Runtime]{Skipped: c.NoRuntime})
	a.snapshot.images.Store(&Part[Images]{Skipped: c.NoRuntime})
	a.snapshot.registries.Store(&Part[[]RegistryState]{Skipped: c.Probing.Interval == 0})
	a.store.changed = make(chan struct{}, 1)
	a.snapshot.disk.Store(&Part[*disk.Report]{})
	a.snapshot.imageProbes.Store(&Part[[]ImageState]{Skipped: c.Probing.Interval == 0 || c.Probing.ImageInterval == 0})
	a.snapshot.node.Store(&Part[kube.Node]{Skipped: c.Kube == nil})
	a.snapshot.failures.Store(&Part[[]pulls.Failure]{Skipped: c.Kube == nil})
	if c.Kube != nil {
		var images kube.PodSink = &a.volumes
		if c.NoRuntime {
			images = &a.pulled
		}
		a.pods = c.Kube.PodStream(podSinks{a.tracker, images}, func(s kube.StreamState) { a.streamChanged("pods", s) })
		a.node = c.Kube.NodeStream(a.nodeChanged, func(s kube.StreamState) { a.streamChanged("nodes", s) })
		a.metrics.SetStream("pods", false)
		a.metrics.SetStream("nodes", false)
		if c.Conditions {
			a.status = nodestatus.New(c.Kube, c.Heartbeat, c.Log, a.metrics.CountWrite)
		}
	}
	a.metrics.SetEstablished(c.Registries)
	a.host = machine()
	a.publishFacts()
	return a
}

// machine asks the kernel who this machine is. In a pod that is the pod's own view: the kernel is right, the system is the image's.
func machine() metrics.Node {
	info, err := host.Info()
	if err != nil {
		return metrics.Node{}
	}
	return metrics.Node{Architecture: info.KernelArch, OS: info.OS, OSImage: strings.TrimSpace(info.Platform + " " + info.PlatformVersion), Kernel: info.KernelVersion}
}

// Run runs the agent until ctx ends. It returns an error only where it could not start.
func (a *Agent) Run(ctx context.Context) error {
	listeners, err := a.listen(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	a.serve(ctx, group, listeners)
	for _, c := range a.checks {
		group.Go(func() error { c.loop(ctx, a.log, a.metrics.ObserveCheck); return nil })
	}
	if !a.config.NoRuntime {
		group.Go(func() error { a.inspectImages(ctx); return nil })
	}
	if k := a.config.Kube; k != nil {
		group.Go(func() error { a.pods.Run(ctx); return nil })
		group.Go(func() error { a.node.Run(ctx); return nil })
		group.Go(func() error { a.askEvents(ctx, k); return nil })
		if a.status != nil {
			group.Go(func() error { a.status.Run(ctx); return nil })
		}
	}
	group.Go(func() error { a.judge(ctx); return nil })
	if a.config.Probing.Interval > 0 {
		group.Go(func() error { a.watchRegistries(ctx); return nil })
		if a.config.Probing.ImageInterval > 0 {
			group.Go(func() error { a.watchImages(ctx); return nil })
		}
	}
	group.Go(func() error { a.keepSmall(ctx); return nil })
	a.log.Info("started", "version", a.config.Version, "node", a.config.NodeName, "kube", a.config.Kube != nil)
	err = group.Wait()
	a.runtime.close()
	if err == nil || errors.Is(err, context.Canceled) {
		a.log.Info("stopped")
		return nil
	}
	return err
}

// every yields once each period, the first time after one, until ctx ends.
func every(ctx context.Context, period time.Duration) func(yield func() bool) {
	return func(yield func() bool) {
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if !yield() {
				return
			}
		}
	}
}

// collectEvery is how often garbage is given back to the kernel whatever the heap does. A collection takes a few milliseconds.
const collectEvery = time.Minute

// keepSmall gives back the memory of the start once the first round is done, and from then on what scrapes and bursts of pods leave.
func (a *Agent) keepSmall(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for trimmed := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch {
		case trimmed:
			debug.FreeOSMemory()
		case a.ready() == nil:
			trim()
			trimmed = true
			tick.Reset(collectEvery)
		}
	}
}

func (a *Agent) streamChanged(resource string, s kube.StreamState) {
	a.metrics.SetStream(resource, s.Err == nil && s.Synced)
	switch {
	case s.Err != nil:
		if kube.Unreadable(s.Err) {
			a.metrics.CountBadInput("apiserver")
		}
		a.log.Warn("stream of the API server lost", "resource", resource, "error", s.Err, "hint", hint(s.Err))
	case s.Synced:
		a.log.Info("stream of the API server followed", "resource", resource)
	}
	if resource == "pods" {
		a.publishFailures()
		return
	}
	part := *a.snapshot.node.Load()
	switch {
	case s.Err != nil:
		part.Error = s.Err.Error()
	case part.Value.UID != "": // where there is no such node, that stays the error
		part.Error = ""
	}
	a.snapshot.node.Store(&part)
}

func (a *Agent) nodeChanged(n kube.Node) {
	if n.UID == "" {
		a.log.Warn("the API server has no such node", "node", a.config.NodeName, "hint", "Name this node as the cluster does with --node-name or NODE_NAME.")
		a.snapshot.node.Store(&Part[kube.Node]{Error: fmt.Sprintf("the API server has no node %q", a.config.NodeName)})
	} else {
		a.snapshot.node.Store(&Part[kube.Node]{Value: n, At: time.Now()})
	}
	a.publishFacts()
}

// changed is told of each step in the life of a failure.
func (a *Agent) changed(changes []pulls.Change) {
	for i := range changes {
		c := &changes[i]
		who := []any{"namespace", c.Namespace, "pod", c.Pod, "container", c.Container, "kind", string(c.Kind), "image", c.Image, "cause", c.Cause.String()}
		switch c.What {
		case pulls.Began:
			a.registries.blamed(&c.Failure)
			if c.Fresh {
				a.metrics.CountFailure(c.Cause, c.Registry)
				a.metrics.CountAttempt(c.Cause, c.Registry)
			}
			a.log.Warn("image pull fails", append(who, "scope", string(c.Scope), "reason", c.Reason, "message", c.Message, "advice", c.Advice)...)
		case pulls.Retried:
			a.registries.blamed(&c.Failure)
			a.metrics.CountAttempt(c.Cause, c.Registry)
			a.log.Debug("image pull failed again", append(who, "attempts", c.Attempts)...)
		case pulls.Renamed:
			a.log.Warn("image pull fails for another cause", append(who, "before", c.Before.String(), "message", c.Message, "advice", c.Advice)...)
		case pulls.Updated: // seen in the snapshot
			continue
		case pulls.Ended:
			a.registries.hurry(c.Registry)
			a.log.Info("image pull fails no longer", who...)
		}
		a.history.Add(happened(c), time.Now(), true)
	}
	a.publishFailures()
}

// publishFailures makes what the tracker holds visible. The lock keeps an older list from overtaking a newer one.
// Before the whole list of pods was seen once, nothing is known, and while the stream is lost, no more than before.
func (a *Agent) publishFailures() {
	a.publishing.Lock()
	defer a.publishing.Unlock()
	failures := a.tracker.Failures()
	part := &Part[[]pulls.Failure]{Value: failures}
	switch state := a.pods.State(); {
	case state.Err != nil:
		before := a.snapshot.failures.Load()
		part.At, part.Error = before.At, state.Err.Error()
		if before.Error == "" && !before.At.IsZero() {
			part.At = time.Now() // until now it was followed
		}
	case state.Synced:
		part.At = time.Now()
	}
	a.snapshot.failures.Store(part)
	failing := make([]metrics.Failing, len(failures))
	for i := range failures {
		f := &failures[i]
		failing[i] = metrics.Failing{
			Namespace: f.Namespace, Pod: f.Pod, Container: f.Container, Kind: string(f.Kind), Image: f.Image, Registry: f.Registry,
			Cause: f.Cause, Scope: f.Scope, Since: f.Since,
		}
	}
	a.metrics.SetFailing(failing)
}

// askEvents asks for the events of pods whose status leaves a question open.
func (a *Agent) askEvents(ctx context.Context, k *kube.Client) {
	limit := rate.NewLimiter(eventRate, eventBurst)
	for range every(ctx, time.Second) {
		for _, ask := range a.tracker.Due() {
			if limit.Wait(ctx) != nil {
				return
			}
			events, err := k.PodEvents(ctx, ask.Namespace, ask.Name, ask.EventsUID)
			if err != nil {
				a.metrics.CountEventLookup("error")
				if kube.Unreadable(err) {
					a.metrics.CountBadInput("apiserver")
				}
				a.log.Debug("events not read", "namespace", ask.Namespace, "pod", ask.Name, "error", err)
				a.tracker.Unanswered(ask.UID)
				continue
			}
			a.metrics.CountEventLookup("ok")
			a.tracker.Answer(ask.UID, events)
		}
	}
}

// Snapshot is what the agent knows now.
func (a *Agent) Snapshot() Snapshot {
	return Snapshot{
		Schema: SnapshotSchema, Version: a.config.Version, NodeName: a.config.NodeName, Started: a.started, Platform: platforms.Format(a.platform()),
		Runtime: *a.snapshot.runtime.Load(), Images: *a.snapshot.images.Load(),
		Node: *a.snapshot.node.Load(), Failures: a.followed(), Disk: *a.snapshot.disk.Load(), Registries: *a.snapshot.registries.Load(), ImageProbes: *a.snapshot.imageProbes.Load(),
	}
}

// followed is what fails. While the stream is followed that is so now, however long ago it last changed.
func (a *Agent) followed() Part[[]pulls.Failure] {
	part := *a.snapshot.failures.Load()
	if part.Error == "" && !part.At.IsZero() {
		part.At = time.Now()
	}
	return part
}

// healthy tells whether this process does its work, whatever the node does.
func (a *Agent) healthy() error {
	now := time.Now()
	for _, c := range a.checks {
		if c.stalled(a.started, now) {
			return fmt.Errorf("check %s has not finished a run for too long", c.name)
		}
	}
	return nil
}

// ready tells whether the first round is done: the runtime and the API server were seen, or the agent was told to do without.
func (a *Agent) ready() error {
	var missing []error
	for _, c := range a.checks {
		select {
		case <-c.done:
		default:
			missing = append(missing, fmt.Errorf("check %s: first run not done", c.name))
			continue
		}
	}
	if !a.config.NoRuntime && !a.runtimeSeen.Load() {
		r := a.snapshot.runtime.Load()
		missing = append(missing, fmt.Errorf("container runtime not seen yet: %s", cmp.Or(r.Error, r.Value.Reason, "no answer yet")))
	}
	for _, s := range []*kube.Stream{a.pods, a.node} {
		if s == nil {
			continue
		}
		if state := s.State(); !state.Synced {
			text := "no answer yet"
			if state.Err != nil {
				text = state.Err.Error()
			}
			missing = append(missing, fmt.Errorf("API server not seen yet (%s): %s", s.Name(), text))
		}
	}
	return errors.Join(missing...)
}
