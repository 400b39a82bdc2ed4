package registries

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Containerd is what containerd's configuration says of registries. test/node/asked holds every rule here against the real one.
type Containerd struct {
	// Version is containerd's own, such as 1.6.20: what it makes of a configuration has changed.
	Version string
	// ConfigPath is the root of the hosts.toml files, or several with colons between them.
	ConfigPath string
	// Mirrors are the older inline mirrors by registry; "*" is for those without an entry.
	Mirrors map[string][]string
	// TLS are the older inline settings by the host of an endpoint.
	TLS map[string]InlineTLS
	// LocalPull is use_local_image_pull, or a setting that forces it.
	LocalPull bool
	// SandboxImage is the image of pod sandboxes, where the file tells it; 1.x tells it in its status too.
	SandboxImage string
	// Source is where all this is known from.
	Source string
	// NotChecked is why it is not known.
	NotChecked string
	Findings   []Finding
}

// InlineTLS is registry.configs."HOST".tls of containerd 1.x.
type InlineTLS struct {
	SkipVerify bool   `json:"insecure_skip_verify"`
	CAFile     string `json:"caFile"`
	CertFile   string `json:"certFile"`
	KeyFile    string `json:"keyFile"`
}

func (c *Containerd) manners() manners { return mannersOf(c.Version, c.LocalPull) }

// ContainerdFromStatus reads the configuration out of the verbose CRI status of containerd 1.x, which tells it whole; ok is false where it
// is not there, as in 2.x. Passwords in it are not read.
func ContainerdFromStatus(version string, info map[string]string) (c *Containerd, ok bool, err error) {
	var config struct {
		Registry *struct {
			ConfigPath string `json:"configPath"`
			Mirrors    map[string]struct {
				Endpoints []string `json:"endpoint"`
			} `json:"mirrors"`
			Configs map[string]struct {
				TLS *InlineTLS `json:"tls"`
			} `json:"configs"`
		} `json:"registry"`
	}
	text, ok := info["config"]
	if !ok {
		return nil, false, nil
	}
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return nil, false, errors.New("the runtime's status holds a configuration that is no JSON") // the parser's text may quote it
	}
	if config.Registry == nil {
		return nil, false, nil
	}
	c = &Containerd{Version: version, Source: "the runtime's status", Mirrors: make(map[string][]string), TLS: make(map[string]InlineTLS)}
	c.ConfigPath = config.Registry.ConfigPath
	for name, mirror := range config.Registry.Mirrors {
		c.Mirrors[name] = mirror.Endpoints
	}
	for name, of := range config.Registry.Configs {
		if of.TLS != nil {
			c.TLS[name] = *of.TLS
		}
	}
	return c, true, nil
}

// Lookup tells whom containerd asks for a registry, or for an image of it.
func (c *Containerd) Lookup(name string) *Answer {
	registry, _, err := split(name)
	if err != nil {
		return &Answer{Registry: registry, NotChecked: err.Error()}
	}
	a := &Answer{Registry: registry, Findings: c.Findings, NotChecked: c.NotChecked}
	if c.NotChecked != "" {
		// Most nodes have nothing configured; what the default answers is still worth knowing.
		a.Endpoints = []Endpoint{c.endpoint(host{resolve: true, pull: true, dialTimeout: defaultDialTimeout}, registry, "default", a)}
		return a
	}
	if c.ConfigPath != "" {
		c.fromHosts(registry, a)
	} else {
		c.fromMirrors(registry, a)
	}
	return a
}

// fromHosts reads the first directory that is there for the registry.
func (c *Containerd) fromHosts(registry string, a *Answer) {
	dir, err := c.hostDir(registry)
	hosts := []host{{resolve: true, pull: true, dialTimeout: defaultDialTimeout}}
	source := "default"
	switch {
	case err != nil:
		a.NotChecked = err.Error()
	case dir != "":
		hosts, source = c.readDir(dir, a)
	}
	for _, h := range hosts {
		from := source
		if h.line > 0 {
			from = fmt.Sprintf("%s:%d", source, h.line)
		}
		a.Endpoints = append(a.Endpoints, c.endpoint(h, registry, from, a))
	}
}

// hostDir finds the directory of a registry: the roots in their order, and in each its name with the port written as _port_, its name, and
// _default.
func (c *Containerd) hostDir(registry string) (string, error) {
	var names []string
	if i := strings.LastIndexByte(registry, ':'); i > 0 {
		names = append(names, registry[:i]+"_"+registry[i+1:]+"_")
	}
	names = append(names, registry, "_default")
	if !slices.ContainsFunc(filepath.SplitList(c.ConfigPath), func(root string) bool { return seen(root) || seen(filepath.Dir(root)) }) {
		return "", fmt.Errorf("config_path %s is not to be seen: it does not exist, or is not mounted", c.ConfigPath)
	}
	for _, root := range c.roots() {
		for _, name := range names {
			dir := filepath.Join(root, name)
			switch _, err := os.Stat(dir); {
			case err == nil:
				return dir, nil
			case !errors.Is(err, fs.ErrNotExist):
				return "", err
			}
		}
	}
	return "", nil
}

