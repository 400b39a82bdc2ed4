package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/pullwatch/pullwatch/test/node"
)

const pullSecretRole = "../../../manifests/components/pull-secrets/role.yaml"

// testPullSecrets gives the agent the right to some pull secrets, as the component says to, and has pods fail at the private registry with these and
// with one that it may not read. Each failure must be told what is wrong with its secret, and nobody what is in it.
func testPullSecrets(t *testing.T, a *agent) {
	ctx, n := t.Context(), a.n
	grantPullSecrets(t, n, "old-login", "other-registry", "no-such")
	const marked = "m4rked-password"
	must(t, n.CreatePullSecret(ctx, "old-login", marked))
	must(t, n.CreatePullSecret(ctx, "not-granted", marked))
	_, err := n.Client().CoreV1().Secrets(metav1.NamespaceDefault).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "other-registry"}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{"https://ghcr.io/v1/":{"username":"m4rked-user","password":"` + marked + `"}}}`)},
	}, metav1.CreateOptions{})
	must(t, err)

	registry := n.PrivateRegistry()
	image := registry.Ref("shop/billing:4.2")
	must(t, registry.PushTag(ctx, "shop/billing:4.2"))
	for name, secret := range map[string]string{"wrong-secret": "old-login", "no-entry": "other-registry", "no-secret": "no-such", "no-right": "not-granted"} {
		pod := n.Pod(name, image)
		pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: secret}}
		_, err := n.CreatePod(ctx, pod)
		must(t, err)
		t.Cleanup(func() { _ = n.DeletePod(context.WithoutCancel(ctx), metav1.NamespaceDefault, name) })
	}
	var table, data string
	eventually(t, 2*time.Minute, "each secret is told of", func() error {
		table, data = a.output("failures"), a.output("failures", "-o", "json")
		for _, want := range []string{
			"secret: default/old-login is refused (unauthorized); seen ",
			"secret: default/other-registry has no login for " + registry.Addr + " (it has: ghcr.io); seen ",
			"secret: default/no-such does not exist in namespace default; seen ",
			"secret: default/not-granted is not looked at: this agent may not read it; seen ",
		} {
			if !strings.Contains(table, want) {
				return fmt.Errorf("no %q in\n%s", want, table)
			}
		}
		return nil
	})
	t.Logf("\n%s", table)

	secrets := func(name string) (codes []int) {
		entries, err := n.AuditEntries(func(e node.AuditEntry) bool { return e.User == node.AgentUser && strings.Contains(e.URI, "/secrets") })
		must(t, err)
		for _, e := range entries {
			if path, _, _ := strings.Cut(e.URI, "?"); e.Verb != "get" {
				t.Errorf("%s %s", e.Verb, e.URI)
			} else if strings.HasSuffix(path, "/secrets/"+name) {
				codes = append(codes, e.Code)
			}
		}
		return codes
	}
	eventually(t, time.Minute, "another round", func() error {
		if codes := secrets("old-login"); len(codes) < 2 {
			return fmt.Errorf("it was got with %v", codes)
		}
		return nil
	})
	if codes := secrets("not-granted"); !slices.Equal(codes, []int{403}) {
		t.Errorf("what is not granted was answered with %v, want one refusal", codes)
	}

	// As the pod's owner would mend it.
	must(t, n.CreatePullSecret(ctx, "old-login", node.PrivatePassword))
	eventually(t, 6*time.Minute, "the image is pulled", func() error { return a.over(ctx, "wrong-secret") })
	log, err := os.ReadFile(n.LogFile(agentPart))
	must(t, err)
	m, err := a.metrics()
	must(t, err)
	for where, text := range map[string]string{"the table": table, "the JSON": data, "the log": string(log), "the metrics": fmt.Sprint(m)} {
		for _, secret := range []string{"m4rked", node.PrivatePassword} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %s", where, secret)
			}
		}
	}
}

// grantPullSecrets applies the component's Role and RoleBinding as a user copies them: for another namespace, and other names. The harness's
// agent is no service account.
func grantPullSecrets(t *testing.T, n *node.Node, names ...string) {
	t.Helper()
	text, err := os.ReadFile(pullSecretRole)
	must(t, err)
	role, binding, ok := strings.Cut(string(text), "\n---\n")
	if !ok || strings.Count(string(text), "namespace: shop") != 2 || strings.Count(role, "[regcred]") != 1 {
		t.Fatalf("%s is another file than this test knows", pullSecretRole)
	}
	copied := strings.NewReplacer("namespace: shop", "namespace: "+metav1.NamespaceDefault, "[regcred]", "["+strings.Join(names, ", ")+"]")
	var r rbacv1.Role
	var b rbacv1.RoleBinding
	must(t, yaml.UnmarshalStrict([]byte(copied.Replace(role)), &r))
	must(t, yaml.UnmarshalStrict([]byte(copied.Replace(binding)), &b))
	b.Subjects = []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: node.AgentUser}}
	_, err = n.Client().RbacV1().Roles(r.Namespace).Create(t.Context(), &r, metav1.CreateOptions{})
	must(t, err)
	_, err = n.Client().RbacV1().RoleBindings(b.Namespace).Create(t.Context(), &b, metav1.CreateOptions{})
	must(t, err)
}

// output is what a command prints that asks the agent, whatever its exit code.
func (a *agent) output(args ...string) string {
	out, err := exec.Command(a.bin, append(args, "--socket", a.socket)...).CombinedOutput()
	if len(out) == 0 && err != nil {
		return err.Error()
	}
	return string(out)
}
