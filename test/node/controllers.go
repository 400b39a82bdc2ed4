package node

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// controllerManager makes pods of DaemonSets and Jobs, a service account and the API server's certificate for each namespace, says what it
// thinks of the types in admission policies, and deletes what belonged to a deleted object or namespace. Nothing else runs of it: no other
// controller has work on one node.
func (n *Node) controllerManager() command {
	c := n.controlPlane(n.Parts.Controllers, PartControllers)
	c.argv = append(c.argv,
		"--controllers=daemonset-controller,job-controller,namespace-controller,serviceaccount-controller,root-ca-certificate-publisher-controller,"+
			"validatingadmissionpolicy-status-controller,garbage-collector-controller",
		"--root-ca-file="+n.CAFile(),
	)
	healthy := c.ready
	c.ready = func(ctx context.Context) error {
		if err := healthy(ctx); err != nil {
			return err
		}
		// Without it the API server takes no pod.
		_, err := n.Client().CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err
	}
	return c
}

// scheduler gives the pods of DaemonSets their node, which since Kubernetes 1.12 the controller leaves to it.
func (n *Node) scheduler() command { return n.controlPlane(n.Parts.Scheduler, PartScheduler) }

// controlPlane starts a program that works as Admin: the rights of the control plane are not what is tested here.
func (n *Node) controlPlane(program, part string) command {
	serving := filepath.Join(n.Dir, "apiserver", "serving")
	return command{
		argv: []string{
			program, "--kubeconfig=" + n.Kubeconfig(Admin), "--leader-elect=false",
			"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", n.Ports[part]),
			"--tls-cert-file=" + serving + ".crt", "--tls-private-key-file=" + serving + ".key",
		},
		timeout: 60 * time.Second,
		ready:   httpOK("https://" + n.addr(part) + "/healthz"),
	}
}
