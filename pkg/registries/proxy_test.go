package registries

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree writes files below a directory of the test's own; a name that ends with a slash is a directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if strings.HasSuffix(name, "/") {
			must(t, os.MkdirAll(path, 0o755))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return root
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestProxyFromUnits(t *testing.T) {
	const (
		containerd = "lib/systemd/system/containerd.service"
		dropIn     = "etc/systemd/system/containerd.service.d/"
		plain      = "[Unit]\nDescription=x\n[Service]\nExecStart=/usr/bin/containerd\n"
	)
	tests := map[string]struct {
		files  map[string]string
		known  bool
		source string
		https  string // the proxy for https://registry.example/
		inside string // and for https://registry.corp.example/
	}{
		"no directory": {source: "no unit containerd.service"},
		"no proxy":     {files: map[string]string{containerd: plain}, known: true, source: "/lib/systemd/system/containerd.service"},
		"a drop-in": {
			files: map[string]string{containerd: plain, dropIn + "http-proxy.conf": `[Service]
# everything through the proxy
Environment="HTTP_PROXY=http://plain.corp.example:3128" "HTTPS_PROXY=http://user:PLANTED@proxy.corp.example:3128"
Environment='NO_PROXY=.corp.example,10.0.0.0/8'
`},
			known: true, source: "http-proxy.conf", https: "http://user:PLANTED@proxy.corp.example:3128",
		},
		"lower case, a line continued": {
			files: map[string]string{containerd: plain, dropIn + "a.conf": "[Service]\nEnvironment=https_proxy=http://proxy.example:1 \\\n  no_proxy=registry.example\n"},
			known: true, source: "a.conf", inside: "http://proxy.example:1",
		},
		"the later file wins": {
			files: map[string]string{containerd: plain, dropIn + "10.conf": "[Service]\nEnvironment=HTTPS_PROXY=http://ten:1\n", dropIn + "20.conf": "[Service]\nEnvironment=HTTPS_PROXY=http://twenty:1\n"},
			known: true, source: "20.conf", https: "http://twenty:1", inside: "http://twenty:1",
		},
		"/etc hides the same name elsewhere": {
			files: map[string]string{containerd: plain, "usr/lib/systemd/system/containerd.service.d/10.conf": "[Service]\nEnvironment=HTTPS_PROXY=http://vendor:1\n", dropIn + "10.conf": "[Service]\n"},
			known: true, source: "containerd.service",
		},
		"an empty value takes all back": {
			files: map[string]string{containerd: plain, dropIn + "10.conf": "[Service]\nEnvironment=HTTPS_PROXY=http://ten:1\n", dropIn + "20.conf": "[Service]\nEnvironment=\n"},
			known: true, source: "10.conf",
		},
		"unset": {
			files: map[string]string{containerd: plain, dropIn + "10.conf": "[Service]\nEnvironment=HTTPS_PROXY=http://ten:1\nUnsetEnvironment=HTTPS_PROXY\n"},
			known: true, source: "10.conf",
		},
		"an environment file is stronger": {
			files: map[string]string{containerd: plain + "Environment=HTTPS_PROXY=http://unit:1\nEnvironmentFile=-/etc/default/containerd\n", "etc/default/containerd": "# c\nHTTPS_PROXY=\"http://file:1\"\n"},
			known: true, source: "/etc/default/containerd", https: "http://file:1", inside: "http://file:1",
		},
		"an environment file that need not be": {
			files: map[string]string{containerd: plain + "EnvironmentFile=-/etc/default/containerd\n", "etc/default/": ""},
			known: true, source: "containerd.service",
		},
		"one whose directory is not in sight":  {files: map[string]string{containerd: plain + "EnvironmentFile=-/etc/default/containerd\n"}, source: "no such file"},
		"one in /etc, which is not the host's": {files: map[string]string{containerd: plain + "EnvironmentFile=-/etc/environment\n", "etc/hosts": ""}, source: "no such file"},
		"one in the host's /etc":               {files: map[string]string{containerd: plain + "EnvironmentFile=-/etc/environment\n", "etc/os-release": ""}, known: true, source: "containerd.service"},
		"for all units": {
			files: map[string]string{containerd: plain, "etc/systemd/system.conf": "[Manager]\nDefaultEnvironment=\"HTTPS_PROXY=http://all:1\"\n"},
			known: true, source: "system.conf", https: "http://all:1", inside: "http://all:1",
		},
		"for all services": {
			files: map[string]string{containerd: plain, "etc/systemd/system/service.d/p.conf": "[Service]\nEnvironment=HTTPS_PROXY=http://all:1\n"},
			known: true, source: "p.conf", https: "http://all:1", inside: "http://all:1",
		},
		"a percent": {
			files: map[string]string{containerd: plain, dropIn + "p.conf": "[Service]\nEnvironment=\"HTTPS_PROXY=http://user:p%%40ss@proxy:1\"\n"},
			known: true, source: "p.conf", https: "http://user:p%40ss@proxy:1", inside: "http://user:p%40ss@proxy:1",
		},
		"a unit that is a directory": {files: map[string]string{"etc/systemd/system/containerd.service/": ""}, source: "not a regular file"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := ProxyFromUnits(tree(t, test.files), UnitsOf("containerd", "/run/containerd/containerd.sock"))
			if p.Known != test.known || !strings.Contains(p.Source, test.source) {
				t.Errorf("known %v by %q, want %v by %q", p.Known, p.Source, test.known, test.source)
			}
			for address, want := range map[string]string{"https://registry.example/": test.https, "https://registry.corp.example/": test.inside} {
				got := ""
				if p.For != nil {
					u, err := url.Parse(address)
					must(t, err)
					proxy, err := p.For(u)
					must(t, err)
					if proxy != nil {
						got = proxy.String()
					}
				}
				if got != want {
					t.Errorf("%s goes through %q, want %q", address, got, want)
				}
			}
		})
	}
}

func TestProxySecrets(t *testing.T) {
	for _, text := range []string{"http://user:PLANTED-x@proxy:1", "user:PLANTED-x@proxy:1", "http://user:PLANTED-x@[bad", "http://a@b:PLANTED-x@proxy:1"} {
		p := ProxyFromEnvironment(func(name string) string {
			if name == "HTTPS_PROXY" {
				return text
			}
			return ""
		}, "environment")
		if !strings.Contains(fmt.Sprint(p.Secrets), "PLANTED-x") {
			t.Errorf("%s: secrets %q", text, p.Secrets)
		}
		if _, err := p.For(&url.URL{Scheme: "https", Host: "registry.example"}); err != nil && strings.Contains(err.Error(), "PLANTED") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		`a b`: `["a" "b"]`, `"a b" c`: `["a b" "c"]`, `'a "b'`: `["a \"b"]`, `a\ b`: `["a b"]`, ` `: `[]`, `""`: `[""]`, `"open`: `["open"]`, `k="v w" x`: `["k=v w" "x"]`,
	} {
		if got := fmt.Sprintf("%q", words(text)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
