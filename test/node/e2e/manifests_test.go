package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/pullwatch/pullwatch/test/node"
)

const manifests = "../../../manifests/base"

// agentUser is whom the API server sees.
const agentUser = "system:serviceaccount:pullwatch:pullwatch"

// sh runs a command line as a person at the prompt of a machine with kubectl does, and returns what it prints. It fails the test where the
// exit code is another.
func sh(t *testing.T, n *node.Node, exitCode int, line string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+n.Kubeconfig(node.Admin), "HOME="+n.Dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if is := cmd.ProcessState.ExitCode(); is != exitCode {
		t.Fatalf("%s: exit code %d (%v), want %d\n%s%s", line, is, err, exitCode, &stdout, &stderr)
	}
	t.Logf("$ %s\n%s%s", line, &stdout, &stderr)
	return stdout.String()
}

// readmeLine is the one line of the README that begins so, with the node's name put in.
func readmeLine(t *testing.T, n *node.Node, prefix string) string {
	t.Helper()
	return pageLine(t, n, "README.md", prefix)
}

// pageLine is that of any page.
func pageLine(t *testing.T, n *node.Node, page, prefix string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../..", page))
	must(t, err)
	var found []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimPrefix(line, "$ "); strings.HasPrefix(line, prefix) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s has %d lines that begin with %q, want 1", page, len(found), prefix)
	}
	return strings.ReplaceAll(found[0], "NODE", n.NodeName)
}

// overlay writes testdata/overlay for this node, and returns its directory.
func overlay(t *testing.T, n *node.Node, image, sockets string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	base, err := filepath.Abs(manifests)
	must(t, err)
	base, err = filepath.Rel(dir, base) // kustomize takes no absolute path
	must(t, err)
	host, port, _ := strings.Cut(strings.TrimPrefix(n.APIServerURL(), "https://"), ":")
	at := strings.LastIndexByte(image, ':')
	values := map[string]string{
		"BASE": base, "IMAGE": image[:at], "TAG": image[at+1:], "API_HOST": host, "API_PORT": port, "SOCKETS": sockets, "IMAGES": imagesOf(n),
		"KUBELET_PORT": strconv.Itoa(n.Ports["kubelet"]), "KUBELET_CA": filepath.Join(n.Dir, "kubelet/pki/kubelet.crt"),
	}
	for _, name := range []string{"kustomization.yaml", "daemonset.yaml"} {
		text, err := os.ReadFile(filepath.Join("testdata/overlay", name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(os.Expand(string(text), func(key string) string { return values[key] })), 0o644))
	}
	return dir
}

// podOf is the pod that the DaemonSet's controller has made; nil where it has made none.
func podOf(t *testing.T, n *node.Node) *corev1.Pod {
	t.Helper()
	list, err := n.Client().CoreV1().Pods("pullwatch").List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=pullwatch"})
	must(t, err)
	if len(list.Items) == 0 {
		return nil
	}
	return &list.Items[0]
}

// asScheduled tells whether the pod came to this node by what the manifests say of it, and by nothing of the test's.
func asScheduled(t *testing.T, n *node.Node, pod *corev1.Pod) {
	t.Helper()
	object, err := n.Client().CoreV1().Nodes().Get(t.Context(), n.NodeName, metav1.GetOptions{})
	must(t, err)
	for _, effect := range []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute} {
		if !slices.ContainsFunc(object.Spec.Taints, func(taint corev1.Taint) bool { return taint.Effect == effect }) {
			t.Errorf("the node has no taint %s, so that no toleration is tested: %v", effect, object.Spec.Taints)
		}
	}
	if owner := metav1.GetControllerOf(pod); owner == nil || owner.Kind != "DaemonSet" || pod.Spec.NodeName != n.NodeName {
		t.Errorf("the pod on %q belongs to %v, want a DaemonSet's on %s", pod.Spec.NodeName, owner, n.NodeName)
	}
	const systemNodeCritical = 2000001000
	if pod.Spec.Priority == nil || *pod.Spec.Priority != systemNodeCritical {
		t.Errorf("priority %v, want %d", pod.Spec.Priority, systemNodeCritical)
	}
	if !slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return strings.HasPrefix(v.Name, "kube-api-access-") }) {
		t.Errorf("the API server has mounted no token: %v", pod.Spec.Volumes)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rightsUsed compares the rights that the manifests grant with what the API server saw.
func rightsUsed(t *testing.T, n *node.Node) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(manifests, "rbac.yaml"))
	must(t, err)
	granted := make(map[string]bool)
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var role rbacv1.ClusterRole
		must(t, yaml.Unmarshal([]byte(document), &role))
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					granted[verb+" "+resource] = false
				}
			}
		}
	}
	entries, err := n.AuditEntries(func(e node.AuditEntry) bool { return e.User == agentUser })
	must(t, err)
	if len(entries) == 0 {
		t.Fatal("the audit log knows no request of the agent's service account")
	}
	for _, e := range entries {
		path, _, _ := strings.Cut(e.URI, "?")
		parts := strings.Split(strings.TrimPrefix(path, "/api/v1/"), "/")
		if i := slices.Index(parts, "namespaces"); i == 0 {
			parts = parts[2:]
		}
		right := e.Verb + " " + parts[0]
		if len(parts) > 2 {
			right += "/" + parts[2]
		}
		if e.Code == 403 {
			t.Errorf("refused: %s %s", e.Verb, e.URI)
		}
		if _, ok := granted[right]; !ok && e.Code != 403 {
			t.Errorf("%s was allowed and is not granted by the manifests", right)
		}
		granted[right] = true
	}
	for right, used := range granted {
		// No condition became True in this test, so no event was written; and a list comes where no list is streamed.
		if !used && right != "create events" && right != "list pods" && right != "list nodes" && right != "list events" {
			t.Errorf("%s is granted and was never used", right)
		}
	}
}
