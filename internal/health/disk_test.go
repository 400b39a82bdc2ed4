package health

import (
	"strings"
	"testing"
	"time"
)

const gib = int64(1) << 30

// disks is a node whose disk of 100 GiB is this full, where garbage collection begins at 85% and pods are evicted below 10 GiB.
func disks(usedPercent int, change ...func(*Disk)) Observation {
	d := &Disk{
		GC: &ImageGC{Mountpoint: "/var/lib/containerd", UsedPercent: usedPercent, HighPercent: 85, WantedBytes: 5 * gib, ReclaimableBytes: 20 * gib},
		Evictions: []Eviction{
			{Signal: "imagefs.available", Mountpoint: "/var/lib/containerd", Available: int64(100-usedPercent) * gib, At: 10 * gib, Capacity: 100 * gib},
			{Signal: "nodefs.inodesFree", Mountpoint: "/", Available: 900_000, At: 50_000, Capacity: 1_000_000, Inodes: true},
		},
	}
	for _, c := range change {
		c(d)
	}
	return Observation{Disk: d}
}

func imagesThere(d *Disk)        { d.Evictions[0].Images = true }
func nothingReclaimable(d *Disk) { d.GC.ReclaimableBytes = 4 * gib }
func highIn(in time.Duration) func(*Disk) {
	return func(d *Disk) { d.GC.HighIn = &in }
}
func evictionIn(i int, in time.Duration) func(*Disk) {
	return func(d *Disk) { d.Evictions[i].In = &in }
}

