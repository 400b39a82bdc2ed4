package probe

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

// planted is a login with marks in it that no output may show, in no form.
var planted = Login{Username: "PLANTED-user\"&/", Password: "PLANTED pass/\"word\x01é", Source: "secret shop/regcred"}

func (l Login) marks() []string {
	pair := []byte(l.Username + ":" + l.Password)
	return []string{"PLANTED", base64.RawStdEncoding.EncodeToString(pair)[:12], base64.RawStdEncoding.EncodeToString([]byte(l.Username))[:8], base64.RawStdEncoding.EncodeToString([]byte(l.Password))[:8]}
}

// resolveAs asks a registry for team/app with the planted login.
func resolveAs(t *testing.T, ref string, e *registries.Endpoint) *Image {
	t.Helper()
	login := planted
	i := (&Prober{Proxying: direct, Resolver: names(nil), Login: &login}).Resolve(t.Context(), "hub.test/team/app"+ref, &registries.Answer{Endpoints: []registries.Endpoint{*e}}, Anywhere)
	text, _ := json.Marshal(i)
	for _, mark := range planted.marks() {
		if strings.Contains(string(text), mark) {
			t.Errorf("%s is reported: %s", mark, text)
		}
	}
	return i
}

// basic is a registry that takes the login itself.
func basic(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != planted.Username || password != planted.Password {
			w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h(w, r)
	}
}

func found(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Docker-Content-Digest", digest.FromString("x").String())
	w.Header().Set("Ratelimit-Limit", "200;w=21600")
	w.Header().Set("Ratelimit-Remaining", "150;w=21600")
}

func TestLoginShowsNowhere(t *testing.T) {
	type holder struct {
		Login   Login
		Pointer *Login
	}
	for _, v := range []any{planted, &planted, holder{planted, &planted}} {
		text, err := json.Marshal(v)
		shown := fmt.Sprintf("%v %+v %#v %s %q %x %d %s", v, v, v, v, v, v, v, text)
		if err != nil || strings.Contains(shown, "PLANTED") || strings.Contains(shown, fmt.Sprintf("%x", "PLANTED")) || !strings.Contains(shown, "shop/regcred") {
			t.Errorf("%v: %s", err, shown)
		}
	}
}

