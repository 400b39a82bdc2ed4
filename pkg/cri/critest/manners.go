package critest

import (
	_ "embed"
	"encoding/json"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// manners is what sets one runtime apart from another.
type manners struct {
	name     string // Version.runtime_name
	version  string
	idPrefix string
	// maxSend is the largest message that its server sends, in bytes.
	maxSend    int
	images     []Image
	conditions []string
	info       func() map[string]string
	fs         func() *runtimeapi.ImageFsInfoResponse
	// container is how its list of containers names the image of one.
	container func(named string, image *runtimeapi.Image) *runtimeapi.Container
	pull      func(ref string, a asked) Pull
}

var flavors = map[Flavor]manners{
	Containerd16: {
		name:       "containerd",
		version:    "1.6.20~ds1",
		idPrefix:   "sha256:",
		maxSend:    16 << 20,
		images:     []Image{pinned(pause310, false), armonly},
		conditions: []string{runtimeapi.RuntimeReady, runtimeapi.NetworkReady},
		info: func() map[string]string {
			return map[string]string{
				"config":                    containerd16Config,
				"golang":                    `"go1.19.8"`,
				"lastCNILoadStatus":         "OK",
				"lastCNILoadStatus.default": "OK",
			}
		},
		fs:        containerdFs,
		container: containerd16Container,
		pull:      containerd16Texts.pull,
	},
	Containerd2: {
		name:       "containerd",
		version:    "v2.4.2",
		idPrefix:   "sha256:",
		maxSend:    16 << 20,
		images:     []Image{pause310, armonly},
		conditions: []string{runtimeapi.RuntimeReady, runtimeapi.NetworkReady, "ContainerdHasNoDeprecationWarnings"},
		info: func() map[string]string {
			return map[string]string{
				"config":                    containerd2Config,
				"golang":                    `"go1.26.8"`,
				"lastCNILoadStatus":         "OK",
				"lastCNILoadStatus.default": "OK",
			}
		},
		fs:        containerdFs,
		container: containerd2Container,
		pull:      containerd2Texts.pull,
	},
	CRIO: {
		name:       "cri-o",
		version:    "1.37.0",
		maxSend:    80 << 20,
		images:     []Image{crioPause310, armonly},
		conditions: []string{runtimeapi.RuntimeReady, runtimeapi.NetworkReady},
		info:       func() map[string]string { return map[string]string{"config": crioConfig} },
		fs:         crioFs,
		container:  crioContainer,
		pull:       crioPull,
	},
}

// containerd16Config is the whole CRI configuration, as 1.6 and 1.7 show it to
// whoever asks.
var containerd16Config = mustJSON(map[string]any{
	"containerd": map[string]any{
		"snapshotter":        "overlayfs",
		"defaultRuntimeName": "runc",
		"runtimes":           map[string]any{"runc": map[string]any{"runtimeType": "io.containerd.runc.v2"}},
	},
	"cni": map[string]any{"binDir": "/opt/cni/bin", "confDir": "/etc/cni/net.d", "maxConfNum": 1},
	"registry": map[string]any{
		"configPath": "",
		"mirrors":    nil,
		"configs": map[string]any{
			Registry: map[string]any{
				"auth": map[string]any{"username": "robot", "password": Secret, "auth": "", "identitytoken": ""},
				"tls":  nil,
			},
		},
		"auths":   nil,
		"headers": nil,
	},
	"sandboxImage":           Registry + "/pause:3.10",
	"statsCollectPeriod":     10,
	"maxConcurrentDownloads": 3,
	"containerdRootDir":      "/var/lib/containerd",
	"containerdEndpoint":     "/run/containerd/containerd.sock",
	"rootDir":                "/var/lib/containerd/io.containerd.grpc.v1.cri",
	"stateDir":               "/run/containerd/io.containerd.grpc.v1.cri",
})

// containerd2Config has nothing about images or registries: 2.x moved them to
// another plugin, which nobody can ask.
var containerd2Config = mustJSON(map[string]any{
	"containerd": map[string]any{
		"defaultRuntimeName": "runc",
		"runtimes":           map[string]any{"runc": map[string]any{"runtimeType": "io.containerd.runc.v2", "sandboxer": "podsandbox"}},
	},
	"cni":                map[string]any{"binDirs": []string{"/opt/cni/bin"}, "confDir": "/etc/cni/net.d", "maxConfNum": 1},
	"containerdRootDir":  "/var/lib/containerd",
	"containerdEndpoint": "/run/containerd/containerd.sock",
	"rootDir":            "/var/lib/containerd/io.containerd.grpc.v1.cri",
	"stateDir":           "/run/containerd/io.containerd.grpc.v1.cri",
})

// crioConfig is what CRI-O 1.37 shows as info["config"], as far as it was
// recorded.
//
//go:embed crio_config.json
var crioConfig string

// containerdFs is the one entry of containerd: the directory of the
// snapshotter.
func containerdFs() *runtimeapi.ImageFsInfoResponse {
	return &runtimeapi.ImageFsInfoResponse{
		ImageFilesystems: []*runtimeapi.FilesystemUsage{
			usage("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs", 8192, 2),
		},
	}
}

// crioFs says the same of images and of containers.
func crioFs() *runtimeapi.ImageFsInfoResponse {
	const dir = "/var/lib/root/overlay-images"
	return &runtimeapi.ImageFsInfoResponse{
		ImageFilesystems:     []*runtimeapi.FilesystemUsage{usage(dir, 16911, 11)},
		ContainerFilesystems: []*runtimeapi.FilesystemUsage{usage(dir, 16911, 11)},
	}
}

func usage(dir string, bytes, inodes uint64) *runtimeapi.FilesystemUsage {
	return &runtimeapi.FilesystemUsage{
		Timestamp:  time.Now().UnixNano(),
		FsId:       &runtimeapi.FilesystemIdentifier{Mountpoint: dir},
		UsedBytes:  &runtimeapi.UInt64Value{Value: bytes},
		InodesUsed: &runtimeapi.UInt64Value{Value: inodes},
	}
}

func mustJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // only literals of this file come here
	}
	return string(text)
}
