package agent

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pullwatch/pullwatch/internal/disk"
	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/internal/history"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/internal/say"
	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/pkg/metrics"
	"github.com/pullwatch/pullwatch/pkg/probe"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

const (
	// probesAtOnce bounds the registries that are asked at the same time.
	probesAtOnce = 4
	// configLasts is how long the runtime's configuration is taken for the same. The files of each registry are read for each probe.
	configLasts = time.Minute
)

// RegistryState is what is known of one registry.
type RegistryState struct {
	*probe.Registry
	// Established is false where only pods name it: then no more is told than whether it can be reached.
	Established bool      `json:"established"`
	LastSuccess time.Time `json:"lastSuccess,omitzero"` // of a probe, in this agent's life
	LastPull    time.Time `json:"lastPull,omitzero"`    // an image of it appeared on the node
	// RateLimit is what it last said of its limit, with an answer about an image.
	RateLimit *probe.RateLimit `json:"rateLimit,omitempty"`
}

// registryWatch asks registries and keeps what they said.
type registryWatch struct {
	Probing
	runtime *runtimeSource
	agent   string // what it calls itself to registries

	hurried chan string

	mu     sync.Mutex
	config RuntimeConfig
	named  []string // by the configuration
	read   time.Time
	states map[string]*RegistryState
	pulled map[string]time.Time
	limits map[string]rateLimit
}

// rateLimit is what a registry said of its limit, and when.
type rateLimit struct {
	*probe.RateLimit
	at time.Time
}

// limitLasts is how long a limit without a window is believed. Docker Hub's window is of 6 hours.
const limitLasts = 6 * time.Hour

// past tells whether the window that the limit was told of has passed: what is left by now is anybody's guess.
func (l rateLimit) past(now time.Time) bool {
	return now.Sub(l.at) > cmp.Or(time.Duration(l.WindowSeconds*float64(time.Second)), limitLasts)
}

func newRegistryWatch(p Probing, runtime *runtimeSource, agent string) *registryWatch {
	return &registryWatch{
		Probing: p, runtime: runtime, agent: agent, hurried: make(chan string, 100),
		states: make(map[string]*RegistryState), pulled: make(map[string]time.Time),
		limits: make(map[string]rateLimit),
	}
}

// blamed is told of a pull that failed: where that is by the network or by the registry, the registry is asked.
func (w *registryWatch) blamed(f *pulls.Failure) {
	if s := f.Cause.Scope(); s == cause.ScopeNetwork || s == cause.ScopeRegistry {
		w.hurry(f.Registry)
	}
}

// hurry has a registry asked soon. It does not block.
func (w *registryWatch) hurry(name string) {
	select {
	case w.hurried <- name:
	default: // so many at once that some are asked at their time
	}
}

// sawPull notes that an image of a registry has come onto the node.
func (w *registryWatch) sawPull(name string, at time.Time) {
	w.mu.Lock()
	w.pulled[name] = at
	state := w.states[name]
	w.mu.Unlock()
	if state != nil && (state.OK == nil || !*state.OK) {
		w.hurry(name)
	}
}

// sawLimit notes what a registry said of its rate limit. One that says nothing has none, or not for what was asked.
func (w *registryWatch) sawLimit(name string, limit *probe.RateLimit) {
	if limit == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limits[name] = rateLimit{limit, time.Now()}
}

// configuration is the runtime's, read anew once a minute.
func (w *registryWatch) configuration(ctx context.Context) (RuntimeConfig, error) {
	w.mu.Lock()
	config, read := w.config, w.read
	w.mu.Unlock()
	if config.Registries != nil && time.Since(read) < configLasts {
		return config, nil
	}
	client, endpoint, err := w.runtime.get()
	if err == nil {
		config, err = ReadRuntimeConfig(ctx, client, endpoint, w.ContainerdConfig, w.Proxy)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		w.config, w.named, w.read = config, config.Registries.Named(), time.Now()
	case w.config.Registries == nil:
		return config, err
	default: // a runtime that does not answer keeps the configuration that it had
		w.read = time.Now()
	}
	return w.config, nil
}

// RuntimeConfig is what is known of how the runtime is configured.
type RuntimeConfig struct {
	Name         string // containerd, cri-o
	Registries   registries.Config
	Proxying     registries.Proxying
	SandboxImage string // empty is not known
}

