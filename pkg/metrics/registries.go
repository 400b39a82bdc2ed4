package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// other is the label value of the registries that found no slot.
const other = "other"

// slotRest is how long a registry that only pods named keeps its label value after the last failure or probe. It bounds the churn: at most
// MaxRegistries values are new in any such time.
const slotRest = time.Hour

// mostEstablished bounds the established registries that have a label value for sure. Whoever may run pods can have images pulled from
// hosts of their own, so even these are not trusted to be few.
const mostEstablished = 100

// registryLabels gives registries their label values. A tenant can name any number of registries, so only so many get a value at a time;
// established ones are not crowded out by them.
type registryLabels struct {
	max     int
	dropped prometheus.Counter
	now     func() time.Time // time.Now where nil

	mu          sync.Mutex
	established map[string]bool
	slots       map[string]time.Time // of the others: when last used
}

func (r *registryLabels) clock() time.Time {
	if r.now != nil {
		return r.now()
	}
	return time.Now()
}

// establish names the established registries, and returns those whose series have to go.
func (r *registryLabels) establish(registries []string) (gone []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.established
	r.established = make(map[string]bool, len(registries))
	for _, name := range registries[:min(len(registries), mostEstablished)] {
		name = Label(name)
		r.established[name] = true
		delete(r.slots, name)
	}
	for name := range before {
		if r.established[name] {
			continue
		}
		if len(r.slots) < r.max { // its series stay for as long as those of any other
			r.use(name)
		} else {
			gone = append(gone, name)
		}
	}
	return gone
}

// keep prolongs the slot of a registry that has one.
func (r *registryLabels) keep(name string) {
	name = Label(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.slots[name]; ok {
		r.use(name)
	}
}

func (r *registryLabels) use(name string) {
	if r.slots == nil {
		r.slots = make(map[string]time.Time)
	}
	r.slots[name] = r.clock()
}

// label is the value for a registry, and whether it is its own. Asking takes a slot where one is free.
func (r *registryLabels) label(name string) (value string, own bool) {
	name = Label(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	if name == "" || r.established[name] {
		return name, true
	}
	if _, ok := r.slots[name]; !ok && len(r.slots) >= r.max {
		return other, false
	}
	r.use(name)
	return name, true
}

// count is the label value of something to be counted; what ends under other is counted too.
func (r *registryLabels) count(name string) string {
	value, own := r.label(name)
	if !own {
		r.dropped.Inc()
	}
	return value
}

// expire frees the slots of registries that nothing was told of for slotRest, and names them.
func (r *registryLabels) expire() (freed []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock()
	for name, used := range r.slots {
		if now.Sub(used) > slotRest {
			delete(r.slots, name)
			freed = append(freed, name)
		}
	}
	return freed
}
