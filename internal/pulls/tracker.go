package pulls

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/pkg/cause"
)

// Change is one step in the life of a failure.
type Change struct {
	What Step
	Failure
	Before cause.Cause // for Renamed: the cause until now
	// Fresh is set where this agent saw the change into failure, and unset for what it found failing when it started.
	Fresh bool
}

// Step is what happened to a failure.
type Step uint8

// The steps. Began and Retried are also one failed attempt each, where they are fresh.
const (
	Began Step = iota
	Retried
	Renamed // the cause became another
	Updated // the reason, a time or a count did
	Ended
)

// Tracker turns what the pods of this node show into failures. It is safe for concurrent use.
type Tracker struct {
	now      func() time.Time
	onChange func([]Change)

	telling sync.Mutex // held from a change until it was told, so that changes are told in their order

	mu     sync.Mutex
	synced bool
	pods   map[string]*trackedPod
}

type trackedPod struct {
	kube.Pod
	failing map[slot]*Failure
	retries map[string]*retry // by image: the kubelet's back-off is per pod and image
	fresh   bool              // this agent saw it arrive
	stale   map[slot]bool     // whose status is still that of the image before
	secret  string            // what the kubelet says of a pull secret that it could not read
	ask     asking
}

// slot is the place of a failure in a pod.
type slot struct {
	container string
	kind      kube.Kind // KindSandbox, or that of the container; a volume's failure stands in its container's slot
}

// retry follows the attempts to pull one image for one pod.
type retry struct {
	attempts int
	from     Source
	last     time.Time
}

// NewTracker makes a tracker that tells onChange of each batch of changes, in order and one at a time. onChange may ask the tracker, and must
// not tell it anything.
func NewTracker(now func() time.Time, onChange func([]Change)) *Tracker {
	return &Tracker{now: now, onChange: onChange, pods: make(map[string]*trackedPod)}
}

// Replace takes the whole list of this node's pods. What fails already in the first one began before this agent looked.
func (t *Tracker) Replace(pods []kube.Pod) {
	t.change(func() (changes []Change) {
		fresh := t.synced
		t.synced = true
		keep := make(map[string]bool, len(pods))
		for _, p := range pods {
			keep[p.UID] = true
			changes = append(changes, t.observe(p, fresh)...)
		}
		for uid := range t.pods {
			if !keep[uid] {
				changes = append(changes, t.forget(uid)...)
			}
		}
		return changes
	})
}

// Observe takes one pod as it is now.
func (t *Tracker) Observe(p kube.Pod) {
	t.change(func() []Change { return t.observe(p, true) })
}

// Forget is told that a pod is gone.
func (t *Tracker) Forget(uid string) {
	t.change(func() []Change { return t.forget(uid) })
}

func (t *Tracker) change(step func() []Change) {
	t.telling.Lock()
	defer t.telling.Unlock()
	t.mu.Lock()
	changes := step()
	t.mu.Unlock()
	if len(changes) > 0 && t.onChange != nil {
		t.onChange(changes)
	}
}

// Failures is what fails now, in the order of Sort.
func (t *Tracker) Failures() []Failure {
	t.mu.Lock()
	defer t.mu.Unlock()
	failures := []Failure{}
	for _, p := range t.pods {
		for _, f := range p.failing {
			failures = append(failures, *f)
		}
	}
	Sort(failures)
	return failures
}

func (t *Tracker) forget(uid string) (changes []Change) {
	p := t.pods[uid]
	if p == nil {
		return nil
	}
	delete(t.pods, uid)
	for _, f := range p.failing {
		changes = append(changes, Change{What: Ended, Failure: *f})
	}
	return changes
}

func (t *Tracker) observe(seen kube.Pod, fresh bool) (changes []Change) {
	p := t.pods[seen.UID]
	if p == nil {
		p = &trackedPod{failing: make(map[slot]*Failure), fresh: fresh}
		t.pods[seen.UID] = p
	}
	p.stale = p.stillStale(seen)
	p.Pod = seen
	slots := make(map[slot]bool, len(seen.Containers)+1)
	for i := range seen.Containers {
		c := &seen.Containers[i]
		at := slot{c.Name, c.Kind}
		slots[at] = true
		changes = append(changes, t.observeContainer(p, at, c, p.stale[at], fresh)...)
	}
	sandbox := slot{"", kube.KindSandbox}
	slots[sandbox] = p.stuck()
	for at, f := range p.failing {
		if !slots[at] {
			delete(p.failing, at)
			changes = append(changes, Change{What: Ended, Failure: *f})
		}
	}
	p.forgetRetries()
	p.plan(t.now())
	return changes
}

// forgetRetries drops what was known of images that the pod no longer names.
func (p *trackedPod) forgetRetries() {
	for image := range p.retries {
		if !slices.ContainsFunc(p.Containers, func(c kube.Container) bool { return c.Image == image || slices.Contains(c.Volumes, image) }) {
			delete(p.retries, image)
		}
	}
}

// stillStale tells which containers' status is still that of the image they had before the pod was changed: the same text under a new
// name, until the kubelet writes another.
func (p *trackedPod) stillStale(seen kube.Pod) map[slot]bool {
	var is map[slot]bool
	for i := range seen.Containers {
		c := &seen.Containers[i]
		for j := range p.Containers {
			b, at := &p.Containers[j], slot{c.Name, c.Kind}
			if b.Name == c.Name && b.Kind == c.Kind && b.State == c.State && b.Reason == c.Reason && b.Message == c.Message &&
				(b.Image != c.Image || p.stale[at]) {
				if is == nil {
					is = make(map[slot]bool)
				}
				is[at] = true
			}
		}
	}
	return is
}

