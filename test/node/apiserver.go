package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Users of the API server. Each has a token, and a kubeconfig at Node.Kubeconfig(user).
const (
	Admin     = "admin"     // may do everything
	AgentUser = "pullwatch" // may do what the agent's RBAC says
	kubelet   = "kubelet"   // is system:node:NAME
)

// auditPolicy records what the tests measure: when the kubelet wrote a pod's status, with what in it, and what the
// agent asked for. Nothing else, so that the record does not slow down the server.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Request
  userGroups: ["system:nodes"]
  verbs: ["patch", "update"]
  resources: [{group: "", resources: ["pods/status"]}]
- level: Metadata
  users: ["pullwatch", "system:serviceaccount:pullwatch:pullwatch"]
- level: None
`

func (n *Node) prepareAPIServer() error {
	dir := filepath.Join(n.Dir, "apiserver")
	ca, err := NewAuthority("pullwatch test node", n.CAFile())
	if err != nil {
		return err
	}
	if err := errors.Join(
		ca.Issue(filepath.Join(dir, "serving"), "kubernetes", "kubernetes.default.svc"),
		ca.issueClient(filepath.Join(dir, "kubelet-client"), "kube-apiserver-kubelet-client", "system:masters"),
		writeSigningKey(filepath.Join(dir, "sa")),
		writeFile(filepath.Join(dir, "audit-policy.yaml"), []byte(auditPolicy), 0o600),
	); err != nil {
		return err
	}
	var tokens strings.Builder
	for user, as := range map[string]string{
		Admin:     `admin,1,"system:masters"`,
		kubelet:   fmt.Sprintf(`system:node:%s,2,"system:nodes"`, n.NodeName),
		AgentUser: `pullwatch,3,"system:serviceaccounts"`, // by which the API server decides whose requests wait when it has too many
	} {
		secret := make([]byte, 16)
		_, _ = rand.Read(secret) // never fails
		token := hex.EncodeToString(secret)
		fmt.Fprintf(&tokens, "%s,%s\n", token, as)
		if err := writeFile(n.Kubeconfig(user), []byte(n.kubeconfig(user, token)), 0o600); err != nil {
			return err
		}
		if user == AgentUser {
			n.AgentToken = token
		}
	}
	return writeFile(filepath.Join(dir, "tokens.csv"), []byte(tokens.String()), 0o600)
}

func (n *Node) kubeconfig(user, token string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: node
clusters:
- name: node
  cluster: {server: %q, certificate-authority: %q}
users:
- name: %s
  user: {token: %s}
contexts:
- name: node
  context: {cluster: node, user: %s}
`, n.APIServerURL(), n.CAFile(), user, token, user)
}

func (n *Node) apiserver() command {
	dir := filepath.Join(n.Dir, "apiserver")
	var admission []string
	if !n.Options.Controllers {
		// Nobody makes the service accounts that this plugin would ask for.
		admission = []string{"--disable-admission-plugins=ServiceAccount"}
	}
	return command{
		argv: append([]string{
			n.Parts.APIServer,
			"--etcd-servers=http://" + n.addr("etcd"),
			"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
			fmt.Sprintf("--secure-port=%d", n.Ports["apiserver"]),
			"--tls-cert-file=" + dir + "/serving.crt", "--tls-private-key-file=" + dir + "/serving.key", "--cert-dir=" + dir,
			"--token-auth-file=" + dir + "/tokens.csv",
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
			// It asks the kubelet by the node's name: logs and exec want one that resolves to loopback, as localhost does.
			"--kubelet-client-certificate=" + dir + "/kubelet-client.crt", "--kubelet-client-key=" + dir + "/kubelet-client.key",
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + dir + "/sa.pub", "--service-account-signing-key-file=" + dir + "/sa.key",
			"--service-cluster-ip-range=10.96.0.0/24",
			"--endpoint-reconciler-type=none", // it refuses to publish a loopback address
			"--audit-policy-file=" + dir + "/audit-policy.yaml", "--audit-log-path=" + n.AuditLog(),
			"--feature-gates=ImageVolume=true",
			"--allow-privileged",
		}, admission...),
		timeout: 60 * time.Second,
		ready: func(ctx context.Context) error {
			if _, err := n.Client().CoreV1().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
				return err
			}
			_, err := n.Client().CoreV1().Namespaces().Get(ctx, "default", metav1.GetOptions{})
			return err
		},
	}
}
