package critest_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/pkg/cri/critest"
)

func start(t *testing.T, flavor critest.Flavor) (*critest.Runtime, *cri.Client) {
	t.Helper()
	r := critest.Start(t, flavor)
	c, err := cri.Dial(cri.Config{Runtime: r.Endpoint()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return r, c
}

// TestPullTexts holds the words of each flavor: CRI-O's are the recorded
// table, containerd 1.6's were heard from Debian's 1.6.20.
func TestPullTexts(t *testing.T) {
	const (
		resolve16 = `failed to pull and unpack image "REF": failed to resolve reference "REF": `
		resolve2  = `failed to pull and unpack image "REF": failed to resolve image: `
		crioBoth  = `unable to pull image or OCI artifact: pull image err: `
		noArm     = `no image found in image index for architecture "amd64", variant "", OS "linux"`
		blocked   = `registry blocked.example is blocked in /etc/containers/registries.conf or ~/.config/containers/registries.conf.d`
	)
	tests := []struct {
		flavor critest.Flavor
		ref    string
		code   codes.Code
		want   string // REF stands for ref; empty for success
	}{
		{critest.Containerd16, "127.0.0.1:5000/pause:3.9", codes.OK, ""},
		{critest.Containerd16, "127.0.0.1:5000/pause:3.1O", codes.NotFound, resolve16 + `REF: not found`},
		{critest.Containerd16, "127.0.0.1:5000/nope:1", codes.NotFound, resolve16 + `REF: not found`},
		{critest.Containerd16, "127.0.0.1:5000/pause:armindex", codes.NotFound, `failed to pull and unpack image "REF": no match for platform in manifest: not found`},
		{critest.Containerd16, "127.0.0.1:5999/a:b", codes.Unknown, resolve16 + `failed to do request: Head "http://127.0.0.1:5999/v2/a/manifests/b": dial tcp 127.0.0.1:5999: connect: connection refused`},
		{critest.Containerd16, "127.0.0.1:5000/BAD:1", codes.Unknown, `failed to parse image reference "REF": invalid reference format: repository name must be lowercase`},
		{critest.Containerd16, "127.0.0.1:5000/pause@sha256:" + strings.Repeat("0", 64), codes.NotFound, resolve16 + `REF: not found`},
		{critest.Containerd16, "", codes.Unknown, `failed to parse image reference "": invalid reference format`},
		{critest.Containerd16, "invented.example/x:1", codes.Unknown, resolve16 + `failed to do request: Head "https://invented.example/v2/x/manifests/1": dial tcp: lookup invented.example on 10.0.0.53:53: no such host`},

		{critest.Containerd2, "127.0.0.1:5000/pause:3.9", codes.OK, ""},
		{critest.Containerd2, "127.0.0.1:5000/pause:3.1O", codes.NotFound, resolve2 + `REF: not found`},
		{critest.Containerd2, "127.0.0.1:5999/a:b", codes.Unknown, resolve2 + `failed to do request: Head "https://127.0.0.1:5999/v2/a/manifests/b": dial tcp 127.0.0.1:5999: connect: connection refused`},
		{critest.Containerd2, "127.0.0.1:5000/pause:armindex", codes.NotFound, `get image config descriptor: no match for platform in manifest sha256:3b1f0a2d9c8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a: not found`},
		{critest.Containerd2, "127.0.0.1:5000/BAD:1", codes.Unknown, `failed to parse image reference "REF": invalid reference format: repository name (BAD) must be lowercase`},

		{critest.CRIO, "127.0.0.1:5000/pause:3.9", codes.OK, ""},
		{critest.CRIO, "127.0.0.1:5000/pause:armonly", codes.OK, ""},
		{critest.CRIO, "mirrored.example/pause:3.10", codes.OK, ""},
		{critest.CRIO, "127.0.0.1:5000/pause:3.1O", codes.Unknown, crioBoth + `initializing source docker://REF: reading manifest 3.1O in 127.0.0.1:5000/pause: manifest unknown; artifact err: image reference: get manifest from ref: create image source: reading manifest 3.1O in 127.0.0.1:5000/pause: manifest unknown`},
		{critest.CRIO, "127.0.0.1:5000/pause:armindex", codes.Unknown, crioBoth + `choosing an image from manifest list docker://REF: ` + noArm + `; artifact err: image reference: choose manifest instance: ` + noArm},
		{critest.CRIO, "127.0.0.1:5999/a:b", codes.Unknown, `RegistryUnavailable: unable to pull image: initializing source docker://REF: pinging container registry 127.0.0.1:5999: Get "http://127.0.0.1:5999/v2/": dial tcp 127.0.0.1:5999: connect: connection refused`},
		{critest.CRIO, "blocked.example/x:1", codes.Unknown, crioBoth + `initializing source docker://REF: ` + blocked + `; artifact err: image reference: get manifest from ref: create image source: ` + blocked},
		{critest.CRIO, "mirrored.example/nope:1", codes.Unknown, `unable to pull image: initializing source docker://REF: (Mirrors also failed: [127.0.0.1:5999/nope:1: pinging container registry 127.0.0.1:5999: Get "http://127.0.0.1:5999/v2/": dial tcp 127.0.0.1:5999: connect: connection refused]` + "\n" + `[127.0.0.1:5000/nope:1: reading manifest 1 in 127.0.0.1:5000/nope: manifest unknown]): REF: pinging container registry mirrored.example: Get "https://mirrored.example/v2/": dial tcp: lookup mirrored.example on 10.0.0.53:53: no such host`},
		{critest.CRIO, "127.0.0.1:5000/BAD:1", codes.Unknown, `cannot parse input: "REF": repository name must be lowercase`},
	}
	clients := map[critest.Flavor]*cri.Client{}
	for _, f := range critest.Flavors() {
		_, clients[f] = start(t, f)
	}
	for _, tt := range tests {
		c := clients[tt.flavor]
		_, err := c.PullImage(t.Context(), tt.ref, nil)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %s: %v", tt.flavor, tt.ref, err)
			}
			continue
		}
		wantAnswer(t, err, tt.code, strings.ReplaceAll(tt.want, "REF", tt.ref))
	}
}

