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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Breakage is one way in which a pull fails, on the real kubelet and runtime.
type Breakage struct {
	Name string // also the pod's
	What string // for people, one line
	// Causes are the names of pkg/cause that the failure may be given, the best first. Where there are several, the
	// runtimes' texts differ in what they tell.
	Causes []string
	// Container is the one that fails; Kind says what it is: container, init, ephemeral, volume or sandbox.
	Container string
	Kind      string
	// Slow is how long it takes to show, beyond the second or two that most take.
	Slow time.Duration
	// Needs says why this node cannot break this way; nil means it can.
	Needs func(*Node) error
	// Prepare sets the fault up; nil when the pod alone is the fault.
	Prepare func(context.Context, *Node) error
	// Pod is the pod that fails.
	Pod func(*Node) *corev1.Pod
	// After follows the pod's creation; nil for most.
	After func(context.Context, *Node) error
	// Mend removes the fault, so that the pod runs at the kubelet's next try; nil when it cannot be.
	Mend func(context.Context, *Node) error
}

// FindBreakage is the breakage of that name.
func FindBreakage(name string) (Breakage, error) {
	for _, b := range Breakages {
		if b.Name == name {
			return b, nil
		}
	}
	var names []string
	for _, b := range Breakages {
		names = append(names, b.Name)
	}
	return Breakage{}, fmt.Errorf("no breakage %q\nthere are: %s", name, strings.Join(names, " "))
}

// Possible are the breakages that this node can have, in the order in which they are best made: the sandbox image
// last, since without it no pod starts.
func (n *Node) Possible() []Breakage {
	return slices.DeleteFunc(slices.Clone(Breakages), func(b Breakage) bool { return b.Needs != nil && b.Needs(n) != nil })
}

// Break makes a breakage, anew if it was there.
func (n *Node) Break(ctx context.Context, b Breakage) error {
	if b.Needs != nil {
		if err := b.Needs(n); err != nil {
			return fmt.Errorf("break %s: %w", b.Name, err)
		}
	}
	err := n.breakPod(ctx, b)
	if err != nil {
		return fmt.Errorf("break %s: %w", b.Name, err)
	}
	return nil
}

func (n *Node) breakPod(ctx context.Context, b Breakage) error {
	repo, tag, _ := strings.Cut(pauseTag, ":")
	if b.Kind != "sandbox" && !n.Registry().Tagged(repo, tag) {
		return errors.New("the sandbox image is broken, and no new pod starts without it\nmend it first: node mend sandbox-image")
	}
	pod := b.Pod(n)
	if err := n.DeletePod(ctx, pod.Namespace, pod.Name); err != nil {
		return err
	}
	// A mended one has left its image on the node.
	if b.Kind != "sandbox" {
		for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			if c.Image != n.GoodImage() {
				_ = n.RemoveImage(ctx, c.Image) // most are not there, and some are no references at all
			}
		}
	}
	if b.Prepare != nil {
		if err := b.Prepare(ctx, n); err != nil {
			return err
		}
	}
	if _, err := n.CreatePod(ctx, pod); err != nil {
		return err
	}
	if b.After != nil {
		return b.After(ctx, n)
	}
	return nil
}

// Mend removes the fault; the kubelet's next try succeeds.
func (n *Node) Mend(ctx context.Context, b Breakage) error {
	if b.Mend == nil {
		return fmt.Errorf("%s cannot be mended: %s", b.Name, b.What)
	}
	if err := b.Mend(ctx, n); err != nil {
		return fmt.Errorf("mend %s: %w", b.Name, err)
	}
	return nil
}

// Shows returns when the kubelet has said of the pod what is wrong: a waiting reason, or for the sandbox image an event.
func (n *Node) Shows(ctx context.Context, b Breakage) error {
	if b.Kind == "sandbox" {
		_, err := n.WaitEvent(ctx, metav1.NamespaceDefault, b.Name, "FailedCreatePodSandBox")
		return err
	}
	_, err := n.WaitWaiting(ctx, metav1.NamespaceDefault, b.Name)
	return err
}

// BreakSandboxImage has the pause image vanish from the node and from the registry, as after a cleanup of either.
// It first waits for the pods that are about to start, which would fail with it.
func (n *Node) BreakSandboxImage(ctx context.Context) error {
	for end := time.Now().Add(2 * time.Minute); ; {
		pods, err := n.Pods(ctx)
		if err != nil {
			return err
		}
		have, err := n.podsWithSandbox(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(pods, func(p corev1.Pod) bool { return !have[string(p.UID)] }) {
			break
		}
		if time.Now().After(end) {
			return errors.New("not every pod has got a sandbox within 2 minutes")
		}
		if err := Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	repo, tag, _ := strings.Cut(pauseTag, ":")
	if n.Registry().Tagged(repo, tag) {
		if err := n.Registry().Untag(repo, tag); err != nil {
			return err
		}
	}
	return n.RemoveImage(ctx, n.SandboxImage())
}

// MendSandboxImage brings the pause image back to the registry.
func (n *Node) MendSandboxImage(ctx context.Context) error {
	return n.Registry().PushTag(ctx, pauseTag)
}

// removeHosts forgets how to ask for a registry.
func (n *Node) removeHosts(host string) error {
	return os.RemoveAll(filepath.Join(n.Dir, "certs.d", host))
}

// Text is one thing that the kubelet said about a pod's image.
type Text struct {
	Pod     string
	Reason  string // waiting reason, or event/REASON
	Message string
	Image   string
}

// Texts are the waiting messages and warning events of this node's pods as they stand now.
func (n *Node) Texts(ctx context.Context) ([]Text, error) {
	pods, err := n.Pods(ctx)
	if err != nil {
		return nil, err
	}
	var texts []Text
	image := map[string]string{}
	for _, p := range pods {
		for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
			image[p.Name+"/"+c.Name] = c.Image
		}
		for _, c := range p.Spec.EphemeralContainers {
			image[p.Name+"/"+c.Name] = c.Image
		}
		for _, s := range Statuses(&p) {
			if w := s.State.Waiting; w != nil && w.Message != "" {
				texts = append(texts, Text{p.Name, w.Reason, w.Message, image[p.Name+"/"+s.Name]})
			}
		}
	}
	events, err := n.Client().CoreV1().Events("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, e := range events.Items {
		if e.InvolvedObject.Kind != "Pod" || e.Type != corev1.EventTypeWarning {
			continue
		}
		_, container, _ := strings.Cut(strings.TrimSuffix(e.InvolvedObject.FieldPath, "}"), "{")
		texts = append(texts, Text{e.InvolvedObject.Name, "event/" + e.Reason, e.Message, image[e.InvolvedObject.Name+"/"+container]})
	}
	return texts, nil
}
