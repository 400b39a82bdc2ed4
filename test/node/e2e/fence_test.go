package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/test/node"
)

const ownNode, otherNode = "own-node", "other-node"

// TestFenceTypes holds the conditions that the fence lets through equal to those that the agent writes.
func TestFenceTypes(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(manifests, "fence.yaml"))
	must(t, err)
	var policy admissionv1.ValidatingAdmissionPolicy
	must(t, yaml.Unmarshal([]byte(strings.Split(string(text), "\n---\n")[0]), &policy))
	i := slices.IndexFunc(policy.Spec.Variables, func(v admissionv1.Variable) bool { return v.Name == "own" })
	if i < 0 {
		t.Fatal("the policy has no variable own")
	}
	var is []string
	for _, found := range regexp.MustCompile(`'(\w+)'`).FindAllStringSubmatch(policy.Spec.Variables[i].Expression, -1) {
		is = append(is, found[1])
	}
	var want []string
	for _, kind := range health.Types {
		want = append(want, string(kind))
	}
	if slices.Sort(is); !slices.Equal(is, slices.Sorted(slices.Values(want))) {
		t.Errorf("manifests/base/fence.yaml lets %v through, want %v", is, want)
	}
}

// TestFence installs the manifests on a real API server and writes with the token of the agent's service account: what the agent does
// passes, and everything else that its rights would allow is refused, in words that tell why.
func TestFence(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	n := startControlPlane(t)
	for _, name := range []string{ownNode, otherNode} {
		registerNode(t, n, name)
	}
	sh(t, n, 0, "kubectl apply -k "+manifests)
	widen(t, n)

	own := tokenOf(t, n, ownNode)
	agent, client := agentWith(t, n, own), clientWith(t, n, own)
	never := func(patch string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := client.CoreV1().Nodes().Patch(ctx, ownNode, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
			return err
		}
	}
	eventually(t, 30*time.Second, "the API server heeds the policies", func() error {
		nodeErr := never(fmt.Sprintf(`{"metadata":{"labels":{"tried":"%d"}}}`, time.Now().UnixNano()))(ctx) // what changes nothing passes
		eventErr := createEvent(ctx, client, func(e *corev1.Event) { e.InvolvedObject.Name = otherNode })
		if nodeErr == nil || eventErr == nil {
			return fmt.Errorf("what is not the agent's was taken: label %t, event %t", nodeErr == nil, eventErr == nil)
		}
		return nil
	})
	if t.Failed() {
		return
	}

	t.Run("what the agent does", func(t *testing.T) { testPasses(t, n, agent) })
	unbound := clientWith(t, n, token(t, n, nil))
	for _, c := range []struct {
		name string
		do   func(context.Context) error
		want []string // in the message
	}{
		{"another node", func(ctx context.Context) error {
			return agent.RemoveConditions(ctx, otherNode, []string{string(health.ImagePullFailing)})
		}, []string{"pullwatch on node own-node may not write to node other-node"}},
		{"Ready", never(`{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`), []string{"this changes the condition Ready"}},
		{"Ready is removed", never(`{"status":{"conditions":[{"$patch":"delete","type":"Ready"}]}}`), []string{"this changes the condition Ready"}},
		{"the heartbeat of Ready", never(`{"status":{"conditions":[{"type":"Ready","lastHeartbeatTime":"2030-01-01T00:00:00Z"}]}}`), []string{"the condition Ready"}},
		{"somebody else's condition", never(`{"status":{"conditions":[{"type":"SomebodyElsesProblem","reason":"Changed"}]}}`), []string{"the condition SomebodyElsesProblem"}},
		{"a new type", never(`{"status":{"conditions":[{"type":"DiskPressure","status":"True"}]}}`), []string{"this changes the condition DiskPressure"}},
		{"all conditions are replaced", never(`{"status":{"conditions":[{"$patch":"replace"}]}}`), []string{"the condition Ready", "the condition SomebodyElsesProblem"}},
		{"Ready twice", func(ctx context.Context) error {
			patch := `[{"op":"copy","from":"/status/conditions/0","path":"/status/conditions/-"}]`
			_, err := client.CoreV1().Nodes().Patch(ctx, ownNode, types.JSONPatchType, []byte(patch), metav1.PatchOptions{}, "status")
			return err
		}, []string{"this changes the condition Ready"}},
		{"beside its own condition", never(`{"status":{"conditions":[{"type":"ImagePullFailing","status":"True"},{"type":"Ready","status":"False"}]}}`), []string{"the condition Ready"}},
		{"a label", never(`{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`), []string{"this changes metadata.labels"}},
		{"a label is removed", never(`{"metadata":{"labels":{"there":null}}}`), []string{"this changes metadata.labels"}},
		{"an annotation", never(`{"metadata":{"annotations":{"a":"b"}}}`), []string{"this changes metadata.annotations"}},
		{"a finalizer", never(`{"metadata":{"finalizers":["example.com/stay"]}}`), []string{"this changes metadata.finalizers"}},
		{"an owner", never(`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"a","uid":"b"}]}}`), []string{"this changes metadata.ownerReferences"}},
		{"capacity", never(`{"status":{"capacity":{"cpu":"1k"}}}`), []string{"this changes status.capacity"}},
		{"capacity is removed", never(`{"status":{"capacity":null}}`), []string{"this changes status.capacity"}},
		{"allocatable", never(`{"status":{"allocatable":{"example.com/gpu":"8"}}}`), []string{"this changes status.allocatable"}},
		{"images", never(`{"status":{"images":[{"names":["a:b"],"sizeBytes":1}]}}`), []string{"this changes status.images"}},
		{"addresses", never(`{"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.66"}]}}`), []string{"this changes status.addresses"}},
		{"the kubelet's port", never(`{"status":{"daemonEndpoints":{"kubeletEndpoint":{"Port":1}}}}`), []string{"this changes status.daemonEndpoints"}},
		{"attached volumes", never(`{"status":{"volumesAttached":[{"name":"a","devicePath":"b"}]}}`), []string{"this changes status.volumesAttached"}},
		{"the node's system", never(`{"status":{"nodeInfo":{"kubeletVersion":"v9"}}}`), []string{"this changes status.nodeInfo"}},
		{"a taint, by a right too wide", func(ctx context.Context) error {
			patch := `{"spec":{"taints":[{"key":"a","effect":"NoExecute"}]}}`
			_, err := client.CoreV1().Nodes().Patch(ctx, ownNode, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
			return err
		}, []string{"into a node's status, and nothing else of a node"}},
		{"a token without a node", func(ctx context.Context) error {
			patch := `{"status":{"conditions":[{"type":"ImagePullFailing","status":"True"}]}}`
			_, err := unbound.CoreV1().Nodes().Patch(ctx, ownNode, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
			return err
		}, []string{"this token does not say on which node its pod runs"}},
		{"an event about another node", func(ctx context.Context) error {
			return createEvent(ctx, client, func(e *corev1.Event) { e.InvolvedObject.Name = otherNode })
		}, []string{"pullwatch on node own-node may write events about that node alone, and this is about Node other-node"}},
		{"an event about a pod", func(ctx context.Context) error {
			return createEvent(ctx, client, func(e *corev1.Event) {
				e.InvolvedObject = corev1.ObjectReference{Kind: "Pod", Name: "own-node", Namespace: e.Namespace}
			})
		}, []string{"this is about Pod own-node"}},
		{"an event in another's name", func(ctx context.Context) error {
			return createEvent(ctx, client, func(e *corev1.Event) { e.Source.Component = "kubelet" })
		}, []string{"in no other name than its own"}},
		{"an event of events.k8s.io, by a right too wide", func(ctx context.Context) error {
			_, err := client.EventsV1().Events(metav1.NamespaceDefault).Create(ctx, &eventsv1.Event{
				ObjectMeta: metav1.ObjectMeta{Name: "fence-other"}, EventTime: metav1.NowMicro(), Reason: "Tried", Action: "Try", Type: corev1.EventTypeNormal,
				ReportingController: "pullwatch", ReportingInstance: ownNode, Regarding: corev1.ObjectReference{Kind: "Node", Name: otherNode},
			}, metav1.CreateOptions{})
			return err
		}, []string{"this is about Node other-node"}},
		{"an event by a token without a node", func(ctx context.Context) error {
			return createEvent(ctx, unbound, func(*corev1.Event) {})
		}, []string{"this token does not say on which node its pod runs"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := nodes(t, n)
			err := c.do(t.Context())
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, want := range append(c.want, "pullwatch-own-") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("refused with %q, want %q in it", err, want)
				}
			}
			// Not by RBAC or validation: the fence has not been looked at where something else refuses first.
			if !strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
				t.Errorf("refused by something else: %v", err)
			}
			if after := nodes(t, n); after != before {
				t.Errorf("refused, and still the nodes changed from\n%s\nto\n%s", before, after)
			}
			t.Log(err)
		})
	}

	// The API server itself takes nothing but status and metadata from a write to status, before it asks any policy.
	t.Run("a taint beside a status", func(t *testing.T) {
		before, err := n.Client().CoreV1().Nodes().Get(t.Context(), ownNode, metav1.GetOptions{})
		must(t, err)
		must(t, never(`{"spec":{"taints":[{"key":"a","effect":"NoExecute"}],"unschedulable":true}}`)(t.Context()))
		after, err := n.Client().CoreV1().Nodes().Get(t.Context(), ownNode, metav1.GetOptions{})
		must(t, err)
		if !reflect.DeepEqual(after.Spec, before.Spec) {
			t.Errorf("the node has %+v, had %+v", after.Spec, before.Spec)
		}
	})
	t.Run("somebody else", func(t *testing.T) {
		patch := []byte(`{"metadata":{"labels":{"by":"admin"}},"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}`)
		_, err := n.Client().CoreV1().Nodes().Patch(t.Context(), ownNode, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		must(t, err)
	})
}

