// Package critest is a container runtime that is not one: it listens on a unix
// socket, speaks CRI v1 as containerd 1.6, containerd 2.4 or CRI-O 1.37 do,
// and does what a test tells it to, faults included.
//
// What it says, it says as the real ones were heard to: names, versions,
// identifiers, verbose information, and the texts and gRPC codes of failed
// pulls. It promises no more than the calls that Pullwatch makes; everything
// else is Unimplemented, as an old runtime would have it. It pulls nothing
// from anywhere: the registries of the table in pull.go are made up.
//
// [Conformance] is the other half: the same checks run against this fake and
// against real runtimes, so that the fake cannot drift away from them.
package critest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Flavor is whose manners a [Runtime] has.
type Flavor string

// The flavors.
const (
	// Containerd16 speaks as Debian's containerd 1.6.20. Its verbose status
	// holds a registry password in clear, which is [Secret].
	Containerd16 Flavor = "containerd-1.6"
	// Containerd2 speaks as containerd 2.4.2, which pulls by its transfer
	// service.
	Containerd2 Flavor = "containerd-2.4"
	// CRIO speaks as CRI-O 1.37.0.
	CRIO Flavor = "cri-o-1.37"
)

// Flavors lists all of them.
func Flavors() []Flavor { return []Flavor{Containerd16, Containerd2, CRIO} }

// Secret is the password in the configuration that Containerd16 shows. A test
// that finds it in any output has found a leak.
const Secret = "s3cr3t-marker"

// Runtime is one fake runtime. All methods are safe for concurrent use, and
// what is set stays set over [Runtime.Stop] and [Runtime.Restart].
type Runtime struct {
	flavor  Flavor
	manners manners

	mu     sync.Mutex
	path   string
	server *grpc.Server
	gate   *gate
	served chan struct{} // closed when server has returned
	state  state
}

// New makes a runtime with the flavor's images. It listens nowhere yet. It
// panics for a flavor that does not exist.
func New(flavor Flavor) *Runtime {
	m, ok := flavors[flavor]
	if !ok {
		panic(fmt.Sprintf("critest: no flavor %q", flavor))
	}
	r := &Runtime{flavor: flavor, manners: m}
	r.state = newState(m)
	return r
}

// Start makes a runtime that listens in a directory of its own until the test
// ends.
func Start(t testing.TB, flavor Flavor) *Runtime {
	t.Helper()
	// t.TempDir has the test's name in it, and a socket's path is short.
	dir, err := os.MkdirTemp("", "critest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := New(flavor)
	if err := r.Serve(filepath.Join(dir, "cri.sock")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	return r
}

// Serve listens on path and returns as soon as it does. A socket that an
// earlier runtime left there is replaced, as runtimes do.
func (r *Runtime) Serve(path string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server != nil {
		return errors.New("critest: the runtime is running")
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	// Whether the file goes is up to Stop and Refuse.
	listener.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o660); err != nil {
		return errors.Join(err, listener.Close())
	}
	server := grpc.NewServer(
		grpc.MaxSendMsgSize(r.manners.maxSend),
		grpc.MaxRecvMsgSize(16<<20),
		grpc.UnaryInterceptor(r.intercept),
	)
	runtimeapi.RegisterRuntimeServiceServer(server, &runtimeService{r: r})
	runtimeapi.RegisterImageServiceServer(server, &imageService{r: r})
	r.path, r.server = path, server
	g := newGate(listener, r.fault)
	r.gate = g
	served := make(chan struct{})
	r.served = served
	go func() {
		defer close(served)
		// It returns when Stop is called, which is no error.
		_ = server.Serve(g)
	}()
	return nil
}

// Path is that of the socket; Endpoint is the same as a URL.
func (r *Runtime) Path() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.path
}

// Endpoint is the socket as unix:///path.
func (r *Runtime) Endpoint() string { return "unix://" + r.Path() }

// Flavor tells whose manners it has.
func (r *Runtime) Flavor() Flavor { return r.flavor }

// Name is what Version calls the runtime.
func (r *Runtime) Name() string { return r.manners.name }

// Stop ends the runtime and removes its socket. Calls in flight break off.
func (r *Runtime) Stop() {
	r.Refuse()
	if path := r.Path(); path != "" {
		os.Remove(path)
	}
}

// Refuse ends the runtime and leaves its socket behind, as a runtime that was
// killed does: nobody listens there any more.
func (r *Runtime) Refuse() {
	r.mu.Lock()
	server, gate, served := r.server, r.gate, r.served
	r.server, r.gate, r.served = nil, nil, nil
	r.mu.Unlock()
	if server == nil {
		return
	}
	gate.Close()
	gate.drop()
	// Stop waits for handlers, and those that hang wait for their connection,
	// which is gone.
	server.Stop()
	<-served
}

// Restart stops the runtime if it runs, and starts it on the same path.
func (r *Runtime) Restart() error {
	r.Refuse()
	return r.Serve(r.Path())
}

// intercept counts each call and applies what holds for all of them.
func (r *Runtime) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	method := filepath.Base(info.FullMethod)
	r.mu.Lock()
	r.state.calls[method]++
	delay := r.state.delay
	r.mu.Unlock()

	if err := r.awaken(ctx); err != nil {
		return nil, err
	}
	if err := wait(ctx, delay); err != nil {
		return nil, err
	}
	r.mu.Lock()
	script, scripted := r.state.scripts[method]
	r.mu.Unlock()
	if scripted {
		return script.answer, script.err
	}
	return handler(ctx, req)
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
