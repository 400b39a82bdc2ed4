package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

// authority is a CA of the tests' own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the tests' CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	a.pool.AddCert(a.cert)
	return a
}

// issue makes a server's certificate for 127.0.0.1 and registry.test.
func (a *authority) issue(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 3, 0),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, DNSNames: []string{"registry.test"},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serve runs a registry over TLS with that certificate.
func serve(t testing.TB, c tls.Certificate, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{c}}
	s.Config.ErrorLog = discard
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func endpointOf(t testing.TB, address string, pool *x509.CertPool) *registries.Endpoint {
	t.Helper()
	u, err := url.Parse(address + "/v2")
	if err != nil {
		t.Fatal(err)
	}
	e := &registries.Endpoint{URL: *u, Registry: u.Host, Resolve: true, Pull: true, Source: "hosts.toml:1"}
	if pool != nil {
		e.TLS = &tls.Config{RootCAs: pool}
	}
	return e
}

var direct = registries.Proxying{Known: true, Source: "containerd.service"}

func ok(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

func TestHealthy(t *testing.T) {
	ca := newAuthority(t)
	var tokens int
	var s *httptest.Server
	s = serve(t, ca.issue(t, nil), func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/token":
			tokens++
			if got := r.URL.RawQuery; got != "a=b&service=the+registry" {
				t.Errorf("query %q", got)
			}
			_, _ = io.WriteString(w, `{"token": "t"}`)
		case "/v2/":
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token?a=b",service="the registry"`, s.URL))
			w.WriteHeader(http.StatusUnauthorized)
		default:
			t.Errorf("%s was asked for", r.URL.Path)
		}
	})
	p := &Prober{Proxying: direct, UserAgent: "pullwatch/test"}
	r := p.Probe(t.Context(), endpointOf(t, s.URL, ca.pool), Anywhere)
	if r.OK == nil || !*r.OK || tokens != 1 {
		t.Fatalf("not reached, or %d tokens: %s", tokens, dump(r))
	}
	ph := r.Phases
	for name, state := range map[string]State{
		"tcp": ph.TCP.State, "tls": ph.TLS.State, "http": ph.HTTP.State, "token": ph.Token.State,
	} {
		if state != Passed {
			t.Errorf("%s is %q: %s", name, state, dump(r))
		}
	}
	if ph.DNS.State != "" || ph.Proxy.State != "" || !*ph.TLS.Verified || !*ph.Token.Anonymous || ph.HTTP.Challenge != "bearer" || ph.TLS.Version != "TLS 1.3" {
		t.Errorf("%s", dump(r))
	}
}

func dump(r *Report) string {
	text, _ := json.MarshalIndent(r, "", " ")
	return string(text)
}

