package node

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
)

// Versions that the harness knows how to bring.
const (
	Containerd16 = "1.6" // Debian's
	Containerd24 = "2.4" // compiled
	Kubelet134   = "1.34"
	Kubelet131   = "1.31"
)

// DemoDir holds the node of `make demo`.
const DemoDir = "/tmp/pullwatch-demo"

// QuickstartDir holds the node of `make quickstart`.
const QuickstartDir = "/tmp/pullwatch-quickstart"

// The base ports are below the range from which the kernel picks ports for outgoing connections.
const (
	demoBasePort       = 24600
	quickstartBasePort = 24650
)

// Options say what node to bring up. The zero value is a test's node: fresh directory, free ports, Debian's
// containerd and kubelet 1.34.
type Options struct {
	Dir        string `json:"dir"`        // everything the node writes; "" makes one under /tmp
	NodeName   string `json:"nodeName"`   // default demo-node
	Containerd string `json:"containerd"` // Containerd16 (default) or Containerd24
	Kubelet    string `json:"kubelet"`    // Kubelet134 (default) or Kubelet131
	BasePort   int    `json:"basePort"`   // 0: free ports
	// RuntimeOnly leaves out everything of Kubernetes: containerd and the registries alone, in a second or two.
	RuntimeOnly bool `json:"runtimeOnly,omitempty"`
	// Controllers adds kube-controller-manager and kube-scheduler, and with them service accounts, whose tokens the API server then
	// mounts into pods: what a DaemonSet needs to become a pod that works.
	Controllers bool `json:"controllers,omitempty"`
	// ControlPlaneOnly leaves out everything but etcd and the API server: for nodes that are objects and nothing behind them.
	ControlPlaneOnly bool `json:"controlPlaneOnly,omitempty"`
	// SmallDiskMiB puts containerd's root on a filesystem of that size, so that a large image fills it.
	SmallDiskMiB int `json:"smallDiskMiB,omitempty"`
	// SmallDiskMkfs is the command that makes the small disk's filesystem; the file is added to it. Default defaultMkfs.
	SmallDiskMkfs string `json:"smallDiskMkfs,omitempty"`
	// KubeletConfig overrides fields of the kubelet's configuration, e.g. {"registryPullQPS": 1}.
	KubeletConfig map[string]any `json:"kubeletConfig,omitempty"`
	// KubeletFlags are added to the kubelet's command line, where the last one of a name counts.
	KubeletFlags []string `json:"kubeletFlags,omitempty"`
	// Outlive keeps the node when the process that started it ends. Without it, the next Start or Sweep of any
	// process takes down what an ended test left.
	Outlive bool `json:"outlive"`
	// Out gets progress; nil is silence.
	Out io.Writer `json:"-"`
}

// defaultMkfs keeps no blocks back for root: what a test fills is full.
const defaultMkfs = "mkfs.ext4 -q -F -m 0"

// Demo is the node of `make demo`.
func Demo(out io.Writer) Options {
	return Options{
		Dir: DemoDir, BasePort: demoBasePort, Outlive: true, Out: out,
		// A disk of its own for images, and thresholds as they are usual, so that there is something to see in `pullwatch df`.
		SmallDiskMiB: 256, KubeletConfig: map[string]any{
			"imageGCHighThresholdPercent": 85, "imageGCLowThresholdPercent": 80, "localStorageCapacityIsolation": true,
			"evictionHard": map[string]string{"imagefs.available": "10%", "imagefs.inodesFree": "5%", "nodefs.available": "0%", "memory.available": "0%"},
		},
	}
}

// Quickstart is the node of `make quickstart`.
func Quickstart(out io.Writer) Options {
	return Options{Dir: QuickstartDir, BasePort: quickstartBasePort, RuntimeOnly: true, Outlive: true, Out: out}
}

// parts are the processes that the node consists of, in the order in which they come up.
func (o Options) parts() []string {
	switch {
	case o.RuntimeOnly:
		return []string{PartRegistry, PartPrivate, PartFaults, PartContainerd}
	case o.ControlPlaneOnly:
		return []string{PartEtcd, PartAPIServer}
	}
	if o.Controllers {
		return slices.Concat(PartNames, []string{PartControllers, PartScheduler})
	}
	return PartNames
}

