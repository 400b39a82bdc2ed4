package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Down stops everything and removes the directory. It goes on past what fails and reports it all at the end.
func (n *Node) Down() error {
	recorded, err := n.pids.load()
	errs := []error{err}
	// The agent and other guests first, so that they do not report the end of the node as a fault of it.
	for name, p := range recorded {
		if !slices.Contains(PartNames, name) {
			errs = append(errs, p.stop(3*time.Second))
		}
	}
	// Then the kubelet: while it runs it restarts what is stopped here.
	errs = append(errs, recorded[PartKubelet].stop(3*time.Second))
	if recorded[PartContainerd].alive() {
		_ = syscall.Kill(recorded[PartContainerd].PID, syscall.SIGCONT) // a test may have stopped it
		if err := n.RemoveSandboxes(); err != nil && n.progress != nil {
			n.progress.Say("containerd does not remove its pods, they are killed: %v", err)
		}
	}
	n.closeClients()
	errs = append(errs, recorded[PartContainerd].stop(5*time.Second), n.killShims())
	// What is stored goes with the directory, so nobody needs time to save anything.
	var g errgroup.Group
	for _, part := range []string{PartFaults, PartRegistry, PartPrivate, PartAPIServer, PartEtcd} {
		g.Go(func() error { return recorded[part].stop(0) })
	}
	errs = append(errs, g.Wait(), n.removeCgroup(), unmountBelow(n.Dir), n.sweepRules(), n.removeLogLinks())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take down the node in %s: %w\nits directory is kept; run it again, or reboot the machine", n.Dir, err)
	}
	return os.RemoveAll(n.Dir)
}

// RemoveSandboxes has containerd stop and remove all pods, several at a time.
func (n *Node) RemoveSandboxes() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	rt := n.runtimeService()
	list, err := rt.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(8)
	for _, s := range list.Items {
		g.Go(func() error {
			if _, err := rt.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: s.Id}); err != nil {
				return err
			}
			_, err := rt.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: s.Id})
			return err
		})
	}
	return g.Wait()
}

// killShims ends the shims of this containerd, known by its address on their command line, and their containers.
func (n *Node) killShims() error {
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	var shims []int
	parents := map[int]int{}
	for _, dir := range procs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		_, ppid, _, _ := statOf(pid)
		parents[pid] = ppid
		raw, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		args := strings.Split(string(bytes.TrimRight(raw, "\x00")), "\x00")
		if strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") && slices.Contains(args, n.socket()) {
			shims = append(shims, pid)
		}
	}
	var errs []error
	for _, shim := range shims {
		for pid, ppid := range parents {
			if ppid == shim {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		_, _, start, _ := statOf(shim)
		errs = append(errs, process{PID: shim, Start: start}.stop(0))
	}
	return errors.Join(errs...)
}

// unmountBelow unmounts everything under dir, the innermost first, and makes sure of it: the directory is removed next.
func unmountBelow(dir string) error {
	points, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range slices.Backward(points) {
		if err := syscall.Unmount(p, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", p, err))
		}
	}
	left, err := mountsBelow(dir)
	if len(left) > 0 {
		err = fmt.Errorf("still mounted: %s", strings.Join(left, " "))
	}
	return errors.Join(append(errs, err)...)
}

func mountsBelow(dir string) ([]string, error) {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var points []string
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			points = append(points, f[4])
		}
	}
	return points, nil
}

// removeLogLinks removes the links that the kubelet makes in /var/log/containers, a path it cannot be told to change.
func (n *Node) removeLogLinks() error {
	links, _ := filepath.Glob("/var/log/containers/*")
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, n.Dir+"/") {
			_ = os.Remove(l)
		}
	}
	return nil
}

// Sweep takes down the nodes of tests that ended without doing so.
func Sweep() error {
	dirs, err := filepath.Glob("/tmp/" + testDirPrefix + "*")
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		n, err := Open(dir)
		if err != nil {
			continue // someone is about to fill it
		}
		if !n.Outlive && !n.Owner.alive() {
			errs = append(errs, n.Down())
		}
	}
	return errors.Join(errs...)
}

func pidsIn(path string) []int {
	raw, _ := os.ReadFile(path)
	var pids []int
	for _, f := range strings.Fields(string(raw)) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 1 {
			pids = append(pids, pid)
		}
	}
	return pids
}
