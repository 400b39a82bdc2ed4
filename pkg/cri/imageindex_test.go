package cri_test

import (
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/pkg/cri"
)

// TestImageOfContainer holds by what each runtime's containers name their image.
func TestImageOfContainer(t *testing.T) {
	const id, digest, tag = "sha256:aa11", "r.example/a@sha256:bb22", "r.example/a:1"
	mine := &runtimeapi.Image{Id: id, RepoDigests: []string{digest}, RepoTags: []string{tag}}
	index := cri.IndexImages([]*runtimeapi.Image{{Id: "sha256:cc33", RepoDigests: []string{"r.example/b@sha256:dd44"}}, mine})
	for _, test := range []struct {
		name             string
		id, ref, asNamed string
		want             *runtimeapi.Image
	}{
		{"containerd before 2.3", "", id, id, mine},
		{"containerd since", id, id, id, mine},
		{"CRI-O since 1.30", "aa11", digest, tag, mine},
		{"CRI-O before, by digest", "", digest, tag, mine},
		{"CRI-O before, by ID", "", "aa11", tag, mine},
		{"only a name", "", "", tag, mine},
		{"the ID counts, whatever the reference", "sha256:ee55", digest, tag, nil},
		{"an image that is gone", "", "r.example/a@sha256:ff66", tag, nil},
		{"nothing", "", "", "", nil},
	} {
		c := &runtimeapi.Container{ImageId: test.id, ImageRef: test.ref, Image: &runtimeapi.ImageSpec{Image: test.asNamed}}
		if got := index.Of(c); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
