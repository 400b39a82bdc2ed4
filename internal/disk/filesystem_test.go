package disk

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// imageFS is what a runtime says of where it keeps images, and containers where those are elsewhere.
func imageFS(images string, containers ...string) *runtimeapi.ImageFsInfoResponse {
	of := func(dir string) []*runtimeapi.FilesystemUsage {
		return []*runtimeapi.FilesystemUsage{{FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: dir}}}
	}
	r := &runtimeapi.ImageFsInfoResponse{ImageFilesystems: of(images)}
	for _, c := range containers {
		r.ContainerFilesystems = of(c)
	}
	return r
}

const (
	containerdDir = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs"
	crioImages    = "/data/root/overlay-images"
	crioLayers    = "/var/lib/containers/storage/overlay-containers"
	kubeletDir    = "/var/lib/kubelet"
)

// TestFind: the roles on the filesystems of nodes and pods as they are found.
func TestFind(t *testing.T) {
	denied := &os.PathError{Op: "statfs", Err: syscall.EACCES}
	missing := &os.PathError{Op: "statfs", Err: syscall.ENOENT}
	for _, test := range []struct {
		name   string
		mounts []string
		images *runtimeapi.ImageFsInfoResponse
		stat   map[string]error // of paths that cannot be asked
		want   []string         // mount point, type, device, roles
		unseen []string         // role: error
		layout Layout
	}{
		{
			name: "one filesystem for all", mounts: []string{"1 0 254:0 / / rw - ext4 /dev/vda rw"},
			images: imageFS(containerdDir), want: []string{"/ ext4 /dev/vda imagefs containerfs nodefs"}, layout: LayoutSingle,
		},
		{
			name:   "images and containers on their own",
			mounts: []string{"1 0 254:0 / / rw - ext4 /dev/vda rw", "2 1 254:16 / /var/lib/containerd rw shared:9 - xfs /dev/vdb rw"},
			images: imageFS(containerdDir), want: []string{"/var/lib/containerd xfs /dev/vdb imagefs containerfs", "/ ext4 /dev/vda nodefs"}, layout: LayoutDedicated,
		},
		{
			name:   "CRI-O with an image store of its own",
			mounts: []string{"1 0 254:0 / / rw - ext4 /dev/vda rw", "2 1 254:16 / /data rw - xfs /dev/vdb rw"},
			images: imageFS(crioImages, crioLayers), want: []string{"/data xfs /dev/vdb imagefs", "/ ext4 /dev/vda containerfs nodefs"}, layout: LayoutSplit,
		},
		{
			name: "CRI-O says the same twice", mounts: []string{"1 0 254:0 / / rw - ext4 /dev/vda rw"},
			images: imageFS(crioImages, crioImages), want: []string{"/ ext4 /dev/vda imagefs containerfs nodefs"}, layout: LayoutSingle,
		},
		{
			name: "three filesystems, for which the kubelet has no rules",
			mounts: []string{
				"1 0 254:0 / / rw - ext4 /dev/vda rw", "2 1 254:16 / /data rw - xfs /dev/vdb rw", "3 1 254:32 / /var/lib/containers rw - xfs /dev/vdc rw",
			},
			images: imageFS(crioImages, crioLayers),
			want:   []string{"/data xfs /dev/vdb imagefs", "/var/lib/containers xfs /dev/vdc containerfs", "/ ext4 /dev/vda nodefs"},
		},
		{
			name: "a pod with both directories of one host filesystem",
			mounts: []string{
				"9 8 0:77 / / ro - overlay overlay ro,lowerdir=/a:/b", "10 9 254:0 " + containerdDir + " " + containerdDir + " ro master:1 - ext4 /dev/vda rw",
				"11 9 254:0 /var/lib/kubelet/pods/x/volumes/empty /var/lib/kubelet rw - ext4 /dev/vda rw",
			},
			images: imageFS(containerdDir), want: []string{containerdDir + " ext4 /dev/vda imagefs containerfs nodefs"}, layout: LayoutSingle,
		},
		{
			name:   "a pod in which containerd's root cannot be entered",
			mounts: []string{"9 8 0:77 / / ro - overlay overlay ro", "10 9 254:16 / /var/lib/containerd ro - xfs /dev/vdb rw", "11 9 254:0 /x /var/lib/kubelet rw - ext4 /dev/vda rw"},
			images: imageFS(containerdDir), stat: map[string]error{containerdDir: denied},
			want: []string{"/var/lib/containerd xfs /dev/vdb imagefs containerfs", "/var/lib/kubelet ext4 /dev/vda nodefs"}, layout: LayoutDedicated,
		},
		{
			name:   "a pod without the directory of images",
			mounts: []string{"9 8 0:77 / / ro - overlay overlay ro", "11 9 254:0 /x /var/lib/kubelet rw - ext4 /dev/vda rw"},
			images: imageFS(containerdDir), stat: map[string]error{containerdDir: missing},
			want:   []string{"/var/lib/kubelet ext4 /dev/vda nodefs"},
			unseen: []string{"imagefs: it is not mounted here", "containerfs: it is not mounted here"},
		},
		{
			name: "a runtime that does not say", mounts: []string{"1 0 254:0 / / rw - ext4 /dev/vda rw"},
			want: []string{"/ ext4 /dev/vda nodefs"}, unseen: []string{"imagefs: did not say", "containerfs: did not say"},
		},
		{
			name: "a runtime that says nonsense", mounts: []string{"1 0 254:0 / / rw - ext4 /dev/vda rw"}, images: imageFS("../etc"),
			want: []string{"/ ext4 /dev/vda nodefs"}, unseen: []string{"imagefs: not an absolute path", "containerfs: not an absolute path"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			table := filepath.Join(t.TempDir(), "mountinfo")
			if err := os.WriteFile(table, []byte(strings.Join(test.mounts, "\n")+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			finder := Finder{Mountinfo: table, stat: func(name string) (numbers, error) { return numbers{100, 40, 10, 5}, test.stat[name] }}
			found := finder.Find(t.Context(), test.images, kubeletDir)
			var got, unseen []string
			for _, f := range found.Filesystems {
				line := f.Mountpoint + " " + f.Type + " " + f.Device
				for _, r := range f.Roles {
					line += " " + string(r)
				}
				got = append(got, line)
				if f.SizeBytes != 100 || f.AvailableBytes != 40 || f.UsedBytes() != 60 || f.Inodes != 10 || f.InodesFree != 5 {
					t.Errorf("%s has wrong numbers: %+v", f.Mountpoint, f)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("filesystems (-want +got):\n%s", diff)
			}
			for i, u := range found.Unseen {
				unseen = append(unseen, string(u.Role)+": "+u.Err.Error())
				if i >= len(test.unseen) || !strings.HasPrefix(unseen[i], test.unseen[i][:8]) || !strings.Contains(unseen[i], strings.SplitN(test.unseen[i], ": ", 2)[1]) {
					t.Errorf("unseen %q, want %q", unseen[i], test.unseen)
				}
				if errors.Is(u.Err, fs.ErrNotExist) != strings.Contains(Hint(u.Err), "hostPath") {
					t.Errorf("%v has the hint %q", u.Err, Hint(u.Err))
				}
			}
			if len(unseen) != len(test.unseen) || found.Layout != test.layout {
				t.Errorf("unseen %q, layout %q; want %q and %q", unseen, found.Layout, test.unseen, test.layout)
			}
		})
	}
}

// TestFindHere: on the machine that runs the test, with the real mount table, the numbers are those of statfs.
func TestFindHere(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	var finder Finder
	found := finder.Find(t.Context(), imageFS(link), dir)
	if len(found.Unseen) != 0 || len(found.Filesystems) != 1 || found.Layout != LayoutSingle {
		t.Fatalf("%+v", found)
	}
	var raw syscall.Statfs_t
	if err := syscall.Statfs(dir, &raw); err != nil {
		t.Fatal(err)
	}
	f := found.Filesystems[0]
	fragment := int64(raw.Frsize) //nolint:unconvert // of 32 bits on arm
	if want := int64(raw.Blocks) * fragment; f.SizeBytes != want || f.Inodes != int64(raw.Files) {
		t.Errorf("size %d, inodes %d; want %d, %d", f.SizeBytes, f.Inodes, want, raw.Files)
	}
	// Others write to this filesystem while the test runs.
	if off := math.Abs(float64(f.AvailableBytes - int64(raw.Bavail)*fragment)); off > 1<<30 || f.Type == "" || f.At.IsZero() {
		t.Errorf("available is off by %.0f: %+v", off, f)
	}
	if finder := (Finder{Mountinfo: filepath.Join(dir, "none")}); len(finder.Find(t.Context(), imageFS(link), dir).Unseen) != 3 {
		t.Error("seen without a mount table")
	}
}

// TestHanging: a filesystem whose server is dead costs 2 s once, and nothing while it hangs.
func TestHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := filepath.Join(t.TempDir(), "mountinfo")
		if err := os.WriteFile(table, []byte("1 0 254:0 / / rw - ext4 /dev/vda rw\n2 1 0:50 / /nfs rw - nfs4 server:/x rw\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		var asked atomic.Int32
		finder := Finder{Mountinfo: table, stat: func(name string) (numbers, error) {
			if name == "/nfs" {
				asked.Add(1)
				<-release
			}
			return numbers{size: 1}, nil
		}}
		begin := time.Now()
		for range 3 {
			if found := finder.Find(t.Context(), imageFS("/nfs"), "/"); len(found.Unseen) != 2 || len(found.Filesystems) != 1 {
				t.Fatalf("%+v", found)
			}
		}
		if took := time.Since(begin); took != statTimeout || asked.Load() != 1 {
			t.Errorf("took %s and asked %d times, want %s and once", took, asked.Load(), statTimeout)
		}
		close(release)
		synctest.Wait()
		if found := finder.Find(context.Background(), imageFS("/nfs"), "/"); len(found.Unseen) != 0 {
			t.Errorf("it came back and is not seen: %+v", found.Unseen)
		}
	})
}

// TestHolding: which mount holds a path, where mounts lie over each other.
func TestHolding(t *testing.T) {
	const table = `21 1 254:0 / / rw - ext4 /dev/vda rw
22 21 0:5 / /proc rw - proc proc rw
30 21 254:1 / /a rw shared:1 master:2 - xfs /dev/vdb rw
31 30 254:2 / /a/b rw - xfs /dev/vdc rw
32 21 254:3 / /c rw - xfs /dev/vdd rw
33 32 254:4 / /c/d rw - xfs /dev/vde rw
34 32 254:5 / /c rw - xfs /dev/vdf rw
35 21 254:6 / /with\040space\134 rw - xfs /dev/vdg rw
36 35 254:7 / /a rw - xfs /dev/stray rw
this line is none
`
	mounts, err := parseMounts(strings.NewReader(table))
	if err != nil || len(mounts) != 9 {
		t.Fatalf("%d mounts, %v", len(mounts), err)
	}
	for name, want := range map[string]string{
		"/": "/dev/vda", "/x": "/dev/vda", "/ab": "/dev/vda", "/a": "/dev/vdb", "/a/bc": "/dev/vdb", "/a/b": "/dev/vdc", "/a/b/c": "/dev/vdc",
		"/c": "/dev/vdf", "/c/d": "/dev/vdf" /* mounted over */, `/with space\/x`: "/dev/vdg",
	} {
		if m, ok := mounts.holding(name); !ok || m.source != want {
			t.Errorf("%s is held by %q, want %q", name, m.source, want)
		}
	}
	for _, nothing := range []string{"", "21 1 254:0 / / rw ext4 /dev/vda rw\n", "1 2 3\n", strings.Repeat("x", 2*longestMount)} {
		if _, err := parseMounts(strings.NewReader(nothing)); err == nil {
			t.Errorf("%.20q is a mount table", nothing)
		}
	}
}

func FuzzMountinfo(f *testing.F) {
	f.Add("21 1 254:0 / / rw - ext4 /dev/vda rw\n22 21 0:5 / /a\\040b rw shared:1 - proc proc rw\n", "/a b/c")
	f.Add("1 1 0:1 / / - a b\n1 1 0:1 / / - a b\n", "/")
	f.Fuzz(func(t *testing.T, table, name string) {
		mounts, err := parseMounts(strings.NewReader(table))
		if err != nil {
			return
		}
		if m, ok := mounts.holding(name); ok && !within(name, m.point) && m.point != "/" {
			t.Errorf("%q is held by %q", name, m.point)
		}
	})
}
