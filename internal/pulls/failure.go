// Package pulls follows the life of every image pull that fails on this node.
//
// It promises: one failure has one life, from the first sign that a container waits for an image that cannot be pulled until the
// container runs, terminates, waits for something else or is gone. It keeps its cause through the kubelet's flips between ErrImagePull
// and ImagePullBackOff, and what it says of times and counts comes with where it was learned.
package pulls

import (
	"cmp"
	"slices"
	"time"

	"github.com/distribution/reference"

	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/pkg/cause"
)

// Source is where a time or a count was learned.
type Source string

// The sources, the best first.
const (
	Observed  Source = "observed"  // this agent saw it happen
	Event     Source = "event"     // an event of the pod says so
	Estimated Source = "estimated" // derived: no earlier than, or at least
)

// BasisText says that a cause was read from the text of an error, and not verified.
const BasisText = "text"

// Failure is a container of a pod on this node, or a pod's sandbox, that waits because an image cannot be pulled. Its JSON form is that
// of `pullwatch failures -o json`.
type Failure struct {
	Namespace string      `json:"namespace"`
	Pod       string      `json:"pod"`
	Container string      `json:"container,omitempty"` // empty for a sandbox
	Kind      kube.Kind   `json:"kind"`
	Image     string      `json:"image"`
	Registry  string      `json:"registry"` // empty where the image names none
	Reason    string      `json:"reason"`   // the kubelet's latest
	Message   string      `json:"message"`  // the text that the cause was read from
	Cause     cause.Cause `json:"cause"`
	Basis     string      `json:"basis"`
	Scope     cause.Scope `json:"scope"`

	Since        time.Time `json:"since,omitzero"`
	SinceFrom    Source    `json:"sinceFrom,omitempty"`
	Attempts     int       `json:"attempts,omitempty"` // pulls tried and failed; 0 is unknown
	AttemptsFrom Source    `json:"attemptsFrom,omitempty"`
	NextTry      time.Time `json:"nextTry,omitzero"` // no earlier than this; the kubelet looks every 10 s or so
	NextTryFrom  Source    `json:"nextTryFrom,omitempty"`

	Advice string `json:"advice"`

	PodUID string `json:"podUID"`
	Owner  string `json:"-"` // UID of the controller that owns the pod, or of the pod
	// PullSecrets are the secrets that the pod names to pull its images with; a sandbox is pulled without.
	PullSecrets []string `json:"pullSecrets,omitempty"`

	seen   string // the latest message as the kubelet wrote it, to tell a new attempt by
	trying bool   // the kubelet showed no error since
	behind int    // so often its events were behind what was seen
	asked  bool   // its pod's events were asked for since it began
}

// setCause gives the failure what a text said.
func (f *Failure) setCause(v cause.Verdict, message string) {
	f.Cause, f.Scope, f.Message, f.Advice = v.Cause, v.Scope(), Redact(message), v.Cause.Advice()
}

// Registry is the registry of an image reference, as the runtime reads it: docker.io for a bare name. It is empty for what is no
// reference.
func Registry(image string) string {
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		return ""
	}
	return reference.Domain(named)
}

// InFull is an image reference as the runtime reads it: docker.io/library/nginx:latest for nginx. It is empty for what is no reference.
func InFull(image string) string {
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		return ""
	}
	return named.String()
}

// PulledFrom is the registry that an image on a node came from, by a name with a digest of it. CRI-O gives each image such names, also one that was built
// or loaded here and never pulled: those that its tools call localhost/ came from nowhere, others cannot be told.
func PulledFrom(digested string) string {
	registry := Registry(digested)
	if registry == "localhost" {
		return ""
	}
	return registry
}

// Sort orders failures as people read them: by namespace, pod, container.
func Sort(failures []Failure) {
	slices.SortFunc(failures, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Container, b.Container),
			cmp.Compare(a.Kind, b.Kind))
	})
}

// The kubelet's image pull back-off: 10 s, doubling to 5 min, for each pod and image (pkg/kubelet/kubelet.go, imageBackOffPeriod and
// MaxImageBackOff).
const (
	backoffFirst = 10 * time.Second
	backoffMost  = 5 * time.Minute
	// backoffForgets is after what time without a failure the kubelet begins anew.
	backoffForgets = 2 * backoffMost
)

// backoffAfter is how long the kubelet waits after the n-th failed attempt.
func backoffAfter(attempts int) time.Duration {
	if attempts < 1 || attempts > 5 {
		return backoffMost
	}
	return min(backoffFirst<<(attempts-1), backoffMost)
}
