package metrics

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pullwatch/pullwatch/pkg/cause"
)

// TestSlotsAreFreedForWhoComes: the registries of a morning long past leave their slots to the one that fails now, which is counted
// before the agent tells what fails.
func TestSlotsAreFreedForWhoComes(t *testing.T) {
	old := func() (*Metrics, func(time.Duration)) {
		m, pass := bounded(2)
		m.CountFailure(cause.DNS, "a.example")
		m.CountFailure(cause.DNS, "b.example")
		m.SetFailing(failingWith("a.example", "b.example"))
		m.SetFailing(nil)
		pass(10 * time.Hour)
		return m, pass
	}
	t.Run("counted", func(t *testing.T) {
		m, _ := old()
		m.CountFailure(cause.DNS, "new.example")
		all := having(samples(t, m), "pullwatch_image_pull_failures_total", "dns")
		if all[failures("new.example")] != "1" {
			t.Errorf("series %v, want the new one's own", all)
		}
	})
	t.Run("failing", func(t *testing.T) {
		m, _ := old()
		m.SetFailing(failingWith("new.example"))
		if got := having(samples(t, m), "pullwatch_containers_failing{", "new.example"); len(got) != 1 {
			t.Errorf("failing %v, want the new one under its own name", having(samples(t, m), "pullwatch_containers_failing{", "dns"))
		}
	})
}

// TestEstablishedNoMore: hosts that were established and are no longer leave no series behind for ever.
func TestEstablishedNoMore(t *testing.T) {
	m, pass := bounded(5)
	for i := range 300 {
		r := fmt.Sprintf("r%d.example", i)
		m.SetEstablished([]string{r})
		m.CountFailure(cause.DNS, r)
		m.SetFailing(nil)
		pass(time.Hour)
	}
	if got := len(having(samples(t, m), `.example"`)); got > 10 {
		t.Errorf("%d series of registries that were established once, want at most 10", got)
	}
}

// TestDuplicatesButForTheScope: the scope is no label of a single container's series.
func TestDuplicatesButForTheScope(t *testing.T) {
	f := failingWith("a.example")[0]
	g := f
	g.Scope = cause.ScopeNode
	m := newMetrics()
	m.SetFailing([]Failing{f, g})
	if _, err := m.Gatherer().Gather(); err != nil {
		t.Error(err)
	}
}

// TestLabelLength: a text that is cut within a character or that is no UTF-8 is no longer than any other.
func TestLabelLength(t *testing.T) {
	for _, text := range []string{"a" + strings.Repeat("é", 400), strings.Repeat("a\xff", 256), strings.Repeat("a\xff", 400)} {
		if got := Label(text); len(got) > 512 || !utf8.ValidString(got) || !strings.HasPrefix(got, "a") || len(got) < 500 {
			t.Errorf("Label of %d bytes %q... has %d bytes, want at most 512 and nearly so", len(text), text[:8], len(got))
		}
	}
}
