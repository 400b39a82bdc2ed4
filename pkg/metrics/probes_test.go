package metrics

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pullwatch/pullwatch/pkg/cause"
)

var yes, no = true, false

// mirrored is a registry whose first mirror is dead, whose second serves, and of whose origin nothing is known.
var mirrored = RegistryProbe{
	Registry: "docker.io", Established: true, OK: &yes, CertificateExpires: noon.Add(90 * 24 * time.Hour), LastSuccess: noon,
	Phases: map[string]time.Duration{"dns": 2 * time.Millisecond, "tcp": 15 * time.Millisecond, "proxy": 20 * time.Millisecond,
		"tls": 30 * time.Millisecond, "http": 25 * time.Millisecond, "token": 80 * time.Millisecond},
	Endpoints: []EndpointProbe{{"https://dead.example/v2", &no}, {"https://cache.example/v2", &yes}, {"https://registry-1.docker.io/v2", nil}},
	Serving:   "https://cache.example/v2", Findings: 1,
	RateLimit: &RateLimit{Limit: 100, Remaining: 76, Window: 6 * time.Hour, Source: "anonymous"},
}

// unreached is a registry whose certificate has expired.
var unreached = RegistryProbe{
	Registry: "ghcr.io", OK: &no, CertificateExpires: noon.Add(-time.Hour),
	Phases:    map[string]time.Duration{"dns": time.Millisecond, "tcp": 10 * time.Millisecond, "tls": 20 * time.Millisecond},
	Endpoints: []EndpointProbe{{"https://ghcr.io/v2", &no}},
}

// reached is a registry without mirrors that is as it should be.
func reached(registry string) RegistryProbe {
	url := "https://" + registry + "/v2"
	return RegistryProbe{
		Registry: registry, OK: &yes, CertificateExpires: noon.Add(90 * 24 * time.Hour), LastSuccess: noon,
		Phases:    map[string]time.Duration{"dns": time.Millisecond, "tcp": time.Millisecond, "tls": time.Millisecond, "http": time.Millisecond},
		Endpoints: []EndpointProbe{{url, &yes}}, Serving: url,
	}
}

// probed is the series of probes of one registry, by the rest of their names and labels.
func probed(t *testing.T, m *Metrics, registry string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	label := fmt.Sprintf("registry=%q", registry)
	for series, value := range having(samples(t, m), "pullwatch_registry_", label) {
		found[strings.NewReplacer("pullwatch_registry_", "", "{"+label+"}", "", label+",", "", ","+label, "").Replace(series)] = value
	}
	return found
}

// TestRegistryProbeUnknown: what is not known has no series, and a registry with one endpoint none of endpoints.
func TestRegistryProbeUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		probe RegistryProbe
		want  map[string]string
	}{
		"not checked": {RegistryProbe{Registry: "a.example"}, map[string]string{"probes_total": "0", "config_findings": "0", "established": "0"}},
		"not checked any more": {RegistryProbe{Registry: "a.example", LastSuccess: noon},
			map[string]string{"probes_total": "0", "config_findings": "0", "established": "0", "probe_last_success_timestamp_seconds": "1.7937072e+09"}},
		"never reached": {RegistryProbe{Registry: "a.example", OK: &no, Endpoints: []EndpointProbe{{"http://a.example/v2", &no}}},
			map[string]string{"probes_total": "0", "config_findings": "0", "established": "0", "up": "0", "probe_last_success_timestamp_seconds": "0"}},
		"mirrors not checked": {RegistryProbe{Registry: "a.example", Endpoints: []EndpointProbe{{"http://m.example/v2", nil}, {"http://a.example/v2", nil}}},
			map[string]string{"probes_total": "0", "config_findings": "0", "established": "0"}},
		"one endpoint": {RegistryProbe{Registry: "a.example", Established: true, OK: &yes, LastSuccess: noon, Serving: "http://a.example/v2", Findings: 3,
			Endpoints: []EndpointProbe{{"http://a.example/v2", &yes}}},
			map[string]string{"probes_total": "0", "config_findings": "3", "established": "1", "up": "1", "probe_last_success_timestamp_seconds": "1.7937072e+09"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMetrics()
			m.SetRegistryProbes([]RegistryProbe{c.probe})
			wantSamples(t, probed(t, m, "a.example"), c.want)
		})
	}
}

