package pulls_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/internal/kube"
)

// TestRetryAfterCreating: a kubelet that was restarted forgets what it said (ContainerCreating) and fails anew with the same text: that
// is another attempt.
func TestRetryAfterCreating(t *testing.T) {
	s := following()
	s.tracker.Observe(app("ErrImagePull", notFound))
	s.at(5 * time.Second).tracker.Observe(app("ContainerCreating", ""))
	s.at(6 * time.Second).tracker.Observe(app("ErrImagePull", notFound))
	s.wantTold(t, "began web/app not_found", "retried web/app not_found")
}

// TestTwoOfOneImageShareTheRetry: an attempt of one container is the other's too: the kubelet's back-off is per pod and image.
func TestTwoOfOneImageShareTheRetry(t *testing.T) {
	s := following()
	s.tracker.Observe(pod("web", waits("a", image, "ErrImagePull", notFound), waits("b", image, "ImagePullBackOff", bare)))
	s.at(time.Second).tracker.Observe(pod("web", waits("a", image, "ImagePullBackOff", bare), waits("b", image, "ImagePullBackOff", bare)))
	s.at(12 * time.Second).tracker.Observe(pod("web", waits("a", image, "ErrImagePull", notFound), waits("b", image, "ImagePullBackOff", bare)))
	s.wantFailing(t,
		"web/a container not_found since 0s(observed) tried 2(observed) next 32s(observed)",
		"web/b container unknown since 0s(observed) tried 2(observed) next 32s(observed)")
}

// TestVolumeNamedLikeTheImage: the reference of a volume may be the beginning of the image's.
func TestVolumeNamedLikeTheImage(t *testing.T) {
	c := waits("app", image, "ErrImagePull", notFound)
	c.Volumes = []string{"registry.example/shop/we"}
	s := following()
	s.tracker.Observe(pod("web", c))
	if f := s.only(t); f.Kind != kube.KindContainer || f.Image != image {
		t.Errorf("failing is the %s %s, want the container's own image", f.Kind, f.Image)
	}
	// And the other way round: the image's the beginning of the volume's.
	const volume = image + "0"
	c = waits("app", image, "ErrImagePull", strings.ReplaceAll(notFound, image, volume))
	c.Volumes = []string{volume}
	s = following()
	s.tracker.Observe(pod("web", c))
	if f := s.only(t); f.Kind != kube.KindVolume || f.Image != volume {
		t.Errorf("failing is the %s %s, want the volume's", f.Kind, f.Image)
	}
	// And of two volumes.
	const longer = "registry.example/models/big:70"
	c = waits("app", image, "ErrImagePull", strings.ReplaceAll(notFound, image, longer))
	c.Volumes = []string{"registry.example/models/big:7", longer}
	s = following()
	s.tracker.Observe(pod("web", c))
	if f := s.only(t); f.Kind != kube.KindVolume || f.Image != longer {
		t.Errorf("failing is the %s %s, want the longer volume's", f.Kind, f.Image)
	}
}

// TestLearnOnlyOfTheImage: events of an image whose name begins alike, which the container had before it was edited, say nothing of this.
func TestLearnOnlyOfTheImage(t *testing.T) {
	s := following()
	s.tracker.Observe(app("ImagePullBackOff", bare))
	s.tracker.Answer(uid("web"), []kube.Event{failed(image+"0", notFound, 4, -time.Minute, 0)})
	s.wantTold(t, "began web/app unknown")
	s.wantFailing(t, "web/app container unknown since 0s(observed) tried ? next ?")
}

// TestSandboxEndsByProgress: kubelets up to 1.28 have no condition that tells of the sandbox. A container whose own image is pulled proves it.
func TestSandboxEndsByProgress(t *testing.T) {
	s := following()
	s.tracker.Observe(unsandboxed("web"))
	s.at(30*time.Second).tracker.Answer(uid("web"), []kube.Event{podEvent("FailedCreatePodSandBox", pauseText, 3, 2*time.Second, 28*time.Second)})
	s.wantTold(t, "began web/ not_found")
	p := unsandboxed("web")
	p.Containers[0].Reason, p.Containers[0].Message = "ErrImagePull", noHost
	s.at(50 * time.Second).tracker.Observe(p)
	s.wantTold(t, "ended web/ not_found", "began web/app dns")
}

