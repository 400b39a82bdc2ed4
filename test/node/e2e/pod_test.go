package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/pullwatch/pullwatch/test/node"
)

const manifests = "../../../manifests/base"

// agentUser is whom the API server sees.
const agentUser = "system:serviceaccount:pullwatch:pullwatch"

// TestPod runs the agent as a cluster does: from the image that the Dockerfile makes, as a pod of the DaemonSet's template, with the rights
// of the manifests and the token of its service account alone.
func TestPod(t *testing.T) {
	n := startNode(t, node.Options{Containerd: node.Containerd16, Kubelet: node.Kubelet134})
	ctx := t.Context()
	image := buildImage(t, n)
	// With systemd every mount is shared, which the template's propagation wants; this machine has no init system.
	sockets := filepath.Dir(strings.TrimPrefix(n.CRISocket(), "unix://"))
	for _, args := range [][]string{{"--bind", sockets, sockets}, {"--make-shared", sockets}} {
		if out, err := exec.CommandContext(ctx, "mount", args...).CombinedOutput(); err != nil {
			t.Fatalf("mount %v: %v: %s", args, err, out)
		}
	}
	daemonSet := applyManifests(t, n)
	pod := podOf(n, daemonSet, image)
	if _, err := n.Client().CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	a := &agent{n: n, address: fmt.Sprintf("127.0.0.1:%d", pod.Spec.Containers[0].Ports[0].ContainerPort)}
	eventually(t, time.Minute, "the kubelet finds the pod ready, by its own probes", func() error {
		is, err := n.Client().CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range is.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("%s %+v: %w", is.Status.Phase, is.Status.ContainerStatuses, a.get("/readyz", nil))
	})
	if t.Failed() {
		return
	}
	asUser(t, "/pullwatch")

	broken := n.Pod("typo", n.Registry().Ref("shop/none:1"))
	if _, err := n.CreatePod(ctx, broken); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "it sees what fails", func() error {
		m, err := a.metrics()
		if err != nil {
			return err
		}
		if sum, _ := m.sum("pullwatch_container_failing_since_timestamp_seconds", `pod="typo"`, `cause="not_found"`); sum == 0 {
			return fmt.Errorf("no series of the failing pod")
		}
		for _, up := range []string{"pullwatch_runtime_up", "pullwatch_runtime_ready", "pullwatch_images"} {
			if sum, _ := m.sum(up); sum == 0 {
				return fmt.Errorf("%s is 0", up)
			}
		}
		return nil
	})
	eventually(t, 6*time.Minute, "it writes its conditions", func() error {
		m, err := a.metrics()
		if err != nil {
			return err
		}
		if sum, _ := m.sum("pullwatch_api_writes_total", `write="condition"`, `result="ok"`); sum == 0 {
			return fmt.Errorf("none was written")
		}
		return nil
	})

	// A socket that is mounted by its directory outlives the runtime.
	if err := n.Kill(node.PartContainerd); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the runtime is down in its eyes", a.runtimeUp(0))
	if err := n.Restart(ctx, node.PartContainerd); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the runtime is back in its eyes", a.runtimeUp(1))

	rightsUsed(t, n)
}