func wantAnswer(t *testing.T, err error, wantCode codes.Code, want string) {
	t.Helper()
	var e *cri.Error
	if !errors.As(err, &e) {
		t.Errorf("got %v, want %q", err, want)
		return
	}
	if code, text, _ := e.Answer(); code != wantCode || text != want {
		t.Errorf("got  %v %q\nwant %v %q", code, text, wantCode, want)
	}
}

func TestRegistrySecure(t *testing.T) {
	for flavor, want := range map[critest.Flavor]string{
		critest.Containerd16: `failed to pull and unpack image "127.0.0.1:5000/pause:3.10": failed to resolve reference "127.0.0.1:5000/pause:3.10": failed to do request: Head "https://127.0.0.1:5000/v2/pause/manifests/3.10": http: server gave HTTP response to HTTPS client`,
		critest.CRIO:         `unable to pull image: initializing source docker://127.0.0.1:5000/pause:3.10: pinging container registry 127.0.0.1:5000: Get "https://127.0.0.1:5000/v2/": http: server gave HTTP response to HTTPS client`,
	} {
		r, c := start(t, flavor)
		r.SetRegistrySecure(true)
		_, err := c.PullImage(t.Context(), "127.0.0.1:5000/pause:3.10", nil)
		wantAnswer(t, err, codes.Unknown, want)
	}
}

