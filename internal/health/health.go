// Package health judges: from what was observed it says which conditions of the node are true, and why.
//
// It promises: it is pure, each meaning is written here once, and nothing is said before every input of a condition was seen once. A
// condition is abnormal when True, as DiskPressure is. It says that this node is at fault, so a typo in one pod never makes one True.
package health

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cause"
)

// Type is a condition of the node.
type Type string

// The conditions. None is a name that some controller acts on: ContainerRuntimeReady and the like make EKS and Karpenter replace a node.
const (
	ContainerRuntimeUnavailable Type = "ContainerRuntimeUnavailable"
	ImagePullFailing            Type = "ImagePullFailing"
	RegistryUnreachable         Type = "RegistryUnreachable"
	ImageFilesystemPressure     Type = "ImageFilesystemPressure"
)

// Types lists the conditions, in the order in which they are shown.
var Types = []Type{ContainerRuntimeUnavailable, ImagePullFailing, RegistryUnreachable, ImageFilesystemPressure}

// hold is how long a judgement must hold before a condition follows it.
type hold struct{ bad, fine time.Duration }

func (h hold) of(bad bool) time.Duration {
	if bad {
		return h.bad
	}
	return h.fine
}

var holds = map[Type]hold{
	// A runtime restarts in seconds; a package upgrade may take half a minute.
	ContainerRuntimeUnavailable: {45 * time.Second, 15 * time.Second},
	// A pull fails for a moment for many reasons, and the kubelet tries again after 10, 20 and 40 s: a cause that outlives three tries is
	// no hiccup. What is mended is believed a minute later, when the tries of other pods would have failed again.
	ImagePullFailing: {2 * time.Minute, time.Minute},
	// A registry that fails is asked again 30 s and 60 s later, give or take a quarter, and each time for up to 40 s (probe.Timeout): in two
	// minutes it has failed twice, and three times where failing takes no longer than a few seconds. That something is reached is a fact and
	// no silence; half a minute is the time in which what failed beside it is asked again.
	RegistryUnreachable: {2 * time.Minute, 30 * time.Second},
	// What a pull needs only while it unpacks is free again soon. The kubelet leaves DiskPressure after 5 minutes too
	// (evictionPressureTransitionPeriod).
	ImageFilesystemPressure: {2 * time.Minute, 5 * time.Minute},
}

// Observation is everything that the conditions depend on, at one moment. A nil part was not seen (yet, or at all): what could not be looked
// at is never a verdict.
type Observation struct {
	Runtime    *Runtime
	Pulls      *Pulls
	Registries *Registries
	Disk       *Disk
}

// Runtime is how the container runtime answers.
type Runtime struct {
	Up     bool
	Ready  bool   // it says so itself
	Reason string // what it, or the attempt to ask it, said
	// Seen is set once it has answered in this process's life. A socket that never answered may be the agent's own trouble: not mounted,
	// forbidden, a wrong path.
	Seen bool
	// KubeletAgrees is set where the kubelet's own Ready condition says that the runtime is down.
	KubeletAgrees bool
}

// Pulls is what cannot be pulled.
type Pulls struct {
	Failing []Failing
	// Established are the registries that this node has pulled from or is configured for.
	Established map[string]bool
}

// Failing is one container or sandbox that waits for an image.
type Failing struct {
	Namespace string
	Owner     string // UID of the controller that owns the pod, or of the pod where none does
	Registry  string
	Cause     cause.Cause
	Scope     cause.Scope
	Sandbox   bool
}

// Verdict is what a condition should say.
type Verdict struct {
	Type    Type
	True    bool
	Reason  string // one CamelCase word
	Message string
	// Since is when the status last changed.
	Since time.Time
}

// State is what is remembered from step to step. The zero State remembers nothing.
type State struct {
	conditions map[Type]condition
}

// condition is a verdict and the judgement that may replace it.
type condition struct {
	Verdict
	known   bool // said at all
	pending bool // the judgement differs from the status
	next    judgement
	from    time.Time
}

// Resume is the State of an agent that finds its own conditions on the node: a restart in the middle of an outage flips nothing.
func Resume(found []Verdict) State {
	s := State{conditions: make(map[Type]condition)}
	for _, v := range found {
		if slices.Contains(Types, v.Type) {
			s.conditions[v.Type] = condition{Verdict: v, known: true}
		}
	}
	return s
}

// judgement is what one moment says of a condition.
type judgement struct {
	bad             bool
	reason, message string
}

