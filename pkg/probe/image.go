package probe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

// mostManifest bounds a manifest, an index or a configuration, in bytes. Registries take no larger one (OCI distribution, 4 MiB).
const mostManifest = 4 << 20

// mostLayers bounds the layers of an image. Overlay filesystems stack no more than 127 (docker), 500 is the kernel's own bound.
const mostLayers = 500

// mostBlob bounds what a manifest may say of the size of a layer or a configuration, in bytes. 1 TiB takes more than a day at 10 MB/s, and the sum of
// mostLayers of them is still a number.
const mostBlob = 1 << 40

// The media types of manifests, in the order in which containerd asks for them.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociIndex       = "application/vnd.oci.image.index.v1+json"
)

var acceptManifests = strings.Join([]string{dockerManifest, dockerList, ociManifest, ociIndex, "*/*"}, ", ")

// Image is what a registry tells of one image, asked as the runtime would ask for it, without credentials but Prober.Login.
type Image struct {
	Image   string    `json:"image"`
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"`
	// OK is whether this node could pull it so, as far as was looked. It is nil where that is not known.
	OK         *bool       `json:"ok"`
	LoginSent  bool        `json:"loginSent,omitempty"` // who gave the answer, or its token service, had asked for the login
	Cause      cause.Cause `json:"cause,omitempty"`
	Error      string      `json:"error,omitempty"`
	NotChecked string      `json:"notChecked,omitempty"`
	Requests   int         `json:"requests"` // made, at registry, token service and blob store

	Endpoint  string   `json:"endpoint,omitempty"` // that gave the manifest
	Digest    string   `json:"digest,omitempty"`   // of what the tag names
	MediaType string   `json:"mediaType,omitempty"`
	Index     bool     `json:"index,omitempty"`
	Platforms []string `json:"platforms,omitempty"` // offered
	Platform  string   `json:"platform,omitempty"`  // that this node's runtime would take
	// ConfigDigest is the image's ID on a node with containerd or CRI-O.
	ConfigDigest  string     `json:"configDigest,omitempty"`
	Layers        []Layer    `json:"layers,omitempty"`
	DownloadBytes int64      `json:"downloadBytes,omitempty"` // configuration and layers, compressed
	Blob          *Blob      `json:"blob,omitempty"`
	RateLimit     *RateLimit `json:"rateLimit,omitempty"`
	RetryAfter    float64    `json:"retryAfterSeconds,omitempty"`
	Warnings      []string   `json:"warnings,omitempty"`
}

// Layer is one layer of an image.
type Layer struct {
	Digest    string `json:"digest"`
	SizeBytes int64  `json:"sizeBytes"` // compressed
	// DiffID is the digest of what it unpacks to, by which a node knows that it has it. It is empty where the image's configuration was not had.
	DiffID string `json:"diffID,omitempty"`
}

// Blob is one layer, asked for through its redirects to the host that serves it: that is often another one than the registry.
type Blob struct {
	Digest string `json:"digest"`
	Host   string `json:"host"`
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
}

// RateLimit is what the registry says that is left (Docker Hub: ratelimit-limit, ratelimit-remaining). The budget belongs to the address that
// the registry sees, so that all nodes behind one NAT read the same numbers.
type RateLimit struct {
	Limit         int     `json:"limit"`
	Remaining     int     `json:"remaining"`
	WindowSeconds float64 `json:"windowSeconds"`
	Source        string  `json:"source"` // whose: anonymous, or that of the login
}

// descriptor is one entry of a manifest (OCI image spec, descriptor.md).
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
	Platform  *struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
		Variant      string `json:"variant"`
	} `json:"platform"`
}

// manifest is an index or a manifest.
type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

// Resolve asks by HEAD what a tag names, or whether a digest is there, and no more: Docker Hub counts a GET of a manifest as a pull.
func (p *Prober) Resolve(ctx context.Context, image string, answer *registries.Answer, reach Reach) *Image {
	return p.image(ctx, image, answer, reach, func(ctx context.Context, i *Image, s *session, ask string) { i.resolve(ctx, s, ask) })
}

