package critest

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The hosts that the fake knows. Any other does not resolve.
const (
	// Registry answers over HTTP. It has the repository pause with the tags
	// 3.10, 3.9, armonly (one manifest, for arm64) and armindex (an index that
	// has arm64 only).
	Registry = "127.0.0.1:5000"
	// Private has what Registry has, for [PrivateUser] with the password [Secret].
	Private     = "127.0.0.1:5001"
	PrivateUser = "robot"
	// Nobody is where nobody listens.
	Nobody = "127.0.0.1:5999"
	// Blocked is blocked by CRI-O's registries.conf.
	Blocked = "blocked.example"
	// Mirrored is, in CRI-O's registries.conf, served by the mirrors Nobody
	// and Registry, in this order; the host itself does not resolve.
	Mirrored = "mirrored.example"
)

// resolver is the name server in the texts.
const resolver = "10.0.0.53:53"

// The images. Identifiers and digests are those of the recorded CRI-O.
var (
	pause310 = Image{
		ID:           "ec6652732332b8774bca278a360682557eb0ed43dfee440086701f3dde96f328",
		Tags:         []string{Registry + "/pause:3.10"},
		Digests:      []string{Registry + "/pause@sha256:8968d79d46c91913a16a72bd56ca6ff15f3d07e13b0b64b3dc8c9d3c0f14b920"},
		Size:         1434674,
		Pinned:       true,
		OS:           "linux",
		Architecture: "amd64",
	}
	crioPause310 = Image{
		ID:           pause310.ID,
		Tags:         []string{Registry + "/pause:3.10", Mirrored + "/pause:3.10"},
		Digests:      []string{pause310.Digests[0], Mirrored + "/pause@sha256:8968d79d46c91913a16a72bd56ca6ff15f3d07e13b0b64b3dc8c9d3c0f14b920"},
		Size:         pause310.Size,
		Pinned:       true,
		OS:           "linux",
		Architecture: "amd64",
	}
	armonly = Image{
		ID:           "0354238930d0c83ce2c8bba3795aa9b97cef2c53a248b7f72c62a04130e1fdf1",
		Tags:         []string{Registry + "/pause:armonly"},
		Digests:      []string{Registry + "/pause@sha256:c6889075ed584bf743b75eb3691d5fb895721bc1a7a74f4038ef4fc489bb2e2d"},
		Size:         1434674,
		OS:           "linux",
		Architecture: "arm64",
	}
	pause39 = Image{
		ID:           "9a1b5c0a2b7d4e1fb1d9a0c44b3a5e0f6d3e7c8899aabbccddeeff0011223344",
		Size:         1434674,
		Digests:      []string{Registry + "/pause@sha256:5d1c0b9a8877665544332211ffeeddccbbaa99887766554433221100fedcba98"},
		OS:           "linux",
		Architecture: "amd64",
	}
)

// pinned gives the image with another pin: containerd 1.6 knows none.
func pinned(i Image, on bool) Image {
	i.Pinned = on
	return i
}

// stock gives the image that Registry has under path and tag, by the names
// that it takes on the node when it was pulled as named.
func stock(named reference.Named) (Image, bool) {
	tagged, ok := named.(reference.Tagged)
	if !ok || reference.Path(named) != "pause" {
		return Image{}, false
	}
	image, ok := map[string]Image{"3.10": pause310, "3.9": pause39, "armonly": armonly}[tagged.Tag()]
	if !ok {
		return Image{}, false
	}
	_, digest, _ := strings.Cut(image.Digests[0], "@")
	image.Tags = []string{named.String()}
	image.Digests = []string{named.Name() + "@" + digest}
	return image, true
}

// version gives what stands behind the name: tag or digest.
func version(named reference.Named) string {
	switch n := named.(type) {
	case reference.Digested:
		return n.Digest().String()
	case reference.Tagged:
		return n.Tag()
	}
	return ""
}

func armindex(named reference.Named) bool {
	return reference.Path(named) == "pause" && version(named) == "armindex"
}

