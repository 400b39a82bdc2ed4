package kube

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func waitingFor(name, reason, message string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}
}

func running(name string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
}

// everything is a pod with one of everything.
func everything() *corev1.Pod {
	created, started := metav1.NewTime(time.Unix(1000, 0)), metav1.NewTime(time.Unix(2000, 0))
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{UID: "u", Namespace: "shop", Name: "web", CreationTimestamp: created,
			Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"a": "b"}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}},
		Spec: corev1.PodSpec{
			ImagePullSecrets: []corev1.LocalObjectReference{{Name: "regcred"}, {}, {Name: "hub"}},
			InitContainers:   []corev1.Container{{Name: "setup", Image: "init:1", Env: []corev1.EnvVar{{Name: "PASSWORD", Value: "s3cr3t"}}}, {Name: "app2", Image: "side:1"}},
			Containers: []corev1.Container{
				{Name: "app", Image: "app:1", Args: []string{"--token=s3cr3t"}, VolumeMounts: []corev1.VolumeMount{{Name: "model"}, {Name: "data"}, {Name: "empty"}}},
				{Name: "app2", Image: "app:2"},
				{Name: "new", Image: "new:1"},
			},
			EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
				Name: "debug", Image: "debug:1", VolumeMounts: []corev1.VolumeMount{{Name: "model"}}}}},
			Volumes: []corev1.Volume{
				{Name: "model", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "model:7"}}},
				{Name: "empty", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{}}},
				{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodPending, StartTime: &started,
			InitContainerStatuses:      []corev1.ContainerStatus{waitingFor("setup", "ErrImagePull", "no"), waitingFor("app2", "PodInitializing", "")},
			ContainerStatuses:          []corev1.ContainerStatus{waitingFor("app2", "InvalidImageName", "x"), waitingFor("app", "ImagePullBackOff", "later")},
			EphemeralContainerStatuses: []corev1.ContainerStatus{waitingFor("debug", "free text", "why")},
		},
	}
}

func TestReducePod(t *testing.T) {
	want := Pod{
		UID: "u", EventsUID: "u", Namespace: "shop", Name: "web", Owner: "u", Created: time.Unix(1000, 0), Started: time.Unix(2000, 0),
		PullSecrets: []string{"regcred", "hub"},
		Containers: []Container{
			{Name: "setup", Kind: KindInit, Image: "init:1", State: Waiting, Reason: "ErrImagePull", Message: "no"},
			{Name: "app2", Kind: KindInit, Image: "side:1", State: Waiting, Reason: "PodInitializing"},
			{Name: "app", Kind: KindContainer, Image: "app:1", Volumes: []string{"model:7"}, State: Waiting, Reason: "ImagePullBackOff", Message: "later"},
			{Name: "app2", Kind: KindContainer, Image: "app:2", State: Waiting, Reason: "InvalidImageName", Message: "x"},
			{Name: "new", Kind: KindContainer, Image: "new:1", State: Unreported},
			{Name: "debug", Kind: KindEphemeral, Image: "debug:1", Volumes: []string{"model:7"}, State: Waiting, Reason: "free text", Message: "why"},
		},
	}
	if diff := cmp.Diff(want, reducePod(everything())); diff != "" {
		t.Errorf("reduced (-want +got):\n%s", diff)
	}
	if got := reducePod(&corev1.Pod{}); len(got.Containers) != 0 || got.HasSandbox || got.Finished || !got.Started.IsZero() {
		t.Errorf("an empty pod: %+v", got)
	}
}

// TestPulled: an image is known by digest where it was pulled. One that was imported has an ID alone, and one that waits has none.
func TestPulled(t *testing.T) {
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for imageID, want := range map[string]string{
		"registry.example.com/shop/web@" + digest:        "registry.example.com/shop/web@" + digest,
		"docker-pullable://docker.io/shop/web@" + digest: "docker.io/shop/web@" + digest,
		digest: "",
		"":     "",
	} {
		p := everything()
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", ImageID: imageID}}
		if got := reducePod(p).Containers[2].Pulled; got != want {
			t.Errorf("%q was pulled as %q, want %q", imageID, got, want)
		}
	}
}

// TestPodStates: how far a pod is.
func TestPodStates(t *testing.T) {
	for name, tc := range map[string]struct {
		change            func(*corev1.Pod)
		sandbox, finished bool
		state             State
	}{
		"waiting": {func(*corev1.Pod) {}, false, false, Waiting},
		"running": {func(p *corev1.Pod) { p.Status.ContainerStatuses = []corev1.ContainerStatus{running("app")} }, true, false, Running},
		"terminated": {func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}}}
		}, true, false, Terminated},
		"no state at all":  {func(p *corev1.Pod) { p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app"}} }, false, false, Unreported},
		"another's status": {func(p *corev1.Pod) { p.Status.ContainerStatuses = []corev1.ContainerStatus{running("other")} }, false, false, Unreported},
		"an init container ran": {func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "setup"}}
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{running("setup")}
		}, true, false, Waiting},
		"the kubelet says that the sandbox is there": {func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: "Ready", Status: "False"}, {Type: "PodReadyToStartContainers", Status: "True"}}
		}, true, false, Waiting},
		"the kubelet says that it is not": {func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: "PodReadyToStartContainers", Status: "False"}, {Type: "PodScheduled", Status: "True"}}
		}, false, false, Waiting},
		"succeeded": {func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, false, true, Waiting},
		"failed":    {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, false, true, Waiting},
		"unknown":   {func(p *corev1.Pod) { p.Status.Phase = corev1.PodUnknown }, false, false, Waiting},
	} {
		p := aPod("web", "ContainerCreating")
		tc.change(p)
		got := reducePod(p)
		if c := got.Containers[len(got.Containers)-1]; got.HasSandbox != tc.sandbox || got.Finished != tc.finished || c.State != tc.state {
			t.Errorf("%s: sandbox %v, finished %v, state %v; want %v, %v, %v", name, got.HasSandbox, got.Finished, c.State, tc.sandbox, tc.finished, tc.state)
		}
	}
}

