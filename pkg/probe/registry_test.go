package probe

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

// TestRegistryInPart: what serves a part of the images alone makes a registry neither reached nor not reached.
func TestRegistryInPart(t *testing.T) {
	const blocked = "CRI-O refuses to pull from quay.test, which is blocked in FILE"
	// An endpoint is a word: whether it answers, and what it is asked for.
	tests := map[string]struct {
		endpoints string
		blocked   string
		ok        string
		serving   string // by its number
		cause     cause.Cause
		text      string // want in NotChecked, where n stands for an endpoint
		warning   string
	}{
		"an origin":                      {endpoints: "alive", ok: "yes", serving: "0"},
		"a dead origin":                  {endpoints: "dead", ok: "no", cause: cause.Connection},
		"a mirror":                       {endpoints: "alive dead", ok: "yes", serving: "0"},
		"a dead mirror":                  {endpoints: "dead alive", ok: "yes", serving: "1", warning: "every pull waits"},
		"digests, a dead origin":         {endpoints: "alive/digests dead", cause: cause.Connection, text: "images named by digest are served by 0, and the origin, which tags need, fails (connection)"},
		"digests, an origin":             {endpoints: "alive/digests alive", ok: "yes", serving: "1"},
		"dead for digests, an origin":    {endpoints: "dead/digests alive", ok: "yes", serving: "1", warning: "every pull of images named by digest waits"},
		"dead for digests, dead":         {endpoints: "dead/digests dead", ok: "no", cause: cause.Connection},
		"tags, a dead origin":            {endpoints: "alive/tags dead", cause: cause.Connection, text: "images named by tag are served by 0, and the origin, which digests need, fails (connection)"},
		"tags and digests":               {endpoints: "alive/digests alive/tags dead", ok: "yes", serving: "1"},
		"digests, dead for all":          {endpoints: "dead alive/digests dead", cause: cause.Connection, text: "images named by digest are served by 1, and the origin"},
		"digests alone":                  {endpoints: "alive/digests", text: "images named by digest are served by 0, and no endpoint is asked for the others"},
		"a part, a dead origin":          {endpoints: "alive/part dead", cause: cause.Connection, text: "images of some repositories are served by 0, and the origin, which all others need, fails (connection)"},
		"a part, an origin":              {endpoints: "alive/part alive", ok: "yes", serving: "1"},
		"dead for a part, an origin":     {endpoints: "dead/part alive", ok: "yes", serving: "1", warning: "every pull of images of some repositories waits"},
		"a part by digest, dead":         {endpoints: "alive/part/digests dead", cause: cause.Connection, text: "images of some repositories named by digest are served by 0, and the origin, which all others need"},
		"a part, digests of all, dead":   {endpoints: "alive/part alive/digests dead", cause: cause.Connection, text: "images named by digest are served by 1"},
		"blocked":                        {blocked: blocked, text: blocked},
		"blocked, a mirror":              {endpoints: "alive", blocked: blocked, ok: "yes", serving: "0"},
		"blocked, a dead mirror":         {endpoints: "dead", blocked: blocked, ok: "no", cause: cause.Connection},
		"blocked, a mirror for digests":  {endpoints: "alive/digests", blocked: blocked, text: "images named by digest are served by 0, and the origin, which tags need, is not asked: " + blocked},
		"more than are asked":            {endpoints: strings.Repeat("dead/part ", 3*mostEndpoints) + "alive", ok: "yes", serving: "7", warning: "every pull of images of some repositories"},
		"no more than are asked":         {endpoints: strings.Repeat("dead ", mostEndpoints-1) + "alive", ok: "yes", serving: "7", warning: "every pull waits"},
		"an address that is not allowed": {endpoints: "alive/digests loopback", text: "not asked"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			answer := &registries.Answer{Registry: "quay.test", Blocked: test.blocked}
			words := strings.Fields(test.endpoints)
			for n, word := range words {
				host := fmt.Sprintf("192.0.2.%d", n)
				if n == len(words)-1 {
					host = "198.51.100.1" // the last is the origin
				}
				if strings.HasPrefix(word, "dead") {
					host += ":1"
				}
				if word == "loopback" {
					host = "127.0.0.1"
				}
				answer.Endpoints = append(answer.Endpoints, registries.Endpoint{
					URL: url.URL{Scheme: "http", Host: host, Path: "/v2"}, Mirror: n < len(words)-1,
					Resolve: !strings.Contains(word, "/digests"), Pull: !strings.Contains(word, "/tags"), Partial: strings.Contains(word, "/part"),
				})
			}
			p := &Prober{Proxying: direct, Dial: func(_ context.Context, a netip.AddrPort) (net.Conn, error) {
				if a.Port() == 1 {
					return nil, syscall.ECONNREFUSED
				}
				return piped("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), nil
			}}
			r := p.Registry(t.Context(), answer, NotThisNode)
			ok := ""
			if r.OK != nil {
				ok = map[bool]string{true: "yes", false: "no"}[*r.OK]
			}
			text, serving := r.NotChecked, ""
			for n, e := range r.Endpoints {
				text = strings.ReplaceAll(text, e.URL, fmt.Sprint(n))
				if e.URL == r.Serving {
					serving = fmt.Sprint(n)
				}
			}
			if ok != test.ok || serving != test.serving || r.Cause != test.cause || !strings.Contains(text, test.text) || (text == "") != (test.ok != "") {
				t.Errorf("ok %q, serving %q, cause %s, not checked %q; want %+v", ok, serving, r.Cause, text, test)
			}
			if got := strings.Join(r.Warnings, "; "); !strings.Contains(got, test.warning) || (got == "") != (test.warning == "") {
				t.Errorf("warnings %q, want %q", got, test.warning)
			}
		})
	}
}

