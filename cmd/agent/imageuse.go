package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/pkg/cri"
)

// Of each image the runtime is asked for its platform, which no list tells: so many at once, and all of them in so long.
const (
	platformCalls    = 8
	platformPatience = 5 * time.Second
)

// imageIndex finds an image by what a container says of it: the image's ID without algorithm, its digests and its tags.
type imageIndex map[string]*runtimeapi.Image

func indexImages(images []*runtimeapi.Image) imageIndex {
	index := make(imageIndex, 3*len(images))
	for _, image := range images {
		index[bareID(image.GetId())] = image
		for _, name := range slices.Concat(image.GetRepoDigests(), image.GetRepoTags()) {
			index[name] = image
		}
	}
	return index
}

// of is the image that a container was made from. The kubelet's garbage collection asks likewise: the image's ID, and where the runtime
// does not tell it (before CRI 1.30) the reference, which is an ID for containerd and may be a digest for CRI-O.
func (index imageIndex) of(c *runtimeapi.Container) *runtimeapi.Image {
	return index[bareID(cmp.Or(c.GetImageId(), c.GetImageRef(), c.GetImage().GetImage()))]
}

// bareID is an ID as CRI-O writes it, which containerd writes with the algorithm in front.
func bareID(id string) string { return strings.TrimPrefix(id, "sha256:") }

// usersOf gives for the ID of each image the pods that have a container of it, running or not, in the order of the alphabet.
func usersOf(images []*runtimeapi.Image, containers []*runtimeapi.Container) map[string][]string {
	index, users := indexImages(images), make(map[string][]string)
	for _, c := range containers {
		if image := index.of(c); image != nil {
			namespace, pod := podOf(c.GetLabels())
			users[image.GetId()] = append(users[image.GetId()], namespace+"/"+pod)
		}
	}
	for id, pods := range users {
		slices.Sort(pods)
		users[id] = slices.Compact(pods)
	}
	return users
}

// usedBy is who uses an image, in a few words.
func usedBy(image *runtimeapi.Image, pods []string) string {
	switch {
	case len(pods) > 1:
		return fmt.Sprintf("%s +%d", pods[0], len(pods)-1)
	case len(pods) == 1:
		return pods[0]
	case image.GetPinned():
		return "pinned"
	}
	return ""
}

// platform is what an image was built for, as os/architecture or os/architecture/variant, from verbose information. It is empty where that
// does not say.
func platform(info map[string]string) string {
	system, architecture, variant := cri.Platform(info)
	if system == "" || architecture == "" {
		return ""
	}
	return strings.TrimSuffix(system+"/"+architecture+"/"+variant, "/")
}

// platforms asks for the platform of each image. What cannot be told is empty; the error is one of those that kept it so.
func platforms(ctx context.Context, client *cri.Client, images []*runtimeapi.Image) (each []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, platformPatience)
	defer cancel()
	each = make([]string, len(images))
	var group errgroup.Group
	group.SetLimit(platformCalls)
	for i, image := range images {
		group.Go(func() error {
			_, info, err := client.ImageStatus(ctx, image.GetId(), true)
			each[i] = platform(info)
			return err // the others go on: the group has no context of its own
		})
	}
	return each, group.Wait()
}