// Image asks for an image at the endpoints of its registry, in their order, as far as the first layer's first byte, as for
// a machine.
func (p *Prober) Image(ctx context.Context, image string, answer *registries.Answer, reach Reach, m Machine) *Image {
	return p.image(ctx, image, answer, reach, func(ctx context.Context, i *Image, s *session, ask string) { i.ask(ctx, s, ask, m) })
}

func (p *Prober) image(
	ctx context.Context, image string, answer *registries.Answer, reach Reach, asking func(ctx context.Context, i *Image, s *session, ask string),
) *Image {
	ctx, cancel := context.WithTimeout(ctx, 3*Timeout)
	defer cancel()
	start := time.Now()
	i := &Image{Image: image, At: p.now(), NotChecked: answer.NotChecked}
	defer func() { i.Seconds = time.Since(start).Seconds() }()
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		no := false
		i.OK = &no
		i.fail(cause.InvalidReference, fmt.Errorf("%q: %w", image, err))
		return i
	}
	ask := "latest"
	d, byDigest := named.(reference.Digested)
	if byDigest {
		ask = d.Digest().String()
	} else if t, ok := named.(reference.Tagged); ok {
		ask = t.Tag()
	}
	endpoints := asked(slices.DeleteFunc(slices.Clone(answer.Endpoints), func(e registries.Endpoint) bool { return byDigest && !e.Pull || !byDigest && !e.Resolve }))
	if len(endpoints) == 0 && answer.Blocked != "" {
		no := false
		i.OK, i.NotChecked = &no, ""
		i.fail(cause.PolicyRejected, errors.New(answer.Blocked))
		return i
	}

	// The first endpoint that has the manifest is the one that counts; else what the last, the origin, said.
	for n := range endpoints {
		e := &endpoints[n]
		s := &session{p: p, e: e, reach: reach, repository: cmp.Or(e.Repository, reference.Path(named)), image: i}
		if e.Mirror {
			s.reach = Anywhere
		}
		i.Cause, i.Error, i.OK, i.LoginSent = cause.None, "", nil, false
		asking(ctx, i, s, ask)
		s.strike()
		if i.Cause == cause.None {
			i.Endpoint = e.Name()
			break
		}
		if i.Cause == cause.PlatformMismatch || i.Cause == cause.UnsupportedFormat {
			break // the manifest is there, and containerd looks no further
		}
	}
	switch {
	case i.Cause == cause.None && i.Digest != "":
		yes := true
		i.OK = &yes
	case i.Cause == cause.Unknown: // an address that is not asked
		i.Cause = cause.None
	case answer.NotChecked != "": // the runtime may ask somebody else, who has it
	case i.Cause.Scope() == cause.ScopeNetwork && !p.Proxying.Known:
		i.NotChecked = "whether the runtime uses a proxy is not known: " + p.Proxying.Source
	case i.Cause != cause.None:
		no := false
		i.OK = &no
	}
	return i
}

func (i *Image) fail(why cause.Cause, err error) { i.Cause, i.Error = why, text(err) }

// resolve finds the digest, by HEAD as the runtime does. Some registries know no HEAD, or give no digest with it.
func (i *Image) resolve(ctx context.Context, s *session, ask string) (ok bool) {
	v := s.do(ctx, http.MethodHead, "manifests/"+ask, acceptManifests)
	if i.RateLimit = rateLimit(v.header); i.RateLimit != nil && i.LoginSent {
		i.RateLimit.Source = s.p.Login.Source
	}
	if v.err == nil && (v.status == http.StatusMethodNotAllowed || v.status == http.StatusOK && v.header.Get("Docker-Content-Digest") == "") {
		v = s.do(ctx, http.MethodGet, "manifests/"+ask, acceptManifests)
	}
	if !i.good(v, ask) {
		return false
	}
	i.Digest, i.MediaType = bounded(v.header.Get("Docker-Content-Digest"), 100), bounded(v.header.Get("Content-Type"), 200)
	switch _, err := digest.Parse(ask); {
	case err == nil: // whatever the registry says of it, this was asked for
		i.Digest = ask
	case i.Digest == "": // then it is worked out, as containerd does it
		i.Digest = digest.FromBytes(v.body).String()
	}
	return true
}

