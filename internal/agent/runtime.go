package agent

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/pkg/metrics"
)

// ErrNoRuntime says that the container runtime is not asked, since that is what was told.
var ErrNoRuntime error = noRuntime{}

type noRuntime struct{}

func (noRuntime) Error() string { return "told to do without a container runtime (--no-runtime)" }

// Hint is one sentence on what to do.
func (noRuntime) Hint() string {
	return "Leave out --no-runtime, or PULLWATCH_NO_RUNTIME, where the runtime's socket can be reached; in a pod, mount the directory of the socket."
}

// runtimeSource gives the client of the container runtime. Where no socket was named it looks for one until there is one: the agent may
// start before the runtime does.
type runtimeSource struct {
	none     bool // told to do without
	settings cri.Settings
	config   cri.Config // timeouts and hooks

	mu       sync.Mutex
	client   *cri.Client
	endpoint string
}

func (r *runtimeSource) get() (*cri.Client, string, error) {
	if r.none {
		return nil, "", ErrNoRuntime
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil {
		return r.client, r.endpoint, nil
	}
	found, err := cri.Discover(r.settings)
	if err != nil {
		return nil, "", err
	}
	config := r.config
	config.Runtime, config.Image = found.Runtime.Value, found.Image.Value
	if config.Timeout == 0 {
		config.Timeout, _ = found.Timeout()
	}
	client, err := cri.Dial(config)
	if err != nil {
		return nil, "", err
	}
	r.client, r.endpoint = client, found.Runtime.Value
	return r.client, r.endpoint, nil
}

func (r *runtimeSource) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil {
		_ = r.client.Close() // nothing is written through it
	}
}

// checkRuntime asks the runtime how it is. That one which has answered before is down is a result. It could not tell where the agent may not
// ask, or has never had an answer: then the trouble may be the agent's own, a directory that is not mounted or a wrong path.
func (a *Agent) checkRuntime(ctx context.Context) error {
	client, endpoint, err := a.runtime.get()
	if err != nil {
		a.publishRuntime(Runtime{}, err)
		return err
	}
	now := Runtime{Endpoint: endpoint}
	status, err := client.Status(ctx, false)
	if err == nil {
		now.Reachable, now.Up = true, true
		for _, c := range status.GetStatus().GetConditions() {
			if c.GetType() == "RuntimeReady" {
				now.Ready = c.GetStatus()
				if !now.Ready {
					now.Reason = c.GetReason() + ": " + c.GetMessage()
				}
			}
		}
		before := a.snapshot.runtime.Load().Value
		now.Name, now.Version = before.Name, before.Version
		if !before.Up || now.Name == "" { // it may have come back as another version
			if v, err := client.Version(ctx); err == nil {
				now.Name, now.Version = v.GetRuntimeName(), v.GetRuntimeVersion()
			}
		}
	} else {
		kind := cri.KindOf(err)
		if kind == cri.Canceled {
			return err // a stop says nothing of the runtime
		}
		now.Reachable = kind == cri.Timeout || kind == cri.NotCRI || kind == cri.TooLarge || kind == cri.Answered
		now.Up = kind == cri.Answered
		now.Reason = err.Error()
		if kind == cri.NotCRI || kind == cri.TooLarge {
			a.metrics.CountBadInput("runtime")
		}
		if a.runtimeSeen.Load() && kind != cri.Forbidden {
			err = nil
		}
	}
	a.publishRuntime(now, err)
	if now.Up {
		a.runtimeSeen.Store(true) // after it is published: who is told that the agent is ready may look
	}
	return err
}

func (a *Agent) publishRuntime(now Runtime, err error) {
	before := a.snapshot.runtime.Load()
	next := &Part[Runtime]{Value: now, At: time.Now()}
	if err != nil {
		next.At, next.Error = before.At, err.Error()
	}
	a.snapshot.runtime.Store(next)
	if before.Value.Ready != now.Ready || before.Value.Up != now.Up {
		a.log.Info("container runtime", "endpoint", now.Endpoint, "name", now.Name, "version", now.Version, "up", now.Up, "ready", now.Ready, "reason", now.Reason)
		a.rememberRuntime(&now)
	}
	a.publishFacts()
}

func (a *Agent) observeCall(method string, code codes.Code, took time.Duration) {
	a.metrics.ObserveCall(method, code.String(), took)
}

// publishFacts tells the metrics who the node is and how the runtime is.
func (a *Agent) publishFacts() {
	r, node, images := a.snapshot.runtime.Load().Value, a.snapshot.node.Load().Value, a.snapshot.images.Load()
	count := -1
	if !images.At.IsZero() {
		count = images.Value.Count
	}
	used := 0
	for _, w := range images.Value.WrongPlatform {
		if len(w.Pods) > 0 {
			used++
		}
	}
	if !a.config.NoRuntime {
		a.metrics.SetRuntime(metrics.Runtime{
			Reachable: r.Reachable, Up: r.Up, Ready: r.Ready, Images: count, UnusedImages: images.Value.Unused, PulledAgain: images.Value.PulledAgain,
			WrongPlatformUsed: used, WrongPlatformUnused: len(images.Value.WrongPlatform) - used,
		})
	}
	info := metrics.Node{
		Architecture: node.Architecture, OS: node.OperatingSystem, OSImage: node.OSImage, Kernel: node.KernelVersion,
		Runtime: r.Name, RuntimeVersion: r.Version, Kubelet: node.KubeletVersion,
	}
	if info.Kernel == "" {
		info.Architecture, info.OS, info.OSImage, info.Kernel = a.host.Architecture, a.host.OS, a.host.OSImage, a.host.Kernel
	}
	a.metrics.SetNode(info)
}
