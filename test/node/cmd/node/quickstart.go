package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/test/node"
)

// registryMetrics are the lines of /metrics that the quickstart prints.
var registryMetrics = regexp.MustCompile(`^pullwatch_registry_(up|endpoint_up|probe_failures_total|serving_endpoint_info)`)

// quickstart shows the agent beside a real runtime and registries, without Kubernetes.
func quickstart(ctx context.Context, f flags, _ []string) error {
	agent, err := agentProgram(f)
	if err != nil {
		return err
	}
	p := node.NewProgress(os.Stderr)
	n, err := bringUp(ctx, f.quickstartOptions(), p)
	if err != nil {
		return err
	}
	if err := n.MakeExamples(ctx); err != nil {
		return err
	}
	p.Say("%d images are on the node", len(node.ExampleImages))
	socket, err := runAgent(n, agent, "--standalone", "--proxy-from=none", "--probe-interval=10s")
	if err != nil {
		return err
	}
	p.Say("the agent runs, its log is %s", n.LogFile(agentPart))
	at := []string{"-r", n.CRISocket(), "--socket", socket}
	probe := append([]string{"probe", "--proxy-from=none"}, at...)
	if err := waitForExamples(ctx, n, agent, probe); err != nil {
		return fmt.Errorf("%w\nlook into %s", err, n.LogFile(agentPart))
	}
	p.Say("each registry is seen as it is")

	fmt.Printf("\nThe registries of this node:\n")
	for _, e := range n.Examples() {
		fmt.Printf("  %s  %s\n", e.Registry, e.What)
	}
	for _, args := range [][]string{probe, append([]string{"images"}, at...), append([]string{"info"}, at...)} {
		fmt.Printf("\n$ pullwatch %s\n", strings.Join(args, " "))
		out, err := output(ctx, agent, args...)
		if err != nil {
			return err
		}
		fmt.Printf("%s", out)
	}
	metrics := "http://" + n.Addr(agentPart) + "/metrics"
	fmt.Printf("\n$ curl -s %s | grep -E '%s'\n", metrics, registryMetrics)
	if err := printMetrics(ctx, metrics, registryMetrics); err != nil {
		return err
	}
	fmt.Printf(`
Look around:
  %[1]s %[2]s
  %[1]s images %[3]s
  %[1]s pull %[3]s %[4]s/shop/web:1.27-alpnie
  curl -s %[5]s
  what the runtime is told of registries   %[6]s
  what the agent says                      %[7]s
Bring the dead mirror to life, and probe again:
  curl -X POST http://%[8]s/mend/refused
Stop everything:
  make down
`, agent, strings.Join(probe, " "), strings.Join(at, " "), n.RegistryAddr(), metrics, filepath.Join(n.Dir, "certs.d"), n.LogFile(agentPart), n.Addr(node.PartFaults))
	return nil
}

func (f flags) quickstartOptions() node.Options {
	o := node.Quickstart(os.Stderr)
	if dir := strings.TrimRight(f.dir, "/"); dir != o.Dir {
		o.Dir, o.BasePort = dir, 0 // the quickstart's ports are for the quickstart
	}
	return o
}

// waitForExamples waits until the agent is ready and has told of each registry what the prompt tells too.
func waitForExamples(ctx context.Context, n *node.Node, agent string, probe []string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		err := examplesSeen(ctx, n, agent, probe)
		if err == nil {
			return nil
		}
		if n.PID(agentPart) == 0 {
			return fmt.Errorf("the agent has ended")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the agent does not show what it should: %w", err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func examplesSeen(ctx context.Context, n *node.Node, agent string, probe []string) error {
	resp, err := get(ctx, "http://"+n.Addr(agentPart)+"/readyz")
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp, err = get(ctx, "http://"+n.Addr(agentPart)+"/metrics"); err != nil {
		return err
	}
	defer resp.Body.Close()
	metrics, err := node.ReadScrape(resp.Body)
	if err != nil {
		return err
	}
	for _, e := range n.Examples() {
		want := 0.0
		if e.Cause == "" {
			want = 1
		}
		if up, series := metrics.Sum("pullwatch_registry_up", `registry="`+e.Registry+`"`); series != 1 || up != want {
			return fmt.Errorf("%s %s: pullwatch_registry_up is %v in %d series", e.Registry, e.What, up, series)
		}
	}
	out, err := output(ctx, agent, append(probe, "-o", "json")...)
	if err != nil {
		return err
	}
	return compareExamples(out, n.Examples())
}

// compareExamples holds what `pullwatch probe -o json` says against what the registries are.
func compareExamples(out []byte, examples []node.Example) error {
	var got struct {
		Registries []struct {
			Registry, Cause string
			OK              bool
			Endpoints       []struct{ Cause string }
		}
	}
	if err := json.Unmarshal(out, &got); err != nil {
		return fmt.Errorf("pullwatch probe -o json: %w", err)
	}
	if len(got.Registries) != len(examples) {
		return fmt.Errorf("%d registries are probed, want %d", len(got.Registries), len(examples))
	}
	for i, r := range got.Registries { // both are in the order of the names
		e := examples[i]
		first := e.Cause
		if e.MirrorCause != "" {
			first = e.MirrorCause
		}
		if r.Registry != e.Registry || r.OK != (e.Cause == "") || r.Cause != e.Cause || r.Endpoints[0].Cause != first {
			return fmt.Errorf("%s %s: %+v", e.Registry, e.What, r)
		}
	}
	return nil
}
