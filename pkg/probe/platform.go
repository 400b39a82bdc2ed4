package probe

import (
	"slices"

	"github.com/containerd/platforms"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// Runs tells what a machine of this kind runs of what is on its disk, whatever a runtime would have chosen of an index: variants older than its own, 386
// on amd64, arm on arm64. It is containerd's rule; CRI-O leaves these in an index alone, and runs an image that is nothing else.
func Runs(own v1.Platform) func(platform string) bool {
	matcher := platforms.Only(own)
	return func(platform string) bool {
		p, err := platforms.Parse(platform)
		return err == nil && matcher.Match(p)
	}
}

// MatchContainerd picks of the platforms that an index offers the one that containerd on a machine of this kind takes: the best that it can
// run, older variants included, and on amd64 at last 386 (github.com/containerd/platforms).
func MatchContainerd(own v1.Platform) func(offered []string) int {
	matcher := platforms.Only(own)
	return func(offered []string) int {
		best := -1
		var of v1.Platform
		for i, text := range offered {
			p, err := platforms.Parse(text)
			if err != nil || !matcher.Match(p) {
				continue
			}
			if best < 0 || matcher.Less(p, of) {
				best, of = i, p
			}
		}
		return best
	}
}

// variants are those that CRI-O takes on a machine of a variant, the best first (go.podman.io/image, platform_matcher.go).
var variants = map[string][]string{"arm": {"v8", "v7", "v6", "v5"}, "arm64": {"v8"}}

// MatchCRIO picks as CRI-O does: system and architecture must be the machine's own, and of the variants its own or an older one.
func MatchCRIO(own v1.Platform) func(offered []string) int {
	wanted := []string{own.Variant}
	if all, i := variants[own.Architecture], slices.Index(variants[own.Architecture], own.Variant); i >= 0 {
		wanted = all[i:]
	}
	wanted = append(slices.Clone(wanted), "")
	return func(offered []string) int {
		for _, variant := range wanted {
			for i, text := range offered {
				p, err := platforms.Parse(text)
				if err != nil || p.OS != own.OS || p.Architecture != own.Architecture {
					continue
				}
				if p.Variant == variant || variant == "" && p.Variant == platforms.Normalize(own).Variant {
					return i
				}
			}
		}
		return -1
	}
}

// Machine is what images are pulled for.
type Machine struct {
	Runtime  string // containerd or cri-o; one that is not known is taken for containerd
	Platform v1.Platform
}

// pick picks of the platforms that an index offers the one that the runtime takes; it gives -1 for none.
func (m Machine) pick(offered []string) int {
	if m.Runtime == "cri-o" {
		return MatchCRIO(m.Platform)(offered)
	}
	return MatchContainerd(m.Platform)(offered)
}

// OwnPlatform is what this program was built for and runs on. In a pod that is what the runtime takes: it has pulled this very program.
func OwnPlatform() v1.Platform { return platforms.DefaultSpec() }
