package kube

import (
	"net"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
)

// maxMessage bounds the texts that are kept of a status or an event, in bytes. Kubelets cap an event's message at 1024 bytes; a waiting
// message may be anything a runtime wrote.
const maxMessage = 4096

// maxPullSecrets bounds how many pull secrets are kept of a pod.
const maxPullSecrets = 8

// Kind is what of a pod needs an image.
type Kind string

// The kinds, as they show in JSON and metrics.
const (
	KindContainer Kind = "container"
	KindInit      Kind = "init"
	KindEphemeral Kind = "ephemeral"
	KindVolume    Kind = "volume"  // an image volume; its failure is told by each container that mounts it
	KindSandbox   Kind = "sandbox" // the pause image, which the runtime itself pulls
)

// Pod is what Pullwatch reads of a pod of this node.
type Pod struct {
	UID        string
	EventsUID  string // by which its events name it; that of a static pod is not its mirror's
	Namespace  string
	Name       string
	Owner      string // UID of the controller that owns it; its own where none does
	Created    time.Time
	Started    time.Time // when the kubelet took the pod on; zero before
	Finished   bool      // succeeded or failed: nothing will be pulled for it
	HasSandbox bool      // its sandbox is known to exist
	// PullSecrets are the names of the secrets of its namespace that its images are pulled with, those of its service account among them. At most 8.
	PullSecrets []string
	Containers  []Container
}

// Container is a container of a pod: what it wants and how far it is.
type Container struct {
	Name    string
	Kind    Kind
	Image   string   // as the pod spec names it
	Volumes []string // the references of the image volumes that it mounts
	Pulled  string   // its image by digest, as the runtime recorded it with the pull; empty where it did not, as of one that was imported
	State   State
	Reason  string // why it waits
	Message string
}

// State is how far a container is.
type State uint8

// The states. Unreported is that of a container the kubelet has not written a status for.
const (
	Unreported State = iota
	Waiting
	Running
	Terminated
)

// Node is what Pullwatch reads of the own Node object.
type Node struct {
	Name             string
	UID              string
	Architecture     string
	OperatingSystem  string
	OSImage          string
	KernelVersion    string
	ContainerRuntime string // "containerd://1.7.2"
	KubeletVersion   string
	// KubeletAddress is where the kubelet of the node serves, as HOST:PORT; empty where the node does not say.
	KubeletAddress string
	Conditions     []Condition
}

