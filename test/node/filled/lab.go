package filled

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"golang.org/x/sys/unix"

	"github.com/pullwatch/pullwatch/test/node"
)

// lab is one disk with its node.
type lab struct {
	*node.Node
	root       string // containerd's, which is where the disk is mounted
	config     map[string]any
	asks       *asks
	bin        string // Pullwatch
	kubeletDir string
	fs         string  // what the kubelet calls the disk when it evicts
	entered    []image // of the case that is tried
}

// oneByOne has nodes come up one after the other: they are quick alone, and time out together.
var oneByOne sync.Mutex

// newLab brings the node up, with its kubelet stopped.
func newLab(ctx context.Context, d *Disk, out io.Writer) (*lab, error) {
	oneByOne.Lock()
	defer oneByOne.Unlock()
	dir, err := os.MkdirTemp("/tmp", "pullwatch-test-")
	if err != nil {
		return nil, err
	}
	o := node.Options{
		Dir: dir, Containerd: d.Containerd, SmallDiskMiB: d.MiB, SmallDiskMkfs: d.Mkfs, Out: out,
		// From 3 on the log has what the eviction manager compares.
		KubeletFlags: []string{"--v=3"},
		KubeletConfig: map[string]any{
			// Off is for nodes that have no statistics of disks: image garbage collection and eviction then do nothing.
			"localStorageCapacityIsolation": true,
			// Long enough for the Node to be written with it, which happens every 10 s.
			"evictionPressureTransitionPeriod": "40s",
			// Pullwatch asks it at the address that the Node tells, which is never one of loopback.
			"address": "0.0.0.0",
		},
	}
	fs, kubeletDir := "imagefs", filepath.Join(dir, "kubelet")
	if d.Single {
		fs = "nodefs"
		kubeletDir = filepath.Join(dir, "containerd", "kubelet")
		o.KubeletFlags = append(o.KubeletFlags, "--root-dir="+kubeletDir)
	}
	n, err := node.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	l := &lab{Node: n, root: filepath.Join(dir, "containerd"), fs: fs, kubeletDir: kubeletDir}
	err = n.StopKubelet()
	if err == nil {
		err = l.readConfig()
	}
	if err == nil {
		l.asks, err = newAsks(n)
	}
	if err == nil {
		l.bin, err = filepath.Abs("../../../bin/pullwatch")
	}
	if err == nil {
		_, err = os.Stat(l.bin)
	}
	if err != nil {
		return nil, errors.Join(err, n.Down())
	}
	return l, nil
}

func (l *lab) configFile() string { return filepath.Join(l.Dir, "kubelet", "config.json") }

func (l *lab) readConfig() error {
	text, err := os.ReadFile(l.configFile())
	if err != nil {
		return err
	}
	return json.Unmarshal(text, &l.config)
}

func (l *lab) startKubelet(ctx context.Context) error { return l.Restart(ctx, node.PartKubelet) }

// configure writes the kubelet's configuration: the lab's, with settings on top.
func (l *lab) configure(settings map[string]any) error {
	config := maps.Clone(l.config)
	maps.Copy(config, settings)
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(l.configFile(), text, 0o600)
}

