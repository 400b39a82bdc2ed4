// Package probe asks registries as this node's container runtime would, and tells which step failed.
//
// It promises: facts with a state and a time for each phase, nothing judged; what could not be looked at, or is reached in a way that is
// not known, is "not checked" and no verdict; each probe opens connections of its own and leaves none; a server of whatever intent gets a
// bounded number of requests and can make it hold a bounded number of bytes for a bounded time; and no credential is in a report.
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

// Timeout bounds a probe of one endpoint.
const Timeout = 40 * time.Second

// expiresSoon is when a certificate's end becomes a warning. ACME clients renew 30 days before; half of it is late.
const expiresSoon = 14 * 24 * time.Hour

// Prober asks endpoints. Its fields are not changed once it is used; it is safe for concurrent use.
type Prober struct {
	// Proxying is what is known of the runtime's proxy.
	Proxying registries.Proxying
	// UserAgent is what the agent calls itself.
	UserAgent string
	// Login is what to ask for images with, as the runtime would; nil is without. It goes to the endpoints that ask for it and to their token
	// services, over plain HTTP where the runtime speaks that to the endpoint, and to nobody that an answer sends on to.
	Login *Login
	// Resolver is the node's where nil.
	Resolver *net.Resolver
	// Now is time.Now where nil. Certificates are held against it.
	Now func() time.Time
	// Dial makes a TCP connection; nil is the real thing.
	Dial func(ctx context.Context, address netip.AddrPort) (net.Conn, error)
}

func (p *Prober) resolver() *net.Resolver {
	if p.Resolver != nil {
		return p.Resolver
	}
	return net.DefaultResolver
}

func (p *Prober) dial() func(context.Context, netip.AddrPort) (net.Conn, error) {
	if p.Dial != nil {
		return p.Dial
	}
	return dialTCP
}

func (p *Prober) now() time.Time {
	if p.Now != nil {
		return p.Now()
	}
	return time.Now()
}

// proxyFor is the proxy that the runtime uses for a URL; nil is none, or none that is known.
func (p *Prober) proxyFor(u *url.URL) (*url.URL, error) {
	if p.Proxying.For == nil {
		return nil, nil
	}
	return p.Proxying.For(u)
}

