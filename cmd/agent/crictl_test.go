package main

import (
	"slices"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/pkg/cri/critest"
)

func TestAgo(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Unix(1_800_000_000, 0)
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Hour, "Less than a second ago"},
		{999 * time.Millisecond, "Less than a second ago"},
		{1999 * time.Millisecond, "1 second ago"},
		{2 * time.Second, "2 seconds ago"},
		{time.Minute - 1, "59 seconds ago"},
		{time.Minute, "About a minute ago"},
		{2*time.Minute - 1, "About a minute ago"},
		{3*time.Minute + 59*time.Second, "3 minutes ago"},
		{time.Hour - 1, "59 minutes ago"},
		{time.Hour, "About an hour ago"},
		{90*time.Minute - 1, "About an hour ago"},
		{90 * time.Minute, "2 hours ago"},
		{47*time.Hour + 29*time.Minute, "47 hours ago"},
		{2 * day, "2 days ago"},
		{14*day - time.Hour, "13 days ago"},
		{14 * day, "2 weeks ago"},
		{60*day - time.Hour, "8 weeks ago"},
		{60 * day, "2 months ago"},
		{729 * day, "24 months ago"},
		{730 * day, "2 years ago"},
	} {
		if got := ago(now.Add(-test.d).UnixNano(), now); got != test.want {
			t.Errorf("%s: %q, want %q", test.d, got, test.want)
		}
	}
}

func TestStateWord(t *testing.T) {
	for state, want := range map[runtimeapi.ContainerState]string{
		runtimeapi.ContainerState_CONTAINER_CREATED: "Created", runtimeapi.ContainerState_CONTAINER_EXITED: "Exited", 77: "Unknown",
	} {
		if got := stateWord(state, containerStates); got != want {
			t.Errorf("%v: %q, want %q", state, got, want)
		}
	}
	if got := stateWord(runtimeapi.PodSandboxState_SANDBOX_NOTREADY, podStates); got != "NotReady" {
		t.Error(got)
	}
}

func TestUsers(t *testing.T) {
	container := func(namespace, pod string) *runtimeapi.Container {
		return &runtimeapi.Container{ImageRef: "sha256:aa", Labels: map[string]string{cri.LabelPodNamespace: namespace, cri.LabelPodName: pod}}
	}
	image := &runtimeapi.Image{Id: "sha256:aa", Pinned: true}
	users := func(containers ...*runtimeapi.Container) string {
		return usedBy(image, cri.IndexImages([]*runtimeapi.Image{image}).Users(containers)[image.GetId()])
	}
	for want, got := range map[string]string{
		"pinned":          users(),
		"b/1":             users(container("b", "1"), container("b", "1")),
		"a/2 +1":          users(container("b", "1"), container("a", "2"), container("b", "1")),
		"unknown/unknown": users(&runtimeapi.Container{ImageRef: "sha256:aa"}),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := usedBy(&runtimeapi.Image{}, nil); got != "" {
		t.Error(got)
	}
}

// TestImageConfigs: one image that the runtime cannot tell of costs only its own cell.
func TestImageConfigs(t *testing.T) {
	r := critest.Start(t, critest.Containerd2)
	r.SetImages(critest.Image{ID: "a1", OS: "linux", Architecture: "arm", Variant: "v7"}, critest.Image{ID: "b2", OS: "linux", Architecture: "amd64"}, critest.Image{ID: "c3"})
	client, err := cri.Dial(cri.Config{Runtime: r.Endpoint()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	configs, err := imageConfigs(t.Context(), client, []*runtimeapi.Image{{Id: "sha256:a1"}, {Id: ""}, {Id: "sha256:b2"}, {Id: "sha256:c3"}, {Id: "sha256:gone"}})
	var got []string
	for _, c := range configs {
		got = append(got, c.Platform())
	}
	if want := []string{"linux/arm/v7", "", "linux/amd64", "", ""}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if err == nil {
		t.Error("no error for the image without a name")
	}
}
