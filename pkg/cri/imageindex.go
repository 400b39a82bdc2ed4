package cri

import (
	"cmp"
	"slices"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ImageIndex finds an image by what a container says of it: the image's ID
// without its algorithm, its digests and its tags.
type ImageIndex map[string]*runtimeapi.Image

// IndexImages indexes a list of images.
func IndexImages(images []*runtimeapi.Image) ImageIndex {
	index := make(ImageIndex, 3*len(images))
	for _, image := range images {
		index[bareID(image.GetId())] = image
		for _, name := range slices.Concat(image.GetRepoDigests(), image.GetRepoTags()) {
			index[name] = image
		}
	}
	return index
}

// Get finds an image by its ID, a digest or a tag; nil is not there.
func (index ImageIndex) Get(name string) *runtimeapi.Image { return index[bareID(name)] }

// Of is the image that a container was made from. The kubelet's garbage
// collection asks likewise: the image's ID, and where the runtime does not
// tell it (before CRI 1.30) the reference, which is an ID for containerd and
// may be a digest for CRI-O.
func (index ImageIndex) Of(c *runtimeapi.Container) *runtimeapi.Image {
	return index.Get(cmp.Or(c.GetImageId(), c.GetImageRef(), c.GetImage().GetImage()))
}

// bareID is an ID as CRI-O writes it, which containerd writes with the
// algorithm in front.
func bareID(id string) string { return strings.TrimPrefix(id, "sha256:") }
