package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pullwatch/pullwatch/pkg/cause"
)

// mostEndpoints bounds the endpoints of one registry that have series. The prober asks no more of them.
const mostEndpoints = 8

// RegistryProbe is what the last probe of a registry found.
type RegistryProbe struct {
	Registry    string
	Established bool  // this node has pulled from it or is configured for it; else only pods name it
	OK          *bool // whether an endpoint was reached that serves; nil is not known
	// Phases are those gone through: dns, tcp, proxy, tls, http, token. Of the endpoint that would serve, else of the one asked last, the origin.
	Phases             map[string]time.Duration
	CertificateExpires time.Time       // of that endpoint's certificate; zero where none was seen, or it is not verified
	LastSuccess        time.Time       // zero is never in this process's life
	Endpoints          []EndpointProbe // in the order in which the runtime asks
	Serving            string          // the URL of the endpoint that would serve; empty is none
	Findings           int             // in the runtime's configuration of it
	RateLimit          *RateLimit      // nil where the registry tells none
}

// EndpointProbe is whether one endpoint of a registry was reached; nil is not known.
type EndpointProbe struct {
	URL string
	OK  *bool
}

// RateLimit is what a registry lets this node ask of it.
type RateLimit struct {
	Limit, Remaining int // requests
	Window           time.Duration
	Source           string // whose limit it is: "anonymous" or "credentials"
}

// The label is url: the Prometheus operator gives every target a label endpoint, and what has one of its own becomes exported_endpoint.
var (
	registryUpDesc = desc("pullwatch_registry_up",
		"Whether the last probe of a registry reached an endpoint that would serve its images (1) or none (0); absent is not known.", "registry")
	establishedDesc = desc("pullwatch_registry_established",
		"Whether this node has pulled from a registry or is configured for it (1), or only pods name it (0).", "registry")
	probePhaseDesc = desc("pullwatch_registry_probe_phase_duration_seconds",
		"Duration of the phases of the last probe of a registry, at the endpoint that would serve, else at the one asked last, the origin.", "registry", "phase")
	probeSuccessDesc = desc("pullwatch_registry_probe_last_success_timestamp_seconds",
		"When a probe last reached a registry, as a Unix time; 0 is never.", "registry")
	certificateDesc = desc("pullwatch_registry_certificate_expiry_timestamp_seconds",
		"When the certificate of the endpoint that serves a registry, else of the one that is asked last, ends, as a Unix time; absent where the runtime does not verify it.", "registry")
	endpointUpDesc = desc("pullwatch_registry_endpoint_up",
		"Whether the last probe reached an endpoint of a registry with mirrors (1) or not (0); absent is not known.", "registry", "url")
	servingDesc = desc("pullwatch_registry_serving_endpoint_info",
		"The endpoint of a registry with mirrors that would serve; the value is always 1.", "registry", "url")
	findingsDesc = desc("pullwatch_registry_config_findings",
		"Findings in the container runtime's configuration of a registry: what is not as whoever wrote it will have meant it.", "registry")
	rateLimitDesc = desc("pullwatch_registry_rate_limit_requests",
		"Requests that a registry allows this node in one window of its rate limit.", "registry", "source")
	rateRemainingDesc = desc("pullwatch_registry_rate_limit_remaining_requests",
		"Requests that a registry's rate limit leaves this node, as of the last probe.", "registry", "source")
	missingDesc = desc("pullwatch_registry_images_missing",
		"Images in use on this node that their registry does not have, as far as it tells without credentials.", "registry")
	rateWindowDesc = desc("pullwatch_registry_rate_limit_window_seconds", "Length of the window of a registry's rate limit.", "registry", "source")
)

var probeDescs = []*prometheus.Desc{registryUpDesc, establishedDesc, probePhaseDesc, probeSuccessDesc, certificateDesc, endpointUpDesc, servingDesc, findingsDesc,
	rateLimitDesc, rateRemainingDesc, rateWindowDesc, missingDesc}

