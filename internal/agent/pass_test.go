package agent

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/pkg/cri/critest"
)

// BenchmarkSteadyPass is what the agent does again and again on a large node: list 2,000 images and 250 containers, find what is unused and by
// whom the rest is used, look at the disks. The goal is 50 ms of CPU and 6 MiB. The runtime is a fake in this process: its part is counted too.
func BenchmarkSteadyPass(b *testing.B) {
	r := critest.Start(b, critest.Containerd2)
	var images []critest.Image
	for i := range 2000 {
		name := fmt.Sprintf("registry.example.com/team-%d/service-%d", i%50, i)
		images = append(images, critest.Image{
			ID: fmt.Sprintf("%064x", i+1), Tags: []string{name + ":1.2.3"}, Digests: []string{fmt.Sprintf("%s@sha256:%064x", name, i+1)}, Size: 1 << 26,
			OS: "linux", Architecture: "amd64",
		})
	}
	r.SetImages(images...)
	for i := range 250 {
		r.AddContainer(critest.Container{Namespace: "shop", Pod: fmt.Sprintf("web-%d", i), Name: "app", Image: images[i].Tags[0], Created: time.Now()})
	}
	dir := b.TempDir()
	r.SetImageFs(&runtimeapi.ImageFsInfoResponse{ImageFilesystems: []*runtimeapi.FilesystemUsage{{FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: dir}}}})
	a := New(Config{
		Settings: cri.Settings{RuntimeEndpoint: r.Endpoint(), Root: dir}, Log: slog.New(slog.DiscardHandler),
		Disk: DiskConfig{NodeDir: dir, KubeletFile: filepath.Join(dir, "none")},
	})
	defer a.runtime.close()
	pass := func() {
		if err := a.listImages(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := a.checkDisk(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	pass()
	for _, image := range images { // their platforms are asked for once, and not in each pass
		a.store.answered("sha256:"+image.ID, "linux/amd64")
	}
	b.ReportAllocs()
	for b.Loop() {
		pass()
	}
	if a.snapshot.images.Load().Value.Unused != 1750 || len(a.snapshot.images.Load().Value.WrongPlatform) != 0 {
		b.Errorf("%+v", a.snapshot.images.Load().Value)
	}
}
