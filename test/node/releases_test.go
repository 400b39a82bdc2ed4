package node

import (
	"os"
	"strings"
	"testing"
)

// TestReleasesPage: what docs/RELEASES.md says was run against is what the harness runs.
func TestReleasesPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/RELEASES.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{
		"| Kubernetes (kubelet, API server) | " + KubernetesRelease + " |", "| " + kubernetes131 + " |", "| containerd | " + containerd24 + " |",
	} {
		if !strings.Contains(string(page), row) {
			t.Errorf("the page has no row %s", row)
		}
	}
}
