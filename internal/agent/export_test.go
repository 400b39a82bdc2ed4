package agent

import (
	"github.com/pullwatch/pullwatch/internal/disk"
	"github.com/pullwatch/pullwatch/internal/health"
	"log/slog"
	"time"
)

// Log is a log that a test reads while it is written.
type Log = logged

// Logger writes to the log.
func (l *logged) Logger() *slog.Logger { return l.logger() }

// Count is how often a text is in the log.
func (l *logged) Count(text string) int { return l.count(text) }

// Hurry lets every check run at another interval. It is called before Run.
func (a *Agent) Hurry(interval time.Duration) {
	for _, c := range a.checks {
		c.interval = interval
	}
}

// Age lets the last run of a check have ended some time ago.
func (a *Agent) Age(name string, ago time.Duration) {
	for _, c := range a.checks {
		if c.name == name {
			c.finished.Store(time.Now().Add(-ago).UnixNano())
		}
	}
}

// Ready is what /readyz answers from.
func (a *Agent) Ready() error { return a.ready() }

// ForecastOn is what the page says ahead of a report.
func ForecastOn(r *disk.Report) string { return pageDisk(&Part[*disk.Report]{Value: r}).Forecast }

// Observation is what the conditions are judged by now.
func (a *Agent) Observation() health.Observation { return a.observation() }