func (o Options) withDefaults() (Options, error) {
	if o.NodeName == "" {
		o.NodeName = "demo-node"
	}
	if o.Containerd == "" {
		o.Containerd = Containerd16
	}
	if o.Kubelet == "" {
		o.Kubelet = Kubelet134
	}
	if o.Containerd != Containerd16 && o.Containerd != Containerd24 {
		return o, fmt.Errorf("containerd %q is not known\nchoose %s or %s", o.Containerd, Containerd16, Containerd24)
	}
	if o.Kubelet != Kubelet134 && o.Kubelet != Kubelet131 {
		return o, fmt.Errorf("kubelet %q is not known\nchoose %s or %s", o.Kubelet, Kubelet134, Kubelet131)
	}
	if o.SmallDiskMkfs == "" {
		o.SmallDiskMkfs = defaultMkfs
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Dir != "" {
		dir, err := filepath.Abs(o.Dir)
		if err != nil {
			return o, err
		}
		// A socket's address holds 108 bytes, and some of them are the name's.
		if len(dir) > 60 {
			return o, fmt.Errorf("%s is too long for a directory with unix sockets in it\nchoose one of at most 60 bytes", dir)
		}
		o.Dir = dir
	} else {
		// Not os.TempDir or t.TempDir: the paths of unix sockets below it must stay under 108 bytes.
		dir, err := os.MkdirTemp("/tmp", testDirPrefix)
		if err != nil {
			return o, err
		}
		o.Dir = dir
	}
	return o, nil
}

const testDirPrefix = "pullwatch-test-"

// portNames are the ports of a node; with a base port they follow it in this order.
var portNames = []string{
	"registry", "private", "apiserver", "etcd", "etcd-peer", "kubelet", "kubelet-healthz", "containerd-metrics", "faults",
	"ratelimit", "unavailable", "forbidden", "hub", "schema1", "reset", "truncated", "plain", "blackhole", "selfsigned",
	"refused", "proxy", "agent", "controller-manager", "scheduler", "mirrored", "expired", "tokendown", "token",
}

// faultNames are the ports that the faults program serves.
var faultNames = []string{
	"ratelimit", "unavailable", "forbidden", "hub", "schema1", "reset", "truncated", "plain", "blackhole", "selfsigned", "refused",
	"mirrored", "expired", "tokendown",
}

// FreeAddress is one on loopback that nothing listens on, and that no test takes for itself as long as this process lives.
func FreeAddress() (string, error) {
	p, err := ports.next()
	return loopback(p), err
}

// ports are those of this process. Many of a node's are bound late, for a while or never, so that none of them may be another test's meanwhile: they come
// in blocks, each with a lock that ends with the process. Below 32768 no outgoing connection takes one.
var ports portBlocks

const (
	firstPort, lastPort = 20000, 32000
	portBlock           = 32
)

type portBlocks struct {
	mu    sync.Mutex
	left  []int
	locks []*os.File // closed with the process
}

func (b *portBlocks) next() (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		if len(b.left) == 0 {
			if err := b.take(); err != nil {
				return 0, err
			}
		}
		p := b.left[0]
		b.left = b.left[1:]
		if l, err := net.Listen("tcp", loopback(p)); err == nil {
			return p, l.Close()
		}
	}
}

// take takes a block that no other process has.
func (b *portBlocks) take() error {
	dir := filepath.Join(os.TempDir(), "pullwatch-ports")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for base := firstPort; base+portBlock <= lastPort; base += portBlock {
		if base+portBlock > demoBasePort && base < quickstartBasePort+len(portNames) {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(base)), os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return err
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
			_ = f.Close() // another process, or this one
			continue
		}
		b.locks = append(b.locks, f)
		for p := base; p < base+portBlock; p++ {
			b.left = append(b.left, p)
		}
		return nil
	}
	return fmt.Errorf("no free ports on loopback between %d and %d", firstPort, lastPort)
}

// choosePorts gives each port name a number that is free now.
func choosePorts(base int) (map[string]int, error) {
	chosen := map[string]int{}
	for i, name := range portNames {
		if base == 0 {
			p, err := ports.next()
			if err != nil {
				return nil, err
			}
			chosen[name] = p
			continue
		}
		l, err := net.Listen("tcp", loopback(base+i))
		if err != nil {
			return nil, fmt.Errorf("port %d for %s is taken\nstop what listens there (ss -ltnp) or choose another base port", base+i, name)
		}
		_ = l.Close()
		chosen[name] = base + i
	}
	return chosen, nil
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
