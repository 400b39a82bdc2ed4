package probe

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

// mostRetryAfter bounds how long a registry can ask to be left alone: an error of a day's length there must not blind the agent.
const mostRetryAfter = time.Hour

// retryAfter reads the header (RFC 9110, 10.2.3): seconds, or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, mostRetryAfter)
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(date.Sub(now), 0), mostRetryAfter)
	}
	return 0
}

// answered is a status that is no good answer.
func answered(status int) error { return fmt.Errorf("the registry answered %s", statusText(status)) }

// refuses tells whether an answer to GET /v2/ is none of a registry that serves. One that refuses this client (401, 403) is there, and one
// that does not know the path (404) may still serve images: containerd does not ask for it.
func (v *visit) refuses(scheme string) (phase string, why cause.Cause, err error) {
	err = answered(v.status)
	switch s := v.status; {
	case s/100 == 2, s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusNotFound:
		return "", cause.None, nil
	case s == http.StatusTooManyRequests:
		return PhaseHTTP, cause.RateLimited, err
	case s == http.StatusProxyAuthRequired:
		return PhaseProxy, cause.Proxy, fmt.Errorf("the proxy answered %s", statusText(s))
	case s == http.StatusRequestTimeout:
		return PhaseHTTP, cause.Timeout, err
	case s == http.StatusBadRequest && scheme == "http" && wantsHTTPS(v.body):
		return PhaseHTTP, cause.TLS, fmt.Errorf("%w: the port speaks HTTPS and is asked by HTTP", err)
	}
	return PhaseHTTP, cause.RegistryError, err
}

// wantsHTTPS reads what servers say to plain HTTP at a port for TLS: Go's, nginx, Apache.
func wantsHTTPS(body []byte) bool {
	for _, words := range []string{"to an HTTPS server", "to HTTPS port", "SSL-enabled server port"} {
		if bytes.Contains(body, []byte(words)) {
			return true
		}
	}
	return false
}

// tokenIn is the token in a token service's answer, by either name (distribution, docs/spec/auth/token.md); empty is none.
func tokenIn(body []byte) string {
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	return cmp.Or(answer.Token, answer.AccessToken)
}

func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirected is where an answer sends the client.
func redirected(from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	switch {
	case location == "":
		return nil, errors.New("redirected to nowhere: the answer has no Location")
	case err != nil:
		return nil, errors.New("redirected to what is no URL")
	case to.Scheme != "https" && to.Scheme != "http":
		return nil, fmt.Errorf("redirected to a URL of scheme %q", bounded(to.Scheme, 20))
	case to.Host == "":
		return nil, errors.New("redirected to a URL without a host")
	}
	to.User = nil
	return to, nil
}

// shown is a URL as it may be reported: a signature or token may be in the query, a password in the user.
func shown(u *url.URL) string {
	return bounded((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), mostText)
}

// elsewhere is which addresses the endpoint may send the probe on to: none that are private where the endpoint is public.
func elsewhere(v *visit, reach Reach, e *registries.Endpoint) Reach {
	peer := v.peer
	if v.proxy.URL != "" { // the peer was the proxy
		peer, _ = netip.ParseAddr(e.URL.Hostname())
	}
	if !peer.IsValid() && v.proxy.URL != "" || peer.IsValid() && !private(peer) {
		return PublicOnly
	}
	return reach
}

// refusal is the address that was not asked, if that is why a visit failed.
func refusal(err error) error {
	var refused *refusedError
	if errors.As(err, &refused) {
		return refused
	}
	return nil
}

// refusedName tells whether a host is an address that must not be asked, or the name of this machine.
func refusedName(host string, reach Reach) error {
	if reach == Anywhere {
		return nil
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return &refusedError{netip.IPv6Loopback(), reach}
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return reach.allows(a)
	}
	return nil
}

// unverified is the same trust without verification.
func unverified(c *tls.Config) *tls.Config {
	if c == nil {
		c = &tls.Config{}
	}
	c = c.Clone()
	c.InsecureSkipVerify = true //nolint:gosec // for a question that carries nothing and an answer of which the Date alone is used
	c.Certificates = nil
	return c
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// leastSecret is how long a text has to be, in bytes, to be struck out: striking out every "a" would show the password by its gaps.
const leastSecret = 4

// secretsOf are the texts that a server could echo and that must not be reported.
func secretsOf(e *registries.Endpoint, p registries.Proxying) (all []string) {
	add := func(s string) {
		if len(s) >= leastSecret {
			all = append(all, s)
		}
	}
	for _, values := range e.Header {
		for _, value := range values {
			add(value)
			scheme, rest, ok := strings.Cut(value, " ")
			if !ok {
				continue
			}
			add(rest)
			if pair, err := base64.StdEncoding.DecodeString(rest); err == nil && strings.EqualFold(scheme, "basic") {
				_, password, _ := strings.Cut(string(pair), ":")
				add(password)
			}
		}
	}
	for _, s := range p.Secrets {
		add(s)
	}
	return all
}

// strike takes secrets out of every text that came from outside.
func (r *Report) strike(secrets []string) {
	if len(secrets) == 0 {
		return
	}
	p := &r.Phases
	texts := []*string{
		&r.Error, &r.NotChecked, &p.DNS.Error, &p.DNS.Host, &p.TCP.Error, &p.Proxy.Error, &p.TLS.Error, &p.TLS.Issuer, &p.HTTP.Error, &p.HTTP.Final, &p.HTTP.Challenge,
		&p.Token.Error, &p.Token.URL,
	}
	for i := range p.TCP.Dials {
		texts = append(texts, &p.TCP.Dials[i].Error)
	}
	for i := range p.TLS.Names {
		texts = append(texts, &p.TLS.Names[i])
	}
	for i := range r.Warnings {
		texts = append(texts, &r.Warnings[i])
	}
	strikeAll(texts, secrets)
}

// strikeAll takes secrets out of texts, and what is left of one where a text was cut short in its midst.
func strikeAll(texts []*string, secrets []string) {
	// The longest first: one may be part of another.
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, t := range texts {
		for _, s := range secrets {
			*t = strings.ReplaceAll(*t, s, "[redacted]")
			for n := min(len(s)-1, mostText); n >= leastSecret && strings.Contains(*t, "…"); n-- {
				*t = strings.ReplaceAll(*t, s[:n]+"…", "[redacted]…")
			}
		}
	}
}