// ReadRuntimeConfig reads the configuration of a runtime that answers. proxy finds that of its systemd units, and may be nil.
func ReadRuntimeConfig(ctx context.Context, client *cri.Client, endpoint, file string, proxy func(units []string) registries.Proxying) (c RuntimeConfig, err error) {
	version, err := client.Version(ctx)
	if err != nil {
		return c, err
	}
	of := registries.Runtime{Name: version.GetRuntimeName(), Version: version.GetRuntimeVersion(), Endpoint: endpoint, ConfigFile: file}
	if status, err := client.Status(ctx, true); err == nil { // containerd 2 tells nothing there
		of.Info = status.GetInfo()
	}
	c.Name = of.Name
	if c.Registries, err = registries.Open(of); err != nil {
		return c, err
	}
	configured := ""
	if containerd, ok := c.Registries.(*registries.Containerd); ok {
		configured = containerd.SandboxImage
	}
	c.SandboxImage, _ = disk.SandboxImage(of.Info, configured) // not told is not known
	if proxy != nil {
		c.Proxying = proxy(registries.UnitsOf(of.Name, endpoint))
	}
	return c, nil
}

// watchRegistries asks registries for as long as ctx lasts.
func (a *Agent) watchRegistries(ctx context.Context) {
	w := a.registries
	plan := newSchedule(w.Interval, w.Most)
	type result struct {
		name  string
		state *RegistryState
	}
	results := make(chan result)
	slots := probesAtOnce
	var asking sync.WaitGroup
	defer asking.Wait()
	for {
		if _, err := w.configuration(ctx); err == nil {
			a.metrics.SetEstablished(a.established())
		}
		now := time.Now()
		established, named := a.registryNames()
		plan.want(established, named, now)
		wait := plan.wait(now)
		for slots > 0 {
			name, established, ok := plan.due(now)
			if !ok {
				break
			}
			slots--
			asking.Go(func() {
				state := a.askRegistry(ctx, name, established)
				select {
				case results <- result{name, state}:
				case <-ctx.Done():
				}
			})
			wait = plan.wait(now)
		}
		if slots == 0 {
			wait = w.Interval
		}
		select {
		case <-ctx.Done():
			return
		case r := <-results:
			slots++
			now := time.Now()
			if r.state == nil {
				plan.done(r.name, true, 0, now)
				continue
			}
			failed := r.state.OK != nil && !*r.state.OK
			began := plan.done(r.name, failed, retryAfterOf(r.state.Registry), now)
			if began && r.state.Established && r.state.Cause.Scope() == cause.ScopeNetwork {
				for _, other := range established { // is it that registry, or this node?
					if other != r.name {
						plan.hurry(other, now)
					}
				}
			}
			a.publishRegistries()
		case name := <-w.hurried:
			plan.hurry(name, time.Now())
		case <-time.After(min(wait, 5*time.Second)): // registries come and go
			a.publishRegistries()
		}
	}
}

// configured are the registries that the operator names, and after them those that the runtime's configuration does.
func (a *Agent) configured() []string {
	a.registries.mu.Lock()
	defer a.registries.mu.Unlock()
	return slices.Concat(a.config.Registries, a.registries.named)
}

// established are the registries that the operator or the runtime's configuration names, and those that this node has pulled from. What bounds their
// number takes the first: a tenant brings any number onto the node, and none of them before those that the node is for.
func (a *Agent) established() []string {
	pulled := a.snapshot.images.Load().Value.Registries
	if a.config.NoRuntime {
		pulled = a.pulled.known(time.Now())
	}
	return distinct(append(a.configured(), eachDomainFirst(pulled)...))
}

// distinct leaves the first of each.
func distinct(names []string) (list []string) {
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		if !seen[name] {
			seen[name] = true
			list = append(list, name)
		}
	}
	return list
}

// eachDomainFirst has one registry of each domain first, then a second of each, and so on: to make up names below a domain costs nothing.
func eachDomainFirst(names []string) []string {
	place, before := make(map[string]int, len(names)), make(map[string]int)
	for _, name := range names {
		domain := health.Domain(name)
		place[name] = before[domain]
		before[domain]++
	}
	return slices.SortedStableFunc(slices.Values(names), func(a, b string) int { return place[a] - place[b] })
}

