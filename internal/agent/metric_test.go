package agent

import (
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/pkg/probe"
)

// TestMetricOfEndpoints: a registry's certificate and times are those of the endpoint that stands for it.
func TestMetricOfEndpoints(t *testing.T) {
	yes, no := true, false
	end := scheduleStart.Add(time.Hour)
	endpoint := func(url string, verified *bool, state probe.State, fault probe.TLSFault, seconds float64) *probe.Report {
		r := &probe.Report{URL: url}
		r.Phases.TLS = probe.TLS{Phase: probe.Phase{State: state, Seconds: seconds}, Fault: fault, Verified: verified, NotAfter: end.Add(time.Duration(seconds) * time.Second)}
		return r
	}
	mirror, origin := endpoint("https://m", &yes, probe.Passed, "", 1), endpoint("https://o", &yes, probe.Passed, "", 2)
	part := endpoint("https://m", &yes, probe.Passed, "", 4)
	part.OK = &yes
	for name, test := range map[string]struct {
		serving   string
		endpoints []*probe.Report
		ends      float64 // 0 is not told
		tls       time.Duration
	}{
		"the mirror serves":            {"https://m", []*probe.Report{mirror, origin}, 1, time.Second},
		"the origin serves":            {"https://o", []*probe.Report{mirror, origin}, 2, 2 * time.Second},
		"nobody serves":                {"", []*probe.Report{mirror, origin}, 2, 2 * time.Second},
		"the mirror serves a part":     {"", []*probe.Report{part, origin}, 4, 4 * time.Second},
		"it has ended":                 {"", []*probe.Report{mirror, endpoint("https://o", &no, probe.Failed, probe.Expired, 3)}, 3, 3 * time.Second},
		"another fault":                {"", []*probe.Report{endpoint("https://o", &no, probe.Failed, probe.UnknownIssuer, 3)}, 0, 3 * time.Second},
		"it has ended, nobody minds":   {"https://o", []*probe.Report{endpoint("https://o", &no, probe.Passed, probe.Expired, 3)}, 0, 3 * time.Second},
		"nobody knows whom to ask":     {"", nil, 0, 0},
		"the certificate was not seen": {"", []*probe.Report{endpoint("https://o", nil, probe.Failed, probe.OtherTLS, 3)}, 0, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			m := (&RegistryState{Registry: &probe.Registry{Serving: test.serving, Endpoints: test.endpoints}}).metric()
			var want time.Time
			if test.ends > 0 {
				want = end.Add(time.Duration(test.ends) * time.Second)
			}
			if !m.CertificateExpires.Equal(want) || m.Phases[probe.PhaseTLS] != test.tls {
				t.Errorf("ends %s in %s, want %s in %s", m.CertificateExpires, m.Phases[probe.PhaseTLS], want, test.tls)
			}
		})
	}
}
