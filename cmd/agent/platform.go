package main

import (
	"context"
	"slices"
	"time"

	"github.com/containerd/platforms"
	"github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/internal/disk"
)

// nodeWithin is how long the API server may take to tell the node's architecture. Without it there is an answer too.
const nodeWithin = 5 * time.Second

// platform is what this node's runtime pulls for: as the agent has it, else by the architecture that the Node tells, else what this program was built for.
func (p *program) platform(ctx context.Context) v1.Platform {
	snapshot, _ := p.snapshot(ctx) // nil where no agent answers
	ctx, cancel := context.WithTimeout(ctx, nodeWithin)
	defer cancel()
	var node nodeInfo
	p.nodeInfo(ctx, snapshot, &node)
	return platformOf(snapshot, &node)
}

func platformOf(snapshot *agent.Snapshot, node *nodeInfo) v1.Platform {
	if snapshot != nil {
		if platform, err := platforms.Parse(snapshot.Platform); err == nil {
			return platform
		}
	}
	return agent.Platform(node.Architecture)
}

// emulation is of which architectures programs run here that are not the machine's own, slowly, by handlers of binfmt_misc.
type emulation struct {
	// Emulated are those whose images run. OnHostOnly are those whose handler has no flag F: in a container its interpreter is not found.
	Emulated   []string `json:"emulated,omitempty"`
	OnHostOnly []string `json:"emulatedOnHostOnly,omitempty"`
	// EmulationNotKnown is why there may be more.
	EmulationNotKnown string `json:"emulationNotKnown,omitempty"`
}

// readEmulation looks into the directories of handlers, by default those of disk.Handlers.
func readEmulation(dirs ...string) (e emulation) {
	handlers, err := disk.Handlers(dirs...)
	if err != nil {
		e.EmulationNotKnown = firstLine(err.Error())
	}
	for _, h := range handlers {
		switch {
		case !h.Enabled:
		case h.InContainers:
			e.Emulated = append(e.Emulated, h.Architecture)
		default:
			e.OnHostOnly = append(e.OnHostOnly, h.Architecture)
		}
	}
	return e
}

// fate is what becomes here of an image for a platform that the node does not run by itself.
func (e *emulation) fate(platform string) string {
	p, err := platforms.Parse(platform)
	switch {
	case err == nil && p.OS == "linux" && slices.Contains(e.Emulated, p.Architecture):
		return "runs by emulation"
	case e.EmulationNotKnown != "":
		return "not known whether it runs"
	}
	return "does not run"
}