// TestCRIOAsRecorded compares images, filesystem and configuration with the
// record.
func TestCRIOAsRecorded(t *testing.T) {
	r, c := start(t, critest.CRIO)
	ctx := t.Context()

	images, err := c.ListImages(ctx)
	if err != nil || len(images) != 2 {
		t.Fatal(images, err)
	}
	first := images[0]
	if first.GetId() != "ec6652732332b8774bca278a360682557eb0ed43dfee440086701f3dde96f328" || !first.GetPinned() || first.GetSize() != 1434674 ||
		!slices.Equal(first.GetRepoTags(), []string{"127.0.0.1:5000/pause:3.10", "mirrored.example/pause:3.10"}) ||
		!slices.Equal(first.GetRepoDigests(), []string{
			"127.0.0.1:5000/pause@sha256:8968d79d46c91913a16a72bd56ca6ff15f3d07e13b0b64b3dc8c9d3c0f14b920",
			"mirrored.example/pause@sha256:8968d79d46c91913a16a72bd56ca6ff15f3d07e13b0b64b3dc8c9d3c0f14b920",
		}) {
		t.Errorf("got %v", first)
	}
	if status, _, err := c.ImageStatus(ctx, first.GetId(), false); first.GetSpec() != nil || status.GetSpec() == nil || err != nil {
		t.Errorf("the list has a spec, or the status has none: %v, %v", status, err)
	}

	fs, err := c.ImageFsInfo(ctx)
	if err != nil || len(fs.GetImageFilesystems()) != 1 || len(fs.GetContainerFilesystems()) != 1 {
		t.Fatal(fs, err)
	}
	if u := fs.GetImageFilesystems()[0]; u.GetFsId().GetMountpoint() != "/var/lib/root/overlay-images" || u.GetUsedBytes().GetValue() != 16911 || u.GetInodesUsed().GetValue() != 11 {
		t.Errorf("got %v", u)
	}

	version, err := c.Version(ctx)
	if err != nil || version.GetVersion() != "0.1.0" || version.GetRuntimeName() != r.Name() || version.GetRuntimeVersion() != "1.37.0" {
		t.Errorf("got %v, %v", version, err)
	}

	status, err := c.Status(ctx, true)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		SandboxImage string         `json:"sandboxImage"`
		CRIO         map[string]any `json:"crio"`
	}
	if err := json.Unmarshal([]byte(status.GetInfo()["config"]), &config); err != nil {
		t.Fatal(err)
	}
	if config.SandboxImage == "" || config.CRIO["CgroupManagerName"] != "cgroupfs" {
		t.Errorf("got %+v", config)
	}
}

// TestPrivate: each flavor has its words for a registry that wants credentials.
func TestPrivate(t *testing.T) {
	const ref = critest.Private + "/pause:3.9"
	for _, test := range []struct {
		flavor        critest.Flavor
		without, with string // credentials, which are wrong
	}{
		{critest.Containerd16, "failed with status code [manifests 3.9]: 401 Unauthorized", "failed with status code [manifests 3.9]: 401 Unauthorized"},
		{critest.Containerd2, "no basic auth credentials", "unexpected status from HEAD request to http://" + critest.Private + "/v2/pause/manifests/3.9: 401 Unauthorized"},
		{critest.CRIO, "unauthorized: authentication required", "unauthorized: authentication required"},
	} {
		_, c := start(t, test.flavor)
		_, err := c.PullImage(t.Context(), ref, nil)
		if err == nil || !strings.HasSuffix(err.Error(), test.without) {
			t.Errorf("%s without credentials: %v", test.flavor, err)
		}
		_, err = c.PullImage(t.Context(), ref, &runtimeapi.AuthConfig{Username: critest.PrivateUser, Password: "wrong"})
		if err == nil || !strings.HasSuffix(err.Error(), test.with) {
			t.Errorf("%s with wrong credentials: %v", test.flavor, err)
		}
		for _, auth := range []*runtimeapi.AuthConfig{
			{Username: critest.PrivateUser, Password: critest.Secret},
			{Auth: base64.StdEncoding.EncodeToString([]byte(critest.PrivateUser + ":" + critest.Secret))},
		} {
			if _, err := c.PullImage(t.Context(), ref, auth); err != nil {
				t.Errorf("%s: %v", test.flavor, err)
			}
		}
	}
}

func TestAddContainer(t *testing.T) {
	r, c := start(t, critest.CRIO)
	one := critest.Container{Namespace: "shop", Pod: "cart", Name: "app", Image: critest.Registry + "/pause:3.10", Created: time.Unix(1, 0)}
	r.AddContainer(one)
	one.Attempt, one.State = 1, runtimeapi.ContainerState_CONTAINER_RUNNING
	r.AddContainer(one)
	containers, err := c.ListContainers(t.Context())
	if err != nil || len(containers) != 2 || containers[0].GetId() == containers[1].GetId() {
		t.Fatal(containers, err)
	}
	if got := containers[1]; got.GetImageId() != r.Images()[0].ID || got.GetImageRef() != r.Images()[0].Digests[0] || got.GetLabels()["io.kubernetes.pod.name"] != "cart" {
		t.Errorf("got %v", got)
	}
	sandboxes, err := c.ListPodSandboxes(t.Context())
	if err != nil || len(sandboxes) != 1 || sandboxes[0].GetId() != containers[0].GetPodSandboxId() || sandboxes[0].GetState() != runtimeapi.PodSandboxState_SANDBOX_READY {
		t.Errorf("got %v, %v", sandboxes, err)
	}
}

