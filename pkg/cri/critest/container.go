package critest

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Container is a container of a pod, as the kubelet has the runtime make it.
type Container struct {
	Namespace, Pod, Name string
	Image                string // a reference of an image on the node
	State                runtimeapi.ContainerState
	Attempt              uint32
	Created              time.Time
}

// AddContainer puts a container on the node, and the sandbox of its pod where
// that has none: one that is ready as long as the last container added runs.
// The flavor decides by what the container names its image. It panics for an
// image that is not on the node.
func (r *Runtime) AddContainer(c Container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	image, ok := r.state.find(c.Image)
	if !ok {
		panic(fmt.Sprintf("critest: no image %q", c.Image))
	}
	labels := map[string]string{
		"io.kubernetes.pod.namespace": c.Namespace, "io.kubernetes.pod.name": c.Pod, "io.kubernetes.pod.uid": "uid-of-" + c.Pod,
	}
	sandbox := &runtimeapi.PodSandbox{
		Id:        identifier("sandbox", c.Namespace, c.Pod),
		Metadata:  &runtimeapi.PodSandboxMetadata{Namespace: c.Namespace, Name: c.Pod, Uid: labels["io.kubernetes.pod.uid"]},
		CreatedAt: c.Created.UnixNano(),
		Labels:    labels,
	}
	if c.State != runtimeapi.ContainerState_CONTAINER_RUNNING {
		sandbox.State = runtimeapi.PodSandboxState_SANDBOX_NOTREADY
	}
	// New slices: an answer with the old may be under way.
	r.state.sandboxes = slices.DeleteFunc(slices.Clone(r.state.sandboxes), func(s *runtimeapi.PodSandbox) bool { return s.GetId() == sandbox.GetId() })
	r.state.sandboxes = append(r.state.sandboxes, sandbox)

	container := r.manners.container(c.Image, r.manners.render(image))
	container.Id = identifier(c.Namespace, c.Pod, c.Name, fmt.Sprint(c.Attempt))
	container.PodSandboxId = sandbox.GetId()
	container.Metadata = &runtimeapi.ContainerMetadata{Name: c.Name, Attempt: c.Attempt}
	container.State = c.State
	container.CreatedAt = c.Created.UnixNano()
	container.Labels = map[string]string{"io.kubernetes.container.name": c.Name}
	maps.Copy(container.Labels, labels)
	r.state.containers = append(slices.Clone(r.state.containers), container)
}

// identifier is 64 hexadecimal digits, the same for the same parts.
func identifier(parts ...string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(fmt.Sprint(parts))))
}

// containerd16Container: the kubelet names the image by its ID, and the
// reference is that too.
func containerd16Container(_ string, image *runtimeapi.Image) *runtimeapi.Container {
	return &runtimeapi.Container{Image: &runtimeapi.ImageSpec{Image: image.GetId()}, ImageRef: image.GetId()}
}

// containerd2Container tells the ID since 2.3.
func containerd2Container(named string, image *runtimeapi.Image) *runtimeapi.Container {
	c := containerd16Container(named, image)
	c.ImageId = image.GetId()
	return c
}

// crioContainer refers to the image by digest.
func crioContainer(named string, image *runtimeapi.Image) *runtimeapi.Container {
	return &runtimeapi.Container{Image: &runtimeapi.ImageSpec{Image: named}, ImageRef: image.GetRepoDigests()[0], ImageId: image.GetId()}
}
