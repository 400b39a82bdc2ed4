package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/shirou/gopsutil/v3/host"
	"github.com/spf13/cobra"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/internal/disk"
	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/pkg/cri"
)

// infoAnswer is what `pullwatch info` prints.
type infoAnswer struct {
	Schema  string      `json:"schema"`
	Agent   agentInfo   `json:"agent"`
	Machine machineInfo `json:"machine"`
	Runtime runtimeInfo `json:"runtime"`
	Node    nodeInfo    `json:"node"`
}

type agentInfo struct {
	Running  bool      `json:"running"`
	Version  string    `json:"version,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Socket   string    `json:"socket"`
	Failures *int      `json:"failures,omitempty"` // containers that wait for an image; absent when not known
	Error    string    `json:"error,omitempty"`
}

type machineInfo struct {
	Architecture string `json:"architecture"` // the kernel's
	OS           string `json:"os"`
	Kernel       string `json:"kernel"`
	emulation
	// Load is how busy the machine is.
	Load  disk.Load `json:"load"`
	Error string    `json:"error,omitempty"`
}

type runtimeInfo struct {
	Endpoint   string          `json:"endpoint,omitempty"`
	Source     string          `json:"source,omitempty"` // where the endpoint was named
	Others     []string        `json:"others,omitempty"` // sockets that exist too
	Name       string          `json:"name,omitempty"`
	Version    string          `json:"version,omitempty"`
	Conditions map[string]bool `json:"conditions,omitempty"`
	Images     *int            `json:"images,omitempty"`
	// Platform is what the runtime pulls for. WrongPlatform are images for one that the node does not run, or by emulation alone, as far as an agent has
	// looked.
	Platform      string             `json:"platform,omitempty"`
	WrongPlatform []agent.WrongImage `json:"wrongPlatform,omitempty"`
	// Missing and Moved are images in use here that their registry does not have, or has another one of under the same tag, as far as the agent was told
	// without credentials.
	Missing []string `json:"missing,omitempty"`
	Moved   []string `json:"moved,omitempty"`
	Skipped bool     `json:"skipped,omitempty"`
	Error   string   `json:"error,omitempty"`
}

type nodeInfo struct {
	Name           string           `json:"name"`
	Architecture   string           `json:"architecture,omitempty"`
	OSImage        string           `json:"osImage,omitempty"`
	KubeletVersion string           `json:"kubeletVersion,omitempty"`
	Conditions     []kube.Condition `json:"conditions,omitempty"`
	Skipped        bool             `json:"skipped,omitempty"`
	Error          string           `json:"error,omitempty"`
}

func infoCommand(p *program) *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:   "info",
		Short: "Show this node: its runtime, its Node object, the agent, and what cannot be seen",
		Long: `Shows what can be seen from here of the container runtime, the Node object and the agent, and what cannot.

Exit codes: 0; 1 the runtime or a pressure condition of the node is not fine; 2 the runtime could not be asked, or wrong use.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			answer, problem := p.info(cmd.Context())
			show := p.printInfo
			if o.format != "table" {
				show = func(a *infoAnswer) error { return o.data(p.stdout, a) }
			}
			if err := show(answer); err != nil {
				return err
			}
			switch {
			case problem != nil:
				return problem
			case !answer.fine():
				return errNotFine
			}
			return nil
		},
	}
	o.flags(cmd.Flags(), "")
	return cmd
}