// Condition is a condition of the Node, the kubelet's own ones among them.
type Condition struct {
	Type    string    `json:"type"`
	Status  string    `json:"status"`
	Reason  string    `json:"reason,omitempty"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// Event is what Pullwatch reads of an event about a pod.
type Event struct {
	Reason    string
	Message   string
	FieldPath string // "spec.containers{name}"; empty for the pod as a whole
	Count     int
	First     time.Time
	Last      time.Time
}

func reducePod(p *corev1.Pod) Pod {
	pod := Pod{
		UID:       string(p.UID),
		Namespace: p.Namespace,
		Name:      p.Name,
		Created:   p.CreationTimestamp.Time,
		Finished:  p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed,
	}
	pod.EventsUID = pod.UID
	if mirrored := p.Annotations[corev1.MirrorPodAnnotationKey]; mirrored != "" {
		pod.EventsUID = mirrored
	}
	pod.Owner = pod.UID
	for i := range p.OwnerReferences {
		if o := &p.OwnerReferences[i]; o.Controller != nil && *o.Controller {
			pod.Owner = string(o.UID)
		}
	}
	if p.Status.StartTime != nil {
		pod.Started = p.Status.StartTime.Time
	}
	for _, s := range p.Spec.ImagePullSecrets {
		if s.Name != "" && len(pod.PullSecrets) < maxPullSecrets {
			pod.PullSecrets = append(pod.PullSecrets, bounded(s.Name))
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReadyToStartContainers && c.Status == corev1.ConditionTrue {
			pod.HasSandbox = true
		}
	}
	volumes := imageVolumes(p.Spec.Volumes)
	pod.Containers = make([]Container, 0, len(p.Spec.InitContainers)+len(p.Spec.Containers)+len(p.Spec.EphemeralContainers))
	add := func(kind Kind, name, image string, mounts []corev1.VolumeMount, statuses []corev1.ContainerStatus) {
		c := Container{Name: name, Kind: kind, Image: bounded(image)}
		for _, m := range mounts {
			if ref, ok := volumes[m.Name]; ok {
				c.Volumes = append(c.Volumes, ref)
			}
		}
		for i := range statuses {
			if statuses[i].Name == name {
				c.setState(&statuses[i].State)
				c.Pulled = pulled(statuses[i].ImageID)
				break
			}
		}
		if c.State == Running || c.State == Terminated {
			pod.HasSandbox = true
		}
		pod.Containers = append(pod.Containers, c)
	}
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		add(KindInit, c.Name, c.Image, c.VolumeMounts, p.Status.InitContainerStatuses)
	}
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		add(KindContainer, c.Name, c.Image, c.VolumeMounts, p.Status.ContainerStatuses)
	}
	for i := range p.Spec.EphemeralContainers {
		c := &p.Spec.EphemeralContainers[i]
		add(KindEphemeral, c.Name, c.Image, c.VolumeMounts, p.Status.EphemeralContainerStatuses)
	}
	return pod
}

func (c *Container) setState(s *corev1.ContainerState) {
	switch {
	case s.Running != nil:
		c.State = Running
	case s.Terminated != nil:
		c.State = Terminated
	case s.Waiting != nil:
		c.State, c.Reason, c.Message = Waiting, bounded(s.Waiting.Reason), bounded(s.Waiting.Message)
	}
}

// pulled is the reference by digest in an ImageID, which else is the image's own ID. Some runtimes put a scheme before it.
func pulled(imageID string) string {
	if _, ref, ok := strings.Cut(imageID, "://"); ok {
		imageID = ref
	}
	if !strings.Contains(imageID, "@") {
		return ""
	}
	return bounded(imageID)
}

func imageVolumes(volumes []corev1.Volume) map[string]string {
	var refs map[string]string
	for i := range volumes {
		if v := &volumes[i]; v.Image != nil && v.Image.Reference != "" {
			if refs == nil {
				refs = make(map[string]string)
			}
			refs[v.Name] = bounded(v.Image.Reference)
		}
	}
	return refs
}

func reduceNode(n *corev1.Node) Node {
	info := n.Status.NodeInfo
	node := Node{
		Name: n.Name, UID: string(n.UID),
		Architecture: info.Architecture, OperatingSystem: info.OperatingSystem, OSImage: info.OSImage,
		KernelVersion: info.KernelVersion, ContainerRuntime: info.ContainerRuntimeVersion, KubeletVersion: info.KubeletVersion,
		KubeletAddress: kubeletAddress(n),
	}
	for _, c := range n.Status.Conditions {
		node.Conditions = append(node.Conditions, Condition{
			Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: bounded(c.Message), Since: c.LastTransitionTime.Time,
		})
	}
	return node
}

// kubeletAddress is where the API server would ask the kubelet, by the node's own word: its internal address.
func kubeletAddress(n *corev1.Node) string {
	port := n.Status.DaemonEndpoints.KubeletEndpoint.Port
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP && port != 0 {
			return net.JoinHostPort(a.Address, strconv.Itoa(int(port)))
		}
	}
	return ""
}

func reduceEvent(e *corev1.Event) Event {
	event := Event{
		Reason:    e.Reason,
		Message:   strings.TrimPrefix(bounded(e.Message), "(combined from similar events): "),
		FieldPath: e.InvolvedObject.FieldPath,
		Count:     int(e.Count),
		First:     e.FirstTimestamp.Time,
		Last:      e.LastTimestamp.Time,
	}
	// Writers of events.k8s.io/v1 leave the older fields empty.
	if event.Count == 0 {
		event.Count = 1
	}
	if event.First.IsZero() {
		event.First = e.EventTime.Time
	}
	if event.Last.IsZero() {
		event.Last = event.First
	}
	if e.Series != nil {
		event.Count, event.Last = int(e.Series.Count), e.Series.LastObservedTime.Time
	}
	return event
}

// bounded cuts a text to maxMessage bytes and replaces what is no UTF-8.
func bounded(text string) string {
	valid := strings.ToValidUTF8(text[:min(len(text), maxMessage+utf8.UTFMax)], "\uFFFD")
	if len(valid) <= maxMessage {
		return valid
	}
	cut := maxMessage
	for !utf8.RuneStart(valid[cut]) {
		cut--
	}
	return valid[:cut] + "…"
}