// Probe asks one endpoint whether a registry is there. It does not fail: what goes wrong is what it reports.
func (p *Prober) Probe(ctx context.Context, e *registries.Endpoint, reach Reach) *Report {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	start := time.Now()
	r := &Report{URL: e.Name(), At: p.now()}
	defer func() {
		r.Seconds = time.Since(start).Seconds()
		r.strike(secretsOf(e, p.Proxying))
	}()

	// 1. DNS, TCP, proxy, TLS and GET /v2/, all in one request.
	base := e.URL
	base.User = nil
	base.Path = strings.TrimSuffix(base.Path, "/") + "/"
	if e.Namespaced {
		base.RawQuery = url.Values{"ns": {e.Registry}}.Encode()
	}
	v := p.visit(ctx, call{method: http.MethodGet, url: &base, endpoint: e, reach: reach})
	if e.FallsBackToHTTP && (v.tls.Fault == PlainHTTP || v.phase == PhaseTCP && base.Port() == "") {
		base.Scheme = "http"
		v = p.visit(ctx, call{method: http.MethodGet, url: &base, endpoint: e, reach: reach})
		r.Warnings = append(r.Warnings, "speaks plain HTTP, which the runtime falls back to")
	}
	r.Phases = Phases{DNS: v.dns, TCP: v.tcp, Proxy: v.proxy, TLS: v.tls, HTTP: v.http}
	r.deadFamily()
	r.certificate(e, p.now())
	if v.tls.Fault == Expired || v.tls.Fault == NotYetValid {
		p.clock(ctx, r, call{method: http.MethodHead, url: &base, reach: reach}, e.TLS)
	}

	// 2. Where the registry sends elsewhere, that answers for it.
	next := elsewhere(v, reach, e)
	for hops := 0; v.err == nil && isRedirect(v.status); hops++ {
		to, err := redirected(&base, v.header.Get("Location"))
		if err == nil && hops == mostRedirects {
			err = fmt.Errorf("more than %d redirects", mostRedirects)
		}
		if err != nil {
			v.err, v.phase = err, PhaseHTTP
			break
		}
		from := base
		base = *to
		if from.Scheme == "https" && to.Scheme == "http" {
			r.Warnings = append(r.Warnings, "sends on to plain HTTP, where the runtime follows: "+shown(to))
		}
		// Both runtimes trust whoever they are sent to as they trust the endpoint. Its headers go to no other host.
		c := call{method: http.MethodGet, url: to, endpoint: &registries.Endpoint{TLS: e.TLS}, reach: next}
		if from.Host == to.Host && from.Scheme == to.Scheme {
			c.endpoint, c.reach = e, reach
		}
		took := v.http.Seconds
		v = p.visit(ctx, c)
		r.Phases.HTTP = v.http
		r.Phases.HTTP.Seconds += took
		r.Phases.HTTP.Final = shown(to)
		if v.err != nil {
			// What failed there is reported as the answer of this endpoint, in words.
			v.err = fmt.Errorf("redirected to %s: %w", shown(to), v.err)
		}
	}
	if v.err != nil {
		r.fail(p, v.phase, v.causeOf(), v.err)
		return r
	}

	// 3. The answer.
	r.Phases.HTTP.Status = v.status
	if ahead, ok := v.ahead(p.now()); ok && !v.peer.IsLoopback() && !ownAddress(v.peer.Unmap()) { // whose clock is this node's
		seconds := ahead.Seconds()
		r.ClockOffsetSeconds = &seconds
	}
	r.RetryAfterSeconds = retryAfter(v.header, p.now()).Seconds()
	if phase, why, err := v.refuses(base.Scheme); err != nil {
		r.fail(p, phase, why, err)
		return r
	}
	if v.status == http.StatusOK && strings.HasPrefix(v.header.Get("Content-Type"), "text/html") {
		r.Warnings = append(r.Warnings, "answers with a web page: it may be no registry, or a portal in between")
	}

	// 4. The token service.
	if v.status == http.StatusUnauthorized {
		all := challenges(v.header.Values("WWW-Authenticate"))
		for _, c := range all {
			if c.scheme == "bearer" || c.scheme == "basic" { // the two that runtimes know
				r.Phases.HTTP.Challenge = c.scheme
			}
			if c.scheme == "bearer" && c.parameters["realm"] != "" {
				if !p.token(ctx, r, c, &base, e, next) {
					return r
				}
				break
			}
		}
	}
	yes := true
	r.OK = &yes
	return r
}

// fail notes why the endpoint does not serve. Without knowing the runtime's proxy a failure on the network proves nothing.
func (r *Report) fail(p *Prober, phase string, why cause.Cause, err error) {
	r.Phase, r.Cause, r.Error = phase, why, text(err)
	switch refused := refusal(err); {
	case refused != nil:
		r.Cause, r.NotChecked = cause.None, text(refused)
	case errors.Is(err, errNoRoots):
		r.Cause, r.NotChecked = cause.None, text(errNoRoots)
		r.Phases.TLS.State = NotChecked
	case !p.Proxying.Known && why.Scope() == cause.ScopeNetwork:
		r.NotChecked = "it fails when asked directly, and whether the runtime uses a proxy is not known: " + p.Proxying.Source
	default:
		no := false
		r.OK = &no
	}
}

