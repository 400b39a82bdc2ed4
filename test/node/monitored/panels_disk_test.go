package monitored

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pullwatch/pullwatch/test/node"
)

// The settings of fullDisk's kubelet.
const (
	gcHigh, gcLow = 40, 30
	hardMiB       = 100
	softMiB       = 110
	nodeMiB       = 1
	hardInodes    = 16
)

// fullDisk is a node whose images have a filesystem of their own that fillDisk makes fuller than any threshold allows. Its kubelet has no figures of
// filesystems, as all of the harness that do not ask for them, so that it evicts nothing and images stay.
var fullDisk = node.Options{
	SmallDiskMiB: 128,
	KubeletConfig: map[string]any{
		"imageGCHighThresholdPercent": gcHigh, "imageGCLowThresholdPercent": gcLow, "imageMinimumGCAge": "1s",
		"evictionHard": map[string]string{
			"imagefs.available": fmt.Sprintf("%dMi", hardMiB), "imagefs.inodesFree": fmt.Sprint(hardInodes),
			"nodefs.available": fmt.Sprintf("%dMi", nodeMiB), "nodefs.inodesFree": fmt.Sprint(hardInodes),
		},
		"evictionSoft":            map[string]string{"imagefs.available": fmt.Sprintf("%dMi", softMiB)},
		"evictionSoftGracePeriod": map[string]string{"imagefs.available": "1h"},
	},
}

// foreignTag is an image of another platform.
const foreignTag = "shop/foreign:1"

func imageDir(n *node.Node) string { return filepath.Join(n.Dir, "containerd") }

func fillDisk(ctx context.Context, n *node.Node) error {
	return exec.CommandContext(ctx, "fallocate", "-l", "48MiB", filepath.Join(imageDir(n), "somebody-elses-file")).Run()
}

// filesystem is what statfs says of a directory's.
type filesystem struct{ size, available, inodesFree float64 }

func statFilesystem(dir string) (filesystem, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return filesystem{}, err
	}
	return filesystem{float64(s.Blocks) * float64(s.Frsize), float64(s.Bavail) * float64(s.Frsize), float64(s.Ffree)}, nil
}

// diskWants are the panels of disks on a node that fullDisk and fillDisk made, with an image of another platform that runs, and one that was pulled
// again, which is the same. The bounds are those of a time of now, in milliseconds.
func diskWants(ctx context.Context, n *node.Node, begun, now float64) (map[string][]want, error) {
	images, err := statFilesystem(imageDir(n))
	if err != nil {
		return nil, err
	}
	others, err := statFilesystem(filepath.Join(n.Dir, "kubelet"))
	if err != nil {
		return nil, err
	}
	// The runtime writes its own files between two looks, and the machine's disk is everybody's.
	const slack = 1 << 20
	near := func(value, slack float64, labels ...string) want { return between(value-slack, value+slack, labels...) }
	unused, unusedBytes, err := unusedImages(ctx, n)
	if err != nil {
		return nil, err
	}
	usage := 1 - images.available/images.size
	headed := []want{between(begun, now, "filesystem", "imagefs", "threshold", "image_gc_high")}
	for _, threshold := range []string{"eviction_hard", "eviction_soft"} {
		headed = append(headed, between(begun, now, "filesystem", "imagefs", "threshold", threshold))
	}
	return map[string][]want{
		"fleet: Where disks are heading":    headed,
		"fleet: Fullest image filesystems":  {between(usage-0.01, usage+0.02, "node", n.NodeName)},
		"fleet: Findings":                   {is(1, "finding", "gc_meets_eviction"), is(1, "finding", "sandbox_image_not_pinned")},
		"fleet: Images of another platform": {is(1, "node", n.NodeName)},
		"fleet: Images pulled again":        {between(1, 1.1, "node", n.NodeName)},
		"node: Free space A":                {near(images.available, slack, "filesystem", "imagefs"), near(others.available, others.size/5, "filesystem", "nodefs")},
		"node: Free space B": {
			is(hardMiB<<20, "signal", "imagefs.available", "kind", "hard"), is(softMiB<<20, "signal", "imagefs.available", "kind", "soft"),
			is(nodeMiB<<20, "signal", "nodefs.available", "kind", "hard"),
		},
		"node: Free inodes A": {near(images.inodesFree, 200, "filesystem", "imagefs"), near(others.inodesFree, others.inodesFree/5, "filesystem", "nodefs")},
		"node: Free inodes B": {
			is(hardInodes, "signal", "imagefs.inodesFree", "kind", "hard"), is(hardInodes, "signal", "nodefs.inodesFree", "kind", "hard"),
		},
		"node: Image filesystem A":                               {between(usage-0.01, usage+0.02)}, // the kubelet rounds up
		"node: Image filesystem B":                               {is(gcHigh / 100.0)},
		"node: Image filesystem C":                               {is(gcLow / 100.0)},
		"node: Garbage collection A":                             {near(images.size*(100-gcLow)/100-images.available, slack)},
		"node: Garbage collection B":                             {is(unusedBytes)},
		"node: Where disks are heading":                          headed,
		"node: Images":                                           {is(float64(unused + 1))},
		"node: Images nobody uses, images of another platform A": {is(float64(unused))},
		"node: Images nobody uses, images of another platform B": {is(1)},
		"node: Pressure":                                         {between(0, 1, "resource", "cpu"), between(0, 1, "resource", "memory"), between(0, 1, "resource", "io")},
		"node: Sandbox image A":                                  {is(1)},
		"node: Sandbox image B":                                  {is(0)}, // Debian's containerd pins none
		"node: Filesystems A": {
			is(1, "filesystem", "imagefs", "mountpoint", imageDir(n), "fstype", "ext4", "roles", "imagefs,containerfs"), is(1, "filesystem", "nodefs", "roles", "nodefs"),
		},
		"node: Filesystems B": {is(1, "source", "file")},
	}, nil
}

// unusedImages are those of this node that no container has: how many, and how much was downloaded of them as their registry tells. The sandboxes'
// is one of them, since the kubelet does not count sandboxes.
func unusedImages(ctx context.Context, n *node.Node) (count int, bytes float64, err error) {
	sandbox := strings.TrimPrefix(n.SandboxImage(), n.RegistryAddr()+"/")
	for _, repoTag := range append([]string{sandbox}, node.ExampleImages...) {
		image, err := n.Registry().Get(ctx, repoTag)
		if err != nil {
			return 0, 0, err
		}
		manifest, err := image.Manifest()
		if err != nil {
			return 0, 0, err
		}
		size, err := image.Size() // of the manifest
		if err != nil {
			return 0, 0, err
		}
		size += manifest.Config.Size
		for _, layer := range manifest.Layers {
			size += layer.Size
		}
		count, bytes = count+1, bytes+float64(size)
	}
	return count, bytes, nil
}
