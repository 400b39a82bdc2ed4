package agent

import (
	"maps"
	"slices"
	"sync"

	"github.com/distribution/reference"

	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/internal/pulls"
)

// podSinks tells several of the pods of one stream.
type podSinks []kube.PodSink

// Replace is told the whole list.
func (s podSinks) Replace(pods []kube.Pod) {
	for _, sink := range s {
		sink.Replace(pods)
	}
}

// Observe is told a pod as it is now.
func (s podSinks) Observe(p kube.Pod) {
	for _, sink := range s {
		sink.Observe(p)
	}
}

// Forget is told that a pod is gone.
func (s podSinks) Forget(uid string) {
	for _, sink := range s {
		sink.Forget(uid)
	}
}

// ofPods remembers something of the containers of each pod that has not finished.
type ofPods struct {
	read func(*kube.Container) []string

	mu   sync.Mutex
	pods map[string][]string // by UID
}

// Replace is told the whole list.
func (o *ofPods) Replace(pods []kube.Pod) {
	o.mu.Lock()
	o.pods = nil
	o.mu.Unlock()
	for i := range pods {
		o.Observe(pods[i])
	}
}

// Observe is told a pod as it is now.
func (o *ofPods) Observe(p kube.Pod) {
	var all []string
	for i := range p.Containers {
		all = append(all, o.read(&p.Containers[i])...)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(all) == 0 || p.Finished {
		delete(o.pods, p.UID)
		return
	}
	if o.pods == nil {
		o.pods = make(map[string][]string)
	}
	o.pods[p.UID] = all
}

// Forget is told that a pod is gone.
func (o *ofPods) Forget(uid string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.pods, uid)
}

// all is what is remembered, in no order.
func (o *ofPods) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Concat(slices.Collect(maps.Values(o.pods))...)
}

// mountedImages are those that a container mounts as volumes, as the runtime lists them: no list of containers tells it, and the kubelet keeps such
// an image.
func mountedImages(c *kube.Container) (refs []string) {
	for _, ref := range c.Volumes {
		if named, err := reference.ParseDockerRef(ref); err == nil {
			refs = append(refs, named.String())
		}
	}
	return refs
}

// pulledFrom is the registry that the image of a container was pulled from, where it has one.
func pulledFrom(c *kube.Container) []string {
	if registry := pulls.Registry(c.Pulled); registry != "" {
		return []string{registry}
	}
	return nil
}
