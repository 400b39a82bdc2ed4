package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pullwatch/pullwatch/internal/web"
	"github.com/pullwatch/pullwatch/internal/web/webtest"
)

// TestLocal: who has a browser ask for the page from elsewhere gets nothing.
func TestLocal(t *testing.T) {
	handler := web.Local(web.Handler(webtest.Well))
	for _, test := range []struct {
		name, host, site, mode, dest string
		want                         int
	}{
		{"by address", "127.0.0.1:9768", "", "", "", 200},
		{"by another address", "10.0.0.7:9768", "", "", "", 200},
		{"by address of version 6", "[::1]:9768", "", "", "", 200},
		{"without a port", "[::1]", "", "", "", 200},
		{"as localhost", "LocalHost:9768", "none", "navigate", "document", 200},
		{"again", "localhost:9768", "same-origin", "navigate", "document", 200},
		{"a link of another site", "localhost:9768", "cross-site", "navigate", "document", 200},
		{"a name that resolves here", "evil.test:9768", "", "", "", 421},
		{"a name that begins like localhost", "localhost.evil.test", "", "", "", 421},
		{"a name that begins like an address", "127.0.0.1.evil.test:9768", "", "", "", 421},
		{"no name", "", "", "", "", 421},
		{"a frame of another site", "localhost:9768", "cross-site", "navigate", "iframe", 403},
		{"a script of another site", "localhost:9768", "cross-site", "cors", "empty", 403},
		{"another port of this host", "localhost:9768", "same-site", "no-cors", "image", 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Host = test.host
			for key, value := range map[string]string{"Sec-Fetch-Site": test.site, "Sec-Fetch-Mode": test.mode, "Sec-Fetch-Dest": test.dest, "Origin": "http://evil.test"} {
				if value != "" {
					r.Header.Set(key, value)
				}
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != test.want {
				t.Errorf("%d, want %d", w.Code, test.want)
			}
			if shown := strings.Contains(w.Body.String(), "worker-17"); shown != (test.want == 200) {
				t.Errorf("the page is shown: %t", shown)
			}
			for key := range w.Header() {
				if strings.HasPrefix(key, "Access-Control-") {
					t.Errorf("header %s", key)
				}
			}
		})
	}
}

// TestHeaders: what the page may do in a browser.
func TestHeaders(t *testing.T) {
	w := httptest.NewRecorder()
	web.Handler(webtest.Well).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?reload", nil))
	for key, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
		"X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := w.Header().Get(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	policy := w.Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "style-src 'sha256-", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q lacks %q", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "script") {
		t.Errorf("the policy allows too much: %q", policy)
	}
	if !strings.Contains(w.Body.String(), `<meta http-equiv="refresh" content="30">`) {
		t.Error("it does not reload where it is told to")
	}
	w = httptest.NewRecorder()
	web.Handler(webtest.Well).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if strings.Contains(w.Body.String(), "http-equiv") {
		t.Error("it reloads where nobody told it to")
	}
}
