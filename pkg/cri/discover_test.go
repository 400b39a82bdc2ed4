package cri_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cri"
)

// node lays out a root directory: paths that end in .sock become sockets, the
// others files. A value that begins with "->" is a symbolic link, where ROOT
// stands for the root.
func node(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = socketDir(t)
	for path, content := range files {
		path = filepath.Join(root, path)
		if target, ok := strings.CutPrefix(content, "->"); ok {
			target = strings.ReplaceAll(target, "ROOT", root)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
		}
	}
	for path, content := range files {
		path = filepath.Join(root, path)
		if strings.HasPrefix(content, "->") {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if content != "socket" {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}
	return root
}

const (
	containerdSock = "run/containerd/containerd.sock"
	crioSock       = "run/crio/crio.sock"
	crictlYAML     = "etc/crictl.yaml"
)

// TestDiscover is the order of precedence. "ROOT" in inputs and wants stands
// for the node's root.
func TestDiscover(t *testing.T) {
	full := "runtime-endpoint: unix:///file/runtime.sock\nimage-endpoint: unix:///file/image.sock\n"
	tests := []struct {
		name     string
		files    map[string]string
		settings cri.Settings
		env      map[string]string

		runtime, image cri.Value
		others         []string
	}{
		{
			name:     "flags over all",
			files:    map[string]string{crictlYAML: full, containerdSock: "socket"},
			env:      map[string]string{"CONTAINER_RUNTIME_ENDPOINT": "/env/runtime.sock", "IMAGE_SERVICE_ENDPOINT": "/env/image.sock"},
			settings: cri.Settings{RuntimeEndpoint: "/flag/runtime.sock", ImageEndpoint: "unix:///flag/image.sock"},
			runtime:  cri.Value{Value: "unix:///flag/runtime.sock", Source: "flag --runtime-endpoint"},
			image:    cri.Value{Value: "unix:///flag/image.sock", Source: "flag --image-endpoint"},
		},
		{
			name:    "environment over file",
			files:   map[string]string{crictlYAML: full, containerdSock: "socket"},
			env:     map[string]string{"CONTAINER_RUNTIME_ENDPOINT": "/env/runtime.sock", "IMAGE_SERVICE_ENDPOINT": "/env/image.sock"},
			runtime: cri.Value{Value: "unix:///env/runtime.sock", Source: "environment CONTAINER_RUNTIME_ENDPOINT"},
			image:   cri.Value{Value: "unix:///env/image.sock", Source: "environment IMAGE_SERVICE_ENDPOINT"},
		},
		{
			name:    "file over sockets",
			files:   map[string]string{crictlYAML: full, containerdSock: "socket"},
			runtime: cri.Value{Value: "unix:///file/runtime.sock", Source: "ROOT/etc/crictl.yaml"},
			image:   cri.Value{Value: "unix:///file/image.sock", Source: "ROOT/etc/crictl.yaml"},
		},
		{
			name:    "each setting on its own",
			files:   map[string]string{crictlYAML: full},
			env:     map[string]string{"IMAGE_SERVICE_ENDPOINT": "/env/image.sock"},
			runtime: cri.Value{Value: "unix:///file/runtime.sock", Source: "ROOT/etc/crictl.yaml"},
			image:   cri.Value{Value: "unix:///env/image.sock", Source: "environment IMAGE_SERVICE_ENDPOINT"},
		},
		{
			name:     "the image endpoint is the runtime's",
			settings: cri.Settings{RuntimeEndpoint: "/flag/runtime.sock"},
			runtime:  cri.Value{Value: "unix:///flag/runtime.sock", Source: "flag --runtime-endpoint"},
			image:    cri.Value{Value: "unix:///flag/runtime.sock", Source: "flag --runtime-endpoint"},
		},
		{
			name:     "a file by flag",
			files:    map[string]string{"a.yaml": "runtime-endpoint: /a.sock", "b.yaml": full, crictlYAML: full},
			env:      map[string]string{"CRI_CONFIG_FILE": "ROOT/b.yaml"},
			settings: cri.Settings{ConfigFile: "ROOT/a.yaml"},
			runtime:  cri.Value{Value: "unix:///a.sock", Source: "ROOT/a.yaml"},
			image:    cri.Value{Value: "unix:///a.sock", Source: "ROOT/a.yaml"},
		},
		{
			name:    "a file by environment",
			files:   map[string]string{"b.yaml": "runtime-endpoint: /b.sock", crictlYAML: full},
			env:     map[string]string{"CRI_CONFIG_FILE": "ROOT/b.yaml"},
			runtime: cri.Value{Value: "unix:///b.sock", Source: "ROOT/b.yaml"},
			image:   cri.Value{Value: "unix:///b.sock", Source: "ROOT/b.yaml"},
		},
		{
			name:    "an empty file",
			files:   map[string]string{crictlYAML: "# nothing\n", containerdSock: "socket"},
			runtime: cri.Value{Value: "unix://ROOT/run/containerd/containerd.sock", Source: cri.FoundOnNode},
			image:   cri.Value{Value: "unix://ROOT/run/containerd/containerd.sock", Source: cri.FoundOnNode},
		},
		{
			name: "all sockets, in order",
			files: map[string]string{
				"var/snap/microk8s/common/run/containerd.sock": "socket",
				"run/k0s/containerd.sock":                      "socket",
				"run/k3s/containerd/containerd.sock":           "socket",
				"var/run/cri-dockerd.sock":                     "socket",
				"run/cri-dockerd.sock":                         "socket",
				"var/run/crio/crio.sock":                       "socket",
				crioSock:                                       "socket",
				containerdSock:                                 "socket",
			},
			runtime: cri.Value{Value: "unix://ROOT/run/containerd/containerd.sock", Source: cri.FoundOnNode},
			image:   cri.Value{Value: "unix://ROOT/run/containerd/containerd.sock", Source: cri.FoundOnNode},
			others: []string{
				"unix://ROOT/run/crio/crio.sock",
				"unix://ROOT/var/run/crio/crio.sock",
				"unix://ROOT/run/cri-dockerd.sock",
				"unix://ROOT/var/run/cri-dockerd.sock",
				"unix://ROOT/run/k3s/containerd/containerd.sock",
				"unix://ROOT/run/k0s/containerd.sock",
				"unix://ROOT/var/snap/microk8s/common/run/containerd.sock",
			},
		},
		{
			name:    "var/run is run",
			files:   map[string]string{crioSock: "socket", "run/cri-dockerd.sock": "socket", "var/run": "->../run"},
			runtime: cri.Value{Value: "unix://ROOT/run/crio/crio.sock", Source: cri.FoundOnNode},
			image:   cri.Value{Value: "unix://ROOT/run/crio/crio.sock", Source: cri.FoundOnNode},
			others:  []string{"unix://ROOT/run/cri-dockerd.sock"},
		},
		{
			name:    "var/run is run, absolutely",
			files:   map[string]string{crioSock: "socket", "var/run": "->/run"},
			runtime: cri.Value{Value: "unix://ROOT/run/crio/crio.sock", Source: cri.FoundOnNode},
			image:   cri.Value{Value: "unix://ROOT/run/crio/crio.sock", Source: cri.FoundOnNode},
		},
		{
			name:    "the same socket by another link",
			files:   map[string]string{containerdSock: "socket", "run/k3s": "->ROOT/run"},
			runtime: cri.Value{Value: "unix://ROOT/run/containerd/containerd.sock", Source: cri.FoundOnNode},
			image:   cri.Value{Value: "unix://ROOT/run/containerd/containerd.sock", Source: cri.FoundOnNode},
		},
		{
			name:    "a file is no socket",
			files:   map[string]string{containerdSock: "", crioSock: "socket"},
			runtime: cri.Value{Value: "unix://ROOT/run/crio/crio.sock", Source: cri.FoundOnNode},
			image:   cri.Value{Value: "unix://ROOT/run/crio/crio.sock", Source: cri.FoundOnNode},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := node(t, tt.files)
			at := func(s string) string { return strings.ReplaceAll(s, "ROOT", root) }
			s := tt.settings
			s.Root = root
			s.ConfigFile = at(s.ConfigFile)
			s.Getenv = func(key string) string { return at(tt.env[key]) }
			found, err := cri.Discover(s)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range []struct {
				what      string
				got, want cri.Value
			}{{"runtime", found.Runtime, tt.runtime}, {"image", found.Image, tt.image}} {
				want := cri.Value{Value: at(v.want.Value), Source: at(v.want.Source)}
				if v.got != want {
					t.Errorf("%s: got %+v, want %+v", v.what, v.got, want)
				}
			}
			var others []string
			for _, o := range tt.others {
				others = append(others, at(o))
			}
			if len(found.Others)+len(others) > 0 && !reflect.DeepEqual(found.Others, others) {
				t.Errorf("others: got %q, want %q", found.Others, others)
			}
		})
	}
}

func TestDiscoverRejects(t *testing.T) {
	tests := []struct {
		name     string
		file     string // crictl.yaml, unless empty
		settings cri.Settings
		env      map[string]string
		want     []string
	}{
		{"unknown key", "runtime-endpoint: /a\nruntime-endpiont: /b\n", cri.Settings{}, nil, []string{"ROOT/etc/crictl.yaml: ", `unknown key "runtime-endpiont"`}},
		{"a key twice", "timeout: 1\ntimeout: 2\n", cri.Settings{}, nil, []string{"ROOT/etc/crictl.yaml: ", "timeout"}},
		{"no mapping", "- a\n- b\n", cri.Settings{}, nil, []string{"ROOT/etc/crictl.yaml: ", "mapping"}},
		{"not YAML", "a: [\n", cri.Settings{}, nil, []string{"ROOT/etc/crictl.yaml: "}},
		{"a timeout with a unit", "timeout: 10s", cri.Settings{}, nil, []string{`key "timeout"`, "whole number", "10s"}},
		{"a timeout below zero", "timeout: -1", cri.Settings{}, nil, []string{`key "timeout"`}},
		{"half a second", "timeout: 0.5", cri.Settings{}, nil, []string{`key "timeout"`}},
		{"a flag that is none", "debug: perhaps", cri.Settings{}, nil, []string{`key "debug"`, "true or false", "perhaps"}},
		{"an endpoint that is no text", "runtime-endpoint: [1]", cri.Settings{}, nil, []string{`key "runtime-endpoint"`}},
		{"a large file", strings.Repeat("# x\n", 32<<10), cri.Settings{}, nil, []string{"ROOT/etc/crictl.yaml: larger than"}},
		{"a bad endpoint in the file", "runtime-endpoint: tcp://1.2.3.4:5", cri.Settings{}, nil, []string{"ROOT/etc/crictl.yaml: ", "tcp://1.2.3.4:5", "unix:///path"}},
		{"a bad endpoint in the environment", "", cri.Settings{}, map[string]string{"CONTAINER_RUNTIME_ENDPOINT": "npipe:////./pipe/x"}, []string{"environment CONTAINER_RUNTIME_ENDPOINT: ", "Windows"}},
		{"a bad endpoint by flag", "", cri.Settings{RuntimeEndpoint: "/a", ImageEndpoint: "run/x.sock"}, nil, []string{"flag --image-endpoint: ", "not absolute"}},
		{"a file by flag is missing", "", cri.Settings{ConfigFile: "ROOT/none.yaml", RuntimeEndpoint: "/a"}, nil, []string{"flag --config: ROOT/none.yaml: no such file"}},
		{"a file by environment is missing", "", cri.Settings{RuntimeEndpoint: "/a"}, map[string]string{"CRI_CONFIG_FILE": "ROOT/none.yaml"}, []string{"environment CRI_CONFIG_FILE: ROOT/none.yaml: no such file"}},
		{"a directory", "", cri.Settings{ConfigFile: "ROOT", RuntimeEndpoint: "/a"}, nil, []string{"flag --config: ROOT: ", "directory"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{containerdSock: "socket"}
			if tt.file != "" {
				files[crictlYAML] = tt.file
			}
			root := node(t, files)
			at := func(s string) string { return strings.ReplaceAll(s, "ROOT", root) }
			s := tt.settings
			s.Root = root
			s.ConfigFile = at(s.ConfigFile)
			s.Getenv = func(key string) string { return at(tt.env[key]) }
			found, err := cri.Discover(s)
			if err == nil {
				t.Fatalf("got %+v, want an error", found)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), at(want)) {
					t.Errorf("got %q, want %q in it", err, at(want))
				}
			}
		})
	}
}

