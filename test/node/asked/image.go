package asked

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// content is one image as its bytes: what a registry needs of it.
type content struct {
	digest string
	blobs  map[string][]byte
	kind   map[string]string // digest -> manifest, config or layer
}

// newContent makes an image that shares nothing with any other: what containerd has already it does not ask for.
func newContent(seed string, layers int) (*content, error) {
	img := mutate.MediaType(empty.Image, types.DockerManifestSchema2)
	src := rand.NewChaCha8(sha256.Sum256([]byte(seed)))
	for range layers {
		layer, err := newLayer(src)
		if err != nil {
			return nil, err
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			return nil, err
		}
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config.Labels = map[string]string{"seed": seed}
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return nil, err
	}
	return contentOf(img)
}

func contentOf(img v1.Image) (*content, error) {
	c := &content{blobs: map[string][]byte{}, kind: map[string]string{}}
	keep := func(kind string, digest v1.Hash, raw []byte) {
		c.blobs[digest.String()], c.kind[digest.String()] = raw, kind
	}
	raw, err := img.RawManifest()
	if err != nil {
		return nil, err
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	c.digest = digest.String()
	keep("manifest", digest, raw)
	if raw, err = img.RawConfigFile(); err != nil {
		return nil, err
	}
	if digest, err = img.ConfigName(); err != nil {
		return nil, err
	}
	keep("config", digest, raw)
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	for _, layer := range layers {
		r, err := layer.Compressed()
		if err != nil {
			return nil, err
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		if digest, err = layer.Digest(); err != nil {
			return nil, err
		}
		keep("layer", digest, raw)
	}
	return c, nil
}

func newLayer(src io.Reader) (v1.Layer, error) {
	noise := make([]byte, 64)
	if _, err := io.ReadFull(src, noise); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: "noise", Size: int64(len(noise)), Mode: 0o644}); err != nil {
		return nil, err
	}
	if _, err := w.Write(noise); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
}
