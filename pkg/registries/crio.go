package registries

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/distribution/reference"
	imagereference "go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/sysregistriesv2"
	"go.podman.io/image/v5/types"
)

// Where the libraries of CRI-O look (containers-registries.conf(5), containers-certs.d(5)).
const (
	registriesConf    = "/etc/containers/registries.conf"
	registriesConfDir = "/etc/containers/registries.conf.d"
)

var certificateDirs = []string{"/etc/containers/certs.d", "/etc/docker/certs.d"}

// crioDialTimeout is that of CRI-O's image library (docker/docker_client.go).
const crioDialTimeout = 30 * time.Second

// CRIO is what CRI-O's configuration says of registries.
type CRIO struct {
	Version string
	Root    string // put before every path; empty but in tests
}

// Lookup tells whom CRI-O asks for an image, or for a registry as a whole. Prefixes that name repositories apply to images alone.
func (c *CRIO) Lookup(name string) *Answer {
	registry, named, err := split(name)
	a := &Answer{Registry: registry}
	if err != nil {
		a.NotChecked = err.Error()
		return a
	}
	if file := c.Root + registriesConf; !seen(file) && !dirInSight(c.Root, filepath.Dir(registriesConf)) {
		a.NotChecked = fmt.Sprintf("%s is not to be seen: it does not exist, or is not mounted", filepath.Dir(registriesConf))
	}
	system := c.system()
	if _, err := sysregistriesv2.TryUpdatingCache(system); err != nil && !errors.Is(err, fs.ErrNotExist) {
		if errors.Is(err, fs.ErrPermission) {
			a.NotChecked = err.Error()
			return a
		}
		a.Findings = append(a.Findings, Finding{File: registriesConf, Text: err.Error(), Effect: "CRI-O fails every pull once it reads the file again"})
		a.NotChecked = registriesConf + " or a file beside it cannot be parsed"
		return a
	}
	of, err := sysregistriesv2.FindRegistry(system, named.String())
	insecure := c.insecure(registry, a)
	if err != nil || of == nil {
		a.Endpoints = []Endpoint{c.endpoint(registry, registry, insecure, "default", a)}
		return a
	}
	source := registriesConf
	if of.Blocked {
		a.Findings = append(a.Findings, Finding{File: source, Text: fmt.Sprintf("%s is blocked", of.Prefix), Effect: "CRI-O refuses to pull from it (policy_rejected)"})
	}
	for _, mirror := range of.Mirrors {
		host, _, _ := strings.Cut(mirror.Location, "/")
		e := c.endpoint(host, registry, mirror.Insecure || insecure, source, a)
		e.Mirror = true
		e.Resolve = !of.MirrorByDigestOnly && mirror.PullFromMirror != sysregistriesv2.MirrorByDigestOnly
		e.Pull = mirror.PullFromMirror != sysregistriesv2.MirrorByTagOnly
		a.Endpoints = append(a.Endpoints, e)
	}
	location := registry // a wildcard has none
	if of.Location != "" {
		location, _, _ = strings.Cut(of.Location, "/")
	}
	a.Endpoints = append(a.Endpoints, c.endpoint(location, registry, of.Insecure || insecure, source, a))
	return a
}

func (c *CRIO) system() *types.SystemContext {
	return &types.SystemContext{SystemRegistriesConfPath: c.Root + registriesConf, SystemRegistriesConfDirPath: c.Root + registriesConfDir}
}

// split reads an image or a registry's name. The reference of a registry is made up: what it names is asked of nobody.
func split(name string) (registry string, named imagereference.Named, err error) {
	text := name
	if !strings.Contains(name, "/") {
		text = name + "/pullwatch/pullwatch"
	}
	parsed, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return name, nil, fmt.Errorf("%q: %w", name, err)
	}
	named, err = imagereference.ParseNamed(parsed.String())
	return reference.Domain(parsed), named, err
}

// endpoint is how CRI-O asks a host: by HTTPS, and where it is insecure without verification, and by HTTP after that.
func (c *CRIO) endpoint(host, registry string, insecure bool, source string, a *Answer) Endpoint {
	e := Endpoint{Registry: registry, Resolve: true, Pull: true, DialTimeout: crioDialTimeout, Source: source, FallsBackToHTTP: insecure}
	e.URL = url.URL{Scheme: "https", Host: host, Path: "/v2"}
	if host == "docker.io" {
		e.URL.Host = "registry-1.docker.io"
	}
	e.TLS = c.trust(host, registry, a)
	if insecure {
		if e.TLS == nil {
			e.TLS = &tls.Config{}
		}
		e.TLS.InsecureSkipVerify = true //nolint:gosec // as CRI-O is told to
	}
	return e
}

// trust reads the first certificate directory that is there for a host.
func (c *CRIO) trust(host, registry string, a *Answer) *tls.Config {
	for _, dir := range certificateDirs {
		dir = c.Root + filepath.Join(dir, host)
		if !seen(dir) {
			continue
		}
		h, err := certificateDir(dir)
		if err == nil {
			var config *tls.Config
			if config, err = h.trust(x509.SystemCertPool); err == nil {
				return config
			}
		}
		if errors.Is(err, fs.ErrPermission) {
			a.NotChecked = err.Error()
		} else {
			a.Findings = append(a.Findings, Finding{File: dir, Text: err.Error(), Effect: "CRI-O fails every pull from " + registry})
		}
		return nil
	}
	return nil
}