// hostname strips the port, as a resolver's error does.
func hostname(host string) string {
	name, _, _ := strings.Cut(host, ":")
	return name
}

// asked is what a pull depends on beside the reference: whether the runtime
// insists on HTTPS for Registry, and the credentials.
type asked struct {
	secure bool
	auth   *runtimeapi.AuthConfig
}

// admitted tells whether Private takes the credentials.
func (a asked) admitted() bool {
	const pair = PrivateUser + ":" + Secret
	return a.auth.GetUsername()+":"+a.auth.GetPassword() == pair || a.auth.GetAuth() == base64.StdEncoding.EncodeToString([]byte(pair))
}

// containerdTexts is where the versions of containerd differ in words. All of
// 1.6 was heard from containerd 1.6.20 itself.
type containerdTexts struct {
	// unresolved stands before the reason why a reference did not resolve.
	unresolved func(ref string) string
	// noPlatform is the whole text for an index without this platform.
	noPlatform func(ref, index string) string
	// badName gives the parser's words.
	badName func(error) string
	// refused is what follows the prefix where a registry wants other
	// credentials than those shown, if any were.
	refused func(host, path, tag string, shown bool) string
	// loopback is the scheme tried on a loopback registry that nothing
	// configures.
	loopback string
}

var containerd16Texts = containerdTexts{
	unresolved: func(ref string) string {
		return fmt.Sprintf("failed to pull and unpack image %q: failed to resolve reference %q: ", ref, ref)
	},
	noPlatform: func(ref, _ string) string {
		return fmt.Sprintf("failed to pull and unpack image %q: no match for platform in manifest: not found", ref)
	},
	badName: func(err error) string {
		// The parser of its time did not say which name.
		if strings.HasSuffix(err.Error(), "must be lowercase") {
			return "invalid reference format: repository name must be lowercase"
		}
		return err.Error()
	},
	refused: func(host, _, tag string, _ bool) string {
		return fmt.Sprintf("pulling from host %s failed with status code [manifests %s]: 401 Unauthorized", host, tag)
	},
	loopback: "http",
}

var containerd2Texts = containerdTexts{
	unresolved: func(ref string) string {
		return fmt.Sprintf("failed to pull and unpack image %q: failed to resolve image: ", ref)
	},
	noPlatform: func(_, index string) string {
		return fmt.Sprintf("get image config descriptor: no match for platform in manifest %s: not found", index)
	},
	badName: error.Error,
	refused: func(host, path, tag string, shown bool) string {
		if !shown {
			return "pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials"
		}
		return fmt.Sprintf("unexpected status from HEAD request to http://%s/v2/%s/manifests/%s: 401 Unauthorized", host, path, tag)
	},
	loopback: "https",
}

func (c containerdTexts) pull(ref string, a asked) Pull {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return Pull{Code: codes.Unknown, Text: fmt.Sprintf("failed to parse image reference %q: %s", ref, c.badName(err))}
	}
	full := named.String()
	host := reference.Domain(named)
	prefix := c.unresolved(full)
	head := func(scheme, at string) string {
		return fmt.Sprintf("failed to do request: Head \"%s://%s/v2/%s/manifests/%s\": ", scheme, at, reference.Path(named), version(named))
	}
	switch host {
	case Registry:
		if a.secure {
			return Pull{Code: codes.Unknown, Text: prefix + head("https", host) + "http: server gave HTTP response to HTTPS client"}
		}
		if armindex(named) {
			const index = "sha256:3b1f0a2d9c8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a"
			return Pull{Code: codes.NotFound, Text: c.noPlatform(full, index)}
		}
		if image, ok := stock(named); ok {
			return Pull{Image: &image}
		}
		return Pull{Code: codes.NotFound, Text: prefix + full + ": not found"}
	case Private:
		if !a.admitted() {
			return Pull{Code: codes.Unknown, Text: prefix + c.refused(host, reference.Path(named), version(named), a.auth != nil)}
		}
		if image, ok := stock(named); ok {
			return Pull{Image: &image}
		}
		return Pull{Code: codes.NotFound, Text: prefix + full + ": not found"}
	case Nobody:
		return Pull{Code: codes.Unknown, Text: prefix + head(c.loopback, host) + "dial tcp " + host + ": connect: connection refused"}
	}
	if host == "docker.io" {
		host = "registry-1.docker.io"
	}
	return Pull{Code: codes.Unknown, Text: prefix + head("https", host) + "dial tcp: lookup " + hostname(host) + " on " + resolver + ": no such host"}
}