// TestRegistryProbesReplaced: gauges show the last probes and nothing before. Counters stay for as long as the label value.
func TestRegistryProbesReplaced(t *testing.T) {
	m, pass := bounded(5)
	m.SetEstablished([]string{"docker.io"})
	for _, registry := range []string{"docker.io", "a.example"} {
		m.CountRegistryProbe(registry, cause.None)
		m.CountRegistryProbe(registry, cause.Connection)
	}
	counted := map[string]string{"probes_total": "2", `probe_failures_total{cause="connection"}`: "1"}
	a := mirrored
	a.Registry = "a.example"
	m.SetRegistryProbes([]RegistryProbe{mirrored, a})
	for _, registry := range []string{"docker.io", "a.example"} {
		if got := len(probed(t, m, registry)); got != 2+17 {
			t.Errorf("%s: %d series, want 2 counters and 17 gauges", registry, got)
		}
	}
	m.SetRegistryProbes(nil)
	wantSamples(t, probed(t, m, "docker.io"), counted)
	wantSamples(t, probed(t, m, "a.example"), counted)
	pass(time.Hour + time.Second)
	m.SetRegistryProbes(nil)
	wantSamples(t, probed(t, m, "docker.io"), counted)
	wantSamples(t, probed(t, m, "a.example"), map[string]string{})

	// What is probed all the while keeps both, however long nothing is told in between.
	m.CountRegistryProbe("b.example", cause.None)
	pass(10 * time.Hour)
	m.SetRegistryProbes([]RegistryProbe{{Registry: "b.example"}})
	wantSamples(t, probed(t, m, "b.example"), map[string]string{"probes_total": "1", "config_findings": "0", "established": "0"})

	// The slots of registries long past are for the one that is probed now, which is counted before anything else is told.
	m, pass = bounded(1)
	m.CountRegistryProbe("old.example", cause.None)
	pass(10 * time.Hour)
	m.CountRegistryProbe("new.example", cause.None)
	wantSamples(t, having(samples(t, m), "probes_total"), map[string]string{`pullwatch_registry_probes_total{registry="new.example"}`: "1"})
}

// TestRegistryProbesCapped: what finds no slot is counted under other, where no gauge could say whose it is.
func TestRegistryProbesCapped(t *testing.T) {
	m, _ := bounded(2)
	m.SetEstablished([]string{"docker.io"})
	var probes []RegistryProbe
	for _, registry := range []string{"a.example", "b.example", "c.example", "d.example", "docker.io"} {
		m.CountRegistryProbe(registry, cause.DNS)
		p := mirrored
		p.Registry = registry
		probes = append(probes, p)
	}
	m.SetRegistryProbes(probes)
	for registry, gauges := range map[string]int{"a.example": 17, "b.example": 17, "docker.io": 17, "c.example": 0, "d.example": 0, "other": 0} {
		counters := min(gauges, 2)
		if registry == "other" {
			counters = 2
		}
		if got := len(probed(t, m, registry)); got != counters+gauges {
			t.Errorf("%s: %d series, want %d counters and %d gauges", registry, got, counters, gauges)
		}
	}
	wantSamples(t, probed(t, m, "other"), map[string]string{"probes_total": "2", `probe_failures_total{cause="dns"}`: "2"})
	wantSamples(t, having(samples(t, m), "labels_dropped"), map[string]string{"pullwatch_registry_labels_dropped_total": "2"})
}

// TestProbedEndpointsBounded: eight endpoints of a registry have series, and equal ones, which would fail the whole scrape, have one.
func TestProbedEndpointsBounded(t *testing.T) {
	p := RegistryProbe{Registry: "docker.io", OK: &yes}
	for i := range 30 {
		p.Endpoints = append(p.Endpoints, EndpointProbe{fmt.Sprintf("https://m%02d.example/v2", i), &yes})
	}
	m := newMetrics()
	m.SetRegistryProbes([]RegistryProbe{p})
	got := having(samples(t, m), "pullwatch_registry_endpoint_up")
	if len(got) != 8 || len(having(got, "m00.")) != 1 || len(having(got, "m07.")) != 1 {
		t.Errorf("endpoints %v, want the first 8", got)
	}
	long := "https://" + strings.Repeat("a", 600)
	p.Endpoints = []EndpointProbe{{long + "1", nil}, {long + "2", &no}, {long + "3", &yes}, {long + "2", &no}}
	m.SetRegistryProbes([]RegistryProbe{p})
	got = having(samples(t, m), "pullwatch_registry_endpoint_up")
	if len(got) != 1 || len(having(got, `url="`+long[:512]+`"`)) != 1 {
		t.Errorf("endpoints %v, want one", got)
	}
}

