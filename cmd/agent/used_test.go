package main

import (
	"io"
	"strings"
	"testing"

	"github.com/pullwatch/pullwatch/pkg/cri/critest"
)

// TestUsedRegistries: an image that CRI-O calls localhost/ came from no registry.
func TestUsedRegistries(t *testing.T) {
	const digest = "@sha256:8968d79d46c91913a16a72bd56ca6ff15f3d07e13b0b64b3dc8c9d3c0f14b920"
	runtime := critest.Start(t, critest.CRIO)
	runtime.SetImages(critest.Image{ID: strings.Repeat("a", 64), Tags: []string{"localhost/web:1", "ghcr.io/shop/web:1"}, Digests: []string{"localhost/web" + digest, "ghcr.io/shop/web" + digest}})
	p := &program{stdout: io.Discard, stderr: io.Discard, settings: settings{runtimeEndpoint: runtime.Endpoint()}}
	_, used, err := p.runtimeConfig(t.Context(), &reaching{proxyFrom: "none"})
	_, loaded := used["localhost"]
	if _, pulled := used["ghcr.io"]; err != nil || loaded || !pulled {
		t.Errorf("%v, %v", used, err)
	}
}
