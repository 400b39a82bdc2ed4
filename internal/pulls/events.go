package pulls

import (
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/pkg/cause"
)

// A pod's events are asked for only where they answer a question that its status leaves open.
const (
	// stuckAfter is how long a pod may take to get its sandbox before its events are asked why.
	stuckAfter = 30 * time.Second
	// settle is how long the kubelet's events of a failed pull may take to arrive: it writes them beside the status.
	settle = 2 * time.Second
	// askAgain is how long to wait before an open question is asked anew; it doubles up to askMost.
	askAgain = 30 * time.Second
	askMost  = 5 * time.Minute
	// apart is how far a status and an event that tell of one attempt may be: an event's time is of whole seconds, a status is written and seen later. It
	// is less than the kubelet's shortest back-off.
	apart = 8 * time.Second
	// mostBehind is how often the events may be behind what was seen before they are asked for no more.
	mostBehind = 3
)

// asking is when to ask for a pod's events. The zero time is never.
type asking struct {
	due   time.Time
	asked int
	last  time.Time
}

// Ask names a pod whose events would answer something. EventsUID is the one that its events name it by.
type Ask struct{ Namespace, Name, UID, EventsUID string }

// Due lists the pods whose events should be asked for now. Each is listed once for each time that it is due, whether or not the answer
// ever comes.
func (t *Tracker) Due() []Ask {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	var asks []Ask
	for _, p := range t.pods {
		if p.ask.due.IsZero() || p.ask.due.After(now) {
			continue
		}
		p.ask.last, p.ask.due = now, time.Time{}
		p.ask.asked++
		for _, f := range p.failing {
			f.asked = true
		}
		p.plan(now)
		asks = append(asks, Ask{p.Namespace, p.Name, p.UID, p.EventsUID})
	}
	return asks
}

