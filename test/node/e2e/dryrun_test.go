package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/pullwatch/pullwatch/test/node"
)

const chartDir = "../../../manifests/chart"

// foreignKinds are of APIs that no Kubernetes brings: their own programs alone could say whether they take these objects.
var foreignKinds = []string{"PodMonitor", "SecurityContextConstraints"}

// What Pod Security's level restricted has against the pods, by what they ask for.
const (
	violates  = `would violate PodSecurity "restricted:latest": `
	onTheHost = `host namespaces (hostNetwork=true), `
	onPort    = `hostPort (container "pullwatch" uses hostPort 9767), `
	mounts    = `restricted volume types (volumes %s use restricted volume type "hostPath")`
)

// TestDryRun asks a real API server whether it takes every object of the chart and of the kustomizations, and what Pod Security's strictest
// level has against them: that must be what docs/install.md says, and no more.
func TestDryRun(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	n := startControlPlane(t)
	withHelm(t)
	_, err := n.Client().CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "pullwatch", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "privileged", "pod-security.kubernetes.io/warn": "restricted"},
	}}, metav1.CreateOptions{})
	must(t, err)

	for _, c := range []struct {
		name      string
		helm      string // the arguments of helm template
		component string
		warns     string
		foreign   []string // kinds that are there and were not asked about
	}{
		{name: "default", warns: onTheHost + onPort + hostPaths()},
		{name: "k3s", helm: values("k3s"), component: "k3s", warns: onTheHost + onPort + hostPaths("defaults", "sysconfig")},
		{name: "RKE2", helm: values("rke2"), component: "rke2", warns: onTheHost + onPort + hostPaths("defaults", "sysconfig", "local-units")},
		{name: "microk8s", helm: values("microk8s"), component: "microk8s", warns: onTheHost + onPort + hostPaths()},
		{name: "CRI-O", helm: values("crio"), component: "crio", warns: onTheHost + onPort + hostPaths("registries", "defaults", "sysconfig")},
		{
			name: "OpenShift", helm: values("openshift"), component: "openshift", foreign: []string{"SecurityContextConstraints"},
			warns: onTheHost + onPort + `seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "spc_t"), ` + hostPaths("registries", "authorities", "defaults", "sysconfig"),
		},
		{name: "pod network", helm: values("pod-network"), component: "pod-network", warns: hostPaths()},
		{name: "no socket", helm: values("no-socket"), component: "no-socket"},
		{name: "no fence", helm: "--set fence.enabled=false", component: "without-fence", warns: onTheHost + onPort + hostPaths()},
		{name: "no conditions", helm: "--set nodeConditions.enabled=false", warns: onTheHost + onPort + hostPaths()},
		{
			name: "Prometheus operator", helm: "--set podMonitor.create=true", component: "prometheus-operator", foreign: []string{"PodMonitor"},
			warns: onTheHost + onPort + hostPaths(),
		},
		{
			name: "pull secrets", helm: "--set pullSecrets[0].namespace=default --set pullSecrets[0].names[0]=regcred", component: "pull-secrets",
			warns: onTheHost + onPort + hostPaths(),
		},
		{
			name: "kubelet's files", helm: "--set kubelet.configz=false --set kubelet.caFile=/a/kubelet.crt --set kubelet.configFile=/a/config.yaml",
			warns: onTheHost + onPort + hostPaths("kubelet-ca", "kubelet-config"),
		},
		{name: "GKE", helm: "--set resourceQuota.create=true", warns: onTheHost + onPort + hostPaths()},
		{name: "digest and secrets", helm: "--set image.digest=sha256:" + strings.Repeat("0a", 32) + " --set imagePullSecrets[0].name=pull", warns: onTheHost + onPort + hostPaths()},
	} {
		t.Run(c.name, func(t *testing.T) {
			rendered := map[string]string{"helm": render(t, n, helmTemplate+c.helm)}
			if c.component != "" || c.helm == "" {
				rendered["kustomize"] = render(t, n, "kubectl kustomize "+kustomization(t, c.component))
			}
			for by, text := range rendered {
				known, foreign := split(t, text)
				if !slices.Equal(foreign, c.foreign) {
					t.Errorf("%s: kinds of others %v, want %v", by, foreign, c.foreign)
				}
				warns, err := dryRun(t.Context(), n, known)
				if err != nil {
					t.Errorf("%s: %v", by, err)
				}
				var want []string
				if c.warns != "" {
					want = []string{violates + c.warns}
				}
				if !slices.Equal(warns, want) {
					t.Errorf("%s: the API server warns\n%s\nwant\n%s", by, strings.Join(warns, "\n"), strings.Join(want, "\n"))
				}
			}
		})
	}

	t.Run("it looks", func(t *testing.T) { // a field that no Kubernetes knows, a value that is none
		text := render(t, n, helmTemplate)
		for old, wrong := range map[string]string{"dnsPolicy: Default": "dnsPolicie: Default", "variables.changed.size() == 0": "variables.changed.size() =="} {
			if !strings.Contains(text, old) {
				t.Fatalf("no %q", old)
			}
			if _, err := dryRun(t.Context(), n, strings.ReplaceAll(text, old, wrong)); err == nil {
				t.Errorf("%q was taken", wrong)
			}
		}
	})
}

