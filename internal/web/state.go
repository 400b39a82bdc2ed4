// Package web shows what the agent knows as one page for people.
//
// It promises: plain HTML that works without scripts and asks for nothing else; no text from outside is ever markup, whoever chose it, and
// none can reverse the reading order; the page is bounded, and its words are those of the prompt (internal/say).
package web

import (
	"time"

	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/internal/history"
	"github.com/pullwatch/pullwatch/internal/keyring"
	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/pkg/probe"
)

// State is all that the page shows.
type State struct {
	Now     time.Time
	Node    string // its name in the cluster
	Version string // of the agent
	Started time.Time

	Runtime    Runtime
	Conditions Conditions
	Failures   Failures
	Registries Registries
	Disk       *Disk // nil where disks are not looked at at all
	History    []history.Entry
}

// Seen is when something was observed last, and what kept it from being observed since.
type Seen struct {
	At      time.Time // of the last good observation; zero is never
	Error   string    // of the last observation, where it failed
	Skipped bool      // the agent was told to do without
}

// fresh tells whether what is known is known of now.
func (s Seen) fresh() bool { return !s.At.IsZero() && s.Error == "" && !s.Skipped }

// Runtime is the container runtime and what it holds.
type Runtime struct {
	Seen
	Endpoint, Name, Version string
	Up, Ready               bool
	Reason                  string // why not

	Images     int // on the node
	ImagesSeen Seen
}

// Conditions are those of the Node object, and what the agent judges.
type Conditions struct {
	Seen      // of the Node object
	OnNode    []kube.Condition
	Judged    []health.Verdict
	Coming    []health.Coming
	Unjudged  []health.Type // never, since the agent was told to do without what they take
	Written   bool          // into the node's status
	Kubelet   string
	OSImage   string
	Kernel    string
	Processor string // architecture
}

// Failures is what cannot be pulled.
type Failures struct {
	Seen
	List []pulls.Failure // in the order of pulls.Sort
	// Logins are what came of the pull secrets that a pod names, by the failure's place in List.
	Logins map[int][]keyring.Outcome
}

// Registries is what registries said when they were asked last.
type Registries struct {
	Seen
	List []Registry
}

// Registry is one of them.
type Registry struct {
	*probe.Registry
	Established bool // false where only pods name it
	LastSuccess time.Time
	LastPull    time.Time
	Pulled      bool // an image came from it since the probe: that outranks a probe that failed
}

// reached is whether it can be pulled from, as metrics and conditions have it; nil is not known.
func (r *Registry) reached() *bool {
	if r.OK != nil && !*r.OK && r.Pulled {
		yes := true
		return &yes
	}
	return r.OK
}

// Disk is the filesystems that images need.
type Disk struct {
	Seen
	Filesystems []Filesystem
	// HighPercent and LowPercent are the kubelet's for the collection of unused images; 0 is not known.
	HighPercent, LowPercent int
	ReclaimableBytes        uint64 // held by images that nothing uses; 0 is not known
	WantedBytes             uint64 // that the next collection would free
	Forecast                string // a sentence; empty is none
}

// Filesystem is one of them.
type Filesystem struct {
	Name           string   // of the kubelet: nodefs, imagefs, containerfs
	Roles          []string // what is kept there
	Mountpoint     string
	SizeBytes      uint64
	AvailableBytes uint64
	UsedPercent    float64
	InodesPercent  float64 // used; 0 is not known, or none are counted
	Thresholds     []Threshold
}

// Threshold is where something happens when a filesystem fills.
type Threshold struct {
	What        string  // eviction, collection of images
	UsedPercent float64 // at which it does
	Source      string  // which says so; "assumed" is a default that could not be read
}
