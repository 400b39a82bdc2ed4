package main

import (
	"maps"
	"strings"
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

// TestTargetOf: what a person means by a name, as runtimes read it, and a registry where no image would be called so.
func TestTargetOf(t *testing.T) {
	const digest = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for name, want := range map[string]target{
		"docker.io":                  {registry: "docker.io"},
		"registry.example.com:5000":  {registry: "registry.example.com:5000"},
		"registry.example.com/":      {registry: "registry.example.com"},
		"127.0.0.1:5000":             {registry: "127.0.0.1:5000"},
		"[fd00::1]:5000":             {registry: "[fd00::1]:5000"},
		"localhost":                  {registry: "localhost"},
		"localhost:5000":             {registry: "localhost:5000"},
		"registry:5000/":             {registry: "registry:5000"},
		"REGISTRY:5000":              {registry: "REGISTRY:5000"}, // no image is called so
		"nginx":                      {registry: "docker.io", image: "docker.io/library/nginx:latest"},
		"nginx:1.27":                 {registry: "docker.io", image: "docker.io/library/nginx:1.27"},
		"postgres:16":                {registry: "docker.io", image: "docker.io/library/postgres:16"},
		"registry:5000":              {registry: "docker.io", image: "docker.io/library/registry:5000"},
		"node.js:lts":                {registry: "docker.io", image: "docker.io/library/node.js:lts"},
		"nginx" + digest:             {registry: "docker.io", image: "docker.io/library/nginx" + digest},
		"nginx:1.27" + digest:        {registry: "docker.io", image: "docker.io/library/nginx" + digest},
		"shop/web":                   {registry: "docker.io", image: "docker.io/shop/web:latest"},
		"registry:5000/shop/web:1":   {registry: "registry:5000", image: "registry:5000/shop/web:1"},
		"registry.example.com/web":   {registry: "registry.example.com", image: "registry.example.com/web:latest"},
		"localhost/web:1":            {registry: "localhost", image: "localhost/web:1"},
		"":                           {},
		"/":                          {},
		"NO GOOD":                    {},
		"nginx/":                     {},
		"shop/web/":                  {},
		"https://registry.example/":  {},
		"registry.example.com:5000x": {registry: "docker.io", image: "docker.io/library/registry.example.com:5000x"},
	} {
		got, err := targetOf(name)
		if want.registry != "" {
			want.name = name
		}
		if got != want || (err == nil) != (want.registry != "") {
			t.Errorf("%q is %+v, %v, want %+v", name, got, err, want)
		}
		if says := strings.HasPrefix(name, want.registry+"/") || want.image == ""; says != (got.readAs() == "") {
			t.Errorf("%q: read as %q", name, got.readAs())
		}
	}
}
