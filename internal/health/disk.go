package health

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/pullwatch/pullwatch/internal/disk"
)

// DefaultDiskWindow is how far ahead a filesystem running full is told.
const DefaultDiskWindow = 30 * time.Minute

// When a filesystem is near a threshold, in percent of its size or inodes.
const (
	// diskMargin is how near to the threshold of garbage collection is near, and diskRelief how much further away it has to be again. The
	// kubelet looks every 5 minutes; a large image is about this much of a disk.
	diskMargin, diskRelief = 3, 2
	// diskHalf is what must be used before a forecast counts. What fills faster than the rest lasts for half an hour is a pull or a restore,
	// and ends by itself more often than not.
	diskHalf = 50
	// gcPeriod is how often the kubelet collects images (ImageGCPeriod in pkg/kubelet/kubelet.go).
	gcPeriod = 5 * time.Minute
)

// Disk is the filesystem of images and those that the kubelet evicts for. It is nil where thresholds are assumed, since nothing follows from
// a guess, or where the filesystem of images was not seen.
type Disk struct {
	Window time.Duration // how far ahead to tell; 0 is DefaultDiskWindow
	// GC is image garbage collection on the filesystem of images; nil where it is off.
	GC *ImageGC
	// Evictions are the thresholds of eviction, as far as their filesystems were seen.
	Evictions []Eviction
}

// ImageGC is what the kubelet's garbage collection of images will do.
type ImageGC struct {
	Mountpoint string
	// UsedPercent is how full the filesystem is, as the kubelet rounds it; from HighPercent on it collects.
	UsedPercent, HighPercent int
	// HighIn is when HighPercent is forecast to be reached; nil is not to be seen.
	HighIn *time.Duration
	// WantedBytes is what it will want to free: now where it collects already, else once it begins. ReclaimableBytes is what it may delete.
	WantedBytes, ReclaimableBytes int64
}

// Eviction is one threshold of eviction.
type Eviction struct {
	Signal     string // imagefs.available
	Mountpoint string
	Soft       bool
	// Available and At are bytes or inodes: what there is, and below what pods are evicted. Capacity is all.
	Available, At, Capacity int64
	Inodes                  bool
	// Images is set on the filesystem of images, where deleting some helps.
	Images bool
	// In is when the threshold is forecast to be passed; nil is not to be seen.
	In *time.Duration
}

// passed tells that the kubelet takes the threshold for met.
func (e *Eviction) passed() bool { return e.Available < e.At }

// judgeDisk: True is for a disk on which the kubelet will soon evict pods, or fail to free what it wants. before is what the condition says now:
// what is near a threshold stays so until it is well away from it.
func judgeDisk(d *Disk, before bool) *judgement {
	if d == nil {
		return nil
	}
	window := cmp.Or(d.Window, DefaultDiskWindow)
	soon := func(in *time.Duration) bool { return in != nil && *in <= window }

	evictions := slices.Clone(d.Evictions)
	slices.SortStableFunc(evictions, func(a, b Eviction) int { return cmp.Compare(until(&a), until(&b)) })
	for i := range evictions {
		switch e := &evictions[i]; {
		case e.passed():
			return &judgement{true, "EvictionThresholdPassed", fmt.Sprintf("%s of %s is %s, below the %sthreshold of %s: the kubelet %s; free space there",
				clean(e.Signal), clean(e.Mountpoint), e.amount(e.Available), e.kind(), e.amount(e.At), e.does())}
		case soon(e.In) && e.usedPercent() >= diskHalf && !d.GC.comesFirst(e):
			return &judgement{true, "EvictionNear", fmt.Sprintf("%s of %s is %s and falls below the %sthreshold of %s in about %s: free space there, or see what fills it",
				clean(e.Signal), clean(e.Mountpoint), e.amount(e.Available), e.kind(), e.amount(e.At), rounded(*e.In))}
		}
	}
	if g := d.GC; g != nil && g.ReclaimableBytes < g.WantedBytes {
		margin := diskMargin
		if before {
			margin += diskRelief
		}
		missing := fmt.Sprintf("it will want to free %s and may delete unused images of %s: remove what fills the disk beside images, or make it larger",
			disk.Bytes(g.WantedBytes), disk.Bytes(g.ReclaimableBytes))
		switch {
		case g.UsedPercent >= g.HighPercent:
			return &judgement{true, "ImageGCFails", fmt.Sprintf("%s is %d%% full, and from %d%% on the kubelet deletes images: %s",
				clean(g.Mountpoint), g.UsedPercent, g.HighPercent, missing)}
		case g.UsedPercent >= diskHalf && (g.UsedPercent >= g.HighPercent-margin || soon(g.HighIn)):
			when := ""
			if g.HighIn != nil {
				when = fmt.Sprintf(" in about %s", rounded(*g.HighIn))
			}
			return &judgement{true, "ImageGCWillFail", fmt.Sprintf("%s is %d%% full; at %d%%%s the kubelet deletes images, and will not find enough: %s",
				clean(g.Mountpoint), g.UsedPercent, g.HighPercent, when, missing)}
		}
	}
	text := "no eviction for want of disk is near"
	switch {
	case len(d.Evictions) == 0:
		text = "the kubelet has no thresholds of eviction for disks"
	case d.GC != nil:
		text += ", and unused images can be deleted when that is wanted"
	}
	if d.GC != nil {
		text = fmt.Sprintf("%s is %d%% full, images are deleted from %d%% on: %s", clean(d.GC.Mountpoint), d.GC.UsedPercent, d.GC.HighPercent, text)
	}
	return &judgement{false, "DiskHasRoom", text}
}

// comesFirst tells that garbage collection will have freed what it wants before a threshold is reached: a node whose disk goes up and down
// between the two is as it should be.
func (g *ImageGC) comesFirst(e *Eviction) bool {
	if g == nil || !e.Images || e.Inodes || g.ReclaimableBytes < g.WantedBytes {
		return false
	}
	switch {
	case g.UsedPercent >= g.HighPercent:
		return *e.In >= gcPeriod
	case g.HighIn == nil:
		return false
	}
	return *e.In-*g.HighIn >= gcPeriod
}

// until orders thresholds by when they are passed.
func until(e *Eviction) time.Duration {
	switch {
	case e.passed():
		return -1
	case e.In == nil:
		return 1<<63 - 1
	}
	return *e.In
}

func (e *Eviction) usedPercent() int64 {
	if e.Capacity <= 0 {
		return 0
	}
	return 100 - e.Available*100/e.Capacity
}

func (e *Eviction) kind() string {
	if e.Soft {
		return "soft "
	}
	return ""
}

func (e *Eviction) does() string {
	if e.Soft {
		return "evicts pods once its grace period is over"
	}
	return "evicts pods"
}

func (e *Eviction) amount(n int64) string {
	if e.Inodes {
		return fmt.Sprintf("%d inodes", n)
	}
	return disk.Bytes(n)
}

// rounded is a forecast as precisely as it is meant: a message that changes every second is written every time.
func rounded(d time.Duration) string {
	if minutes := int(d.Round(time.Minute) / time.Minute); minutes > 1 {
		return fmt.Sprintf("%d minutes", minutes)
	}
	return "a minute"
}
