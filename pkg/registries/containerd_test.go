package registries

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStatus reads what containerd 1.6 was heard to tell, and finds no password in what is kept of it.
func TestStatus(t *testing.T) {
	info := map[string]string{"config": `{"registry":{"configPath":"","mirrors":{"docker.io":{"endpoint":["https://mirror.example"]}},
		"configs":{"mirror.example":{"auth":{"username":"user","password":"PLANTED-password"},"tls":{"insecure_skip_verify":true}}},
		"auths":{"x":{"password":"PLANTED-auth"}},"headers":{"X-Meta-Source-Client":["PLANTED-header"]}}}`}
	c, ok, err := ContainerdFromStatus("1.6.20~ds1", info)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if text := fmt.Sprintf("%+v", c); strings.Contains(text, "PLANTED") {
		t.Errorf("a secret is kept: %s", text)
	}
	if got, want := shown(c.Lookup("docker.io").Endpoints), "https://mirror.example/v2 mirror unverified, https://registry-1.docker.io/v2"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, ok, err := ContainerdFromStatus("2.4.2", map[string]string{"config": `{"cdiSpecDirs": []}`}); ok || err != nil {
		t.Errorf("containerd 2 tells no registries: %v, %v", ok, err)
	}
	if _, _, err := ContainerdFromStatus("1.6", map[string]string{"config": `{"registry": "PLANTED`}); err == nil || strings.Contains(err.Error(), "PLANTED") {
		t.Errorf("error %v", err)
	}
}

func TestConfigFile(t *testing.T) {
	const two = `plugins."io.containerd.cri.v1.images".registry`
	tests := map[string]struct {
		version string
		files   map[string]string
		path    string // want, of config_path
		finding string
		unknown string // want in NotChecked
	}{
		"none":             {version: "2.0.3"},
		"none, 2.2":        {version: "2.2.0", path: defaultConfigPath, finding: "one directory"},
		"version 3":        {version: "2.4.2", files: map[string]string{"config.toml": "version = 3\n[" + two + "]\nconfig_path = \"/a\"\n"}, path: "/a"},
		"version 2, kept":  {version: "2.4.2", files: map[string]string{"config.toml": "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/a\"\n"}, path: "/a"},
		"roots, local":     {version: "2.4.2", files: map[string]string{"config.toml": "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\nuse_local_image_pull = true\n[" + two + "]\nconfig_path = \"/a:/b\"\n"}, path: "/a:/b"},
		"roots":            {version: "2.4.2", files: map[string]string{"config.toml": "version = 3\n[" + two + "]\nconfig_path = \"/a:/b\"\n"}, path: "/a:/b", finding: "one directory"},
		"an import":        {version: "2.4.2", files: map[string]string{"config.toml": "version = 3\nimports = [\"conf.d/*.toml\"]\n[" + two + "]\nconfig_path = \"/a\"\n", "conf.d/x.toml": "version = 3\n[" + two + "]\nconfig_path = \"/b\"\n"}, path: "/b"},
		"a circle":         {version: "2.4.2", files: map[string]string{"config.toml": "version = 3\nimports = [\"config.toml\"]\n[" + two + "]\nconfig_path = \"/a\"\n"}, path: "/a"},
		"an import gone":   {version: "2.4.2", files: map[string]string{"config.toml": "imports = [\"gone.toml\"]\n"}, unknown: "gone.toml"},
		"does not parse":   {version: "2.4.2", files: map[string]string{"config.toml": "version = 3\n[\n"}, finding: "does not start", unknown: "cannot be parsed"},
		"CRI disabled":     {version: "2.4.2", files: map[string]string{"config.toml": "version = 3\ndisabled_plugins = [\"io.containerd.cri.v1.images\", \"io.containerd.grpc.v1.cri\"]\n"}, unknown: "disables CRI"},
		"as Docker has it": {version: "1.7.0", files: map[string]string{"config.toml": "disabled_plugins = [\"cri\"]\n"}, unknown: "disables CRI"},
		"others disabled":  {version: "2.0.1", files: map[string]string{"config.toml": "version = 3\ndisabled_plugins = [\"io.containerd.nri.v1.nri\"]\n"}},
		"another's plugin": {version: "2.0.1", files: map[string]string{"config.toml": "version = 3\n[plugins.\"io.containerd.nri.v1.nri\"]\ndisable = true\n"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := ContainerdFromFile(test.version, filepath.Join(tree(t, test.files), "config.toml"))
			if c.ConfigPath != test.path || !strings.Contains(c.NotChecked, test.unknown) || (test.unknown == "") != (c.NotChecked == "") {
				t.Errorf("config_path %q, not checked %q; want %q, %q", c.ConfigPath, c.NotChecked, test.path, test.unknown)
			}
			if text := fmt.Sprint(c.Findings); !strings.Contains(text, test.finding) || test.finding == "" && len(c.Findings) > 0 {
				t.Errorf("findings %s, want %q", text, test.finding)
			}
		})
	}
	if c := ContainerdFromFile("2.4.2", "/no-such-directory/config.toml"); c.NotChecked == "" {
		t.Error("a directory that is not there is taken for a configuration that is not")
	}
}

