package cri

import (
	"encoding/json"
	"strings"

	"github.com/opencontainers/go-digest"
)

const (
	// maxImageInfo bounds the JSON that is looked at, in bytes. An image with
	// a long history has some tens of KiB.
	maxImageInfo = 1 << 20
	// maxPlatformWord bounds each word that is given out, in bytes. The
	// longest that Go knows have eight.
	maxPlatformWord = 32
	// maxLayers bounds the layers of an image. The kernel stacks no more than
	// 500 (fs/overlayfs, OVL_MAX_STACK).
	maxLayers = 500
)

// ImageConfig is what of an image's configuration is read. Its author writes
// all of it: what is no platform or no digest is left empty.
type ImageConfig struct {
	OS, Architecture, Variant string
	// DiffIDs are the digests of the layers as they are unpacked, the lowest
	// first.
	DiffIDs []digest.Digest
}

// ReadImageConfig reads the configuration out of the info that
// [Client.ImageStatus] gives when verbose. containerd and CRI-O both keep the
// OCI image configuration under imageSpec in info["info"].
func ReadImageConfig(info map[string]string) (c ImageConfig) {
	text := info["info"]
	if len(text) > maxImageInfo {
		return c
	}
	var i struct {
		ImageSpec struct {
			OS           string `json:"os"`
			Architecture string `json:"architecture"`
			Variant      string `json:"variant"`
			RootFS       struct {
				DiffIDs []digest.Digest `json:"diff_ids"`
			} `json:"rootfs"`
		} `json:"imageSpec"`
	}
	if json.Unmarshal([]byte(text), &i) != nil {
		return c
	}
	c.OS, c.Architecture, c.Variant = platformWord(i.ImageSpec.OS), platformWord(i.ImageSpec.Architecture), platformWord(i.ImageSpec.Variant)
	if diffs := i.ImageSpec.RootFS.DiffIDs; len(diffs) <= maxLayers {
		for _, d := range diffs {
			if d.Validate() != nil {
				return c
			}
		}
		c.DiffIDs = diffs
	}
	return c
}

// Platform is what the image was built for, as os/architecture or
// os/architecture/variant; empty where the configuration does not say.
func (c ImageConfig) Platform() string {
	if c.OS == "" || c.Architecture == "" {
		return ""
	}
	return strings.TrimSuffix(c.OS+"/"+c.Architecture+"/"+c.Variant, "/")
}

// platformWord lets through what GOOS, GOARCH and OCI variants are made of.
func platformWord(s string) string {
	if len(s) > maxPlatformWord {
		return ""
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return ""
		}
	}
	return s
}