// TestSandboxSinceMade: on such a kubelet a pod that pulls a large image looks stuck. The event Pulling, later than the failed sandbox,
// says that there is one by now.
func TestSandboxSinceMade(t *testing.T) {
	pause := podEvent("FailedCreatePodSandBox", pauseText, 1, 2*time.Second, 2*time.Second)
	pulling := podEvent("Pulling", `Pulling image "registry.example/shop/web:1"`, 1, 15*time.Second, 15*time.Second)
	pulling.FieldPath = "spec.containers{app}"
	s := following()
	s.tracker.Observe(unsandboxed("web"))
	s.at(30*time.Second).tracker.Answer(uid("web"), []kube.Event{pause, pulling})
	s.wantTold(t)
	s.wantFailing(t)
}

// TestBackOffStartsAnew: the kubelet forgets a back-off 10 min after its last failure, and a later failure is another life with attempts
// of its own.
func TestBackOffStartsAnew(t *testing.T) {
	s := following()
	s.tracker.Observe(app("ErrImagePull", notFound))
	s.at(time.Second).tracker.Observe(app("ImagePullBackOff", bare))
	s.at(12 * time.Second).tracker.Observe(app("ErrImagePull", notFound))
	s.at(time.Minute).tracker.Observe(pod("web", is("app", image, kube.Running)))
	s.at(time.Hour).tracker.Observe(app("ErrImagePull", noHost))
	s.wantFailing(t, "web/app container dns since 1h0m0s(observed) tried 1(observed) next 1h0m10s(observed)")
}

// TestBackOffByReason: whether the kubelet backs off is told by the reason that it gives, not by the cause (pkg/kubelet/images,
// EnsureImageExists: all but the pull itself fails before the back-off is looked at).
func TestBackOffByReason(t *testing.T) {
	for name, tc := range map[string]struct {
		container kube.Container
		want      string
	}{
		"CRI-O refuses a short name after it was asked to pull it": {
			waits("app", "web", "ErrImagePull", `short-name "web:latest" did not resolve to an alias and no unqualified-search registries are defined in "/etc/containers/registries.conf"`),
			"web/app container invalid_reference since 0s(observed) tried 1(observed) next 10s(observed)"},
		"the image could not be looked at": {
			waits("app", image, "ImageInspectError", `Failed to inspect image "": rpc error: code = DeadlineExceeded desc = context deadline exceeded`),
			"web/app container timeout since 0s(observed) tried ? next ?"},
		"free text": {
			waits("app", image, "failed to record image pull intent: write /var/lib/kubelet/image_manager/pulling/x: no space left on device", ""),
			"web/app container disk_full since 0s(observed) tried ? next ?"},
	} {
		t.Run(name, func(t *testing.T) {
			s := following()
			s.tracker.Observe(pod("web", tc.container))
			s.wantFailing(t, tc.want)
		})
	}
}

// TestEditedImageStaysStale: until the kubelet writes, the old image's text stands under the new image's name, whatever else of the pod
// changes in the meantime.
func TestEditedImageStaysStale(t *testing.T) {
	const newer = "registry.example/shop/web:2"
	s := following()
	s.tracker.Observe(app("ErrImagePull", notFound))
	edited := pod("web", waits("app", newer, "ErrImagePull", notFound))
	s.at(5 * time.Second).tracker.Observe(edited)
	s.at(6 * time.Second).tracker.Observe(edited)
	s.at(7 * time.Second).tracker.Replace([]kube.Pod{edited})
	s.wantTold(t, "began web/app not_found", "ended web/app not_found")
	s.wantFailing(t)
}
