// Package metrics renders what Pullwatch knows for Prometheus.
//
// It promises: nothing is measured during a scrape, which only renders what was set before; every label that a tenant's pod can choose
// is capped, and what is cut off is counted; no text of an error, no tag and no digest is a label, except on the bounded series of what
// is failing now. It takes plain structs of its own, so that anything may fill them.
package metrics

import (
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pullwatch/pullwatch/pkg/cause"
)

// Options are the bounds and the identity of the program.
type Options struct {
	Version, Revision string
	// MaxFailing bounds the series of containers that fail now; 0 writes none.
	MaxFailing int
	// MaxRegistries bounds the registries that only pod specs name, as label values at a time.
	MaxRegistries int
}

// Node is who this node is.
type Node struct {
	Architecture, OS, OSImage, Kernel, Runtime, RuntimeVersion, Kubelet string
}

// Runtime is what the container runtime's last check said.
type Runtime struct {
	Reachable bool // something accepts connections on its socket
	Up        bool // it answers CRI
	Ready     bool // it says that it is ready (condition RuntimeReady)
	Images    int  // on the node; negative is unknown, and with it the three below
	// UnusedImages are those that nothing uses. PulledAgain counts images that went and came back.
	UnusedImages int
	PulledAgain  uint64
	// WrongPlatformUsed and WrongPlatformUnused are those that this node cannot run.
	WrongPlatformUsed, WrongPlatformUnused int
}

// Failing is one container that waits for an image now.
type Failing struct {
	Namespace, Pod, Container, Kind, Image, Registry string
	Cause                                            cause.Cause
	Scope                                            cause.Scope
	Since                                            time.Time // zero is unknown
}

// Condition is a condition of the node as this agent judges it.
type Condition struct {
	Type string
	True bool
}

// Metrics holds the registry and what it renders. It is safe for concurrent use.
type Metrics struct {
	registry   *prometheus.Registry
	registries registryLabels

	failures, attempts    *prometheus.CounterVec
	probes, probeFailures *prometheus.CounterVec

	imageProbes, imageProbeFailures *prometheus.CounterVec

	calls         *prometheus.CounterVec
	callDuration  prometheus.Histogram
	checkDuration *prometheus.GaugeVec
	checkSuccess  *prometheus.GaugeVec
	checkLast     *prometheus.GaugeVec
	streamUp      *prometheus.GaugeVec
	eventLookups  *prometheus.CounterVec
	badInput      *prometheus.CounterVec
	conditions    *prometheus.GaugeVec
	writes        *prometheus.CounterVec

	state state
}