func TestDisk(t *testing.T) {
	for _, test := range []struct {
		name   string
		seen   Observation
		status string
		reason string
		text   string
	}{
		{"not seen", Observation{}, "unknown", "", ""},
		{"half full", disks(50), "False", "DiskHasRoom", "/var/lib/containerd is 50% full, images are deleted from 85% on"},
		{"full enough to collect, and it can", disks(86), "False", "DiskHasRoom", ""},
		{"it can by one byte", disks(86, func(d *Disk) { d.GC.ReclaimableBytes = d.GC.WantedBytes }), "False", "DiskHasRoom", ""},
		{"it cannot by one byte", disks(86, func(d *Disk) { d.GC.ReclaimableBytes = d.GC.WantedBytes - 1 }), "True", "ImageGCFails", "86% full, and from 85% on the kubelet deletes images: it will want to free 5.0 GiB"},
		{"near, and it could not", disks(82, nothingReclaimable), "True", "ImageGCWillFail", "at 85% the kubelet deletes images"},
		{"not so near", disks(81, nothingReclaimable), "False", "DiskHasRoom", ""},
		{"not near, but going there", disks(70, nothingReclaimable, highIn(25*time.Minute)), "True", "ImageGCWillFail", "at 85% in about 25 minutes"},
		{"going there, and it can", disks(70, highIn(25*time.Minute)), "False", "DiskHasRoom", ""},
		{"going there later", disks(70, nothingReclaimable, highIn(31*time.Minute)), "False", "DiskHasRoom", ""},
		{"going there later, with a longer window", disks(70, nothingReclaimable, highIn(31*time.Minute), func(d *Disk) { d.Window = time.Hour }), "True", "ImageGCWillFail", ""},
		{"at 40%, whatever is forecast", disks(40, nothingReclaimable, highIn(time.Minute), evictionIn(0, time.Minute), evictionIn(1, time.Minute)), "False", "DiskHasRoom", ""},
		{"eviction is near", disks(80, evictionIn(0, 12*time.Minute)), "True", "EvictionNear", "imagefs.available of /var/lib/containerd is 20.0 GiB and falls below the threshold of 10.0 GiB in about 12 minutes"},
		{"eviction is near, but images go first", disks(84, imagesThere, highIn(time.Minute), evictionIn(0, 6*time.Minute)), "False", "DiskHasRoom", ""},
		{"images go, and not soon enough", disks(84, imagesThere, highIn(time.Minute), evictionIn(0, 5*time.Minute)), "True", "EvictionNear", ""},
		{"images are being collected", disks(86, imagesThere, evictionIn(0, 6*time.Minute)), "False", "DiskHasRoom", ""},
		{"images go, and are not enough", disks(84, imagesThere, nothingReclaimable, highIn(time.Minute), evictionIn(0, 6*time.Minute)), "True", "EvictionNear", ""},
		{"images would go, and are elsewhere", disks(84, highIn(time.Minute), evictionIn(0, 6*time.Minute)), "True", "EvictionNear", ""},
		{"images would go, and nothing does", disks(84, imagesThere, func(d *Disk) { d.GC = nil }, evictionIn(0, 6*time.Minute)), "True", "EvictionNear", ""},
		{"eviction is not near", disks(80, evictionIn(0, 45*time.Minute)), "False", "DiskHasRoom", ""},
		{"eviction for want of inodes is near", disks(20, evictionIn(1, 12*time.Minute), func(d *Disk) { d.Evictions[1].Available = 100_000 }), "True", "EvictionNear", "nodefs.inodesFree of / is 100000 inodes"},
		{"at the threshold", disks(90), "False", "DiskHasRoom", ""},
		{"the threshold is passed", disks(91), "True", "EvictionThresholdPassed", "is 9.0 GiB, below the threshold of 10.0 GiB: the kubelet evicts pods"},
		{"a soft threshold is passed", disks(91, func(d *Disk) { d.Evictions[0].Soft = true }), "True", "EvictionThresholdPassed", "below the soft threshold of 10.0 GiB: the kubelet evicts pods once"},
		{"passed comes before near", disks(91, evictionIn(1, 0)), "True", "EvictionThresholdPassed", "imagefs.available"},
		{"the nearest is told", disks(80, evictionIn(0, 12*time.Minute), evictionIn(1, 3*time.Minute), func(d *Disk) { d.Evictions[1].Available = 60_000 }), "True", "EvictionNear", "nodefs.inodesFree"},
		{"eviction comes before collection", disks(84, nothingReclaimable, evictionIn(0, 12*time.Minute)), "True", "EvictionNear", ""},
		{"collection off", disks(84, func(d *Disk) { d.GC = nil }), "False", "DiskHasRoom", ""},
		{"no thresholds at all", disks(99, func(d *Disk) { d.GC, d.Evictions = nil, nil }), "False", "DiskHasRoom", "no thresholds of eviction"},
		{"a mount point of somebody's", disks(91, func(d *Disk) { d.Evictions[0].Mountpoint = "/x\x1b[31m" + strings.Repeat("y", 500) }), "True", "EvictionThresholdPassed", "/x\uFFFD[31myy"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t).step(test.seen, 3*time.Minute).want(ImageFilesystemPressure, test.status)
			v := p.last[ImageFilesystemPressure]
			if v.Reason != test.reason || !strings.Contains(v.Message, test.text) || len(v.Message) > 500 {
				t.Errorf("%s: %s; want %s: %q", v.Reason, v.Message, test.reason, test.text)
			}
		})
	}
}

// TestDiskHolds: two minutes until True, so that what one pull needs for a moment does not show; five until False, as DiskPressure.
func TestDiskHolds(t *testing.T) {
	p := newPlay(t).step(disks(50), 0)
	for range 10 {
		p.step(disks(86, nothingReclaimable), 115*time.Second).want(ImageFilesystemPressure, "False").step(disks(70), time.Minute)
	}
	p.step(disks(86, nothingReclaimable), 125*time.Second).want(ImageFilesystemPressure, "True")
	p.step(disks(50), 295*time.Second).want(ImageFilesystemPressure, "True").step(disks(50), 10*time.Second).want(ImageFilesystemPressure, "False")
}

// TestDiskAtTheBorder: a node that moves around the margin stays what it is.
func TestDiskAtTheBorder(t *testing.T) {
	p := newPlay(t).step(disks(81, nothingReclaimable), time.Hour).want(ImageFilesystemPressure, "False")
	p.step(disks(82, nothingReclaimable), 3*time.Minute).want(ImageFilesystemPressure, "True")
	p.step(disks(80, nothingReclaimable), time.Hour).want(ImageFilesystemPressure, "True")
	p.step(disks(79, nothingReclaimable), 6*time.Minute).want(ImageFilesystemPressure, "False")
	p.step(disks(81, nothingReclaimable), time.Hour).want(ImageFilesystemPressure, "False")
}
