package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// Client talks to the API server as Admin.
func (n *Node) Client() kubernetes.Interface {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.client == nil {
		cfg, err := clientcmd.BuildConfigFromFlags("", n.Kubeconfig(Admin))
		if err == nil {
			cfg.QPS = -1 // a test is not to be throttled by its own client
			n.client, err = kubernetes.NewForConfig(cfg)
		}
		if err != nil {
			panic("a kubeconfig of our own making is refused: " + err.Error())
		}
	}
	return n.client
}

// agentRole names the rights of AgentUser. It is not the name that the manifests use, so that these can be applied as they are.
const agentRole = "agent-of-the-harness"

// grantAgent gives AgentUser the rights of the manifests, and no others: what they lack shows in the tests.
func (n *Node) grantAgent(ctx context.Context) error {
	source, err := sourceDir()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(source, "..", "..", "manifests", "base", "rbac.yaml"))
	if err != nil {
		return err
	}
	granted := false
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var role rbacv1.ClusterRole // a Role has the same fields
		if err := yaml.Unmarshal([]byte(document), &role); err != nil {
			return fmt.Errorf("manifests/base/rbac.yaml: %w", err)
		}
		switch role.Kind {
		case "ClusterRole":
			err = n.Grant(ctx, role.Rules)
			granted = true
		case "Role":
			err = n.grantIn(ctx, role.Namespace, role.Rules)
		}
		if err != nil {
			return err
		}
	}
	if !granted {
		return errors.New("manifests/base/rbac.yaml holds no ClusterRole")
	}
	return nil
}

// grantIn gives AgentUser rights in one namespace.
func (n *Node) grantIn(ctx context.Context, namespace string, rules []rbacv1.PolicyRule) error {
	rbac := n.Client().RbacV1()
	_, err := rbac.Roles(namespace).Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: agentRole}, Rules: rules}, metav1.CreateOptions{})
	if err == nil || apierrors.IsAlreadyExists(err) {
		_, err = rbac.RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: agentRole},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: agentRole},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: AgentUser}},
		}, metav1.CreateOptions{})
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("grant %s its rights in %s: %w", AgentUser, namespace, err)
	}
	return nil
}

// Grant replaces the rights of AgentUser; without rules it may do nothing.
func (n *Node) Grant(ctx context.Context, rules []rbacv1.PolicyRule) error {
	rbac := n.Client().RbacV1()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: agentRole}, Rules: rules}
	_, err := rbac.ClusterRoles().Update(ctx, role, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = rbac.ClusterRoles().Create(ctx, role, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("grant %s its rights: %w", AgentUser, err)
	}
	_, err = rbac.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: agentRole},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: agentRole},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: AgentUser}},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("grant %s its rights: %w", AgentUser, err)
	}
	return nil
}

// Pod is a pod for this node that needs neither scheduler nor network plugin nor service account.
func (n *Node) Pod(name, image string) *corev1.Pod {
	no, zero := false, int64(0)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			NodeName: n.NodeName, HostNetwork: true, DNSPolicy: corev1.DNSDefault,
			AutomountServiceAccountToken: &no, TerminationGracePeriodSeconds: &zero, EnableServiceLinks: &no,
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers:  []corev1.Container{{Name: "main", Image: image, ImagePullPolicy: corev1.PullIfNotPresent}},
		},
	}
}

// CreatePod creates a pod, in place of one that has its name.
func (n *Node) CreatePod(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	if err := n.DeletePod(ctx, pod.Namespace, pod.Name); err != nil {
		return nil, err
	}
	return n.Client().CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
}

// DeletePod deletes a pod and waits until it is gone. One that is not there is fine.
func (n *Node) DeletePod(ctx context.Context, namespace, name string) error {
	zero := int64(0)
	pods := n.Client().CoreV1().Pods(namespace)
	err := pods.Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &zero})
	if apierrors.IsNotFound(err) {
		return nil
	}
	for err == nil {
		if _, err = pods.Get(ctx, name, metav1.GetOptions{}); err == nil {
			err = Sleep(ctx, 50*time.Millisecond)
		}
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("delete pod %s/%s: %w", namespace, name, err)
}

