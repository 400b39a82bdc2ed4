package agent

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"math"
	"net"
	"slices"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/internal/disk"
	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/pkg/metrics"
)

const (
	// diskEvery is how often the filesystems are looked at: as often as a forecast keeps a sample. The kubelet looks every 10 s (eviction) and
	// every 5 minutes (images).
	diskEvery = 30 * time.Second
	// eventsEvery is how often the kubelet's events are asked for at most: as often as it collects images.
	eventsEvery = 5 * time.Minute
	// settingsLast is how long the kubelet's settings are taken for the same. They change with its restart.
	settingsLast = 5 * time.Minute
)

// DiskConfig is where disks and the kubelet's settings are looked at.
type DiskConfig struct {
	// NodeDir is a directory on the kubelet's filesystem: its root directory, or in a pod an emptyDir.
	NodeDir string
	// KubeletFile and KubeletDropIns are the kubelet's configuration; either may be empty.
	KubeletFile, KubeletDropIns string
	// KubeletAddress is where the kubelet is asked, as HOST:PORT; empty is where the Node tells.
	KubeletAddress string
	// TokenFile and CAFiles are for the kubelet's configz; without a token it is not asked.
	TokenFile string
	CAFiles   []string
	// Window is how far ahead a full disk becomes a condition.
	Window time.Duration
}

// Kubelet says where the settings of a kubelet are read. address is HOST:PORT, or empty.
func (c *DiskConfig) Kubelet(address, version string) *disk.Kubelet {
	k := &disk.Kubelet{File: c.KubeletFile, DropIns: c.KubeletDropIns, Version: version}
	if address != "" && c.TokenFile != "" {
		k.Configz = &disk.Configz{URL: "https://" + address, TokenFile: c.TokenFile, CAFiles: c.CAFiles}
	}
	return k
}

// KubeletSettings reads them. A serving certificate of the kubelet's own making is for the node's name alone, so that is asked for where it is not for
// the address.
func KubeletSettings(ctx context.Context, c *DiskConfig, address, nodeName, version string) disk.Settings {
	address = cmp.Or(c.KubeletAddress, address)
	kubelet := c.Kubelet(address, version)
	settings := kubelet.Settings(ctx)
	var wrong x509.HostnameError
	if host, _, err := net.SplitHostPort(address); err == nil && host != nodeName && errors.As(errors.Join(settings.Failed...), &wrong) {
		kubelet.Configz.ServerName = nodeName
		settings = kubelet.Settings(ctx)
	}
	return settings
}

// diskWatch is what the check of disks remembers.
type diskWatch struct {
	finder   disk.Finder
	history  disk.History
	settings disk.Settings
	read     time.Time
	address  string // of the kubelet that they were read from

	asked  time.Time // for the kubelet's events
	failed *disk.GCFailed
}

// DiskLook is one look at the disks: what is known before it, each part of which may be missing.
type DiskLook struct {
	Client   *cri.Client // nil where there is no runtime
	Runtime  RuntimeConfig
	NodeDir  string
	Finder   *disk.Finder
	History  *disk.History // gets what is seen
	Settings disk.Settings
	Images   []*runtimeapi.Image // nil where they were not listed, as is Unused
	Unused   *disk.Unused
}

// Report looks.
func (l *DiskLook) Report(ctx context.Context) (*disk.Report, error) {
	known := disk.Known{History: l.History, Settings: l.Settings, Unused: l.Unused, RuntimeName: l.Runtime.Name}
	var images *runtimeapi.ImageFsInfoResponse
	var err error
	if l.Client != nil {
		images, err = l.Client.ImageFsInfo(ctx)
	}
	known.Found = l.Finder.Find(ctx, images, l.NodeDir)
	for _, f := range images.GetImageFilesystems() {
		known.SnapshotBytes += int64(min(f.GetUsedBytes().GetValue(), math.MaxInt64-uint64(known.SnapshotBytes)))
	}
	l.History.Add(&known.Found)
	load := disk.ReadLoad(ctx, "")
	known.Load = &load
	if l.Runtime.SandboxImage != "" && l.Images != nil {
		sandbox := disk.FindSandbox(l.Runtime.SandboxImage, l.Images)
		known.Sandbox = &sandbox
	}
	wanted := disk.ImageFS
	if l.Client == nil { // which alone tells where images are
		wanted = disk.NodeFS
	}
	for _, u := range known.Found.Unseen {
		if u.Role == wanted && err == nil {
			err = u.Err
		}
	}
	return disk.NewReport(&known, time.Now()), err
}

