package pulls_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/pkg/cause"
)

// TestFlips: one failure through the kubelet's flips between trying and backing off, with the cause of the last error seen.
func TestFlips(t *testing.T) {
	inside := func(text string) string { return bare + ": ErrImagePull: " + text }
	type step struct {
		at              time.Duration
		reason, message string
		told            []string
		failing         string
	}
	for name, steps := range map[string][]step{
		"bare back-off, kubelet up to 1.31": {
			{0, "ErrImagePull", notFound, []string{"began web/app not_found"},
				"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)"},
			{time.Second, "ImagePullBackOff", bare, nil,
				"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)"},
			{12 * time.Second, "ErrImagePull", notFound, []string{"retried web/app not_found"},
				"web/app container not_found since 0s(observed) tried 2(observed) next 32s(observed)"},
			{13 * time.Second, "ImagePullBackOff", bare, nil,
				"web/app container not_found since 0s(observed) tried 2(observed) next 32s(observed)"},
		},
		"last error inside, kubelet from 1.32": {
			{0, "ErrImagePull", notFound, []string{"began web/app not_found"},
				"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)"},
			{time.Second, "ImagePullBackOff", inside(notFound), nil,
				"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)"},
			{12 * time.Second, "ErrImagePull", notFound, []string{"retried web/app not_found"},
				"web/app container not_found since 0s(observed) tried 2(observed) next 32s(observed)"},
		},
		"another cause at a retry": {
			{0, "ErrImagePull", notFound, []string{"began web/app not_found"},
				"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)"},
			{time.Second, "ImagePullBackOff", bare, nil,
				"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)"},
			{12 * time.Second, "ErrImagePull", noHost, []string{"renamed web/app dns was not_found", "retried web/app dns"},
				"web/app container dns since 0s(observed) tried 2(observed) next 32s(observed)"},
			{13 * time.Second, "ImagePullBackOff", bare, nil,
				"web/app container dns since 0s(observed) tried 2(observed) next 32s(observed)"},
		},
		"another error without a back-off between": {
			{0, "ErrImagePull", notFound, []string{"began web/app not_found"},
				"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)"},
			{12 * time.Second, "ErrImagePull", noHost, []string{"renamed web/app dns was not_found", "retried web/app dns"},
				"web/app container dns since 0s(observed) tried 2(observed) next 32s(observed)"},
		},
		"the back-off tells of a retry that was not seen": {
			{0, "ErrImagePull", notFound, []string{"began web/app not_found"},
				"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)"},
			{30 * time.Second, "ImagePullBackOff", inside(noHost), []string{"renamed web/app dns was not_found"},
				"web/app container dns since 0s(observed) tried 1(observed) next 10s(observed)"},
		},
		"a back-off seen first names no cause": {
			{0, "ImagePullBackOff", bare, []string{"began web/app unknown"},
				"web/app container unknown since 0s(observed) tried ? next ?"},
			{5 * time.Second, "ErrImagePull", notFound, []string{"renamed web/app not_found was unknown", "retried web/app not_found"},
				"web/app container not_found since 0s(observed) tried 1(estimated) next 15s(estimated)"},
		},
		"a back-off seen first with the error inside": {
			{0, "ImagePullBackOff", inside(notFound), []string{"began web/app not_found"},
				"web/app container not_found since 0s(observed) tried ? next ?"},
		},
		"the same status again is no change": {
			{0, "ErrImagePull", notFound, []string{"began web/app not_found"},
				"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)"},
			{5 * time.Second, "ErrImagePull", notFound, nil,
				"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)"},
		},
		"a retry that shows ContainerCreating does not end it": {
			{0, "ErrImagePull", notFound, []string{"began web/app not_found"},
				"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)"},
			{time.Second, "ImagePullBackOff", bare, nil,
				"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)"},
			{12 * time.Second, "ContainerCreating", "", nil,
				"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)"},
			{14 * time.Second, "PodInitializing", "", nil,
				"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)"},
			{15 * time.Second, "ErrImagePull", notFound, []string{"retried web/app not_found"},
				"web/app container not_found since 0s(observed) tried 2(observed) next 35s(observed)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := following()
			for _, step := range steps {
				s.at(step.at).tracker.Observe(app(step.reason, step.message))
				s.wantTold(t, step.told...)
				s.wantFailing(t, step.failing)
				if f := s.only(t); step.reason != "ContainerCreating" && step.reason != "PodInitializing" && f.Reason != step.reason {
					t.Errorf("reason %q at +%s, want the latest, %q", f.Reason, step.at, step.reason)
				}
			}
		})
	}
}