// ask goes the way of a pull at one endpoint.
func (i *Image) ask(ctx context.Context, s *session, ask string, machine Machine) {
	// 1. What the tag names.
	if !i.resolve(ctx, s, ask) {
		return
	}

	// 2. The manifest itself, by its digest; of an index the one for this node.
	m, ok := i.manifest(ctx, s, i.Digest)
	if !ok {
		return
	}
	if i.Index = len(m.Manifests) > 0; i.Index {
		var of []descriptor
		for _, d := range m.Manifests {
			if d.Platform == nil || d.Platform.Architecture == "unknown" { // an attestation
				continue
			}
			of = append(of, d)
			i.Platforms = append(i.Platforms, bounded(strings.TrimSuffix(d.Platform.OS+"/"+d.Platform.Architecture+"/"+d.Platform.Variant, "/"), 60))
		}
		n := machine.pick(i.Platforms)
		if n < 0 || n >= len(of) {
			i.fail(cause.PlatformMismatch, fmt.Errorf("it is built for %s", strings.Join(i.Platforms[:min(len(i.Platforms), 10)], ", ")))
			return
		}
		i.Platform = i.Platforms[n]
		if m, ok = i.manifest(ctx, s, of[n].Digest); !ok {
			return
		}
	}
	if m.Config.Digest == "" {
		i.fail(cause.UnsupportedFormat, errors.New("a manifest without a configuration: it is no image, or of schema 1"))
		return
	}
	if !i.sound(m.Config.Digest) || len(m.Layers) > 0 && !i.sound(m.Layers[0].Digest) {
		return
	}
	if err := m.measure(); err != nil {
		i.fail(cause.UnsupportedFormat, err)
		return
	}
	i.ConfigDigest, i.DownloadBytes = bounded(m.Config.Digest, 100), m.Config.Size
	for _, layer := range m.Layers {
		i.Layers = append(i.Layers, Layer{Digest: bounded(layer.Digest, 100), SizeBytes: layer.Size})
		i.DownloadBytes += layer.Size
	}
	// 3. What it unpacks to, and, of a single manifest, for what it is built: its configuration says so.
	i.configuration(ctx, s, m.Config, machine)
	if i.Cause != cause.None {
		return
	}
	// 4. One blob, to the host that serves it.
	if len(m.Layers) > 0 {
		i.blob(ctx, s, m.Layers[0].Digest)
	}
}

// manifest gets one by its digest.
func (i *Image) manifest(ctx context.Context, s *session, name string) (m manifest, ok bool) {
	if !i.sound(name) {
		return m, false
	}
	v := s.do(ctx, http.MethodGet, "manifests/"+name, acceptManifests)
	if !i.good(v, name) {
		return m, false
	}
	if is := digest.FromBytes(v.body).String(); strings.HasPrefix(name, "sha256:") && is != name {
		i.fail(cause.CorruptContent, fmt.Errorf("asked for the manifest %s, the registry gave %s", name, is))
		return m, false
	}
	if err := json.Unmarshal(v.body, &m); err != nil {
		i.fail(cause.UnsupportedFormat, errors.New("the manifest is no JSON"))
		return m, false
	}
	return m, true
}

