package runtime

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/test/node"
	"github.com/pullwatch/pullwatch/test/node/release"
)

// TestReleasedImage publishes the image of a release as docs/RELEASES.md says, has containerd pull it, and runs the agent from it.
func TestReleasedImage(t *testing.T) {
	ctx := t.Context()
	programs := t.TempDir()
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w",
		"-o", filepath.Join(programs, release.Name+"-linux-"+runtime.GOARCH), "./cmd/agent")
	build.Dir = filepath.Join("..", "..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program, err := release.Open(programs, "linux/"+runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	// Stands before and after it in the index and would not start: the platform decides.
	decoys := []release.Program{program, program}
	for i, arch := range []string{"a", "zzz"} {
		decoys[i].Platform, decoys[i].Content = v1.Platform{OS: "linux", Architecture: arch}, []byte("not for here")
	}
	r := &release.Release{Version: "v0.0.1", Revision: "0", Time: time.Unix(1e9, 0), Source: build.Dir, Programs: append(decoys, program)}
	out := t.TempDir()
	if err := r.Write(out); err != nil {
		t.Fatal(err)
	}

	n, client := start(t)
	if err := node.EnsurePrograms(ctx, node.NewProgress(os.Stderr), map[string]string{"skopeo": "skopeo"}); err != nil {
		t.Fatal(err)
	}
	image := n.Registry().Ref("pullwatch/pullwatch:v0.0.1")
	publish := exec.CommandContext(ctx, "skopeo", "copy", "--all", "--insecure-policy", "--dest-tls-verify=false",
		"oci-archive:"+filepath.Join(out, "pullwatch-v0.0.1.oci.tar"), "docker://"+image)
	if text, err := publish.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if err := n.PullImage(ctx, image); err != nil {
		t.Fatal(err)
	}
	status, _, err := client.ImageStatus(ctx, image, false)
	if err != nil || status.GetUid().GetValue() != 65532 {
		t.Errorf("the image's user is %v (%v)", status.GetUid(), err)
	}
	address, err := node.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	set := func(name, value string) *runtimeapi.KeyValue {
		return &runtimeapi.KeyValue{Key: "PULLWATCH_" + name, Value: []byte(value)}
	}
	if err := runContainer(ctx, n, client, image,
		set("NO_KUBE", "true"), set("PROBE_INTERVAL", "0"), set("SOCKET", ""), set("PAGE_ADDRESS", ""), set("LISTEN_ADDRESS", address)); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		err := healthy(address)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(n.Dir, "app.log"))
			t.Fatalf("the agent does not answer: %v\n%s", err, log)
		}
	}
}

func healthy(address string) error {
	answer, err := http.Get("http://" + address + "/healthz")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s (%w)", answer.Status, body, err)
	}
	return nil
}