// TestFailureFields: what a person reads of a failure.
func TestFailureFields(t *testing.T) {
	s := following()
	s.tracker.Observe(app("ErrImagePull", notFound))
	got, err := json.Marshal(s.only(t))
	if err != nil {
		t.Fatal(err)
	}
	message, _ := json.Marshal(notFound)
	advice, _ := json.Marshal(cause.NotFound.Advice())
	want := `{"namespace":"shop","pod":"web","container":"app","kind":"container","image":"registry.example/shop/web:1",` +
		`"registry":"registry.example","reason":"ErrImagePull","message":` + string(message) + `,"cause":"not_found","basis":"text",` +
		`"scope":"workload","since":"2026-11-03T12:00:00Z","sinceFrom":"observed","attempts":1,"attemptsFrom":"observed",` +
		`"nextTry":"2026-11-03T12:00:10Z","nextTryFrom":"observed","advice":` + string(advice) + `,"podUID":"uid-web"}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}

// TestBackOff: the kubelet waits 10 s after the first failed attempt, twice as long after each, at most 5 min.
func TestBackOff(t *testing.T) {
	s := following()
	var at time.Duration
	for i, wait := range []time.Duration{10, 20, 40, 80, 160, 300, 300, 300} {
		s.at(at).tracker.Observe(app("ErrImagePull", notFound))
		f := s.only(t)
		if f.Attempts != i+1 || !f.NextTry.Equal(s.now.Add(wait*time.Second)) || f.NextTryFrom != pulls.Observed {
			t.Errorf("attempt %d: attempts %d, next try after %s (%s), want %s", i+1, f.Attempts, f.NextTry.Sub(s.now), f.NextTryFrom, wait*time.Second)
		}
		s.at(at + time.Second).tracker.Observe(app("ImagePullBackOff", bare))
		at += wait*time.Second + 3*time.Second
	}
}

// TestEnds: what ends a failure, and what does not.
func TestEnds(t *testing.T) {
	finished := app("ErrImagePull", notFound)
	finished.Finished = true
	for name, tc := range map[string]struct {
		do   func(*pulls.Tracker)
		ends bool
	}{
		"running":                  {func(t *pulls.Tracker) { t.Observe(pod("web", is("app", image, kube.Running))) }, true},
		"terminated":               {func(t *pulls.Tracker) { t.Observe(pod("web", is("app", image, kube.Terminated))) }, true},
		"pod gone":                 {func(t *pulls.Tracker) { t.Forget(uid("web")) }, true},
		"pod not in the next list": {func(t *pulls.Tracker) { t.Replace([]kube.Pod{pod("other")}) }, true},
		"pod finished":             {func(t *pulls.Tracker) { t.Observe(finished) }, true},
		"container gone":           {func(t *pulls.Tracker) { t.Observe(pod("web")) }, true},
		"CrashLoopBackOff": {func(t *pulls.Tracker) {
			t.Observe(app("CrashLoopBackOff", "back-off 10s restarting failed container=app"))
		}, true},
		"CreateContainerConfigError": {func(t *pulls.Tracker) { t.Observe(app("CreateContainerConfigError", `configmap "settings" not found`)) }, true},
		"CreateContainerError": {func(t *pulls.Tracker) {
			t.Observe(app("CreateContainerError", `exec: "nosuch": executable file not found`))
		}, true},
		"another image": {func(t *pulls.Tracker) {
			t.Observe(pod("web", waits("app", "registry.example/shop/web:2", "ContainerCreating", "")))
		}, true},
		"ContainerCreating":          {func(t *pulls.Tracker) { t.Observe(app("ContainerCreating", "")) }, false},
		"PodInitializing":            {func(t *pulls.Tracker) { t.Observe(app("PodInitializing", "")) }, false},
		"a status with no reason":    {func(t *pulls.Tracker) { t.Observe(app("", "")) }, false},
		"a status lost for a moment": {func(t *pulls.Tracker) { t.Observe(pod("web", is("app", image, kube.Unreported))) }, false},
		"the same list":              {func(t *pulls.Tracker) { t.Replace([]kube.Pod{app("ErrImagePull", notFound)}) }, false},
		"another pod gone":           {func(t *pulls.Tracker) { t.Forget(uid("other")) }, false},
		"another container of it ready": {func(t *pulls.Tracker) {
			t.Observe(pod("web", waits("app", image, "ErrImagePull", notFound), is("side", "x", kube.Running)))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := following()
			s.tracker.Observe(app("ErrImagePull", notFound))
			s.wantTold(t, "began web/app not_found")
			tc.do(s.at(time.Minute).tracker)
			if tc.ends {
				s.wantTold(t, "ended web/app not_found")
				s.wantFailing(t)
			} else {
				s.wantTold(t)
				s.only(t)
			}
		})
	}
}

// TestFresh: only what this agent saw change into failure counts.
func TestFresh(t *testing.T) {
	failing := app("ErrImagePull", notFound)
	other := pod("other", waits("app", image, "ErrImagePull", noHost))

	s := newScript()
	s.tracker.Replace([]kube.Pod{failing})
	s.wantTold(t, "began web/app not_found (found)")
	s.wantFailing(t, "web/app container not_found since -1m0s(estimated) tried 1(estimated) next ?")

	s.at(time.Minute).tracker.Replace([]kube.Pod{failing})
	s.wantTold(t) // a relist of what is known

	s.at(2 * time.Minute).tracker.Replace([]kube.Pod{failing, other})
	s.wantTold(t, "began other/app dns")
	s.wantFailing(t,
		"other/app container dns since 2m0s(observed) tried 1(observed) next 2m10s(observed)",
		"web/app container not_found since -1m0s(estimated) tried 1(estimated) next ?")

	// What was found failing is retried in sight: the count stays a guess, the time is not known better than that.
	s.at(3 * time.Minute).tracker.Observe(app("ImagePullBackOff", bare))
	s.at(4 * time.Minute).tracker.Observe(failing)
	s.wantTold(t, "retried web/app not_found")
	if f := s.tracker.Failures()[1]; f.Attempts != 2 || f.AttemptsFrom != pulls.Estimated || f.NextTryFrom != pulls.Estimated {
		t.Errorf("after a retry: %s", show(&f))
	}

	// A container that was found well and fails later is fresh like any other.
	s = newScript()
	s.tracker.Replace([]kube.Pod{pod("web", is("app", image, kube.Running))})
	s.at(time.Hour).tracker.Observe(failing)
	s.wantTold(t, "began web/app not_found")
	s.wantFailing(t, "web/app container not_found since 1h0m0s(observed) tried 1(observed) next 1h0m10s(observed)")

	// A pod that the kubelet has not taken on says nothing of when.
	s = newScript()
	failing.Started = time.Time{}
	s.tracker.Replace([]kube.Pod{failing})
	s.wantFailing(t, "web/app container not_found since ? tried 1(estimated) next ?")
}

// TestEditedImage: a new image in the spec has not failed because the old one did.
func TestEditedImage(t *testing.T) {
	const newer = "registry.example/shop/web:2"
	s := following()
	s.tracker.Observe(app("ErrImagePull", notFound))
	s.wantTold(t, "began web/app not_found")
	s.at(5 * time.Second).tracker.Observe(pod("web", waits("app", newer, "ErrImagePull", notFound))) // the spec is new, the status is not
	s.wantTold(t, "ended web/app not_found")
	s.wantFailing(t)
	s.at(8 * time.Second).tracker.Observe(pod("web", waits("app", newer, "ErrImagePull", strings.ReplaceAll(noHost, image, newer))))
	s.wantTold(t, "began web/app dns")
	s.wantFailing(t, "web/app container dns since 8s(observed) tried 1(observed) next 18s(observed)")
	if f := s.only(t); f.Image != newer {
		t.Errorf("image %q, want %q", f.Image, newer)
	}

	// Where spec and status arrive as one, the old life ends and a new one begins.
	s = following()
	s.tracker.Observe(app("ErrImagePull", notFound))
	s.at(5 * time.Second).tracker.Observe(pod("web", waits("app", newer, "ErrImagePull", strings.ReplaceAll(noHost, image, newer))))
	s.wantTold(t, "began web/app not_found", "ended web/app not_found", "began web/app dns")
}

// TestKinds: everything of a pod that needs an image, and every reason that a kubelet gives for one that is missing.
func TestKinds(t *testing.T) {
	const volume = "registry.example/models/big:7"
	volumeText := strings.ReplaceAll(notFound, image, volume)
	kind := func(k kube.Kind, c kube.Container) kube.Container { c.Kind = k; return c }
	mounting := func(c kube.Container) kube.Container { c.Volumes = []string{volume}; return c }
	for name, tc := range map[string]struct {
		container kube.Container
		want      string // empty: no failure
		wantImage string
		registry  string
	}{
		"init": {kind(kube.KindInit, waits("app", image, "ErrImagePull", notFound)),
			"web/app init not_found since 0s(observed) tried 1(observed) next 10s(observed)", image, "registry.example"},
		"ephemeral": {kind(kube.KindEphemeral, waits("app", image, "ErrImagePull", notFound)),
			"web/app ephemeral not_found since 0s(observed) tried 1(observed) next 10s(observed)", image, "registry.example"},
		"image volume": {mounting(waits("app", "docker.io/library/busybox", "ErrImagePull", volumeText)),
			"web/app volume not_found since 0s(observed) tried 1(observed) next 10s(observed)", volume, "registry.example"},
		"image volume backing off": {mounting(waits("app", "docker.io/library/busybox", "ImagePullBackOff", `Back-off pulling image "`+volume+`"`)),
			"web/app volume unknown since 0s(observed) tried ? next ?", volume, "registry.example"},
		"own image beside an image volume": {mounting(waits("app", image, "ErrImagePull", notFound)),
			"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)", image, "registry.example"},
		"the same reference as image and volume": {mounting(waits("app", volume, "ErrImagePull", volumeText)),
			"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)", volume, "registry.example"},
		"bare name": {waits("app", "nosuch", "ErrImagePull", strings.ReplaceAll(notFound, image, "docker.io/library/nosuch:latest")),
			"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)", "nosuch", "docker.io"},
		"InvalidImageName": {waits("app", "NoSuch:::", "InvalidImageName", `Failed to apply default image tag "NoSuch:::": couldn't parse image name "NoSuch:::": invalid reference format`),
			"web/app container invalid_reference since 0s(observed) tried ? next ?", "NoSuch:::", ""},
		"ErrImageNeverPull": {waits("app", image, "ErrImageNeverPull", `Container image "registry.example/shop/web:1" is not present with pull policy of Never`),
			"web/app container not_present since 0s(observed) tried ? next ?", image, "registry.example"},
		"RegistryUnavailable": {waits("app", image, "RegistryUnavailable", "image pull failed for registry.example/shop/web:1 because the registry is unavailable: pinging container registry registry.example: Get \"https://registry.example/v2/\": dial tcp 10.0.0.1:443: connect: connection refused"),
			"web/app container connection since 0s(observed) tried 1(observed) next 10s(observed)", image, "registry.example"},
		"SignatureValidationFailed": {waits("app", image, "SignatureValidationFailed", "image pull failed for registry.example/shop/web:1 because the signature validation failed"),
			"web/app container policy_rejected since 0s(observed) tried 1(observed) next 10s(observed)", image, "registry.example"},
		"ErrImagePull with no text": {waits("app", image, "ErrImagePull", ""),
			"web/app container unknown since 0s(observed) tried 1(observed) next 10s(observed)", image, "registry.example"},
		"waits for a volume":      {waits("app", image, "ContainerCreating", ""), "", "", ""},
		"crashes":                 {waits("app", image, "CrashLoopBackOff", `back-off 5m0s restarting failed container=app pod=web`), "", "", ""},
		"an unknown other reason": {waits("app", image, "PreCreateHookError", "hook said no"), "", "", ""},
		"not yet reported":        {is("app", image, kube.Unreported), "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := following()
			s.tracker.Observe(pod("web", tc.container))
			if tc.want == "" {
				s.wantFailing(t)
				s.wantTold(t)
				return
			}
			s.wantFailing(t, tc.want)
			if f := s.only(t); f.Image != tc.wantImage || f.Registry != tc.registry {
				t.Errorf("image %q of registry %q, want %q of %q", f.Image, f.Registry, tc.wantImage, tc.registry)
			}
			runs := tc.container
			runs.State, runs.Reason, runs.Message = kube.Running, "", ""
			s.at(time.Second).tracker.Observe(pod("web", runs))
			s.wantFailing(t)
		})
	}
}

