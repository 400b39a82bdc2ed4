package filled

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/pullwatch/pullwatch/test/node"
)

// image is one that a case has on the disk. It lies there twice: as it came, and unpacked.
type image struct {
	name  string
	mib   int  // of bytes that do not compress
	files int  // that share them
	used  bool // by a pod of the same name
}

func (i image) tag() string { return "filled/" + i.name + ":1" }

// push makes the image and pushes it into the node's registry, and returns its reference.
func (i image) push(ctx context.Context, r *node.Registry) (string, error) {
	tag := i.tag()
	base, err := r.Image(tag)
	if err != nil {
		return "", err
	}
	raw, err := i.archive()
	if err != nil {
		return "", err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil },
		tarball.WithCompressionLevel(1))
	if err != nil {
		return "", err
	}
	img, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return "", err
	}
	return r.Ref(tag), r.Push(ctx, tag, img)
}

func (i image) archive() ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	source := rand.NewChaCha8(sha256.Sum256([]byte(i.name)))
	files := max(1, i.files)
	content := make([]byte, (i.mib<<20)/files)
	for f := range files {
		_, _ = source.Read(content) // never fails
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("data/%05d", f), Size: int64(len(content)), Mode: 0o644}); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return buf.Bytes(), err
}
