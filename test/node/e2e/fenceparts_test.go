package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/test/node"
)

// registerNode makes a node as a kubelet does, with something in every field that the agent may not change, and as many images as a
// kubelet lists.
func registerNode(t *testing.T, n *node.Node, name string) {
	t.Helper()
	object, err := n.Client().CoreV1().Nodes().Create(t.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"there": "before"}},
	}, metav1.CreateOptions{})
	must(t, err)
	capacity := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("4Gi"), corev1.ResourcePods: resource.MustParse("110")}
	now := metav1.Now()
	object.Status = corev1.NodeStatus{
		Capacity: capacity, Allocatable: capacity,
		Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.2"}},
		NodeInfo:  corev1.NodeSystemInfo{KubeletVersion: "v" + node.KubernetesRelease, Architecture: "amd64"},
		Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: now, LastTransitionTime: now},
			{Type: foreign, Status: corev1.ConditionFalse, Reason: "Fine", LastHeartbeatTime: now, LastTransitionTime: now},
		},
	}
	for i := range 50 { // nodeStatusMaxImages
		object.Status.Images = append(object.Status.Images, corev1.ContainerImage{Names: []string{
			fmt.Sprintf("registry.example.com/shop/%s@sha256:%064d", strings.Repeat("long/", 20), i), fmt.Sprintf("registry.example.com/shop:%d", i),
		}, SizeBytes: 1 << 20})
	}
	_, err = n.Client().CoreV1().Nodes().UpdateStatus(t.Context(), object, metav1.UpdateOptions{})
	must(t, err)
}

// widen grants what no manifest does, so that the fence and not RBAC has to refuse it.
func widen(t *testing.T, n *node.Node) {
	t.Helper()
	rbac := n.Client().RbacV1()
	_, err := rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "too-wide"},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"patch"}},
			{APIGroups: []string{"events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create"}},
		},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "too-wide"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "too-wide"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "pullwatch", Name: "pullwatch"}},
	}, metav1.CreateOptions{})
	must(t, err)
}

// tokenOf is the token that the kubelet of a node asks for and mounts into the agent's pod there.
func tokenOf(t *testing.T, n *node.Node, nodeName string) string {
	t.Helper()
	pod := n.Pod("agent-on-"+nodeName, "pullwatch")
	pod.Namespace, pod.Spec.NodeName, pod.Spec.ServiceAccountName = "pullwatch", nodeName, "pullwatch"
	pod, err := n.CreatePod(t.Context(), pod)
	must(t, err)
	return token(t, n, &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID})
}

// token is one of the agent's service account, bound to a pod or to nothing.
func token(t *testing.T, n *node.Node, to *authenticationv1.BoundObjectReference) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: to}}
	request, err := n.Client().CoreV1().ServiceAccounts("pullwatch").CreateToken(t.Context(), "pullwatch", request, metav1.CreateOptions{})
	must(t, err)
	return request.Status.Token
}

// agentWith is the agent's own client with a token.
func agentWith(t *testing.T, n *node.Node, token string) *kube.Client {
	t.Helper()
	text, err := os.ReadFile(n.Kubeconfig(node.Admin))
	must(t, err)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, os.WriteFile(path, regexp.MustCompile(`token: \w+`).ReplaceAll(text, []byte("token: "+token)), 0o600))
	client, err := kube.New(kube.Config{Kubeconfig: path, NodeName: ownNode})
	must(t, err)
	return client
}

func clientWith(t *testing.T, n *node.Node, token string) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host: n.APIServerURL(), BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAFile: n.CAFile()}, QPS: -1,
	})
	must(t, err)
	return client
}

// createEvent writes an event as the agent does, but for a change.
func createEvent(ctx context.Context, client kubernetes.Interface, change func(*corev1.Event)) error {
	now := metav1.Now()
	e := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, GenerateName: "fence-"},
		InvolvedObject: corev1.ObjectReference{Kind: "Node", Name: ownNode},
		Reason:         "Tried", Type: corev1.EventTypeNormal, FirstTimestamp: now, LastTimestamp: now, Count: 1,
		Source: corev1.EventSource{Component: "pullwatch", Host: ownNode}, ReportingController: "pullwatch", ReportingInstance: ownNode,
	}
	change(e)
	if e.InvolvedObject.Kind == "Pod" {
		e.Namespace = e.InvolvedObject.Namespace
	}
	_, err := client.CoreV1().Events(e.Namespace).Create(ctx, e, metav1.CreateOptions{})
	if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
		return fmt.Errorf("not a refusal: %w", err)
	}
	return err
}

// nodes are both nodes as they are, to be compared.
func nodes(t *testing.T, n *node.Node) string {
	t.Helper()
	var all strings.Builder
	for _, name := range []string{ownNode, otherNode} {
		object, err := n.Client().CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
		must(t, err)
		text, err := yaml.Marshal(object)
		must(t, err)
		all.Write(text)
	}
	return all.String()
}