// crioPull is the recorded table of CRI-O. Each code is Unknown.
func crioPull(ref string, a asked) Pull {
	fail := func(format string, args ...any) Pull {
		return Pull{Code: codes.Unknown, Text: fmt.Sprintf(format, args...)}
	}
	if first, _, ok := strings.Cut(ref, "/"); !ok || (!strings.ContainsAny(first, ".:") && first != "localhost") {
		// unqualified-search-registries names one registry.
		ref = Registry + "/" + ref
	}
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		why := strings.TrimPrefix(err.Error(), "invalid reference format: ")
		if strings.Contains(why, "must be lowercase") {
			why = "repository name must be lowercase"
		}
		return fail("cannot parse input: %q: %s", ref, why)
	}
	full, host, path, tag := named.String(), reference.Domain(named), reference.Path(named), version(named)
	unread := func(why string) Pull {
		why = fmt.Sprintf("reading manifest %s in %s: %s", tag, named.Name(), why)
		return fail("unable to pull image or OCI artifact: pull image err: initializing source docker://%s: %s; artifact err: image reference: get manifest from ref: create image source: %s", full, why, why)
	}

	switch host {
	case Registry:
		if a.secure {
			return fail("unable to pull image: initializing source docker://%s: pinging container registry %s: Get \"https://%s/v2/\": http: server gave HTTP response to HTTPS client", full, host, host)
		}
		if armindex(named) {
			const why = `no image found in image index for architecture "amd64", variant "", OS "linux"`
			return fail("unable to pull image or OCI artifact: pull image err: choosing an image from manifest list docker://%s: %s; artifact err: image reference: choose manifest instance: %s", full, why, why)
		}
		if image, ok := stock(named); ok {
			return Pull{Image: &image}
		}
		return unread("manifest unknown")
	case Private:
		if !a.admitted() {
			return unread("unauthorized: authentication required") // not recorded on its own
		}
		if image, ok := stock(named); ok {
			return Pull{Image: &image}
		}
		return unread("manifest unknown")
	case Nobody:
		return fail("RegistryUnavailable: unable to pull image: initializing source docker://%s: pinging container registry %s: Get \"http://%s/v2/\": dial tcp %s: connect: connection refused", full, host, host, host)
	case Blocked:
		const why = "registry " + Blocked + " is blocked in /etc/containers/registries.conf or ~/.config/containers/registries.conf.d"
		return fail("unable to pull image or OCI artifact: pull image err: initializing source docker://%s: %s; artifact err: image reference: get manifest from ref: create image source: %s", full, why, why)
	case Mirrored:
		if image, ok := stock(named); ok {
			return Pull{Image: &image}
		}
		return fail("unable to pull image: initializing source docker://%s: (Mirrors also failed: "+
			"[%[2]s/%[3]s:%[4]s: pinging container registry %[2]s: Get \"http://%[2]s/v2/\": dial tcp %[2]s: connect: connection refused]\n"+
			"[%[5]s/%[3]s:%[4]s: reading manifest %[4]s in %[5]s/%[3]s: manifest unknown]): "+
			"%[1]s: pinging container registry %[6]s: Get \"https://%[6]s/v2/\": dial tcp: lookup %[6]s on %[7]s: no such host",
			full, Nobody, path, tag, Registry, host, resolver)
	}
	// Not recorded on its own: the last part of the row with mirrors.
	return fail("unable to pull image: initializing source docker://%s: pinging container registry %s: Get \"https://%s/v2/\": dial tcp: lookup %s on %s: no such host", full, host, host, hostname(host), resolver)
}
