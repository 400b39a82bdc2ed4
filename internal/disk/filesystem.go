package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v3/disk"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Role is what the kubelet uses a filesystem for, in its own words.
type Role string

// The roles. The writable layers of containers lie on the containerfs; logs and emptyDirs on the nodefs.
const (
	ImageFS     Role = "imagefs"
	ContainerFS Role = "containerfs"
	NodeFS      Role = "nodefs"
)

// Roles are those of one filesystem, the imagefs first.
type Roles []Role

// Has tells whether a role is among them.
func (all Roles) Has(r Role) bool { return slices.Contains(all, r) }

// Names are the roles as plain text.
func (all Roles) Names() []string {
	names := make([]string, len(all))
	for i, r := range all {
		names[i] = string(r)
	}
	return names
}

// Filesystem is one filesystem that matters to images, as the kubelet counts it.
type Filesystem struct {
	Roles      Roles
	Path       string // the directory that it was found by
	Mountpoint string // of the mount that holds Path, as this process sees it
	Type       string // ext4, xfs, overlay
	Device     string // what is mounted: /dev/vda1
	// SizeBytes and AvailableBytes are statfs' blocks and those free to a user who is not root, times the fragment size: cadvisor's capacity
	// and available (google/cadvisor fs/fs.go, getVfsStats).
	SizeBytes, AvailableBytes int64
	// Inodes is 0 where the filesystem does not count them, as btrfs.
	Inodes, InodesFree int64
	At                 time.Time

	number string // of the device, as major:minor
}

// UsedBytes is what others cannot have, the blocks reserved for root included.
func (f *Filesystem) UsedBytes() int64 { return f.SizeBytes - f.AvailableBytes }

// Layout is how the roles are spread over filesystems.
type Layout string

// The layouts that the kubelet tells apart (pkg/kubelet/eviction/helpers.go). The empty one is not known.
const (
	LayoutSingle    Layout = "single"    // everything on one filesystem
	LayoutDedicated Layout = "dedicated" // images and containers on one of their own
	LayoutSplit     Layout = "split"     // images on one of their own, containers with the nodefs
)

// Found is what was seen of the filesystems.
type Found struct {
	Filesystems []Filesystem // each once, that of images first
	Unseen      []Unseen
	Layout      Layout
}

// Of is the filesystem of a role; nil where it was not seen.
func (f *Found) Of(r Role) *Filesystem {
	for i := range f.Filesystems {
		if f.Filesystems[i].Roles.Has(r) {
			return &f.Filesystems[i]
		}
	}
	return nil
}

// Unseen is a filesystem that could not be looked at. Its Err may have a hint; see [Hint].
type Unseen struct {
	Role Role
	Path string
	Err  error
}

// Hint is what to do about an error of this package; empty where nothing is known.
func Hint(err error) string {
	var with interface{ Hint() string }
	if errors.As(err, &with) {
		return with.Hint()
	}
	return ""
}

// hinted is an error with what to do about it.
type hinted struct {
	error
	hint string
}

func (e *hinted) Hint() string  { return e.hint }
func (e *hinted) Unwrap() error { return e.error }

// statTimeout bounds the wait for one filesystem, as in cadvisor: a dead NFS server never answers.
const statTimeout = 2 * time.Second

// Finder finds the filesystems. The zero Finder looks at this process's own mounts. It is safe for concurrent use.
type Finder struct {
	// Mountinfo is the mount table; empty is /proc/self/mountinfo.
	Mountinfo string

	stat func(name string) (numbers, error) // nil is the real thing

	mu      sync.Mutex
	hanging map[string]bool // paths that statfs has not come back from
}

// numbers are what statfs says.
type numbers struct{ size, available, inodes, inodesFree int64 }

// Find looks at the filesystems of the runtime's images and containers, and of nodeDir, a directory on the kubelet's. In a pod nodeDir is an
// emptyDir of its own, which lies there. images is nil where the runtime did not say.
//
// The kubelet takes the first image filesystem that is told (pkg/kubelet/stats/cri_stats_provider.go), and so does this.
func (f *Finder) Find(ctx context.Context, images *runtimeapi.ImageFsInfoResponse, nodeDir string) Found {
	var found Found
	table, err := readMounts(cmp.Or(f.Mountinfo, "/proc/self/mountinfo"))
	look := func(name string, roles ...Role) {
		if err != nil {
			for _, r := range roles {
				found.Unseen = append(found.Unseen, Unseen{r, name, err})
			}
			return
		}
		fsys, err := f.look(ctx, table, name)
		if err != nil {
			for _, r := range roles {
				found.Unseen = append(found.Unseen, Unseen{r, name, err})
			}
			return
		}
		found.add(fsys, roles)
	}

	imageDir := mountpoint(images.GetImageFilesystems())
	containerDir := cmp.Or(mountpoint(images.GetContainerFilesystems()), imageDir) // containerd never tells one of containers
	switch {
	case imageDir == "":
		untold := errors.New("the runtime did not say where it keeps images")
		found.Unseen = append(found.Unseen, Unseen{ImageFS, "", untold}, Unseen{ContainerFS, "", untold})
	case containerDir == imageDir:
		look(imageDir, ImageFS, ContainerFS)
	default:
		look(imageDir, ImageFS)
		look(containerDir, ContainerFS)
	}
	look(nodeDir, NodeFS)
	found.Layout = found.layout()
	return found
}

