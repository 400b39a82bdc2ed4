// Command node brings up a real Kubernetes node on this machine, breaks image pulls on it, and mends them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/pullwatch/pullwatch/test/node"
)

const usage = `node runs a real Kubernetes node on this machine, for tests and for a first look.

  node up      [--containerd 1.6|2.4] [--kubelet 1.34|1.31] [--small-disk MiB]
  node demo    --agent PATH [--pods N] [--images N]   bring up, break pods, run the agent, show what it sees
  node quickstart --agent PATH  bring up containerd and registries alone, run the agent, show what it sees
  node status                  what runs, and what can be broken
  node break   [NAME...]       break pods; without names in every way
  node mend    NAME...         remove faults: the pods run at the kubelet's next try
  node texts                   what the kubelet says: pod, reason, message and image, separated by tabs
  node down                    stop everything and leave nothing: of demo and quickstart both, without --dir

All take --dir DIR (default ` + node.DemoDir + `; of quickstart ` + node.QuickstartDir + `).
`

// errUsage is a wrong use: exit 2.
var errUsage = errors.New("see: node help")

func main() { os.Exit(Main(os.Args[1:])) }

// Main runs the command and returns its exit code.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, args)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "node:", err)
	if errors.Is(err, errUsage) || errors.Is(err, flag.ErrHelp) {
		return 2
	}
	return 1
}

// flags of all commands.
type flags struct {
	dir, containerd, kubelet, agent string
	smallDisk, pods, images         int
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Print(usage)
		return nil
	}
	commands := map[string]func(context.Context, flags, []string) error{
		"up": up, "down": down, "status": status, "break": breakPods, "mend": mend, "texts": texts, "demo": demo, "quickstart": quickstart,
	}
	command, ok := commands[args[0]]
	if !ok {
		return fmt.Errorf("no command %q\n%w", args[0], errUsage)
	}
	var f flags
	set := flag.NewFlagSet("node "+args[0], flag.ContinueOnError)
	dir := node.DemoDir
	switch args[0] {
	case "quickstart":
		dir = node.QuickstartDir
	case "down":
		dir = "" // both
	}
	set.StringVar(&f.dir, "dir", dir, "directory of the node")
	if args[0] == "up" || args[0] == "demo" {
		set.StringVar(&f.containerd, "containerd", node.Containerd16, "containerd: 1.6 (Debian's) or 2.4 (compiled)")
		set.StringVar(&f.kubelet, "kubelet", node.Kubelet134, "kubelet: 1.34 or 1.31")
		set.IntVar(&f.smallDisk, "small-disk", 0, "size in MiB of a disk for containerd alone; 0 is none")
	}
	if args[0] == "demo" || args[0] == "quickstart" {
		set.StringVar(&f.agent, "agent", "", "the pullwatch binary")
	}
	if args[0] == "demo" {
		set.IntVar(&f.pods, "pods", 30, "pods in all")
		set.IntVar(&f.images, "images", 60, "tags in the runtime's store besides")
	}
	if err := set.Parse(args[1:]); err != nil {
		return fmt.Errorf("%w\n%w", err, errUsage)
	}
	return command(ctx, f, set.Args())
}

func (f flags) options() node.Options {
	o := node.Demo(os.Stderr)
	o.Dir, o.Containerd, o.Kubelet = strings.TrimRight(f.dir, "/"), f.containerd, f.kubelet
	if f.smallDisk != 0 {
		o.SmallDiskMiB = f.smallDisk
	}
	if o.Dir != node.DemoDir {
		o.BasePort = 0 // the demo's ports are for the demo
	}
	return o
}
