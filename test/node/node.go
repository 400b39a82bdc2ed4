package node

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"k8s.io/client-go/kubernetes"
)

// Parts of a running node, in the order in which they come up.
const (
	PartEtcd       = "etcd"
	PartAPIServer  = "apiserver"
	PartRegistry   = "registry"
	PartPrivate    = "private"
	PartFaults     = "faults"
	PartContainerd = "containerd"
	PartKubelet    = "kubelet"

	PartControllers = "controller-manager" // with Options.Controllers
	PartScheduler   = "scheduler"          // likewise
)

// PartNames lists the parts that every node has, in the order in which they come up.
var PartNames = []string{PartEtcd, PartAPIServer, PartRegistry, PartPrivate, PartFaults, PartContainerd, PartKubelet}

// State is what any other process needs to find the node again: Dir/state.json.
type State struct {
	Options
	Ports      map[string]int `json:"ports"`
	Parts      Parts          `json:"parts"`
	AgentToken string         `json:"agentToken"`
	Owner      process        `json:"owner"` // who started it, unless it outlives them
	Created    time.Time      `json:"created"`
}

// Node is a node that is up, or was when it was opened. Its methods may be called from several goroutines.
type Node struct {
	State
	pids     *pids
	progress *Progress

	mu     sync.Mutex
	cri    *grpc.ClientConn
	client kubernetes.Interface
}

// Start brings a node up. When it fails, nothing is left, and the error ends with the last lines of the log of the
// part that failed.
func Start(ctx context.Context, o Options) (*Node, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a node needs root: it makes cgroups, mounts and containers\nrun it as root, in a virtual machine you can lose")
	}
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	p := NewProgress(o.Out)
	if err := Sweep(); err != nil {
		p.Say("what an ended test left could not be removed: %v", err)
	}
	if old, err := Open(o.Dir); err == nil {
		if old.Up() {
			return nil, fmt.Errorf("a node is up in %s\ntake it down first: make down", o.Dir)
		}
		if err := old.Down(); err != nil {
			return nil, err
		}
	}
	if err := claimDir(o.Dir); err != nil {
		return nil, err
	}
	n := &Node{State: State{Options: o, Created: time.Now()}, progress: p, pids: &pids{path: filepath.Join(o.Dir, "pids.json")}}
	if n.Parts, err = EnsureParts(ctx, o, p); err != nil {
		return nil, err
	}
	if n.Ports, err = choosePorts(o.BasePort); err != nil {
		return nil, err
	}
	if !o.Outlive {
		_, _, start, _ := statOf(os.Getpid())
		n.Owner = process{PID: os.Getpid(), Start: start}
	}
	if err := n.up(ctx); err != nil {
		return nil, errors.Join(err, n.Down())
	}
	return n, nil
}

