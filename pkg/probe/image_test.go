package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

// hub is a registry with one repository, team/app, which wants a token. Its blobs are on another host.
type hub struct {
	*httptest.Server
	store *httptest.Server

	mu     sync.Mutex
	paths  map[string][]byte // below /v2/team/app/
	change func(w http.ResponseWriter, r *http.Request) (done bool)
	asked  []string
}

func newHub(t *testing.T, ca *authority) *hub {
	t.Helper()
	h := &hub{paths: make(map[string][]byte)}
	h.store = serve(t, ca.issue(t, nil), func(w http.ResponseWriter, r *http.Request) {
		h.note("store " + r.Method + " " + r.URL.Path)
		if r.Header.Get("Authorization")+r.Header.Get("X-Secret") != "" {
			t.Errorf("the blob store got %v", r.Header)
		}
		_, _ = w.Write(h.paths[strings.TrimPrefix(r.URL.Path, "/")])
	})
	h.Server = serve(t, ca.issue(t, nil), h.answer)
	return h
}

func (h *hub) note(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, what)
}

func (h *hub) answer(w http.ResponseWriter, r *http.Request) {
	h.note(r.Method + " " + r.URL.Path)
	if h.change != nil && h.change(w, r) {
		return
	}
	if r.URL.Path == "/token" {
		if got := r.URL.Query().Get("scope"); got != "repository:team/app:pull" {
			http.Error(w, "scope "+got, http.StatusBadRequest)
			return
		}
		_, _ = fmt.Fprint(w, `{"token": "PLANTED-token"}`)
		return
	}
	if r.Header.Get("Authorization") != "Bearer PLANTED-token" {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+h.URL+`/token",service="hub",scope="repository:team/app:pull"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/v2/team/app/")
	text, ok := h.paths[path]
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	case strings.HasPrefix(path, "blobs/"):
		http.Redirect(w, r, h.store.URL+"/"+path, http.StatusTemporaryRedirect)
	default:
		w.Header().Set("Docker-Content-Digest", digest.FromBytes(text).String())
		w.Header().Set("Ratelimit-Limit", "100;w=21600")
		w.Header().Set("Ratelimit-Remaining", "76;w=21600")
		_, _ = w.Write(text)
	}
}

// put stores a manifest under its digest, and a tag.
func (h *hub) put(tag string, v any) (d descriptor) {
	text, _ := json.Marshal(v)
	d.Digest, d.Size = digest.FromBytes(text).String(), int64(len(text))
	h.paths["manifests/"+d.Digest] = text
	if tag != "" {
		h.paths["manifests/"+tag] = text
	}
	return d
}

// image stores an image for a platform.
func (h *hub) image(tag, platform string) descriptor {
	p := platforms.MustParse(platform)
	layer := []byte("layer of " + platform)
	config, _ := json.Marshal(map[string]any{"architecture": p.Architecture, "os": p.OS, "variant": p.Variant,
		"rootfs": map[string]any{"diff_ids": []digest.Digest{digest.FromBytes(layer)}}})
	m := manifest{SchemaVersion: 2, Config: descriptor{Digest: digest.FromBytes(config).String(), Size: int64(len(config))}, Layers: []descriptor{{Digest: digest.FromBytes(layer).String(), Size: 1000}}}
	h.paths["blobs/"+m.Config.Digest], h.paths["blobs/"+m.Layers[0].Digest] = config, layer
	d := h.put(tag, m)
	if err := json.Unmarshal(fmt.Appendf(nil, `{"platform": {"architecture": %q, "os": %q, "variant": %q}}`, p.Architecture, p.OS, p.Variant), &d); err != nil {
		panic(err)
	}
	return d
}

// sized stores an image whose manifest names these sizes.
func (h *hub) sized(tag string, config int64, layers ...int64) {
	layer, text := []byte("layer"), []byte(`{"os": "linux", "architecture": "amd64"}`)
	m := manifest{SchemaVersion: 2, Config: descriptor{Digest: digest.FromBytes(text).String(), Size: config}}
	for _, size := range layers {
		m.Layers = append(m.Layers, descriptor{Digest: digest.FromBytes(layer).String(), Size: size})
	}
	h.paths["blobs/"+m.Config.Digest], h.paths["blobs/"+digest.FromBytes(layer).String()] = text, layer
	h.put(tag, m)
}

var amd64 = v1.Platform{OS: "linux", Architecture: "amd64"}

func (h *hub) ask(t *testing.T, ca *authority, ref string, change func(*registries.Endpoint)) *Image {
	t.Helper()
	e := endpointOf(t, h.URL, ca.pool)
	e.Header = http.Header{"X-Secret": {"PLANTED-header"}}
	if change != nil {
		change(e)
	}
	i := (&Prober{Proxying: direct, Resolver: names(nil)}).Image(t.Context(), "hub.test/team/app"+ref, &registries.Answer{Endpoints: []registries.Endpoint{*e}}, Anywhere, Machine{"containerd", amd64})
	if text, _ := json.Marshal(i); strings.Contains(string(text), "PLANTED") {
		t.Errorf("a secret is reported: %s", text)
	}
	return i
}

func TestImage(t *testing.T) {
	ca := newAuthority(t)
	h := newHub(t, ca)
	index := h.put("1.27", manifest{SchemaVersion: 2, Manifests: []descriptor{h.image("", "linux/arm64"), h.image("", "linux/amd64"), {Digest: "sha256:x"}}})
	i := h.ask(t, ca, ":1.27", nil)
	text, _ := json.MarshalIndent(i, "", " ")
	if i.OK == nil || !*i.OK || i.Digest != index.Digest || !i.Index || fmt.Sprint(i.Platforms) != "[linux/arm64 linux/amd64]" || i.Platform != "linux/amd64" || len(i.Layers) != 1 || i.DownloadBytes < 1000 {
		t.Errorf("%s", text)
	}
	if i.Blob == nil || i.Blob.Status != http.StatusOK || "https://"+i.Blob.Host != h.store.URL || i.Blob.Error != "" {
		t.Errorf("%s", text)
	}
	if r := i.RateLimit; r == nil || r.Limit != 100 || r.Remaining != 76 || r.WindowSeconds != 21600 {
		t.Errorf("%s", text)
	}
	// HEAD of the tag without a token and with one, the token, the index, the manifest, the configuration and the blob and where each is.
	if i.Requests != 9 || len(h.asked) != 9 {
		t.Errorf("%d requests, seen were %q", i.Requests, h.asked)
	}
	// By digest it is the same.
	if i := h.ask(t, ca, "@"+index.Digest, nil); i.OK == nil || !*i.OK || i.Digest != index.Digest {
		t.Errorf("%+v", i)
	}
}

// TestResolve: what a tag names is asked without anything that a registry would count as a pull.
func TestResolve(t *testing.T) {
	ca := newAuthority(t)
	h := newHub(t, ca)
	want := h.image("1.27", "linux/amd64")
	resolve := func(ref string) *Image {
		return (&Prober{Proxying: direct}).Resolve(t.Context(), "hub.test/team/app"+ref, &registries.Answer{Endpoints: []registries.Endpoint{*endpointOf(t, h.URL, ca.pool)}}, Anywhere)
	}
	i := resolve(":1.27")
	if i.OK == nil || !*i.OK || i.Digest != want.Digest || i.RateLimit == nil || i.RateLimit.Remaining != 76 || len(i.Layers) != 0 {
		t.Errorf("%+v", i)
	}
	if got := strings.Join(h.asked, ", "); got != "HEAD /v2/team/app/manifests/1.27, GET /token, HEAD /v2/team/app/manifests/1.27" {
		t.Errorf("asked were %s", got)
	}
	if i := resolve(":1.28"); i.OK == nil || *i.OK || i.Cause != cause.NotFound {
		t.Errorf("%+v", i)
	}
}

func TestPresentBytes(t *testing.T) {
	base, middle, top := digest.FromString("base"), digest.FromString("middle"), digest.FromString("top")
	i := &Image{Layers: []Layer{{SizeBytes: 100, DiffID: base.String()}, {SizeBytes: 20, DiffID: middle.String()}, {SizeBytes: 3, DiffID: top.String()}}}
	chains := identity.ChainIDs([]digest.Digest{base, middle, top})
	for name, test := range map[string]struct {
		node []digest.Digest // what it has
		want int64
	}{
		"nothing":                    {nil, 0},
		"the base":                   {chains[:1], 100},
		"all":                        {chains, 123},
		"the middle on another base": {[]digest.Digest{middle}, 0},
		"the base and the top":       {[]digest.Digest{chains[0], chains[2]}, 100},
	} {
		if got, known := i.PresentBytes(func(chain digest.Digest) bool { return slices.Contains(test.node, chain) }); got != test.want || !known {
			t.Errorf("%s: %d, %v, want %d", name, got, known, test.want)
		}
	}
	i.Layers[1].DiffID = ""
	if _, known := i.PresentBytes(func(digest.Digest) bool { return true }); known {
		t.Error("a layer of which nothing is known counts")
	}
}

func TestImageFaults(t *testing.T) {
	ca := newAuthority(t)
	status := func(path string, code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, path) || r.Header.Get("Authorization") == "" && path != "/token" {
				return false
			}
			w.WriteHeader(code)
			return true
		}
	}
	tests := map[string]struct {
		ref     string
		change  func(http.ResponseWriter, *http.Request) bool
		put     func(h *hub)
		ok      bool
		cause   cause.Cause
		warning string
	}{
		"a typo in the tag":  {ref: ":1.28", cause: cause.NotFound},
		"a typo in the name": {ref: "/other:1", cause: cause.NotFound},
		"no such digest":     {ref: "@sha256:" + strings.Repeat("0", 64), cause: cause.NotFound},
		"no name":            {ref: ":NO GOOD", cause: cause.InvalidReference},
		"private":            {ref: ":1", change: status("/token", 401), cause: cause.Unauthorized},
		"forbidden":          {ref: ":1", change: status("/manifests/", 403), cause: cause.AccessDenied},
		"too many requests":  {ref: ":1", change: status("/manifests/", 429), cause: cause.RateLimited},
		"broken":             {ref: ":1", change: status("/manifests/", 500), cause: cause.RegistryError},
		"blobs are gone":     {ref: ":1", change: status("/blobs/", 404), cause: cause.NotFound},
		"blobs are broken":   {ref: ":1", change: status("/blobs/", 503), cause: cause.RegistryError},
		"for another platform": {ref: ":arm", put: func(h *hub) {
			h.put("arm", manifest{SchemaVersion: 2, Manifests: []descriptor{h.image("", "linux/arm64")}})
		}, cause: cause.PlatformMismatch},
		"for another, no index": {ref: ":arm", put: func(h *hub) { h.image("arm", "linux/arm64") }, ok: true, warning: "exec format error"},
		"no JSON": {ref: ":bad", put: func(h *hub) {
			h.paths["manifests/bad"] = []byte("<html>")
			h.paths["manifests/"+digest.FromString("<html>").String()] = []byte("<html>")
		}, cause: cause.UnsupportedFormat},
		"schema 1":                              {ref: ":old", put: func(h *hub) { h.put("old", map[string]any{"schemaVersion": 1}) }, cause: cause.UnsupportedFormat},
		"a digest that is a path":               {ref: ":evil", put: func(h *hub) { h.put("evil", manifest{Config: descriptor{Digest: "../../../token"}}) }, cause: cause.UnsupportedFormat},
		"a layer beyond all measure":            {ref: ":large", put: func(h *hub) { h.sized("large", 5, 1<<62) }, cause: cause.UnsupportedFormat},
		"layers that are beyond it together":    {ref: ":large", put: func(h *hub) { h.sized("large", 5, 1<<62, 1<<62, 1<<62) }, cause: cause.UnsupportedFormat},
		"a layer a byte too large":              {ref: ":large", put: func(h *hub) { h.sized("large", 5, 1000, 1<<40+1) }, cause: cause.UnsupportedFormat},
		"a layer below zero":                    {ref: ":large", put: func(h *hub) { h.sized("large", 5, -1000) }, cause: cause.UnsupportedFormat},
		"a configuration beyond all measure":    {ref: ":large", put: func(h *hub) { h.sized("large", 1<<62, 1000) }, cause: cause.UnsupportedFormat},
		"a configuration below zero":            {ref: ":large", put: func(h *hub) { h.sized("large", -1<<62, 1000) }, cause: cause.UnsupportedFormat},
		"more layers than can be mounted":       {ref: ":large", put: func(h *hub) { h.sized("large", 5, make([]int64, mostLayers+1)...) }, cause: cause.UnsupportedFormat},
		"as many layers, and as large, as some": {ref: ":large", put: func(h *hub) { h.sized("large", 5, slices.Repeat([]int64{1 << 40}, mostLayers)...) }, ok: true},
		"another manifest": {ref: ":1", change: func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/manifests/") {
				return false
			}
			_, _ = w.Write([]byte(`{}`))
			return true
		}, cause: cause.CorruptContent},
		"HEAD is not known": {ref: ":1", change: func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodHead || !strings.Contains(r.URL.Path, "/manifests/") || r.Header.Get("Authorization") == "" {
				return false
			}
			w.WriteHeader(http.StatusMethodNotAllowed)
			return true
		}, ok: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, ca)
			h.image("1", "linux/amd64")
			if test.put != nil {
				test.put(h)
			}
			h.change = test.change
			i := h.ask(t, ca, test.ref, nil)
			if i.OK == nil || *i.OK != test.ok || i.Cause != test.cause || (i.Error == "") != test.ok {
				t.Errorf("want %v %s: %+v", test.ok, test.cause, i)
			}
			if i.DownloadBytes < 0 {
				t.Errorf("there are %d bytes to download", i.DownloadBytes)
			}
			if got := strings.Join(i.Warnings, ";"); !strings.Contains(got, test.warning) || test.warning == "" && got != "" {
				t.Errorf("warnings %q, want %q", got, test.warning)
			}
		})
	}
}

// TestImagePastAMirror: the endpoints are asked in their order, and the first that has it counts.
func TestImagePastAMirror(t *testing.T) {
	ca := newAuthority(t)
	origin, mirror := newHub(t, ca), newHub(t, ca)
	origin.image("1", "linux/amd64")
	var all []registries.Endpoint
	for _, h := range []*hub{mirror, origin} {
		e := endpointOf(t, h.URL, ca.pool)
		e.Registry, e.Mirror = "hub.test", h == mirror
		all = append(all, *e)
	}
	dead := *endpointOf(t, "https://127.0.0.1:1", nil)
	dead.Mirror = true
	ask := func() *Image {
		return (&Prober{Proxying: direct}).Image(t.Context(), "hub.test/team/app:1", &registries.Answer{Endpoints: append([]registries.Endpoint{dead}, all...)}, Anywhere, Machine{"containerd", amd64})
	}
	if i := ask(); i.OK == nil || !*i.OK || !strings.HasPrefix(i.Endpoint, origin.URL) {
		t.Errorf("%+v", i)
	}
	mirror.image("1", "linux/amd64")
	if i := ask(); i.OK == nil || !*i.OK || !strings.HasPrefix(i.Endpoint, mirror.URL) {
		t.Errorf("%+v", i)
	}
}

// TestImageNotChecked: where the runtime may ask somebody else, an image that is there is there, and one that is not may be.
func TestImageNotChecked(t *testing.T) {
	ca := newAuthority(t)
	h := newHub(t, ca)
	h.image("1", "linux/amd64")
	answer := &registries.Answer{Endpoints: []registries.Endpoint{*endpointOf(t, h.URL, ca.pool)}, NotChecked: "hosts.toml cannot be read"}
	p := &Prober{Proxying: direct}
	if i := p.Resolve(t.Context(), "hub.test/team/app:1", answer, Anywhere); i.OK == nil || !*i.OK {
		t.Errorf("there: %+v", i)
	}
	if i := p.Resolve(t.Context(), "hub.test/team/app:2", answer, Anywhere); i.OK != nil || i.Cause != cause.NotFound || i.NotChecked != answer.NotChecked {
		t.Errorf("not there: %+v", i)
	}
}

func TestRateLimit(t *testing.T) {
	for name, test := range map[string]struct {
		limit, remaining string
		want             *RateLimit
	}{
		"Docker Hub":        {"100;w=21600", "76;w=21600", &RateLimit{Limit: 100, Remaining: 76, WindowSeconds: 21600, Source: "anonymous"}},
		"no window":         {"100", " 0 ", &RateLimit{Limit: 100, Source: "anonymous"}},
		"an endless window": {"100;w=inf", "76", &RateLimit{Limit: 100, Remaining: 76, Source: "anonymous"}},
		"no window at all":  {"100;w=NaN", "76", &RateLimit{Limit: 100, Remaining: 76, Source: "anonymous"}},
		"below nothing":     {"-1", "76", nil},
		"beyond an integer": {"99999999999999999999", "76", nil},
		"half of it":        {"100", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := rateLimit(http.Header{"Ratelimit-Limit": {test.limit}, "Ratelimit-Remaining": {test.remaining}})
			if (got == nil) != (test.want == nil) || got != nil && *got != *test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

// TestImageOlderPlatform: CRI-O takes no image for 386 from an index on amd64. One that is nothing else it takes without a look, and it runs.
func TestImageOlderPlatform(t *testing.T) {
	ca := newAuthority(t)
	h := newHub(t, ca)
	h.image("1", "linux/386")
	i := (&Prober{Proxying: direct}).Image(t.Context(), "hub.test/team/app:1", &registries.Answer{Endpoints: []registries.Endpoint{*endpointOf(t, h.URL, ca.pool)}}, Anywhere,
		Machine{"cri-o", amd64})
	if i.OK == nil || !*i.OK || len(i.Warnings) > 0 {
		t.Errorf("%+v", i)
	}
}

func TestImageReach(t *testing.T) {
	e := endpointOf(t, "http://metadata.test", nil)
	p := &Prober{Proxying: direct, Resolver: names(map[string][]netip.Addr{"metadata.test": {netip.MustParseAddr("169.254.169.254")}})}
	i := p.Image(t.Context(), "metadata.test/latest/x:1", &registries.Answer{Endpoints: []registries.Endpoint{*e}}, NotThisNode, Machine{"containerd", amd64})
	if i.OK != nil || i.NotChecked == "" {
		t.Errorf("%+v", i)
	}
}

// TestRuns: what is on the disk was pulled by whatever rule; what the kernel makes of it is another one.
func TestRuns(t *testing.T) {
	for _, test := range []struct {
		own, image string
		want       bool
	}{
		{"linux/amd64", "linux/amd64", true}, {"linux/amd64", "linux/386", true}, {"linux/386", "linux/amd64", false}, {"linux/amd64", "linux/arm64", false},
		{"linux/arm/v7", "linux/arm/v6", true}, {"linux/arm/v6", "linux/arm/v7", false}, {"linux/arm64", "linux/arm/v7", true}, {"linux/arm64", "linux/arm64/v8", true},
		{"linux/amd64", "windows/amd64", false}, {"linux/amd64", "", false}, {"linux/amd64", "a/b/c/d", false},
	} {
		if got := Runs(platforms.MustParse(test.own))(test.image); got != test.want {
			t.Errorf("%s on %s: %v", test.image, test.own, got)
		}
	}
}

// TestImageTokenNotAsked: what a token service would have said that is not asked, since a public registry names a private one, nobody knows.
func TestImageTokenNotAsked(t *testing.T) {
	p := &Prober{
		Proxying: direct,
		Resolver: names(map[string][]netip.Addr{"public.test": {netip.MustParseAddr("192.0.2.4")}, "private.test": {netip.MustParseAddr("10.1.2.3")}}),
		Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
			return piped("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: Bearer realm=\"http://private.test/token\"\r\n\r\n"), nil
		},
	}
	e := endpointOf(t, "http://public.test", nil)
	i := p.Resolve(t.Context(), "public.test/app:1", &registries.Answer{Endpoints: []registries.Endpoint{*e}}, Anywhere)
	if i.OK != nil || i.Cause != cause.None || i.NotChecked == "" {
		t.Errorf("%+v", i)
	}
}

func TestMatch(t *testing.T) {
	arm := v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	arm64 := v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	offered := []string{"linux/arm/v6", "linux/386", "linux/arm/v7", "linux/arm64", "windows/amd64"}
	for name, test := range map[string]struct {
		match   func([]string) int
		offered []string
		want    int
	}{
		"containerd on amd64 runs 386":       {MatchContainerd(amd64), offered, 1},
		"CRI-O on amd64 does not":            {MatchCRIO(amd64), offered, -1},
		"the best variant":                   {MatchContainerd(arm), offered, 2},
		"CRI-O, the best variant":            {MatchCRIO(arm), offered, 2},
		"an older variant":                   {MatchContainerd(arm), offered[:2], 0},
		"CRI-O, an older variant":            {MatchCRIO(arm), offered[:2], 0},
		"arm64":                              {MatchContainerd(arm64), offered, 3},
		"CRI-O, arm64":                       {MatchCRIO(arm64), offered, 3},
		"containerd on arm64 runs arm":       {MatchContainerd(arm64), offered[:3], 2},
		"CRI-O on arm64 does not":            {MatchCRIO(arm64), offered[:3], -1},
		"what is no platform":                {MatchContainerd(amd64), []string{"", "a/b/c/d", "\x00"}, -1},
		"CRI-O, what is no platform":         {MatchCRIO(amd64), []string{"", "a/b/c/d", "\x00"}, -1},
		"a variant of amd64 that is too new": {MatchContainerd(amd64), []string{"linux/amd64/v3", "linux/amd64"}, 1},
	} {
		if got := test.match(test.offered); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}