// pull has containerd pull images, without the kubelet.
func (l *lab) pull(ctx context.Context, list []image) error {
	for _, i := range list {
		ref, err := i.push(ctx, l.Registry())
		if err == nil {
			err = l.PullImage(ctx, ref)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// run has the used ones of images run as pods.
func (l *lab) run(ctx context.Context, list []image) error {
	for _, i := range list {
		if !i.used {
			continue
		}
		if _, err := l.CreatePod(ctx, l.Pod(i.name, l.Registry().Ref(i.tag()))); err != nil {
			return err
		}
	}
	for _, i := range list {
		if !i.used {
			continue
		}
		if err := l.WaitRunning(ctx, metav1.NamespaceDefault, i.name); err != nil {
			return err
		}
	}
	return nil
}

// clear takes away what a case leaves, and stops the kubelet.
func (l *lab) clear(ctx context.Context) error {
	pods, err := l.Pods(ctx)
	if err != nil {
		return err
	}
	for _, p := range pods {
		if err := l.DeletePod(ctx, p.Namespace, p.Name); err != nil {
			return err
		}
	}
	// The kubelet leaves dead ones for a minute, and they keep their images.
	if err := errors.Join(l.StopKubelet(), l.RemoveSandboxes()); err != nil {
		return err
	}
	ballast, err := filepath.Glob(filepath.Join(l.root, "ballast*"))
	for _, file := range ballast {
		err = errors.Join(err, os.RemoveAll(file))
	}
	err = errors.Join(err, l.RemoveImage(ctx, l.SandboxImage()))
	for _, i := range l.entered {
		err = errors.Join(err, l.RemoveImage(ctx, l.Registry().Ref(i.tag())))
	}
	l.entered = nil
	if err == nil { // containerd removes what no image needs a moment later
		_, err = l.freeze(ctx, 5*time.Second)
	}
	return err
}

// write fills the disk up to what is to be left of it, once what is still in memory has its blocks: XFS keeps more for it than it takes.
func (l *lab) write(ctx context.Context, f fill) error {
	is, err := l.freeze(ctx, time.Second)
	if err != nil {
		return err
	}
	if f.LeaveMiB > 0 {
		file, err := os.Create(filepath.Join(l.root, "ballast"))
		if err != nil {
			return err
		}
		size := is["availableBytes"] - int64(f.LeaveMiB)<<20
		if err := errors.Join(unix.Fallocate(int(file.Fd()), 0, 0, size), file.Close()); err != nil {
			return fmt.Errorf("take %d of %d bytes: %w", size, is["availableBytes"], err)
		}
	}
	if f.LeaveInodes > 0 {
		dir := filepath.Join(l.root, "ballast-files")
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		for i := range is["inodesFree"] - int64(f.LeaveInodes) - 1 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// statfs is what the kernel says of the disk, counted as cadvisor does (fs/fs.go, getVfsStats).
func (l *lab) statfs() (figures, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(l.root, &s); err != nil {
		return nil, fmt.Errorf("statfs %s: %w", l.root, err)
	}
	return figures{
		"sizeBytes": int64(s.Blocks) * s.Frsize, "availableBytes": int64(s.Bavail) * s.Frsize,
		"inodes": int64(s.Files), "inodesFree": int64(s.Ffree),
	}, nil
}

// stale is how old the kubelet's figures of a filesystem may be: cadvisor looks every 15 s at the latest, containerd's snapshots every 10.
const stale = 20 * time.Second

// freeze waits until the disk has not changed for a while.
func (l *lab) freeze(ctx context.Context, while time.Duration) (figures, error) {
	unix.Sync() // what is still in memory has its blocks counted anew when it is written
	last, err := l.statfs()
	since := time.Now()
	for deadline := time.Now().Add(while + time.Minute); err == nil && time.Since(since) < while; {
		if time.Now().After(deadline) {
			return last, errors.New("the disk does not come to rest")
		}
		if err := node.Sleep(ctx, 200*time.Millisecond); err != nil {
			return last, err
		}
		var now figures
		now, err = l.statfs()
		if !maps.Equal(now, last) {
			last, since = now, time.Now()
		}
	}
	return last, err
}

// hold stops the kubelet in the middle of whatever it does, and lets it go on.
func (l *lab) hold(yes bool) error {
	if yes {
		return l.Signal(node.PartKubelet, syscall.SIGSTOP)
	}
	return l.Signal(node.PartKubelet, syscall.SIGCONT)
}

// log is what the kubelet has written so far.
func (l *lab) log() (string, error) {
	text, err := os.ReadFile(l.LogFile(node.PartKubelet))
	return string(text), err
}