// TestFreeText: since 1.33 a reason may be any error's text. It is a failure where it speaks of an image.
func TestFreeText(t *testing.T) {
	s := following()
	const disk = "failed to record image pull intent: write /var/lib/kubelet/image_manager/pulling/sha256-1: no space left on device"
	s.tracker.Observe(app(disk, "Failed to record image pull intent for container image \"registry.example/shop/web:1\": no space left on device"))
	s.wantTold(t, "began web/app disk_full")
	if f := s.only(t); f.Reason != disk {
		t.Errorf("reason %q", f.Reason)
	}
	s.tracker.Observe(pod("web", is("app", image, kube.Running)))
	s.wantTold(t, "ended web/app disk_full")
}

// TestTwoOfOneImage: containers of one pod share the kubelet's back-off for an image, and yet are two failures.
func TestTwoOfOneImage(t *testing.T) {
	s := following()
	s.tracker.Observe(pod("web", waits("a", image, "ErrImagePull", notFound), waits("b", image, "ImagePullBackOff", bare)))
	s.wantTold(t, "began web/a not_found", "began web/b unknown")
	s.wantFailing(t,
		"web/a container not_found since 0s(observed) tried 1(observed) next 10s(observed)",
		"web/b container unknown since 0s(observed) tried 1(observed) next 10s(observed)")
	s.at(time.Second).tracker.Observe(pod("web", is("a", image, kube.Running), waits("b", image, "ImagePullBackOff", bare)))
	s.wantTold(t, "ended web/a not_found")
	s.only(t)
}

