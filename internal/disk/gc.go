package disk

// The kubelet's arithmetic of image garbage collection (GarbageCollect in pkg/kubelet/images/image_gc_manager.go), in its own integers.

// UsagePercent is how full the kubelet takes a filesystem to be. It rounds up: 84.1% is 85. A capacity of 0 has no answer, which is 0 here and
// an InvalidDiskCapacity event there.
func UsagePercent(capacity, available int64) int {
	if capacity <= 0 {
		return 0
	}
	return 100 - int(min(available, capacity)*100/capacity)
}

// WantedBytes is what the kubelet wants to free once it collects; below zero is more than enough free.
func WantedBytes(capacity, available int64, lowPercent int) int64 {
	return capacity*int64(100-lowPercent)/100 - min(available, capacity)
}

// TriggerBytes is the most that can be available while the kubelet collects: the largest number at which UsagePercent has reached highPercent.
func TriggerBytes(capacity int64, highPercent int) int64 {
	if highPercent <= 0 {
		return capacity
	}
	// available*100/capacity, rounded down, is at most 100-high where available*100 < capacity*(101-high).
	return (capacity*int64(101-highPercent) - 1) / 100
}

// GC is what image garbage collection would do on the filesystem of images as it is now.
type GC struct {
	HighPercent, LowPercent int
	Off                     bool // it never collects for want of space
	UsedPercent             int  // as the kubelet rounds it
	Collects                bool // UsedPercent has reached HighPercent
	// TriggerBytes is the most that can be available while it collects.
	TriggerBytes int64
	// WantedBytes is what it wants to free now; below zero is more than enough free. WantedAtTriggerBytes is what it will want when it begins.
	WantedBytes, WantedAtTriggerBytes int64
	// ReclaimableBytes is what it would count as freed if it deleted all it may, by the sizes that the runtime tells.
	ReclaimableBytes int64
	// Fails tells that it collects, and will not find what it wants: FreeDiskSpaceFailed and ImageGCFailed.
	Fails bool
	// Estimate is what deleting all would really free.
	Estimate Estimate
}

// NewGC works it out.
func NewGC(images *Filesystem, settings *Settings, unused *Unused) GC {
	capacity, available, high, low := images.SizeBytes, images.AvailableBytes, settings.HighPercent.Value, settings.LowPercent.Value
	g := GC{
		HighPercent: high, LowPercent: low, Off: settings.GCOff(), UsedPercent: UsagePercent(capacity, available),
		TriggerBytes: TriggerBytes(capacity, high), WantedBytes: WantedBytes(capacity, available, low), ReclaimableBytes: unused.Bytes,
	}
	g.WantedAtTriggerBytes = WantedBytes(capacity, g.TriggerBytes, low)
	g.Collects = !g.Off && capacity > 0 && g.UsedPercent >= high
	g.Fails = g.Collects && g.ReclaimableBytes < g.WantedBytes
	return g
}

// Estimate is a number of bytes that nobody can tell exactly.
type Estimate struct {
	Bytes int64
	Known bool
	Basis string // how it comes about
}

// EstimateFreed is what deleting images of these sizes would really free, as far as the runtime tells. snapshotBytes is what its ImageFsInfo
// says is used, all the sizes of images together total.
//
// containerd counts an image by what was downloaded, and has it unpacked beside that. How much larger that is follows from all images here:
// its snapshots, which share layers, over the sizes, which do not. CRI-O counts unpacked and every shared layer again.
func EstimateFreed(runtimeName string, sizes, total, snapshotBytes int64) Estimate {
	switch {
	case sizes == 0:
		return Estimate{Known: true, Basis: "nothing can be deleted"}
	case runtimeName == "containerd" && total > 0 && snapshotBytes > 0:
		return Estimate{plus(sizes, times(sizes, float64(snapshotBytes)/float64(total))), true, "what was downloaded, and unpacked as much as the images of this node are on average"}
	case runtimeName == "cri-o":
		return Estimate{sizes, true, "at most: layers that other images share stay"}
	}
	return Estimate{Basis: "the runtime does not tell"}
}
