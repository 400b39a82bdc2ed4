package agent_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/internal/disk"
	"github.com/pullwatch/pullwatch/internal/kube/kubetest"
	"github.com/pullwatch/pullwatch/pkg/cri/critest"
)

// onDisk keeps the fake runtime's images in a directory of the test's own, and gives the kubelet a configuration.
func (w *world) onDisk(config string) func(*agent.Config) {
	dir := w.TempDir()
	w.runtime.SetImageFs(&runtimeapi.ImageFsInfoResponse{ImageFilesystems: []*runtimeapi.FilesystemUsage{{FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: dir}}}})
	file := filepath.Join(dir, "kubelet.yaml")
	if config != "" {
		w.must(os.WriteFile(file, []byte("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"+config), 0o600))
	}
	return func(c *agent.Config) {
		c.Disk = agent.DiskConfig{NodeDir: dir, KubeletFile: file, Window: time.Hour}
	}
}

func (w *world) disk() *disk.Report { return w.fetch().Disk.Value }

func TestDiskIsSeen(t *testing.T) {
	w := newWorld(t)
	w.run(w.onDisk("evictionHard: {nodefs.available: 99.99%}\nimageMinimumGCAge: 1ms\n"))
	w.until("the images are counted", func() bool { return w.disk() != nil && w.disk().GC != nil && w.disk().GC.Candidates > 0 })
	r := w.disk()
	if len(r.Filesystems) != 1 || len(r.Filesystems[0].Roles) != 3 || r.Layout != disk.LayoutSingle || r.Settings.Assumed || !strings.HasSuffix(r.Settings.Source, "kubelet.yaml") {
		t.Errorf("%+v", r)
	}
	if th := r.Filesystems[0].Thresholds; len(th) != 2 || th[1].Signal != disk.NodeFSAvailable || !th[1].Met { // that of the containerfs is its copy
		t.Errorf("%+v", th)
	}
	w.until("it is in the metrics", func() bool {
		_, page := w.get("/metrics")
		return strings.Contains(page, `pullwatch_eviction_threshold_bytes{kind="hard",signal="nodefs.available"}`) &&
			strings.Contains(page, `pullwatch_filesystem_available_bytes{filesystem="imagefs"}`) &&
			strings.Contains(page, `pullwatch_kubelet_settings_info{source="file"} 1`) && !strings.Contains(page, "containerfs.available")
	})
	// What conditions are judged by is the same.
	d := w.agent.Observation().Disk
	if d == nil || len(d.Evictions) != 1 || d.Evictions[0].Available >= d.Evictions[0].At || !d.Evictions[0].Images || d.Window != time.Hour || d.GC == nil || d.GC.HighPercent != 85 {
		t.Errorf("%+v", d)
	}
}

// TestSizesOfARuntime: what it says that its snapshots use is no small number where it is no number.
func TestSizesOfARuntime(t *testing.T) {
	w := newWorld(t)
	seen := w.onDisk("evictionHard: {nodefs.available: 1%}\n")
	var all []*runtimeapi.FilesystemUsage
	for range 3 {
		all = append(all, &runtimeapi.FilesystemUsage{FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: w.TempDir()}, UsedBytes: &runtimeapi.UInt64Value{Value: math.MaxUint64}})
	}
	w.runtime.SetImageFs(&runtimeapi.ImageFsInfoResponse{ImageFilesystems: all})
	w.run(seen)
	w.until("the disk is seen", func() bool { return w.disk() != nil && len(w.disk().Filesystems) > 0 })
	if n := w.disk().SnapshotBytes; n != math.MaxInt64 {
		t.Errorf("%d bytes", n)
	}
}

// TestAssumedThresholds: nothing follows from a guess.
func TestAssumedThresholds(t *testing.T) {
	w := newWorld(t)
	w.run(w.onDisk(""))
	w.until("the disk is seen", func() bool { return w.disk() != nil && len(w.disk().Filesystems) > 0 })
	if r := w.disk(); !r.Settings.Assumed || len(r.Settings.Failed) == 0 {
		t.Errorf("%+v", r.Settings)
	}
	if d := w.agent.Observation().Disk; d != nil {
		t.Errorf("conditions are judged by %+v", d)
	}
	w.until("the metrics say so", func() bool { return w.metric(`pullwatch_kubelet_settings_info{source="assumed"} 1`) })
}

