// Package disk knows the filesystems that images live on, and what the kubelet will do about them before it does it.
//
// It promises: facts with their source; the kubelet's own arithmetic, equal to the byte; and that what could not be looked at is not
// checked, never a verdict. It imports nothing of ours.
//
// Citations name files of k8s.io/kubernetes 1.34 unless they say otherwise.
package disk
