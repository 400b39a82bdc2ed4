package agent

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// failedWithin spreads the questions about an image that begins to fail. A bad tag rolled out to a fleet fails on every node in the same
	// minute; a person who does not want to wait types `pullwatch probe IMAGE`.
	failedWithin = 10 * time.Minute
	// mostImages bounds the images that are known to the plan.
	mostImages = 500
)

// imagePlan decides which image is asked for when. Of the images in use one of each registry is asked for in each interval, in turn, so that
// a node costs a registry the same however many images it runs. It is owned by one goroutine.
type imagePlan struct {
	interval time.Duration
	between  time.Duration // two questions to one registry, at least
	images   map[string]*plannedImage
	turns    map[string]*turn // of registries
}

// plannedImage is one image, by the name that is asked for.
type plannedImage struct {
	registry string
	failing  bool
	asked    time.Time // when last
	next     time.Time // of one that fails
}

type turn struct {
	last time.Time // when an image of the registry was asked for
	next time.Time // when one of those in use is
	left time.Time // until when the registry wants to be left alone
}

func newImagePlan(interval time.Duration) *imagePlan {
	return &imagePlan{interval: interval, between: min(leastBetween, interval), images: make(map[string]*plannedImage), turns: make(map[string]*turn)}
}

// want names the images to ask for with their registries: those in use, and those that cannot be pulled.
func (p *imagePlan) want(used, failing map[string]string, now time.Time) {
	maps.DeleteFunc(p.images, func(name string, _ *plannedImage) bool { return used[name] == "" && failing[name] == "" })
	registries := make(map[string]bool)
	for _, of := range []map[string]string{failing, used} {
		for name, registry := range of {
			image := p.images[name]
			if image == nil {
				if len(p.images) == mostImages {
					continue
				}
				image = &plannedImage{registry: registry}
				p.images[name] = image
			}
			registries[registry] = true
			if fails := failing[name] != ""; fails != image.failing {
				image.failing = fails
				image.next = now.Add(rand.N(min(failedWithin, p.interval)))
			}
		}
	}
	maps.DeleteFunc(p.turns, func(registry string, _ *turn) bool { return !registries[registry] })
	for registry := range registries {
		if p.turns[registry] == nil {
			p.turns[registry] = &turn{next: now.Add(rand.N(p.interval))}
		}
	}
}

// due takes the image whose time has come. deep is for one that fails: everything about it is asked.
func (p *imagePlan) due(now time.Time) (name string, deep, ok bool) {
	names := slices.SortedFunc(maps.Keys(p.images), func(a, b string) int {
		return cmp.Or(p.images[a].asked.Compare(p.images[b].asked), cmp.Compare(a, b))
	})
	for _, name := range names { // the one asked longest ago first
		image := p.images[name]
		of := p.turns[image.registry]
		if now.Before(of.left) || now.Sub(of.last) < p.between && !of.last.IsZero() {
			continue
		}
		switch {
		case image.failing && !image.next.After(now):
			image.next = now.Add(p.interval)
		case !image.failing && !of.next.After(now):
			of.next = now.Add(p.interval + rand.N(p.interval/5+1))
		default:
			continue
		}
		of.last, image.asked = now, now
		return name, image.failing, true
	}
	return "", false, false
}

// sooner has an image that fails asked for within failedWithin, unless it is to be anyway.
func (p *imagePlan) sooner(name string, now time.Time) {
	within := min(failedWithin, p.interval)
	if image := p.images[name]; image != nil && image.failing && image.next.After(now.Add(within)) {
		image.next = now.Add(rand.N(within))
	}
}

// leave has the images of a registry left alone, as it asked.
func (p *imagePlan) leave(registry string, until time.Time) {
	if of := p.turns[registry]; of != nil && of.left.Before(until) {
		of.left = until
	}
}