// SetRegistryProbes tells what the last probes of all registries found. A registry without a label value of its own has none of these
// series: several that take turns under one name would say nothing.
func (m *Metrics) SetRegistryProbes(probes []RegistryProbe) {
	for i := range probes {
		m.registries.keep(probes[i].Registry)
	}
	m.expire()
	var series []prometheus.Metric
	seen := make(map[string]bool, len(probes))
	for i := range probes {
		registry, own := m.registries.label(probes[i].Registry)
		if !own || seen[registry] { // names cut short may meet
			continue
		}
		seen[registry] = true
		m.probes.WithLabelValues(registry)
		series = append(series, probes[i].series(registry)...)
	}
	m.state.set(func(s *values) { s.probes = series })
}

// CountRegistryProbe counts a probe that could tell whether the registry can be reached; the cause is None where it was.
func (m *Metrics) CountRegistryProbe(registry string, failed cause.Cause) {
	m.countProbe(m.probes, m.probeFailures, registry, failed)
}

// CountImageProbe counts a question about an image; the cause is None where it is there for this node.
func (m *Metrics) CountImageProbe(registry string, failed cause.Cause) {
	m.countProbe(m.imageProbes, m.imageProbeFailures, registry, failed)
}

func (m *Metrics) countProbe(all, failures *prometheus.CounterVec, registry string, failed cause.Cause) {
	m.expire()
	registry = m.registries.count(registry)
	all.WithLabelValues(registry).Inc()
	if failed != cause.None {
		failures.WithLabelValues(failed.String(), registry).Inc()
	}
}

// SetImagesMissing tells of each registry how many images in use on this node it does not have.
func (m *Metrics) SetImagesMissing(missing map[string]int) {
	var series []prometheus.Metric
	seen := make(map[string]bool, len(missing))
	for name, n := range missing {
		if registry, own := m.registries.label(name); own && !seen[registry] {
			seen[registry] = true
			series = append(series, prometheus.MustNewConstMetric(missingDesc, prometheus.GaugeValue, float64(n), registry))
		}
	}
	m.state.set(func(s *values) { s.missing = series })
}

// series renders a probe, so that a scrape has nothing left to do.
func (p *RegistryProbe) series(registry string) []prometheus.Metric {
	var all []prometheus.Metric
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		bounded := []string{registry}
		for _, label := range labels {
			bounded = append(bounded, Label(label))
		}
		all = append(all, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, bounded...))
	}
	if p.OK != nil {
		gauge(registryUpDesc, number(*p.OK))
	}
	gauge(establishedDesc, number(p.Established))
	for phase, took := range p.Phases {
		gauge(probePhaseDesc, took.Seconds(), phase)
	}
	if p.OK != nil || !p.LastSuccess.IsZero() { // else 0 would be a verdict
		gauge(probeSuccessDesc, timestamp(p.LastSuccess))
	}
	if !p.CertificateExpires.IsZero() {
		gauge(certificateDesc, timestamp(p.CertificateExpires))
	}
	gauge(findingsDesc, float64(p.Findings))
	if r := p.RateLimit; r != nil {
		gauge(rateLimitDesc, float64(r.Limit), r.Source)
		gauge(rateRemainingDesc, float64(r.Remaining), r.Source)
		gauge(rateWindowDesc, r.Window.Seconds(), r.Source)
	}
	if len(p.Endpoints) < 2 { // it says what the registry's own series say
		return all
	}
	seen := make(map[string]bool, mostEndpoints)
	for _, e := range p.Endpoints[:min(len(p.Endpoints), mostEndpoints)] {
		if url := Label(e.URL); e.OK != nil && !seen[url] { // as above
			seen[url] = true
			gauge(endpointUpDesc, number(*e.OK), url)
		}
	}
	if p.Serving != "" {
		gauge(servingDesc, 1, p.Serving)
	}
	return all
}