// TestTwoPods: the back-off is per pod; another pod's attempts are not this one's.
func TestTwoPods(t *testing.T) {
	s := following()
	s.tracker.Observe(app("ErrImagePull", notFound))
	s.at(5 * time.Second).tracker.Observe(pod("web2", waits("app", image, "ErrImagePull", notFound)))
	s.wantFailing(t,
		"web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)",
		"web2/app container not_found since 5s(observed) tried 1(observed) next 15s(observed)")
}

func TestNoFailures(t *testing.T) {
	s := newScript()
	s.tracker.Replace([]kube.Pod{pod("fine")})
	if f := s.tracker.Failures(); f == nil || len(f) != 0 {
		t.Errorf("failures %#v, want none, and not null in JSON", f)
	}
}

func TestSort(t *testing.T) {
	failures := []pulls.Failure{
		{Namespace: "b", Pod: "a"}, {Namespace: "a", Pod: "b"}, {Namespace: "a", Pod: "a", Container: "z"},
		{Namespace: "a", Pod: "a", Container: "c", Kind: kube.KindInit}, {Namespace: "a", Pod: "a", Container: "c", Kind: kube.KindContainer},
		{Namespace: "a", Pod: "a", Kind: kube.KindSandbox},
	}
	pulls.Sort(failures)
	var got []string
	for _, f := range failures {
		got = append(got, fmt.Sprintf("%s/%s/%s/%s", f.Namespace, f.Pod, f.Container, f.Kind))
	}
	want := []string{"a/a//sandbox", "a/a/c/container", "a/a/c/init", "a/a/z/", "a/b//", "b/a//"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestRegistry(t *testing.T) {
	const digest = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for image, want := range map[string]string{
		"nginx":                               "docker.io",
		"nginx:1.27":                          "docker.io",
		"library/nginx" + digest:              "docker.io",
		"docker.io/nginx":                     "docker.io",
		"index.docker.io/library/nginx":       "docker.io",
		"ghcr.io/a/b/c:1":                     "ghcr.io",
		"ghcr.io/a/b:1" + digest:              "ghcr.io",
		"10.0.0.5:5000/x":                     "10.0.0.5:5000",
		"[fd00::1]:5000/x":                    "[fd00::1]:5000",
		"localhost/x":                         "localhost",
		"localhost:5000/x:tag":                "localhost:5000",
		"registry.example:443/a":              "registry.example:443",
		"":                                    "",
		"Upper":                               "",
		"NoSuch:::":                           "",
		"a b":                                 "",
		"http://ghcr.io/a":                    "",
		"ghcr.io/a@sha256:12":                 "",
		"ghcr.io/":                            "",
		strings.Repeat("a", 300):              "",
		strings.Repeat("0123456789abcdef", 4): "", // an image ID is no reference
		"\xff\xfe":                            "",
	} {
		if got := pulls.Registry(image); got != want {
			t.Errorf("Registry(%q) = %q, want %q", image, got, want)
		}
	}
}

func TestInFull(t *testing.T) {
	const digest = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for image, want := range map[string]string{
		"nginx": "docker.io/library/nginx:latest", "nginx:1.27": "docker.io/library/nginx:1.27", "shop/web:1" + digest: "docker.io/shop/web" + digest,
		"10.0.0.5:5000/x": "10.0.0.5:5000/x:latest", "Upper": "", "": "", "a b": "",
	} {
		if got := pulls.InFull(image); got != want {
			t.Errorf("InFull(%q) = %q, want %q", image, got, want)
		}
	}
}

func TestPulledFrom(t *testing.T) {
	const digest = "@sha256:8968d79d46c91913a16a72bd56ca6ff15f3d07e13b0b64b3dc8c9d3c0f14b920"
	for name, want := range map[string]string{"ghcr.io/a/b": "ghcr.io", "localhost/a": "", "localhost:5000/a": "localhost:5000", "docker.io/library/localhost": "docker.io", "Upper": ""} {
		if got := pulls.PulledFrom(name + digest); got != want {
			t.Errorf("PulledFrom(%q) = %q, want %q", name, got, want)
		}
	}
}

// TestConcurrent: the stream observes, the asker answers and everybody reads at once. The race detector is the judge; at the end
// everything is quiet again.
func TestConcurrent(t *testing.T) {
	var mu sync.Mutex
	balance := 0
	tracker := pulls.NewTracker(time.Now, func(changes []pulls.Change) {
		mu.Lock()
		defer mu.Unlock()
		for i := range changes {
			switch changes[i].What {
			case pulls.Began:
				balance++
			case pulls.Ended:
				balance--
			}
		}
	})
	tracker.Replace(nil)
	var wg sync.WaitGroup
	for i := range 4 {
		name := fmt.Sprint("p", i)
		wg.Go(func() {
			for range 200 {
				p := pod(name, waits("app", image, "ErrImagePull", refused))
				tracker.Observe(p)
				p.Containers = []kube.Container{waits("app", image, "ImagePullBackOff", bare)}
				tracker.Observe(p)
				tracker.Forget(p.UID)
			}
		})
		wg.Go(func() {
			for range 200 {
				for _, ask := range tracker.Due() {
					tracker.Answer(ask.UID, []kube.Event{podEvent("FailedToRetrieveImagePullSecret", noSecret, 1, 0, 0)})
				}
				tracker.Answer(uid(name), []kube.Event{failed(image, refused, 3, 0, time.Minute)})
				tracker.Unanswered(uid(name))
				tracker.Failures()
			}
		})
	}
	wg.Wait()
	if failures := tracker.Failures(); len(failures) != 0 || balance != 0 {
		t.Errorf("%d failures, %d lives begun and not ended, want none", len(failures), balance)
	}
}