// token asks the token service for an anonymous token. It tells whether the endpoint can still be called reached.
func (p *Prober) token(ctx context.Context, r *Report, c challenge, base *url.URL, e *registries.Endpoint, reach Reach) bool {
	realm, err := url.Parse(c.parameters["realm"])
	if err != nil || realm.Host == "" {
		r.Phases.Token = Token{Phase: Phase{State: Failed, Error: "the realm of the challenge is no URL"}}
		r.fail(p, PhaseToken, cause.RegistryError, fmt.Errorf("the realm of the challenge is no URL"))
		return false
	}
	r.Phases.Token.URL = shown(realm)
	if realm.Scheme != "https" && base.Scheme != realm.Scheme {
		r.Phases.Token.Phase = Phase{State: NotChecked, Error: "the token service is named over " + bounded(realm.Scheme, 20) + ", and only https is asked"}
		return true
	}
	realm.User = nil
	query := realm.Query()
	if service := c.parameters["service"]; service != "" {
		query.Set("service", service)
	}
	realm.RawQuery = query.Encode()
	ask := call{method: http.MethodGet, url: realm, endpoint: &registries.Endpoint{TLS: e.TLS}, reach: reach}
	start := time.Now()
	v := p.visit(ctx, ask)
	r.Phases.Token.Status = v.status
	r.Phases.Token.Phase = phase(start, v.err)
	switch {
	case v.err != nil && (refusal(v.err) != nil || errors.Is(v.err, errNoRoots)):
		r.Phases.Token.State = NotChecked
		return true
	case v.err != nil:
		r.fail(p, PhaseToken, v.causeOf(), fmt.Errorf("token service %s: %w", shown(realm), v.err))
	case v.status == http.StatusTooManyRequests:
		r.RetryAfterSeconds = retryAfter(v.header, p.now()).Seconds()
		r.fail(p, PhaseToken, cause.RateLimited, fmt.Errorf("token service %s answered %s", shown(realm), statusText(v.status)))
	case v.status >= 500, v.status == http.StatusNotFound:
		r.fail(p, PhaseToken, cause.RegistryError, fmt.Errorf("token service %s answered %s", shown(realm), statusText(v.status)))
	case v.status == http.StatusOK && tokenIn(v.body) == "":
		r.fail(p, PhaseToken, cause.RegistryError, fmt.Errorf("token service %s: its answer holds no token", shown(realm)))
	default:
		anonymous := v.status == http.StatusOK
		r.Phases.Token.Anonymous = &anonymous
		return true
	}
	r.Phases.Token.State, r.Phases.Token.Error = Failed, r.Error
	return false
}

// deadFamily warns of addresses that do not answer where others do. A family that this node has no route for is no news.
func (r *Report) deadFamily() {
	if r.Phases.TCP.State != Passed {
		return
	}
	for _, d := range r.Phases.TCP.Dials {
		if d.State == Failed && !strings.Contains(d.Error, "network is unreachable") && !strings.Contains(d.Error, "cannot assign requested address") {
			r.Warnings = append(r.Warnings, fmt.Sprintf("address %s does not connect, another one does: some connections will wait for it", d.Address.Addr()))
		}
	}
}

// certificate warns of one that ends soon.
func (r *Report) certificate(e *registries.Endpoint, now time.Time) {
	t := &r.Phases.TLS
	switch left := t.NotAfter.Sub(now); {
	case t.Verified != nil && !*t.Verified && t.State == Passed:
		r.Warnings = append(r.Warnings, "the certificate would not pass ("+string(t.Fault)+"), and the runtime is told not to verify it ("+e.Source+")")
	case t.State == Passed && left < expiresSoon:
		r.Warnings = append(r.Warnings, fmt.Sprintf("the certificate ends in %d days, at %s", int(left.Hours()/24), t.NotAfter.UTC().Format(time.RFC3339)))
	}
}

// clock asks the registry for its time where a certificate's dates do not fit this node's. Whoever has that certificate may say so: the clock is to
// blame only where the chain passes in everything else at the time that he says. Neither question carries anything, and nothing but the Date is taken.
func (p *Prober) clock(ctx context.Context, r *Report, c call, trust *tls.Config) {
	c.endpoint = &registries.Endpoint{TLS: unverified(trust)}
	ahead, ok := p.visit(ctx, c).ahead(p.now())
	if !ok || ahead.Abs() <= ClockSlack {
		return
	}
	then := *p
	then.Now = func() time.Time { return p.now().Add(ahead) }
	c.endpoint = &registries.Endpoint{TLS: trust}
	if seen := then.visit(ctx, c).tls; seen.Verified == nil || !*seen.Verified {
		return
	}
	seconds := ahead.Seconds()
	r.ClockOffsetSeconds, r.Phases.TLS.Fault = &seconds, WrongClock
	where := "behind"
	if ahead < 0 {
		where = "ahead of"
	}
	r.Warnings = append(r.Warnings, fmt.Sprintf("this node's clock is %s %s the registry's Date, by which the certificate is valid", ahead.Abs().Round(time.Minute), where))
}

// ahead is how far the Date of an answer is ahead of a clock.
func (v *visit) ahead(of time.Time) (ahead time.Duration, ok bool) {
	date, err := http.ParseTime(v.header.Get("Date"))
	return date.Sub(of), err == nil
}
