package filled

import (
	"maps"
	"testing"
)

// What kubelet 1.34.4 wrote into its log here.
const (
	logOfCollection = `I1126 07:11:50.101767 12056 image_gc_manager.go:391] "Disk usage on image filesystem is over the high threshold, trying to free bytes down to the low threshold" usage=71 highThreshold=60 amountToFree=57719296 lowThreshold=50
I1126 07:11:50.101799 12056 image_gc_manager.go:487] "Removing image to free bytes" imageID="sha256:6c8f" size=21688527 runtimeHandler=""
I1126 07:11:50.151799 12056 image_gc_manager.go:487] "Removing image to free bytes" imageID="sha256:77aa" size=21688527 runtimeHandler=""
`
	logOfEviction = `I1126 07:01:54.866671 12056 helpers.go:978] "Eviction manager:" log="observations" signal="imagefs.available" resourceName="ephemeral-storage" available="23746Ki" capacity="296847Ki" time="2026-11-26 07:01:54.861896076 +0000 UTC"
I1126 07:01:54.866679 12056 helpers.go:978] "Eviction manager:" log="observations" signal="nodefs.available" resourceName="ephemeral-storage" available="73175936Ki" capacity="264212084Ki" time="2026-11-26 07:01:54.852991916 +0000 UTC m=+82.189028531"
I1126 07:01:54.866684 12056 helpers.go:978] "Eviction manager:" log="observations" signal="imagefs.inodesFree" resourceName="inodes" available="81888" capacity="81920" time="2026-11-26 07:01:54.861896076 +0000 UTC"
I1126 07:01:54.866725 12056 helpers.go:995] "Eviction manager: threshold observed resource" log="thresholds - ignoring grace period" signal="imagefs.available" resourceName="ephemeral-storage" quantity="45595701" available="23746Ki"
I1126 07:01:54.867010 12056 eviction_manager.go:368] "Eviction manager: attempting to reclaim" resourceName="ephemeral-storage"
I1126 07:01:54.867799 12056 image_gc_manager.go:487] "Removing image to free bytes" imageID="sha256:77aa" size=21688527 runtimeHandler=""
I1126 07:01:54.882384 12056 helpers.go:978] "Eviction manager:" log="observations after resource reclaim" signal="imagefs.available" resourceName="ephemeral-storage" available="29684Ki" capacity="296847Ki" time="2026-11-26 07:01:54.881137561 +0000 UTC"
I1126 07:02:04.867010 12056 eviction_manager.go:368] "Eviction manager: attempting to reclaim" resourceName="ephemeral-storage"
I1126 07:02:04.867799 12056 image_gc_manager.go:487] "Removing image to free bytes" imageID="sha256:6c8f" size=21688527 runtimeHandler=""
`
)

func TestTold(t *testing.T) {
	for _, tt := range []struct {
		name, log string
		events    []event
		want      figures
		removed   int
	}{
		{name: "nothing", log: "I1126 07:01:54.866671 12056 kubelet.go:1] \"Something else\"\n", want: figures{}},
		{
			name: "a collection that finds enough", log: logOfCollection, removed: 2,
			want: figures{"usedPercent": 71, "highPercent": 60, "wantedBytes": 57719296, "lowPercent": 50},
		},
		{
			name: "a collection that does not", log: "",
			events: []event{{
				"FreeDiskSpaceFailed",
				"Failed to garbage collect required amount of images. Attempted to free 115927449 bytes, but only found 26598544 bytes eligible to free.",
			}},
			want: figures{"wantedBytes": 115927449, "reclaimableBytes": 26598544},
		},
		{
			name: "the first round of evictions", log: logOfEviction, removed: 1,
			want: figures{
				"imagefs.available": 23746 << 10, "imagefs.available of": 296847 << 10, "imagefs.available below": 45595701,
				"imagefs.inodesFree": 81888, "imagefs.inodesFree of": 81920,
			},
		},
		{
			name:   "an eviction for want of inodes",
			events: []event{{"Evicted", "The node was low on resource: inodes. Threshold quantity: 304, available: 120."}},
			want:   figures{"imagefs.inodesFree": 120, "imagefs.inodesFree below": 304},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			told := &told{events: tt.events, figures: figures{}}
			told.readLog(tt.log, "imagefs")
			told.readEvents("imagefs")
			if !maps.Equal(told.figures, tt.want) {
				t.Errorf("figures %v, want %v", told.figures, tt.want)
			}
			if told.removed != tt.removed {
				t.Errorf("%d images deleted, want %d", told.removed, tt.removed)
			}
		})
	}
}
