package main

import (
	"maps"
	"testing"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/pkg/probe"
)

func TestKnownToAgent(t *testing.T) {
	used := map[string]probe.Reach{"both.example": probe.Anywhere}
	knownToAgent(used, []agent.RegistryState{
		{Registry: &probe.Registry{Registry: "both.example"}},
		{Registry: &probe.Registry{Registry: "node.example"}, Established: true},
		{Registry: &probe.Registry{Registry: "169.254.169.254"}},
	})
	want := map[string]probe.Reach{"both.example": probe.Anywhere, "node.example": probe.Anywhere, "169.254.169.254": probe.NotThisNode}
	if !maps.Equal(used, want) {
		t.Errorf("%v, want %v", used, want)
	}
}
