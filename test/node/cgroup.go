package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroupHierarchies are the directories below which the node's cgroup is made: one per controller in version 1, and
// the unified one in version 2.
func cgroupHierarchies() ([]string, bool, error) {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []string{cgroupRoot}, true, nil
	}
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil, false, err
	}
	var dirs []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != "unified" { // links such as cpuacct -> cpu,cpuacct lead to the same place
			dirs = append(dirs, filepath.Join(cgroupRoot, e.Name()))
		}
	}
	return dirs, false, nil
}

// makeCgroup makes the subtree that the kubelet is given as its root.
func (n *Node) makeCgroup() error {
	dirs, unified, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		own := filepath.Join(dir, n.mark())
		if err := os.MkdirAll(own, 0o755); err != nil {
			return err
		}
		if unified {
			raw, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
			if err != nil {
				return err
			}
			for _, at := range []string{dir, own} {
				for _, c := range strings.Fields(string(raw)) {
					// One by one, and a controller that cannot be had is left to the kubelet to complain about.
					_ = os.WriteFile(filepath.Join(at, "cgroup.subtree_control"), []byte("+"+c), 0o644)
				}
			}
		}
		if filepath.Base(dir) == "cpuset" { // a new cpuset of version 1 is empty, and nothing can be put into it
			for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
				raw, err := os.ReadFile(filepath.Join(dir, f))
				if err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(own, f), raw, 0o644); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// removeCgroup kills what is left in the subtree and removes it.
func (n *Node) removeCgroup() error {
	dirs, unified, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	if !unified {
		// Where both versions are mounted, the runtime makes groups in this one too.
		dirs = append(dirs, filepath.Join(cgroupRoot, "unified"))
	}
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, removeCgroupTree(filepath.Join(dir, n.mark())))
	}
	return errors.Join(errs...)
}

func removeCgroupTree(root string) error {
	var dirs []string
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for i := len(dirs) - 1; i >= 0; i-- {
		for try := 0; ; try++ {
			err := os.Remove(dirs[i])
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				break
			}
			if !errors.Is(err, syscall.EBUSY) || try == 100 {
				return err
			}
			for _, pid := range pidsIn(filepath.Join(dirs[i], "cgroup.procs")) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}
