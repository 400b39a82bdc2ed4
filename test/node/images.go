package node

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// Registry is one of the node's registries: what is in it can be pushed, removed and damaged.
type Registry struct {
	Addr    string // host:port, as in image references
	storage string
	auth    authn.Authenticator
	payload string
}

// Registry is the plain one.
func (n *Node) Registry() *Registry {
	return &Registry{n.addr("registry"), filepath.Join(n.Dir, "registry", "plain"), authn.Anonymous, n.Parts.Payload}
}

// PrivateRegistry wants PrivateUser and PrivatePassword.
func (n *Node) PrivateRegistry() *Registry {
	return &Registry{
		n.addr("private"), filepath.Join(n.Dir, "registry", "private"),
		&authn.Basic{Username: PrivateUser, Password: PrivatePassword}, n.Parts.Payload,
	}
}

// Ref is the reference under which containerd asks this registry for repo:tag.
func (r *Registry) Ref(repoTag string) string { return r.Addr + "/" + repoTag }

// Image makes an image of this machine's platform that runs the payload. Equal labels make equal images.
func (r *Registry) Image(label string) (v1.Image, error) {
	return r.image(label, runtime.GOARCH)
}

func (r *Registry) image(label, arch string) (v1.Image, error) {
	program, err := os.ReadFile(r.payload)
	if err != nil {
		return nil, err
	}
	base, err := layer("payload", program, 0o755)
	if err != nil {
		return nil, err
	}
	// A layer of its own, so that each image has content that no other has.
	own, err := layer("label", []byte(label), 0o644)
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.DockerManifestSchema2), base, own)
	if err != nil {
		return nil, err
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture = "linux", arch
	cfg.Config.Entrypoint = []string{"/payload"}
	cfg.Config.Labels = map[string]string{"label": label}
	return mutate.ConfigFile(img, cfg)
}

func layer(path string, content []byte, mode int64) (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: path, Size: int64(len(content)), Mode: mode}); err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	raw := buf.Bytes()
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }, tarball.WithCompressionLevel(1))
}

// largeImage has one layer of that size which does not compress.
func (r *Registry) largeImage(label string, mib int) (v1.Image, error) {
	img, err := r.Image(label)
	if err != nil {
		return nil, err
	}
	content := make([]byte, mib<<20)
	src := rand.NewChaCha8(sha256.Sum256([]byte(label)))
	_, _ = src.Read(content) // never fails
	big, err := layer("large", content, 0o644)
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(img, big)
}

