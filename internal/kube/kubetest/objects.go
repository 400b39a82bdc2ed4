package kubetest

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NewNode makes a Node as a kubelet registers it.
func NewNode(name string) *corev1.Node {
	long := metav1.NewTime(time.Now().Add(-72 * time.Hour))
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, LastTransitionTime: long}
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: corev1.NodeStatus{
			Conditions: []corev1.NodeCondition{
				condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure"),
				condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady"),
			},
			NodeInfo: corev1.NodeSystemInfo{
				Architecture: "amd64", OperatingSystem: "linux", OSImage: "Debian GNU/Linux 12 (bookworm)", KernelVersion: "6.1.0-18-amd64",
				ContainerRuntimeVersion: "containerd://1.6.20", KubeletVersion: "v1.34.1",
			},
		},
	}
}

// NewPod makes a pod with one container on a node, as it is right after the kubelet took it on: nothing is known of the container yet.
func NewPod(node, namespace, name, container, image string) *corev1.Pod {
	started := metav1.NewTime(time.Now().Add(-5 * time.Second))
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: container, Image: image}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodPending, StartTime: &started,
			ContainerStatuses: []corev1.ContainerStatus{{
				Name: container, Image: image, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}},
			}},
		},
	}
}

// Waiting lets the pod's first container wait.
func Waiting(pod *corev1.Pod, reason, message string) *corev1.Pod {
	pod = pod.DeepCopy()
	pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	return pod
}

// Running lets the pod's first container run.
func Running(pod *corev1.Pod) *corev1.Pod {
	pod = pod.DeepCopy()
	pod.Status.Phase = corev1.PodRunning
	pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	return pod
}

// NewEvent makes an event of a pod as the kubelet writes it, of the pod's first container where container is set.
func NewEvent(pod *corev1.Pod, container bool, reason, message string, count int32, first, last time.Time) *corev1.Event {
	event := &corev1.Event{
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, APIVersion: "v1"},
		Reason:         reason, Message: message, Type: corev1.EventTypeWarning, Count: count,
		FirstTimestamp: metav1.NewTime(first), LastTimestamp: metav1.NewTime(last), Source: corev1.EventSource{Component: "kubelet"},
	}
	if container {
		event.InvolvedObject.FieldPath = "spec.containers{" + pod.Spec.Containers[0].Name + "}"
	}
	return event
}