// buildImage builds the Dockerfile's image with the program that make built in place of its first stage, and pushes it.
func buildImage(t *testing.T, n *node.Node) string {
	t.Helper()
	if err := node.EnsurePrograms(t.Context(), node.NewProgress(os.Stderr), map[string]string{"buildah": "buildah"}); err != nil {
		t.Fatal(err)
	}
	stage := t.TempDir()
	program, err := os.ReadFile("../../../bin/pullwatch")
	if err != nil {
		t.Fatalf("%v: build the agent first (make build)", err)
	}
	if err := os.Mkdir(filepath.Join(stage, "out"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stage, "out", "pullwatch"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	image := n.Registry().Ref("pullwatch/pullwatch:e2e")
	root := t.TempDir()
	for _, args := range [][]string{
		{"build", "--isolation", "chroot", "--build-context", "build=" + stage, "--build-arg", "BASE=scratch", "--build-arg", "VERSION=e2e", "-t", image, "../../.."},
		{"push", "--tls-verify=false", image},
	} {
		cmd := exec.CommandContext(t.Context(), "buildah", append([]string{"--storage-driver", "vfs", "--root", root + "/storage", "--runroot", root + "/run"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("buildah %s: %v\n%s", args[0], err, out)
		}
	}
	return image
}

// applyManifests creates what manifests/base holds, but for the DaemonSet, which it returns: this node has no controllers.
func applyManifests(t *testing.T, n *node.Node) *appsv1.DaemonSet {
	t.Helper()
	ctx := t.Context()
	client := n.Client()
	var daemonSet *appsv1.DaemonSet
	for _, name := range []string{"namespace.yaml", "rbac.yaml", "daemonset.yaml"} {
		text, err := os.ReadFile(filepath.Join(manifests, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range bytes.Split(text, []byte("\n---\n")) {
			var kind metav1.TypeMeta
			must(t, yaml.Unmarshal(document, &kind))
			options := metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}
			switch kind.Kind {
			case "Namespace":
				_, err = client.CoreV1().Namespaces().Create(ctx, read[corev1.Namespace](t, document), options)
			case "ServiceAccount":
				_, err = client.CoreV1().ServiceAccounts("pullwatch").Create(ctx, read[corev1.ServiceAccount](t, document), options)
			case "ClusterRole":
				role := read[rbacv1.ClusterRole](t, document)
				role.Name += "-pod" // the harness has one of that name for its own agent
				_, err = client.RbacV1().ClusterRoles().Create(ctx, role, options)
			case "ClusterRoleBinding":
				binding := read[rbacv1.ClusterRoleBinding](t, document)
				binding.Name, binding.RoleRef.Name = binding.Name+"-pod", binding.RoleRef.Name+"-pod"
				_, err = client.RbacV1().ClusterRoleBindings().Create(ctx, binding, options)
			case "Role":
				role := read[rbacv1.Role](t, document)
				_, err = client.RbacV1().Roles(role.Namespace).Create(ctx, role, options)
			case "RoleBinding":
				binding := read[rbacv1.RoleBinding](t, document)
				_, err = client.RbacV1().RoleBindings(binding.Namespace).Create(ctx, binding, options)
			case "DaemonSet":
				daemonSet = read[appsv1.DaemonSet](t, document)
				_, err = client.AppsV1().DaemonSets(daemonSet.Namespace).Create(ctx, daemonSet, metav1.CreateOptions{
					FieldValidation: metav1.FieldValidationStrict, DryRun: []string{metav1.DryRunAll},
				})
			default:
				t.Fatalf("%s: an unknown kind %q", name, kind.Kind)
			}
			if err != nil {
				t.Fatalf("%s: %s: %v", name, kind.Kind, err)
			}
		}
	}
	// Elsewhere a controller puts the API server's certificate into each namespace.
	ca, err := os.ReadFile(n.CAFile())
	must(t, err)
	_, err = client.CoreV1().ConfigMaps("pullwatch").Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "kube-root-ca.crt"}, Data: map[string]string{"ca.crt": string(ca)},
	}, metav1.CreateOptions{})
	must(t, err)
	return daemonSet
}

func read[T any](t *testing.T, document []byte) *T {
	t.Helper()
	object := new(T)
	if err := yaml.UnmarshalStrict(document, object); err != nil {
		t.Fatal(err)
	}
	return object
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// podOf is the pod that the DaemonSet's controller would make for this node, with what the service account's admission would add, and with
// what differs on this machine: the path of the socket, and loopback for the node's address.
func podOf(n *node.Node, d *appsv1.DaemonSet, image string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "pullwatch-e2e", Namespace: d.Namespace, Labels: d.Spec.Template.Labels}, Spec: *d.Spec.Template.Spec.DeepCopy(),
	}
	pod.Spec.NodeName = n.NodeName
	c := &pod.Spec.Containers[0]
	c.Image = image
	host, port, _ := strings.Cut(strings.TrimPrefix(n.APIServerURL(), "https://"), ":")
	for i := range c.Env {
		if c.Env[i].Name == "HOST_IP" {
			c.Env[i] = corev1.EnvVar{Name: "HOST_IP", Value: "127.0.0.1"}
		}
	}
	c.Env = append(c.Env, corev1.EnvVar{Name: "KUBERNETES_SERVICE_HOST", Value: host}, corev1.EnvVar{Name: "KUBERNETES_SERVICE_PORT", Value: port})
	for _, probe := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe} {
		probe.HTTPGet.Host = "127.0.0.1"
		probe.HTTPGet.Port = intstr.FromInt32(c.Ports[0].ContainerPort)
	}
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; v.Name == "runtime" {
			v.HostPath.Path = filepath.Dir(strings.TrimPrefix(n.CRISocket(), "unix://"))
		}
	}
	seconds := int64(3600)
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: &seconds}},
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}, Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}}}}},
		},
	}}})
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "token", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true})
	return pod
}

// asUser reads in /proc that the program runs as the manifests promise: uid 65532, no capability, no new privileges.
func asUser(t *testing.T, program string) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	for _, process := range processes {
		command, err := os.ReadFile(process + "/cmdline")
		if err != nil || !bytes.HasPrefix(command, []byte(program+"\x00run\x00")) {
			continue
		}
		status, err := os.ReadFile(process + "/status")
		must(t, err)
		for _, want := range []string{"Uid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("the agent's process is not %q:\n%s", want, status)
			}
		}
		return
	}
	t.Errorf("no process %s run", program)
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