// TestUnseenDisk costs only what depends on it.
func TestUnseenDisk(t *testing.T) {
	w := newWorld(t)
	seen := w.onDisk("evictionHard: {nodefs.available: 1%}\n")
	w.runtime.SetImageFs(&runtimeapi.ImageFsInfoResponse{ImageFilesystems: []*runtimeapi.FilesystemUsage{{FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: "/nowhere/containerd"}}}})
	w.run(seen)
	w.until("the check cannot tell", func() bool { return w.metric(`pullwatch_check_success{check="disk"} 0`) })
	w.until("ready all the same", w.ready)
	if r := w.disk(); len(r.Unseen) != 2 || r.Unseen[0].Do == "" || len(r.Filesystems) != 1 || r.GC != nil {
		t.Errorf("%+v", r)
	}
	if d := w.agent.Observation().Disk; d != nil {
		t.Errorf("conditions are judged by %+v", d)
	}
}

// TestWrongPlatform: an image for another platform is found while it is only on the disk, and the pods that use it are named.
func TestWrongPlatform(t *testing.T) {
	w := newWorld(t)
	foreign := "s390x"
	image := critest.Image{ID: strings.Repeat("a", 64), Tags: []string{"r.example/app:1"}, OS: "linux", Architecture: foreign}
	w.runtime.SetImages(image, critest.Image{ID: strings.Repeat("b", 64), Tags: []string{"r.example/fine:1"}, OS: "linux", Architecture: "amd64"},
		critest.Image{ID: strings.Repeat("c", 64), Tags: []string{"r.example/untold:1"}})
	w.run(w.onDisk("")) // the Node of the fake is amd64, whatever runs this test
	w.until("it is found", func() bool {
		wrong := w.fetch().Images.Value.WrongPlatform
		return len(wrong) == 1 && wrong[0].Name == "r.example/app:1" && wrong[0].Platform == "linux/"+foreign && wrong[0].Pods == nil
	})
	w.until("it is counted as unused", func() bool { return w.metric(`pullwatch_images_wrong_platform{used="false"} 1`) })
	w.runtime.AddContainer(critest.Container{Namespace: "shop", Pod: "web-0", Name: "app", Image: "r.example/app:1", Created: time.Now()})
	w.until("its pod is named", func() bool {
		wrong := w.fetch().Images.Value.WrongPlatform
		return len(wrong) == 1 && len(wrong[0].Pods) == 1 && wrong[0].Pods[0] == "shop/web-0"
	})
	w.until("it is counted as used", func() bool { return w.metric(`pullwatch_images_wrong_platform{used="true"} 1`) })
	w.until("each was asked for", func() bool { return w.runtime.Calls("ImageStatus") >= 3 })
	asked := w.runtime.Calls("ImageStatus")
	w.until("more rounds", func() bool { return w.runtime.Calls("ListImages") > 20 })
	if now := w.runtime.Calls("ImageStatus"); now != asked || asked > 4 {
		t.Errorf("each image is to be asked for once: %d questions, then %d", asked, now)
	}
}

// TestImageVolumeIsInUse: garbage collection leaves what a pod mounts.
func TestImageVolumeIsInUse(t *testing.T) {
	w := newWorld(t)
	w.runtime.SetImages(critest.Image{ID: strings.Repeat("a", 64), Tags: []string{"docker.io/library/data:1"}, Size: 1000})
	w.run(w.onDisk("imageMinimumGCAge: 1ms\n"))
	candidates := func(n int) func() bool {
		return func() bool { return w.disk() != nil && w.disk().GC != nil && w.disk().GC.Candidates == n }
	}
	w.until("it may be deleted", candidates(1))
	pod := kubetest.NewPod(node, "shop", "web", "app", "r.example/app:1")
	pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "data:1"}}}}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data"}}
	w.api.SetPod(pod)
	w.until("it may not", candidates(0))
	w.api.DeletePod("shop", "web")
	w.until("it may again", candidates(1))
}

