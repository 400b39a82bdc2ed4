package agent

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/internal/disk"
	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/pkg/metrics"
)

// judgeEvery is how often the conditions are judged. It bounds how late a hold may end.
const judgeEvery = 5 * time.Second

// judged is what health says now.
type judged struct {
	verdicts []health.Verdict
	coming   []health.Coming
}

// judge turns what was observed into the node's conditions, for as long as ctx lasts. With an API server it begins once the own Node was
// read: a condition that stands there is resumed. It judges too where nothing is written, since the page and the metrics show it.
func (a *Agent) judge(ctx context.Context) {
	var state health.State
	resumed := a.config.Kube == nil
	for range every(ctx, judgeEvery) {
		if node := a.snapshot.node.Load().Value; !resumed && node.UID != "" {
			found, gone := a.verdictsOf(node.Conditions)
			state, resumed = health.Resume(found), true
			if a.status != nil {
				a.status.Found(node.UID, found, gone)
			}
		}
		if !resumed {
			continue
		}
		if a.config.NoRuntime { // else whoever lists the images does it
			a.metrics.SetEstablished(a.established())
		}
		var verdicts []health.Verdict
		state, verdicts = health.Step(state, a.observation(), time.Now())
		a.remember(a.judged.Swap(&judged{verdicts, state.Coming()}).verdicts, verdicts)
		conditions := make([]metrics.Condition, len(verdicts))
		for i, v := range verdicts {
			conditions[i] = metrics.Condition{Type: string(v.Type), True: v.True}
		}
		a.metrics.SetConditions(conditions)
		if a.status != nil {
			a.status.Set(verdicts)
		}
	}
}

// verdictsOf is what of a node's conditions is ours. Gone are those that an agent that was told otherwise has left there.
func (a *Agent) verdictsOf(conditions []kube.Condition) (found []health.Verdict, gone []health.Type) {
	unjudged := a.config.unjudged()
	for _, c := range conditions {
		switch t := health.Type(c.Type); {
		case !slices.Contains(health.Types, t):
		case slices.Contains(unjudged, t):
			gone = append(gone, t)
		default:
			found = append(found, health.Verdict{Type: t, True: c.Status == "True", Reason: c.Reason, Message: c.Message, Since: c.Since})
		}
	}
	return found, gone
}

// unjudged are the conditions of which nothing will ever be known, since the agent was told to do without what they take.
func (c *Config) unjudged() (types []health.Type) {
	if c.NoRuntime {
		types = append(types, health.ContainerRuntimeUnavailable, health.ImageFilesystemPressure)
	}
	if c.Probing.Interval == 0 {
		types = append(types, health.RegistryUnreachable)
	}
	return types
}

// observation is what is known now. What was not seen, or cannot be seen at present, is left out.
func (a *Agent) observation() (seen health.Observation) {
	runtime, images, node := a.snapshot.runtime.Load(), a.snapshot.images.Load(), a.snapshot.node.Load().Value
	if !runtime.At.IsZero() || runtime.Error != "" {
		seen.Runtime = &health.Runtime{
			Up: runtime.Value.Up, Ready: runtime.Value.Ready, Reason: runtime.Value.Reason, Seen: a.runtimeSeen.Load(), KubeletAgrees: kubeletBlamesRuntime(node),
		}
	}
	if failures := a.snapshot.failures.Load(); !failures.At.IsZero() && failures.Error == "" && (images.Skipped || !images.At.IsZero()) {
		pulls := &health.Pulls{Established: make(map[string]bool)}
		for _, name := range a.established() {
			pulls.Established[name] = true
		}
		for i := range failures.Value {
			f := &failures.Value[i]
			pulls.Failing = append(pulls.Failing, health.Failing{
				Namespace: f.Namespace, Owner: f.Owner, Registry: f.Registry, Cause: f.Cause, Scope: f.Scope, Sandbox: f.Kind == kube.KindSandbox,
			})
		}
		seen.Pulls = pulls
	}
	if a.config.Probing.Interval > 0 {
		seen.Registries = a.askedRegistries()
	}
	if d := a.snapshot.disk.Load(); d.Value != nil && d.Error == "" && time.Since(d.At) < diskLasts {
		seen.Disk = diskObservation(d.Value, a.config.Disk.Window)
	}
	return seen
}

// diskLasts is how long a look at the disks counts. Older ones say nothing of now.
const diskLasts = 4 * diskEvery

// diskObservation is what conditions are judged by. It is nil where nothing may follow: the thresholds are assumed, or the filesystem of images was not
// seen.
func diskObservation(r *disk.Report, window time.Duration) *health.Disk {
	if r.Settings.Assumed || len(r.Filesystems) == 0 || r.Filesystems[0].Name != disk.ImageFS {
		return nil
	}
	ahead := func(filesystem disk.Role, threshold string, signal disk.Signal) *time.Duration {
		for _, f := range r.Forecast {
			if f.Filesystem == filesystem && f.Threshold == threshold && f.Signal == signal && (f.Outlook == disk.OutlookGoing || f.Outlook == disk.OutlookReached) {
				in := time.Duration(f.InSeconds * float64(time.Second))
				return &in
			}
		}
		return nil
	}
	d := &health.Disk{Window: window}
	if g := r.GC; g != nil && !g.Off {
		d.GC = &health.ImageGC{
			Mountpoint: r.Filesystems[0].Mountpoint, UsedPercent: g.UsedPercent, HighPercent: g.HighPercent, HighIn: ahead(disk.ImageFS, disk.AheadGC, ""),
			WantedBytes: g.WantedAtTrigger, ReclaimableBytes: g.Reclaimable,
		}
		if g.Collects {
			d.GC.WantedBytes = g.WantedBytes
		}
	}
	for i := range r.Filesystems {
		f := &r.Filesystems[i]
		for _, t := range f.Thresholds {
			if t.Signal.Copied() {
				continue
			}
			e := health.Eviction{
				Signal: string(t.Signal), Mountpoint: f.Mountpoint, Soft: t.Kind == "soft", Available: t.Available, At: t.At, Capacity: f.SizeBytes,
				Inodes: t.Signal.Inodes(), Images: f.Roles.Has(disk.ImageFS), In: ahead(f.Name, "eviction_"+t.Kind, t.Signal),
			}
			if e.Inodes {
				e.Capacity = f.Inodes
			}
			d.Evictions = append(d.Evictions, e)
		}
	}
	return d
}

// kubeletBlamesRuntime tells whether the kubelet is not ready for want of its runtime (kubelet, runtime.go: "container runtime is down",
// "container runtime status check may not have completed yet").
func kubeletBlamesRuntime(node kube.Node) bool {
	return slices.ContainsFunc(node.Conditions, func(c kube.Condition) bool {
		return c.Type == "Ready" && c.Status == "False" && strings.Contains(c.Message, "container runtime is down")
	})
}
