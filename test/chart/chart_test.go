package chart

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// everything turns on all that is off by default, and sets what is empty.
const everything = `
image: {registry: "registry.example.com:5000", digest: "sha256:` + digits + `"}
imagePullSecrets: [{name: pull}]
runtime: {endpoint: "unix:///run/other.sock", containerdConfig: /etc/other.toml}
listenAddress: "[::1]"
port: 9999
nodeConditions: {heartbeatInterval: 10m}
removeConditions: {hostNetwork: true}
kubelet: {configz: false, caFile: /var/lib/kubelet/pki/kubelet.crt, configFile: /var/lib/kubelet/config.yaml}
probing: {interval: 90s, maxRegistries: 7, excludeRegistries: [docker.io], proxyFrom: environment}
registries: ["registry.example.com:5000", "[2001:db8::1]:5000"]
pullSecrets: [{namespace: shop, names: [regcred, hub]}, {namespace: pay, names: [regcred]}]
logFormat: json
extraArgs: [--max-failing-series=7]
extraEnv: [{name: HTTPS_PROXY, value: "http://proxy.example.com:3128"}]
runAsUser: 0
seLinuxOptions: {type: spc_t}
resourceQuota: {create: true}
updateStrategy: {type: OnDelete, rollingUpdate: null}
podAnnotations: {a: b}
podLabels: {c: d}
podMonitor: {create: true, labels: {release: prometheus}}
securityContextConstraints: {create: true}
`

