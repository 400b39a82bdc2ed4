package agent

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/internal/keyring"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/pkg/probe"
)

// Standing is how an image that is in use on this node stands at its registry, as far as that tells without credentials.
type Standing string

// The standings. The zero Standing is not known: the registry wants credentials, or was not reached.
const (
	There   Standing = "there"
	Moved   Standing = "moved"   // its tag names another image by now: the next node runs something else
	Missing Standing = "missing" // the next node cannot pull it
)

// ImageState is what a registry told of an image that this node uses, or cannot pull.
type ImageState struct {
	*probe.Image
	Registry string   `json:"registry"`
	Failing  bool     `json:"failing,omitempty"` // it was asked for since it cannot be pulled
	Standing Standing `json:"standing,omitempty"`
	// Logins are what came of the pull secrets that pods name which cannot pull it, where the agent is told to read these.
	Logins []keyring.Outcome `json:"logins,omitempty"`

	leave cause.Cause // for which the registry wants to be left alone, where it said so of a login
}

// usedImage is an image that a container of this node uses, by the name to ask for.
type usedImage struct {
	name, registry string
	digests        []string // that the node has of it, in that repository. CRI-O has those of an index and of the manifest that it took from it
}

// usedImages are the images in use that were pulled: by a tag where one names it, else by the digest.
func usedImages(index cri.ImageIndex, containers []*runtimeapi.Container) (used []usedImage) {
	seen := make(map[string]bool)
	for _, c := range containers {
		image := index.Of(c)
		if image == nil || seen[image.GetId()] {
			continue
		}
		seen[image.GetId()] = true
		var u usedImage
		repository := ""
		for _, digested := range image.GetRepoDigests() {
			named, err := reference.ParseDockerRef(digested)
			canonical, ok := named.(reference.Canonical)
			if err != nil || !ok || pulls.PulledFrom(digested) == "" || repository != "" && named.Name() != repository {
				continue
			}
			if repository == "" {
				u.name, u.registry, repository = digested, reference.Domain(named), named.Name()
			}
			u.digests = append(u.digests, canonical.Digest().String())
		}
		if repository == "" {
			continue
		}
		for _, tag := range image.GetRepoTags() {
			if strings.HasPrefix(tag, repository+":") {
				u.name = tag
				break
			}
		}
		used = append(used, u)
	}
	return used
}

// imagesTick is how often it is looked whether an image is due.
const imagesTick = 10 * time.Second

// imageWatch asks registries for images and keeps what they said.
type imageWatch struct {
	mu     sync.Mutex
	used   []usedImage
	states map[string]*ImageState

	forbidden map[string]time.Time // pull secrets that may not be read, since when; of the goroutine that asks
}

// use tells which images are in use.
func (w *imageWatch) use(used []usedImage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used = used
}

// wantedImages are the images to ask for, each with its registry: those in use, and those that cannot be pulled for a reason that the registry can say
// more of. What the network is to blame for, a probe of the registry tells. Only established registries are asked: a tenant may have typed another one.
func (a *Agent) wantedImages() (used, failing map[string]string, digests map[string][]string) {
	established := make(map[string]bool)
	names, _ := a.registryNames()
	for _, name := range names {
		established[name] = true
	}
	used, failing, digests = make(map[string]string), make(map[string]string), make(map[string][]string)
	w := &a.images
	w.mu.Lock()
	for _, u := range w.used {
		if established[u.registry] {
			used[u.name], digests[u.name] = u.registry, u.digests
		}
	}
	w.mu.Unlock()
	failures := a.snapshot.failures.Load().Value
	for i := range failures {
		f := &failures[i]
		if s := f.Cause.Scope(); established[f.Registry] && (s == cause.ScopeWorkload || s == cause.ScopeCredentials) && f.Image != "" {
			failing[f.Image] = f.Registry
		}
	}
	return used, failing, digests
}

