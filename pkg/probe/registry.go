package probe

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

// mostEndpoints bounds how many endpoints of one registry are asked. More mirrors than this serve nobody.
const mostEndpoints = 8

// Registry is what the endpoints of one registry said, in the order in which the runtime asks them.
type Registry struct {
	Registry string `json:"registry"`
	// OK is whether an endpoint was reached that serves tags and blobs. It is nil where that is not known.
	OK    *bool       `json:"ok"`
	Cause cause.Cause `json:"cause,omitempty"` // why not: the origin's, which is asked last
	// Serving is the endpoint that would be the first to answer.
	Serving    string               `json:"serving,omitempty"`
	At         time.Time            `json:"at"`
	Endpoints  []*Report            `json:"endpoints"`
	Findings   []registries.Finding `json:"findings,omitempty"`
	Warnings   []string             `json:"warnings,omitempty"`
	NotChecked string               `json:"notChecked,omitempty"`
}

// Registry asks every endpoint of a registry, all at the same time.
func (p *Prober) Registry(ctx context.Context, answer *registries.Answer, reach Reach) *Registry {
	r := &Registry{Registry: answer.Registry, At: p.now(), Findings: answer.Findings, NotChecked: answer.NotChecked}
	endpoints := answer.Endpoints[:min(len(answer.Endpoints), mostEndpoints)]
	r.Endpoints = make([]*Report, len(endpoints))
	var all sync.WaitGroup
	for i := range endpoints {
		of := reach
		if endpoints[i].Mirror { // the operator named it
			of = Anywhere
		}
		all.Go(func() { r.Endpoints[i] = p.Probe(ctx, &endpoints[i], of) })
	}
	all.Wait()
	r.judge(endpoints)
	return r
}

// judge sums the reports up.
func (r *Registry) judge(endpoints []registries.Endpoint) {
	var unknown string
	for i, report := range r.Endpoints {
		e := &endpoints[i]
		switch {
		case report.OK == nil:
			unknown = report.NotChecked
			r.Cause = report.Cause
		case !*report.OK:
			r.Cause = report.Cause
		case r.Serving == "" && e.Resolve && e.Pull:
			r.Serving = report.URL
		}
	}
	switch {
	case r.Serving != "":
		yes := true
		r.OK, r.Cause = &yes, cause.None
	case unknown != "":
		if r.NotChecked == "" {
			r.NotChecked = unknown
		}
	case len(r.Endpoints) > 0 && r.NotChecked == "":
		no := false
		r.OK = &no
	}
	// A mirror that is dead before one that lives is waited for with each request of each pull.
	for i, report := range r.Endpoints {
		if r.Serving == "" || report.URL == r.Serving {
			break
		}
		if report.OK != nil && !*report.OK {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s does not serve (%s) and is asked before %s: every pull waits for it%s",
				report.URL, report.Cause, r.Serving, wait(report, &endpoints[i])))
		}
	}
}

// wait is what a dead endpoint costs.
func wait(r *Report, e *registries.Endpoint) string {
	if r.Phase == PhaseTCP && r.Phases.TCP.Seconds >= dialAtMost.Seconds()/2 {
		return fmt.Sprintf(", up to %s for the manifest and again for each blob", e.DialTimeout)
	}
	waited := time.Duration(r.Seconds * float64(time.Second)).Round(time.Millisecond)
	if waited < 10*time.Millisecond {
		return ", less than 10ms each time"
	}
	return fmt.Sprintf(", %s each time", waited)
}