func mountpoint(told []*runtimeapi.FilesystemUsage) string {
	if len(told) == 0 {
		return ""
	}
	return told[0].GetFsId().GetMountpoint()
}

// add takes a filesystem up once, whatever names it has.
func (f *Found) add(fsys Filesystem, roles []Role) {
	for i := range f.Filesystems {
		if f.Filesystems[i].number == fsys.number {
			f.Filesystems[i].Roles = append(f.Filesystems[i].Roles, roles...)
			return
		}
	}
	fsys.Roles = roles
	f.Filesystems = append(f.Filesystems, fsys)
}

// layout compares filesystems as the kubelet compares their devices. Containers on a third one are a layout that it has no rules for.
func (f *Found) layout() Layout {
	images, containers, node := f.Of(ImageFS), f.Of(ContainerFS), f.Of(NodeFS)
	switch {
	case images == nil || containers == nil || node == nil:
		return ""
	case images == node && containers == node:
		return LayoutSingle
	case images == containers:
		return LayoutDedicated
	case containers == node:
		return LayoutSplit
	}
	return ""
}

// look finds the filesystem that holds a directory. Where the directory itself is not to be seen for want of rights, since the root of
// containerd is 0700, its mount point stands for it.
func (f *Finder) look(ctx context.Context, table mounts, name string) (Filesystem, error) {
	if !path.IsAbs(name) {
		return Filesystem{}, fmt.Errorf("look at filesystem of %q: not an absolute path", name)
	}
	resolved := resolve(path.Clean(name))
	held, ok := table.holding(resolved)
	if !ok {
		return Filesystem{}, fmt.Errorf("look at filesystem of %s: no mount holds it", name)
	}
	n, err := f.ask(ctx, resolved)
	if errors.Is(err, fs.ErrPermission) {
		n, err = f.ask(ctx, held.point)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && held.point == "/":
		return Filesystem{}, &hinted{
			fmt.Errorf("look at filesystem of %s: it is not mounted here: %w", name, err),
			fmt.Sprintf("Mount the host's %s into the agent's pod: a hostPath volume, read-only, at the same path, with mountPropagation HostToContainer.", name),
		}
	case err != nil:
		return Filesystem{}, fmt.Errorf("look at filesystem of %s: %w", name, err)
	}
	return Filesystem{
		Path: name, Mountpoint: held.point, Type: held.fstype, Device: held.source, number: held.device,
		SizeBytes: n.size, AvailableBytes: n.available, Inodes: n.inodes, InodesFree: n.inodesFree, At: time.Now(),
	}, nil
}

// resolve follows symbolic links as far as they can be read. What is below a directory that cannot be entered is taken as it is: it is the
// runtime's own, which puts no links there.
func resolve(name string) string {
	rest := ""
	for at := name; ; {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return path.Join(real, rest)
		}
		up, ok := parent(at)
		if !ok {
			return name
		}
		rest, at = path.Join(path.Base(at), rest), up
	}
}

// ask is statfs that does not wait for ever. One that hangs is not asked again until it comes back.
func (f *Finder) ask(ctx context.Context, name string) (numbers, error) {
	stat := f.stat
	if stat == nil {
		stat = statfs
	}
	f.mu.Lock()
	hangs := f.hanging[name]
	f.mu.Unlock()
	if hangs {
		return numbers{}, fmt.Errorf("statfs %s still hangs", name)
	}
	var (
		n    numbers
		err  error
		back = make(chan struct{})
	)
	go func() {
		n, err = stat(name)
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.hanging, name)
		close(back)
	}()
	ctx, cancel := context.WithTimeout(ctx, statTimeout)
	defer cancel()
	select {
	case <-back:
		return n, err
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-back: // just now
	default:
		if f.hanging == nil {
			f.hanging = make(map[string]bool)
		}
		f.hanging[name] = true
	}
	return numbers{}, fmt.Errorf("statfs %s: %w", name, ctx.Err())
}

// statfs counts as cadvisor does, in fragments. gopsutil counts in blocks, which is another number on some network filesystems.
func statfs(name string) (numbers, error) {
	usage, err := disk.Usage(name)
	if err != nil {
		return numbers{}, err
	}
	var raw unix.Statfs_t
	if err := unix.Statfs(name, &raw); err != nil {
		return numbers{}, err
	}
	fragments := func(bytes uint64) int64 {
		if block, fragment := uint64(raw.Bsize), uint64(raw.Frsize); fragment != 0 && fragment != block && block != 0 {
			bytes = bytes / block * fragment
		}
		return clamp(bytes)
	}
	return numbers{fragments(usage.Total), fragments(usage.Free), clamp(usage.InodesTotal), clamp(usage.InodesFree)}, nil
}

func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