// watchImages asks registries for images for as long as ctx lasts, one at a time.
func (a *Agent) watchImages(ctx context.Context) {
	plan := newImagePlan(a.registries.ImageInterval)
	a.images.forbidden = make(map[string]time.Time)
	for range every(ctx, min(imagesTick, a.registries.ImageInterval)) {
		now := time.Now()
		used, failing, digests := a.wantedImages()
		secrets := a.wantedSecrets()
		plan.want(used, failing, now)
		a.images.hurryImages(plan, secrets, now)
		name, deep, ok := plan.due(now)
		if !ok {
			a.publishImages(used, failing, secrets)
			continue
		}
		state := a.askImage(ctx, name, deep, digests[name], secrets[name])
		if ctx.Err() != nil {
			return // a stop says nothing of the image
		}
		if state != nil {
			if after := time.Duration(state.RetryAfter * float64(time.Second)); after > 0 {
				plan.leave(state.Registry, time.Now().Add(after))
			}
			a.images.mu.Lock()
			if a.images.states == nil {
				a.images.states = make(map[string]*ImageState)
			}
			a.images.states[name] = state
			a.images.mu.Unlock()
		}
		a.publishImages(used, failing, secrets)
	}
}

// askImage asks for one image: for all about it where it fails, and with the logins of pull secrets, else whether it is still what the node has.
// It is nil where the runtime's configuration could not be read.
func (a *Agent) askImage(ctx context.Context, name string, deep bool, digests, secrets []string) *ImageState {
	config, err := a.registries.configuration(ctx)
	if err != nil {
		return nil
	}
	prober := probe.Prober{Proxying: config.Proxying, UserAgent: a.registries.agent}
	state := &ImageState{Registry: pulls.Registry(name), Failing: deep}
	endpoints := config.Registries.Lookup(pulls.InFull(name))
	if deep {
		state.Image = prober.Image(ctx, name, endpoints, probe.Anywhere, probe.Machine{Runtime: a.runtimeName(), Platform: a.platform()})
		state.Layers = nil // what a person asks for is asked anew
		a.tryLogins(ctx, prober, name, endpoints, secrets, a.images.states[name], state)
	} else {
		state.Image = prober.Resolve(ctx, name, endpoints, probe.Anywhere)
		state.Standing = standing(state.Image, digests)
	}
	if state.OK != nil {
		a.metrics.CountImageProbe(state.Registry, state.Cause)
	}
	a.registries.sawLimit(state.Registry, state.RateLimit)
	a.log.Debug("image asked for", "image", name, "cause", state.Cause.String(), "standing", string(state.Standing))
	return state
}

// standing is how an image stands at its registry, beside the digests that the node has.
func standing(i *probe.Image, digests []string) Standing {
	switch {
	case i.OK == nil:
		return ""
	case i.Cause == cause.NotFound:
		return Missing
	case !*i.OK:
		return ""
	case !slices.Contains(digests, i.Digest):
		return Moved
	}
	return There
}

// publishImages makes what the registries said of images visible, and forgets those that nobody uses, and secrets that no pod names any more.
func (a *Agent) publishImages(used, failing map[string]string, secrets map[string][]string) {
	w := &a.images
	missing := make(map[string]int)
	for _, registry := range used {
		missing[registry] = 0
	}
	w.mu.Lock()
	var all []ImageState
	for name, state := range w.states {
		if used[name] == "" && failing[name] == "" {
			delete(w.states, name)
			continue
		}
		one := *state
		one.Logins = slices.DeleteFunc(slices.Clone(state.Logins), func(o keyring.Outcome) bool { return !slices.Contains(secrets[name], o.Secret) })
		all = append(all, one)
		if state.Standing == Missing && used[name] != "" {
			missing[state.Registry]++
		}
	}
	w.mu.Unlock()
	slices.SortFunc(all, func(x, y ImageState) int { return strings.Compare(x.Image.Image, y.Image.Image) })
	a.snapshot.imageProbes.Store(&Part[[]ImageState]{Value: all, At: time.Now()})
	a.metrics.SetImagesMissing(missing)
}