func TestReduceNode(t *testing.T) {
	since := metav1.NewTime(time.Unix(3000, 0))
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-1", UID: "u", Labels: map[string]string{"a": "b"}},
		Status: corev1.NodeStatus{
			NodeInfo: corev1.NodeSystemInfo{Architecture: "arm64", OperatingSystem: "linux", OSImage: "Debian", KernelVersion: "6.1",
				ContainerRuntimeVersion: "containerd://2.1.4", KubeletVersion: "v1.34.4", MachineID: "m"},
			Images:     []corev1.ContainerImage{{Names: []string{"a"}}},
			Conditions: []corev1.NodeCondition{{Type: "DiskPressure", Status: "True", Reason: "KubeletHasDiskPressure", Message: "full\xff", LastTransitionTime: since}},
		},
	}
	want := Node{Name: "node-1", UID: "u", Architecture: "arm64", OperatingSystem: "linux", OSImage: "Debian", KernelVersion: "6.1",
		ContainerRuntime: "containerd://2.1.4", KubeletVersion: "v1.34.4",
		Conditions: []Condition{{Type: "DiskPressure", Status: "True", Reason: "KubeletHasDiskPressure", Message: "full\uFFFD", Since: time.Unix(3000, 0)}}}
	if diff := cmp.Diff(want, reduceNode(n)); diff != "" {
		t.Errorf("reduced (-want +got):\n%s", diff)
	}
}

func TestReduceEvent(t *testing.T) {
	first, last := time.Unix(1000, 0), time.Unix(2000, 0)
	micro := metav1.NewMicroTime
	for name, tc := range map[string]struct {
		event corev1.Event
		want  Event
	}{
		"as kubelets write it": {
			corev1.Event{Reason: "Failed", Message: "m", Count: 4, FirstTimestamp: metav1.NewTime(first), LastTimestamp: metav1.NewTime(last),
				InvolvedObject: corev1.ObjectReference{FieldPath: "spec.containers{app}"}},
			Event{Reason: "Failed", Message: "m", FieldPath: "spec.containers{app}", Count: 4, First: first, Last: last}},
		"combined": {
			corev1.Event{Message: "(combined from similar events): Failed to pull image", Count: 1, FirstTimestamp: metav1.NewTime(first), LastTimestamp: metav1.NewTime(last)},
			Event{Message: "Failed to pull image", Count: 1, First: first, Last: last}},
		"events.k8s.io, once": {
			corev1.Event{EventTime: micro(first)},
			Event{Count: 1, First: first, Last: first}},
		"events.k8s.io, a series": {
			corev1.Event{EventTime: micro(first), Series: &corev1.EventSeries{Count: 7, LastObservedTime: micro(last)}},
			Event{Count: 7, First: first, Last: last}},
		"nothing": {corev1.Event{}, Event{Count: 1}},
	} {
		if diff := cmp.Diff(tc.want, reduceEvent(&tc.event)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestBounded(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "",
		"all well: ähm\n":                     "all well: ähm\n",
		"a\xff\xfeb":                          "a\uFFFDb",
		strings.Repeat("a", maxMessage):       strings.Repeat("a", maxMessage),
		strings.Repeat("a", maxMessage+1):     strings.Repeat("a", maxMessage) + "…",
		"a" + strings.Repeat("é", maxMessage): "a" + strings.Repeat("é", maxMessage/2-1) + "…", // not half a letter
	} {
		got := bounded(text)
		if got != want || !utf8.ValidString(got) {
			t.Errorf("bounded(%d bytes %.20q) = %d bytes %.20q, want %d", len(text), text, len(got), got, len(want))
		}
	}
	long := strings.Repeat("x", 1<<20)
	p := aPod("web", long)
	for range 1000 {
		p.Spec.ImagePullSecrets = append(p.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: long})
	}
	if names := reducePod(p).PullSecrets; len(names) != maxPullSecrets || len(names[0]) > maxMessage+3 {
		t.Errorf("%d pull secrets kept of a thousand, the first of %d bytes", len(names), len(names[0]))
	}
	p.Spec.Containers[0].Image = long
	p.Status.ContainerStatuses[0].State.Waiting.Message = long
	c := reducePod(p).Containers[0]
	if kept := len(c.Image) + len(c.Reason) + len(c.Message); kept > 3*(maxMessage+3) {
		t.Errorf("%d bytes kept of three texts of a mebibyte", kept)
	}
}

func FuzzBounded(f *testing.F) {
	f.Add("a\xff")
	f.Add(strings.Repeat("é", maxMessage))
	f.Fuzz(func(t *testing.T, text string) {
		got := bounded(text)
		if !utf8.ValidString(got) {
			t.Errorf("bounded(%q) is no UTF-8", text)
		}
		if utf8.ValidString(text) && len(text) <= maxMessage && got != text {
			t.Errorf("bounded(%q) = %q", text, got)
		}
	})
}
