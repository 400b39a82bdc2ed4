package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cause"
)

// busy is a node with 110 pods, 20 of them failing, each of another registry, 20 registries in all, and 300 images.
func busy() *Metrics {
	m := newMetrics()
	fill(m)
	var registries []string
	for i := range 20 {
		registries = append(registries, fmt.Sprintf("registry-%02d.example.com", i))
	}
	m.SetEstablished(registries)
	var probes []RegistryProbe
	var failing []Failing
	for i, name := range registries {
		probes = append(probes, reached(name))
		failing = append(failing, Failing{
			Namespace: "shop", Pod: fmt.Sprintf("web-%d", i), Container: "app", Kind: "container", Image: name + "/shop/web:1", Registry: name,
			Cause: cause.All()[i], Scope: cause.All()[i].Scope(), Since: noon,
		})
		m.CountFailure(cause.All()[i], name)
		m.CountAttempt(cause.All()[i], name)
	}
	m.SetRuntime(Runtime{Reachable: true, Up: true, Ready: true, Images: 300})
	for i := range probes {
		m.CountRegistryProbe(probes[i].Registry, cause.None)
		m.CountImageProbe(probes[i].Registry, cause.None)
	}
	m.SetRegistryProbes(probes)
	m.SetFailing(failing)
	return m
}

// TestSeriesOfBusyNode: what such a node costs a Prometheus, and what it still does after an hour of a tenant who makes up 2,000 registries.
func TestSeriesOfBusyNode(t *testing.T) {
	m := busy()
	before := len(samples(t, m))
	now := noon
	m.registries.now = func() time.Time { return now }
	for i := range 2000 {
		now = now.Add(time.Hour / 2000)
		name := fmt.Sprintf("tenant-%d.example.net", i)
		m.CountFailure(cause.DNS, name)
		m.CountAttempt(cause.DNS, name)
		m.CountRegistryProbe(name, cause.DNS)
		m.SetRegistryProbes([]RegistryProbe{{Registry: name, OK: &no}})
	}
	after := samples(t, m)
	t.Logf("%d series, %d after 2,000 hostile names in an hour", before, len(after))
	if before > 600 || len(after) > 1000 {
		t.Error("want at most 600, and 1,000")
	}
	for i := range 20 {
		if len(having(after, "pullwatch_image_pull_failures_total", fmt.Sprintf(`registry="registry-%02d.example.com"`, i))) != 1 {
			t.Errorf("registry-%02d lost its name", i)
		}
	}
}

// BenchmarkScrape is one scrape of such a node. The goal is 5 ms.
func BenchmarkScrape(b *testing.B) {
	handler := busy().Handler()
	b.ReportAllocs()
	for b.Loop() {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if answer.Code != http.StatusOK {
			b.Fatal(answer.Code)
		}
	}
}
