package e2e

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/pullwatch/pullwatch/test/node"
	"github.com/pullwatch/pullwatch/test/node/release"
)

// TestReleasedImage holds the image of a release to the one that a builder makes of the Dockerfile: the same files and the same configuration.
// TestPod runs the latter.
func TestReleasedImage(t *testing.T) {
	n := startNode(t, node.Options{RuntimeOnly: true, Containerd: node.Containerd16})
	must(t, node.EnsurePrograms(t.Context(), node.NewProgress(os.Stderr), map[string]string{"buildah": "buildah"}))
	buildImage(t, n)
	built, err := n.Registry().Get(t.Context(), imageTag)
	must(t, err)
	content, err := os.ReadFile("../../../bin/pullwatch")
	must(t, err)
	r := &release.Release{Version: "e2e", Time: time.Unix(1e9, 0)}
	released, err := r.Image(release.Program{Platform: v1.Platform{OS: "linux", Architecture: runtime.GOARCH}, Content: content})
	must(t, err)
	if diff := cmp.Diff(inside(t, built), inside(t, released)); diff != "" {
		t.Errorf("the Dockerfile's image (-) and the released one (+):\n%s", diff)
	}
}

// inside is what an image is made of, but for times and what the builder says of itself.
func inside(t *testing.T, image v1.Image) (is struct {
	Platform string
	Config   v1.Config
	Files    []string
}) {
	t.Helper()
	config, err := image.ConfigFile()
	must(t, err)
	is.Platform, is.Config = config.Platform().String(), config.Config
	for label := range is.Config.Labels {
		if strings.HasPrefix(label, "io.buildah.") {
			delete(is.Config.Labels, label)
		}
	}
	files := mutate.Extract(image)
	defer files.Close()
	for r := tar.NewReader(files); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return is
		}
		must(t, err)
		sum := sha256.New()
		_, err = io.Copy(sum, r)
		must(t, err)
		is.Files = append(is.Files, fmt.Sprintf("%s %s %d:%d %x", h.FileInfo().Mode(), h.Name, h.Uid, h.Gid, sum.Sum(nil)))
	}
}
