// Package node runs a real Kubernetes node on this machine, breaks image pulls on it in the ways they break
// in the field, and mends them again.
//
// It promises:
//   - everything is real: etcd, kube-apiserver, kubelet, containerd, runc and registries, one process each, and where
//     Options.Controllers asks for them kube-controller-manager and kube-scheduler. Only
//     registries that have to misbehave are written here (faults), and they speak HTTP as a registry does;
//   - nothing is shared with the machine: ports on loopback, one directory (State.Dir), a cgroup subtree and
//     iptables rules that carry the node's mark, so that two nodes can run side by side;
//   - any process can take the node down: what runs is recorded with pid and start time under Dir, and Down
//     leaves no process, mount, cgroup or rule behind.
//
// It needs root, and the Go toolchain: what Debian does not package is compiled once into a cache (see Parts).
package node
