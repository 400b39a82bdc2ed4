// Package filled holds what Pullwatch says of the filesystem of images against the real kubelet: loop-mounted filesystems on which a real
// containerd keeps its images are filled until the kubelet collects garbage, fails to, reclaims and evicts, and what was said before is
// compared with the figures in the kubelet's events, its log, its /stats/summary and its /configz. They are to be equal and not near.
// docs/disk-filled.md is what both said.
//
// The second half are configurations of the kubelet, good and bad: what it makes of each, and what Pullwatch reads out of the same files.
package filled

import "github.com/pullwatch/pullwatch/test/node"

// Disk is a filesystem on which containerd has its root, with the cases that are tried on it one after the other.
type Disk struct {
	Name       string
	Mkfs       string
	MiB        int
	Containerd string
	// Single has the kubelet keep its own directory there too: what it calls nodefs and imagefs is one filesystem then.
	Single bool
	Cases  []Case
}

// Case is one way to fill a disk.
type Case struct {
	Name string
	// Slow waits for the kubelet's image garbage collection, which looks every 5 minutes and first 5 minutes after a start.
	Slow     bool
	Settings map[string]any // of the kubelet, beside what the lab sets
	Images   []image        // there when the kubelet starts; those used run as pods
	Late     []image        // pulled once it has started
	Sandbox  bool           // the sandbox image is there when the kubelet starts, and not only with the first pod
	Fill     fill           // what else is written
	// Says are the reasons of events with which the kubelet says what it does, in their first order.
	Says []string
	// Removes is how many images it deletes.
	Removes int
	// Condition is the reason of ImageFilesystemPressure before that, of slow cases.
	Condition string
	// Blind is a kubelet that has no figures of the disk.
	Blind bool
	// Differs are the figures that the kubelet has otherwise; Note is why.
	Differs []string
	Note    string
}

// fill is what lies on the disk beside images: all but LeaveMiB, LeaveInodes of it. Zero writes nothing.
type fill struct{ LeaveMiB, LeaveInodes int }

// images are count of a size, with names of their own.
func images(name string, count, mib int) (list []image) {
	for i := range count {
		list = append(list, image{name: name + "-" + string(rune('a'+i)), mib: mib})
	}
	return list
}

func used(list []image) []image {
	for i := range list {
		list[i].used = true
	}
	return list
}

const (
	ext4    = "mkfs.ext4 -q -F -m 0"
	ext4Few = "mkfs.ext4 -q -F -m 0 -N 1600"
	// Without -m ext4 keeps 5% of the blocks for root, which count as used.
	ext4Root = "mkfs.ext4 -q -F"
	xfs      = "mkfs.xfs -q"
)