// TestImageOfAnEndpoint: an image is asked for at the endpoints that are for its kind of name, as it is called there.
func TestImageOfAnEndpoint(t *testing.T) {
	const digest = "@sha256:8968d79d46c91913a16a72bd56ca6ff15f3d07e13b0b64b3dc8c9d3c0f14b920"
	var mu sync.Mutex
	var asked []string
	ca := newAuthority(t)
	s := serve(t, ca.issue(t, nil), func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.String())
		switch {
		case r.URL.Path == "/token":
			_, _ = fmt.Fprint(w, `{"token": "for the test"}`)
		case r.Header.Get("Authorization") == "":
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+r.Host+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.Header().Set("Docker-Content-Digest", digest[1:])
		}
	})
	endpoint := func(change func(*registries.Endpoint)) registries.Endpoint {
		e := endpointOf(t, s.URL, ca.pool)
		change(e)
		return *e
	}
	digests := endpoint(func(e *registries.Endpoint) { e.URL.Path, e.Mirror, e.Resolve = "/digests/v2", true, false })
	tags := endpoint(func(e *registries.Endpoint) { e.URL.Path, e.Mirror, e.Pull = "/tags/v2", true, false })
	renamed := endpoint(func(e *registries.Endpoint) { e.Mirror, e.Repository = true, "hub-proxy/team/app" })
	named := endpoint(func(e *registries.Endpoint) { e.Mirror, e.Namespaced, e.Registry = true, true, "hub.test" })
	const blocked = "CRI-O refuses to pull from hub.test"
	for name, test := range map[string]struct {
		ref       string
		endpoints []registries.Endpoint
		blocked   string
		cause     cause.Cause
		asked     string
	}{
		"by tag":                {ref: ":1", endpoints: []registries.Endpoint{digests, tags}, asked: "/tags/v2/team/app/manifests/1 /token?scope=repository%3Ateam%2Fapp%3Apull /tags/v2/team/app/manifests/1"},
		"by digest":             {ref: digest, endpoints: []registries.Endpoint{tags, digests}, asked: "/digests/v2/team/app/manifests/" + digest[1:] + " /token?scope=repository%3Ateam%2Fapp%3Apull /digests/v2/team/app/manifests/" + digest[1:]},
		"by both":               {ref: ":1" + digest, endpoints: []registries.Endpoint{tags, digests}, asked: "/digests/v2/team/app/manifests/" + digest[1:] + " /token?scope=repository%3Ateam%2Fapp%3Apull /digests/v2/team/app/manifests/" + digest[1:]},
		"called otherwise":      {ref: ":1", endpoints: []registries.Endpoint{renamed}, asked: "/v2/hub-proxy/team/app/manifests/1 /token?scope=repository%3Ahub-proxy%2Fteam%2Fapp%3Apull /v2/hub-proxy/team/app/manifests/1"},
		"named in the query":    {ref: ":1", endpoints: []registries.Endpoint{named}, asked: "/v2/team/app/manifests/1?ns=hub.test /token?scope=repository%3Ateam%2Fapp%3Apull /v2/team/app/manifests/1?ns=hub.test"},
		"blocked":               {ref: ":1", blocked: blocked, cause: cause.PolicyRejected},
		"blocked, none for it":  {ref: ":1", endpoints: []registries.Endpoint{digests}, blocked: blocked, cause: cause.PolicyRejected},
		"blocked, with mirrors": {ref: ":1", endpoints: []registries.Endpoint{tags}, blocked: blocked, asked: "/tags/v2/team/app/manifests/1 /token?scope=repository%3Ateam%2Fapp%3Apull /tags/v2/team/app/manifests/1"},
	} {
		t.Run(name, func(t *testing.T) {
			asked = nil
			i := (&Prober{Proxying: direct}).Resolve(t.Context(), "hub.test/team/app"+test.ref, &registries.Answer{Endpoints: test.endpoints, Blocked: test.blocked}, Anywhere)
			if i.OK == nil || *i.OK != (test.cause == cause.None) || i.Cause != test.cause {
				t.Errorf("%+v", i)
			}
			if test.cause != cause.None && i.Error != blocked {
				t.Errorf("error %q", i.Error)
			}
			if got := strings.Join(asked, " "); got != test.asked {
				t.Errorf("asked was\n%s\nwant\n%s", got, test.asked)
			}
		})
	}
	// The probe of the registry tells it too.
	asked = nil
	(&Prober{Proxying: direct}).Probe(t.Context(), &named, Anywhere)
	(&Prober{Proxying: direct}).Probe(t.Context(), &renamed, Anywhere)
	if got := strings.Join(asked, " "); got != "/v2/?ns=hub.test /token /v2/ /token" {
		t.Errorf("asked was %s", got)
	}
}