// registryNames are the registries that this node uses, those that come first in front: established ones, and those that failing pods name.
func (a *Agent) registryNames() (established, named []string) {
	failures := a.snapshot.failures.Load().Value
	for i := range failures {
		if r := failures[i].Registry; r != "" {
			named = append(named, r)
		}
	}
	keep := func(names []string) []string {
		return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(a.registries.Exclude, name) })
	}
	slices.Sort(named)
	return keep(a.established()), keep(eachDomainFirst(distinct(named)))
}

// askRegistry probes one registry. It is nil where the runtime's configuration could not be read: then whom to ask is not known.
func (a *Agent) askRegistry(ctx context.Context, name string, established bool) *RegistryState {
	w := a.registries
	config, err := w.configuration(ctx)
	if err != nil {
		return nil
	}
	reach := probe.Anywhere
	if !established {
		reach = probe.NotThisNode
	}
	prober := probe.Prober{Proxying: config.Proxying, UserAgent: w.agent}
	state := &RegistryState{Registry: prober.Registry(ctx, config.Registries.Lookup(name), reach), Established: established}
	for _, image := range w.RateLimitImages {
		if pulls.Registry(image) == name && state.Serving != "" {
			w.sawLimit(name, prober.Resolve(ctx, image, config.Registries.Lookup(pulls.InFull(image)), reach).RateLimit)
		}
	}
	if ctx.Err() != nil {
		return nil // a stop says nothing of the registry
	}
	if !established {
		state.hide()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.states[name]
	if before != nil {
		state.LastSuccess = before.LastSuccess
	}
	if state.OK != nil && *state.OK {
		state.LastSuccess = state.At
	}
	w.states[name] = state
	if state.OK != nil {
		a.metrics.CountRegistryProbe(name, state.Cause)
		a.history.Add(history.Entry{Of: history.OfRegistry, Subject: name, Failed: !*state.OK, Text: say.Reached(state.Registry)}, state.At, !established)
	}
	if before == nil || known(before.OK) != known(state.OK) || before.Cause != state.Cause {
		a.log.Info("registry", "registry", name, "reached", known(state.OK), "cause", state.Cause.String(), "serving", state.Serving, "established", established)
	}
	return state
}

func known(ok *bool) string {
	switch {
	case ok == nil:
		return "not known"
	case *ok:
		return "yes"
	}
	return "no"
}

// notTold stands for what is known of why a registry that only a pod names was not asked, or in vain: it may hold its address.
const notTold = "only pods name it, and of such a registry it is told whether it was reached and no more"

// hide takes out what a tenant could find out by naming a host: its addresses, certificates and texts.
func (s *RegistryState) hide() {
	if s.NotChecked != "" {
		s.NotChecked = notTold
	}
	for i, e := range s.Endpoints {
		s.Endpoints[i] = &probe.Report{URL: e.URL, At: e.At, Seconds: e.Seconds, OK: e.OK, Cause: e.Cause, RetryAfterSeconds: e.RetryAfterSeconds}
	}
	s.Warnings = nil
}

// retryAfterOf is how long a registry wants to be left alone: the longest of its endpoints.
func retryAfterOf(r *probe.Registry) (longest time.Duration) {
	for _, e := range r.Endpoints {
		longest = max(longest, time.Duration(e.RetryAfterSeconds*float64(time.Second)))
	}
	return longest
}

// publishRegistries makes what the registries said visible.
func (a *Agent) publishRegistries() {
	w := a.registries
	names := make(map[string]bool)
	established, named := a.registryNames()
	for _, name := range slices.Concat(established, named) {
		names[name] = true
	}
	w.mu.Lock()
	var all []RegistryState
	for name, state := range w.states {
		if !names[name] {
			delete(w.states, name)
			delete(w.pulled, name)
			delete(w.limits, name)
			continue
		}
		one := *state
		one.LastPull = w.pulled[name]
		if limit, ok := w.limits[name]; ok && !limit.past(time.Now()) {
			one.RateLimit = limit.RateLimit
		}
		all = append(all, one)
	}
	w.mu.Unlock()
	slices.SortFunc(all, func(x, y RegistryState) int { return strings.Compare(x.Registry.Registry, y.Registry.Registry) })
	a.snapshot.registries.Store(&Part[[]RegistryState]{Value: all, At: time.Now()})
	probes := make([]metrics.RegistryProbe, len(all))
	for i := range all {
		probes[i] = all[i].metric()
	}
	a.metrics.SetRegistryProbes(probes)
}

// askedRegistries is what the established registries said, once each of them was asked: a part of them would blame the node for what others
// disprove.
func (a *Agent) askedRegistries() *health.Registries {
	established, _ := a.registryNames()
	established = established[:min(len(established), a.registries.Most)]
	states := make(map[string]*RegistryState)
	all := a.snapshot.registries.Load().Value
	for i := range all {
		states[all[i].Registry.Registry] = &all[i]
	}
	asked, configured := &health.Registries{}, a.configured()
	for _, name := range established {
		state := states[name]
		if state == nil {
			return nil
		}
		p := state.health()
		p.Configured = slices.Contains(configured, name)
		asked.Probed = append(asked.Probed, p)
	}
	return asked
}

// pulledSince tells whether an image was pulled from it after it had failed, or so shortly before that both cannot be true of it.
func (s *RegistryState) pulledSince() bool {
	return !s.LastPull.IsZero() && s.LastPull.Add(leastBetween).After(s.At)
}

// metric is the registry as /metrics shows it. A pull that worked outranks a probe that failed.
func (s *RegistryState) metric() metrics.RegistryProbe {
	m := metrics.RegistryProbe{
		Registry: s.Registry.Registry, Established: s.Established, OK: s.OK, LastSuccess: s.LastSuccess, Serving: s.Serving, Findings: len(s.Findings),
	}
	if s.OK != nil && !*s.OK && s.pulledSince() {
		yes := true
		m.OK = &yes
	}
	if l := s.RateLimit; l != nil {
		m.RateLimit = &metrics.RateLimit{Limit: l.Limit, Remaining: l.Remaining, Window: time.Duration(l.WindowSeconds * float64(time.Second)), Source: l.Source}
	}
	for _, e := range s.Endpoints {
		m.Endpoints = append(m.Endpoints, metrics.EndpointProbe{URL: e.URL, OK: e.OK})
	}
	if e := s.telling(); e != nil {
		if t := &e.Phases.TLS; t.Holds() {
			m.CertificateExpires = t.NotAfter
		}
		m.Phases = make(map[string]time.Duration)
		e.Phases.Each(func(name string, phase *probe.Phase) {
			if phase.State != "" {
				m.Phases[name] = time.Duration(phase.Seconds * float64(time.Second))
			}
		})
	}
	return m
}

// telling is the endpoint that stands for the registry: the one that serves, or a part of it, else the one that is asked last, the origin. It is nil where
// none was asked.
func (s *RegistryState) telling() (e *probe.Report) {
	for _, e = range s.Endpoints {
		if e.URL == s.Serving || s.Serving == "" && e.OK != nil && *e.OK {
			return e
		}
	}
	return e
}

// health is the registry as conditions are judged by it: by the endpoint that is asked last, the origin.
func (s *RegistryState) health() health.Probed {
	p := health.Probed{Registry: s.Registry.Registry, Reached: s.OK, Cause: s.Cause, Pulled: s.pulledSince()}
	for _, e := range s.Endpoints {
		if p.Proxy == "" || s.Serving == "" || e.URL == s.Serving {
			p.Proxy = e.Phases.Proxy.URL
		}
		p.Resolved = p.Resolved || e.Phases.DNS.State == probe.Passed
		p.ClockAgrees = p.ClockAgrees || e.ClockOffsetSeconds != nil && math.Abs(*e.ClockOffsetSeconds) <= probe.ClockSlack.Seconds()
	}
	if n := len(s.Endpoints); n > 0 {
		e := s.Endpoints[n-1]
		p.Phase, p.NoSuchName, p.NoRoute, p.TLSFault = e.Phase, e.Phases.DNS.NoSuchName, e.Phases.TCP.NoRoute, string(e.Phases.TLS.Fault)
		status := e.Phases.Proxy.Status
		p.BehindProxy = status != 0 && status != http.StatusProxyAuthRequired
		p.ClockBehind = e.ClockOffsetSeconds != nil && *e.ClockOffsetSeconds > 0
	}
	return p
}
