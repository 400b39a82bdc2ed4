package asked

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/test/node"
)

// configure puts text in place of the line that sets config_path, and has containerd start with it.
func configure(ctx context.Context, n *node.Node, text string) error {
	raw, err := os.ReadFile(n.ContainerdConfig())
	if err != nil {
		return err
	}
	config := strings.Replace(string(raw), `config_path = "`+n.Dir+`/certs.d"`, text, 1)
	if err := os.WriteFile(n.ContainerdConfig(), []byte(config), 0o644); err != nil {
		return err
	}
	return n.Restart(ctx, node.PartContainerd)
}

// TestStatusTells holds what the runtime itself says of its registries: 1.6 everything, passwords with it, 2.4 nothing.
func TestStatusTells(t *testing.T) {
	if testing.Short() {
		t.Skip("two containerds, which make e2e brings up")
	}
	for _, way := range ways[:2] {
		t.Run(way.name, func(t *testing.T) {
			n := start(t, way.version)
			if err := configure(t.Context(), n, "["+way.table+".mirrors.\"a.test\"]\nendpoint = [\"https://m.test\"]\n"+
				"["+way.table+".configs.\"m.test\".auth]\nusername = \"user\"\npassword = \"planted-password\"\n"); err != nil {
				t.Fatal(err)
			}
			// Not pkg/cri, which strikes secrets out.
			conn, err := grpc.NewClient(n.CRISocket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			status, err := runtimeapi.NewRuntimeServiceClient(conn).Status(t.Context(), &runtimeapi.StatusRequest{Verbose: true})
			if err != nil {
				t.Fatal(err)
			}
			var config struct {
				Registry *struct {
					ConfigPath string `json:"configPath"`
					Mirrors    map[string]struct {
						Endpoint []string `json:"endpoint"`
					} `json:"mirrors"`
					Configs map[string]struct {
						Auth struct {
							Password string `json:"password"`
						} `json:"auth"`
					} `json:"configs"`
				} `json:"registry"`
			}
			if err := json.Unmarshal([]byte(status.GetInfo()["config"]), &config); err != nil {
				t.Fatal(err)
			}
			if way.version == node.Containerd24 {
				if config.Registry != nil || strings.Contains(status.String(), "m.test") {
					t.Errorf("2.4 tells of its registries: %s", status.GetInfo()["config"])
				}
				return
			}
			r := config.Registry
			if r == nil || r.ConfigPath != "" || len(r.Mirrors["a.test"].Endpoint) != 1 || r.Configs["m.test"].Auth.Password != "planted-password" {
				t.Errorf("registry = %+v; want the mirror, and the password in clear", r)
			}
		})
	}
}

// TestBothGiven holds that a containerd with both kinds of configuration serves no CRI at all.
func TestBothGiven(t *testing.T) {
	if testing.Short() {
		t.Skip("two containerds, which make e2e brings up")
	}
	for _, way := range ways[:2] {
		t.Run(way.name, func(t *testing.T) {
			n := start(t, way.version)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			err := configure(ctx, n, "config_path = \""+n.Dir+"/certs.d\"\n["+way.table+".mirrors.\"a.test\"]\nendpoint = [\"https://m.test\"]\n")
			if err == nil {
				t.Fatal("it came up")
			}
			const want = "`mirrors` cannot be set when `config_path` is provided"
			var log []byte
			for end := time.Now().Add(30 * time.Second); !strings.Contains(string(log), want) && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				if log, err = os.ReadFile(n.LogFile(node.PartContainerd)); err != nil {
					t.Fatal(err)
				}
			}
			if !strings.Contains(string(log), want) || n.PID(node.PartContainerd) == 0 {
				t.Errorf("containerd runs with pid %d, and its log has %q: %v", n.PID(node.PartContainerd), want, strings.Contains(string(log), want))
			}
		})
	}
}

// TestOneDeadMirrorAndTheOthers holds who waits for a mirror that is a black hole. 1.6 counts max_concurrent_downloads (3) for each pull, 2.4 for
// all: three layers that wait for a dead mirror hold up every other pull of the node until they give up.
func TestOneDeadMirrorAndTheOthers(t *testing.T) {
	if testing.Short() {
		t.Skip("two containerds, which make e2e brings up")
	}
	for _, way := range ways[:2] {
		t.Run(way.name, func(t *testing.T) {
			n := start(t, way.version)
			if err := n.Restart(t.Context(), node.PartContainerd); err != nil {
				t.Fatal(err)
			}
			lab := &lab{dir: n.Dir, client: dial(t, n), proxy: &proxy{}}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			dead := make(chan string)
			// The mirror has the manifest, and no blob: it never answers.
			hung, err := newRun(Case{
				Name: "hung", Image: "{o}", Layers: 3, Slow: true, Listen: map[string]string{"o": "", "m": "layer=hang"}, Files: mirrored, Limit: 20 * time.Second,
			}, n.Dir)
			if err != nil {
				t.Fatal(err)
			}
			defer hung.close()
			well, err := newRun(Case{Name: "well", Image: "{o}", Listen: map[string]string{"o": ""}, Limit: 10 * time.Second}, n.Dir)
			if err != nil {
				t.Fatal(err)
			}
			defer well.close()
			if err := hung.write(n.Dir); err != nil {
				t.Fatal(err)
			}
			go func() { dead <- lab.try(ctx, hung) }()
			for hung.count("layer") < 3 {
				select {
				case <-ctx.Done():
					t.Fatalf("only %d layers were asked for", hung.count("layer"))
				case <-time.After(20 * time.Millisecond):
				}
			}
			got := lab.try(ctx, well)
			want := "tag: http://o/v2 200\nmanifest+config+layer: http://o/v2 200"
			if way.version == node.Containerd24 {
				want = "tag: http://o/v2 200\ngoes on after 10s"
			}
			if got != want {
				t.Errorf("another image, of a registry that is well:\n%s\nwant\n%s", got, want)
			}
			<-dead
		})
	}
}