// readDir reads the hosts.toml of a directory, or what containerd falls back to.
func (c *Containerd) readDir(dir string, a *Answer) (hosts []host, source string) {
	file := filepath.Join(dir, "hosts.toml")
	text, err := readBounded(file, mostHostsFile)
	switch {
	case errors.Is(err, fs.ErrPermission):
		a.NotChecked = err.Error()
		return nil, file
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		a.Findings = append(a.Findings, Finding{File: file, Text: err.Error(), Effect: "containerd fails every pull from " + a.Registry})
		return nil, file
	}
	if len(text) > 0 {
		hosts, findings, err := c.manners().parseHosts(text, dir)
		if err == nil {
			for _, f := range findings {
				f.File = file
				a.Findings = append(a.Findings, f)
			}
			return hosts, file
		}
		f := Finding{File: file, Text: err.Error(), Effect: "containerd goes on without the file: no mirror and no header of it is used"}
		var at *fileError
		if errors.As(err, &at) {
			f.Line = at.line
		}
		a.Findings = append(a.Findings, f)
	}
	h, err := certificateDir(dir)
	if err != nil {
		a.NotChecked = err.Error()
	}
	return []host{h}, dir
}

// endpoint is what containerd makes of a host.
func (c *Containerd) endpoint(h host, registry, source string, a *Answer) Endpoint {
	m := c.manners()
	e := Endpoint{Registry: registry, Resolve: h.resolve && h.pull, Pull: h.pull, Header: h.header, DialTimeout: h.dialTimeout, Source: source}
	if h.scheme != "" && (h.name == "" || strings.HasSuffix(h.name, ":") || h.scheme != "http" && h.scheme != "https") {
		a.Findings = append(a.Findings, Finding{File: source, Text: "a host that is no URL", Effect: "containerd cannot ask it, and goes on to the next"})
	}
	if h.name == "" && h.scheme == "" {
		h.scheme, h.name, h.path = "https", registry, "/v2"
		switch {
		case registry == "docker.io":
			h.name = "registry-1.docker.io"
		case isLocalhost(registry):
			port := portOf(registry)
			if port != "" && port != "443" || !m.fallsBack {
				h.scheme = "http"
			}
			if port != "80" && m.fallsBack {
				skip := true
				h.table.SkipVerify = &skip
			}
		}
		h.resolve, h.pull = true, true
		e.Resolve, e.Pull = true, true
	}
	config, err := h.trust(x509.SystemCertPool)
	switch {
	case errors.Is(err, fs.ErrPermission):
		if a.NotChecked == "" {
			a.NotChecked = err.Error()
		}
	case err != nil:
		a.Findings = append(a.Findings, Finding{File: source, Text: err.Error(), Effect: "containerd fails every pull from " + registry})
	}
	e.TLS = config
	if h.scheme == "http" && config != nil && portOf(h.name) != "80" && m.fallsBack {
		h.scheme, e.FallsBackToHTTP = "https", true
	}
	e.URL = url.URL{Scheme: h.scheme, Host: h.name, Path: h.path}
	e.Mirror = isMirror(h.name, registry)
	e.Namespaced = e.Mirror
	return e
}

// isMirror tells a host that is not the registry itself. Containerd names the registry to those (docker.RegistryHost.isProxy).
func isMirror(host, registry string) bool {
	return host != registry && (registry != "docker.io" || host != "registry-1.docker.io")
}

func portOf(hostPort string) string {
	_, port, _ := net.SplitHostPort(hostPort)
	return port
}

// fromMirrors reads the inline mirrors. The registry itself is asked last, unless it is among them.
func (c *Containerd) fromMirrors(registry string, a *Answer) {
	mirrors, ok := c.Mirrors[registry]
	if !ok {
		mirrors = c.Mirrors["*"]
	}
	origin := registry
	if registry == "docker.io" {
		origin = "registry-1.docker.io"
	}
	listed := false
	for _, text := range mirrors {
		if !strings.Contains(text, "://") {
			text = inlineScheme(text) + "://" + text
		}
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			a.Findings = append(a.Findings, Finding{File: c.Source, Text: "a mirror of " + registry + " is no URL", Effect: "containerd fails every pull from " + registry})
			continue
		}
		listed = listed || u.Host == registry
		a.Endpoints = append(a.Endpoints, c.inline(u, registry, a))
	}
	if !listed {
		a.Endpoints = append(a.Endpoints, c.inline(&url.URL{Scheme: inlineScheme(origin), Host: origin}, registry, a))
	}
}

// inlineScheme is how an endpoint without a scheme is asked.
func inlineScheme(name string) string {
	name, _, _ = strings.Cut(name, "/")
	if isLocalhost(name) {
		return "http"
	}
	return "https"
}

func (c *Containerd) inline(u *url.URL, registry string, a *Answer) Endpoint {
	mirror := isMirror(u.Host, registry)
	e := Endpoint{Registry: registry, Mirror: mirror, Namespaced: mirror, Resolve: true, Pull: true, DialTimeout: defaultDialTimeout, Source: c.Source}
	e.URL = url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, "/")}
	if u.Path == "" {
		e.URL.Path = "/v2"
	}
	if c.manners().inlineTLS {
		if t, ok := c.TLS[u.Host]; ok {
			var h host
			h.table.SkipVerify = &t.SkipVerify
			if t.CAFile != "" {
				h.caFiles = []string{t.CAFile}
			}
			if t.CertFile != "" {
				h.clients = [][2]string{{t.CertFile, t.KeyFile}}
			}
			config, err := h.trust(x509.SystemCertPool)
			if err != nil {
				a.Findings = append(a.Findings, Finding{File: c.Source, Text: err.Error(), Effect: "containerd fails every pull from " + registry})
			}
			e.TLS = config
		}
	}
	return e
}