// plan sets when the pod's events are asked for next.
func (p *trackedPod) plan(now time.Time) {
	var again time.Time
	if n := p.ask.asked; n > 0 {
		again = p.ask.last.Add(min(askAgain<<min(n-1, 8), askMost))
	}
	due := time.Time{}
	want := func(at time.Time) {
		if due.IsZero() || at.Before(due) {
			due = at
		}
	}
	for _, f := range p.failing {
		switch {
		case f.Kind == kube.KindSandbox:
		case f.Cause == cause.Unknown:
			want(later(again, now))
		case f.Cause == cause.SecretMissing:
			want(later(again, p.ask.last.Add(askMost)))
		case f.asked:
		case f.SinceFrom != Observed, f.Cause == cause.Unauthorized, f.Cause == cause.AccessDenied:
			want(later(again, now.Add(settle)))
		}
	}
	if p.stuck() {
		want(later(again, p.Started.Add(stuckAfter)))
	}
	if due.IsZero() || p.ask.due.IsZero() || due.Before(p.ask.due) {
		p.ask.due = due
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// stuck tells a pod that the kubelet took on and that shows no sign of a sandbox: no container got further than waiting to start.
func (p *trackedPod) stuck() bool {
	if p.HasSandbox || p.Finished || p.Started.IsZero() {
		return false
	}
	for i := range p.Containers {
		if c := &p.Containers[i]; c.State == kube.Waiting && !starting(c.Reason) {
			return false
		}
	}
	return true
}

// Answer takes the events of a pod.
func (t *Tracker) Answer(uid string, events []kube.Event) {
	t.change(func() (changes []Change) {
		p := t.pods[uid]
		if p == nil {
			return nil
		}
		p.secret = ""
		for i := range events {
			// The kubelet says it again at each try, at most five minutes apart; an old one tells of a secret that is there by now.
			if e := &events[i]; e.Reason == "FailedToRetrieveImagePullSecret" && t.now().Sub(e.Last) < backoffForgets {
				p.secret = e.Message
			}
		}
		for at, f := range p.failing {
			if at.kind == kube.KindSandbox {
				continue
			}
			before, was := f.Cause, *f
			if f.Cause == cause.SecretMissing && p.secret == "" {
				f.setCause(cause.Classify(f.Reason, f.seen, f.Image), f.seen)
			}
			p.learn(at, f, events)
			p.refine(f)
			switch {
			case f.Cause != before:
				changes = append(changes, Change{What: Renamed, Failure: *f, Before: before})
			case !reflect.DeepEqual(*f, was):
				changes = append(changes, Change{What: Updated, Failure: *f})
			}
		}
		changes = append(changes, t.answerSandbox(p, events)...)
		p.plan(t.now())
		return changes
	})
}

// refine: a pull secret that could not be read explains why the registry refuses.
func (p *trackedPod) refine(f *Failure) {
	if p.secret != "" && f.Kind != kube.KindSandbox && (f.Cause == cause.Unauthorized || f.Cause == cause.AccessDenied) {
		f.setCause(cause.Verdict{Cause: cause.SecretMissing}, p.secret+" "+f.Message)
	}
}

// learn takes from the events what the status does not tell: cause, since when, how often. What this agent saw itself stands.
func (p *trackedPod) learn(at slot, f *Failure, events []kube.Event) {
	var first, last time.Time
	var text string
	count := 0
	for i := range events {
		e := &events[i]
		if e.Reason != "Failed" || !ofSlot(e.FieldPath, at, f.Kind) || !strings.HasPrefix(e.Message, "Failed to pull image "+strconv.Quote(f.Image)+":") {
			continue
		}
		count += e.Count
		if first.IsZero() || e.First.Before(first) {
			first = e.First
		}
		if !e.Last.Before(last) {
			last, text = e.Last, e.Message
		}
	}
	if count == 0 {
		return
	}
	if f.Cause == cause.Unknown {
		if v := cause.Classify("Failed", text, f.Image); v.Cause != cause.None {
			f.setCause(v, text)
		}
	}
	if f.SinceFrom != Observed && !first.IsZero() {
		f.Since, f.SinceFrom = first, Event
	}
	switch r := p.retries[f.Image]; {
	case r == nil || r.from == Observed:
	case last.Before(r.last.Add(-apart)):
		f.behind++
		f.asked = f.behind >= mostBehind // an attempt was seen whose event has not come yet, or never will: a kubelet writes so many events and no more
	default:
		r.attempts, r.from, r.last = count, Event, last
		f.schedule(r)
	}
}

// ofSlot tells whether an event's field path names the container. The events of an image volume have none.
func ofSlot(path string, at slot, kind kube.Kind) bool {
	field := map[kube.Kind]string{kube.KindContainer: "containers", kube.KindInit: "initContainers", kube.KindEphemeral: "ephemeralContainers"}[at.kind]
	return path == "spec."+field+"{"+at.container+"}" || kind == kube.KindVolume && path == ""
}

// answerSandbox reads why the pod has no sandbox. Only an image that cannot be pulled is a pull failure.
func (t *Tracker) answerSandbox(p *trackedPod, events []kube.Event) []Change {
	var latest *kube.Event
	var first, pulling time.Time
	count := 0 // containerd 2 names the sandbox in its text, so that each attempt is an event of its own
	for i := range events {
		if e := &events[i]; e.Reason == "Pulling" && e.Last.After(pulling) {
			pulling = e.Last // a container's image is pulled into a pod that has its sandbox
		}
		e := &events[i]
		if e.Reason != "FailedCreatePodSandBox" {
			continue
		}
		if cause.Classify(e.Reason, e.Message, "").Cause != cause.None { // and not for want of a network
			count += e.Count
			if first.IsZero() || e.First.Before(first) {
				first = e.First
			}
		}
		if latest == nil || !e.Last.Before(latest.Last) {
			latest = e
		}
	}
	at := slot{"", kube.KindSandbox}
	f := p.failing[at]
	v := cause.Verdict{}
	if latest != nil && p.stuck() && !pulling.After(latest.Last) {
		v = cause.Classify(latest.Reason, latest.Message, "")
	}
	switch {
	case v.Cause == cause.None && f == nil, v.Cause == cause.RuntimeUnavailable && f == nil:
		return nil
	case v.Cause == cause.None:
		delete(p.failing, at)
		return []Change{{What: Ended, Failure: *f}}
	case f == nil:
		image := sandboxImage(latest.Message)
		f = &Failure{
			Namespace: p.Namespace, Pod: p.Name, PodUID: p.UID, Owner: p.Owner, Kind: kube.KindSandbox, Image: image, Registry: Registry(image),
			Reason: latest.Reason, Basis: BasisText, Since: first, SinceFrom: Event, Attempts: count, AttemptsFrom: Event,
		}
		f.setCause(v, latest.Message)
		p.failing[at] = f
		return []Change{{What: Began, Failure: *f, Fresh: p.fresh}}
	}
	before := f.Cause
	was := f.Attempts
	f.Attempts = max(count, was) // events expire
	f.setCause(v, latest.Message)
	var changes []Change
	if f.Cause != before {
		changes = append(changes, Change{What: Renamed, Failure: *f, Before: before})
	}
	if f.Attempts > was {
		return append(changes, Change{What: Retried, Failure: *f, Fresh: true})
	}
	return append(changes, Change{What: Updated, Failure: *f})
}

// sandboxImage finds the image in what a runtime says of a sandbox: behind the word image in quotes (containerd), or behind docker://
// (CRI-O).
func sandboxImage(message string) string {
	for _, mark := range [...]struct{ before, after string }{{`sandbox image "`, `"`}, {`image "`, `"`}, {"docker://", ": "}} {
		if _, rest, ok := strings.Cut(message, mark.before); ok {
			if image, _, ok := strings.Cut(rest, mark.after); ok {
				return image
			}
		}
	}
	return ""
}

// Unanswered is told that a pod's events could not be read. The question stays open.
func (t *Tracker) Unanswered(uid string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pods[uid]
	if p == nil {
		return
	}
	for _, f := range p.failing {
		f.asked = false
	}
	p.plan(t.now())
}
