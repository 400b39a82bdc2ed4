package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/test/node"
)

const (
	imageTag      = "pullwatch/pullwatch:e2e"
	maxImageBytes = 12 << 20 // on the wire: configuration and compressed layers
)

// TestPod installs the agent as the README says, and runs it as a cluster does: from the image that the Dockerfile makes, as the pod that
// the DaemonSet's controller makes, with the rights of the manifests and the token of its service account alone.
func TestPod(t *testing.T) {
	n := startNode(t, node.Options{
		Containerd: node.Containerd16, Kubelet: node.Kubelet134, Controllers: true,
		NodeName:      "localhost", // `kubectl exec` finds the kubelet by it
		KubeletConfig: map[string]any{"registerWithTaints": []corev1.Taint{{Key: "e2e", Effect: corev1.TaintEffectNoExecute}}},
	})
	t.Cleanup(func() {
		logs, _ := filepath.Glob(n.Dir + "/pods/pullwatch_*/*/*.log")
		for _, log := range logs {
			if t.Failed() {
				t.Logf("the end of %s:\n%s", log, tail(log, 6000))
			}
		}
	})
	ctx := t.Context()
	must(t, node.EnsurePrograms(ctx, node.NewProgress(os.Stderr), map[string]string{"buildah": "buildah", "kubectl": "kubernetes-client"}))
	image := buildImage(t, n)
	sockets := shareSockets(t, n)
	apply := readmeLine(t, n, "kubectl apply -k ")
	installed := overlay(t, n, image, sockets)
	sh(t, n, 0, strings.Replace(apply, "manifests/base", installed, 1))
	var pod *corev1.Pod
	a := &agent{n: n, address: "127.0.0.1:9767"}
	eventually(t, time.Minute, "the kubelet finds the pod ready, by its own probes", func() error {
		if pod = podOf(t, n); pod == nil {
			return fmt.Errorf("the DaemonSet has no pod")
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("%s %+v %+v: %w", pod.Status.Phase, pod.Status.Conditions, pod.Status.ContainerStatuses, a.get("/readyz", nil))
	})
	if t.Failed() {
		return
	}
	weigh(t, n)
	asScheduled(t, n, pod)
	process := processOf(t, "/pullwatch")
	asUser(t, process)
	openTo(t, process, a.address)

	broken := n.Pod("typo", n.Registry().Ref("shop/none:1"))
	if _, err := n.CreatePod(ctx, broken); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "it sees what fails", func() error {
		m, err := a.metrics()
		if err != nil {
			return err
		}
		if sum, _ := m.Sum("pullwatch_container_failing_since_timestamp_seconds", `pod="typo"`, `cause="not_found"`); sum == 0 {
			return fmt.Errorf("no series of the failing pod")
		}
		for _, up := range []string{"pullwatch_runtime_up", "pullwatch_runtime_ready", "pullwatch_images"} {
			if sum, _ := m.Sum(up); sum == 0 {
				return fmt.Errorf("%s is 0", up)
			}
		}
		return nil
	})
	eventually(t, 2*time.Minute, "it sees the disks, and what its kubelet is set to, with the rights of the manifests alone", func() error {
		m, err := a.metrics()
		if err != nil {
			return err
		}
		for series, label := range map[string]string{
			"pullwatch_filesystem_size_bytes": `filesystem="imagefs"`, "pullwatch_filesystem_available_bytes": `filesystem="nodefs"`,
			"pullwatch_kubelet_settings_info": `source="configz"`, "pullwatch_check_success": `check="disk"`,
		} {
			if sum, _ := m.Sum(series, label); sum == 0 {
				return fmt.Errorf("%s{%s} is missing or 0", series, label)
			}
		}
		// The small disk and not the machine's.
		if size, _ := m.Sum("pullwatch_filesystem_size_bytes", `filesystem="imagefs"`); size > 1<<30 {
			return fmt.Errorf("the filesystem of images has %v bytes", size)
		}
		return nil
	})
	eventually(t, 6*time.Minute, "it writes its conditions", func() error {
		m, err := a.metrics()
		if err != nil {
			return err
		}
		if sum, _ := m.Sum("pullwatch_api_writes_total", `write="condition"`, `result="ok"`); sum == 0 {
			return fmt.Errorf("none was written")
		}
		return nil
	})
	atThePrompt(t, n)

	// A socket that is mounted by its directory outlives the runtime.
	if err := n.Kill(node.PartContainerd); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the runtime is down in its eyes", a.runtimeUp(0))
	if err := n.Restart(ctx, node.PartContainerd); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the runtime is back in its eyes", a.runtimeUp(1))

	sh(t, n, 0, readmeLine(t, n, "kubectl -n pullwatch delete daemonset "))
	eventually(t, time.Minute, "the agent has stopped", func() error {
		if a.get("/healthz", nil) == nil {
			return fmt.Errorf("it still answers")
		}
		return nil
	})
	rightsUsed(t, n)

	sh(t, n, 0, "../../../bin/"+readmeLine(t, n, "pullwatch remove-conditions "))
	for _, kind := range health.Types {
		if left, err := condition(ctx, n, string(kind)); err != nil || left != nil {
			t.Errorf("%s is left: %+v (%v)", kind, left, err)
		}
	}
	sh(t, n, 0, strings.Replace(pageLine(t, n, installPage, "kubectl delete -k "), "manifests/base", installed, 1))
	for _, kind := range []string{"namespaces", "clusterroles", "clusterrolebindings", "validatingadmissionpolicies", "validatingadmissionpolicybindings"} {
		if all := sh(t, n, 0, "kubectl get -o name "+kind); strings.Contains(all, "pullwatch") {
			t.Errorf("%s: something is left", kind)
		}
	}
}

