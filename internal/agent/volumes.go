package agent

import (
	"maps"
	"slices"
	"sync"

	"github.com/distribution/reference"

	"github.com/pullwatch/pullwatch/internal/kube"
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

// imageVolumes remembers which images pods mount as volumes: no list of containers tells it, and the kubelet keeps such an image.
type imageVolumes struct {
	mu   sync.Mutex
	pods map[string][]string // by UID: references as the runtime lists them
}

// Replace is told the whole list.
func (v *imageVolumes) Replace(pods []kube.Pod) {
	v.mu.Lock()
	v.pods = nil
	v.mu.Unlock()
	for i := range pods {
		v.Observe(pods[i])
	}
}

// Observe is told a pod as it is now.
func (v *imageVolumes) Observe(p kube.Pod) {
	var refs []string
	for i := range p.Containers {
		for _, ref := range p.Containers[i].Volumes {
			if named, err := reference.ParseDockerRef(ref); err == nil {
				refs = append(refs, named.String())
			}
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(refs) == 0 || p.Finished {
		delete(v.pods, p.UID)
		return
	}
	if v.pods == nil {
		v.pods = make(map[string][]string)
	}
	v.pods[p.UID] = refs
}

// Forget is told that a pod is gone.
func (v *imageVolumes) Forget(uid string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.pods, uid)
}

// mounted are the images that pods mount as volumes.
func (v *imageVolumes) mounted() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Concat(slices.Collect(maps.Values(v.pods))...)
}