// New makes the metrics of one agent. Series whose labels are known in advance start at 0.
func New(o Options) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registries.max = o.MaxRegistries
	m.registries.dropped = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "pullwatch_registry_labels_dropped_total",
		Help: "Times that a registry named by a pod was counted under the registry \"other\" because --max-registries was reached.",
	})
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	m.failures = counter("pullwatch_image_pull_failures_total",
		"Containers of this node seen to change into a failed image pull, by the cause that the first error named.", "cause", "registry")
	m.attempts = counter("pullwatch_image_pull_failed_attempts_total",
		"Failed attempts to pull an image that were seen on this node, retries included, by the cause that the error named.", "cause", "registry")
	m.probes = counter("pullwatch_registry_probes_total", "Probes of a registry that could tell whether it can be reached.", "registry")
	m.probeFailures = counter("pullwatch_registry_probe_failures_total", "Probes that did not reach a registry, by the cause.", "cause", "registry")
	m.imageProbes = counter("pullwatch_image_probes_total", "Questions to a registry about an image that could be told the outcome of.", "registry")
	m.imageProbeFailures = counter("pullwatch_image_probe_failures_total",
		"Questions to a registry about an image that did not find it there for this node without credentials, by the cause.", "cause", "registry")
	m.calls = counter("pullwatch_cri_calls_total", "CRI calls of this agent by method and gRPC code.", "method", "code")
	// One for all methods: with a label it would be a third of the series of a healthy node.
	m.callDuration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "pullwatch_cri_call_duration_seconds", Help: "Duration of CRI calls of this agent, failed ones included.",
		Buckets: []float64{.01, .1, 1, 10}, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		NativeHistogramMinResetDuration: time.Hour,
	})
	m.checkDuration = gauge("pullwatch_check_duration_seconds", "Duration of the last run of a check.", "check")
	m.checkSuccess = gauge("pullwatch_check_success", "Whether the last run of a check could tell what it looked for (1) or not (0).", "check")
	m.checkLast = gauge("pullwatch_check_last_success_timestamp_seconds", "When a check last succeeded, as a Unix time; 0 is never.", "check")
	m.streamUp = gauge("pullwatch_api_stream_up", "Whether objects of the API server are being followed (1) or the stream is lost (0).", "resource")
	m.eventLookups = counter("pullwatch_event_lookups_total", "Lists of the events of one pod, by result.", "result")
	m.badInput = counter("pullwatch_bad_input_total", "Answers from outside that could not be read and were left out, by where they came from.", "source")

	m.conditions = gauge("pullwatch_condition", "A condition of this node as this agent judges it: 1 is True, which is abnormal; absent is not known.", "type")
	m.writes = counter("pullwatch_api_writes_total", "Writes to the API server, by what was written and how it went.", "write", "result")
	for _, c := range cause.All() {
		m.state.zero = append(m.state.zero, failingKey{c, c.Scope(), ""})
	}
	m.failures.WithLabelValues(cause.InvalidReference.String(), "")
	for _, result := range [...]string{"ok", "error"} {
		m.eventLookups.WithLabelValues(result)
	}
	for _, write := range [...]string{"condition", "event"} {
		m.writes.WithLabelValues(write, "ok")
		m.writes.WithLabelValues(write, "error")
	}
	m.badInput.WithLabelValues("runtime")
	m.badInput.WithLabelValues("apiserver")
	m.state.maxFailing = max(o.MaxFailing, 0)

	build := gauge("pullwatch_build_info", "Version of this agent; the value is always 1.", "version", "revision", "goversion")
	build.WithLabelValues(o.Version, o.Revision, runtime.Version()).Set(1)

	m.registry.MustRegister(m.failures, m.attempts, m.probes, m.probeFailures, m.imageProbes, m.imageProbeFailures, m.calls, m.callDuration, m.checkDuration, m.checkSuccess, m.checkLast,
		m.streamUp, m.eventLookups, m.badInput, m.conditions, m.writes, m.registries.dropped, build, &m.state,
		goCollector(), without{collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), "process_network_"})
	return m
}

// goCollector tells of the Go runtime what a leak shows in. All that it could tell is a fifth of the series that a healthy node may have.
func goCollector() prometheus.Collector {
	return collectors.NewGoCollector(collectors.WithGoCollectorMemStatsMetricsDisabled(),
		collectors.WithGoCollectorRuntimeMetrics(collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/memory/classes/(heap/objects|total):bytes$`)}))
}

// without leaves series out of a collector. Those of the network are the whole node's where the agent is on its network, and not the process's.
type without struct {
	prometheus.Collector
	prefix string
}

// Collect hands on all but what is left out.
func (w without) Collect(ch chan<- prometheus.Metric) {
	all := make(chan prometheus.Metric)
	go func() { defer close(all); w.Collector.Collect(all) }()
	for m := range all {
		if !strings.Contains(m.Desc().String(), `fqName: "`+w.prefix) {
			ch <- m
		}
	}
}

// Handler serves the metrics, as OpenMetrics where that is asked for.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// Gatherer gives access for tests and linters.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// SetNode tells who this node is. Empty fields are left out as empty labels.
func (m *Metrics) SetNode(n Node) { m.state.set(func(s *values) { s.node = n }) }

// SetRuntime tells how the runtime is.
func (m *Metrics) SetRuntime(r Runtime) { m.state.set(func(s *values) { s.runtime = &r }) }

