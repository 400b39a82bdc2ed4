package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The process lacks CAP_SYS_RESOURCE in many sandboxes, so it may not lower oom scores: restrict_oom_score_adj.
const containerd16Config = `version = 2
root = "%[1]s/containerd"
state = "%[1]s/state"
[grpc]
  address = "%[2]s"
[ttrpc]
  address = "%[1]s/state/ttrpc.sock"
[debug]
  level = "info"
[metrics]
  address = "%[3]s"
[plugins."io.containerd.internal.v1.opt"]
  path = "%[1]s/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%[4]s"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "%[1]s/cni/bin"
    conf_dir = "%[1]s/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "%[1]s/certs.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "%[1]s/runc"
`

const containerd24Config = `version = 3
root = "%[1]s/containerd"
state = "%[1]s/state"
[grpc]
  address = "%[2]s"
[ttrpc]
  address = "%[1]s/state/ttrpc.sock"
[debug]
  level = "info"
[metrics]
  address = "%[3]s"
[plugins."io.containerd.internal.v1.opt"]
  path = "%[1]s/opt"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "%[4]s"
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "%[1]s/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["%[1]s/cni/bin"]
    conf_dir = "%[1]s/cni/net.d"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      Root = "%[1]s/runc"
`

// cniConfig makes the node Ready. No pod of the harness is without hostNetwork, so no plugin is ever called.
const cniConfig = `{"cniVersion": "0.4.0", "name": "none", "plugins": [{"type": "none"}]}`

func (n *Node) prepareContainerd() error {
	tmpl := containerd16Config
	if n.Options.Containerd == Containerd24 {
		tmpl = containerd24Config
	}
	conf := fmt.Sprintf(tmpl, n.Dir, n.socket(), n.addr("containerd-metrics"), n.SandboxImage())
	if err := errors.Join(
		os.MkdirAll(filepath.Dir(n.socket()), 0o755),
		os.MkdirAll(filepath.Join(n.Dir, "containerd"), 0o700),
		writeFile(n.ContainerdConfig(), []byte(conf), 0o644),
		writeFile(filepath.Join(n.Dir, "cni/net.d/10-none.conflist"), []byte(cniConfig), 0o644),
	); err != nil {
		return err
	}
	if n.SmallDiskMiB > 0 {
		return n.mountSmallDisk()
	}
	return nil
}

func (n *Node) mountSmallDisk() error {
	img := filepath.Join(n.Dir, "disk.img")
	if err := writeFile(img, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(img, int64(n.SmallDiskMiB)<<20); err != nil {
		return err
	}
	for _, argv := range [][]string{
		append(strings.Fields(n.SmallDiskMkfs), img),
		{"mount", "-o", "loop", img, filepath.Join(n.Dir, "containerd")},
	} {
		path, err := findProgram(argv[0])
		if err != nil {
			return err
		}
		if out, err := exec.Command(path, argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s\nthe small disk needs loop devices", argv[0], err, lastLines(string(out), 4))
		}
	}
	return nil
}

func (n *Node) containerd() command {
	return command{
		argv: []string{n.Parts.Containerd, "--config=" + n.ContainerdConfig()},
		path: n.Parts.ContainerdDir,
		// One breakage is a host behind a proxy that is gone. Loopback is never asked through a proxy.
		env: []string{
			"HTTPS_PROXY=http://" + n.addr("proxy"), "HTTP_PROXY=http://" + n.addr("proxy"),
			"NO_PROXY=" + noSuchHost,
		},
		timeout: 20 * time.Second,
		ready: func(ctx context.Context) error {
			_, err := n.runtimeService().Version(ctx, &runtimeapi.VersionRequest{})
			return err
		},
	}
}