func TestDiscoverFile(t *testing.T) {
	root := node(t, map[string]string{crictlYAML: `
runtime-endpoint: "unix:///run/a.sock"
image-endpoint: ""
timeout: 7
debug: true
pull-image-on-create: "true"
disable-pull-on-run: true
max-retries: 3
enable-streaming: false
`})
	found, err := cri.Discover(cri.Settings{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	want := cri.File{RuntimeEndpoint: "unix:///run/a.sock", Timeout: 7 * time.Second, Debug: true, PullImageOnCreate: true, DisablePullOnRun: true}
	if found.File != want || found.FileName != root+"/etc/crictl.yaml" {
		t.Errorf("got %+v of %q, want %+v", found.File, found.FileName, want)
	}
	if timeout, source := found.Timeout(); timeout != 7*time.Second || source != found.FileName {
		t.Errorf("timeout %v of %q", timeout, source)
	}
	if timeout, source := (cri.Found{FileName: "x"}).Timeout(); timeout != 0 || source != "" {
		t.Errorf("no timeout: got %v of %q", timeout, source)
	}
}

func TestDiscoverNothing(t *testing.T) {
	root := node(t, map[string]string{containerdSock: "not a socket"})
	_, err := cri.Discover(cri.Settings{Root: root})
	e := wantError(t, err, cri.Missing)
	if e.Endpoint != "" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %#v", e)
	}
	for _, want := range []string{
		"find the container runtime: no socket on this node; looked for ",
		root + "/run/containerd/containerd.sock (not a socket), ",
		root + "/run/crio/crio.sock, ",
		root + "/var/run/cri-dockerd.sock, ",
		root + "/run/k3s/containerd/containerd.sock, ",
		root + "/run/k0s/containerd.sock, ",
		root + "/var/snap/microk8s/common/run/containerd.sock",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q in it", err, want)
		}
	}
	if !strings.Contains(e.Hint(), "--runtime-endpoint") {
		t.Errorf("hint: %q", e.Hint())
	}
}