func (n *Node) up(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(n.Dir, "logs"), 0o755); err != nil {
		return err
	}
	for _, prepare := range []func() error{
		n.prepareAPIServer, n.prepareRegistries, n.prepareFaults, n.prepareContainerd, n.writeKubeletConfig, n.makeCgroup,
		n.save, // before anything runs: from here on Down finds it
	} {
		if err := prepare(); err != nil {
			return err
		}
	}
	var g errgroup.Group
	for _, part := range n.Options.parts() {
		if slices.Contains(apiClients, part) {
			continue
		}
		if err := n.spawn(part, n.command(part)); err != nil {
			return err
		}
		g.Go(func() error {
			if err := n.wait(ctx, part, n.command(part)); err != nil {
				return err
			}
			n.progress.Say("%s is ready", part)
			if part == PartRegistry {
				if err := n.pushBase(ctx); err != nil {
					return err
				}
				n.progress.Say("images are pushed")
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if n.Options.RuntimeOnly {
		return nil
	}
	if err := n.grantAgent(ctx); err != nil || n.Options.ControlPlaneOnly {
		return err
	}
	for _, part := range n.Options.parts() {
		if !slices.Contains(apiClients, part) {
			continue
		}
		if err := n.Restart(ctx, part); err != nil {
			return err
		}
		n.progress.Say("%s is ready", part)
	}
	n.progress.Say("node %s is registered", n.NodeName)
	return nil
}

// apiClients are the parts that end where no API server answers, or do nothing: they want the others first.
var apiClients = []string{PartKubelet, PartControllers, PartScheduler}

// claimDir makes the node's directory. One that holds something else is not taken, since Down removes it; nor one
// that another user made in advance.
func claimDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || st.Uid != 0 {
		return fmt.Errorf("%s is not a directory of root's\nremove it, or choose another one with --dir", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s holds something that is no node (%s)\nremove it, or choose another one with --dir", dir, entries[0].Name())
	}
	return os.Chmod(dir, 0o755) // an agent that is not root has to reach the sockets
}

// Open finds a node that some process started in dir.
func Open(dir string) (*Node, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	n := &Node{progress: NewProgress(os.Stderr), pids: &pids{path: filepath.Join(dir, "pids.json")}}
	raw, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		return nil, fmt.Errorf("no node in %s: %w\nbring one up first: make demo", dir, err)
	}
	if err := json.Unmarshal(raw, &n.State); err != nil {
		return nil, fmt.Errorf("read %s/state.json: %w", dir, err)
	}
	if n.Dir != dir { // Down removes what it says there
		return nil, fmt.Errorf("%s/state.json is of a node in %s", dir, n.Dir)
	}
	return n, nil
}

func (n *Node) save() error { return writeJSON(filepath.Join(n.Dir, "state.json"), n.State) }

// SetProgress changes where progress goes, and from when it counts.
func (n *Node) SetProgress(p *Progress) { n.progress = p }

func (n *Node) command(part string) command {
	switch part {
	case PartEtcd:
		return n.etcd()
	case PartAPIServer:
		return n.apiserver()
	case PartRegistry:
		return n.registry(part, n.Registry().Addr)
	case PartPrivate:
		return n.registry(part, n.PrivateRegistry().Addr)
	case PartFaults:
		return n.faults()
	case PartContainerd:
		return n.containerd()
	case PartControllers:
		return n.controllerManager()
	case PartScheduler:
		return n.scheduler()
	default:
		return n.kubelet()
	}
}

// Running says which parts run, by name.
func (n *Node) Running() map[string]bool {
	m := map[string]bool{}
	for _, part := range n.Options.parts() {
		p, ok := n.pids.get(part)
		m[part] = ok && p.alive()
	}
	return m
}

// Up says whether all parts run.
func (n *Node) Up() bool {
	for _, up := range n.Running() {
		if !up {
			return false
		}
	}
	return true
}

// PID is the process of a part, or of something started by Spawn; 0 when it does not run.
func (n *Node) PID(part string) int {
	if p, ok := n.pids.get(part); ok && p.alive() {
		return p.PID
	}
	return 0
}

// Signal sends a signal to a part, e.g. SIGSTOP for a runtime that hangs.
func (n *Node) Signal(part string, sig syscall.Signal) error {
	pid := n.PID(part)
	if pid == 0 {
		return fmt.Errorf("%s does not run", part)
	}
	return syscall.Kill(pid, sig)
}

// Kill ends a part without warning, as a crash does.
func (n *Node) Kill(part string) error { return n.end(part, 0) }

// Stop ends a part as a service manager does.
func (n *Node) Stop(part string) error { return n.end(part, 5*time.Second) }

func (n *Node) end(part string, grace time.Duration) error {
	p, ok := n.pids.get(part)
	if !ok {
		return n.noPart(part)
	}
	return p.stop(grace)
}

// Restart stops a part if it runs, starts it, and returns when it is ready.
func (n *Node) Restart(ctx context.Context, part string) error {
	if !slices.Contains(n.Options.parts(), part) {
		return n.noPart(part)
	}
	if p, ok := n.pids.get(part); ok {
		if err := p.stop(5 * time.Second); err != nil {
			return err
		}
	}
	// A process that was killed may hold its port for a moment after its first thread is gone, which is when it counts as ended.
	for try := 1; ; try++ {
		c := n.command(part)
		err := n.spawn(part, c)
		if err == nil {
			err = n.wait(ctx, part, c)
		}
		if err == nil || try == 5 || !strings.Contains(err.Error(), "address already in use") {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (n *Node) noPart(part string) error {
	return fmt.Errorf("no part %s\nthe parts are %v", part, n.Options.parts())
}

// mark names what the node has outside its directory: the cgroup and iptables rules.
func (n *Node) mark() string {
	return fmt.Sprintf("pullwatch-%x", sha256.Sum256([]byte(n.Dir)))[:len("pullwatch-")+8]
}

func (n *Node) addr(port string) string { return loopback(n.Ports[port]) }
func (n *Node) socket() string          { return filepath.Join(n.Dir, "cri", "containerd.sock") }

// APIServerURL is the API server's address.
func (n *Node) APIServerURL() string { return "https://" + n.addr("apiserver") }

// CAFile is the certificate that the API server's certificate is signed with.
func (n *Node) CAFile() string { return filepath.Join(n.Dir, "apiserver", "ca.crt") }

// Kubeconfig is the file for a user: Admin, AgentUser or the kubelet.
func (n *Node) Kubeconfig(user string) string { return filepath.Join(n.Dir, user+".kubeconfig") }

// AgentKubeconfig is the kubeconfig of the user pullwatch.
func (n *Node) AgentKubeconfig() string { return n.Kubeconfig(AgentUser) }

// CRISocket is containerd's endpoint as URL. Its directory holds nothing else, so that it can be mounted.
func (n *Node) CRISocket() string { return "unix://" + n.socket() }

// ContainerdConfig is containerd's configuration file.
func (n *Node) ContainerdConfig() string { return filepath.Join(n.Dir, "containerd.toml") }

// RegistryAddr is host:port of the plain registry.
func (n *Node) RegistryAddr() string { return n.addr("registry") }

// Addr is host:port of any of the node's ports, by name: "registry", "private", "kubelet", a fault's name.
func (n *Node) Addr(port string) string { return n.addr(port) }

// AuditLog is the API server's audit log, see AuditEntries.
func (n *Node) AuditLog() string { return filepath.Join(n.Dir, "logs", "audit.log") }

// LogFile is where a part's output goes.
func (n *Node) LogFile(part string) string { return filepath.Join(n.Dir, "logs", part+".log") }
