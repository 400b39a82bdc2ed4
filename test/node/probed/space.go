package probed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/pullwatch/pullwatch/test/node"
)

// Networks of documentation (RFC 5737) that are made to fail in the namespace. Where nothing is said, there is no route.
const (
	blackHole   = "198.51.100.7" // packets vanish
	unreachable = "192.0.2.7"    // the way there is known to be closed
	noRoute     = "203.0.113.7"
	sixHole     = "fd00:6::7"
	sixRefuses  = "fd00:5::ffff" // nobody listens
)

// insideVariable tells a test process that it runs in the namespaces.
const insideVariable = "PULLWATCH_PROBED_INSIDE"

// debianPrograms are what is needed beside the node's.
var debianPrograms = map[string]string{"squid": "squid", "dnsmasq": "dnsmasq-base", "ip": "iproute2", "ip6tables": "iptables"}

// enter runs this program again in a network and a mount namespace of its own: containerd, the probe and all programs that they meet
// share it, and it is gone with the last of them. What has to be fetched is fetched before, since no way leads out of it.
func enter() (code int, err error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("network namespaces need root\nrun it as root, in a virtual machine you can lose")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	progress := node.NewProgress(os.Stderr)
	if _, err := node.EnsureParts(ctx, node.Options{RuntimeOnly: true, Containerd: node.Containerd24}, progress); err != nil {
		return 1, err
	}
	if err := node.EnsurePrograms(ctx, progress, debianPrograms); err != nil {
		return 1, err
	}
	distribution, err := node.EnsureDistribution(ctx, progress)
	if err != nil {
		return 1, err
	}
	if err := node.Sweep(); err != nil { // inside, firewall rules that an ended test left are out of sight
		return 1, err
	}
	runtime.LockOSThread() // Pdeathsig is about the thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVariable+"="+distribution)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// furnish makes the networks of the namespace, and a resolv.conf in dir that all in it see as /etc/resolv.conf.
func furnish(dir string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := syscall.Mount("none", "/dev/shm", "tmpfs", 0, "mode=1777"); err != nil { // where squid would find what another one left
		return fmt.Errorf("mount a /dev/shm of the test's own: %w", err)
	}
	for _, line := range []string{
		"ip link set lo up",
		"ip -6 addr add " + sixRefuses + "/128 dev lo nodad",
		"ip route add unreachable " + unreachable,
		// What is sent to itself for an IPv4 address that is not its own, the kernel drops.
		"ip route add " + blackHole + " dev lo",
		"ip -6 addr add " + sixHole + "/128 dev lo nodad",
		"ip6tables -A INPUT -d " + sixHole + " -j DROP",
	} {
		if err := run(line); err != nil {
			return err
		}
	}
	resolvConf = filepath.Join(dir, "resolv.conf")
	if err := resolveBy(resolver); err != nil {
		return err
	}
	if err := syscall.Mount(resolvConf, "/etc/resolv.conf", "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount a resolv.conf of the test's own: %w", err)
	}
	return nil
}

func run(line string) error {
	argv := strings.Fields(line)
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", line, err, out)
	}
	return nil
}

// resolvConf is the file that furnish mounts.
var resolvConf string

// rereads is how often Go's resolver looks whether resolv.conf has changed, and a bit (net/dnsclient_unix.go).
const rereads = 5100 * time.Millisecond

// resolveBy names the resolver. The file keeps its inode, which is what is mounted.
func resolveBy(server string) error {
	text := "nameserver " + server + "\noptions timeout:2 attempts:2\n"
	old, err := os.ReadFile(resolvConf)
	if string(old) == text {
		return nil
	}
	if err := os.WriteFile(resolvConf, []byte(text), 0o644); err != nil {
		return err
	}
	if err == nil {
		time.Sleep(rereads)
		// Of two lookups at once only one has the file read anew.
		_, _ = (&net.Resolver{PreferGo: true}).LookupHost(context.Background(), "reread.invalid")
	}
	return nil
}