// checkDisk looks at the filesystems of images and what the kubelet will do about them.
func (a *Agent) checkDisk(ctx context.Context) error {
	client, _, err := a.runtime.get()
	look := DiskLook{Client: client, NodeDir: a.config.Disk.NodeDir, Finder: &a.disks.finder, History: &a.disks.history, Settings: a.kubeletSettings(ctx)}
	if config, err := a.registries.configuration(ctx); err == nil {
		look.Runtime = config
	}
	a.store.mu.Lock()
	look.Images, look.Unused = a.store.listed, a.store.unused
	a.store.mu.Unlock()
	report, unseen := look.Report(ctx)
	if a.config.NoRuntime { // that is no trouble of this look, and said once for images and containers
		err = nil
		report.Unseen = slices.DeleteFunc(report.Unseen, func(u disk.UnseenReport) bool { return u.Role != disk.NodeFS })
		report.Unseen = append(report.Unseen, disk.UnseenReport{Role: disk.ImageFS, Error: ErrNoRuntime.Error()})
	}
	report.Kubelet = a.kubeletSays(ctx, report)
	a.publishDisk(report)
	return errors.Join(err, unseen)
}

// kubeletSays is what the kubelet tells of disks on its Node, and, where collection seems to be under way, in its events. Those have no index on the API
// server, and are asked for no more often than the kubelet collects.
func (a *Agent) kubeletSays(ctx context.Context, r *disk.Report) *disk.KubeletSays {
	w := &a.disks
	node := a.snapshot.node.Load().Value
	i := slices.IndexFunc(node.Conditions, func(c kube.Condition) bool { return c.Type == "DiskPressure" })
	if i < 0 {
		return nil
	}
	c := node.Conditions[i]
	says := &disk.KubeletSays{DiskPressure: c.Status, Reason: c.Reason, Since: c.Since, GCFailed: w.failed}
	busy := c.Status == "True" || r.GC != nil && r.GC.Collects
	if !busy || time.Since(w.asked) < eventsEvery {
		return says
	}
	w.asked = time.Now()
	var failed *disk.GCFailed
	for _, reason := range disk.GCFailureReasons {
		events, err := a.config.Kube.NodeEvents(ctx, reason)
		if err != nil {
			a.metrics.CountEventLookup("error")
			a.log.Debug("events of the node not read", "error", err)
			return says
		}
		a.metrics.CountEventLookup("ok")
		for _, e := range events {
			if failure, ok := disk.ParseGCFailure(e.Message); ok && (failed == nil || e.Last.After(failed.At)) {
				failed = &disk.GCFailed{At: e.Last, Count: e.Count, WantedBytes: failure.WantedBytes, FreedBytes: failure.FreedBytes, Message: e.Message}
			}
		}
	}
	w.failed, says.GCFailed = failed, failed
	return says
}

// last tells whether the settings that were read still count. A kubelet that was too busy to answer may not be by now; what it refuses is not asked for
// more often, since each question costs the API server some.
func (w *diskWatch) last(address string, now time.Time) bool {
	return !w.read.IsZero() && now.Sub(w.read) < settingsLast && address == w.address && !errors.Is(errors.Join(w.settings.Failed...), context.DeadlineExceeded)
}

