package registries

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
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

// Lookup tells whom CRI-O asks for an image, or for a registry as a whole.
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
	if _, err := sysregistriesv2.TryUpdatingCache(c.system()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		if errors.Is(err, fs.ErrPermission) {
			a.NotChecked = err.Error()
			return a
		}
		a.find(Finding{File: registriesConf, Text: err.Error(), Effect: "CRI-O fails every pull once it reads the file again"})
		a.NotChecked = registriesConf + " or a file beside it cannot be parsed"
		return a
	}
	insecure, source, whole := c.insecure(registry, a), registriesConf, !strings.Contains(name, "/")
	written := named.Name()
	if whole {
		written = registry
	}
	of, err := sysregistriesv2.FindRegistry(c.system(), written)
	if err != nil || of == nil {
		of, source = &sysregistriesv2.Registry{Prefix: registry, Endpoint: sysregistriesv2.Endpoint{Location: registry}}, "default"
	}
	c.ask(a, of, named, insecure, source)
	if a.Blocked != "" {
		effect := "CRI-O refuses to pull from it (policy_rejected)"
		if len(a.Endpoints) > 0 {
			effect = "CRI-O pulls from its mirrors alone, and refuses what they do not give (policy_rejected)"
		}
		a.find(Finding{File: registriesConf, Text: of.Prefix + " is blocked", Effect: effect})
	}
	if whole {
		c.askParts(a, insecure)
	}
	return a
}

// ask notes whom CRI-O asks for what an entry of registries.conf is written of: the mirrors, and last the entry's own location, the origin. Whether one of
// them is blocked is said by the entry that is written of it (docker/docker_client.go, newDockerClient).
func (c *CRIO) ask(a *Answer, of *sysregistriesv2.Registry, named imagereference.Named, insecure bool, source string) {
	// All of them are wanted here, those for tags and those for digests: Resolve and Pull tell them apart.
	every := *of
	every.MirrorByDigestOnly, every.Mirrors = false, slices.Clone(of.Mirrors)
	for i := range every.Mirrors {
		every.Mirrors[i].PullFromMirror = ""
	}
	sources, err := every.PullSourcesFromReference(named)
	if err != nil {
		a.find(Finding{File: registriesConf, Text: fmt.Sprintf("%s: %v", of.Prefix, err), Effect: "CRI-O fails every pull from it"})
		a.NotChecked = fmt.Sprintf("whom CRI-O asks for %s: %v", of.Prefix, err)
		return
	}
	for i, from := range sources {
		mirror := i < len(of.Mirrors)
		if at, err := sysregistriesv2.FindRegistry(c.system(), from.Reference.Name()); err == nil && at != nil && at.Blocked {
			if !mirror {
				a.Blocked = fmt.Sprintf("CRI-O refuses to pull from %s, which is blocked in %s or a file beside it", at.Prefix, registriesConf)
			}
			continue
		}
		e := c.endpoint(imagereference.Domain(from.Reference), a.Registry, from.Endpoint.Insecure || insecure, source, a)
		if path := imagereference.Path(from.Reference); path != imagereference.Path(named) {
			e.Repository = path
		}
		if e.Mirror = mirror; mirror {
			only := of.Mirrors[i].PullFromMirror
			e.Resolve = !of.MirrorByDigestOnly && only != sysregistriesv2.MirrorByDigestOnly
			e.Pull = only != sysregistriesv2.MirrorByTagOnly
		}
		a.Endpoints = append(a.Endpoints, e)
	}
}

// askParts adds to the answer for a registry as a whole what CRI-O asks for some of its repositories alone, before the origin: OpenShift writes all mirrors
// so (ImageDigestMirrorSet, ImageTagMirrorSet). One host is asked once, whatever paths it has them at.
func (c *CRIO) askParts(a *Answer, insecure bool) {
	last := len(a.Endpoints)
	for i := range a.Endpoints {
		a.Endpoints[i].Repository = "" // of the name that split made up
		if !a.Endpoints[i].Mirror {
			last = i
		}
	}
	all, _ := sysregistriesv2.GetRegistries(c.system()) // an error is Lookup's
	for i := range all {
		named, err := imagereference.ParseNamed(all[i].Prefix + "/no-such")
		if err != nil || !strings.HasPrefix(all[i].Prefix, a.Registry+"/") {
			continue
		}
		part := &Answer{Registry: a.Registry}
		c.ask(part, &all[i], named, insecure, registriesConf)
		for _, e := range part.Endpoints {
			n := slices.IndexFunc(a.Endpoints, func(other Endpoint) bool { return other.URL == e.URL })
			switch {
			case n < 0:
				e.Mirror, e.Partial, e.Repository = true, true, ""
				a.Endpoints = slices.Insert(a.Endpoints, last, e)
				last++
			case a.Endpoints[n].Partial:
				a.Endpoints[n].Resolve, a.Endpoints[n].Pull = a.Endpoints[n].Resolve || e.Resolve, a.Endpoints[n].Pull || e.Pull
			}
		}
		for _, f := range part.Findings {
			a.find(f)
		}
		a.NotChecked = cmp.Or(a.NotChecked, part.NotChecked)
	}
}

// find adds a finding, once.
func (a *Answer) find(f Finding) {
	if !slices.Contains(a.Findings, f) {
		a.Findings = append(a.Findings, f)
	}
}

func (c *CRIO) system() *types.SystemContext {
	return &types.SystemContext{SystemRegistriesConfPath: c.Root + registriesConf, SystemRegistriesConfDirPath: c.Root + registriesConfDir}
}

// split reads an image or a registry's name. The reference of a registry is made up: what it names is asked of nobody.
func split(name string) (registry string, named imagereference.Named, err error) {
	text := name
	if !strings.Contains(name, "/") {
		text = name + "/no-such/repository"
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
			a.find(Finding{File: dir, Text: err.Error(), Effect: "CRI-O fails every pull from " + registry})
		}
		return nil
	}
	return nil
}
