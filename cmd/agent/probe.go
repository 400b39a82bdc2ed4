package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"github.com/spf13/cobra"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/pkg/probe"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

// probesAtOnce bounds the registries that one command asks at the same time.
const probesAtOnce = 8

// probeAnswer is what `pullwatch probe` prints.
type probeAnswer struct {
	Schema     string            `json:"schema"`
	Proxy      proxyAnswer       `json:"proxy"`
	Registries []*probe.Registry `json:"registries"`
	Images     []imageAnswer     `json:"images,omitempty"`
}

// imageAnswer is what a registry told of an image, and what this node has of it.
type imageAnswer struct {
	*probe.Image
	// ReadAs is the image that was asked for, where its name was written without a registry.
	ReadAs string `json:"readAs,omitempty"`
	// PresentBytes is how much of its layers is on the node and not fetched again, compressed; absent where that is not known.
	PresentBytes *int64 `json:"presentBytes,omitempty"`
}

// proxyAnswer is what is known of the runtime's proxy.
type proxyAnswer struct {
	Known  bool   `json:"known"`
	Source string `json:"source"`
}

func probeCommand(p *program) *cobra.Command {
	var o output
	var r reaching
	var watch time.Duration
	cmd := &cobra.Command{
		Use:   "probe [REGISTRY|IMAGE...]",
		Short: "Ask registries as this node's runtime would, and show which step fails",
		Long: `Asks registries the way the container runtime of this node does: the endpoints of its configuration in their order, with their
certificates, headers and proxy. It shows each step: the name's lookup, the connection, the proxy, the TLS handshake, the answer, the
token service. Of an image it asks further: the manifest, the platforms that are offered and the one that this node would take, what there is to
download, and one layer at the host that serves it. Nothing is pulled and no credentials are used.

A name without a path is a registry where it has a dot or is localhost, with or without a port. Every other one is an image of docker.io, as runtimes
read it: nginx:1.27, and registry:5000 too. With a slash at its end, registry:5000/, it is a registry.

Without names it asks every registry that this node uses: those its images came from, those that the runtime's configuration names, and,
where an agent runs, those that failing pods name. It needs no agent, no API server and, with names, no runtime.

Exit codes: 0 each was reached; 1 one was not; 2 that could not be told, or wrong use.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(o.validate(), r.validate()); err != nil {
				return err
			}
			if cmd.Flags().Changed("watch") && watch < time.Second {
				return &usageError{fmt.Sprintf("--watch %s is below 1s", watch), "Each round asks every registry; give a duration such as 10s."}
			}
			var targets []target
			for _, name := range distinct(args) {
				t, err := targetOf(name)
				if err != nil {
					return err
				}
				targets = append(targets, t)
				if t.image != "" && canBeRegistry(name) {
					p.note("%q is taken for the image %s. Write %s/ for a registry of that name.", name, t.image, name)
				}
			}
			for {
				answer, err := p.probe(cmd.Context(), &r, targets)
				if err == nil {
					err = p.printProbe(&o, answer)
				}
				if watch == 0 || err != nil {
					if err != nil {
						return err
					}
					return answer.outcome()
				}
				select {
				case <-cmd.Context().Done():
					return nil
				case <-time.After(watch):
				}
			}
		},
	}
	o.flags(cmd.Flags(), "")
	r.flags(cmd.Flags())
	cmd.Flags().DurationVarP(&watch, "watch", "w", 0, "ask again after this time, until interrupted")
	cmd.Flags().Lookup("watch").NoOptDefVal = "10s"
	return cmd
}

// probe asks registries, or all that the node uses.
func (p *program) probe(ctx context.Context, r *reaching, targets []target) (*probeAnswer, error) {
	config, used, err := p.runtimeConfig(ctx, r)
	if err != nil && len(targets) == 0 {
		return nil, err
	}
	if err != nil {
		p.note("Not known: whom the runtime would ask: %s", firstLine(err.Error()))
	}
	if len(targets) > 0 {
		used = nil // a person names them: whatever address they have is meant
	}
	names := slices.Collect(maps.Keys(used))
	var images []target
	for _, t := range targets {
		names = append(names, t.registry)
		if t.image != "" && !slices.Contains(images, t) {
			images = append(images, t)
		}
	}
	names = distinct(names)
	answer := &probeAnswer{
		Schema: "pullwatch.probe/v1", Proxy: proxyAnswer{config.Proxying.Known, config.Proxying.Source},
		Registries: make([]*probe.Registry, len(names)), Images: make([]imageAnswer, len(images)),
	}
	prober := probe.Prober{Proxying: config.Proxying, UserAgent: "pullwatch/" + build.version}
	stop := p.progress(fmt.Sprintf("asking %d registries", len(names)))
	defer stop()
	var all sync.WaitGroup
	slots := make(chan struct{}, probesAtOnce)
	for i, name := range names {
		all.Go(func() {
			slots <- struct{}{}
			answer.Registries[i] = prober.Registry(ctx, config.Registries.Lookup(name), used[name])
			<-slots
		})
	}
	if len(images) > 0 {
		machine := probe.Machine{Runtime: config.Name, Platform: p.platform(ctx)}
		for i, image := range images {
			all.Go(func() {
				slots <- struct{}{}
				answer.Images[i] = imageAnswer{Image: prober.Image(ctx, image.name, config.Registries.Lookup(image.image), probe.Anywhere, machine), ReadAs: image.readAs()}
				<-slots
			})
		}
	}
	all.Wait()
	if len(images) > 0 {
		p.presence(ctx, answer.Images)
	}
	return answer, ctx.Err()
}

// presence tells how much of each image the node has, where its runtime answers.
func (p *program) presence(ctx context.Context, images []imageAnswer) {
	client, _, err := p.settings.runtime()
	if err != nil {
		return // which was said before
	}
	defer func() { _ = client.Close() }()
	present, err := client.ListImages(ctx)
	if err != nil {
		return
	}
	configs, err := imageConfigs(ctx, client, present)
	if err != nil {
		p.note("Not known: the layers of some images on this node: %v", err)
	}
	chains := make(map[digest.Digest]bool)
	for _, c := range configs {
		for _, chain := range identity.ChainIDs(c.DiffIDs) {
			chains[chain] = true
		}
	}
	for i := range images {
		if bytes, known := images[i].Image.PresentBytes(func(chain digest.Digest) bool { return chains[chain] }); known && len(images[i].Layers) > 0 {
			images[i].PresentBytes = &bytes
		}
	}
}

// distinct names each once, in the order of the alphabet.
func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// target is what a person means by a name: an image, in full, or, where that is empty, the registry as a whole.
type target struct{ name, registry, image string }

// readAs is the image in full, where its name does not tell the registry.
func (t *target) readAs() string {
	if strings.HasPrefix(t.name, t.registry+"/") {
		return ""
	}
	return t.image
}

// canBeRegistry tells whether a name may stand before an image's path as its registry.
func canBeRegistry(name string) bool {
	return name != "" && !strings.Contains(name, "/") && pulls.Registry(name+"/a:b") == name
}

// targetOf reads a name. Of those that may be either, postgres:16 is an image, as runtimes read it, and what has a dot or is localhost a registry.
func targetOf(name string) (target, error) {
	bare, slashed := strings.CutSuffix(name, "/")
	host, _, _ := strings.Cut(bare, ":")
	registry := pulls.Registry(bare) // empty for what no image is called, as [fd00::1]:5000
	if canBeRegistry(bare) && (slashed || host == "localhost" || strings.Contains(bare, ".") || registry == "") {
		return target{name, bare, ""}, nil
	}
	if registry == "" || slashed {
		return target{}, &usageError{fmt.Sprintf("%q is neither a registry nor an image", name), "Write registry.example.com:5000, or an image as pods name it."}
	}
	return target{name, registry, pulls.InFull(name)}, nil
}

// runtimeConfig is the runtime's configuration, and the registries that this node uses, with the addresses that a probe of them may connect to. A runtime
// that does not answer is told by the files that it would read.
func (p *program) runtimeConfig(ctx context.Context, r *reaching) (config agent.RuntimeConfig, used map[string]probe.Reach, err error) {
	used = make(map[string]probe.Reach)
	uses := func(names []string) {
		for _, name := range names {
			used[name] = probe.Anywhere
		}
	}
	client, found, err := p.settings.runtime()
	if err == nil {
		defer func() { _ = client.Close() }()
		config, err = agent.ReadRuntimeConfig(ctx, client, found.Runtime.Value, r.containerdConfig, r.proxy)
	}
	if err != nil {
		of := registries.Runtime{ConfigFile: r.containerdConfig}
		switch {
		case exists("/etc/crio/crio.conf") || exists("/etc/crio/crio.conf.d"):
			of.Name = "cri-o"
		case r.containerdConfig != "" || exists(registries.ContainerdConfigFile):
			of.Name = "containerd"
		}
		opened, wrong := registries.Open(of)
		if wrong != nil {
			return config, nil, wrong
		}
		uses(opened.Named())
		return agent.RuntimeConfig{Name: of.Name, Registries: opened, Proxying: r.proxy(registries.UnitsOf(of.Name, ""))}, used, err
	}
	uses(config.Registries.Named())
	images, err := client.ListImages(ctx)
	if err != nil {
		return config, used, err
	}
	for _, image := range images {
		for _, name := range image.GetRepoDigests() {
			if registry := pulls.PulledFrom(name); registry != "" {
				used[registry] = probe.Anywhere
			}
		}
	}
	if snapshot, err := p.snapshot(ctx); err == nil {
		knownToAgent(used, snapshot.Registries.Value)
	}
	return config, used, nil
}

// knownToAgent adds the registries that the agent knows. One that only a pod names may have any address, and the person who types no name did not mean it.
func knownToAgent(used map[string]probe.Reach, states []agent.RegistryState) {
	for i := range states {
		name := states[i].Registry.Registry
		if _, ok := used[name]; ok {
			continue
		}
		used[name] = probe.Anywhere
		if !states[i].Established {
			used[name] = probe.NotThisNode
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// outcome is the command's: not fine where one was not reached, and could not tell where that is not known of one.
func (a *probeAnswer) outcome() error {
	var unknown []string
	for _, r := range a.Registries {
		switch {
		case r.OK == nil:
			unknown = append(unknown, r.Registry)
		case !*r.OK:
			return errNotFine
		}
	}
	for _, i := range a.Images {
		switch {
		case i.OK == nil:
			unknown = append(unknown, i.Image.Image)
		case !*i.OK:
			return errNotFine
		}
	}
	if len(unknown) > 0 {
		return &usageError{fmt.Sprintf("of %s it cannot be told whether the runtime reaches it", strings.Join(unknown, ", ")), "See what is not known above; --proxy-from tells how the runtime is proxied."}
	}
	return nil
}
