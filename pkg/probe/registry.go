package probe

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

// mostEndpoints bounds how many endpoints of one registry are asked. More mirrors than this serve nobody.
const mostEndpoints = 8

// asked are those of the endpoints that are asked, in their order. The last is the origin and is among them.
func asked(all []registries.Endpoint) []registries.Endpoint {
	if len(all) <= mostEndpoints {
		return all
	}
	return append(slices.Clone(all[:mostEndpoints-1]), all[len(all)-1])
}

// Registry is what the endpoints of one registry said, in the order in which the runtime asks them.
type Registry struct {
	Registry string `json:"registry"`
	// OK is whether endpoints were reached that serve tags and digests. It is nil where that is not known, and where those that were reached serve a part
	// of the images alone.
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
	endpoints := asked(answer.Endpoints)
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
	r.judge(endpoints, answer.Blocked)
	return r
}

// judge sums the reports up. blocked is why the runtime does not ask the origin, where it does not.
func (r *Registry) judge(endpoints []registries.Endpoint, blocked string) {
	var unknown string
	var tags, digests string      // the first endpoint that serves each
	var some *registries.Endpoint // the first that serves anything
	for i, report := range r.Endpoints {
		e := &endpoints[i]
		switch {
		case report.OK == nil:
			unknown = report.NotChecked
			r.Cause = report.Cause
		case !*report.OK:
			r.Cause = report.Cause
		case e.Resolve || e.Pull:
			if some == nil || some.Partial && !e.Partial {
				some = e
			}
			if e.Resolve && !e.Partial {
				tags = cmp.Or(tags, report.URL)
			}
			if e.Pull && !e.Partial {
				digests = cmp.Or(digests, report.URL)
			}
		}
	}
	switch {
	case tags != "" && digests != "":
		yes := true
		r.OK, r.Cause, r.Serving = &yes, cause.None, tags
	case unknown != "":
		r.NotChecked = cmp.Or(r.NotChecked, unknown)
	case some != nil:
		r.NotChecked = cmp.Or(r.NotChecked, r.inPart(some, blocked))
	case len(r.Endpoints) == 0:
		r.NotChecked = cmp.Or(r.NotChecked, blocked)
	case r.NotChecked == "":
		no := false
		r.OK = &no
	}
	// A mirror that is dead before one that lives is waited for with each request of each pull.
	for i, report := range r.Endpoints {
		if r.Serving == "" || report.URL == r.Serving {
			break
		}
		if report.OK != nil && !*report.OK {
			pull := "every pull"
			if images := kind(&endpoints[i]); images != "" {
				pull += " of images" + images
			}
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s does not serve (%s) and is asked before %s: %s waits for it%s",
				report.URL, report.Cause, r.Serving, pull, wait(report, &endpoints[i])))
		}
	}
}

// inPart says what of the images is served where not all are. Whether this node needs the others is not known here.
func (r *Registry) inPart(by *registries.Endpoint, blocked string) string {
	others := "all others need"
	switch {
	case by.Partial:
	case !by.Resolve:
		others = "tags need"
	case !by.Pull:
		others = "digests need"
	}
	served := fmt.Sprintf("images%s are served by %s", kind(by), by.Name())
	switch {
	case blocked != "":
		return fmt.Sprintf("%s, and the origin, which %s, is not asked: %s", served, others, blocked)
	case r.Cause == cause.None:
		return served + ", and no endpoint is asked for the others"
	}
	return fmt.Sprintf("%s, and the origin, which %s, fails (%s)", served, others, r.Cause)
}

// kind tells the images that an endpoint is asked for, where those are not all.
func kind(e *registries.Endpoint) (text string) {
	if e.Partial {
		text = " of some repositories"
	}
	switch {
	case !e.Resolve:
		text += " named by digest"
	case !e.Pull:
		text += " named by tag"
	}
	return text
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