func (t *Tracker) observeContainer(p *trackedPod, at slot, c *kube.Container, stale, fresh bool) (changes []Change) {
	f := p.failing[at]
	end := func() {
		if f != nil {
			delete(p.failing, at)
			changes = append(changes, Change{What: Ended, Failure: *f})
			f = nil
		}
	}
	kind, image := waitsFor(c)
	if f != nil && f.Image != image && f.Image != c.Image || stale {
		end()
	}
	if c.State != kube.Waiting || p.Finished {
		if c.State != kube.Unreported || p.Finished {
			end()
		}
		return changes
	}
	v := cause.Classify(c.Reason, c.Message, image)
	switch {
	case starting(c.Reason):
		if f != nil {
			f.trying = true // what comes next is another attempt, though its text be the same
		}
		return changes // a retry under way, or the very beginning: neither proves anything
	case v.Cause == cause.None:
		end() // it waits for something that comes after the image
		return changes
	case stale:
		return changes
	}
	attempt := c.Reason != "ImagePullBackOff"
	if f != nil {
		was := *f
		defer func() {
			if len(changes) == 0 && !reflect.DeepEqual(*f, was) {
				changes = append(changes, Change{What: Updated, Failure: *f})
			}
		}()
	}
	now := t.now()
	if f == nil {
		f = &Failure{
			Namespace: p.Namespace, Pod: p.Name, PodUID: p.UID, Owner: p.Owner, Container: c.Name, Kind: kind, Image: image, Registry: Registry(image),
			PullSecrets: p.PullSecrets, Reason: shownReason(c.Reason), Basis: BasisText, seen: c.Message,
		}
		f.setCause(v, c.Message)
		if fresh {
			f.Since, f.SinceFrom = now, Observed
		} else if !p.Started.IsZero() {
			f.Since, f.SinceFrom = p.Started, Estimated
		}
		p.failing[at] = f
		p.refine(f)
		p.tried(f, attempt, fresh, now)
		return append(changes, Change{What: Began, Failure: *f, Fresh: fresh})
	}
	reason := shownReason(c.Reason)
	again := attempt && (f.trying || f.Reason != reason || f.seen != c.Message)
	f.Reason, f.seen, f.trying = reason, c.Message, false
	// A bare back-off says nothing new; one with the last error inside may tell of an attempt that was never seen.
	if before := f.Cause; again || v.Cause != cause.Unknown && v.Cause != before {
		f.setCause(v, c.Message)
		p.refine(f)
		if f.Cause != before {
			changes = append(changes, Change{What: Renamed, Failure: *f, Before: before})
		}
	}
	if again {
		p.tried(f, true, true, now)
		changes = append(changes, Change{What: Retried, Failure: *f, Fresh: true})
	}
	return changes
}

// shownReason is a reason without secrets: since 1.33 it may be free text.
func shownReason(reason string) string {
	if strings.IndexByte(reason, ' ') < 0 {
		return reason
	}
	return Redact(reason)
}

// starting tells the reasons that a kubelet gives before it knows anything, and during a pull: pod status has no word for pulling.
func starting(reason string) bool {
	return reason == "" || reason == "ContainerCreating" || reason == "PodInitializing"
}

// waitsFor tells which image a waiting container's text is about: its own, or that of an image volume which it mounts.
func waitsFor(c *kube.Container) (kube.Kind, string) {
	kind, image, length := c.Kind, c.Image, 0
	if strings.Contains(c.Message, c.Image) {
		length = len(c.Image)
	}
	for _, ref := range c.Volumes {
		if len(ref) > length && strings.Contains(c.Message, ref) {
			kind, image, length = kube.KindVolume, ref, len(ref)
		}
	}
	return kind, image
}

// tried counts a failed attempt and works out when the kubelet may try again.
func (p *trackedPod) tried(f *Failure, attempt, seen bool, now time.Time) {
	if !backsOff(f) {
		return
	}
	if p.retries == nil {
		p.retries = make(map[string]*retry)
	}
	r := p.retries[f.Image]
	if r != nil && !r.last.IsZero() && now.Sub(r.last) > backoffForgets {
		r = nil
	}
	switch {
	case r == nil && attempt && seen:
		r = &retry{attempts: 1, from: Observed, last: now}
	case r == nil && attempt:
		r = &retry{attempts: 1, from: Estimated} // at least one; when is not known
	case r == nil:
		r = &retry{from: Estimated}
	case attempt:
		r.attempts++
		r.last = now
	}
	p.retries[f.Image] = r
	f.schedule(r)
	for _, other := range p.failing {
		if other.Image == f.Image && backsOff(other) {
			other.schedule(r)
		}
	}
}

// schedule tells of a failure what is known of its attempts.
func (f *Failure) schedule(r *retry) {
	f.Attempts, f.AttemptsFrom = r.attempts, r.from
	if r.attempts == 0 {
		f.AttemptsFrom = ""
	}
	f.NextTry, f.NextTryFrom = time.Time{}, ""
	if !r.last.IsZero() {
		f.NextTry, f.NextTryFrom = r.last.Add(backoffAfter(r.attempts)), r.from
	}
}

// backsOff tells whether the kubelet will pull again by its back-off. It never tries an invalid name or a forbidden pull.
func backsOff(f *Failure) bool {
	switch f.Reason {
	case "InvalidImageName", "ErrImageNeverPull", "ImageInspectError":
		return false
	}
	return f.Kind != kube.KindSandbox && !strings.Contains(f.Reason, " ")
}