func TestParseEndpoint(t *testing.T) {
	for _, tt := range []struct{ in, path, err string }{
		{in: "unix:///run/a.sock", path: "/run/a.sock"},
		{in: "/run/a.sock", path: "/run/a.sock"},
		{in: "unix:////run//b/../a.sock", path: "/run/a.sock"},
		{in: "/" + strings.Repeat("a", 106), path: "/" + strings.Repeat("a", 106)},
		{in: "/" + strings.Repeat("a", 107), err: "at most 107 bytes, this one has 108"},
		{in: "", err: "names no socket"},
		{in: "unix://", err: "names no socket"},
		{in: "unix://run/a.sock", err: "not absolute"},
		{in: "unix:/run/a.sock", err: "write it as unix:///path"},
		{in: "run/a.sock", err: "not absolute"},
		{in: "tcp://127.0.0.1:1", err: "local socket only"},
		{in: "npipe:////./pipe/containerd-containerd", err: "Windows only"},
		{in: "http://x/", err: `scheme "http" is not supported`},
		{in: "/run/\x00", err: "NUL"},
	} {
		path, err := cri.ParseEndpoint(tt.in)
		if tt.err == "" && (err != nil || path != tt.path) {
			t.Errorf("%q: got %q, %v, want %q", tt.in, path, err, tt.path)
		}
		if tt.err != "" && (err == nil || path != "" || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%q: got %q, %v, want error %q", tt.in, path, err, tt.err)
		}
	}
}
