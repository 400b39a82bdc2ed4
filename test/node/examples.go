package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Example is a registry that shows one state of registries.
type Example struct {
	Registry string
	What     string // after its name, a sentence
	Cause    string // why it is not reached; "" is a registry that is
	// MirrorCause is why the mirror in front of it is not reached; "" where there is none.
	MirrorCause string
}

// exampleNames are the faults that only the examples configure.
var exampleNames = []string{"mirrored", "expired", "tokendown"}

// ExampleImages are the images that MakeExamples puts onto the node.
var ExampleImages = []string{"shop/web:1.27", "shop/billing:4.0"}

// Examples are a registry that works, one behind a mirror that is dead, and three that are broken, in the order of their names. MakeExamples
// makes them so.
func (n *Node) Examples() []Example {
	examples := []Example{
		{n.RegistryAddr(), "works", "", ""},
		{n.addr("plain"), "speaks HTTP, and the runtime is told HTTPS", "tls", ""},
		{n.addr("mirrored"), "works, behind a mirror that is dead", "", "connection"},
		{n.addr("expired"), "has a certificate that ended a week ago", "tls", ""},
		{n.addr("tokendown"), "names a token service that does not listen", "connection", ""},
	}
	slices.SortFunc(examples, func(a, b Example) int { return strings.Compare(a.Registry, b.Registry) })
	return examples
}

// MakeExamples leaves containerd with the examples alone, and pulls images from the one that works.
func (n *Node) MakeExamples(ctx context.Context) error {
	plain, mirrored, expired := n.addr("plain"), n.addr("mirrored"), n.addr("expired")
	certs := filepath.Join(n.Dir, "certs.d")
	if err := errors.Join(
		os.RemoveAll(certs),
		n.WriteHosts(plain, "https://"+plain, ""),
		n.WriteHosts(mirrored, "http://"+mirrored, fmt.Sprintf("[host.%q]\n", "http://"+n.addr("refused"))),
		n.WriteHosts(expired, "https://"+expired, fmt.Sprintf("ca = %q\n", filepath.Join(n.Dir, "faults", "ca.crt"))),
		// Without a hosts.toml in it a directory changes nothing: the registry is known, and asked as any on loopback.
		os.MkdirAll(filepath.Join(certs, n.addr("tokendown")), 0o755),
		n.setFault(ctx, "break", "refused"), // somebody may have mended it
	); err != nil {
		return err
	}
	for _, image := range ExampleImages {
		if err := n.Registry().PushTag(ctx, image); err != nil {
			return err
		}
		if err := n.PullImage(ctx, n.Registry().Ref(image)); err != nil {
			return err
		}
	}
	return nil
}
