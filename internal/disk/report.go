package disk

import (
	"cmp"
	"slices"
	"time"
)

// Report is what is known of the disks at one moment, as it is printed and shown. Its numbers are bytes unless their names say otherwise.
type Report struct {
	At          time.Time          `json:"at"`
	Filesystems []FilesystemReport `json:"filesystems"`
	Unseen      []UnseenReport     `json:"unseen,omitempty"`
	Layout      Layout             `json:"layout,omitempty"`
	Settings    SettingsReport     `json:"settings"`
	GC          *GCReport          `json:"gc,omitempty"` // nil where the filesystem of images was not seen, or the images were not listed
	Forecast    []Ahead            `json:"forecast"`
	Sandbox     *Sandbox           `json:"sandboxImage,omitempty"`
	Findings    []Finding          `json:"findings,omitempty"`
	Load        *Load              `json:"load,omitempty"`
	// Kubelet is what it says itself; nil is not known.
	Kubelet *KubeletSays `json:"kubelet,omitempty"`
	// Runtime is its name. ImagesBytes are the sizes of all images as it tells them, SnapshotBytes what it says that they use unpacked.
	Runtime       string `json:"runtime,omitempty"`
	ImagesBytes   int64  `json:"imagesBytes"`
	SnapshotBytes int64  `json:"snapshotBytes"`
}

// FilesystemReport is a filesystem and the thresholds of the kubelet on it.
type FilesystemReport struct {
	Name           Role              `json:"name"` // the first of its roles
	Roles          Roles             `json:"roles"`
	Path           string            `json:"path"`
	Mountpoint     string            `json:"mountpoint"`
	Type           string            `json:"type"`
	Device         string            `json:"device"`
	SizeBytes      int64             `json:"sizeBytes"`
	AvailableBytes int64             `json:"availableBytes"`
	UsedPercent    int               `json:"usedPercent"` // as the kubelet rounds it, up
	Inodes         int64             `json:"inodes"`      // 0 where none are counted
	InodesFree     int64             `json:"inodesFree"`
	Thresholds     []ThresholdReport `json:"thresholds"`
}

// ThresholdReport is an eviction threshold in force.
type ThresholdReport struct {
	Signal Signal `json:"signal"`
	Kind   string `json:"kind"`  // hard or soft
	Value  string `json:"value"` // as it was written: 15%
	// At is the bytes or inodes below which it is met, Available what is there now.
	At           int64   `json:"at"`
	Available    int64   `json:"available"`
	GraceSeconds float64 `json:"graceSeconds,omitempty"` // of a soft one
	Met          bool    `json:"met"`
	Source       string  `json:"source"`
}

// UsedPercent is how full of bytes or inodes the filesystem is where a threshold on it is met. known is false where it has no size, as btrfs has no
// number of inodes.
func (t *ThresholdReport) UsedPercent(f *FilesystemReport) (percent float64, known bool) {
	of := f.SizeBytes
	if t.Signal.Inodes() {
		of = f.Inodes
	}
	return usedPercent(t.At, of)
}

// InodesUsedPercent is how many of the inodes are used; known is false where none are counted.
func (f *FilesystemReport) InodesUsedPercent() (percent float64, known bool) {
	return usedPercent(f.InodesFree, f.Inodes)
}

func usedPercent(free, of int64) (percent float64, known bool) {
	if of <= 0 {
		return 0, false
	}
	return 100 - 100*float64(free)/float64(of), true
}

// UnseenReport is what could not be looked at.
type UnseenReport struct {
	Role  Role   `json:"role"`
	Path  string `json:"path,omitempty"`
	Error string `json:"error"`
	Do    string `json:"do,omitempty"`
}

// SettingsReport is where the kubelet's settings were read.
type SettingsReport struct {
	Source  string   `json:"source"`
	Assumed bool     `json:"assumed,omitempty"` // nothing could be read: the defaults stand in, and no condition follows
	Failed  []string `json:"failed,omitempty"`  // what was tried in vain
	Do      string   `json:"do,omitempty"`
}

// GCReport is what the kubelet's collection of images would do now.
type GCReport struct {
	HighPercent     int    `json:"highPercent"`
	LowPercent      int    `json:"lowPercent"`
	Source          string `json:"source"`
	Off             bool   `json:"off,omitempty"`
	UsedPercent     int    `json:"usedPercent"`
	Collects        bool   `json:"collects"`
	TriggerBytes    int64  `json:"triggerBytes"` // available, at or below which it collects
	WantedBytes     int64  `json:"wantedBytes"`  // below zero is more than enough free
	WantedAtTrigger int64  `json:"wantedAtTriggerBytes"`
	Reclaimable     int64  `json:"reclaimableBytes"`
	Candidates      int    `json:"candidates"`
	Young           int    `json:"young"` // unused, and first seen less than the minimum age ago
	Fails           bool   `json:"fails"`
	EstimateBytes   *int64 `json:"estimateBytes,omitempty"` // what deleting the candidates would really free
	EstimateBasis   string `json:"estimateBasis"`
}

