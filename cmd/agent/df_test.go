package main

import (
	"testing"

	"github.com/pullwatch/pullwatch/pkg/probe"
)

// TestLayersThatAreHere: a layer whose size the manifest does not tell is not taken to be.
func TestLayersThatAreHere(t *testing.T) {
	for _, test := range []struct {
		here  int64
		sizes []int64
		want  string
	}{
		{0, []int64{10, 20}, ""}, {10, []int64{10, 20}, "a"}, {30, []int64{10, 20}, "ab"}, {0, []int64{0, 0}, ""}, {10, []int64{0, 10, 0}, "b"},
	} {
		a := &imageAnswer{Image: &probe.Image{}, PresentBytes: &test.here}
		for i, size := range test.sizes {
			a.Layers = append(a.Layers, probe.Layer{Digest: string(rune('a' + i)), SizeBytes: size})
		}
		all, present := a.layers()
		got := ""
		for _, layer := range all {
			if present[layer.Digest] {
				got += layer.Digest
			}
		}
		if got != test.want || len(all) != len(test.sizes) {
			t.Errorf("%+v: %q", test, got)
		}
	}
}
