package agent

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/time/rate"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/internal/disk"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/pkg/probe"
)

// The runtime is asked for the configuration of each image once in its life, this often at most. A node that starts with 2,000 images is known after
// two minutes, and no runtime notices.
const configRate = 20 // a second

// imageStore is what this agent knows of the node's images beyond the runtime's list.
type imageStore struct {
	mu        sync.Mutex
	seen      disk.Tracker
	platforms map[string]string // by ID; empty where the image does not say
	listed    []*runtimeapi.Image
	users     map[string][]string // of the image with an ID, the pods that have a container of it
	unused    *disk.Unused

	registries []string      // that images came from
	changed    chan struct{} // the list may have images in it whose platform is not known
}

// ImageRecord is what only this agent's memory tells of an image.
type ImageRecord struct {
	ID        string    `json:"id"`
	FirstSeen time.Time `json:"firstSeen"`
	LastUsed  time.Time `json:"lastUsed,omitzero"` // by a container, running or not; absent is never in this agent's life
	Platform  string    `json:"platform,omitempty"`
}

// WrongImage is an image that was built for a platform that this node does not run, or by emulation alone.
type WrongImage struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Platform string   `json:"platform"`
	Pods     []string `json:"pods,omitempty"` // that have a container of it, as namespace/name
}

// checkImages lists the images, from which the established registries are known, and the containers, from which it is known who uses them.
func (a *Agent) checkImages(ctx context.Context) error {
	err := a.listImages(ctx)
	if err != nil {
		before := *a.snapshot.images.Load()
		before.Error = err.Error()
		a.snapshot.images.Store(&before)
	}
	return err
}

func (a *Agent) listImages(ctx context.Context) error {
	client, _, err := a.runtime.get()
	if err != nil {
		return err
	}
	images, err := client.ListImages(ctx)
	if err != nil {
		return err
	}
	containers, err := client.ListContainers(ctx)
	if err != nil {
		return err
	}
	index := cri.IndexImages(images)
	a.store.list(images, index.Users(containers), containers, a.volumes.mounted(), a.registriesOf(images), a.minimumAge())
	a.images.use(usedImages(index, containers))
	a.publishImageList()
	a.metrics.SetEstablished(a.established())
	return nil
}

// list takes what the runtime lists.
func (s *imageStore) list(images []*runtimeapi.Image, users map[string][]string, containers []*runtimeapi.Container, volumes, registries []string, minimumAge time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed, s.users, s.registries = images, users, registries
	s.unused = s.seen.Observe(images, containers, volumes, minimumAge, time.Now())
	there := make(map[string]bool, len(images))
	for _, image := range images {
		there[image.GetId()] = true
	}
	for id := range s.platforms {
		if !there[id] {
			delete(s.platforms, id)
		}
	}
	select {
	case s.changed <- struct{}{}:
	default: // it looks already
	}
}

// unasked is the next image whose platform is not known.
func (s *imageStore) unasked() (id string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, image := range s.listed {
		if _, known := s.platforms[image.GetId()]; !known {
			return image.GetId(), true
		}
	}
	return "", false
}

func (s *imageStore) answered(id, platform string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.platforms == nil {
		s.platforms = make(map[string]string)
	}
	s.platforms[id] = platform
}

// records are what is remembered of the images that are on the node.
func (s *imageStore) records() []ImageRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]ImageRecord, 0, len(s.listed))
	for _, image := range s.listed {
		r := ImageRecord{ID: image.GetId(), Platform: s.platforms[image.GetId()]}
		r.FirstSeen, r.LastUsed, _ = s.seen.Seen(r.ID)
		all = append(all, r)
	}
	return all
}

// wrong are the images for another platform than those that the node runs.
func (s *imageStore) wrong(runs func(platform string) bool) (wrong []WrongImage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, image := range s.listed {
		platform := s.platforms[image.GetId()]
		if platform == "" || runs(platform) {
			continue
		}
		wrong = append(wrong, WrongImage{ID: image.GetId(), Name: nameOf(image), Platform: platform, Pods: s.users[image.GetId()]})
	}
	slices.SortFunc(wrong, func(a, b WrongImage) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return wrong
}

// nameOf is what people call an image: a tag, else a digest, else its ID.
func nameOf(image *runtimeapi.Image) string {
	for _, names := range [...][]string{image.GetRepoTags(), image.GetRepoDigests()} {
		if len(names) > 0 {
			return names[0]
		}
	}
	return image.GetId()
}

// inspectImages asks for the platforms of images as they come, for as long as ctx lasts.
func (a *Agent) inspectImages(ctx context.Context) {
	limit := rate.NewLimiter(configRate, 1)
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.store.changed:
		}
		asked := false
		for id, ok := a.store.unasked(); ok; id, ok = a.store.unasked() {
			if limit.Wait(ctx) != nil {
				return
			}
			client, _, err := a.runtime.get()
			if err != nil {
				break
			}
			_, info, err := client.ImageStatus(ctx, id, true)
			if err != nil {
				break // the next list has it still
			}
			asked = true
			a.store.answered(id, cri.ReadImageConfig(info).Platform())
		}
		if asked {
			a.publishImageList()
		}
	}
}

// publishImageList makes what is known of the images visible.
func (a *Agent) publishImageList() {
	wrong := a.store.wrong(probe.Runs(a.platform()))
	a.store.mu.Lock()
	now := Images{Count: len(a.store.listed), Registries: a.store.registries, WrongPlatform: wrong}
	if u := a.store.unused; u != nil {
		now.Unused, now.UnusedBytes, now.PulledAgain = len(u.Candidates)+u.Young, u.Bytes+u.YoungBytes, u.Repulled
	}
	a.store.mu.Unlock()
	a.snapshot.images.Store(&Part[Images]{Value: now, At: time.Now()})
	a.publishFacts()
}

// Platform is what a node's runtime pulls for: the architecture that its kubelet reports, since the kernel may run userlands of 32 bits, else, where
// that is empty, what this program was built for.
func Platform(kubelet string) v1.Platform {
	own := probe.OwnPlatform()
	if kubelet != "" && kubelet != own.Architecture {
		return v1.Platform{OS: own.OS, Architecture: kubelet}
	}
	return own
}

func (a *Agent) platform() v1.Platform { return Platform(a.snapshot.node.Load().Value.Architecture) }

func (a *Agent) runtimeName() string { return a.snapshot.runtime.Load().Value.Name }

// registriesOf names the registries that images came from, those of most images first. A digest that was not there before is a pull that worked.
func (a *Agent) registriesOf(images []*runtimeapi.Image) []string {
	from, digests := make(map[string]int), make(map[string]bool)
	for _, image := range images {
		// Containerd records a digest by a pull; a tag alone may have been imported under any name. CRI-O has digests of all.
		for _, name := range image.GetRepoDigests() {
			registry := pulls.PulledFrom(name)
			if registry == "" {
				continue
			}
			digests[name] = true
			if a.digests != nil && !a.digests[name] {
				a.registries.sawPull(registry, time.Now())
			}
			from[registry]++
		}
	}
	a.digests = digests
	return slices.SortedFunc(maps.Keys(from), func(x, y string) int { return cmp.Or(from[y]-from[x], strings.Compare(x, y)) })
}
