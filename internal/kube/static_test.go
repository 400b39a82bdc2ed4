package kube

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestStaticPod: the kubelet writes the events of a static pod under the UID that it knows it by, which its mirror carries in an annotation.
func TestStaticPod(t *testing.T) {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		UID: "mirror", Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "static", "other": "x"},
	}}
	if got := reducePod(p); got.UID != "mirror" || got.EventsUID != "static" {
		t.Errorf("UID %q, events under %q", got.UID, got.EventsUID)
	}
}
