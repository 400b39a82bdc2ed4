package cri

import (
	"cmp"
	"slices"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The labels by which the kubelet says whose a container is (kubelet
// pkg/types/labels.go), and crictl's word where they are missing.
const (
	LabelPodName      = "io.kubernetes.pod.name"
	LabelPodNamespace = "io.kubernetes.pod.namespace"
	nobodysPod        = "unknown"
)

// PodOf is the pod that a container with these labels belongs to.
func PodOf(labels map[string]string) (namespace, name string) {
	return cmp.Or(labels[LabelPodNamespace], nobodysPod), cmp.Or(labels[LabelPodName], nobodysPod)
}

// Users gives for the ID of each image the pods that have a container of it,
// running or not, as namespace/name in the order of the alphabet.
func (index ImageIndex) Users(containers []*runtimeapi.Container) map[string][]string {
	users := make(map[string][]string)
	for _, c := range containers {
		if image := index.Of(c); image != nil {
			namespace, pod := PodOf(c.GetLabels())
			users[image.GetId()] = append(users[image.GetId()], namespace+"/"+pod)
		}
	}
	for id, pods := range users {
		slices.Sort(pods)
		users[id] = slices.Compact(pods)
	}
	return users
}
