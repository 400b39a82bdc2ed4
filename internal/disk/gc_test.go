package disk

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestUsagePercent: the kubelet's integers, with figures from its own log and events.
func TestUsagePercent(t *testing.T) {
	const gib = int64(1) << 30
	for _, test := range []struct {
		capacity, available int64
		low                 int
		percent             int
		wanted              int64
	}{
		{100 * gib, 100 * gib, 80, 0, -80 * gib},
		{100 * gib, 20 * gib, 80, 80, 0},
		{100 * gib, 15 * gib, 80, 85, 5 * gib},
		{100 * gib, 16*gib - 1, 80, 85, 4*gib + 1}, // 84.000000001% is 85: it rounds up
		{100 * gib, 16 * gib, 80, 84, 4 * gib},
		{100 * gib, 0, 80, 100, 20 * gib},
		{1003, 151, 80, 85, 49}, // 1003*20/100 is 200 and not 200.6
		{100 * gib, 200 * gib, 80, 0, -80 * gib},
		{0, 0, 80, 0, 0},
	} {
		if got := UsagePercent(test.capacity, test.available); got != test.percent {
			t.Errorf("%d of %d available: %d%%, want %d%%", test.available, test.capacity, got, test.percent)
		}
		if got := WantedBytes(test.capacity, test.available, test.low); got != test.wanted {
			t.Errorf("%d of %d available: %d bytes wanted, want %d", test.available, test.capacity, got, test.wanted)
		}
	}
}

// TestTriggerBytes: one byte more, and the kubelet does not collect.
func TestTriggerBytes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		capacity, high := 1_000+random.Int64N(1<<50), 1+random.IntN(100)
		at := TriggerBytes(capacity, high)
		if UsagePercent(capacity, at) < high || UsagePercent(capacity, at+1) >= high && at < capacity {
			t.Fatalf("of %d bytes at %d%%: %d are %d%%, one more %d%%", capacity, high, at, UsagePercent(capacity, at), UsagePercent(capacity, at+1))
		}
	}
	if TriggerBytes(1000, 0) != 1000 {
		t.Error("a threshold of 0 is not always reached")
	}
}

var begin = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

func image(id string, size uint64, more ...string) *runtimeapi.Image {
	i := &runtimeapi.Image{Id: id, Size: size}
	for _, m := range more {
		if m == "pinned" {
			i.Pinned = true
		} else if strings.Contains(m, "@") {
			i.RepoDigests = append(i.RepoDigests, m)
		} else {
			i.RepoTags = append(i.RepoTags, m)
		}
	}
	return i
}

// TestSizesThatAreNoNumberTogether: the kubelet could not count them either; no sum becomes small by it.
func TestSizesThatAreNoNumberTogether(t *testing.T) {
	const most = 1<<63 - 1
	images := []*runtimeapi.Image{
		image("sha256:a", 1<<64-1), image("sha256:b", 1<<64-1), image("sha256:c", most, "pinned"), image("sha256:d", most, "pinned"), image("sha256:e", most), image("sha256:f", most),
	}
	used := []*runtimeapi.Container{{ImageRef: "sha256:e"}, {ImageRef: "sha256:f"}}
	var tracker Tracker
	if u := tracker.Observe(images, used, nil, time.Minute, begin); u.YoungBytes != most || u.PinnedBytes != most || u.UsedBytes != most || u.TotalBytes() != most {
		t.Errorf("%+v", u)
	}
	if u := tracker.Observe(images, used, nil, time.Minute, begin.Add(time.Hour)); u.Bytes != most || u.TotalBytes() != most {
		t.Errorf("%+v", u)
	}
}

// TestCandidates: what may be deleted, and in which order.
func TestCandidates(t *testing.T) {
	const digest = "registry.example.com/app@sha256:1111111111111111111111111111111111111111111111111111111111111111"
	images := []*runtimeapi.Image{
		image("sha256:running", 1), image("sha256:by-ref", 2), image("old-crio", 4, digest), image("sha256:pause", 8, "pinned"),
		image("sha256:volume", 16, "registry.example.com/data:1"), image("sha256:b", 32), image("sha256:a", 64),
	}
	containers := []*runtimeapi.Container{
		{ImageId: "sha256:running", ImageRef: digest + "0", State: runtimeapi.ContainerState_CONTAINER_EXITED},
		{ImageRef: "sha256:by-ref"}, {ImageRef: digest}, {ImageId: "sha256:gone"}, {},
	}
	volumes := []string{"registry.example.com/data:1"}
	ids := func(u *Unused) (ids []string) {
		for _, c := range u.Candidates {
			ids = append(ids, c.ID)
		}
		return ids
	}
	var tracker Tracker
	at := func(after time.Duration, images []*runtimeapi.Image, containers []*runtimeapi.Container) *Unused {
		return tracker.Observe(images, containers, volumes, 2*time.Minute, begin.Add(after))
	}

	u := at(0, images, containers)
	if len(u.Candidates) != 0 || u.Young != 2 || u.YoungBytes != 96 || u.Used != 4 || u.UsedBytes != 23 || u.Pinned != 1 || u.PinnedBytes != 8 || u.LargestUsed != 16 {
		t.Errorf("at first sight: %+v", u)
	}
	u = at(2*time.Minute-1, images, containers)
	if len(u.Candidates) != 0 {
		t.Errorf("too young: %v", ids(u))
	}
	u = at(2*time.Minute, images, containers)
	if diff := cmp.Diff([]string{"sha256:a", "sha256:b"}, ids(u)); diff != "" || u.Bytes != 96 || u.TotalBytes() != 127 {
		t.Errorf("of age: %d of %d bytes, %s", u.Bytes, u.TotalBytes(), diff)
	}
	// A container of b came and went, and then all: what was never used goes first.
	at(3*time.Minute, images, append(containers, &runtimeapi.Container{ImageId: "sha256:b"}))
	u = at(4*time.Minute, images, nil)
	if diff := cmp.Diff([]string{"sha256:a", "old-crio", "sha256:b", "sha256:by-ref", "sha256:running"}, ids(u)); diff != "" {
		t.Errorf("order: %s", diff)
	}
	if first, last, ok := tracker.Seen("sha256:b"); !ok || !first.Equal(begin) || !last.Equal(begin.Add(3*time.Minute)) {
		t.Errorf("b was first seen %s and last used %s", first, last)
	}
	if _, last, _ := tracker.Seen("sha256:a"); !last.IsZero() {
		t.Errorf("a was used at %s", last)
	}

	// What went and comes back was pulled again, and is young.
	at(5*time.Minute, images[:5], nil)
	u = at(6*time.Minute, images, nil)
	if u.Repulled != 2 || u.Young != 2 {
		t.Errorf("pulled again: %+v", u)
	}
	if _, _, ok := tracker.Seen("sha256:gone"); ok {
		t.Error("an image is known that is not there")
	}
}

