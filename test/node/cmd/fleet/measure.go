package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/test/node"
)

// sample is what was used up to a moment. Reading it makes work itself, so it has two ends: spans begin at the late and end at the early one.
type sample struct {
	early, late usages
	scrape      node.Scrape // of the API server
	live        int64       // of the API server's heap right after a collection, in bytes
}

// usages are those of a moment.
type usages struct {
	at              time.Time
	apiserver, etcd node.Usage
	agents          []node.Usage
}

func (f *fleet) sample(ctx context.Context) (s sample, err error) {
	if s.early, err = f.usages(); err != nil {
		return s, err
	}
	api := f.client.CoreV1().RESTClient()
	if _, err = api.Get().AbsPath("/debug/pprof/heap").Param("gc", "1").DoRaw(ctx); err != nil { // collects garbage first
		return s, err
	}
	text, err := api.Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return s, err
	}
	if s.scrape, err = node.ReadScrape(bytes.NewReader(text)); err != nil {
		return s, err
	}
	live, _ := s.scrape.Sum("go_memstats_heap_alloc_bytes")
	s.live = int64(live)
	s.late, err = f.usages()
	return s, err
}

func (f *fleet) usages() (u usages, err error) {
	var errA, errB error
	u.apiserver, errA = node.UsageOf(f.n.PID(node.PartAPIServer))
	u.etcd, errB = node.UsageOf(f.n.PID(node.PartEtcd))
	for _, pid := range f.agentPIDs {
		agent, err := node.UsageOf(pid)
		if err != nil {
			return u, err
		}
		u.agents = append(u.agents, agent)
	}
	u.at = time.Now()
	return u, errors.Join(errA, errB)
}

// span is the time between two samples, and what the agents asked in it.
type span struct {
	from, to sample
	requests []node.AuditEntry
}

// during measures a time in which work is done. Work that is done early is waited out, work that lasts is stopped.
func (f *fleet) during(ctx context.Context, last time.Duration, work func(context.Context) error) (s span, err error) {
	if s.from, err = f.sample(ctx); err != nil {
		return s, err
	}
	limited, cancel := context.WithTimeout(ctx, last)
	defer cancel()
	if work != nil {
		if err := work(limited); err != nil {
			return s, err
		}
	}
	<-limited.Done()
	if err := ctx.Err(); err != nil {
		return s, err
	}
	s.to, err = f.sample(ctx)
	return s, err
}

func (s span) seconds() float64 { return s.to.early.at.Sub(s.from.late.at).Seconds() }

// apiserver and etcd are the CPU time of each, in ms/s; agents is that of an agent on average.
func (s span) apiserver() float64 {
	return ms(s.to.early.apiserver.CPU-s.from.late.apiserver.CPU) / s.seconds()
}
func (s span) etcd() float64 { return ms(s.to.early.etcd.CPU-s.from.late.etcd.CPU) / s.seconds() }
func (s span) agents() (sum float64) {
	for i, agent := range s.from.late.agents {
		sum += ms(s.to.early.agents[i].CPU - agent.CPU)
	}
	return sum / s.seconds() / float64(len(s.from.late.agents))
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

// grew is by how much a counter of the API server grew in a second.
func (s span) grew(counter string, labels ...string) float64 {
	before, _ := s.from.scrape.Sum(counter, labels...)
	after, _ := s.to.scrape.Sum(counter, labels...)
	return (after - before) / s.seconds()
}

// readAudit tells each span what the agents asked in it.
func (r *report) readAudit() error {
	entries, err := r.n.AuditEntries(func(e node.AuditEntry) bool { return e.User == node.AgentUser })
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b node.AuditEntry) int { return a.Received.Compare(b.Received) })
	for _, s := range []*span{&r.start, &r.rest.with, &r.churn.with, &r.kubelets.with, &r.restart} {
		for _, e := range entries {
			if e.Received.After(s.from.late.at) && e.Received.Before(s.to.early.at) {
				s.requests = append(s.requests, e)
			}
		}
	}
	return nil
}

// kinds counts requests by what they ask for, as "watch pods". A watch that begins with the whole list says so, as does a refusal.
func (s span) kinds() map[string]int {
	count := make(map[string]int)
	for _, e := range s.requests {
		count[kindOf(e)]++
	}
	return count
}

func kindOf(e node.AuditEntry) string {
	kind := e.Verb + " " + e.Resource
	if strings.Contains(e.URI, "sendInitialEvents=true") {
		kind += " with the list"
	}
	if e.Code >= 400 {
		kind += fmt.Sprintf(", answered %d", e.Code)
	}
	return kind
}

func isWrite(e node.AuditEntry) bool { return e.Verb == "patch" || e.Verb == "create" }
func isAny(node.AuditEntry) bool     { return true }

// per counts requests in each interval, the first of which begins with the first request of them all.
func (s span) per(interval time.Duration, want func(node.AuditEntry) bool) (counts []int) {
	for _, e := range s.requests {
		i := int(e.Received.Sub(s.requests[0].Received) / interval)
		for len(counts) <= i {
			counts = append(counts, 0)
		}
		if want(e) {
			counts[i]++
		}
	}
	return counts
}

// peak is the most in one second.
func (s span) peak(want func(node.AuditEntry) bool) int {
	return slices.Max(append(s.per(time.Second, want), 0))
}

// lastWatch is when the last watch began, counted from the first request.
func (s span) lastWatch() (last time.Duration) {
	for _, e := range s.requests {
		if e.Verb == "watch" {
			last = e.Received.Sub(s.requests[0].Received)
		}
	}
	return last
}
