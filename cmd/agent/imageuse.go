package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/pkg/cri"
)

// Of each image the runtime is asked for its configuration, which no list tells: so many at once, and all of them in so long.
const (
	configCalls    = 8
	configPatience = 5 * time.Second
)

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

// imageConfigs asks for the configuration of each image. What cannot be told is empty; the error is one of those that kept it so.
func imageConfigs(ctx context.Context, client *cri.Client, images []*runtimeapi.Image) (each []cri.ImageConfig, err error) {
	ctx, cancel := context.WithTimeout(ctx, configPatience)
	defer cancel()
	each = make([]cri.ImageConfig, len(images))
	var group errgroup.Group
	group.SetLimit(configCalls)
	for i, image := range images {
		group.Go(func() error {
			_, info, err := client.ImageStatus(ctx, image.GetId(), true)
			each[i] = cri.ReadImageConfig(info)
			return err // the others go on: the group has no context of its own
		})
	}
	return each, group.Wait()
}