// kubeletSettings are the settings in force, read anew from time to time and where the kubelet's address becomes known.
func (a *Agent) kubeletSettings(ctx context.Context) disk.Settings {
	w := &a.disks
	node := a.snapshot.node.Load().Value
	if w.last(node.KubeletAddress, time.Now()) {
		return w.settings
	}
	before := w.settings
	w.settings = KubeletSettings(ctx, &a.config.Disk, node.KubeletAddress, a.config.NodeName, node.KubeletVersion)
	if first := w.read.IsZero(); first || before.HighPercent != w.settings.HighPercent {
		a.log.Info("kubelet's settings of disks", "source", w.settings.Read.String(), "imageGCHighPercent", w.settings.HighPercent.Value, "failed", errors.Join(w.settings.Failed...))
	}
	w.read, w.address = time.Now(), node.KubeletAddress
	a.minAge.Store(int64(w.settings.MinimumAge.Value))
	return w.settings
}

// minimumAge is how long the kubelet leaves a new image alone.
func (a *Agent) minimumAge() time.Duration { return time.Duration(a.minAge.Load()) }

// publishDisk makes what is known of the disks visible.
func (a *Agent) publishDisk(r *disk.Report) {
	part := &Part[*disk.Report]{Value: r, At: r.At}
	if len(r.Filesystems) == 0 {
		part.At, part.Error = a.snapshot.disk.Load().At, "no filesystem was seen"
		if len(r.Unseen) > 0 {
			part.Error = r.Unseen[0].Error
		}
	}
	a.snapshot.disk.Store(part)
	ratios := make(map[string]float64)
	for resource, p := range map[string]*disk.Pressure{"cpu": r.Load.CPU, "memory": r.Load.Memory, "io": r.Load.IO} {
		if p != nil {
			ratios[resource] = p.Some.Avg60
		}
	}
	a.metrics.SetPressure(ratios)
	a.metrics.SetDisk(diskMetrics(r))
}

// diskMetrics is a report as /metrics shows it.
func diskMetrics(r *disk.Report) *metrics.Disk {
	m := &metrics.Disk{SettingsSource: r.Settings.Source, Assumed: r.Settings.Assumed}
	for i := range r.Filesystems {
		f := &r.Filesystems[i]
		of := metrics.Filesystem{
			Name: string(f.Name), Mountpoint: f.Mountpoint, Type: f.Type, SizeBytes: f.SizeBytes, AvailableBytes: f.AvailableBytes, Inodes: f.Inodes, InodesFree: f.InodesFree,
			Roles: f.Roles.Names(),
		}
		m.Filesystems = append(m.Filesystems, of)
		for _, t := range f.Thresholds {
			if t.Signal.Copied() {
				continue
			}
			m.Thresholds = append(m.Thresholds, metrics.EvictionThreshold{Signal: string(t.Signal), Kind: t.Kind, At: t.At, Inodes: t.Signal.Inodes()})
		}
	}
	if g := r.GC; g != nil {
		m.GC = &metrics.ImageGC{HighPercent: g.HighPercent, LowPercent: g.LowPercent, UsedPercent: g.UsedPercent, WantedBytes: max(g.WantedBytes, 0), ReclaimableBytes: g.Reclaimable}
	}
	for _, ahead := range r.Forecast {
		f := metrics.Forecast{Filesystem: string(ahead.Filesystem), Threshold: ahead.Threshold}
		switch ahead.Outlook {
		case disk.OutlookReached:
			f.At = r.At
		case disk.OutlookGoing:
			f.At = r.At.Add(time.Duration(ahead.InSeconds * float64(time.Second)))
		default:
			continue
		}
		m.Forecasts = append(m.Forecasts, f)
	}
	for _, f := range r.Findings {
		m.Findings = append(m.Findings, string(f.Code))
	}
	if s := r.Sandbox; s != nil {
		m.SandboxPresent, m.SandboxPinned = s.Present, s.Pinned
	}
	return m
}
