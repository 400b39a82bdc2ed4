package runtime

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/test/node"
)

// TestPrompt types the commands that know crictl's manners, at a real containerd with a container and two registries.
func TestPrompt(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "pullwatch")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./cmd/agent")
	build.Dir = filepath.Join("..", "..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	n, client := start(t)
	private := n.PrivateRegistry()
	for _, err := range []error{
		n.Registry().PushTag(t.Context(), "shop/web:1"), private.PushTag(t.Context(), "shop/billing:4"),
		n.PullImage(t.Context(), n.GoodImage()), runContainer(t.Context(), n, client, n.GoodImage()),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	web, billing := n.Registry().Ref("shop/web:1"), private.Ref("shop/billing:4")
	name := func(ref string) string { return ref[:strings.LastIndexByte(ref, ':')] }
	for _, test := range []struct {
		args string
		code int
		want string // the output matches
	}{
		{"pull " + web, 0, `(?s)^Image is up to date for sha256:[0-9a-f]{64}\n.*This node can pull it: the registry gave it without credentials`},
		{"pull " + web, 0, `was on this node before`},
		{"pull " + n.Registry().Ref("shop/missing:1"), 1, `(?m)^not_found: .* \(workload\)$`},
		{"pull " + billing, 1, `(?s)unauthorized: .* \(credentials\)\n.*a pod with a right imagePullSecret may well pull it`},
		{"pull --creds " + node.PrivateUser + ":wrong-horse " + billing, 1, `(?s)^Not pulled.*unauthorized: .*The credentials given are not enough`},
		{"pull --creds " + node.PrivateUser + ":" + node.PrivatePassword + " " + billing, 0, `the registry gave it with the credentials given`},
		{"probe --proxy-from none " + web, 0, `(?m)^     download +\S+ in [0-9]+ layers, of which this node has [1-9]`},
		{"probe --proxy-from none " + billing, 1, `NOT there for this node without credentials: .*\(unauthorized\)`},
		{"images", 0, `(?m)^` + regexp.QuoteMeta(name(billing)) + ` +4 +[0-9a-f]{13} +\S+ +linux/` + runtime.GOARCH + ` +-$`},
		{"images", 0, `(?m)^` + regexp.QuoteMeta(name(n.GoodImage())) + ` +\S+ +[0-9a-f]{13} +\S+ +linux/` + runtime.GOARCH + ` +shop/web-0$`},
		{"ps", 0, `(?m)^[0-9a-f]{13} .* (Less than a|[0-9]+) (seconds?|minutes?) ago +Running +app +3 +[0-9a-f]{13} +web-0 +shop$`},
		{"ps --image " + n.GoodImage(), 0, `web-0`},
		{"ps --image " + billing, 0, `^CONTAINER .* NAMESPACE\n$`},
		{"pods", 0, `(?m)^[0-9a-f]{13} .* (seconds?|minutes?) ago +Ready +web-0 +shop +0 +\(default\)$`},
		{"inspecti " + billing, 0, `(?s)"architecture": "` + runtime.GOARCH + `".*"status": \{`},
		{"imagefsinfo", 0, `(?s)"imageFilesystems": \[.*"mountpoint": "/`},
	} {
		out, err := exec.CommandContext(t.Context(), bin, append(strings.Fields(test.args), "-r", n.CRISocket(), "--socket=")...).CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		t.Logf("$ pullwatch %s\n%s", test.args, out)
		code := 0
		if exit != nil {
			code = exit.ExitCode()
		}
		if code != test.code || !regexp.MustCompile(test.want).Match(out) {
			t.Errorf("%s: exit code %d, want %d and %s in\n%s", test.args, code, test.code, test.want, out)
		}
		if strings.Contains(string(out), "-horse") {
			t.Errorf("%s shows a password", test.args)
		}
	}
}

// runContainer makes a pod with one container that runs, labelled as the kubelet does it.
func runContainer(ctx context.Context, n *node.Node, client *cri.Client, ref string, env ...*runtimeapi.KeyValue) error {
	conn, err := grpc.NewClient(n.CRISocket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	image, _, err := client.ImageStatus(ctx, ref, false)
	if err != nil {
		return err
	}
	labels := map[string]string{"io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.uid": "uid"}
	pod := &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Namespace: "shop", Name: "web-0", Uid: "uid"}, Labels: labels, LogDirectory: n.Dir,
		Linux: &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE},
		}},
	}
	service := runtimeapi.NewRuntimeServiceClient(conn)
	sandbox, err := service.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: pod})
	if err != nil {
		return err
	}
	container, err := service.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId: sandbox.GetPodSandboxId(), SandboxConfig: pod,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "app", Attempt: 3}, Labels: labels, LogPath: "app.log", Envs: env,
			Image: &runtimeapi.ImageSpec{Image: image.GetId()}, // by its ID, as the kubelet
		},
	})
	if err != nil {
		return err
	}
	_, err = service.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: container.GetContainerId()})
	return err
}
