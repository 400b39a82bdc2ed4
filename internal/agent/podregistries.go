package agent

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/internal/pulls"
)

const (
	// podRegistriesLast is how long a registry is remembered of which no pod has an image any more: an outage outlasts the pods that it keeps from
	// coming back.
	podRegistriesLast = 24 * time.Hour
	// mostPodRegistries bounds how many are remembered. Those that pods have at present are not bounded by it: their number is.
	mostPodRegistries = 200
)

// podRegistries are the registries that images of this node's pods were pulled from, as the status of the pods tells it. It stands in for the list of
// images where an agent was told to do without a runtime.
type podRegistries struct {
	mu   sync.Mutex
	pods map[string][]string  // by UID
	gone map[string]time.Time // registries of pods that are no more, since when
}

// Replace is told the whole list.
func (r *podRegistries) Replace(pods []kube.Pod) {
	r.mu.Lock()
	for _, uid := range slices.Collect(maps.Keys(r.pods)) {
		r.leave(uid)
	}
	r.mu.Unlock()
	for i := range pods {
		r.Observe(pods[i])
	}
}

// Observe is told a pod as it is now.
func (r *podRegistries) Observe(p kube.Pod) {
	var names []string
	for i := range p.Containers {
		if name := pulls.PulledFrom(p.Containers[i].Pulled); name != "" {
			names = append(names, name)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leave(p.UID)
	if len(names) > 0 {
		if r.pods == nil {
			r.pods = make(map[string][]string)
		}
		r.pods[p.UID] = names
	}
}

// Forget is told that a pod is gone.
func (r *podRegistries) Forget(uid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leave(uid)
}

// leave remembers the registries of a pod that is no more. The caller holds the lock.
func (r *podRegistries) leave(uid string) {
	for _, name := range r.pods[uid] {
		if r.gone == nil {
			r.gone = make(map[string]time.Time)
		}
		r.gone[name] = time.Now()
	}
	delete(r.pods, uid)
	for len(r.gone) > mostPodRegistries {
		delete(r.gone, slices.MinFunc(slices.Collect(maps.Keys(r.gone)), func(a, b string) int { return r.gone[a].Compare(r.gone[b]) }))
	}
}

// known are the registries of pods that are, those of most containers first, and after them those of pods that were.
func (r *podRegistries) known(now time.Time) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.gone, func(_ string, since time.Time) bool { return now.Sub(since) > podRegistriesLast })
	count := make(map[string]int)
	for name := range r.gone {
		count[name] = 0
	}
	for _, names := range r.pods {
		for _, name := range names {
			count[name]++
		}
	}
	return slices.SortedFunc(maps.Keys(count), func(a, b string) int { return cmp.Or(count[b]-count[a], cmp.Compare(a, b)) })
}
