// Command fleet measures what the agents of many nodes cost the API server, and writes docs/FLEET.md.
//
// etcd and the API server are real, and so is each agent: a process of its own, as on a node of its own. The nodes and pods are objects
// with nothing behind them, and one fake runtime answers all agents.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pullwatch/pullwatch/pkg/cri/critest"
	"github.com/pullwatch/pullwatch/test/node"
)

// options say how large the fleet is and for how long it is measured.
type options struct {
	agent       string // the binary
	nodes, pods int    // pods on each node
	rest, load  time.Duration
}

func main() { os.Exit(Main(os.Args[1:])) }

// Main runs the measurement and returns the exit code.
func Main(args []string) int {
	var o options
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	flags.StringVar(&o.agent, "agent", "", "the pullwatch binary")
	flags.IntVar(&o.nodes, "nodes", 300, "nodes, each with an agent")
	flags.IntVar(&o.pods, "pods", 30, "pods on each node")
	flags.DurationVar(&o.rest, "rest", 11*time.Minute, "how long the agents are measured at rest; two heartbeats at least")
	flags.DurationVar(&o.load, "load", 2*time.Minute, "how long everything else is measured")
	page := flags.String("page", "", "Markdown file to write; standard output where empty")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := measure(ctx, o)
	if err == nil {
		if text := r.page(); *page == "" {
			_, err = os.Stdout.WriteString(text)
		} else {
			err = os.WriteFile(*page, []byte(text), 0o644)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		return 1
	}
	return 0
}

// fleet is the cluster that is measured.
type fleet struct {
	options
	n        *node.Node
	client   kubernetes.Interface // of the stand-ins, in protobuf as kubelets speak
	runtime  *critest.Runtime
	progress *node.Progress

	nodeBytes, podBytes int // of one object, as it is stored
	agentPIDs           []int
}

// measure brings up the cluster, measures it without and with agents, and takes it down.
func measure(ctx context.Context, o options) (_ *report, err error) {
	if o.agent, err = filepath.Abs(o.agent); err != nil {
		return nil, err
	}
	if _, err := os.Stat(o.agent); err != nil {
		return nil, fmt.Errorf("%w\nbuild the agent first: make build", err)
	}
	p := node.NewProgress(os.Stderr)
	n, err := node.Start(ctx, node.Options{ControlPlaneOnly: true, Out: os.Stderr})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.Down()) }()
	config, err := clientcmd.BuildConfigFromFlags("", n.Kubeconfig(node.Admin))
	if err != nil {
		return nil, err
	}
	config.QPS, config.ContentType = -1, "application/vnd.kubernetes.protobuf"
	f := &fleet{options: o, n: n, runtime: critest.New(critest.Containerd2), progress: p}
	if f.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	if err := f.runtime.Serve(filepath.Join(n.Dir, "runtime.sock")); err != nil {
		return nil, err
	}
	defer f.runtime.Stop()
	if err := f.populate(ctx); err != nil {
		return nil, err
	}
	return f.measure(ctx)
}

// measure goes through the life of the fleet. The order matters: everything is measured without agents first, and they stay from then on.
func (f *fleet) measure(ctx context.Context) (*report, error) {
	r := &report{fleet: f}
	steps := []struct {
		to   *span
		name string
		last time.Duration
		work func(context.Context) error
	}{
		{nil, "settling", f.load / 2, nil},
		{&r.rest.without, "no agents, at rest", f.load, nil},
		{&r.churn.without, "no agents, pods that change", f.load, f.churn},
		{&r.kubelets.without, "no agents, heartbeats of kubelets", f.load, f.kubelets},
		{&r.start, "all agents start", f.load, func(ctx context.Context) (err error) { r.ready, err = f.startAgents(ctx); return err }},
		{&r.rest.with, "agents at rest", f.rest, nil},
		{&r.churn.with, "agents, pods that change", f.load, f.churn},
		{&r.kubelets.with, "agents, heartbeats of kubelets", f.load, f.kubelets},
		{&r.restart, "the API server is restarted", max(f.load, time.Minute), func(ctx context.Context) error { return f.n.Restart(ctx, node.PartAPIServer) }},
	}
	for _, step := range steps {
		f.progress.Say("%s: %s", step.name, step.last)
		s, err := f.during(ctx, step.last, step.work)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
		if step.to != nil {
			*step.to = s
		}
	}
	return r, r.readAudit()
}