// testPasses writes all conditions and their events as the agent does, twice, and takes them off.
func testPasses(t *testing.T, n *node.Node, agent *kube.Client) {
	ctx := t.Context()
	var all []string
	for _, kind := range health.Types {
		all = append(all, string(kind))
	}
	for _, status := range []string{"False", "True"} {
		var conditions []kube.Condition
		for _, kind := range all {
			conditions = append(conditions, kube.Condition{Type: kind, Status: status, Reason: "Tried", Message: "by a test", Since: time.Now()})
		}
		must(t, agent.PatchConditions(ctx, conditions, time.Now()))
		for _, kind := range all {
			if c := conditionOf(t, n, kind); c == nil || string(c.Status) != status {
				t.Errorf("%s is %+v, want %s", kind, c, status)
			}
		}
	}
	must(t, agent.CreateNodeEvent(ctx, kube.NodeEvent{NodeUID: "uid", Warning: true, Reason: "Tried", Message: "by a test"}))
	must(t, agent.RemoveConditions(ctx, ownNode, all))
	for _, kind := range all {
		if c := conditionOf(t, n, kind); c != nil {
			t.Errorf("%s is left: %+v", kind, c)
		}
	}
	if ready := conditionOf(t, n, "Ready"); ready == nil || ready.Status != corev1.ConditionTrue {
		t.Errorf("Ready is %+v", ready)
	}
}

func conditionOf(t *testing.T, n *node.Node, kind string) *corev1.NodeCondition {
	t.Helper()
	object, err := n.Client().CoreV1().Nodes().Get(t.Context(), ownNode, metav1.GetOptions{})
	must(t, err)
	for _, c := range object.Status.Conditions {
		if string(c.Type) == kind {
			return &c
		}
	}
	return nil
}
