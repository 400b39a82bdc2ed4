package filled

import (
	"context"
	"errors"
	"fmt"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/internal/disk"
)

// observe has Pullwatch's tracker look at the images, as the agent does all the time.
func (l *lab) observe(ctx context.Context, minimumAge time.Duration) (*disk.Unused, error) {
	images, err := l.runtime.ListImages(ctx)
	if err != nil {
		return nil, err
	}
	containers, err := l.runtime.ListContainers(ctx)
	if err != nil {
		return nil, err
	}
	return l.tracker.Observe(images, containers, nil, minimumAge, time.Now()), nil
}

// said is what Pullwatch says of the disk now, by the names that the kubelet's figures have.
func (l *lab) said(ctx context.Context, settings *disk.Settings) (figures, error) {
	var told *runtimeapi.ImageFsInfoResponse
	told, err := l.runtime.ImageFsInfo(ctx)
	if err != nil {
		return nil, err
	}
	found := l.finder.Find(ctx, told, l.kubeletDir)
	images := found.Of(disk.ImageFS)
	if images == nil {
		return nil, fmt.Errorf("the filesystem of images was not seen: %v", found.Unseen)
	}
	unused, err := l.observe(ctx, settings.MinimumAge.Value)
	if err != nil {
		return nil, err
	}
	gc := disk.NewGC(images, settings, unused)
	f := figures{
		"sizeBytes": images.SizeBytes, "availableBytes": images.AvailableBytes, "inodes": images.Inodes, "inodesFree": images.InodesFree,
		"usedPercent": int64(gc.UsedPercent), "highPercent": int64(gc.HighPercent), "lowPercent": int64(gc.LowPercent),
		"wantedBytes": gc.WantedBytes, "reclaimableBytes": gc.ReclaimableBytes,
	}
	if fs := found.Of(disk.Role(l.fs)); fs != nil {
		for signal, is := range map[string][2]int64{"available": {fs.AvailableBytes, fs.SizeBytes}, "inodesFree": {fs.InodesFree, fs.Inodes}} {
			signal = l.fs + "." + signal
			f[signal], f[signal+capacity] = is[0], is[1]
		}
	}
	for _, s := range disk.Standings(&found, settings) {
		f[string(s.Signal)+below] = s.At
	}
	return f, nil
}

// settings are those that Pullwatch reads from the kubelet that runs.
func (l *lab) settings(ctx context.Context) (*disk.Settings, error) {
	s, err := l.configz.Read(ctx, "")
	if err == nil && s.Assumed() {
		err = errors.New("the kubelet's settings are assumed")
	}
	return &s, err
}