// TestKubeletSays: its own words on failed collections stand beside ours; the API server is asked for them once in a while, not in each pass.
func TestKubeletSays(t *testing.T) {
	w := newWorld(t)
	w.api.AddEvent(&corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "gc"}, Reason: "FreeDiskSpaceFailed", Type: "Warning", Count: 3, LastTimestamp: metav1.Now(),
		InvolvedObject: corev1.ObjectReference{Kind: "Node", Name: node, UID: node},
		Message:        "Failed to garbage collect required amount of images. Attempted to free 1000 bytes, but only found 20 bytes eligible to free.",
	})
	w.api.AddEvent(&corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "listing"}, Reason: "ImageGCFailed", Type: "Warning", Count: 1, LastTimestamp: metav1.NewTime(time.Now().Add(time.Minute)),
		InvolvedObject: corev1.ObjectReference{Kind: "Node", Name: node, UID: node},
		Message:        "rpc error: code = Unavailable desc = list images",
	})
	w.run(w.onDisk("imageGCHighThresholdPercent: 1\nimageGCLowThresholdPercent: 0\n"))
	w.until("its event is told", func() bool { r := w.disk(); return r != nil && r.Kubelet != nil && r.Kubelet.GCFailed != nil })
	if k := w.disk().Kubelet; k.DiskPressure != "False" || k.Reason != "KubeletHasNoDiskPressure" || k.GCFailed.WantedBytes != 1000 || k.GCFailed.FreedBytes != 20 || k.GCFailed.Count != 3 {
		t.Errorf("%+v %+v", k, k.GCFailed)
	}
	asked := w.runtime.Calls("ImageFsInfo")
	w.until("more passes", func() bool { return w.runtime.Calls("ImageFsInfo") > asked+5 })
	if n := w.api.Count("list", "events"); n != len(disk.GCFailureReasons) {
		t.Errorf("the API server was asked for events %d times", n)
	}
}

// TestImagesThatCannotBeDeleted: that deleting them fails, the kubelet tells by another event than that it finds too few.
func TestImagesThatCannotBeDeleted(t *testing.T) {
	w := newWorld(t)
	w.api.AddEvent(&corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "gc"}, Reason: "ImageGCFailed", Type: "Warning", Count: 3, LastTimestamp: metav1.Now(),
		InvolvedObject: corev1.ObjectReference{Kind: "Node", Name: node, UID: node},
		Message:        "wanted to free 1000 bytes, but freed 20 bytes space with errors in image deletion: [rpc error: code = Unknown desc = locked]",
	})
	w.run(w.onDisk("imageGCHighThresholdPercent: 1\nimageGCLowThresholdPercent: 0\n"))
	w.until("its event is told", func() bool { r := w.disk(); return r != nil && r.Kubelet != nil && r.Kubelet.GCFailed != nil })
	if f := w.disk().Kubelet.GCFailed; f.WantedBytes != 1000 || f.FreedBytes != 20 || f.Count != 3 || !strings.Contains(f.Message, "locked") {
		t.Errorf("%+v", f)
	}
}

// TestWrongPlatformOnCRIO: of an index CRI-O would not choose it, but an image that is nothing else was pulled, and runs.
func TestWrongPlatformOnCRIO(t *testing.T) {
	w := newWorld(t)
	w.runtime = critest.Start(t, critest.CRIO)
	image := func(id, architecture string) critest.Image {
		return critest.Image{ID: strings.Repeat(id, 64), Tags: []string{"r.example/" + architecture + ":1"}, OS: "linux", Architecture: architecture}
	}
	w.runtime.SetImages(image("a", "386"), image("b", "s390x"), image("c", "amd64"))
	w.run(w.onDisk(""))
	w.until("the foreign one is found", func() bool {
		return len(w.fetch().Images.Value.WrongPlatform) > 0 && w.runtime.Calls("ImageStatus") >= 3
	})
	w.until("it alone, when all were asked for", func() bool {
		wrong := w.fetch().Images.Value.WrongPlatform
		return len(wrong) == 1 && wrong[0].Platform == "linux/s390x"
	})
	asked := w.runtime.Calls("ListImages")
	w.until("more rounds", func() bool { return w.runtime.Calls("ListImages") > asked+3 })
	if s := w.fetch(); len(s.Images.Value.WrongPlatform) != 1 || s.Platform != "linux/amd64" {
		t.Errorf("on %s: %+v", s.Platform, s.Images.Value.WrongPlatform)
	}
}
