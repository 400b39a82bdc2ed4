package agent

import (
	"time"

	"github.com/pullwatch/pullwatch/internal/disk"
	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/internal/pulls"
)

// SnapshotSchema names the form of a Snapshot. It changes when a field changes its meaning or goes.
const SnapshotSchema = "pullwatch.snapshot/v1"

// Snapshot is all that the agent knows at one moment, as it is served to the subcommands.
type Snapshot struct {
	Schema   string    `json:"schema"`
	Version  string    `json:"version"`
	NodeName string    `json:"nodeName"`
	Started  time.Time `json:"started"` // when this agent started: what lasts longer was not all seen
	// Platform is what the runtime pulls for, by which the images are judged.
	Platform string `json:"platform"`

	Runtime    Part[Runtime]         `json:"runtime"`
	Images     Part[Images]          `json:"images"`
	Node       Part[kube.Node]       `json:"node"`
	Failures   Part[[]pulls.Failure] `json:"failures"`
	Registries Part[[]RegistryState] `json:"registries"`
	Disk       Part[*disk.Report]    `json:"disk"`
	// ImageProbes are what registries told of images that this node uses or cannot pull.
	ImageProbes Part[[]ImageState] `json:"imageProbes"`
}

// Part is what one observer knows, since when, and what kept it from knowing more.
type Part[T any] struct {
	Value T         `json:"value"`
	At    time.Time `json:"at,omitzero"`     // of the last good observation; zero is never
	Error string    `json:"error,omitempty"` // of the last observation, where it failed
	// Skipped is set where the agent was told to do without.
	Skipped bool `json:"skipped,omitempty"`
}

// Runtime is what the container runtime says of itself.
type Runtime struct {
	Endpoint  string `json:"endpoint"`
	Name      string `json:"name,omitempty"`
	Version   string `json:"version,omitempty"`
	Reachable bool   `json:"reachable"` // something accepts connections on the socket
	Up        bool   `json:"up"`        // it answers CRI
	Ready     bool   `json:"ready"`     // it says that it is ready
	Reason    string `json:"reason,omitempty"`
}

// Images is a summary of the images on the node.
type Images struct {
	Count int `json:"count"`
	// Registries are those that the node has pulled from, those of most images first.
	Registries []string `json:"registries,omitempty"`
	// Unused are those of no container, running or exited, of no volume and not pinned. UnusedBytes is their size as the runtime counts it.
	Unused      int   `json:"unused"`
	UnusedBytes int64 `json:"unusedBytes"`
	// PulledAgain counts images that went and came back in this agent's life.
	PulledAgain uint64 `json:"pulledAgain,omitempty"`
	// WrongPlatform are those that this node cannot run, or only by emulation.
	WrongPlatform []WrongImage `json:"wrongPlatform,omitempty"`
}
