package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// debianPrograms are the programs that Debian packages, and the package of each.
var debianPrograms = map[string]string{
	"/usr/bin/containerd": "containerd",
	"runc":                "runc",
	"etcd":                "etcd-server",
	"docker-registry":     "docker-registry",
	"iptables":            "iptables",
	"mkfs.ext4":           "e2fsprogs",
	"mount":               "mount",
}

// findProgram looks in the system directories too: a caller's PATH often lacks sbin.
func findProgram(name string) (string, error) {
	if strings.HasPrefix(name, "/") {
		_, err := os.Stat(name)
		return name, err
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
		if info, err := os.Stat(dir + "/" + name); err == nil && !info.IsDir() {
			return dir + "/" + name, nil
		}
	}
	return "", fmt.Errorf("%s: not found", name)
}

// ensureDebian installs what a node needs.
func ensureDebian(ctx context.Context, o Options, p *Progress) error {
	programs := maps.Clone(debianPrograms)
	if o.RuntimeOnly {
		delete(programs, "etcd")
	}
	if strings.HasPrefix(o.SmallDiskMkfs, "mkfs.xfs ") {
		programs["mkfs.xfs"] = "xfsprogs"
	}
	return EnsurePrograms(ctx, p, programs)
}

// EnsurePrograms installs the Debian packages of the programs that are missing. The programs are the keys, by name or path.
func EnsurePrograms(ctx context.Context, p *Progress, programs map[string]string) error {
	if len(missing(programs)) == 0 {
		return nil
	}
	// Two that install at once would be in each other's way: apt-get does not wait.
	cache, err := CacheDir()
	if err != nil {
		return err
	}
	lock, err := lockFile(filepath.Join(cache, "packages.lock"), p, "installs packages")
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	pkgs := missing(programs)
	if len(pkgs) == 0 {
		return nil
	}
	byHand := "install them by hand: apt-get install --no-install-recommends " + strings.Join(pkgs, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("missing: %s, and this machine has no apt-get\nthe node is made for Debian 12; elsewhere, put these programs into PATH", strings.Join(pkgs, ", "))
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("missing: %s, and installing them needs root\n%s", strings.Join(pkgs, ", "), byHand)
	}
	restore, err := forbidServices()
	if err != nil {
		return err
	}
	defer restore()
	return p.During("installing "+strings.Join(pkgs, " "), "", func() error {
		for _, args := range [][]string{
			{"update", "-qq"},
			append([]string{"install", "-y", "-qq", "--no-install-recommends"}, pkgs...),
		} {
			cmd := exec.CommandContext(ctx, "apt-get", args...)
			cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("apt-get %s: %w\n%s\n%s", args[0], err, lastLines(string(out), 8), byHand)
			}
		}
		return nil
	})
}

// missing are the packages of the programs that are not there.
func missing(programs map[string]string) []string {
	var pkgs []string
	for program, pkg := range programs {
		if _, err := findProgram(program); err != nil && !slices.Contains(pkgs, pkg) {
			pkgs = append(pkgs, pkg)
		}
	}
	slices.Sort(pkgs)
	return pkgs
}

// forbidServices keeps dpkg from starting the services of what it installs, on their default ports: it asks
// policy-rc.d, and 101 means no. A policy that the machine has already stays as it is.
func forbidServices() (restore func(), err error) {
	const path = "/usr/sbin/policy-rc.d"
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, os.ErrExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString("#!/bin/sh\nexit 101\n")
	return func() { _ = os.Remove(path) }, errors.Join(err, f.Close())
}

func lastLines(s string, count int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > count {
		lines = lines[len(lines)-count:]
	}
	return "  " + strings.Join(lines, "\n  ")
}