// SetEstablished names the registries that this node has pulled from or is configured for. They have label values of their own whatever
// pods name.
func (m *Metrics) SetEstablished(registries []string) { m.drop(m.registries.establish(registries)) }

// SetFailing tells every container that fails now.
func (m *Metrics) SetFailing(failing []Failing) {
	for i := range failing {
		m.registries.keep(failing[i].Registry)
	}
	m.expire()
	labelled := make([]Failing, 0, len(failing))
	seen := make(map[Failing]bool, len(failing))
	for _, f := range failing {
		f.Registry, _ = m.registries.label(f.Registry)
		for _, label := range [...]*string{&f.Namespace, &f.Pod, &f.Container, &f.Image} {
			*label = Label(*label)
		}
		// Labels cut short may meet; two equal series would fail the whole scrape.
		identity := f
		identity.Since, identity.Scope = time.Time{}, ""
		if !seen[identity] {
			seen[identity] = true
			labelled = append(labelled, f)
		}
	}
	m.state.set(func(s *values) { s.failing = labelled })
}

// expire frees the slots of registries that nothing was told of for long, and drops their series.
func (m *Metrics) expire() { m.drop(m.registries.expire()) }

func (m *Metrics) drop(registries []string) {
	for _, name := range registries {
		for _, counted := range [...]*prometheus.CounterVec{m.failures, m.attempts, m.probes, m.probeFailures, m.imageProbes, m.imageProbeFailures} {
			counted.DeletePartialMatch(prometheus.Labels{"registry": name})
		}
	}
}

// CountFailure counts a container that changed into a failed pull.
func (m *Metrics) CountFailure(c cause.Cause, registry string) {
	m.expire()
	m.failures.WithLabelValues(c.String(), m.registries.count(registry)).Inc()
}

// CountAttempt counts a failed attempt.
func (m *Metrics) CountAttempt(c cause.Cause, registry string) {
	m.expire()
	m.attempts.WithLabelValues(c.String(), m.registries.count(registry)).Inc()
}

// ObserveCall counts a CRI call. The code is gRPC's own name for it.
func (m *Metrics) ObserveCall(method, code string, took time.Duration) {
	m.calls.WithLabelValues(method, code).Inc()
	m.callDuration.Observe(took.Seconds())
}

// ObserveCheck tells how a run of a check went.
func (m *Metrics) ObserveCheck(name string, took time.Duration, at time.Time, ok bool) {
	m.checkDuration.WithLabelValues(name).Set(took.Seconds())
	m.checkSuccess.WithLabelValues(name).Set(number(ok))
	last := m.checkLast.WithLabelValues(name)
	if ok {
		last.Set(timestamp(at))
	}
}

// SetStream tells whether a stream of the API server is being followed.
func (m *Metrics) SetStream(resource string, up bool) {
	m.streamUp.WithLabelValues(resource).Set(number(up))
}

// CountEventLookup counts a question for one pod's events: "ok" or "error".
func (m *Metrics) CountEventLookup(result string) { m.eventLookups.WithLabelValues(result).Inc() }

// SetConditions tells the conditions that can be told.
func (m *Metrics) SetConditions(conditions []Condition) {
	for _, c := range conditions {
		m.conditions.WithLabelValues(c.Type).Set(number(c.True))
	}
}

// CountWrite counts a write to the API server.
func (m *Metrics) CountWrite(write string, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.writes.WithLabelValues(write, result).Inc()
}

// CountBadInput counts an answer that could not be read.
func (m *Metrics) CountBadInput(source string) { m.badInput.WithLabelValues(source).Inc() }

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// timestamp is a time in seconds since 1970; 0 where it is zero.
func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// Label makes any text a label value that every Prometheus accepts: valid UTF-8, no longer than 512 bytes.
func Label(text string) string {
	const longest = 512
	text = strings.ToValidUTF8(text[:min(len(text), longest+utf8.UTFMax)], "\uFFFD")
	if len(text) <= longest {
		return text
	}
	cut := longest
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}