// imagesOf is where the node's runtime keeps images.
func imagesOf(n *node.Node) string { return filepath.Join(n.Dir, "containerd") }

// shareSockets makes the directory of the runtime's socket a shared mount, and returns it, and that of its images, which is a disk of its own. With
// systemd every mount is one, which the template's propagation wants; this machine has no init system.
func shareSockets(t *testing.T, n *node.Node) string {
	t.Helper()
	sockets := filepath.Dir(strings.TrimPrefix(n.CRISocket(), "unix://"))
	for _, args := range [][]string{{"--bind", sockets, sockets}, {"--make-shared", sockets}, {"--make-shared", imagesOf(n)}} {
		if out, err := exec.CommandContext(t.Context(), "mount", args...).CombinedOutput(); err != nil {
			t.Fatalf("mount %v: %v: %s", args, err, out)
		}
	}
	return sockets
}

// atThePrompt types what the README shows.
func atThePrompt(t *testing.T, n *node.Node) {
	t.Helper()
	for _, c := range []struct {
		line     string
		exitCode int
		want     []string
	}{
		{readmeLine(t, n, "kubectl -n pullwatch get pods"), 0, []string{"1/1", "Running", n.NodeName}},
		{readmeLine(t, n, "kubectl -n pullwatch exec"), 1, []string{"not_found", "typo"}},
		{readmeLine(t, n, "kubectl describe node"), 0, []string{"ContainerRuntimeUnavailable", "ImagePullFailing"}},
		{
			`kubectl get node NODE -o jsonpath='{range .status.conditions[*]}{.type}={.status} {end}'`, 0,
			[]string{"ContainerRuntimeUnavailable=False", "ImagePullFailing=False"},
		},
	} {
		out := sh(t, n, c.exitCode, strings.ReplaceAll(c.line, "NODE", n.NodeName))
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s does not print %q:\n%s", c.line, want, out)
			}
		}
	}
}

// buildImage builds the Dockerfile's image with the program that make built in place of its first stage, and pushes it.
func buildImage(t *testing.T, n *node.Node) string {
	t.Helper()
	stage := t.TempDir()
	program, err := os.ReadFile("../../../bin/pullwatch")
	if err != nil {
		t.Fatalf("%v: build the agent first (make build)", err)
	}
	must(t, os.Mkdir(filepath.Join(stage, "out"), 0o755))
	must(t, os.WriteFile(filepath.Join(stage, "out", "pullwatch"), program, 0o755))
	image := n.Registry().Ref(imageTag)
	root := t.TempDir()
	for _, args := range [][]string{
		{
			"build", "--isolation", "chroot", "--build-context", "build=" + stage,
			"--build-arg", "BASE=scratch", "--build-arg", "VERSION=e2e", "-t", image, "../../..",
		},
		{"push", "--tls-verify=false", image},
	} {
		args = append([]string{"--storage-driver", "vfs", "--root", root + "/storage", "--runroot", root + "/run"}, args...)
		cmd := exec.CommandContext(t.Context(), "buildah", args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("buildah %q: %v\n%s", args, err, out)
		}
	}
	return image
}

// weigh holds the image to what it may take on the wire.
func weigh(t *testing.T, n *node.Node) {
	t.Helper()
	pushed, err := n.Registry().Get(t.Context(), imageTag)
	must(t, err)
	manifest, err := pushed.Manifest()
	must(t, err)
	size := manifest.Config.Size
	for _, layer := range manifest.Layers {
		size += layer.Size
	}
	t.Logf("the image takes %d bytes compressed (%.1f MiB)", size, float64(size)/(1<<20))
	if size > maxImageBytes {
		t.Errorf("that is more than %d: `go tool nm -size -sort size` shows what came into the program", maxImageBytes)
	}
}
