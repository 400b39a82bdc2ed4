package metrics

import (
	"fmt"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cause"
)

// bounded is metrics with few slots, in fake time.
func bounded(slots int) (m *Metrics, pass func(time.Duration)) {
	m = New(Options{MaxFailing: 100, MaxRegistries: slots})
	now := noon
	m.registries.now = func() time.Time { return now }
	return m, func(d time.Duration) { now = now.Add(d) }
}

func failingWith(registries ...string) []Failing {
	var failing []Failing
	for i, r := range registries {
		failing = append(failing, Failing{Namespace: "shop", Pod: fmt.Sprint("web-", i), Container: "app", Kind: "container", Image: r + "/x", Registry: r,
			Cause: cause.DNS, Scope: cause.ScopeNetwork, Since: noon})
	}
	return failing
}

func failures(registry string) string {
	return fmt.Sprintf(`pullwatch_image_pull_failures_total{cause="dns",registry=%q}`, registry)
}

const none = `pullwatch_image_pull_failures_total{cause="invalid_reference",registry=""}`

// TestRegistriesCapped: what pods name beyond the cap is counted under other, and that it was is counted too.
func TestRegistriesCapped(t *testing.T) {
	m, _ := bounded(2)
	m.SetEstablished([]string{"docker.io"})
	for _, registry := range []string{"a.example", "b.example", "c.example", "a.example", "docker.io", "d.example", ""} {
		m.CountFailure(cause.DNS, registry)
	}
	all := samples(t, m)
	wantSamples(t, having(all, "pullwatch_image_pull_failures_total"), map[string]string{
		none: "0", failures("a.example"): "2", failures("b.example"): "1", failures("docker.io"): "1", failures("other"): "2", failures(""): "1"})
	wantSamples(t, having(all, "pullwatch_registry_labels_dropped_total"), map[string]string{"pullwatch_registry_labels_dropped_total": "2"})

	m.CountAttempt(cause.DNS, "e.example")
	m.SetFailing(failingWith("a.example", "e.example", "f.example", "docker.io"))
	all = samples(t, m)
	wantSamples(t, having(all, "failed_attempts_total"), map[string]string{`pullwatch_image_pull_failed_attempts_total{cause="dns",registry="other"}`: "1"})
	wantSamples(t, having(all, "pullwatch_containers_failing{", `cause="dns"`), map[string]string{
		`pullwatch_containers_failing{cause="dns",registry="",scope="network"}`:          "0",
		`pullwatch_containers_failing{cause="dns",registry="a.example",scope="network"}`: "1",
		`pullwatch_containers_failing{cause="dns",registry="docker.io",scope="network"}`: "1",
		`pullwatch_containers_failing{cause="dns",registry="other",scope="network"}`:     "2"})
	wantSamples(t, having(all, "labels_dropped"), map[string]string{"pullwatch_registry_labels_dropped_total": "3"})
}

// TestNoSlots: a cap of 0 leaves established registries alone.
func TestNoSlots(t *testing.T) {
	m, _ := bounded(0)
	m.SetEstablished([]string{"docker.io"})
	m.CountFailure(cause.DNS, "docker.io")
	m.CountFailure(cause.DNS, "a.example")
	wantSamples(t, having(samples(t, m), "pullwatch_image_pull_failures_total", "dns"), map[string]string{failures("docker.io"): "1", failures("other"): "1"})
}

// TestEstablished: an established registry has its label value whoever came first, for as long as it is one.
func TestEstablished(t *testing.T) {
	m, pass := bounded(2)
	m.CountFailure(cause.DNS, "a.example")
	m.CountFailure(cause.DNS, "b.example")
	m.CountFailure(cause.DNS, "late.example") // other
	m.SetEstablished([]string{"a.example", "late.example"})
	m.CountFailure(cause.DNS, "late.example")
	m.CountFailure(cause.DNS, "c.example") // the slot that a.example no longer needs
	m.CountFailure(cause.DNS, "d.example") // other
	pass(100 * time.Hour)
	m.SetFailing(nil)
	wantSamples(t, having(samples(t, m), "pullwatch_image_pull_failures_total", "dns"), map[string]string{
		failures("a.example"): "1", failures("late.example"): "1", failures("other"): "2"})

	// They are bounded as well: whoever may run pods can have images pulled from hosts of their own.
	many := make([]string, 150)
	for i := range many {
		many[i] = fmt.Sprintf("r%03d.example", i)
	}
	m, _ = bounded(3)
	m.SetEstablished(many)
	for _, r := range many {
		m.CountFailure(cause.DNS, r)
	}
	all := having(samples(t, m), "pullwatch_image_pull_failures_total", "dns")
	if len(all) != 100+3+1 || all[failures("r000.example")] != "1" || all[failures("r099.example")] != "1" || all[failures("other")] != "47" {
		t.Errorf("%d series, %s under other; want 100 established, 3 slots and 47 under other", len(all), all[failures("other")])
	}
}

// TestSlotsAreFreed: an hour after the last failure a registry's slot and series are gone; one that still fails keeps both.
func TestSlotsAreFreed(t *testing.T) {
	m, pass := bounded(2)
	m.CountFailure(cause.DNS, "a.example")
	m.CountAttempt(cause.DNS, "a.example")
	m.CountFailure(cause.DNS, "b.example")
	pass(time.Hour)
	m.SetFailing(failingWith("b.example"))
	wantSamples(t, having(samples(t, m), "pullwatch_image_pull_failures_total", "dns"), map[string]string{failures("a.example"): "1", failures("b.example"): "1"})
	pass(time.Second)
	m.SetFailing(failingWith("b.example"))
	all := samples(t, m)
	wantSamples(t, having(all, "pullwatch_image_pull_", "dns"), map[string]string{failures("b.example"): "1"})
	m.CountFailure(cause.DNS, "c.example")
	wantSamples(t, having(samples(t, m), "pullwatch_image_pull_failures_total", "dns"), map[string]string{failures("b.example"): "1", failures("c.example"): "1"})
	// Long after, with nothing told in between, what fails all the while still has its own.
	pass(10 * time.Hour)
	m.SetFailing(failingWith("b.example"))
	wantSamples(t, having(samples(t, m), "pullwatch_image_pull_failures_total", "dns"), map[string]string{failures("b.example"): "1"})
}

// TestChurn: a tenant that names a new host every second gets no more series than there are slots.
func TestChurn(t *testing.T) {
	m, pass := bounded(5)
	most := 0
	for i := range 3 * 3600 / 10 {
		r := fmt.Sprintf("r%d.example", i)
		m.CountFailure(cause.DNS, r)
		m.CountAttempt(cause.DNS, r)
		m.SetFailing(failingWith(r))
		if i%100 == 0 {
			most = max(most, len(having(samples(t, m), `.example"`)))
		}
		pass(10 * time.Second)
	}
	if limit := 2*5 + 2; most > limit {
		t.Errorf("up to %d series of hosts that a tenant named, want at most %d", most, limit)
	}
}