// TestResolveAs: what the registry makes of the login, and that it was asked for it.
func TestResolveAs(t *testing.T) {
	ca := newAuthority(t)
	secure := func(h http.HandlerFunc) string { return serve(t, ca.issue(t, nil), h).URL }
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "7"); w.WriteHeader(code) }
	}
	// bearer is a registry whose token service, answered by tokens, gives tokens for the login.
	bearer := func(tokens http.HandlerFunc, then http.HandlerFunc) string {
		service := secure(tokens)
		return secure(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer PLANTED-token" {
				if strings.HasPrefix(r.Header.Get("Authorization"), "Basic") {
					t.Error("the login is sent to a registry that has a token service")
				}
				w.Header().Add("WWW-Authenticate", `Basic realm="too"`)
				w.Header().Add("WWW-Authenticate", `Bearer realm="`+service+`/token",service="hub",scope="repository:team/app:pull"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			then(w, r)
		})
	}
	token := basic(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"token":"PLANTED-token"}`) })
	plain := httptest.NewServer(basic(found))
	t.Cleanup(plain.Close)

	for name, tc := range map[string]struct {
		url    string
		change func(*registries.Endpoint)
		ok     string // OK, as JSON
		cause  cause.Cause
		sent   bool
		source string // of the rate limit
	}{
		"Basic, accepted":                 {url: secure(basic(found)), ok: "true", sent: true, source: planted.Source},
		"Basic, no such image":            {url: secure(basic(status(404))), ok: "false", cause: cause.NotFound, sent: true},
		"Basic, no right":                 {url: secure(basic(status(403))), ok: "false", cause: cause.AccessDenied, sent: true},
		"Basic, refused":                  {url: secure(func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Authorization"); basic(found)(w, r) }), ok: "false", cause: cause.Unauthorized, sent: true},
		"Basic, over plain HTTP":          {url: plain.URL, ok: "true", sent: true, source: planted.Source},
		"Basic, falls back to plain HTTP": {url: strings.Replace(plain.URL, "http:", "https:", 1), change: func(e *registries.Endpoint) { e.FallsBackToHTTP = true }, ok: "true", sent: true, source: planted.Source},
		"Bearer, accepted":                {url: bearer(token, found), ok: "true", sent: true, source: planted.Source},
		"Bearer, no such image":           {url: bearer(token, status(404)), ok: "false", cause: cause.NotFound, sent: true},
		"Bearer, refused":                 {url: bearer(status(401), found), ok: "false", cause: cause.Unauthorized, sent: true},
		"Bearer, forbidden":               {url: bearer(status(403), found), ok: "false", cause: cause.Unauthorized, sent: true},
		"Bearer, not understood":          {url: bearer(status(400), found), ok: "false", cause: cause.Unauthorized, sent: true},
		"Bearer, the service is broken":   {url: bearer(status(503), found), ok: "false", cause: cause.RegistryError, sent: true},
		"Bearer, no service there":        {url: bearer(status(404), found), ok: "false", cause: cause.RegistryError, sent: true},
		"Bearer, too many requests":       {url: bearer(status(429), found), ok: "false", cause: cause.RateLimited, sent: true},
		"Bearer, sent on": {url: bearer(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, plain.URL, http.StatusTemporaryRedirect)
		}, found), ok: "false", cause: cause.RegistryError, sent: true},
		"Bearer, no token": {url: bearer(found, found), ok: "false", cause: cause.Unauthorized, sent: true},
		"Bearer, nobody there": {url: secure(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://127.0.0.1:1/"`)
			w.WriteHeader(401)
		}), ok: "false", cause: cause.Connection, sent: true},
		"Bearer, a service over HTTP": {url: secure(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+plain.URL+`"`)
			w.WriteHeader(401)
		}), ok: "false", cause: cause.Unauthorized},
		"not asked for":                    {url: secure(found), ok: "true", source: "anonymous"},
		"not asked for, and no such image": {url: secure(status(404)), ok: "false", cause: cause.NotFound},
		"not asked for, and forbidden":     {url: secure(status(403)), ok: "false", cause: cause.AccessDenied},
		"not asked for in any known way": {url: secure(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Digest realm="x"`)
			w.WriteHeader(401)
		}), ok: "false", cause: cause.Unauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			e := endpointOf(t, tc.url, ca.pool)
			e.Header = http.Header{"Authorization": {"of hosts.toml"}}
			if tc.change != nil {
				tc.change(e)
			}
			i := resolveAs(t, ":1", e)
			ok, _ := json.Marshal(i.OK)
			source := ""
			if i.RateLimit != nil {
				source = i.RateLimit.Source
			}
			if string(ok) != tc.ok || i.Cause != tc.cause || i.LoginSent != tc.sent || source != tc.source {
				t.Errorf("OK %s, %s, sent %v, rate limit of %q: %s; want %s, %s, %v, %q", ok, i.Cause, i.LoginSent, source, i.Error, tc.ok, tc.cause, tc.sent, tc.source)
			}
		})
	}
}

// TestLoginStays: nobody whom the endpoint sends on to gets the login, however much they ask for it.
func TestLoginStays(t *testing.T) {
	ca := newAuthority(t)
	var thief *httptest.Server
	thief = serve(t, ca.issue(t, nil), func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "" {
			t.Errorf("%s %s got %s", r.Method, r.URL.Path, got)
		}
		for _, challenge := range []string{`Basic realm="x"`, `Bearer realm="` + thief.URL + `/token"`} {
			w.Header().Add("WWW-Authenticate", challenge)
		}
		w.WriteHeader(http.StatusUnauthorized)
	})
	plain := httptest.NewServer(thief.Config.Handler)
	t.Cleanup(plain.Close)
	for name, to := range map[string]string{"another host": thief.URL, "plain HTTP": plain.URL} {
		for when, h := range map[string]http.HandlerFunc{
			"before the login": func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, to+r.URL.Path, http.StatusTemporaryRedirect)
			},
			"after the login": basic(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, to+r.URL.Path, http.StatusTemporaryRedirect)
			}),
		} {
			if i := resolveAs(t, ":1", endpointOf(t, serve(t, ca.issue(t, nil), h).URL, ca.pool)); i.OK == nil || *i.OK || i.Cause != cause.Unauthorized {
				t.Errorf("%s, %s: %+v", name, when, i)
			}
		}
	}
	// And back again by a detour: who sends it there is not the endpoint.
	var home *httptest.Server
	detour := serve(t, ca.issue(t, nil), func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, home.URL+"/v2/stolen", http.StatusTemporaryRedirect)
	})
	home = serve(t, ca.issue(t, nil), func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "stolen") {
			thief.Config.Handler.ServeHTTP(w, r)
			return
		}
		http.Redirect(w, r, detour.URL, http.StatusTemporaryRedirect)
	})
	if i := resolveAs(t, ":1", endpointOf(t, home.URL, ca.pool)); i.LoginSent {
		t.Errorf("%+v", i)
	}
}

// TestLoginEchoed: a registry that repeats what it was sent, wherever it can, has it struck out.
func TestLoginEchoed(t *testing.T) {
	ca := newAuthority(t)
	pair := planted.Username + ":" + planted.Password
	for form, echo := range map[string]string{
		"as it is": planted.Password, "the user": planted.Username, "both": pair, "in base64": base64.StdEncoding.EncodeToString([]byte(pair)),
		"in base64 for URLs": base64.URLEncoding.EncodeToString([]byte(pair)), "the password in base64": base64.StdEncoding.EncodeToString([]byte(planted.Password)),
		"in a URL": url.QueryEscape(planted.Password), "in a path": url.PathEscape(planted.Password), "quoted": fmt.Sprintf("%q", planted.Password),
	} {
		for way, h := range map[string]http.HandlerFunc{
			"digest": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Docker-Content-Digest", echo) },
			"type":   func(w http.ResponseWriter, r *http.Request) { found(w, r); w.Header().Set("Content-Type", echo) },
			"redirect": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", echo+"://x/")
				w.WriteHeader(307)
			},
			"a host": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "https://"+url.PathEscape(echo)+".test/")
				w.WriteHeader(307)
			},
			"no HTTP": hijacked("SSH-2.0-%s\r\n\r\n", echo),
			// Cut short in the midst of it.
			"no HTTP, long":      hijacked(strings.Repeat("x", mostText-45)+" %s\r\n\r\n", echo),
			"no HTTP, too long":  hijacked(strings.Repeat("x", mostText-60)+" %s\r\n\r\n", echo),
			"a header, no value": hijacked("HTTP/1.1 200 OK\r\n%s\r\n\r\n", echo),
		} {
			t.Run(form+" as "+way, func(t *testing.T) {
				resolveAs(t, ":1", endpointOf(t, serve(t, ca.issue(t, nil), basic(h)).URL, ca.pool)) // which looks for it
			})
		}
	}
}

// hijacked answers with what is no HTTP.
func hijacked(format, echo string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			defer func(c net.Conn) { _ = c.Close() }(conn)
			_, _ = fmt.Fprintf(conn, format, echo)
		}
	}
}

// TestStrikeCut: what is left of a secret where a text was cut short is struck out too.
func TestStrikeCut(t *testing.T) {
	for text, want := range map[string]string{
		"it said hunter2":            "it said [redacted]",
		"it said hunt…":              "it said [redacted]…",
		`scheme "hunter…" is no one`: `scheme "[redacted]…" is no one`,
		"it said hun…":               "it said hun…", // as of what is as short as that
		"it said nothing…":           "it said nothing…",
	} {
		strikeAll([]*string{&text}, []string{"hunter", "hunter2"})
		if text != want {
			t.Errorf("%q, want %q", text, want)
		}
	}
}