const digits = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func valuesOf(t *testing.T, text string) map[string]any {
	t.Helper()
	var values map[string]any
	if err := yaml.UnmarshalStrict([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// TestLint is `helm lint --strict`: a warning fails it.
func TestLint(t *testing.T) {
	version, err := chartutil.ParseKubeVersion(kubernetes)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range map[string]map[string]any{
		"default": {}, "everything": valuesOf(t, everything), "k3s": valuesFile(t, "k3s"), "rke2": valuesFile(t, "rke2"), "crio": valuesFile(t, "crio"),
		"microk8s": valuesFile(t, "microk8s"), "openshift": valuesFile(t, "openshift"), "no-socket": valuesFile(t, "no-socket"),
	} {
		linter := lint.AllWithKubeVersion(chartDir, values, "pullwatch", version)
		if len(linter.Messages) == 0 {
			t.Errorf("%s: nothing was looked at: not even the missing icon is told", name)
		}
		for _, m := range linter.Messages {
			if m.Severity >= support.WarningSev {
				t.Errorf("%s: %v", name, m)
			}
		}
	}
}

// TestValues tells what each value does to what is installed.
func TestValues(t *testing.T) {
	objects := mustRender(t, valuesOf(t, everything))
	ds := daemonSet(t, objects)
	spec, container := ds.Spec.Template.Spec, ds.Spec.Template.Spec.Containers[0]
	wantArgs := []string{
		"run", "--listen-address=[::1]:9999", "--heartbeat-interval=10m", "--probe-interval=90s", "--max-probed-registries=7", "--exclude-registry=docker.io",
		"--pull-secrets", "--kubelet-config=/var/lib/kubelet/config.yaml", "--kubelet-ca-file=/var/lib/kubelet/pki/kubelet.crt",
		"--registry=registry.example.com:5000", "--registry=[2001:db8::1]:5000", "--log-format=json", "--max-failing-series=7",
	}
	if !slices.Equal(container.Args, wantArgs) {
		t.Errorf("arguments %q\nwant      %q", container.Args, wantArgs)
	}
	env := make(map[string]string)
	for _, e := range container.Env {
		env[e.Name] = e.Value
	}
	for name, want := range map[string]string{
		"CONTAINER_RUNTIME_ENDPOINT": "unix:///run/other.sock", "PULLWATCH_CONTAINERD_CONFIG": "/etc/other.toml", "PULLWATCH_PROXY_FROM": "environment",
	} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
	job := hookJob(t, objects)
	const image = "registry.example.com:5000/pullwatch/pullwatch@sha256:" + digits
	for name, is := range map[string]corev1.PodSpec{"DaemonSet": spec, "Job": job.Spec.Template.Spec} {
		if is.Containers[0].Image != image || len(is.ImagePullSecrets) != 1 || is.ImagePullSecrets[0].Name != "pull" || !is.HostNetwork {
			t.Errorf("%s: image %s, secrets %v, host network %v", name, is.Containers[0].Image, is.ImagePullSecrets, is.HostNetwork)
		}
		if !slices.ContainsFunc(is.Containers[0].Env, func(e corev1.EnvVar) bool { return e.Name == "HTTPS_PROXY" }) {
			t.Errorf("%s: environment %v", name, is.Containers[0].Env)
		}
	}
	if host := container.LivenessProbe.HTTPGet.Host + container.ReadinessProbe.HTTPGet.Host; host != "::1::1" || container.Ports[0].HostPort != 9999 {
		t.Errorf("probes go to %q, port %d", host, container.Ports[0].HostPort)
	}
	if c := spec.SecurityContext; *c.RunAsUser != 0 || *c.RunAsNonRoot || c.SELinuxOptions.Type != "spc_t" {
		t.Errorf("security context %+v", c)
	}
	if ds.Spec.UpdateStrategy.Type != "OnDelete" || ds.Spec.UpdateStrategy.RollingUpdate != nil {
		t.Errorf("update strategy %+v", ds.Spec.UpdateStrategy)
	}
	if m := ds.Spec.Template; m.Annotations["a"] != "b" || m.Labels["c"] != "d" {
		t.Errorf("annotations %v, labels %v", m.Annotations, m.Labels)
	}
	for kind, name := range map[string]string{"ResourceQuota": "pullwatch", "PodMonitor": "pullwatch", "SecurityContextConstraints": "pullwatch", "Job": "pullwatch-remove-conditions"} {
		find(t, objects, kind, name)
	}
}

// TestListen tells where the metrics are: at the node's own address or at the pod's, of either family, and where one says.
func TestListen(t *testing.T) {
	for _, c := range []struct {
		values, arg, env, probeHost string
		hostPort                    int32
	}{
		{`{}`, "[$(HOST_IP)]:9767", "HOST_IP", "", 9767},
		{`{hostNetwork: false}`, "[$(POD_IP)]:9767", "POD_IP", "", 0},
		{`{listenAddress: "[::]"}`, "[::]:9767", "", "", 9767},
		{`{listenAddress: 0.0.0.0, port: 80}`, "0.0.0.0:80", "", "", 80},
		{`{listenAddress: "[2001:db8::2]"}`, "[2001:db8::2]:9767", "", "2001:db8::2", 9767},
		{`{listenAddress: 127.0.0.1}`, "127.0.0.1:9767", "", "127.0.0.1", 9767},
	} {
		container := daemonSet(t, mustRender(t, valuesOf(t, c.values))).Spec.Template.Spec.Containers[0]
		if is := container.Args[1]; is != "--listen-address="+c.arg {
			t.Errorf("%s: %s, want %s", c.values, is, c.arg)
		}
		var env []string
		for _, e := range container.Env[1:] {
			if e.Name != "PULLWATCH_NODEFS_PATH" {
				env = append(env, e.Name)
			}
		}
		if strings.Join(env, "") != c.env || container.LivenessProbe.HTTPGet.Host != c.probeHost || container.Ports[0].HostPort != c.hostPort {
			t.Errorf("%s: environment %v, probes to %q, host port %d", c.values, env, container.LivenessProbe.HTTPGet.Host, container.Ports[0].HostPort)
		}
	}
}

// TestNoSocket: where no socket is mounted the agent and every command in its pod are told to do without a runtime, whatever names one.
func TestNoSocket(t *testing.T) {
	for values, want := range map[string]string{
		`{}`:                               "",
		`{runtime: {socketDirectory: ""}}`: "true",
		`{runtime: {socketDirectory: "", endpoint: "unix:///run/other.sock"}}`: "true",
	} {
		is := ""
		for _, e := range daemonSet(t, mustRender(t, valuesOf(t, values))).Spec.Template.Spec.Containers[0].Env {
			if e.Name == "PULLWATCH_NO_RUNTIME" {
				is = e.Value
			}
		}
		if is != want {
			t.Errorf("%s: PULLWATCH_NO_RUNTIME is %q, want %q", values, is, want)
		}
	}
}

// TestNoConditions: an agent that writes nothing has no right to write.
func TestNoConditions(t *testing.T) {
	objects := mustRender(t, valuesOf(t, `{nodeConditions: {enabled: false}}`))
	if args := daemonSet(t, objects).Spec.Template.Spec.Containers[0].Args; !slices.Contains(args, "--node-conditions=false") {
		t.Errorf("arguments %q", args)
	}
	for _, o := range objects {
		switch kind := o["kind"]; kind {
		case "ServiceAccount", "ClusterRoleBinding", "DaemonSet":
		case "ClusterRole":
			var role rbacv1.ClusterRole
			typed(t, o, &role)
			for _, rule := range role.Rules {
				for _, verb := range rule.Verbs {
					if !slices.Contains([]string{"get", "list", "watch"}, verb) {
						t.Errorf("it may %s %v", verb, rule.Resources)
					}
				}
			}
		default:
			t.Errorf("there is a %s %s", kind, nameOf(o))
		}
	}
}

// TestPullSecrets: the right to secrets is to get each of them by its name, in its namespace, and without any there is none.
func TestPullSecrets(t *testing.T) {
	rights := func(values map[string]any) (all []string) {
		for _, o := range mustRender(t, values) {
			if o["kind"] != "Role" && o["kind"] != "ClusterRole" {
				continue
			}
			var role rbacv1.ClusterRole // a Role has the same fields
			typed(t, o, &role)
			for _, rule := range role.Rules {
				if slices.Contains(rule.Resources, "secrets") || slices.Contains(rule.Resources, "*") {
					all = append(all, fmt.Sprintf("%s in %s: %v %v %v", role.Kind, role.Namespace, rule.Verbs, rule.Resources, rule.ResourceNames))
				}
			}
		}
		return all
	}
	if all := rights(nil); len(all) > 0 {
		t.Errorf("by default: %q", all)
	}
	want := []string{"Role in shop: [get] [secrets] [regcred hub]", "Role in pay: [get] [secrets] [regcred]"}
	if all := rights(valuesOf(t, everything)); !slices.Equal(all, want) {
		t.Errorf("%q, want %q", all, want)
	}
}

// TestNames: two releases share no object, and each fence looks at its own service account.
func TestNames(t *testing.T) {
	objects := mustRender(t, valuesOf(t, `{fullnameOverride: other}`))
	for _, o := range objects {
		if !strings.HasPrefix(nameOf(o), "other") {
			t.Errorf("%s is called %s", o["kind"], nameOf(o))
		}
	}
	text, err := yaml.Marshal(find(t, objects, "ValidatingAdmissionPolicy", "own-node"))
	if err != nil || !strings.Contains(string(text), "'system:serviceaccount:pullwatch:other'") {
		t.Errorf("the fence looks at somebody else (%v):\n%s", err, text)
	}
}

// TestHook: everything that the Job after an uninstall needs is deleted with it, and nothing else is a hook.
func TestHook(t *testing.T) {
	hooks := 0
	for _, o := range mustRender(t, nil) {
		annotations, _ := o["metadata"].(map[string]any)["annotations"].(map[string]any)
		if strings.HasSuffix(nameOf(o), "-remove-conditions") != (annotations["helm.sh/hook"] == "post-delete") {
			t.Errorf("%s %s has annotations %v", o["kind"], nameOf(o), annotations)
		}
		if annotations["helm.sh/hook"] != nil {
			hooks++
			if annotations["helm.sh/hook-delete-policy"] != "before-hook-creation,hook-succeeded" {
				t.Errorf("%s %s stays: %v", o["kind"], nameOf(o), annotations)
			}
		}
	}
	if hooks != 4 {
		t.Errorf("%d hooks, want a service account, its role, the binding and the Job", hooks)
	}
	// The agent's pods are told apart from the Job's.
	objects := mustRender(t, nil)
	selector, labels := daemonSet(t, objects).Spec.Selector.MatchLabels, hookJob(t, objects).Spec.Template.Labels
	matches := true
	for key := range maps.Keys(selector) {
		matches = matches && labels[key] == selector[key]
	}
	if matches {
		t.Errorf("the DaemonSet's selector %v takes the Job's pod %v", selector, labels)
	}
}

// TestOldCluster: the fence is never left out without a word.
func TestOldCluster(t *testing.T) {
	for _, c := range []struct {
		version, values string
		refused         bool
	}{
		{"v1.29.14", `{}`, true},
		{"v1.29.14-gke.100", `{}`, true},
		{"v1.30.0-eks-1234", `{}`, false},
		{"v1.29.14", `{fence: {enabled: false}}`, false},
		{"v1.29.14", `{nodeConditions: {enabled: false}}`, false},
	} {
		_, _, err := render(valuesOf(t, c.values), c.version)
		if c.refused != (err != nil) || c.refused && !strings.Contains(err.Error(), "fence.enabled=false") {
			t.Errorf("%s %s: %v", c.version, c.values, err)
		}
	}
}

func TestNotes(t *testing.T) {
	for _, c := range []struct {
		values          string
		want, wantNever []string
	}{
		{`{}`, []string{"rollout status daemonset pullwatch", "/pullwatch failures", "helm uninstall pullwatch"}, []string{"NOTE:", "runtime's socket"}},
		{`{fence: {enabled: false}}`, []string{"NOTE: without the fence"}, nil},
		{`{removeConditions: {enabled: false}}`, []string{"remove-conditions --all-nodes"}, []string{"helm uninstall"}},
		{`{nodeConditions: {enabled: false}}`, nil, []string{"conditions", "fence"}},
		{`{runtime: {socketDirectory: ""}}`, []string{"Without the runtime's socket"}, nil},
		{`{pullSecrets: [{namespace: shop, names: [regcred]}]}`, []string{"NOTE: the agent's token is on every node"}, nil},
	} {
		_, notes, err := render(valuesOf(t, c.values), kubernetes)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(notes, want) {
				t.Errorf("%s: no %q in\n%s", c.values, want, notes)
			}
		}
		for _, never := range c.wantNever {
			if strings.Contains(notes, never) {
				t.Errorf("%s: %q in\n%s", c.values, never, notes)
			}
		}
	}
}
