package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/internal/nodestatus"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/pkg/cri"
)

// leastProbeInterval keeps a mistyped interval from being an attack on a registry.
const leastProbeInterval = 10 * time.Second

// runFlags are the settings of the agent alone.
type runFlags struct {
	listen, webConfig, page   string
	registries                []string
	maxFailing, maxRegistries int
	conditions                bool
	heartbeat                 time.Duration
	reaching                  reaching
	looking                   looking
	probeInterval             time.Duration
	maxProbed                 int
	imageInterval             time.Duration
	rateLimitImages           []string
	excluded                  []string
	pullSecrets               bool
	standalone                bool
	logFormat                 string
}

func runCommand(p *program) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the agent",
		Long: `Runs the agent of this node until it is told to stop: follows the node's pods and the container runtime, names the cause of each
pull that fails, and serves metrics and health on --listen-address, a page for people on --page-address, and the other commands on --socket.

What is missing costs only what depends on it: without an API server (--no-kube) no pod is known, without a runtime (--no-runtime) no image.

Exit codes: 0 stopped as told, 2 could not start.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.run(cmd.Context(), &f) },
	}
	f.add(cmd)
	return cmd
}

func (f *runFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen-address", ":9767", "address of /metrics, /healthz and /readyz; empty serves none")
	flags.StringVar(&f.webConfig, "web-config-file", "", "file with TLS and basic auth for --listen-address, as Prometheus exporters take it")
	flags.StringVar(&f.page, "page-address", "127.0.0.1:9768", "address of the page for people; empty serves none. It shows the names, images and errors of every failing pod of this node "+
		"to whoever reaches it: at the default every process on the node's network, and with another address whoever reaches that")
	flags.StringSliceVar(&f.registries, "registry", nil, "registry that this node is meant to reach, though no image has come from it yet (repeatable)")
	flags.IntVar(&f.maxFailing, "max-failing-series", 100, "most series of single failing containers in /metrics")
	flags.IntVar(&f.maxRegistries, "max-registries", 20, "most registries named only by pods that get a label value of their own in /metrics")
	flags.BoolVar(&f.conditions, "node-conditions", true, "write the node's conditions ContainerRuntimeUnavailable, ImagePullFailing, RegistryUnreachable and ImageFilesystemPressure")
	flags.DurationVar(&f.heartbeat, "heartbeat-interval", nodestatus.Heartbeat, "time between two writes of node conditions that do not change, at least "+nodestatus.HeartbeatLeast.String())
	flags.DurationVar(&f.probeInterval, "probe-interval", 5*time.Minute, "time between two probes of a registry, at least 10s; 0 probes none")
	flags.IntVar(&f.maxProbed, "max-probed-registries", 50, "most registries that are probed; those this node has pulled from come first")
	flags.StringArrayVar(&f.excluded, "exclude-registry", nil, "registry that is never probed (repeatable)")
	flags.DurationVar(&f.imageInterval, "image-probe-interval", time.Hour, "time between two questions to a registry about an image that is in use here, each in turn, at least 10s; 0 asks for none")
	flags.StringArrayVar(&f.rateLimitImages, "rate-limit-image", nil, "image asked for by HEAD with each probe of its registry, to read what is left of the rate limit, such as docker.io/ratelimitpreview/test (repeatable)")
	flags.BoolVar(&f.pullSecrets, "pull-secrets", false, "read the imagePullSecrets that pods name which cannot pull for want of credentials, each by its name, and ask the registry with their logins too; "+
		"takes the right to get just these secrets, which whoever takes over one node then has")
	flags.BoolVar(&f.standalone, "standalone", false, "the same as --no-kube")
	f.reaching.flags(flags)
	f.looking.flags(flags)
	flags.DurationVar(&f.looking.disk.Window, "disk-window", 30*time.Minute, "how far ahead a full disk makes the condition ImageFilesystemPressure true, at least 1m")
	flags.StringVar(&f.logFormat, "log-format", "auto", "json, text, or auto: text on a terminal")
}

func (p *program) run(ctx context.Context, f *runFlags) error {
	log, err := p.logger(f.logFormat)
	if err != nil {
		return err
	}
	if f.maxFailing < 0 || f.maxRegistries < 0 {
		return &usageError{"--max-failing-series and --max-registries cannot be below 0", "0 writes none."}
	}
	if f.heartbeat < nodestatus.HeartbeatLeast {
		return &usageError{fmt.Sprintf("--heartbeat-interval %s is below %s", f.heartbeat, nodestatus.HeartbeatLeast),
			"Each write of a node's conditions reaches every watcher of nodes in the cluster; the default is " + nodestatus.Heartbeat.String() + "."}
	}
	if err := f.reaching.validate(); err != nil {
		return err
	}
	if f.probeInterval != 0 && f.probeInterval < leastProbeInterval || f.maxProbed < 0 {
		return &usageError{fmt.Sprintf("--probe-interval %s or --max-probed-registries %d makes no sense", f.probeInterval, f.maxProbed),
			"Every node of the cluster asks every registry so often: give an interval of " + leastProbeInterval.String() + " or more, or 0 for none."}
	}
	if f.looking.disk.Window < time.Minute {
		return &usageError{fmt.Sprintf("--disk-window %s is below 1m", f.looking.disk.Window), "Give the time that somebody needs to look, such as 30m."}
	}
	if f.imageInterval != 0 && f.imageInterval < leastProbeInterval {
		return &usageError{fmt.Sprintf("--image-probe-interval %s is below %s", f.imageInterval, leastProbeInterval),
			"Every node of the cluster asks every registry so often: give an hour, or 0 for none."}
	}
	for _, image := range f.rateLimitImages {
		if pulls.Registry(image) == "" {
			return &usageError{fmt.Sprintf("--rate-limit-image %q is no image", image), "Give one as pods name it: docker.io/ratelimitpreview/test."}
		}
	}
	p.settings.noKube = p.settings.noKube || f.standalone
	if f.pullSecrets && (p.settings.noKube || p.settings.noRuntime || f.probeInterval == 0 || f.imageInterval == 0) {
		return &usageError{"--pull-secrets, and no API server to read them from or no registry to ask", "Leave out --pull-secrets, or --no-kube, --no-runtime, --probe-interval=0 and --image-probe-interval=0."}
	}
	for _, registry := range slices.Concat(f.registries, f.excluded) {
		if pulls.Registry(registry+"/a:b") != registry {
			return &usageError{fmt.Sprintf("--registry %q is no registry", registry), "Give the host, and the port if it has one, as image names do: registry.example.com:5000."}
		}
	}
	klog.SetLogger(logr.Discard()) // client-go's own log repeats what the streams tell
	tuneMemory(log)
	config := agent.Config{
		Version: build.version, Revision: build.revision, NodeName: p.settings.nodeName,
		Settings: p.settings.criSettings(), NoRuntime: p.settings.noRuntime, Timeout: p.settings.timeout,
		Registries: f.registries, Conditions: f.conditions, Heartbeat: f.heartbeat, Probing: agent.Probing{
			Interval: f.probeInterval, Most: f.maxProbed, Exclude: f.excluded, ImageInterval: f.imageInterval, PullSecrets: f.pullSecrets, RateLimitImages: f.rateLimitImages,
			Proxy: f.reaching.proxy, ContainerdConfig: f.reaching.containerdConfig,
		},
		Disk: f.looking.disk, MaxFailingSeries: f.maxFailing, MaxRegistries: f.maxRegistries,
		Page:   agent.Page{Address: f.page, Optional: p.settings.sources["page-address"] == ""}, // two agents on a machine may both be left at the default
		Listen: f.listen, WebConfig: f.webConfig, Socket: p.settings.socket, Log: log,
	}
	// That no socket exists yet may pass; a setting that is wrong will not.
	if _, err := p.settings.discover(); err != nil && !p.settings.noRuntime && cri.KindOf(err) != cri.Missing {
		return err
	}
	if !p.settings.noKube {
		if config.Kube, err = p.settings.kube(); err != nil {
			return withHint(err, "Name one with --kubeconfig, or do without it with --no-kube.")
		}
		if err := checkNode(ctx, config.Kube, log); err != nil {
			return err
		}
	}
	return agent.New(config).Run(ctx)
}

// checkNode stops an agent that was given the name of a node that does not exist: it would wait for its pods forever. Any other trouble
// with the API server may pass.
func checkNode(ctx context.Context, k *kube.Client, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := k.Node(ctx)
	var e *kube.Error
	if errors.As(err, &e) && e.NotFound() {
		return err
	}
	if err != nil {
		log.Warn("own node not read yet", "error", err, "hint", hintOf(err))
	}
	return nil
}

func (p *program) logger(format string) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if p.settings.debug {
		options.Level = slog.LevelDebug
	}
	if format == "auto" {
		format = "json"
		if isTerminal(p.stderr) {
			format = "text"
		}
	}
	var handler slog.Handler
	switch format {
	case "json":
		handler = slog.NewJSONHandler(p.stderr, options)
	case "text":
		handler = slog.NewTextHandler(p.stderr, options)
	default:
		return nil, &usageError{fmt.Sprintf("--log-format %q: no such format", format), "Formats are json, text and auto."}
	}
	log := slog.New(handler)
	slog.SetDefault(log)
	return log, nil
}

// tuneMemory keeps the agent small: its garbage is little, so collecting it sooner costs nothing that is seen. Within a cgroup with a
// memory limit, Go's own limit is 85% of it, since the downward API can only tell it all.
func tuneMemory(log *slog.Logger) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if limit := memoryLimit("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"); limit > 0 {
		debug.SetMemoryLimit(limit / 100 * 85)
		log.Debug("memory limit", "cgroupBytes", limit)
	}
}

// memoryLimit reads the first of the cgroup files (version 2, then 1) that exists, in bytes; 0 is none.
func memoryLimit(files ...string) int64 {
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil || limit > math.MaxInt64/2 { // "max", and version 1's way to say it
			return 0
		}
		return limit
	}
	return 0
}

// withHint gives an error a sentence on what to do, where it has none.
func withHint(err error, hint string) error {
	if err == nil || hintOf(err) != "" {
		return err
	}
	return &hinted{err, hint}
}

type hinted struct {
	error
	hint string
}

func (h *hinted) Hint() string  { return h.hint }
func (h *hinted) Unwrap() error { return h.error }