// Pods are this node's pods.
func (n *Node) Pods(ctx context.Context) ([]corev1.Pod, error) {
	list, err := n.Client().CoreV1().Pods("").List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", n.NodeName).String(),
	})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	return list.Items, nil
}

// SetImage changes the image of a pod's container, main or init, as a person mending a typo does.
func (n *Node) SetImage(ctx context.Context, namespace, pod, container, image string) error {
	patch := fmt.Appendf(nil, `{"spec":{"containers":[{"name":%q,"image":%q}]}}`, container, image)
	_, err := n.Client().CoreV1().Pods(namespace).Patch(ctx, pod, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("set the image of %s/%s: %w", namespace, pod, err)
	}
	return nil
}

// Statuses are the statuses of all containers of a pod, of whatever kind.
func Statuses(pod *corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses)
}

// WaitWaiting returns the first container status of the pod that waits with one of the reasons; without reasons,
// with any that is not the ordinary way to a start.
func (n *Node) WaitWaiting(ctx context.Context, namespace, pod string, reasons ...string) (corev1.ContainerStatus, error) {
	var found corev1.ContainerStatus
	err := n.waitPod(ctx, namespace, pod, fmt.Sprintf("a container to wait with %v", reasons), func(p *corev1.Pod) bool {
		for _, s := range Statuses(p) {
			w := s.State.Waiting
			if w == nil || (len(reasons) == 0 && (w.Reason == "ContainerCreating" || w.Reason == "PodInitializing")) {
				continue
			}
			if len(reasons) == 0 || slices.Contains(reasons, w.Reason) {
				found = s
				return true
			}
		}
		return false
	})
	return found, err
}

// WaitRunning returns when all containers of the pod run.
func (n *Node) WaitRunning(ctx context.Context, namespace, pod string) error {
	return n.waitPod(ctx, namespace, pod, "all containers to run", func(p *corev1.Pod) bool {
		for _, s := range slices.Concat(p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses) {
			if s.State.Running == nil {
				return false
			}
		}
		return len(p.Status.ContainerStatuses) == len(p.Spec.Containers) && len(p.Status.EphemeralContainerStatuses) == len(p.Spec.EphemeralContainers)
	})
}

// podPatience is how long a pod may take: longer than the kubelet's longest back-off.
const podPatience = 6 * time.Minute

func (n *Node) waitPod(ctx context.Context, namespace, name, what string, done func(*corev1.Pod) bool) error {
	ctx, cancel := context.WithTimeout(ctx, podPatience)
	defer cancel()
	var last *corev1.Pod
	for {
		pod, err := n.Client().CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			if done(pod) {
				return nil
			}
			last = pod
			err = Sleep(ctx, 100*time.Millisecond)
		}
		if err != nil {
			seen := "nothing of it was seen"
			if last != nil {
				seen = "it has"
				for _, s := range Statuses(last) {
					if w := s.State.Waiting; w != nil {
						seen += fmt.Sprintf(" %s: %s %s;", s.Name, w.Reason, w.Message)
					}
				}
				seen += "\n" + n.lastEvent(context.WithoutCancel(ctx), namespace, name)
			}
			return fmt.Errorf("wait for pod %s/%s, %s: %w\n%s", namespace, name, what, err, seen)
		}
	}
}

// lastEvent is the text of the last event about a pod.
func (n *Node) lastEvent(ctx context.Context, namespace, pod string) string {
	list, err := n.Client().CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("involvedObject.name", pod).String()})
	if err != nil || len(list.Items) == 0 {
		return fmt.Sprintf("no event tells more (%v)", err)
	}
	return slices.MaxFunc(list.Items, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) }).Message
}

// WaitEvent returns the first event about the pod with that reason.
func (n *Node) WaitEvent(ctx context.Context, namespace, pod, reason string) (*corev1.Event, error) {
	sel := fields.Set{"involvedObject.name": pod, "reason": reason}.AsSelector().String()
	for {
		list, err := n.Client().CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: sel})
		if err == nil && len(list.Items) > 0 {
			return &list.Items[0], nil
		}
		if err := errors.Join(err, Sleep(ctx, 200*time.Millisecond)); err != nil {
			return nil, fmt.Errorf("wait for event %s of pod %s/%s: %w", reason, namespace, pod, err)
		}
	}
}

// Sleep waits, and ends early with the error of ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
