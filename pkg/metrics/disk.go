package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Disk is what is known of the filesystems that images live on, and of what the kubelet will do about them.
type Disk struct {
	Filesystems    []Filesystem // each once, whatever it is used for
	Thresholds     []EvictionThreshold
	GC             *ImageGC   // nil is not known
	Forecasts      []Forecast // of thresholds that are being approached, or are reached
	SettingsSource string     // where the kubelet's settings were read
	Assumed        bool       // its defaults stand in for them
	Findings       []string   // codes
	// SandboxPresent and SandboxPinned are about the image of pod sandboxes; nil is not known.
	SandboxPresent, SandboxPinned *bool
}

// Filesystem is one filesystem. Name is the first of its roles: imagefs, containerfs, nodefs.
type Filesystem struct {
	Name                      string
	Roles                     []string
	Mountpoint, Type          string
	SizeBytes, AvailableBytes int64
	Inodes, InodesFree        int64 // 0 where none are counted
}

// EvictionThreshold is one in force: At is the bytes or inodes below which it is met.
type EvictionThreshold struct {
	Signal, Kind string
	At           int64
	Inodes       bool
}

// ImageGC is the kubelet's collection of images. Its percentages are the kubelet's integers.
type ImageGC struct {
	HighPercent, LowPercent, UsedPercent int
	WantedBytes, ReclaimableBytes        int64
}

// Forecast is when a threshold is reached.
type Forecast struct {
	Filesystem, Threshold string
	At                    time.Time
}

var (
	fsSizeDesc       = desc("pullwatch_filesystem_size_bytes", "Size of a filesystem that images, containers or the kubelet live on; one with several of these roles is told once.", "filesystem")
	fsAvailableDesc  = desc("pullwatch_filesystem_available_bytes", "What is available on it to users other than root, as the kubelet counts.", "filesystem")
	fsInodesDesc     = desc("pullwatch_filesystem_inodes", "Inodes of it; absent where none are counted.", "filesystem")
	fsInodesFreeDesc = desc("pullwatch_filesystem_inodes_free", "Free inodes of it; absent where none are counted.", "filesystem")
	fsInfoDesc       = desc("pullwatch_filesystem_info", "What it is and what it is used for; the value is always 1.", "filesystem", "mountpoint", "fstype", "roles")
	evictBytesDesc   = desc("pullwatch_eviction_threshold_bytes", "Available bytes below which the kubelet evicts pods, by its signal.", "signal", "kind")
	evictInodesDesc  = desc("pullwatch_eviction_threshold_inodes", "Free inodes below which the kubelet evicts pods, by its signal.", "signal", "kind")
	gcUsageDesc      = desc("pullwatch_image_filesystem_usage_ratio", "How full the kubelet takes the filesystem of images to be: its integer percentage, over 100.")
	gcHighDesc       = desc("pullwatch_image_gc_high_threshold_ratio", "Usage at which the kubelet collects images.")
	gcLowDesc        = desc("pullwatch_image_gc_low_threshold_ratio", "Usage down to which the kubelet collects images.")
	gcWantedDesc     = desc("pullwatch_image_gc_wanted_bytes", "What the kubelet would want to free if it collected now.")
	gcReclaimDesc    = desc("pullwatch_image_gc_reclaimable_bytes", "What the kubelet would count as freed if it deleted all images that it may.")
	forecastDesc     = desc("pullwatch_filesystem_forecast_timestamp_seconds",
		"When a threshold will be reached at the present rate, as a Unix time; absent where nothing leads there or too little was seen.", "filesystem", "threshold")
	settingsDesc      = desc("pullwatch_kubelet_settings_info", "Where the kubelet's settings of disks were read: configz, file or assumed; the value is always 1.", "source")
	findingDesc       = desc("pullwatch_disk_finding", "Something worth knowing about disks and the kubelet's settings, by its code; the value is always 1.", "finding")
	sandboxThereDesc  = desc("pullwatch_sandbox_image_present", "Whether the image of pod sandboxes is on the node (1) or not (0); absent is not known.")
	sandboxPinnedDesc = desc("pullwatch_sandbox_image_pinned", "Whether the image of pod sandboxes is pinned, so that garbage collection leaves it; absent is not known.")
	pressureDesc      = desc("pullwatch_pressure_ratio", "Share of the last minute in which something on the node waited for it (PSI, some avg60).", "resource")
)