// measure tells what no runtime could pull: sizes that cannot be, and more layers than can be mounted. Either would fit anywhere by its figures.
func (m *manifest) measure() error {
	if len(m.Layers) > mostLayers {
		return fmt.Errorf("the manifest has %d layers: no more than %d can be mounted", len(m.Layers), mostLayers)
	}
	for n, d := range append([]descriptor{m.Config}, m.Layers...) {
		if d.Size >= 0 && d.Size <= mostBlob {
			continue
		}
		what := "the configuration"
		if n > 0 {
			what = fmt.Sprintf("layer %d", n)
		}
		return fmt.Errorf("the manifest gives %s a size of %d bytes: it has to be from 0 to %d (1 TiB)", what, d.Size, int64(mostBlob))
	}
	return nil
}

// sound tells whether a digest is one. What a registry writes there becomes part of a path.
func (i *Image) sound(text string) bool {
	if _, err := digest.Parse(text); err != nil {
		i.fail(cause.UnsupportedFormat, fmt.Errorf("%q is no digest", bounded(text, 100)))
		return false
	}
	return true
}

// configuration reads an image's. A runtime pulls an image that is no index and built for another platform without a word.
func (i *Image) configuration(ctx context.Context, s *session, config descriptor, machine Machine) {
	v := s.do(ctx, http.MethodGet, "blobs/"+config.Digest, "*/*")
	if !i.good(v, config.Digest) {
		return
	}
	var c struct {
		Architecture, OS, Variant string
		RootFS                    struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if json.Unmarshal(v.body, &c) != nil {
		return
	}
	if diffs := c.RootFS.DiffIDs; len(diffs) == len(i.Layers) {
		for n := range i.Layers {
			if _, err := digest.Parse(diffs[n]); err != nil {
				break // what stands on it is not known either
			}
			i.Layers[n].DiffID = diffs[n]
		}
	}
	if i.Index || c.Architecture == "" {
		return
	}
	i.Platform = bounded(strings.TrimSuffix(c.OS+"/"+c.Architecture+"/"+c.Variant, "/"), 60)
	i.Platforms = []string{i.Platform}
	if !Runs(machine.Platform)(i.Platform) {
		i.Warnings = append(i.Warnings, "it is built for "+i.Platform+" alone: the runtime pulls it all the same, and it fails when it starts (exec format error)")
	}
}

// PresentBytes is how much of the image's layers a node has, compressed, by the chain IDs of what it has unpacked (OCI image spec, config.md): a
// runtime fetches a layer only where that layer, on those below it, is not there. It is not known where the configuration was not had.
func (i *Image) PresentBytes(has func(chainID digest.Digest) bool) (bytes int64, known bool) {
	diffs := make([]digest.Digest, len(i.Layers))
	for n, layer := range i.Layers {
		if layer.DiffID == "" {
			return 0, false
		}
		diffs[n] = digest.Digest(layer.DiffID)
	}
	for n, chain := range identity.ChainIDs(diffs) {
		if !has(chain) {
			break
		}
		bytes += i.Layers[n].SizeBytes
	}
	return bytes, true
}

// blob asks for one by HEAD through its redirects.
func (i *Image) blob(ctx context.Context, s *session, name string) {
	v := s.do(ctx, http.MethodHead, "blobs/"+name, "*/*")
	i.Blob = &Blob{Digest: bounded(name, 100), Host: s.last, Status: v.status}
	if v.status == http.StatusMethodNotAllowed || v.status == http.StatusForbidden && s.last != s.e.URL.Host {
		// A signed URL is good for the one method that it was signed for.
		return
	}
	if !i.good(v, name) {
		i.Blob.Error = i.Error
	}
}

// good tells whether an answer is what was asked for, and notes why it is not.
func (i *Image) good(v *visit, what string) bool {
	if v.err != nil {
		if refused := refusal(v.err); refused != nil {
			i.NotChecked = text(refused)
			i.fail(cause.Unknown, refused)
			return false
		}
		err := v.err
		if i.LoginSent { // of which the transport may quote a part in any shape
			err = fmt.Errorf("it failed in the phase %s, once the login was sent", v.phase)
		}
		i.fail(v.causeOf(), err)
		return false
	}
	i.RetryAfter = retryAfter(v.header, time.Now()).Seconds()
	var why cause.Cause
	switch v.status {
	case http.StatusOK:
		return true
	case http.StatusUnauthorized:
		why = cause.Unauthorized
	case http.StatusForbidden:
		why = cause.AccessDenied
	case http.StatusNotFound:
		why = cause.NotFound
	case http.StatusTooManyRequests:
		why = cause.RateLimited
	case http.StatusProxyAuthRequired:
		why = cause.Proxy
	default:
		why = cause.RegistryError
	}
	i.fail(why, fmt.Errorf("%s: %w", bounded(what, 150), answered(v.status)))
	return false
}

// rateLimit reads the headers of Docker Hub: "100;w=21600". What is no number of 31 bits is none.
func rateLimit(h http.Header) *RateLimit {
	number := func(text string) (uint64, bool) {
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31)
		return n, err == nil
	}
	read := func(name string) (n, window uint64, ok bool) {
		count, rest, _ := strings.Cut(h.Get(name), ";")
		if w, found := strings.CutPrefix(strings.TrimSpace(rest), "w="); found {
			window, _ = number(w)
		}
		n, ok = number(count)
		return n, window, ok
	}
	limit, window, ok := read("Ratelimit-Limit")
	remaining, _, more := read("Ratelimit-Remaining")
	if !ok || !more {
		return nil
	}
	return &RateLimit{Limit: int(limit), Remaining: int(remaining), WindowSeconds: float64(window), Source: "anonymous"}
}