// disks are all of them. Those with slow cases are tried at the same time: what they do is wait.
var disks = []Disk{
	{
		Name: "ext4", Mkfs: ext4, MiB: 300, Containerd: node.Containerd16,
		Cases: []Case{
			{
				Name: "garbage collection finds enough", Slow: true,
				Settings: map[string]any{"imageGCHighThresholdPercent": 60, "imageGCLowThresholdPercent": 50, "imageMinimumGCAge": "1s"},
				Images:   append(images("unused", 4, 20), used(images("web", 1, 12))...),
				Removes:  3,
			},
			{
				Name:     "deleting images is enough",
				Settings: map[string]any{"evictionHard": map[string]string{"imagefs.available": "15%"}, "imageMinimumGCAge": "1s"},
				Images:   append(images("unused", 3, 20), used(images("web", 1, 4))...),
				Fill:     fill{LeaveMiB: 30},
				Says:     []string{"EvictionThresholdMet", "NodeHasDiskPressure"},
				Removes:  3,
			},
		},
	},
	{
		Name: "xfs", Mkfs: xfs, MiB: 320, Containerd: node.Containerd24,
		Cases: []Case{
			{
				Name: "garbage collection finds too little", Slow: true,
				Settings: map[string]any{"imageGCHighThresholdPercent": 60, "imageGCLowThresholdPercent": 40, "imageMinimumGCAge": "1s"},
				Images:   append(images("unused", 2, 12), used(images("web", 3, 24))...),
				Says:     []string{"FreeDiskSpaceFailed", "ImageGCFailed"},
				Removes:  2, Condition: "ImageGCFails",
			},
			{
				Name:     "no image left to delete",
				Settings: map[string]any{"evictionHard": map[string]string{"imagefs.available": "15%"}, "imageMinimumGCAge": "1s"},
				Images:   used(images("web", 2, 12)),
				Fill:     fill{LeaveMiB: 30},
				Says:     []string{"EvictionThresholdMet", "NodeHasDiskPressure", "Evicted"},
			},
		},
	},
	{
		Name: "ext4, blocks kept for root", Mkfs: ext4Root, MiB: 300, Containerd: node.Containerd16,
		Cases: []Case{
			{
				Name: "every image is younger than the minimum age", Slow: true,
				Settings: map[string]any{"imageGCHighThresholdPercent": 60, "imageGCLowThresholdPercent": 50, "imageMinimumGCAge": "1h"},
				Images:   append(images("unused", 3, 20), used(images("web", 1, 20))...),
				Says:     []string{"FreeDiskSpaceFailed", "ImageGCFailed"}, Condition: "ImageGCFails",
			},
			{
				Name: "a soft threshold, as a quantity",
				Settings: map[string]any{
					"evictionSoft":            map[string]string{"imagefs.available": "80Mi"},
					"evictionSoftGracePeriod": map[string]string{"imagefs.available": "5s"},
					"evictionMinimumReclaim":  map[string]string{"imagefs.available": "10Mi"}, "imageMinimumGCAge": "1s",
				},
				Images: used(images("web", 2, 12)),
				Fill:   fill{LeaveMiB: 60},
				Says:   []string{"EvictionThresholdMet", "NodeHasDiskPressure", "Evicted"},
			},
		},
	},
	{
		Name: "ext4, few inodes", Mkfs: ext4Few, MiB: 300, Containerd: node.Containerd16,
		Cases: []Case{
			{
				Name: "inodes run out",
				Settings: map[string]any{
					"evictionHard": map[string]string{"imagefs.available": "15%", "imagefs.inodesFree": "20%"}, "imageMinimumGCAge": "1s",
				},
				Images:  append([]image{{name: "unused", mib: 1, files: 100}}, used(images("web", 2, 4))...),
				Fill:    fill{LeaveInodes: 120},
				Says:    []string{"EvictionThresholdMet", "NodeHasDiskPressure", "Evicted"},
				Removes: 1,
			},
			{
				Name:     "the sandbox image is not pinned",
				Settings: map[string]any{"evictionHard": map[string]string{"imagefs.available": "15%"}, "imageMinimumGCAge": "1s"},
				Images:   used(images("web", 1, 4)),
				Sandbox:  true,
				Fill:     fill{LeaveMiB: 30},
				Says:     []string{"EvictionThresholdMet", "NodeHasDiskPressure", "Evicted"},
				Removes:  1,
				Note:     "containerd 1.6 pins no image, and no container uses that of sandboxes: the kubelet deletes it under its running pods",
			},
		},
	},
	{
		Name: "ext4, the kubelet's own directory too", Mkfs: ext4, MiB: 300, Containerd: node.Containerd24, Single: true,
		Cases: []Case{
			{
				Name:     "the nodefs is the imagefs",
				Settings: map[string]any{"evictionHard": map[string]string{"nodefs.available": "15%"}, "imageMinimumGCAge": "1s"},
				Images:   used(images("web", 2, 4)),
				Fill:     fill{LeaveMiB: 30},
				Says:     []string{"EvictionThresholdMet", "NodeHasDiskPressure", "Evicted"},
			},
		},
	},
	{
		Name: "ext4, pulled late", Mkfs: ext4, MiB: 300, Containerd: node.Containerd24,
		Cases: []Case{
			{
				Name: "pulled since the kubelet last looked", Slow: true,
				Settings: map[string]any{"imageGCHighThresholdPercent": 60, "imageGCLowThresholdPercent": 50, "imageMinimumGCAge": "1s"},
				Images:   images("early", 1, 8),
				Late:     images("late", 4, 20),
				Says:     []string{"FreeDiskSpaceFailed", "ImageGCFailed"},
				Removes:  1,
				Differs:  []string{"reclaimableBytes"},
				Note:     "the kubelet looks for new images every 5 minutes: what it first sees when it collects has no age yet, and is not deleted",
			},
		},
	},
	{
		Name: "ext4, no disk statistics", Mkfs: ext4, MiB: 300, Containerd: node.Containerd24,
		Cases: []Case{
			{
				Name: "localStorageCapacityIsolation: false", Slow: true,
				Settings: map[string]any{
					"imageGCHighThresholdPercent": 60, "imageGCLowThresholdPercent": 50, "imageMinimumGCAge": "1s", "localStorageCapacityIsolation": false,
					"evictionHard": map[string]string{"imagefs.available": "50%"},
				},
				Images: images("unused", 5, 20),
				Says:   []string{"ImageGCFailed"}, Blind: true, Condition: "EvictionThresholdPassed",
				Note: "with containerd, the kubelet then has no figures of any filesystem: it neither collects nor evicts. Pullwatch does not know that",
			},
		},
	},
}