// KubeletSays is what the kubelet tells of disks by itself.
type KubeletSays struct {
	DiskPressure string    `json:"diskPressure"` // the status of its condition
	Reason       string    `json:"reason,omitempty"`
	Since        time.Time `json:"since,omitzero"`
	// GCFailed is its latest event about a collection that did not free what it wanted, where one is still there. Its bytes are -1 where it does not tell.
	GCFailed *GCFailed `json:"gcFailed,omitempty"`
}

// GCFailed is an event of one of GCFailureReasons.
type GCFailed struct {
	At          time.Time `json:"at"`
	Count       int       `json:"count"`
	WantedBytes int64     `json:"wantedBytes"`
	FreedBytes  int64     `json:"freedBytes"`
	Message     string    `json:"message"`
}

// Ahead is a forecast for one threshold.
type Ahead struct {
	Filesystem Role    `json:"filesystem"`
	Threshold  string  `json:"threshold"` // one of Thresholds
	Signal     Signal  `json:"signal,omitempty"`
	Outlook    Outlook `json:"outlook"` // empty is too little seen
	InSeconds  float64 `json:"inSeconds,omitempty"`
	PerHour    int64   `json:"perHour,omitempty"` // bytes or inodes used up
}

// What a forecast is for. They are metric label values.
const (
	AheadGC   = "image_gc_high"
	AheadHard = "eviction_hard"
	AheadSoft = "eviction_soft"
)

// History is the recent past of the filesystems. The zero History is empty. It is not safe for concurrent use.
type History struct {
	series map[historyKey]*Series
}

type historyKey struct {
	role   Role
	inodes bool
}

// Add takes filesystems as they are now. One that was not seen keeps its past.
func (h *History) Add(found *Found) {
	if h.series == nil {
		h.series = make(map[historyKey]*Series)
	}
	for i := range found.Filesystems {
		f := &found.Filesystems[i]
		for _, of := range []struct {
			inodes bool
			free   int64
		}{{false, f.AvailableBytes}, {true, f.InodesFree}} {
			key := historyKey{f.Roles[0], of.inodes}
			if h.series[key] == nil {
				h.series[key] = &Series{}
			}
			h.series[key].Add(f.At, of.free)
		}
	}
}

func (h *History) below(role Role, inodes bool, threshold int64) Forecast {
	if s := h.series[historyKey{role, inodes}]; s != nil {
		return s.Below(threshold)
	}
	return Forecast{}
}

// Known is everything that a report is made of.
type Known struct {
	Found    Found
	Settings Settings
	Unused   *Unused // nil where the images were not listed
	History  *History
	// RuntimeName and SnapshotBytes, what the runtime says that its unpacked layers use, are for the estimate of what deleting would really free.
	RuntimeName   string
	SnapshotBytes int64
	Sandbox       *Sandbox // nil is not known, as is Load
	Load          *Load
}

