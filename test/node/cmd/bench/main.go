// Command bench measures the agent on a real node, beside a peer in the same run, and writes docs/BENCHMARKS.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/pullwatch/pullwatch/test/node"
)

const (
	pods   = 30 // on the node, half of them broken
	images = 60
)

func main() { os.Exit(Main(os.Args[1:])) }

// Main runs the benchmarks and returns the exit code.
func Main(args []string) int {
	if len(args) > 0 && args[0] == proberCommand {
		fmt.Fprintln(os.Stderr, "bench:", prober(args[1:]))
		return 1
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	agent := flags.String("agent", "", "the pullwatch binary")
	page := flags.String("page", "", "Markdown file to write; standard output where empty")
	rest := flags.Duration("rest", 5*time.Minute, "how long the agent and the peer run before they are read")
	only := flags.String("only", "", "measure nothing else, and print that section: probe, or many (registries)")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	measure := func() (string, error) { return bench(ctx, *agent, *rest) }
	switch *only {
	case "":
	case "probe":
		*page, measure = "", func() (string, error) { return benchAlone(ctx, *agent, (*run).probes) }
	case "many":
		*page, measure = "", func() (string, error) { return benchAlone(ctx, *agent, (*run).many) }
	default:
		fmt.Fprintf(os.Stderr, "bench: --only %s: there are probe and many\n", *only)
		return 2
	}
	text, err := measure()
	if err == nil {
		if *page == "" {
			_, err = os.Stdout.WriteString(text)
		} else {
			err = os.WriteFile(*page, []byte(text), 0o644)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func bench(ctx context.Context, bin string, rest time.Duration) (string, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(bin)
	if err != nil {
		return "", fmt.Errorf("%w\nbuild the agent first: make build", err)
	}
	p := node.NewProgress(os.Stderr)
	n, err := node.Start(ctx, node.Options{Out: os.Stderr})
	if err != nil {
		return "", err
	}
	defer func() {
		if err := n.Down(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}()
	if err := populate(ctx, n, p); err != nil {
		return "", err
	}
	b := &run{n: n, bin: bin, progress: p}
	if err := b.startBoth(ctx); err != nil {
		return "", err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "# Benchmarks\n\nMade by `make bench` on %s: %s, %d cores, %s/%s. Debian's `prometheus-node-exporter` runs beside the agent in\nthe same minutes, and both are scraped every 15 s. These machines are noisy: read the ratios.\n",
		time.Now().UTC().Format("2006-01-02"), runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	for _, part := range []func(context.Context, *strings.Builder) error{
		func(ctx context.Context, out *strings.Builder) error { return b.atRest(ctx, out, rest, info.Size()) },
		b.latency, b.commands, b.soak, b.probes, b.many, largeNode, scrape, classifier,
	} {
		if err := part(ctx, &out); err != nil {
			return "", err
		}
	}
	return out.String(), nil
}

// populate makes a node like any other: images from earlier days, pods that run and pods that cannot pull.
func populate(ctx context.Context, n *node.Node, p *node.Progress) error {
	if err := n.PullTags(ctx, images); err != nil {
		return err
	}
	p.Say("%d images are on the node", images)
	broken := 0
	for _, b := range n.Possible() {
		if broken == pods/2 {
			break
		}
		if b.Kind == "sandbox" || b.Slow > 0 {
			continue
		}
		if err := n.Break(ctx, b); err != nil {
			return err
		}
		broken++
	}
	for i := range pods - broken {
		if _, err := n.CreatePod(ctx, n.Pod(fmt.Sprintf("good-%d", i+1), n.GoodImage())); err != nil {
			return err
		}
	}
	p.Say("%d pods, %d of them broken", pods, broken)
	return nil
}