// TestFaults goes through what can be wrong with an endpoint.
func TestFaults(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	days := func(from, to int) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().AddDate(0, 0, from), time.Now().AddDate(0, 0, to)
		}
	}
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
		}
	}
	secure := func(h http.HandlerFunc) string { return serve(t, ca.issue(t, nil), h).URL }
	plain := httptest.NewServer(http.HandlerFunc(ok))
	t.Cleanup(plain.Close)
	demanding := httptest.NewUnstartedServer(http.HandlerFunc(ok))
	demanding.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}, ClientAuth: tls.RequireAnyClientCert}
	demanding.Config.ErrorLog = discard
	demanding.StartTLS()
	t.Cleanup(demanding.Close)

	tests := map[string]struct {
		url     string
		change  func(*registries.Endpoint)
		ok      bool
		phase   string
		cause   cause.Cause
		fault   TLSFault
		warning string
		retry   float64
	}{
		"refused":            {url: "https://127.0.0.1:1", phase: PhaseTCP, cause: cause.Connection},
		"no such host":       {url: "https://nowhere.test", phase: PhaseDNS, cause: cause.DNS},
		"unknown issuer":     {url: serve(t, stranger.issue(t, nil), ok).URL, phase: PhaseTLS, cause: cause.TLS, fault: UnknownIssuer},
		"wrong name":         {url: serve(t, ca.issue(t, func(c *x509.Certificate) { c.IPAddresses = nil }), ok).URL, phase: PhaseTLS, cause: cause.TLS, fault: WrongName},
		"expired":            {url: serve(t, ca.issue(t, days(-9, -2)), ok).URL, phase: PhaseTLS, cause: cause.TLS, fault: Expired},
		"not yet valid":      {url: serve(t, ca.issue(t, days(3, 9)), ok).URL, phase: PhaseTLS, cause: cause.TLS, fault: NotYetValid},
		"this node's clock":  {url: serve(t, ca.issue(t, days(3, 9)), status(200, "Date", time.Now().AddDate(0, 0, 5).UTC().Format(http.TimeFormat))).URL, phase: PhaseTLS, cause: cause.TLS, fault: WrongClock, warning: "clock is 120h0m0s behind"},
		"a stranger's clock": {url: serve(t, stranger.issue(t, days(-9, -2)), status(200, "Date", time.Now().AddDate(0, 0, -5).UTC().Format(http.TimeFormat))).URL, phase: PhaseTLS, cause: cause.TLS, fault: Expired},
		"a clock of old":     {url: serve(t, ca.issue(t, days(-9, -2)), status(200, "Date", time.Now().AddDate(0, 0, -1).UTC().Format(http.TimeFormat))).URL, phase: PhaseTLS, cause: cause.TLS, fault: Expired},
		"ends soon":          {url: serve(t, ca.issue(t, days(-9, 5)), ok).URL, ok: true, warning: "ends in 4 days"},
		"skip verify":        {url: serve(t, stranger.issue(t, nil), ok).URL, change: func(e *registries.Endpoint) { e.TLS.InsecureSkipVerify = true }, ok: true, fault: UnknownIssuer, warning: "told not to verify"},
		"HTTP on HTTPS":      {url: strings.Replace(plain.URL, "http:", "https:", 1), phase: PhaseTLS, cause: cause.TLS, fault: PlainHTTP},
		"falls back to HTTP": {url: strings.Replace(plain.URL, "http:", "https:", 1), change: func(e *registries.Endpoint) { e.FallsBackToHTTP = true }, ok: true, warning: "plain HTTP"},
		"HTTPS on HTTP":      {url: strings.Replace(secure(ok), "https:", "http:", 1), phase: PhaseHTTP, cause: cause.TLS},
		"200":                {url: secure(ok), ok: true},
		"401 basic":          {url: secure(status(401, "WWW-Authenticate", `Basic realm="x"`)), ok: true},
		"403":                {url: secure(status(403)), ok: true},
		"404":                {url: secure(status(404)), ok: true},
		"400":                {url: secure(status(400)), phase: PhaseHTTP, cause: cause.RegistryError},
		"405":                {url: secure(status(405)), phase: PhaseHTTP, cause: cause.RegistryError},
		"408":                {url: secure(status(408)), phase: PhaseHTTP, cause: cause.Timeout},
		"429":                {url: secure(status(429, "Retry-After", "7")), phase: PhaseHTTP, cause: cause.RateLimited, retry: 7},
		"429 without":        {url: secure(status(429)), phase: PhaseHTTP, cause: cause.RateLimited},
		"503":                {url: secure(status(503, "Retry-After", "999999")), phase: PhaseHTTP, cause: cause.RegistryError, retry: 3600},
		"500":                {url: secure(status(500)), phase: PhaseHTTP, cause: cause.RegistryError},
		"a portal":           {url: secure(status(200, "Content-Type", "text/html")), ok: true, warning: "web page"},
		"redirect loop": {url: secure(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusTemporaryRedirect)
		}), phase: PhaseHTTP, cause: cause.RegistryError},
		"redirect to http":   {url: secure(status(302, "Location", plain.URL)), ok: true, warning: "plain HTTP"},
		"redirect to ftp":    {url: secure(status(302, "Location", "ftp://127.0.0.1:1/")), phase: PhaseHTTP, cause: cause.RegistryError},
		"client certificate": {url: demanding.URL, phase: PhaseTLS, cause: cause.TLS, fault: ClientCertificate},
		"redirect nowhere":   {url: secure(status(302)), phase: PhaseHTTP, cause: cause.RegistryError},
		"redirect to a dead": {url: secure(status(307, "Location", "https://127.0.0.1:1/")), phase: PhaseTCP, cause: cause.Connection},
		"token refused":      {url: secure(status(401, "WWW-Authenticate", `Bearer realm="https://127.0.0.1:1/t"`)), phase: PhaseToken, cause: cause.Connection},
		"token down":         {url: secure(status(401, "WWW-Authenticate", `Bearer realm="`+secure(status(502))+`"`)), phase: PhaseToken, cause: cause.RegistryError},
		"token not there":    {url: secure(status(401, "WWW-Authenticate", `Bearer realm="`+secure(status(404))+`"`)), phase: PhaseToken, cause: cause.RegistryError},
		"token denied":       {url: secure(status(401, "WWW-Authenticate", `Bearer realm="`+secure(status(403))+`"`)), ok: true},
		"token is none":      {url: secure(status(401, "WWW-Authenticate", `Bearer realm="`+secure(status(200))+`"`)), phase: PhaseToken, cause: cause.RegistryError},
		"token garbage":      {url: secure(status(401, "WWW-Authenticate", `Bearer realm="::"`)), phase: PhaseToken, cause: cause.RegistryError},
		"token over http":    {url: secure(status(401, "WWW-Authenticate", `Bearer realm="http://127.0.0.1:1/t"`)), ok: true},
		"endless header":     {url: secure(status(200, "X", strings.Repeat("x", 2*mostHeader))), phase: PhaseHTTP, cause: cause.RegistryError},
		"hangs up":           {url: raw(t, func(c net.Conn) { _ = c.Close() }), phase: PhaseTLS, cause: cause.Connection, fault: OtherTLS},
		"TLS alert on HTTP": {url: strings.Replace(raw(t, func(c net.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 5))
			_, _ = io.WriteString(c, "\x15\x03\x01\x00\x02\x02\x0a")
			_ = c.Close()
		}), "https:", "http:", 1), phase: PhaseHTTP, cause: cause.TLS},
		"garbage": {url: strings.Replace(raw(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n\r\n"); _ = c.Close() }), "https:", "http:", 1), phase: PhaseHTTP, cause: cause.RegistryError},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := endpointOf(t, test.url, ca.pool)
			if test.change != nil {
				test.change(e)
			}
			p := &Prober{Proxying: direct, Resolver: names(nil)}
			r := p.Probe(context.Background(), e, Anywhere)
			if r.OK == nil || *r.OK != test.ok || r.Phase != test.phase || r.Cause != test.cause || r.Phases.TLS.Fault != test.fault || r.RetryAfterSeconds != test.retry {
				t.Errorf("want %+v\n%s", test, dump(r))
			}
			if !test.ok && r.Error == "" {
				t.Errorf("no error")
			}
			if got := strings.Join(r.Warnings, "; "); !strings.Contains(got, test.warning) || test.warning == "" && got != "" {
				t.Errorf("warnings %q, want %q", got, test.warning)
			}
			if strings.Contains(r.Error, "%!") {
				t.Errorf("error %q", r.Error)
			}
		})
	}
}

// raw serves what is no HTTP.
func raw(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return "https://" + l.Addr().String()
}

// names is a resolver that knows these names and no others.
func names(hosts map[string][]netip.Addr) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go answerDNS(server, hosts)
		return client, nil
	}}
}
