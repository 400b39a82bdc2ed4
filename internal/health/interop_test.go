package health

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
