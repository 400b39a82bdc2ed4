package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/test/node"
)

const installPage = "docs/install.md"

// TestChart installs the chart as docs/install.md says, asks the agent with the plugin of kubectl, and uninstalls it: then nothing is left,
// least of all a condition on the node.
func TestChart(t *testing.T) {
	n := startNode(t, node.Options{
		Containerd: node.Containerd16, Kubelet: node.Kubelet134, Controllers: true, NodeName: "localhost", // `kubectl exec` finds the kubelet by it
	})
	ctx := t.Context()
	must(t, node.EnsurePrograms(ctx, node.NewProgress(os.Stderr), map[string]string{"buildah": "buildah", "kubectl": "kubernetes-client"}))
	withHelm(t)
	withPlugin(t, n)
	buildImage(t, n)
	file := chartValues(t, n, shareSockets(t, n))

	typed := func(prefix string) string {
		return strings.ReplaceAll(pageLine(t, n, installPage, prefix), "manifests/", "../../../manifests/")
	}
	sh(t, n, 0, typed("kubectl apply -f manifests/base/namespace.yaml"))
	install := strings.NewReplacer("image.registry=registry.example.com", "image.registry="+n.Registry().Addr, "image.tag=dev", "image.tag=e2e")
	sh(t, n, 0, install.Replace(typed("helm install "))+" --wait --timeout 2m -f "+file)
	asJudged(t, n)
	for _, kind := range health.Types[:2] {
		eventually(t, 3*time.Minute, "the fence lets the agent write "+string(kind), is(ctx, n, kind, corev1.ConditionFalse))
	}
	must(t, setForeign(ctx, n, "TheirOwn"))
	if !t.Failed() {
		t.Run("plugin", func(t *testing.T) { testPlugin(t, n) })
	}
	t.Run("no socket", func(t *testing.T) { testNoSocket(t, n, install.Replace(typed("helm install ")), file) })

	sh(t, n, 0, typed("helm uninstall "))
	gone := func() error {
		object, err := n.Client().CoreV1().Nodes().Get(ctx, n.NodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		kinds := make(map[string]bool)
		for _, c := range object.Status.Conditions {
			kinds[string(c.Type)] = true
		}
		for _, kind := range health.Types {
			if kinds[string(kind)] {
				return fmt.Errorf("%s is left on the node", kind)
			}
		}
		if !kinds["Ready"] || !kinds[foreign] {
			return fmt.Errorf("conditions of others are gone: %v", kinds)
		}
		return nil
	}
	must(t, gone()) // at once: helm has waited for the Job
	if left := sh(t, n, 0, "kubectl get -A -o name -l app.kubernetes.io/instance=pullwatch "+
		"daemonsets,jobs,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"); left != "" {
		t.Errorf("this is left:\n%s", left)
	}
	eventually(t, time.Minute, "the agent's pod is gone", func() error {
		if pod := podOf(t, n); pod != nil {
			return fmt.Errorf("pod %s is %s", pod.Name, pod.Status.Phase)
		}
		return nil
	})
	must(t, gone()) // and no agent has written them again
}

// testNoSocket upgrades to what docs/install.md calls "without the runtime's socket", but for the pods' network, of which this machine has none.
func testNoSocket(t *testing.T, n *node.Node, install, file string) {
	ctx := t.Context()
	upgrade := strings.Replace(install, "helm install", "helm upgrade", 1)
	sh(t, n, 0, upgrade+" --wait --timeout 2m -f "+file+" "+values("no-socket")+" --set hostNetwork=true,nodeConditions.heartbeatInterval=10s")
	// --wait is content with a pod that is not ready, where maxUnavailable allows one.
	sh(t, n, 0, "kubectl -n pullwatch rollout status daemonset pullwatch --timeout 1m")
	pod := podOf(t, n)
	if ready := statusOf(pod, corev1.PodReady); ready != corev1.ConditionTrue || len(pod.Spec.Volumes) != 2 { // its own and the token
		t.Fatalf("the pod's Ready is %q, its volumes %+v", ready, pod.Spec.Volumes)
	}

	// What the agent with the socket has left is off, and stays off; what this one judges comes back once it was cleared.
	alone := func() error {
		for _, kind := range health.Types {
			if c, err := condition(ctx, n, string(kind)); err != nil || c != nil && kind != health.ImagePullFailing {
				return fmt.Errorf("the node has the condition %s: %+v, %w", kind, c, err)
			}
		}
		return is(ctx, n, health.ImagePullFailing, corev1.ConditionFalse)()
	}
	eventually(t, time.Minute, "of the conditions ImagePullFailing alone is left", alone)
	sh(t, n, 0, "../../../bin/pullwatch remove-conditions --node-name "+n.NodeName)
	if _, err := n.CreatePod(ctx, n.Pod("typo", n.Registry().Ref("shop/none:1"))); err != nil {
		t.Fatal(err)
	}
	a := &agent{n: n, address: "127.0.0.1:9767"}
	eventually(t, time.Minute, "the agent knows of a failing pod", func() error {
		m, err := a.metrics()
		if err != nil {
			return err
		}
		if sum, _ := m.Sum("pullwatch_containers_failing", `cause="not_found"`); sum != 1 {
			return fmt.Errorf("%v containers fail", sum)
		}
		return nil
	})
	began := time.Now()
	eventually(t, awayHold+time.Minute, "it writes ImagePullFailing alone", func() error {
		if time.Since(began) < awayHold {
			return fmt.Errorf("a runtime that is not there would not show yet")
		}
		return alone()
	})
	var metrics bytes.Buffer
	must(t, a.get("/metrics", &metrics))
	for _, absent := range []string{"pullwatch_runtime_", "pullwatch_cri_calls_total", `check="runtime"`, `check="images"`} {
		if strings.Contains(metrics.String(), absent) {
			t.Errorf("/metrics has %s", absent)
		}
	}
	for line, want := range map[string]struct {
		exitCode int
		says     string
	}{
		"failures": {1, "not_found"},
		"info":     {0, "not checked: told to do without a container runtime"},
		"images":   {2, "told to do without a container runtime"},
		"df":       {2, "imagefs not seen: told to do without a container runtime"},
	} {
		if out := sh(t, n, want.exitCode, "kubectl pullwatch "+n.NodeName+" "+line+" 2>&1"); !strings.Contains(out, want.says) {
			t.Errorf("%s does not say %q:\n%s", line, want.says, out)
		}
	}
	must(t, n.DeletePod(ctx, "default", "typo"))
}

// statusOf is the status of a pod's condition.
func statusOf(pod *corev1.Pod, t corev1.PodConditionType) corev1.ConditionStatus {
	for _, c := range pod.Status.Conditions {
		if c.Type == t {
			return c.Status
		}
	}
	return ""
}

// chartValues are a file of what differs on the test's machine, and nothing else.
func chartValues(t *testing.T, n *node.Node, sockets string) string {
	t.Helper()
	host, port, _ := strings.Cut(strings.TrimPrefix(n.APIServerURL(), "https://"), ":")
	text := fmt.Sprintf(`
runtime:
  socketDirectory: %s
  imageDirectory: %s
  endpoint: %s
listenAddress: 127.0.0.1 # nothing here may be reached from another machine
removeConditions:
  hostNetwork: true # there is no other
extraEnv: # no kube-proxy serves the address of the API server's service
  - {name: KUBERNETES_SERVICE_HOST, value: %q}
  - {name: KUBERNETES_SERVICE_PORT, value: %q}
`, sockets, imagesOf(n), n.CRISocket(), host, port)
	file := filepath.Join(t.TempDir(), "values.yaml")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// asJudged waits until the controller that checks the types in admission policies has done so, and holds it to have found nothing.
func asJudged(t *testing.T, n *node.Node) {
	t.Helper()
	eventually(t, time.Minute, "the policies' types are checked", func() error {
		list, err := n.Client().AdmissionregistrationV1().ValidatingAdmissionPolicies().List(t.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) != 2 {
			return fmt.Errorf("%d policies, want 2: %w", len(list.Items), err)
		}
		for _, policy := range list.Items {
			if policy.Status.ObservedGeneration != policy.Generation || policy.Status.TypeChecking == nil {
				return fmt.Errorf("%s is not looked at: %+v", policy.Name, policy.Status)
			}
			for _, warning := range policy.Status.TypeChecking.ExpressionWarnings {
				t.Errorf("%s: %s: %s", policy.Name, warning.FieldRef, warning.Warning)
			}
		}
		return nil
	})
}

// withPlugin installs the plugin as the page says, into a directory of PATH.
func withPlugin(t *testing.T, n *node.Node) {
	t.Helper()
	dir := t.TempDir()
	line := pageLine(t, n, installPage, "install manifests/kubectl-pullwatch")
	sh(t, n, 0, strings.NewReplacer("manifests/", "../../../manifests/", "/usr/local/bin", dir).Replace(line))
	must(t, os.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH")))
}

// testPlugin types `kubectl pullwatch` in all ways that it knows.
func testPlugin(t *testing.T, n *node.Node) {
	ctx := t.Context()
	if _, err := n.CreatePod(ctx, n.Pod("typo", n.Registry().Ref("shop/none:1"))); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the agent knows of a failing pod", func() error {
		m, err := (&agent{n: n, address: "127.0.0.1:9767"}).metrics()
		if sum, _ := m.Sum("pullwatch_containers_failing"); err == nil && sum == 0 {
			return fmt.Errorf("none fails")
		}
		return err
	})
	// For a pod that looks like an agent, and for one that does not run.
	for _, name := range []string{"another", "broken"} {
		_, err := n.Client().CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		must(t, err)
		eventually(t, 30*time.Second, "namespace "+name+" has a service account", func() error {
			_, err := n.Client().CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
			return err
		})
	}
	like := func(namespace, image string) {
		pod := n.Pod("like", image)
		pod.Namespace, pod.Labels["app.kubernetes.io/name"] = namespace, "pullwatch"
		_, err := n.CreatePod(ctx, pod)
		must(t, err)
	}
	type typed struct {
		line     string
		exitCode int
		want     string
	}
	try := func(c typed) {
		t.Helper()
		if out := sh(t, n, c.exitCode, c.line+" 2>&1"); !strings.Contains(out, c.want) {
			t.Errorf("%s does not print %q:\n%s", c.line, c.want, out)
		}
	}
	for _, c := range []typed{
		{pageLine(t, n, installPage, "kubectl pullwatch NODE failures"), 1, "not_found"},
		{"kubectl pullwatch localhost", 1, "not_found"},
		{"kubectl pullwatch node/localhost failures -o json", 1, `"cause": "not_found"`},
		{"kubectl pullwatch -n pullwatch localhost version", 0, "RuntimeName:"},
		{"kubectl pullwatch --kubeconfig=$KUBECONFIG --context node localhost info", 0, "containerd"},
		{"echo 'manifest for shop/web:1 not found: manifest unknown' | kubectl pullwatch localhost classify --text", 0, "not_found"},
		{"kubectl pullwatch localhost nonsense", 2, "unknown command"},
		{"kubectl pullwatch --help", 0, "kubectl pullwatch worker-3 probe"},
		{"kubectl pullwatch", 2, "which node?"},
		{"kubectl pullwatch -n", 2, "-n wants a value"},
		{"kubectl pullwatch -o json localhost", 2, "unknown flag -o"},
		{"kubectl pullwatch 'localhost,spec.nodeName!=a'", 2, "is no name of a node"},
		{"kubectl pullwatch no-such-node", 2, "there is no node no-such-node"},
		{"kubectl pullwatch -n default localhost", 2, "no agent runs on node localhost in namespace default"},
		{"kubectl pullwatch --context nobody localhost", 2, "the agent's pod could not be looked for"},
	} {
		try(c)
	}
	// Input that is the caller's own is left to it.
	try(typed{"printf 'one\\ntwo\\n' | while read -r line; do kubectl pullwatch localhost version >/dev/null; echo saw $line; done", 0, "saw two"})

	like("broken", n.Registry().Ref("shop/none:2"))
	try(typed{"kubectl pullwatch -n broken localhost", 2, "the agent's pod broken/like on node localhost is Pending"})
	like("another", n.SandboxImage())
	must(t, n.WaitRunning(ctx, "another", "like"))
	try(typed{"kubectl pullwatch localhost", 2, "several agents run on node localhost: another/like, broken/like, pullwatch/pullwatch-"})
	try(typed{"kubectl pullwatch -n pullwatch localhost version", 0, "RuntimeName:"})
	for _, namespace := range []string{"another", "broken"} {
		must(t, n.DeletePod(ctx, namespace, "like"))
	}
	must(t, n.DeletePod(ctx, "default", "typo"))
}