// TestProbedTwice: two probes under one label value would fail the whole scrape; the first is shown.
func TestProbedTwice(t *testing.T) {
	long := strings.Repeat("a", 600)
	m := newMetrics()
	m.SetRegistryProbes([]RegistryProbe{{Registry: long + "1", OK: &yes}, {Registry: long + "2", OK: &no}, {Registry: long + "1"}})
	wantSamples(t, having(samples(t, m), "pullwatch_registry_up"), map[string]string{fmt.Sprintf("pullwatch_registry_up{registry=%q}", long[:512]): "1"})
}

// TestHostileProbes: whatever a registry or an endpoint is called, the page stays readable and of a bounded size.
func TestHostileProbes(t *testing.T) {
	const bad = "x\xff\"} 1\n\rpullwatch_forged 1\n\\\x00\x1b[31m"
	long := bad + strings.Repeat("é", 5000)
	m := newMetrics()
	var probes []RegistryProbe
	for _, text := range []string{bad, long, "\n", ""} {
		probes = append(probes, RegistryProbe{
			Registry: text, OK: &yes, Phases: map[string]time.Duration{text: time.Second}, Serving: text, Findings: -1,
			Endpoints: []EndpointProbe{{text, &yes}, {"https://" + text, &no}}, RateLimit: &RateLimit{Limit: -1, Remaining: 1 << 30, Source: text},
			CertificateExpires: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), LastSuccess: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC),
		})
		m.CountRegistryProbe(text, cause.DNS)
	}
	m.SetRegistryProbes(probes)
	for _, accept := range []string{"", "application/openmetrics-text;version=1.0.0"} {
		_, page := scrape(t, m, accept)
		if !utf8.ValidString(page) {
			t.Errorf("accept %q: not UTF-8", accept)
		}
		for line := range strings.Lines(page) {
			if len(line) > 2*1024+200 {
				t.Errorf("accept %q: a line of %d bytes", accept, len(line))
			}
			if strings.HasPrefix(line, "pullwatch_forged") {
				t.Errorf("accept %q: an endpoint's name made a line of its own", accept)
			}
		}
		want := `pullwatch_registry_up{registry="x` + "\uFFFD" + `\"} 1\n` + "\r" + `pullwatch_forged 1\n\\` + "\x00\x1b[31m" + `"} 1`
		if !strings.Contains(page, want) {
			t.Errorf("accept %q: no %q", accept, want)
		}
	}
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if got := len(family.GetMetric()); family.GetName() == "pullwatch_registry_endpoint_up" && got != 2*len(probes) {
			t.Errorf("%d series of endpoints, want %d", got, 2*len(probes))
		}
	}
}

// TestProbeChurn: a tenant that has a new host probed every ten seconds gets no more series than there are slots.
func TestProbeChurn(t *testing.T) {
	m, pass := bounded(5)
	m.SetEstablished([]string{"docker.io"})
	most := 0
	for i := range 3 * 3600 / 10 {
		r := fmt.Sprintf("r%d.example", i)
		m.CountRegistryProbe(r, cause.DNS)
		m.SetRegistryProbes([]RegistryProbe{{Registry: r, OK: &no}, mirrored})
		if i%100 == 0 {
			most = max(most, len(having(samples(t, m), "pullwatch_registry_", `="r`)))
		}
		pass(10 * time.Second)
	}
	if limit := 2*5 + 3; most > limit || most < 5 {
		t.Errorf("up to %d series of hosts that a tenant named, want at most %d", most, limit)
	}
	if got := having(samples(t, m), "pullwatch_registry_up", "docker.io"); len(got) != 1 {
		t.Errorf("the established registry was crowded out: %v", got)
	}
}

// TestProbesAtOnce: a scrape sees all probes of one round, and none that was changed since it was told.
func TestProbesAtOnce(t *testing.T) {
	m := newMetrics()
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 200 {
			ok, phases := i%2 == 0, map[string]time.Duration{"dns": 1}
			probes := []RegistryProbe{{Registry: "a.example", OK: &ok, Phases: phases}, {Registry: "b.example", OK: &ok, Phases: phases}}
			m.SetRegistryProbes(probes)
			ok, phases["dns"], probes[0].Registry = !ok, 2, "c.example"
		}
	})
	for range 200 {
		all := samples(t, m)
		up := having(all, "pullwatch_registry_up")
		if a, b := up[`pullwatch_registry_up{registry="a.example"}`], up[`pullwatch_registry_up{registry="b.example"}`]; a != b {
			t.Fatalf("a scrape has halves of two rounds: %v", up)
		}
		for series, value := range having(all, "pullwatch_registry_probe_phase") {
			if value != "1e-09" {
				t.Fatalf("%s %s, want what was told", series, value)
			}
		}
	}
	wg.Wait()
}