// NewReport puts together what is known.
func NewReport(k *Known, now time.Time) *Report {
	r := &Report{
		At: now, Layout: k.Found.Layout, Sandbox: k.Sandbox, Load: k.Load, Runtime: k.RuntimeName, SnapshotBytes: k.SnapshotBytes, Filesystems: []FilesystemReport{}, Forecast: []Ahead{},
		Settings: SettingsReport{Source: k.Settings.Read.String(), Assumed: k.Settings.Assumed()},
	}
	for _, err := range k.Settings.Failed {
		r.Settings.Failed = append(r.Settings.Failed, err.Error())
		r.Settings.Do = cmp.Or(r.Settings.Do, Hint(err))
	}
	for _, u := range k.Found.Unseen {
		r.Unseen = append(r.Unseen, UnseenReport{u.Role, u.Path, u.Err.Error(), Hint(u.Err)})
	}
	if k.Unused != nil {
		r.ImagesBytes = k.Unused.TotalBytes()
	}
	standings := Standings(&k.Found, &k.Settings)
	for i := range k.Found.Filesystems {
		f := &k.Found.Filesystems[i]
		report := FilesystemReport{
			Name: f.Roles[0], Roles: f.Roles, Path: f.Path, Mountpoint: f.Mountpoint, Type: f.Type, Device: f.Device,
			SizeBytes: f.SizeBytes, AvailableBytes: f.AvailableBytes, UsedPercent: UsagePercent(f.SizeBytes, f.AvailableBytes),
			Inodes: f.Inodes, InodesFree: f.InodesFree, Thresholds: []ThresholdReport{},
		}
		for _, s := range standings {
			if s.Filesystem == f {
				report.Thresholds = append(report.Thresholds, s.report())
				r.Forecast = append(r.Forecast, s.ahead(k.History))
			}
		}
		r.Filesystems = append(r.Filesystems, report)
	}
	view := View{Found: &k.Found, Settings: &k.Settings, Standings: standings, Unused: k.Unused, Sandbox: k.Sandbox}
	if images := k.Found.Of(ImageFS); images != nil && k.Unused != nil {
		gc := NewGC(images, &k.Settings, k.Unused)
		gc.Estimate = EstimateFreed(k.RuntimeName, k.Unused.Bytes, k.Unused.TotalBytes(), k.SnapshotBytes)
		view.GC = &gc
		if largest := EstimateFreed(k.RuntimeName, k.Unused.LargestUsed, k.Unused.TotalBytes(), k.SnapshotBytes); largest.Known {
			view.LargestBytes = largest.Bytes
		}
		r.GC = gc.report(&k.Settings, k.Unused)
		if !gc.Off {
			ahead := Ahead{Filesystem: images.Roles[0], Threshold: AheadGC}
			ahead.set(k.History.below(images.Roles[0], false, gc.TriggerBytes+1))
			r.Forecast = append(r.Forecast, ahead)
		}
	}
	r.Findings = view.Findings()
	slices.SortStableFunc(r.Forecast, func(a, b Ahead) int { return cmp.Compare(a.rank(), b.rank()) })
	return r
}

// Fit tells whether an image with these layers will fit, of which those that are in present are here already.
func (r *Report) Fit(layers []Layer, present map[string]bool) Fit {
	in := FitInput{
		Layers: layers, Present: present, Runtime: r.Runtime, ImagesBytes: r.ImagesBytes, SnapshotBytes: r.SnapshotBytes,
		Settings: &Settings{HighPercent: Setting[int]{defaultHighPercent, Source{Assumed: r.Settings.Assumed}}},
	}
	if r.GC != nil {
		in.Settings.HighPercent.Value = r.GC.HighPercent
	}
	for i := range r.Filesystems {
		f := &r.Filesystems[i]
		if !f.Roles.Has(ImageFS) {
			continue
		}
		in.Images = &Filesystem{Roles: f.Roles, SizeBytes: f.SizeBytes, AvailableBytes: f.AvailableBytes}
		for _, t := range f.Thresholds {
			in.Standings = append(in.Standings, Standing{
				Threshold: Threshold{Signal: t.Signal, Amount: Amount{Text: t.Value}, Soft: t.Kind == "soft"}, Filesystem: in.Images, Available: t.Available, At: t.At, Met: t.Met,
			})
		}
	}
	return WillFit(in)
}

func (s *Standing) report() ThresholdReport {
	return ThresholdReport{
		Signal: s.Signal, Kind: s.kind(), Value: s.Amount.Text, At: s.At, Available: s.Available, GraceSeconds: s.Grace.Seconds(), Met: s.Met,
		Source: s.Source.String(),
	}
}

func (s *Standing) kind() string {
	if s.Soft {
		return "soft"
	}
	return "hard"
}

func (s *Standing) ahead(h *History) Ahead {
	a := Ahead{Filesystem: s.Filesystem.Roles[0], Threshold: "eviction_" + s.kind(), Signal: s.Signal}
	a.set(h.below(a.Filesystem, s.Signal.Inodes(), s.At))
	return a
}

func (a *Ahead) set(f Forecast) {
	a.Outlook, a.InSeconds, a.PerHour = f.Outlook, f.In.Seconds(), f.PerHour
}

// rank puts what comes first in front.
func (a *Ahead) rank() float64 {
	switch a.Outlook {
	case OutlookReached:
		return 0
	case OutlookGoing:
		return 1 + a.InSeconds
	}
	return 1e18
}

func (g *GC) report(settings *Settings, unused *Unused) *GCReport {
	r := &GCReport{
		HighPercent: g.HighPercent, LowPercent: g.LowPercent, Source: settings.HighPercent.Source.String(), Off: g.Off, UsedPercent: g.UsedPercent,
		Collects: g.Collects, TriggerBytes: g.TriggerBytes, WantedBytes: g.WantedBytes, WantedAtTrigger: g.WantedAtTriggerBytes,
		Reclaimable: g.ReclaimableBytes, Candidates: len(unused.Candidates), Young: unused.Young, Fails: g.Fails, EstimateBasis: g.Estimate.Basis,
	}
	if g.Estimate.Known {
		r.EstimateBytes = &g.Estimate.Bytes
	}
	return r
}
