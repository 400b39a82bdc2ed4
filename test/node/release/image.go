package release

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Repository is where the manifests expect the image.
const Repository = "ghcr.io/pullwatch/pullwatch"

// labels are those of the Dockerfile.
func (r *Release) labels() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       Name,
		"org.opencontainers.image.description": "The agent on every node that knows why images cannot be pulled",
		"org.opencontainers.image.source":      "https://github.com/pullwatch/pullwatch",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     r.Version,
		"org.opencontainers.image.revision":    r.Revision,
	}
}

// Image is what the Dockerfile makes of a program: the program alone, not run as root.
func (r *Release) Image(p Program) (v1.Image, error) {
	content, err := archive(r.Time, []entry{{Name, p.Content, true}})
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(9))
	if err != nil {
		return nil, err
	}
	created := v1.Time{Time: r.Time.UTC()}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.Append(base, mutate.Addendum{
		Layer: layer, History: v1.History{Created: created, CreatedBy: "COPY " + Name + " /" + Name}, MediaType: types.OCILayer,
	})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Created = created
	config.OS, config.Architecture, config.Variant = p.Platform.OS, p.Platform.Architecture, p.Platform.Variant
	config.Config = v1.Config{
		User: "65532:65532", Entrypoint: []string{"/" + Name}, Cmd: []string{"run"}, Labels: r.labels(),
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, // what builders set where nobody does
	}
	return mutate.ConfigFile(img, config)
}

// Index is the image for every platform of the release.
func (r *Release) Index() (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range r.Programs {
		img, err := r.Image(p)
		if err != nil {
			return nil, fmt.Errorf("image for %s: %w", p.Platform, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &p.Platform}})
	}
	return mutate.Annotations(index, r.labels()).(v1.ImageIndex), nil
}

// image is the index as an OCI image layout in a tar, which skopeo, podman and ctr read as it is.
func (r *Release) image() (files []file, err error) {
	index, err := r.Index()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", Name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left there harms nobody
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return nil, err
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": r.Version,
		"io.containerd.image.name":          Repository + ":" + r.Version,
	})); err != nil {
		return nil, err
	}
	var entries []entry
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		entries = append(entries, entry{filepath.ToSlash(name), content, false})
		return err
	})
	if err != nil {
		return nil, err
	}
	content, err := archive(r.Time, entries) // not compressed: the layers are
	return []file{{Name + "-" + r.Version + ".oci.tar", content}}, err
}
