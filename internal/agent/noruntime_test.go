package agent_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/internal/kube/kubetest"
	"github.com/pullwatch/pullwatch/pkg/cause"
)

// standing puts all of the agent's conditions onto the node, as an agent that was told otherwise has left them.
func (w *world) standing() {
	n := kubetest.NewNode(node)
	for _, kind := range health.Types {
		n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeConditionType(kind), Status: corev1.ConditionTrue, Reason: "OfBefore"})
	}
	w.api.SetNode(n)
}

// conditions are those of the node, in the order of the alphabet.
func (w *world) conditions() (types []string) {
	for _, c := range w.api.Node(node).Status.Conditions {
		types = append(types, string(c.Type))
	}
	slices.Sort(types)
	return types
}

// TestWithoutRuntime: an agent that was told to do without a runtime asks it nothing, waits for nothing of it, and judges by pods alone.
func TestWithoutRuntime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.standing()
	ran := func(name, imageID string) {
		p := kubetest.Running(kubetest.NewPod(node, "shop", name, "app", image))
		p.Status.ContainerStatuses[0].ImageID = imageID
		w.api.SetPod(p)
	}
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	ran("pulled", "registry.example.com/shop/cart@"+digest)
	ran("pulled-by-another", "docker-pullable://other.example.com/shop/cart@"+digest)
	ran("imported", digest)
	refused := `failed to pull and unpack image "` + image + `": failed to do request: Head "https://registry.example.com/v2/": dial tcp: lookup registry.example.com: i/o timeout`
	w.api.SetPod(kubetest.Waiting(pod(), "ErrImagePull", refused))
	w.run(w.onDisk("evictionHard: {nodefs.available: 1%}\n"), func(c *agent.Config) {
		c.NoRuntime, c.Conditions, c.MaxRegistries = true, true, 0
		c.Probing = agent.Probing{Interval: time.Minute, Most: 50, ImageInterval: time.Minute}
	})
	w.until("ready", w.ready)
	w.until("the failure", w.failing(cause.DNS))

	s := w.fetch()
	if !s.Runtime.Skipped || !s.Images.Skipped || !s.Registries.Skipped || !s.ImageProbes.Skipped || s.Runtime.Error+s.Images.Error+s.Disk.Error != "" {
		t.Errorf("snapshot %+v", s)
	}
	for _, method := range []string{"Version", "Status", "ListImages", "ListContainers", "ImageFsInfo"} {
		if n := w.runtime.Calls(method); n != 0 {
			t.Errorf("%d calls of %s to a runtime it was told to do without", n, method)
		}
	}
	if n := w.log.Count("cannot tell"); n != 0 {
		t.Errorf("%d checks cannot tell", n)
	}
	_, metrics := w.get("/metrics")
	for _, absent := range []string{"pullwatch_runtime_", "\npullwatch_images", "pullwatch_cri_calls_total", `check="runtime"`, `check="images"`, "pullwatch_image_gc_"} {
		if strings.Contains(metrics, absent) {
			t.Errorf("/metrics has %s", absent)
		}
	}
	for _, line := range []string{`pullwatch_check_success{check="disk"} 1`, `pullwatch_filesystem_info{filesystem="nodefs"`} {
		if !strings.Contains(metrics, "\n"+line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	if u := w.disk().Unseen; len(u) != 1 || u[0].Role != "imagefs" || u[0].Error != agent.ErrNoRuntime.Error() {
		t.Errorf("unseen: %+v", u)
	}

	o := w.agent.Observation()
	if o.Runtime != nil || o.Registries != nil || o.Disk != nil || o.Pulls == nil || len(o.Pulls.Failing) != 1 {
		t.Fatalf("judged by %+v", o)
	}
	if from := slices.Sorted(maps.Keys(o.Pulls.Established)); !slices.Equal(from, []string{"other.example.com", "registry.example.com"}) {
		t.Errorf("established are %q", from)
	}

	want := []string{"DiskPressure", "ImagePullFailing", "Ready"}
	w.until("what is judged no more is off the node", func() bool { return slices.Equal(w.conditions(), want) })
	w.api.SetPod(kubetest.Waiting(pod(), "ImagePullBackOff", "Back-off pulling image: "+refused))
	w.until("an established registry has its name in the metrics, though there is room for none", func() bool {
		return w.metric(`pullwatch_containers_failing{cause="dns",registry="registry.example.com",scope="network"} 1`)
	})
	if status, body := w.page(); status != http.StatusOK || !strings.Contains(body, "told to do without the container runtime") || !strings.Contains(body, "not asked") {
		t.Errorf("the page, %d:\n%s", status, body)
	}
}

// TestProbesNone: a condition that a setting puts out of work is taken off too.
func TestProbesNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.standing()
	w.run(func(c *agent.Config) { c.Conditions = true })
	want := []string{"ContainerRuntimeUnavailable", "DiskPressure", "ImageFilesystemPressure", "ImagePullFailing", "Ready"}
	w.until("what is judged no more is off the node", func() bool { return slices.Equal(w.conditions(), want) })
}
