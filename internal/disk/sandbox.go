package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Sandbox is the image that each pod's sandbox starts from (pause). The runtime pulls it by itself, without the kubelet's credentials; and from
// kubelet 1.29 only its pin keeps garbage collection off it. What is not known is nil.
type Sandbox struct {
	Image   string `json:"image"`
	ID      string `json:"id,omitempty"` // where it is present
	Present *bool  `json:"present"`
	// Pinned is whether the runtime has it pinned. containerd does so since 1.6.22 and 1.7.3.
	Pinned *bool `json:"pinned"`
}

// SandboxImage is the image that the runtime will use: info is of its verbose CRI status. configured is what its configuration file says, for
// containerd 2, whose status does not tell ([plugins."io.containerd.cri.v1.images".pinned_images] sandbox); it may be empty.
func SandboxImage(info map[string]string, configured string) (string, error) {
	if configured != "" {
		return configured, nil
	}
	text, ok := info["config"]
	if !ok {
		return "", errors.New("the runtime does not tell its sandbox image")
	}
	var config struct { // the rest holds passwords of registries
		Image string `json:"sandboxImage"`
	}
	if json.Unmarshal([]byte(text), &config) != nil {
		return "", errors.New("the runtime's status is not JSON")
	}
	if config.Image == "" {
		return "", errors.New("the runtime does not tell its sandbox image")
	}
	return config.Image, nil
}

// FindSandbox looks for an image of this name among those on the node.
func FindSandbox(name string, images []*runtimeapi.Image) Sandbox {
	s := Sandbox{Image: name}
	if name == "" {
		return s
	}
	present, named := false, names(name)
	for _, image := range images {
		if named(image) {
			pinned := image.GetPinned()
			present, s.ID, s.Pinned = true, image.GetId(), &pinned
			break
		}
	}
	s.Present = &present
	return s
}

// Finding is what is wrong with it, if anything.
func (s *Sandbox) Finding() (Finding, bool) {
	switch {
	case s.Present != nil && !*s.Present:
		return Finding{SandboxMissing, fmt.Sprintf("The sandbox image %s is not on this node: the runtime pulls it before the next pod starts.", clean(s.Image)),
			"See that the runtime can pull it without credentials of the cluster, or load it."}, true
	case s.Pinned != nil && !*s.Pinned:
		return Finding{SandboxNotPinned, fmt.Sprintf("The sandbox image %s is not pinned: kubelets from 1.29 may delete it when no pod runs from it.", clean(s.Image)),
			"Name it in the runtime's configuration as the sandbox image, so that it is pinned; containerd pins from 1.6.22 and 1.7.3 on."}, true
	}
	return Finding{}, false
}

// names tells which images go by a name.
func names(name string) func(*runtimeapi.Image) bool {
	full := name
	if ref, err := reference.ParseDockerRef(name); err == nil {
		full = ref.String()
	}
	_, digest, _ := strings.Cut(full, "@")
	is := func(n string) bool { return n == name || n == full }
	// A mirror's or another name with the same digest is the same image.
	same := func(n string) bool { return is(n) || digest != "" && strings.HasSuffix(n, "@"+digest) }
	return func(image *runtimeapi.Image) bool {
		return is(image.GetId()) || slices.ContainsFunc(image.GetRepoTags(), is) || slices.ContainsFunc(image.GetRepoDigests(), same)
	}
}
