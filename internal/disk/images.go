package disk

import (
	"cmp"
	"maps"
	"slices"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// What a Tracker remembers at most. A node of 250 pods may have 2,000 images; what is beyond is counted and not looked after.
const (
	mostImages   = 10_000
	mostVanished = 2_000
)

// Tracker remembers since when this process knows each image, and when it was last used, as the kubelet's image manager does for its own life.
// It is not safe for concurrent use.
type Tracker struct {
	records  map[string]*record
	vanished map[string]time.Time // images that went, and when
	repulled uint64
	pass     uint64
}

type record struct {
	firstSeen, lastUsed time.Time
	pass                uint64 // that saw it last
}

// Image is what is known of an image.
type Image struct {
	ID        string
	SizeBytes int64 // as the runtime counts: containerd what was downloaded, CRI-O what is unpacked
	FirstSeen time.Time
	// LastUsed is when a container of it was last there, running or not; zero is never in this process's life.
	LastUsed time.Time
}

// Unused is what image garbage collection may delete, and why it may not delete the rest.
type Unused struct {
	// Candidates are in the kubelet's order: least recently used first, then first seen first.
	Candidates []Image
	Bytes      int64 // of the candidates; layers that images share count in full for each, as the kubelet counts them
	// Young are unused and not pinned, but were first seen less than the minimum age ago.
	Young      int
	YoungBytes int64
	// Used and Pinned are kept. A pinned one counts as pinned, used or not.
	Used, Pinned           int
	UsedBytes, PinnedBytes int64
	// LargestUsed is the size of the largest image that containers on this node use.
	LargestUsed int64
	// Repulled counts images that went and came back in this process's life.
	Repulled uint64
	// Unlisted is how many images were too many to be remembered, and are in no other figure.
	Unlisted int
}

// TotalBytes is the size of all images.
func (u *Unused) TotalBytes() int64 {
	return plus(plus(u.Bytes, u.YoungBytes), plus(u.UsedBytes, u.PinnedBytes))
}

// Observe takes the runtime's lists of images and of all containers, exited ones too. volumes are the images that pods mount as volumes, by
// ID, tag or digest as the list has them.
//
// It sees as the kubelet does (imagesInEvictionOrder and freeSpace in pkg/kubelet/images/image_gc_manager.go), but for one thing: the kubelet
// sees an image first when it next looks, up to 5 minutes after the pull, and forgets on a restart. So it may leave alone for some minutes
// more what is a candidate here: Bytes is the most that it may find.
func (t *Tracker) Observe(images []*runtimeapi.Image, containers []*runtimeapi.Container, volumes []string, minimumAge time.Duration, now time.Time) *Unused {
	if t.records == nil {
		t.records, t.vanished = make(map[string]*record, len(images)), make(map[string]time.Time)
	}
	t.pass++
	inUse := inUse(containers, volumes)
	u := &Unused{}
	for _, image := range images {
		r := t.record(image.GetId(), now)
		if r == nil {
			u.Unlisted++
			continue
		}
		if r.pass == t.pass {
			continue // listed twice
		}
		r.pass = t.pass
		used := inUse.has(image)
		if used {
			r.lastUsed = now
		}
		size := clamp(image.GetSize())
		if used {
			u.LargestUsed = max(u.LargestUsed, size)
		}
		switch {
		case image.GetPinned():
			u.Pinned++
			u.PinnedBytes = plus(u.PinnedBytes, size)
		case used:
			u.Used++
			u.UsedBytes = plus(u.UsedBytes, size)
		case now.Sub(r.firstSeen) < minimumAge:
			u.Young++
			u.YoungBytes = plus(u.YoungBytes, size)
		default:
			u.Candidates = append(u.Candidates, Image{image.GetId(), size, r.firstSeen, r.lastUsed})
			u.Bytes = plus(u.Bytes, size)
		}
	}
	t.forget(now)
	u.Repulled = t.repulled
	slices.SortFunc(u.Candidates, func(a, b Image) int {
		return cmp.Or(a.LastUsed.Compare(b.LastUsed), a.FirstSeen.Compare(b.FirstSeen), cmp.Compare(a.ID, b.ID))
	})
	return u
}

// Seen tells since when an image is known and when it was last used, both in this process's life.
func (t *Tracker) Seen(id string) (firstSeen, lastUsed time.Time, ok bool) {
	r := t.records[id]
	if r == nil {
		return time.Time{}, time.Time{}, false
	}
	return r.firstSeen, r.lastUsed, true
}

// record finds or begins that of an image; nil where there are too many.
func (t *Tracker) record(id string, now time.Time) *record {
	if r := t.records[id]; r != nil {
		return r
	}
	if len(t.records) >= mostImages {
		return nil
	}
	if _, was := t.vanished[id]; was {
		delete(t.vanished, id)
		t.repulled++
	}
	r := &record{firstSeen: now}
	t.records[id] = r
	return r
}

// forget drops the images that this pass did not see, and remembers the latest of them to tell when they come back.
func (t *Tracker) forget(now time.Time) {
	for id, r := range t.records {
		if r.pass != t.pass {
			delete(t.records, id)
			t.vanished[id] = now
		}
	}
	if excess := len(t.vanished) - mostVanished; excess > 0 {
		ids := slices.Collect(maps.Keys(t.vanished))
		slices.SortFunc(ids, func(a, b string) int { return t.vanished[a].Compare(t.vanished[b]) })
		for _, id := range ids[:excess] {
			delete(t.vanished, id)
		}
	}
}

// usedImages are names of images in use.
type usedImages map[string]bool

// inUse gathers them. Runtimes before CRI 1.30 tell no image ID of a container, but a reference, which the kubelet takes for it
// (toKubeContainer in pkg/kubelet/kuberuntime/helpers.go), and which may be a digest.
func inUse(containers []*runtimeapi.Container, volumes []string) usedImages {
	used := make(usedImages, len(containers)+len(volumes))
	for _, c := range containers {
		used[cmp.Or(c.GetImageId(), c.GetImageRef())] = true
	}
	for _, v := range volumes {
		used[v] = true
	}
	delete(used, "")
	return used
}

func (used usedImages) has(image *runtimeapi.Image) bool {
	is := func(name string) bool { return used[name] }
	return is(image.GetId()) || slices.ContainsFunc(image.GetRepoDigests(), is) || slices.ContainsFunc(image.GetRepoTags(), is)
}
