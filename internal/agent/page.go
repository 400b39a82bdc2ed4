package agent

import (
	"fmt"
	"time"

	"github.com/pullwatch/pullwatch/internal/disk"
	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/internal/history"
	"github.com/pullwatch/pullwatch/internal/keyring"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/internal/say"
	"github.com/pullwatch/pullwatch/internal/web"
)

// page is what the page shows now.
func (a *Agent) page() web.State {
	s, now := a.Snapshot(), a.judged.Load()
	runtime, node := s.Runtime.Value, s.Node.Value
	state := web.State{
		Now: time.Now(), Node: s.NodeName, Version: s.Version, Started: s.Started, History: a.history.Entries(),
		Runtime: web.Runtime{
			Seen: seenOf(&s.Runtime), Endpoint: runtime.Endpoint, Name: runtime.Name, Version: runtime.Version,
			Up: runtime.Up, Ready: runtime.Ready, Reason: runtime.Reason, Images: s.Images.Value.Count, ImagesSeen: seenOf(&s.Images),
		},
		Conditions: web.Conditions{
			Seen: seenOf(&s.Node), OnNode: node.Conditions, Judged: now.verdicts, Coming: now.coming, Unjudged: a.config.unjudged(), Written: a.status != nil,
			Kubelet: node.KubeletVersion, OSImage: node.OSImage, Kernel: node.KernelVersion, Processor: node.Architecture,
		},
		Failures:   web.Failures{Seen: seenOf(&s.Failures), List: s.Failures.Value},
		Registries: web.Registries{Seen: seenOf(&s.Registries)},
	}
	for i := range s.Failures.Value {
		if logins := s.LoginsOf(&s.Failures.Value[i]); len(logins) > 0 {
			if state.Failures.Logins == nil {
				state.Failures.Logins = make(map[int][]keyring.Outcome)
			}
			state.Failures.Logins[i] = logins
		}
	}
	state.Disk = pageDisk(&s.Disk)
	for i := range s.Registries.Value {
		r := &s.Registries.Value[i]
		state.Registries.List = append(state.Registries.List, web.Registry{
			Registry: r.Registry, Established: r.Established, LastSuccess: r.LastSuccess, LastPull: r.LastPull, Pulled: r.pulledSince(),
		})
	}
	return state
}

// pageDisk is the disks as the page shows them; nil is not looked at yet.
func pageDisk(p *Part[*disk.Report]) *web.Disk {
	r := p.Value
	if r == nil {
		return nil
	}
	d := &web.Disk{Seen: seenOf(p)}
	if g := r.GC; g != nil && !g.Off {
		d.HighPercent, d.LowPercent, d.ReclaimableBytes, d.WantedBytes = g.HighPercent, g.LowPercent, uint64(max(g.Reclaimable, 0)), uint64(max(g.WantedAtTrigger, 0))
	}
	for i := range r.Filesystems {
		f := &r.Filesystems[i]
		of := web.Filesystem{
			Name: string(f.Name), Mountpoint: f.Mountpoint, SizeBytes: uint64(f.SizeBytes), AvailableBytes: uint64(f.AvailableBytes), UsedPercent: float64(f.UsedPercent),
			Roles: f.Roles.Names(),
		}
		of.InodesPercent, _ = f.InodesUsedPercent()
		if g := r.GC; g != nil && !g.Off && f.Name == disk.ImageFS {
			of.Thresholds = append(of.Thresholds, web.Threshold{What: "collection of images", UsedPercent: float64(g.HighPercent), Source: r.Settings.Source})
		}
		for i := range f.Thresholds {
			t := &f.Thresholds[i]
			if at, known := t.UsedPercent(f); known && !t.Signal.Inodes() && !t.Signal.Copied() {
				of.Thresholds = append(of.Thresholds, web.Threshold{What: "eviction (" + t.Kind + ")", UsedPercent: at, Source: t.Source})
			}
		}
		d.Filesystems = append(d.Filesystems, of)
	}
	if len(r.Forecast) > 0 && r.Forecast[0].Outlook == disk.OutlookGoing {
		what := map[string]string{disk.AheadGC: "collection of images begins", disk.AheadHard: "pods are evicted", disk.AheadSoft: "a soft threshold of eviction is met"}
		if d.Forecast = "At"; r.Settings.Assumed {
			d.Forecast = "If the kubelet's defaults hold, at"
		}
		d.Forecast += fmt.Sprintf(" the present rate %s in %s.", what[r.Forecast[0].Threshold], say.Age(time.Duration(r.Forecast[0].InSeconds*float64(time.Second))))
	}
	return d
}

func seenOf[T any](p *Part[T]) web.Seen {
	return web.Seen{At: p.At, Error: p.Error, Skipped: p.Skipped}
}

// happened is a step in the life of a failure, as the history has it.
func happened(c *pulls.Change) history.Entry {
	e := history.Entry{Of: history.OfPull, Subject: c.Namespace + "/" + c.Pod + " " + say.Container(&c.Failure), Failed: true}
	why := fmt.Sprintf("%s (%s)", c.Cause.Title(), c.Cause)
	switch c.What {
	case pulls.Began:
		e.Text = "cannot pull " + c.Image + ": " + why
		if !c.Fresh {
			e.Text = "found waiting: " + e.Text
		}
	case pulls.Retried, pulls.Updated:
		e.Text = "failed again to pull " + c.Image + ": " + why
	case pulls.Renamed:
		e.Text = "cannot pull " + c.Image + " for another cause: " + why
	case pulls.Ended:
		e.Failed, e.Text = false, "waits no longer for "+c.Image
	}
	return e
}

// remember keeps which conditions have changed.
func (a *Agent) remember(before, after []health.Verdict) {
	was := make(map[health.Type]bool)
	for _, v := range before {
		was[v.Type] = v.True
	}
	for _, v := range after {
		if is, told := was[v.Type]; told && is == v.True || !told && !v.True {
			continue // what was never announced is not announced as recovered
		}
		e := history.Entry{Of: history.OfCondition, Subject: string(v.Type), Failed: v.True, Text: fmt.Sprintf("False, %s: %s", v.Reason, v.Message)}
		if v.True {
			e.Text = fmt.Sprintf("True, %s: %s", v.Reason, v.Message)
		}
		a.history.Add(e, v.Since, false)
	}
}

// rememberRuntime keeps how the runtime has changed.
func (a *Agent) rememberRuntime(now *Runtime) {
	e := history.Entry{Of: history.OfRuntime, Subject: now.Endpoint, Text: fmt.Sprintf("%s %s answers and is ready", now.Name, now.Version)}
	switch {
	case !now.Up:
		e.Failed, e.Text = true, "does not answer: "+now.Reason
	case !now.Ready:
		e.Failed, e.Text = true, "answers and is not ready: "+now.Reason
	}
	a.history.Add(e, time.Now(), false)
}