// TestFindings: what is wrong is told with its line, and what containerd makes of it.
func TestFindings(t *testing.T) {
	root := tree(t, map[string]string{
		"parse.example/hosts.toml":   "server = \"https://a\"\n[host.\"https://m\"\n",
		"word.example/hosts.toml":    "[host.\"https://m\"]\ncapabilities = [\"pull\", \"list\"]\n",
		"key.example/hosts.toml":     "[host.\"https://m\"]\nskip-verify = true\n",
		"ca.example/hosts.toml":      "[host.\"https://m\"]\nca = \"gone.pem\"\n",
		"inline.example/hosts.toml":  "host = {\"https://m\" = {}}\n",
		"capital.example/hosts.toml": "[host.\"HTTPS://m\"]\n",
		"secret.example/hosts.toml":  "[host.\"https://user:PLANTED@m\"]\ncapabilities = [\"PLANTED2\"]\n[host.\"https://m\".header]\nauthorization = [\"Basic PLANTED\", 1]\n",
	})
	c := &Containerd{Version: "2.4.2", ConfigPath: root}
	for name, want := range map[string]struct {
		line         int
		text, effect string
	}{
		"parse.example":   {2, "", "goes on without the file"},
		"word.example":    {1, `unknown capability "list"`, "goes on without the file"},
		"key.example":     {2, `unknown key "host.https://m.skip-verify"`, "ignores the key"},
		"ca.example":      {0, "gone.pem", "fails every pull"},
		"inline.example":  {1, "not written as", "does not see it"},
		"capital.example": {0, "no URL", "goes on to the next"},
		"secret.example":  {0, "", "goes on without the file"},
	} {
		a := c.Lookup(name)
		if len(a.Findings) != 1 {
			t.Errorf("%s: %d findings, want one: %+v", name, len(a.Findings), a.Findings)
			continue
		}
		f := a.Findings[0]
		if !strings.Contains(f.File, name) || want.line != 0 && f.Line != want.line || !strings.Contains(f.Text, want.text) || !strings.Contains(f.Effect, want.effect) {
			t.Errorf("%s: %+v, want %+v", name, f, want)
		}
		if strings.Contains(fmt.Sprint(f), "PLANTED\"") || strings.Contains(f.Text, "user:") {
			t.Errorf("%s: a secret is told: %+v", name, f)
		}
	}
}

func TestNotInSight(t *testing.T) {
	c := &Containerd{Version: "2.4.2", ConfigPath: "/no-such-directory/certs.d"}
	if a := c.Lookup("a.example"); a.NotChecked == "" || shown(a.Endpoints) != "https://a.example/v2" {
		t.Errorf("%+v", a)
	}
}

// TestNewest: k3s and RKE2 may both have been on a node, and one runs.
func TestNewest(t *testing.T) {
	root := tree(t, map[string]string{"k3s.toml": "", "rke2.toml": ""})
	k3s, rke2 := filepath.Join(root, "k3s.toml"), filepath.Join(root, "rke2.toml")
	must(t, os.Chtimes(k3s, time.Time{}, time.Unix(1000, 0)))
	must(t, os.Chtimes(rke2, time.Time{}, time.Unix(2000, 0)))
	if got := newest(k3s, rke2); got != rke2 {
		t.Error(got)
	}
	must(t, os.Chtimes(k3s, time.Time{}, time.Unix(3000, 0)))
	if got := newest(k3s, rke2); got != k3s {
		t.Error(got)
	}
	must(t, os.Remove(k3s))
	if got := newest(k3s, rke2); got != rke2 {
		t.Error(got)
	}
	must(t, os.Remove(rke2))
	if got := newest(k3s, rke2); got != k3s {
		t.Errorf("none is there: %s", got)
	}
}

func TestNamed(t *testing.T) {
	root := tree(t, map[string]string{"docker.io/": "", "_default/": "", "a.example_5000_/": "", "b.example:5000/": "", "a-file": ""})
	c := &Containerd{Version: "1.6.20", ConfigPath: root, Mirrors: map[string][]string{"*": nil, "inline.example": nil}}
	if got := fmt.Sprint(c.Named()); got != "[a.example:5000 b.example:5000 docker.io inline.example]" {
		t.Error(got)
	}
}

func FuzzHosts(f *testing.F) {
	f.Add([]byte("server = \"https://a\"\n[host.\"https://m\"]\ncapabilities = [\"pull\"]\n[host.\"https://m\".header]\nx = [\"y\"]\n"))
	f.Add([]byte("host = {\"a\" = {client = [[\"a\", \"b\"]]}}"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		for _, version := range []string{"1.6.20", "2.4.2"} {
			_, _, _ = mannersOf(version, false).parseHosts(text, "/nowhere")
		}
	})
}