var diskDescs = []*prometheus.Desc{fsSizeDesc, fsAvailableDesc, fsInodesDesc, fsInodesFreeDesc, fsInfoDesc, evictBytesDesc, evictInodesDesc, gcUsageDesc,
	gcHighDesc, gcLowDesc, gcWantedDesc, gcReclaimDesc, forecastDesc, settingsDesc, findingDesc, sandboxThereDesc, sandboxPinnedDesc, pressureDesc}

// SetDisk tells what is known of the disks.
func (m *Metrics) SetDisk(d *Disk) {
	series := d.series()
	m.state.set(func(s *values) { s.disk = series })
}

// SetPressure tells the share of time in which something waited for a resource: cpu, memory, io. A kernel without it has none.
func (m *Metrics) SetPressure(ratios map[string]float64) {
	var series []prometheus.Metric
	for resource, ratio := range ratios {
		series = append(series, prometheus.MustNewConstMetric(pressureDesc, prometheus.GaugeValue, ratio, resource))
	}
	m.state.set(func(s *values) { s.pressure = series })
}

// series renders it, so that a scrape has nothing left to do.
func (d *Disk) series() (all []prometheus.Metric) {
	seen := make(map[string]bool)
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		for i := range labels {
			labels[i] = Label(labels[i])
		}
		if key := d.String() + strings.Join(labels, "\x00"); !seen[key] { // two equal series would fail the whole scrape
			seen[key] = true
			all = append(all, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...))
		}
	}
	for i := range d.Filesystems {
		f := &d.Filesystems[i]
		gauge(fsSizeDesc, float64(f.SizeBytes), f.Name)
		gauge(fsAvailableDesc, float64(f.AvailableBytes), f.Name)
		if f.Inodes > 0 {
			gauge(fsInodesDesc, float64(f.Inodes), f.Name)
			gauge(fsInodesFreeDesc, float64(f.InodesFree), f.Name)
		}
		gauge(fsInfoDesc, 1, f.Name, f.Mountpoint, f.Type, strings.Join(f.Roles, ","))
	}
	// What rests on settings that are assumed is left out: an alert would take it for a fact.
	known := *d
	if d.Assumed {
		known.Thresholds, known.Forecasts = nil, nil
	}
	for _, t := range known.Thresholds {
		if t.Inodes {
			gauge(evictInodesDesc, float64(t.At), t.Signal, t.Kind)
		} else {
			gauge(evictBytesDesc, float64(t.At), t.Signal, t.Kind)
		}
	}
	if g := d.GC; g != nil {
		gauge(gcUsageDesc, float64(g.UsedPercent)/100)
		gauge(gcReclaimDesc, float64(g.ReclaimableBytes))
		if !d.Assumed {
			gauge(gcHighDesc, float64(g.HighPercent)/100)
			gauge(gcLowDesc, float64(g.LowPercent)/100)
			gauge(gcWantedDesc, float64(g.WantedBytes))
		}
	}
	for _, f := range known.soonest() {
		gauge(forecastDesc, timestamp(f.At), f.Filesystem, f.Threshold)
	}
	source := "file"
	switch {
	case d.Assumed:
		source = "assumed"
	case d.SettingsSource == "configz":
		source = "configz"
	}
	gauge(settingsDesc, 1, source)
	for _, f := range d.Findings {
		gauge(findingDesc, 1, f)
	}
	if d.SandboxPresent != nil {
		gauge(sandboxThereDesc, number(*d.SandboxPresent))
	}
	if d.SandboxPinned != nil {
		gauge(sandboxPinnedDesc, number(*d.SandboxPinned))
	}
	return all
}

// soonest keeps of forecasts for one threshold, of bytes and of inodes, that which comes first.
func (d *Disk) soonest() (first []Forecast) {
	at := make(map[[2]string]int)
	for _, f := range d.Forecasts {
		key := [2]string{f.Filesystem, f.Threshold}
		i, ok := at[key]
		switch {
		case !ok:
			at[key] = len(first)
			first = append(first, f)
		case f.At.Before(first[i].At):
			first[i] = f
		}
	}
	return first
}