// helmTemplate wants to be told the version, which a helm that is not a release's takes for a very old one.
const helmTemplate = "helm template pullwatch " + chartDir + " -n pullwatch --kube-version " + node.KubernetesRelease + " "

// render is what a command line prints, without it in the test's log.
func render(t *testing.T, n *node.Node, line string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rendered.yaml")
	sh(t, n, 0, line+" >"+file)
	text, err := os.ReadFile(file)
	must(t, err)
	return string(text)
}

func values(name string) string { return "-f " + chartDir + "/values/" + name + ".yaml" }

// hostPaths is what there is against the volumes that all have and some more.
func hostPaths(more ...string) string {
	return fmt.Sprintf(mounts, quoted(append(more, "runtime", "images", "runtime-config", "units", "vendor-units", "certificates")))
}

func quoted(names []string) string {
	slices.Sort(names)
	return `"` + strings.Join(names, `", "`) + `"`
}

// volumeNames are the names in a warning, in the order of the pod's.
var volumeNames = regexp.MustCompile(`\(volumes "(.*?)" use`)

// withHelm puts helm into PATH.
func withHelm(t *testing.T) {
	t.Helper()
	dir, err := node.EnsureHelm(t.Context(), node.NewProgress(os.Stderr))
	must(t, err)
	if path := os.Getenv("PATH"); !slices.Contains(filepath.SplitList(path), dir) {
		must(t, os.Setenv("PATH", dir+string(filepath.ListSeparator)+path)) // of all tests: T.Setenv is not for those in parallel
	}
}

// kustomization is a directory with manifests/base and a component, or none.
func kustomization(t *testing.T, component string) string {
	t.Helper()
	if component == "" {
		return manifests
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	root, err := filepath.Abs(filepath.Dir(manifests))
	must(t, err)
	root, err = filepath.Rel(dir, root) // kustomize takes no absolute path
	must(t, err)
	text := fmt.Sprintf("resources: [%s/base]\ncomponents: [%s/components/%s]\n", root, root, component)
	must(t, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600))
	return dir
}

// split takes the kinds of others out of YAML.
func split(t *testing.T, text string) (known string, foreign []string) {
	t.Helper()
	var keep []string
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		var o metav1.TypeMeta
		must(t, yaml.Unmarshal([]byte(document), &o))
		if slices.Contains(foreignKinds, o.Kind) {
			foreign = append(foreign, o.Kind)
			continue
		}
		keep = append(keep, document)
	}
	return strings.Join(keep, "\n---\n"), foreign
}

// dryRun has the API server look at objects as at ones that are to stay, and returns what it warns of.
func dryRun(ctx context.Context, n *node.Node, text string) (warns []string, err error) {
	cmd := exec.CommandContext(ctx, "kubectl", "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+n.Kubeconfig(node.Admin), "HOME="+n.Dir)
	cmd.Stdin = strings.NewReader(text)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, &stderr)
	}
	for line := range strings.Lines(stderr.String()) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "Warning: ")
		warns = append(warns, volumeNames.ReplaceAllStringFunc(line, func(names string) string {
			return "(volumes " + quoted(strings.Split(volumeNames.FindStringSubmatch(names)[1], `", "`)) + " use"
		}))
	}
	if objects := strings.Count(stdout.String(), "\n"); objects < strings.Count(text, "\nkind: ") {
		return nil, fmt.Errorf("%d objects were looked at: %s", objects, &stdout)
	}
	return warns, nil
}
