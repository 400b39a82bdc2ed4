package cri

import "encoding/json"

const (
	// maxImageInfo bounds the JSON that is looked at, in bytes. An image with
	// a long history has some tens of KiB.
	maxImageInfo = 1 << 20
	// maxPlatformWord bounds each word that is given out, in bytes. The
	// longest that Go knows have eight.
	maxPlatformWord = 32
)

// Platform reads what an image was built for from the info that
// [Client.ImageStatus] gives when verbose. containerd and CRI-O both keep the
// OCI image configuration under imageSpec in info["info"]. What is not there,
// or is no platform, is empty: an image's author writes these words.
func Platform(info map[string]string) (os, arch, variant string) {
	text := info["info"]
	if len(text) > maxImageInfo {
		return "", "", ""
	}
	var i struct {
		ImageSpec struct {
			OS           string `json:"os"`
			Architecture string `json:"architecture"`
			Variant      string `json:"variant"`
		} `json:"imageSpec"`
	}
	if json.Unmarshal([]byte(text), &i) != nil {
		return "", "", ""
	}
	return platformWord(i.ImageSpec.OS), platformWord(i.ImageSpec.Architecture), platformWord(i.ImageSpec.Variant)
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