func TestContainerd16ShowsASecret(t *testing.T) {
	for flavor, want := range map[critest.Flavor]bool{critest.Containerd16: true, critest.Containerd2: false, critest.CRIO: false} {
		_, c := start(t, flavor)
		status, err := c.Status(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(status.GetInfo()["config"], critest.Secret); got != want {
			t.Errorf("%s: secret in the configuration: %t, want %t", flavor, got, want)
		}
	}
}

// TestState sets what a test would, without a testing.TB for the runtime.
func TestState(t *testing.T) {
	dir, err := os.MkdirTemp("", "critest")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	r := critest.New(critest.CRIO)
	if err := r.Serve(filepath.Join(dir, "s")); err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	if err := r.Serve(filepath.Join(dir, "t")); err == nil {
		t.Error("it listens twice")
	}
	c, err := cri.Dial(cri.Config{Runtime: r.Endpoint()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()

	r.SetCondition("RuntimeReady", false, "Broken", "it is broken")
	r.SetCondition("Other", true, "", "")
	r.SetInfo("key", "value")
	status, err := c.Status(ctx, true)
	if err != nil {
		t.Fatal(err)
	}
	conditions := status.GetStatus().GetConditions()
	if len(conditions) != 3 || conditions[0].GetStatus() || conditions[0].GetReason() != "Broken" || !conditions[2].GetStatus() || status.GetInfo()["key"] != "value" {
		t.Errorf("got %v", status)
	}

	r.SetContainers(&runtimeapi.Container{Id: "c", PodSandboxId: "s"})
	r.SetSandboxes(&runtimeapi.PodSandbox{Id: "s"})
	r.SetImageFs(&runtimeapi.ImageFsInfoResponse{ImageFilesystems: []*runtimeapi.FilesystemUsage{{Timestamp: 7}}})
	if all, err := c.ListContainers(ctx); len(all) != 1 || all[0].GetPodSandboxId() != "s" || err != nil {
		t.Errorf("got %v, %v", all, err)
	}
	if all, err := c.ListPodSandboxes(ctx); len(all) != 1 || all[0].GetId() != "s" || err != nil {
		t.Errorf("got %v, %v", all, err)
	}
	if fs, err := c.ImageFsInfo(ctx); err != nil || fs.GetImageFilesystems()[0].GetTimestamp() != 7 {
		t.Errorf("got %v, %v", fs, err)
	}

	r.SetAnswer("ListImages", nil, errors.New("no"))
	if _, err := c.ListImages(ctx); cri.KindOf(err) != cri.Answered {
		t.Errorf("got %v", err)
	}
	r.ClearAnswer("ListImages")
	const delay = 20 * time.Millisecond
	r.SetDelay(delay)
	begin := time.Now()
	if images, err := c.ListImages(ctx); len(images) != 2 || err != nil || time.Since(begin) < delay {
		t.Errorf("got %v, %v after %v", images, err, time.Since(begin))
	}
	r.SetDelay(0)

	r.SetImages()
	r.SetPull("x", critest.Pull{Image: &critest.Image{ID: "1", Tags: []string{"x"}, Size: 1}})
	if ref, err := c.PullImage(ctx, "x", nil); ref != "1" || err != nil {
		t.Errorf("got %q, %v", ref, err)
	}
	if images := r.Images(); len(images) != 1 || images[0].Tags[0] != "x" {
		t.Errorf("got %v", images)
	}
	if r.Calls("PullImage") != 1 || r.Calls("Status") != 1 || r.Calls("Version") != 0 {
		t.Error("miscounted")
	}
	r.Stop()
	if _, err := os.Stat(r.Path()); err == nil {
		t.Error("Stop leaves the socket behind")
	}
}