// info gathers what can be seen. The error is why the runtime could not be asked.
func (p *program) info(ctx context.Context) (*infoAnswer, error) {
	answer := &infoAnswer{Schema: "pullwatch.info/v1"}
	answer.Agent.Socket = p.settings.socket
	answer.Node.Name = p.settings.nodeName
	answer.Machine = machine(ctx)
	snapshot, err := p.snapshot(ctx)
	if err != nil {
		answer.Agent.Error = err.Error()
	} else {
		answer.Agent = agentInfo{
			Running: true, Version: snapshot.Version, Started: snapshot.Started, Socket: p.settings.socket,
		}
		if !snapshot.Failures.At.IsZero() {
			count := len(snapshot.Failures.Value)
			answer.Agent.Failures = &count
		}
		answer.Runtime.WrongPlatform = snapshot.Images.Value.WrongPlatform
		for _, image := range snapshot.ImageProbes.Value {
			switch image.Standing {
			case agent.Missing:
				answer.Runtime.Missing = append(answer.Runtime.Missing, image.Image.Image)
			case agent.Moved:
				answer.Runtime.Moved = append(answer.Runtime.Moved, image.Image.Image)
			}
		}
		answer.Node.Name = snapshot.NodeName
	}
	var problem error
	if answer.Runtime.Skipped = p.settings.noRuntime || snapshot != nil && snapshot.Runtime.Skipped; !answer.Runtime.Skipped {
		problem = p.runtimeInfo(ctx, &answer.Runtime)
	}
	p.nodeInfo(ctx, snapshot, &answer.Node)
	answer.Runtime.Platform = platforms.Format(platformOf(snapshot, &answer.Node))
	return answer, problem
}

func machine(ctx context.Context) machineInfo {
	m := machineInfo{Architecture: runtime.GOARCH, OS: runtime.GOOS, Load: disk.ReadLoad(ctx, ""), emulation: readEmulation()}
	if info, err := host.InfoWithContext(ctx); err != nil {
		m.Error = err.Error()
	} else {
		m.Architecture, m.OS, m.Kernel = info.KernelArch, info.OS, info.KernelVersion
	}
	return m
}

func (p *program) runtimeInfo(ctx context.Context, r *runtimeInfo) (err error) {
	defer func() {
		if err != nil {
			r.Error = err.Error()
		}
	}()
	client, found, err := p.settings.runtime()
	r.Endpoint, r.Source, r.Others = found.Runtime.Value, found.Runtime.Source, found.Others
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	return r.ask(ctx, client)
}

func (r *runtimeInfo) ask(ctx context.Context, client *cri.Client) error {
	v, err := client.Version(ctx)
	if err != nil {
		return err
	}
	r.Name, r.Version = v.GetRuntimeName(), v.GetRuntimeVersion()
	status, err := client.Status(ctx, false)
	if err != nil {
		return err
	}
	r.Conditions = make(map[string]bool)
	for _, c := range status.GetStatus().GetConditions() {
		r.Conditions[c.GetType()] = c.GetStatus()
	}
	images, err := client.ListImages(ctx)
	if err == nil {
		count := len(images)
		r.Images = &count
	}
	return err
}

func (p *program) nodeInfo(ctx context.Context, snapshot *agent.Snapshot, n *nodeInfo) {
	var node kube.Node
	switch {
	case snapshot != nil && !snapshot.Node.Skipped:
		node = snapshot.Node.Value
		n.Error = snapshot.Node.Error
		if n.Error == "" && snapshot.Node.At.IsZero() {
			n.Error = "the agent has not seen it yet"
		}
	case p.settings.noKube, snapshot != nil:
		n.Skipped = true
		return
	default:
		k, err := p.settings.kube()
		if err == nil {
			node, err = k.Node(ctx)
		}
		if err != nil {
			n.Error = err.Error()
		}
	}
	n.Architecture, n.OSImage, n.KubeletVersion, n.Conditions = node.Architecture, node.OSImage, node.KubeletVersion, node.Conditions
}

// fine tells whether runtime and node say that they are. Ready is left to the kubelet's own watchers: it is about more than images.
func (a *infoAnswer) fine() bool {
	if ready, ok := a.Runtime.Conditions["RuntimeReady"]; ok && !ready {
		return false
	}
	for _, c := range a.Node.Conditions {
		if strings.HasSuffix(c.Type, "Pressure") && c.Status == "True" {
			return false
		}
	}
	return true
}

