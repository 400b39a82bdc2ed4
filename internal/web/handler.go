package web

import (
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// reloadSeconds is how often the page reloads itself where it is told to. It does not otherwise: that would close what somebody has opened
// and begin anew what a screen reader reads.
const reloadSeconds = 30

// Handler serves the page at every path that it is given.
func Handler(state func() State) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY") // for what knows no frame-ancestors
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		page, err := Render(state(), r.URL.Query().Has("reload"))
		if err != nil {
			http.Error(w, "the page could not be made: "+err.Error(), http.StatusInternalServerError)
			return
		}
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Length", strconv.Itoa(len(page)))
		_, _ = w.Write(page) // whoever asked is gone
	})
}

// policy lets the page use its own style and nothing else: what slipped through as markup could still load, run and send nothing.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

// Local refuses what a page of somebody else's has a browser ask for. A name that resolves to this address as its owner likes (DNS
// rebinding) makes the browser take both for one site, so that only addresses and localhost are answered to. A browser says where a request
// comes from; one from another site may open the page, as a link does, and not embed or read it.
func Local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isAddress(r.Host) {
			http.Error(w, "Ask for this page by an IP address or as localhost: other names could be anybody's.", http.StatusMisdirectedRequest)
			return
		}
		site := r.Header.Get("Sec-Fetch-Site")
		opened := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
		if site != "" && site != "same-origin" && site != "none" && !opened {
			http.Error(w, "This page is not for other sites.", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isAddress tells whether a Host header names an IP address or localhost, which browsers resolve without asking anybody.
func isAddress(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}
