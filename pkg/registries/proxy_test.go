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
				if got := proxyOf(t, p, address); got != want {
					t.Errorf("%s goes through %q, want %q", address, got, want)
				}
			}
		})
	}
}

// TestUnitsAsShipped: the units that k3s, RKE2 and CRI-O bring name files that need not be there, by the name of the unit.
func TestUnitsAsShipped(t *testing.T) {
	const (
		k3s    = "etc/systemd/system/k3s.service"
		agent  = "usr/local/lib/systemd/system/rke2-agent.service"
		server = "usr/local/lib/systemd/system/rke2-server.service"
		crio   = "usr/lib/systemd/system/crio.service"
		wanted = "etc/systemd/system/multi-user.target.wants/"

		rancher = "[Service]\nEnvironmentFile=-/etc/default/%N\nEnvironmentFile=-/etc/sysconfig/%N\n"
		rke2    = rancher + "EnvironmentFile=-/usr/local/lib/systemd/system/%N.env\n"
		globbed = "[Service]\nEnvironmentFile=-/etc/proxy.d/*.env\n"
	)
	tests := map[string]struct {
		files  map[string]string
		known  bool
		source string
		https  string
	}{
		"k3s, both directories in sight":  {files: map[string]string{k3s: rancher, "etc/default/": "", "etc/sysconfig/": ""}, known: true, source: "k3s.service"},
		"k3s, one of them is not":         {files: map[string]string{k3s: rancher, "etc/default/": ""}, source: "sysconfig/k3s: no such file"},
		"k3s, one is not, on a host":      {files: map[string]string{k3s: rancher, "etc/default/": "", "etc/os-release": "", "run/systemd/system/": ""}, known: true, source: "k3s.service"},
		"k3s, a host's /etc in a pod":     {files: map[string]string{k3s: rancher, "etc/default/": "", "etc/os-release": ""}, source: "no such file"},
		"k3s, a proxy in /etc/default":    {files: map[string]string{k3s: rancher, "etc/default/k3s": "HTTPS_PROXY=http://k3s:1\n", "etc/sysconfig/": ""}, known: true, source: "/etc/default/k3s", https: "http://k3s:1"},
		"k3s, one for containerd":         {files: map[string]string{k3s: rancher, "etc/default/k3s": "CONTAINERD_HTTPS_PROXY=http://for:1\n", "etc/sysconfig/": ""}, known: true, source: "/etc/default/k3s", https: "http://for:1"},
		"k3s, another one for containerd": {files: map[string]string{k3s: rancher, "etc/default/k3s": "HTTPS_PROXY=http://k3s:1\nCONTAINERD_HTTPS_PROXY=http://for:1\n", "etc/sysconfig/": ""}, known: true, source: "/etc/default/k3s", https: "http://for:1"},
		"k3s, none for containerd":        {files: map[string]string{k3s: rancher, "etc/default/k3s": "HTTPS_PROXY=http://k3s:1\nCONTAINERD_NO_PROXY=registry.example\n", "etc/sysconfig/": ""}, known: true, source: "/etc/default/k3s"},
		"RKE2, a server": {
			files: map[string]string{agent: rke2, server: rke2, wanted + "rke2-server.service": "", "etc/default/rke2-server": "CONTAINERD_HTTPS_PROXY=http://server:1\n", "etc/default/rke2-agent": "HTTPS_PROXY=http://agent:1\n", "etc/sysconfig/": ""},
			known: true, source: "/etc/default/rke2-server", https: "http://server:1",
		},
		"RKE2, an agent": {
			files: map[string]string{agent: rke2, server: rke2, wanted + "rke2-agent.service": "", "etc/default/": "", "etc/sysconfig/": ""},
			known: true, source: "rke2-agent.service",
		},
		"RKE2, neither is enabled":    {files: map[string]string{agent: rke2, server: rke2, "etc/default/": "", "etc/sysconfig/": ""}, source: "rke2-agent.service, rke2-server.service"},
		"CRI-O":                       {files: map[string]string{crio: "[Service]\nEnvironmentFile=-/etc/sysconfig/crio\n", "etc/sysconfig/crio": "HTTPS_PROXY=http://crio:1\n"}, known: true, source: "/etc/sysconfig/crio", https: "http://crio:1"},
		"CRI-O has no such prefix":    {files: map[string]string{crio: "[Service]\nEnvironment=CONTAINERD_HTTPS_PROXY=http://for:1\n"}, known: true},
		"all of the specifiers":       {files: map[string]string{crio: "[Service]\nEnvironmentFile=/etc/x/%n/%N/%p/%%.env\n", "etc/x/crio.service/crio/crio/%.env": "HTTPS_PROXY=http://all:1\n"}, known: true, source: "%.env", https: "http://all:1"},
		"a specifier that is another": {files: map[string]string{crio: "[Service]\nEnvironmentFile=-/etc/default/%H\n", "etc/default/": ""}, source: "%H"},
		"a percent at the end":        {files: map[string]string{crio: "[Service]\nEnvironmentFile=-/etc/default/%\n", "etc/default/": ""}, source: "specifier"},
		"wildcards, the last wins":    {files: map[string]string{crio: globbed, "etc/proxy.d/20.env": "HTTPS_PROXY=http://twenty:1\n", "etc/proxy.d/10.env": "HTTPS_PROXY=http://ten:1\n", "etc/proxy.d/x": "HTTPS_PROXY=http://other:1\n"}, known: true, source: "20.env", https: "http://twenty:1"},
		"wildcards, a hidden file":    {files: map[string]string{crio: globbed, "etc/proxy.d/.x.env": "HTTPS_PROXY=http://hidden:1\n"}, known: true, source: "crio.service"},
		"wildcards for none":          {files: map[string]string{crio: globbed, "etc/proxy.d/": ""}, known: true, source: "crio.service"},
		"wildcards with an exception": {files: map[string]string{crio: "[Service]\nEnvironmentFile=-/etc/proxy.d/[!a]*\n", "etc/proxy.d/a": "HTTPS_PROXY=http://a:1\n"}, known: true, source: "crio.service"},
		"wildcards that must be":      {files: map[string]string{crio: "[Service]\nEnvironmentFile=/etc/proxy.d/*.env\n", "etc/proxy.d/": ""}, source: "not exist"},
		"wildcards not in sight":      {files: map[string]string{crio: globbed}, source: "not to be seen"},
		"wildcards for none, a host":  {files: map[string]string{crio: globbed, "etc/os-release": "", "run/systemd/system/": ""}, known: true, source: "crio.service"},
		"wildcards in a pod's /etc":   {files: map[string]string{crio: "[Service]\nEnvironmentFile=-/etc/*.d/p.env\n", "etc/a.d/p.env": ""}, source: "not to be seen"},
		"wildcards of a directory":    {files: map[string]string{crio: "[Service]\nEnvironmentFile=-/etc/*.d/p.env\n", "etc/os-release": "", "etc/a.d/p.env": "HTTPS_PROXY=http://a:1\n"}, known: true, source: "/etc/a.d/p.env", https: "http://a:1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			units := UnitsOf("containerd", "/run/k3s/containerd/containerd.sock")
			if test.files[crio] != "" {
				units = UnitsOf("cri-o", "/run/crio/crio.sock")
			}
			p := ProxyFromUnits(tree(t, test.files), units)
			if p.Known != test.known || !strings.Contains(p.Source, test.source) {
				t.Errorf("known %v by %q, want %v by %q", p.Known, p.Source, test.known, test.source)
			}
			if got := proxyOf(t, p, "https://registry.example/"); got != test.https {
				t.Errorf("goes through %q, want %q", got, test.https)
			}
		})
	}
}

// proxyOf is the proxy for an address, empty for none.
func proxyOf(t *testing.T, p Proxying, address string) string {
	t.Helper()
	if p.For == nil {
		return ""
	}
	u, err := url.Parse(address)
	must(t, err)
	proxy, err := p.For(u)
	must(t, err)
	if proxy == nil {
		return ""
	}
	return proxy.String()
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