func (p *program) printInfo(a *infoAnswer) (err error) {
	line := func(label, format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(p.stdout, "%-10s %s\n", label, clean(fmt.Sprintf(format, args...)))
		}
	}
	now := time.Now()
	if a.Agent.Running {
		waiting := "containers that wait for an image: not known"
		if a.Node.Skipped {
			waiting += " without an API server"
		}
		if n := a.Agent.Failures; n != nil {
			waiting = fmt.Sprintf("containers that wait for an image: %d", *n)
		}
		line("agent", "runs for %s, version %s, %s", age(now.Sub(a.Agent.Started)), a.Agent.Version, waiting)
	} else {
		line("agent", "not seen: %s", a.Agent.Error)
	}
	line("machine", "%s %s, kernel %s", a.Machine.OS, a.Machine.Architecture, a.Machine.Kernel)
	if text := busy(&a.Machine.Load); text != "" {
		line("", "%s", text)
	}
	if e := a.Machine.Emulated; len(e) > 0 {
		line("", "runs images for %s by emulation (binfmt_misc), slowly", strings.Join(e, ", "))
	}
	if e := a.Machine.OnHostOnly; len(e) > 0 {
		line("", "emulates %s outside of containers alone: binfmt_misc has the handler without flag F", strings.Join(e, ", "))
	}
	if e := a.Machine.EmulationNotKnown; e != "" {
		line("", "emulation of other architectures: not known: %s", e)
	}
	if r := a.Runtime; r.Name != "" {
		line("runtime", "%s %s at %s (%s)", r.Name, r.Version, r.Endpoint, r.Source)
		for _, t := range sortedKeys(r.Conditions) {
			line("", "%s: %s", t, yes(r.Conditions[t]))
		}
		if r.Images != nil {
			line("images", "%d", *r.Images)
		}
		line("", "the runtime pulls for %s", r.Platform)
		for _, w := range r.WrongPlatform {
			used := ""
			if len(w.Pods) > 0 {
				used = ", used by " + strings.Join(w.Pods[:min(len(w.Pods), 3)], ", ")
			}
			line("", "built for %s, %s here: %s%s", w.Platform, a.Machine.fate(w.Platform), w.Name, used)
		}
		for _, image := range r.Missing {
			line("", "in use here, and its registry has it no more: %s", image)
		}
		for _, image := range r.Moved {
			line("", "in use here, and its tag names another image at its registry: %s", image)
		}
	}
	if a.Runtime.Skipped {
		line("runtime", "not checked: told to do without a container runtime")
	}
	if a.Runtime.Error != "" {
		line("runtime", "not seen: %s", firstLine(a.Runtime.Error))
	}
	for _, other := range a.Runtime.Others {
		line("", "there is another socket, not asked: %s", other)
	}
	switch n := a.Node; {
	case n.Skipped:
		line("node", "%s, not checked: told to do without an API server", n.Name)
	case n.Error != "":
		line("node", "%s, not seen: %s", n.Name, firstLine(n.Error))
	default:
		line("node", "%s, %s, kubelet %s, %s", n.Name, n.Architecture, n.KubeletVersion, n.OSImage)
		for _, c := range n.Conditions {
			line("", "%s: %s for %s (%s)", c.Type, c.Status, age(now.Sub(c.Since)), c.Reason)
		}
	}
	return err
}

// busy is how long tasks waited in the last minute, else the load average.
func busy(l *disk.Load) string {
	var parts []string
	for _, of := range []struct {
		name string
		p    *disk.Pressure
	}{{"CPU", l.CPU}, {"memory", l.Memory}, {"I/O", l.IO}} {
		if of.p != nil {
			parts = append(parts, fmt.Sprintf("%s %.0f%%", of.name, 100*of.p.Some.Avg60))
		}
	}
	switch {
	case len(parts) > 0:
		return "something waited, of the last minute: " + strings.Join(parts, ", ")
	case l.Average != nil:
		return fmt.Sprintf("load average %.1f, %.1f, %.1f", l.Average[0], l.Average[1], l.Average[2])
	}
	return ""
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}
