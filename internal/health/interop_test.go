package health

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// actedOn are the conditions upon which something in a cluster taints, drains, repairs or replaces a node, by who does it. A condition of ours with
// such a name would have its node replaced for an image that cannot be pulled.
var actedOn = map[string][]string{
	"node lifecycle controller (taints)": {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"},
	"cluster-autoscaler (readiness)":     {"Ready", "DiskPressure", "NetworkUnavailable"},
	"Karpenter on AWS, EKS node repair (replaces)": {
		"Ready", "AcceleratedHardwareReady", "StorageReady", "NetworkingReady", "KernelReady", "ContainerRuntimeReady",
	},
	"node-problem-detector (writes them itself; others remedy)": {
		"KernelDeadlock", "ReadonlyFilesystem", "CorruptDockerOverlay2", "FrequentKubeletRestart", "FrequentDockerRestart",
		"FrequentContainerdRestart", "FrequentUnregisterNetDevice", "KubeletUnhealthy", "ContainerRuntimeUnhealthy", "NTPProblem",
		"CperHardwareErrorFatal", "XfsShutdown",
	},
}

func TestNobodyActsOnOurConditions(t *testing.T) {
	for _, kind := range Types {
		for who, names := range actedOn {
			if slices.Contains(names, string(kind)) {
				t.Errorf("%s acts on %s", who, kind)
			}
		}
	}
}

// nodeReadinessRule has the fields of readiness.node.x-k8s.io/v1alpha1 (node-readiness-controller v0.5.0, api/v1alpha1) that an author writes.
type nodeReadinessRule struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            struct {
		Conditions []struct {
			Type           Type                   `json:"type"`
			RequiredStatus corev1.ConditionStatus `json:"requiredStatus"`
			DefaultStatus  corev1.ConditionStatus `json:"defaultStatus"`
		} `json:"conditions"`
		EnforcementMode string               `json:"enforcementMode"`
		Taint           corev1.Taint         `json:"taint"`
		NodeSelector    metav1.LabelSelector `json:"nodeSelector"`
		DryRun          bool                 `json:"dryRun"`
	} `json:"spec"`
}

// nodeHealthCheck has the fields of remediation.medik8s.io/v1alpha1 that the example writes.
type nodeHealthCheck struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            struct {
		MinHealthy          string               `json:"minHealthy"`
		Selector            metav1.LabelSelector `json:"selector"`
		UnhealthyConditions []struct {
			Type     Type                   `json:"type"`
			Status   corev1.ConditionStatus `json:"status"`
			Duration metav1.Duration        `json:"duration"`
		} `json:"unhealthyConditions"`
		RemediationTemplate corev1.ObjectReference `json:"remediationTemplate"`
	} `json:"spec"`
}

// TestExamples holds manifests/examples to the conditions there are, and to which of their values is the good one.
func TestExamples(t *testing.T) {
	var rule nodeReadinessRule
	example(t, "node-readiness-rule.yaml", &rule)
	if rule.APIVersion != "readiness.node.x-k8s.io/v1alpha1" || rule.Kind != "NodeReadinessRule" || len(rule.Spec.Conditions) == 0 {
		t.Errorf("%+v", rule)
	}
	for _, c := range rule.Spec.Conditions {
		if !slices.Contains(Types, c.Type) || c.RequiredStatus != corev1.ConditionFalse || c.DefaultStatus != "" {
			t.Errorf("%+v: want one of ours, False, and no default: a node whose agent has not spoken is not ready", c)
		}
	}
	if mode, effect := rule.Spec.EnforcementMode, rule.Spec.Taint.Effect; mode != "bootstrap-only" || effect != corev1.TaintEffectNoSchedule {
		t.Errorf("mode %s, effect %s: a registry that fails later must not close the node", mode, effect)
	}

	var check nodeHealthCheck
	example(t, "node-health-check.yaml", &check)
	for _, c := range check.Spec.UnhealthyConditions {
		switch {
		case c.Type == Type(corev1.NodeReady):
		case c.Type != ContainerRuntimeUnavailable || c.Status != corev1.ConditionTrue:
			t.Errorf("%+v: no reboot mends that", c)
		case c.Duration.Duration < 2*holds[c.Type].bad:
			t.Errorf("%+v: too soon", c)
		}
	}
	if len(check.Spec.UnhealthyConditions) != 3 {
		t.Errorf("%+v", check.Spec.UnhealthyConditions)
	}
}

