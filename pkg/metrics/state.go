package metrics

import (
	"cmp"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pullwatch/pullwatch/pkg/cause"
)

var (
	nodeDesc = desc("pullwatch_node_info", "This node; the value is always 1.",
		"architecture", "os", "os_image", "kernel_version", "container_runtime", "container_runtime_version", "kubelet_version")
	reachableDesc     = desc("pullwatch_runtime_reachable", "Whether something accepts connections on the container runtime's socket.")
	upDesc            = desc("pullwatch_runtime_up", "Whether the container runtime answers CRI calls.")
	readyDesc         = desc("pullwatch_runtime_ready", "Whether the container runtime says that it is ready (condition RuntimeReady).")
	imagesDesc        = desc("pullwatch_images", "Images on this node.")
	unusedDesc        = desc("pullwatch_images_unused", "Images of no container, running or exited, of no volume, and not pinned.")
	wrongPlatformDesc = desc("pullwatch_images_wrong_platform", "Images built for a platform that this node's runtime does not run: they start with an exec format error, or by emulation. used is whether a container of this node uses it.", "used")
	pulledAgainDesc   = desc("pullwatch_images_pulled_again_total", "Images that vanished from this node and were pulled again, in this agent's life.")
	failingDesc       = desc("pullwatch_containers_failing", "Containers and sandboxes of this node that wait because an image cannot be pulled, now.",
		"cause", "scope", "registry")
	sinceDesc = desc("pullwatch_container_failing_since_timestamp_seconds",
		"Since when a container of this node waits for an image that cannot be pulled, as a Unix time; 0 is unknown. At most --max-failing-series of them.",
		"namespace", "pod", "container", "kind", "image", "registry", "cause")
	unseenDesc = desc("pullwatch_containers_failing_without_series", "Failing containers that have no series of their own because --max-failing-series was reached.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// state renders what is true now. It is replaced as a whole for each change, so that a scrape never sees half of one.
type state struct {
	zero       []failingKey // rendered even where nothing fails
	maxFailing int

	mu sync.Mutex
	values
}

type values struct {
	node    Node
	runtime *Runtime
	failing []Failing
	probes  []prometheus.Metric // as rendered, as are those below
	missing []prometheus.Metric

	disk, pressure []prometheus.Metric
}

type failingKey struct {
	cause    cause.Cause
	scope    cause.Scope
	registry string
}

func (s *state) set(change func(*values)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.values)
}

func (s *state) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range [...]*prometheus.Desc{nodeDesc, reachableDesc, upDesc, readyDesc, imagesDesc, unusedDesc, wrongPlatformDesc, pulledAgainDesc, failingDesc, sinceDesc, unseenDesc} {
		ch <- d
	}
	for _, d := range slices.Concat(probeDescs, diskDescs) {
		ch <- d
	}
}

func (s *state) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	now := s.values
	s.mu.Unlock()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	if n := now.node; n != (Node{}) {
		gauge(nodeDesc, 1, Label(n.Architecture), Label(n.OS), Label(n.OSImage), Label(n.Kernel), Label(n.Runtime), Label(n.RuntimeVersion),
			Label(n.Kubelet))
	}
	if r := now.runtime; r != nil {
		gauge(reachableDesc, number(r.Reachable))
		gauge(upDesc, number(r.Up))
		gauge(readyDesc, number(r.Ready))
		if r.Images >= 0 {
			gauge(imagesDesc, float64(r.Images))
			gauge(unusedDesc, float64(r.UnusedImages))
			gauge(wrongPlatformDesc, float64(r.WrongPlatformUsed), "true")
			gauge(wrongPlatformDesc, float64(r.WrongPlatformUnused), "false")
			ch <- prometheus.MustNewConstMetric(pulledAgainDesc, prometheus.CounterValue, float64(r.PulledAgain))
		}
	}
	counts := make(map[failingKey]int, len(s.zero))
	for _, key := range s.zero {
		counts[key] = 0
	}
	for i := range now.failing {
		f := &now.failing[i]
		counts[failingKey{f.Cause, f.Scope, f.Registry}]++
	}
	for key, n := range counts {
		gauge(failingDesc, float64(n), key.cause.String(), string(key.scope), key.registry)
	}
	shown := now.failing
	if len(shown) > s.maxFailing {
		// Which ones are shown must not change from scrape to scrape: those that fail longest stay.
		shown = slices.Clone(shown)
		slices.SortFunc(shown, func(a, b Failing) int {
			return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Container, b.Container))
		})
		shown = shown[:s.maxFailing]
	}
	for i := range shown {
		f := &shown[i]
		gauge(sinceDesc, timestamp(f.Since), f.Namespace, f.Pod, f.Container, f.Kind, f.Image, f.Registry, f.Cause.String())
	}
	gauge(unseenDesc, float64(len(now.failing)-len(shown)))
	for _, rendered := range [...][]prometheus.Metric{now.probes, now.missing, now.disk, now.pressure} {
		for _, series := range rendered {
			ch <- series
		}
	}
}