// session is a few requests to one endpoint about one repository, with the token or the login that it wants.
type session struct {
	p          *Prober
	e          *registries.Endpoint
	reach      Reach
	repository string
	image      *Image

	token string
	basic string // the login, where it is to go to the endpoint itself
	down  *visit // why there is no token, where that is more than a refusal: see noToken
	last  string // the host that answered last
	away  bool   // which is not the endpoint's
	http  bool   // it was found to speak plain HTTP, to which the runtime falls back
}

// do asks for a path below the repository. It gets a token where one is wanted, and follows redirects.
func (s *session) do(ctx context.Context, method, path, accept string) *visit {
	v := s.once(ctx, method, path, accept)
	if v.err != nil && s.e.FallsBackToHTTP && !s.http && (v.tls.Fault == PlainHTTP || v.phase == PhaseTCP && s.e.URL.Port() == "") {
		s.http = true
		v = s.once(ctx, method, path, accept)
	}
	if v.err == nil && v.status == http.StatusUnauthorized && s.token+s.basic == "" {
		if s.authorize(ctx, v) {
			v = s.once(ctx, method, path, accept)
		} else if s.down != nil {
			v = s.down
		}
	}
	return v
}

func (s *session) once(ctx context.Context, method, path, accept string) *visit {
	u := s.e.URL
	u.User = nil
	if s.http {
		u.Scheme = "http"
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + "/" + s.repository + "/" + path
	if s.e.Namespaced {
		u.RawQuery = url.Values{"ns": {s.e.Registry}}.Encode()
	}
	header := http.Header{"Accept": {accept}}
	if s.token != "" {
		header.Set("Authorization", "Bearer "+s.token)
	} else if s.basic != "" {
		header.Set("Authorization", s.basic)
	}
	c := call{method: method, url: &u, header: header, endpoint: s.e, reach: s.reach, most: mostManifest}
	var v *visit
	for hops := 0; ; hops++ {
		s.image.Requests++
		v = s.p.visit(ctx, c)
		s.last, s.away = c.url.Host, c.endpoint != s.e
		if v.err != nil || !isRedirect(v.status) {
			return v
		}
		to, err := redirected(c.url, v.header.Get("Location"))
		if err == nil && hops == mostRedirects {
			err = fmt.Errorf("more than %d redirects", mostRedirects)
		}
		if err != nil {
			v.err, v.phase = err, PhaseHTTP
			return v
		}
		next := c
		next.url = to
		if to.Host != c.url.Host || to.Scheme != c.url.Scheme {
			// Its headers, token and login go to no other host.
			next.endpoint, next.header, next.reach = &registries.Endpoint{TLS: s.e.TLS}, http.Header{"Accept": {accept}}, elsewhere(v, c.reach, s.e)
		}
		c = next
	}
}

// authorize gets a token for pulls of the repository, with the login where there is one; or has the login go to the endpoint, where that takes
// it itself. Else the refusal stands. Both runtimes ask so, containerd after it has tried by POST; a Bearer outranks a Basic.
func (s *session) authorize(ctx context.Context, refused *visit) bool {
	login, header := s.p.Login, http.Header{}
	if s.away { // whoever the endpoint sent on to gets no login
		login = nil
	}
	if login != nil {
		header.Set("Authorization", login.basic())
	}
	all := challenges(refused.header.Values("WWW-Authenticate"))
	for _, c := range all {
		realm, err := url.Parse(c.parameters["realm"])
		if c.scheme != "bearer" || err != nil || realm.Host == "" || realm.Scheme != "https" && realm.Scheme != s.e.URL.Scheme && !s.http {
			continue
		}
		realm.User = nil
		query := realm.Query()
		if service := c.parameters["service"]; service != "" {
			query.Set("service", service)
		}
		scope := c.parameters["scope"]
		if scope == "" {
			scope = "repository:" + s.repository + ":pull"
		}
		query.Set("scope", scope)
		realm.RawQuery = query.Encode()
		s.image.Requests++
		s.image.LoginSent = login != nil
		v := s.p.visit(ctx, call{method: http.MethodGet, url: realm, header: header, endpoint: &registries.Endpoint{TLS: s.e.TLS}, reach: elsewhere(refused, s.reach, s.e)})
		if v.err != nil || v.status != http.StatusOK {
			s.noToken(v, login != nil)
			return false
		}
		// What a header cannot hold is no token.
		if s.token = strings.TrimSpace(tokenIn(v.body)); strings.ContainsFunc(s.token, func(r rune) bool { return r < ' ' || r > '~' }) {
			s.token = ""
		}
		return s.token != ""
	}
	if login != nil && slices.ContainsFunc(all, func(c challenge) bool { return c.scheme == "basic" }) {
		s.basic, s.image.LoginSent = login.basic(), true
	}
	return s.basic != ""
}

// noToken keeps why the token service gave none, where that is more than a refusal, which stands as the endpoint gave it: an address that is not asked
// and, with a login, which then was not looked at, whatever else went wrong.
func (s *session) noToken(v *visit, login bool) {
	switch {
	case refusal(v.err) != nil, login && v.err != nil:
	case !login, v.status == http.StatusUnauthorized, v.status == http.StatusForbidden, v.status == http.StatusBadRequest:
		return
	case v.status != http.StatusTooManyRequests: // its 404 says nothing of the image
		s.image.RetryAfter = retryAfter(v.header, time.Now()).Seconds()
		v.err, v.phase = answered(v.status), PhaseToken
	}
	s.down = v
}

// strike takes the endpoint's secrets, the login and the token out of what is reported.
func (s *session) strike() {
	secrets := secretsOf(s.e, s.p.Proxying)
	if len(s.token) >= leastSecret {
		secrets = append(secrets, s.token)
	}
	if s.p.Login != nil {
		secrets = append(secrets, s.p.Login.secrets()...)
	}
	i := s.image
	texts := []*string{&i.Error, &i.NotChecked, &i.Digest, &i.MediaType, &i.Platform, &i.ConfigDigest}
	for n := range i.Platforms {
		texts = append(texts, &i.Platforms[n])
	}
	for n := range i.Warnings {
		texts = append(texts, &i.Warnings[n])
	}
	if i.Blob != nil {
		texts = append(texts, &i.Blob.Digest, &i.Blob.Host, &i.Blob.Error)
	}
	strikeAll(texts, secrets)
}