// opens tells whether a node with these conditions is let go, as the controller takes a rule without defaults: each of its conditions is on the Node with
// the status that it requires.
func (r *nodeReadinessRule) opens(conditions map[Type]Verdict) bool {
	for _, c := range r.Spec.Conditions {
		v, there := conditions[c.Type]
		if is := map[bool]corev1.ConditionStatus{true: corev1.ConditionTrue, false: corev1.ConditionFalse}[v.True]; !there || is != c.RequiredStatus {
			return false
		}
	}
	return true
}

// TestNodeReadinessRule holds to the conditions that a new node gets what docs/interop.md says of the example.
func TestNodeReadinessRule(t *testing.T) {
	var rule nodeReadinessRule
	example(t, "node-readiness-rule.yaml", &rule)
	asked := func(p ...Probed) Observation {
		seen := probed(p...)
		seen.Runtime = runtime(true, true).Runtime
		return seen
	}
	down := asked(reached, reached)
	down.Runtime = runtime(false, true).Runtime
	for _, test := range []struct {
		name string
		seen Observation
		want bool
	}{
		{"nothing was seen", Observation{}, false},
		{"no registry was asked", runtime(true, true), false},
		{"no runtime was seen", probed(reached, reached), false},
		{"all is well", asked(reached, reached), true},
		{"the runtime is down", down, false},
		{"no registry is reached", asked(refused, stalled), false},
		{"no name is resolved", asked(noResolver, noResolver), false},
		{"there is no route", asked(routeless), false},
		{"one of two registries is down for everybody", asked(refused, reached), true},
		{"the only one that is named may be", asked(refused), true},
		{"whether one is reached cannot be told", asked(unknown, unknown), false},
		{"no registry is known", asked(), false},
	} {
		if p := newPlay(t).step(test.seen, time.Hour); rule.opens(p.last) != test.want {
			t.Errorf("%s: open %t after an hour, with %+v", test.name, !test.want, p.last)
		}
	}

	p := newPlay(t)
	for _, then := range []struct {
		what  string
		seen  Observation
		lasts time.Duration
		want  bool
	}{
		{"the network is not up yet", asked(refused, stalled), 90 * time.Second, false},
		{"it is", asked(reached, reached), 0, true},
		{"an outage that every node shares, which would close them all in the mode continuous", asked(refused, stalled), 3 * time.Minute, false},
	} {
		if p.step(then.seen, then.lasts); rule.opens(p.last) != then.want {
			t.Errorf("%s: open %t, with %+v", then.what, !then.want, p.last)
		}
	}

	selector, err := metav1.LabelSelectorAsSelector(&rule.Spec.NodeSelector)
	if err != nil || !selector.Matches(labels.Set{corev1.LabelHostname: "worker"}) || selector.Matches(labels.Set{"node-role.kubernetes.io/control-plane": ""}) {
		t.Errorf("nodes are chosen by %s, %v", selector, err)
	}
	page, err := os.ReadFile("../../docs/interop.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"--register-with-taints=" + rule.Spec.Taint.ToString(), "--startup-taint=" + rule.Spec.Taint.Key + "`"} {
		if !strings.Contains(string(page), flag) {
			t.Errorf("the page does not name the taint of the rule: %s", flag)
		}
	}
}

// example reads one strictly: a field that the type does not have is an error.
func example(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../manifests/examples", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