// foreignIndex is an image index with no manifest for this machine.
func (r *Registry) foreignIndex() (v1.ImageIndex, error) {
	idx := v1.ImageIndex(empty.Index)
	for _, arch := range []string{"arm64", "s390x", "ppc64le"} {
		if arch == runtime.GOARCH {
			continue
		}
		img, err := r.image("index", arch)
		if err != nil {
			return nil, err
		}
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	return idx, nil
}

// ForeignImage is a single image of another architecture, without an index around it: it pulls without complaint.
func (r *Registry) ForeignImage() (v1.Image, error) {
	if runtime.GOARCH == "arm64" {
		return r.image("foreign", "s390x")
	}
	return r.image("foreign", "arm64")
}

// noArchive begins as xz does, and is longer than a tar header, so that a runtime which tries to read one gets that far.
var noArchive = append([]byte("\xfd7zXZ\x00"), bytes.Repeat([]byte("pullwatch"), 200)...)

// artifact is an OCI image with one layer, of a type that runtimes do not know.
func (r *Registry) artifact(layer types.MediaType) (v1.Image, error) {
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.AppendLayers(img, static.NewLayer(noArchive, layer))
	if err != nil {
		return nil, err
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture = "linux", runtime.GOARCH
	return mutate.ConfigFile(img, cfg)
}

// Push writes an image or index to repo:tag.
func (r *Registry) Push(ctx context.Context, repoTag string, what remote.Taggable) error {
	ref, err := name.ParseReference(r.Ref(repoTag), name.Insecure, name.StrictValidation)
	if err != nil {
		return err
	}
	opts := []remote.Option{remote.WithContext(ctx), remote.WithAuth(r.auth), remote.WithTransport(direct.Transport)}
	switch v := what.(type) {
	case v1.Image:
		err = remote.Write(ref, v, opts...)
	case v1.ImageIndex:
		err = remote.WriteIndex(ref, v, opts...)
	default:
		err = fmt.Errorf("cannot push a %T", what)
	}
	if err != nil {
		return fmt.Errorf("push %s: %w", ref, err)
	}
	return nil
}

// PushTag pushes an image of its own to repo:tag: one that runs and waits.
func (r *Registry) PushTag(ctx context.Context, repoTag string) error {
	img, err := r.Image(repoTag)
	if err != nil {
		return err
	}
	return r.Push(ctx, repoTag, img)
}

func (r *Registry) tagDir(repo, tag string) string {
	return filepath.Join(r.storage, "docker/registry/v2/repositories", repo, "_manifests/tags", tag)
}

// Tagged says whether the registry has the tag.
func (r *Registry) Tagged(repo, tag string) bool {
	_, err := os.Stat(r.tagDir(repo, tag))
	return err == nil
}

// Untag removes a tag; what it pointed to stays.
func (r *Registry) Untag(repo, tag string) error {
	if !r.Tagged(repo, tag) {
		return fmt.Errorf("untag %s:%s: there is no such tag", repo, tag)
	}
	return os.RemoveAll(r.tagDir(repo, tag))
}

// Get is what the registry has under repo:tag for this machine's platform.
func (r *Registry) Get(ctx context.Context, repoTag string) (v1.Image, error) {
	ref, err := name.ParseReference(r.Ref(repoTag), name.Insecure)
	if err != nil {
		return nil, err
	}
	return remote.Image(ref, remote.WithContext(ctx), remote.WithAuth(r.auth), remote.WithTransport(direct.Transport))
}

// SetCorrupt damages the last layer of an image in the registry's storage, keeping its size; undo restores it.
// It returns the layer's digest.
func (r *Registry) SetCorrupt(ctx context.Context, repoTag string, undo bool) (string, error) {
	img, err := r.Get(ctx, repoTag)
	if err != nil {
		return "", err
	}
	layers, err := img.Layers()
	if err != nil || len(layers) == 0 {
		return "", errors.Join(fmt.Errorf("%s has no layers", r.Ref(repoTag)), err)
	}
	digest, err := layers[len(layers)-1].Digest()
	if err != nil {
		return "", err
	}
	path := filepath.Join(r.storage, "docker/registry/v2/blobs", digest.Algorithm, digest.Hex[:2], digest.Hex, "data")
	kept := filepath.Join(r.storage, "kept-"+digest.Hex)
	if undo {
		raw, err := os.ReadFile(kept)
		if err != nil {
			return "", err
		}
		return digest.String(), writeFile(path, raw, 0o644)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if err := writeFile(kept, raw, 0o644); err != nil {
		return "", err
	}
	for i := len(raw) / 2; i < len(raw)/2+8 && i < len(raw); i++ {
		raw[i] ^= 0xff
	}
	return digest.String(), writeFile(path, raw, 0o644)
}

// Names of what every node's plain registry has.
const (
	pauseTag = "platform/pause:1"
	goodTag  = "team/payload:1"
)

// SandboxImage is what containerd is configured to make pods from.
func (n *Node) SandboxImage() string { return n.Registry().Ref(pauseTag) }

// GoodImage can be pulled and runs.
func (n *Node) GoodImage() string { return n.Registry().Ref(goodTag) }

func (n *Node) pushBase(ctx context.Context) error {
	r := n.Registry()
	g, ctx := errgroup.WithContext(ctx)
	for _, tag := range []string{pauseTag, goodTag} {
		g.Go(func() error { return r.PushTag(ctx, tag) })
	}
	return g.Wait()
}

// PushTags pushes count images, each with content of its own, and returns their references.
func (n *Node) PushTags(ctx context.Context, count int) ([]string, error) {
	r := n.Registry()
	refs := make([]string, count)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(6)
	for i := range refs {
		tag := fmt.Sprintf("team/svc%02d:v%d", i%12, i/12+1)
		refs[i] = r.Ref(tag)
		g.Go(func() error { return r.PushTag(ctx, tag) })
	}
	return refs, g.Wait()
}