// Step takes what is observed now. The verdicts are those of the conditions that can be told; one that never could be is left out.
func Step(before State, seen Observation, now time.Time) (State, []Verdict) {
	after := State{conditions: maps.Clone(before.conditions)}
	if after.conditions == nil {
		after.conditions = make(map[Type]condition)
	}
	judgements := map[Type]*judgement{
		ContainerRuntimeUnavailable: judgeRuntime(seen.Runtime),
		ImagePullFailing:            judgePulls(seen.Pulls),
		RegistryUnreachable:         judgeRegistries(seen.Registries),
		ImageFilesystemPressure:     judgeDisk(seen.Disk, before.conditions[ImageFilesystemPressure].True),
	}
	var verdicts []Verdict
	for _, t := range Types {
		c := after.conditions[t]
		c.Type = t
		if j := judgements[t]; j != nil {
			c = c.follow(*j, now)
		} else {
			c.pending = false // what is not seen does not ripen
		}
		if c.known {
			verdicts = append(verdicts, c.Verdict)
		}
		after.conditions[t] = c
	}
	return after, verdicts
}

// follow moves a condition towards a judgement: its status once the judgement has held for long enough, its text at once.
func (c condition) follow(j judgement, now time.Time) condition {
	agrees := c.known && c.True == j.bad || !c.known && !j.bad
	if agrees {
		if !c.known {
			c.known, c.Since = true, now
		}
		c.True, c.pending = j.bad, false
		c.Reason, c.Message = j.reason, j.message
		return c
	}
	if !c.pending {
		c.pending, c.from = true, now
	}
	c.next = j
	if now.Sub(c.from) < holds[c.Type].of(j.bad) {
		return c
	}
	c.known, c.pending, c.True, c.Since = true, false, j.bad, now
	c.Reason, c.Message = j.reason, j.message
	return c
}

func judgeRuntime(r *Runtime) *judgement {
	switch {
	case r == nil:
		return nil
	case r.Up && r.Ready:
		return &judgement{false, "ContainerRuntimeAnswers", "the container runtime answers and is ready"}
	case r.Up:
		return &judgement{true, "ContainerRuntimeNotReady", "the container runtime answers and says that it is not ready: " + r.Reason}
	case !r.Seen && !r.KubeletAgrees:
		return nil
	}
	return &judgement{true, "ContainerRuntimeDoesNotAnswer", "the container runtime does not answer: " + r.Reason}
}

// judgePulls: True is for what this node, or its way to the registries, is to blame for.
func judgePulls(p *Pulls) *judgement {
	if p == nil {
		return nil
	}
	type key struct {
		cause    cause.Cause
		registry string
	}
	counts := make(map[key]int)
	spread := make(map[key]*struct{ namespaces, owners map[string]bool })
	for i := range p.Failing {
		f := &p.Failing[i]
		k := key{f.Cause, f.Registry}
		switch {
		case f.Sandbox, f.Scope == cause.ScopeNode, f.Scope == cause.ScopeNetwork && p.Established[f.Registry]:
			counts[k]++
		case (f.Scope == cause.ScopeCredentials || f.Scope == cause.ScopeRegistry) && p.Established[f.Registry]:
			// One workload's until it is seen at others too; see below.
			s := spread[k]
			if s == nil {
				s = &struct{ namespaces, owners map[string]bool }{make(map[string]bool), make(map[string]bool)}
				spread[k] = s
			}
			s.namespaces[f.Namespace], s.owners[f.Owner] = true, true
		}
	}
	for k, s := range spread {
		if len(s.namespaces) < 2 || len(s.owners) < 2 {
			continue
		}
		for i := range p.Failing {
			if f := &p.Failing[i]; f.Cause == k.cause && f.Registry == k.registry && !f.Sandbox {
				counts[k]++
			}
		}
	}
	if len(counts) == 0 {
		return &judgement{false, "ImagesCanBePulled", "no image pull fails for which this node is to blame"}
	}
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b key) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.cause, b.cause), cmp.Compare(a.registry, b.registry))
	})
	const most = 5
	var parts []string
	for _, k := range keys[:min(len(keys), most)] {
		part := fmt.Sprintf("%s (%s)", k.cause.Title(), k.cause)
		if k.registry != "" {
			part += " at " + k.registry
		}
		parts = append(parts, fmt.Sprintf("%s: %d waiting", part, counts[k]))
	}
	if len(keys) > most {
		parts = append(parts, fmt.Sprintf("and %d more", len(keys)-most))
	}
	return &judgement{true, camel(keys[0].cause.String()), strings.Join(parts, "; ")}
}

// camel is a cause as the reason of a condition: rate_limited is RateLimited.
func camel(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "_") {
		switch part {
		case "dns", "tls":
			b.WriteString(strings.ToUpper(part))
		default:
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}