// TestTrackerIsBounded: whatever a runtime lists.
func TestTrackerIsBounded(t *testing.T) {
	var tracker Tracker
	for round := range 4 {
		var images []*runtimeapi.Image
		for i := range mostImages + 5 {
			images = append(images, image(fmt.Sprint(round, "-", i), 1))
		}
		u := tracker.Observe(append(images, images[0]), nil, nil, 0, begin.Add(time.Duration(round)*time.Hour))
		if round == 0 && (u.Unlisted != 5 || len(u.Candidates) != mostImages) {
			t.Errorf("%d unlisted, %d candidates", u.Unlisted, len(u.Candidates))
		}
		if len(tracker.records) > mostImages || len(tracker.vanished) > mostVanished {
			t.Fatalf("remembers %d images and %d that went", len(tracker.records), len(tracker.vanished))
		}
	}
}

// TestGC: what would happen on a filesystem.
func TestGC(t *testing.T) {
	settings := Defaults("v1.34.4")
	for _, test := range []struct {
		available, reclaimable int64
		collects, fails        bool
		wanted                 int64
	}{
		{1600, 0, false, false, 400},
		{1599, 401, true, false, 401},
		{1599, 400, true, true, 401},
		{0, 2000, true, false, 2000},
		{5000, 0, false, false, -3000},
	} {
		g := NewGC(&Filesystem{SizeBytes: 10_000, AvailableBytes: test.available}, &settings, &Unused{Bytes: test.reclaimable})
		if g.Collects != test.collects || g.Fails != test.fails || g.WantedBytes != test.wanted || g.TriggerBytes != 1599 || g.WantedAtTriggerBytes != 401 {
			t.Errorf("%d available, %d reclaimable: %+v", test.available, test.reclaimable, g)
		}
	}
	settings.HighPercent.Value = 100
	if g := NewGC(&Filesystem{SizeBytes: 10_000}, &settings, &Unused{}); !g.Off || g.Collects || g.Fails {
		t.Errorf("it is off: %+v", g)
	}
}

func TestEstimateFreed(t *testing.T) {
	for _, test := range []struct {
		runtime                 string
		sizes, total, snapshots int64
		want                    int64
		known                   bool
	}{
		{"containerd", 100, 1000, 2500, 350, true},
		{"containerd", 1 << 62, 1, 1 << 62, 1<<63 - 1, true},
		{"containerd", 100, 1000, 0, 0, false},
		{"cri-o", 100, 1000, 17, 100, true},
		{"docker", 100, 1000, 2500, 0, false},
		{"docker", 0, 1000, 2500, 0, true},
	} {
		if e := EstimateFreed(test.runtime, test.sizes, test.total, test.snapshots); e.Bytes != test.want || e.Known != test.known || e.Basis == "" {
			t.Errorf("%+v: %+v", test, e)
		}
	}
}

// BenchmarkSteadyPass is a pass over a large node on which nothing changes: 2,000 images and 250 containers.
func BenchmarkSteadyPass(b *testing.B) {
	images, containers := largeNode()
	var tracker Tracker
	now := begin
	tracker.Observe(images, containers, nil, time.Minute, now)
	settings := Defaults("v1.34.4")
	found := Found{Filesystems: []Filesystem{{Roles: []Role{ImageFS, ContainerFS, NodeFS}, SizeBytes: 1 << 40, AvailableBytes: 1 << 38, Inodes: 1 << 26, InodesFree: 1 << 25}}, Layout: LayoutSingle}
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Minute)
		unused := tracker.Observe(images, containers, nil, time.Minute, now)
		NewGC(&found.Filesystems[0], &settings, unused)
		Standings(&found, &settings)
	}
}

func largeNode() (images []*runtimeapi.Image, containers []*runtimeapi.Container) {
	for i := range 2_000 {
		id := fmt.Sprintf("sha256:%064x", i)
		images = append(images, image(id, uint64(i)<<20, fmt.Sprintf("registry.example.com/shop/app-%d:1", i), fmt.Sprintf("registry.example.com/shop/app-%d@%s", i, id)))
	}
	for i := range 250 {
		containers = append(containers, &runtimeapi.Container{ImageId: images[i*7].Id})
	}
	return images, containers
}
