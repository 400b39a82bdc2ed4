package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

// What is taken from a registry, at most. It may be anybody's server.
const (
	mostHeader    = 64 << 10 // bytes of all headers of an answer
	mostBody      = 64 << 10 // bytes of an answer's body; a token of a large cloud takes 5 KiB
	mostText      = 500      // bytes of an error or header that is reported
	handshakeWait = 10 * time.Second
	answerWait    = 10 * time.Second
	mostRedirects = 5
)

// visit is one request over a connection of its own, and what was seen on the way.
type visit struct {
	dns   DNS
	tcp   TCP
	proxy Proxy
	tls   TLS
	http  HTTP

	status int
	header http.Header
	body   []byte

	peer  netip.Addr // whom it connected to, the proxy where there is one
	err   error
	phase string // that failed
}

// call is what a visit asks, and of whom.
type call struct {
	method   string
	url      *url.URL
	header   http.Header
	endpoint *registries.Endpoint // whose trust and headers go with it
	reach    Reach
	most     int64 // bytes of the body; 0 is mostBody
}

// visit makes one request. Redirects are not followed.
func (p *Prober) visit(ctx context.Context, c call) *visit {
	v := &visit{}
	proxy, err := p.proxyFor(c.url)
	if err != nil {
		v.proxy.Phase, v.err, v.phase = Phase{State: Failed, Error: text(err)}, err, PhaseProxy
		return v
	}
	reach := c.reach
	if proxy != nil {
		// The proxy connects; all that can be refused here is what the URL itself says. The proxy is the operator's.
		if err := refusedName(c.url.Hostname(), c.reach); err != nil {
			v.tcp.Phase, v.err, v.phase = Phase{State: NotChecked, Error: text(err)}, err, PhaseTCP
			return v
		}
		reach = Anywhere
		v.proxy.URL, v.proxy.Source = shown(proxy), p.Proxying.Source
	}
	d := &dialer{resolver: p.resolver(), reach: reach, dial: p.dial()}
	h := &handshake{host: c.url.Hostname(), now: p.now}
	var connect connectTrace
	transport := &http.Transport{
		DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			conn, err := d.connect(ctx, address)
			if err == nil && proxy != nil && strings.HasPrefix(proxy.Scheme, "http") && c.url.Scheme == "https" { // SOCKS has no CONNECT
				connect.begin(conn)
			}
			return conn, err
		},
		TLSClientConfig:        h.config(c.endpoint),
		TLSHandshakeTimeout:    handshakeWait,
		ResponseHeaderTimeout:  answerWait,
		MaxResponseHeaderBytes: mostHeader,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		OnProxyConnectResponse: connect.answered,
	}
	if proxy != nil {
		transport.Proxy = http.ProxyURL(proxy)
	}
	request := (&http.Request{Method: c.method, URL: c.url, Host: c.url.Host, Header: http.Header{}}).WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeStart: h.started, TLSHandshakeDone: h.done,
	}))
	for name, values := range c.endpoint.Header {
		request.Header[name] = values
	}
	for name, values := range c.header {
		request.Header[name] = values
	}
	request.Header.Set("User-Agent", p.UserAgent)

	start := time.Now()
	response, err := transport.RoundTrip(request)
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "readLoopPeekFailLocked"): // something came before the request was written
		var alert *net.OpError
		if errors.As(err, &alert) { // of TLS, whose 1.3 refuses certificates after the handshake
			err = alert
		} else { // net/http has no words for it
			err = errors.New("it speaks before it is asked, and not HTTP")
		}
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("the other side hung up: %w", err)
	}
	if err == nil {
		v.status, v.header = response.StatusCode, response.Header
		v.body, err = io.ReadAll(io.LimitReader(response.Body, cmp.Or(c.most, mostBody)))
		_ = response.Body.Close() // what is left of it is not wanted
	}
	took := time.Since(start).Seconds()
	v.dns, v.tcp, v.peer = d.facts()
	v.tls = h.report()
	v.proxy.Phase, v.proxy.Status = connect.phase(proxy != nil && c.url.Scheme == "https")
	v.phase = failedPhase(err, v, proxy != nil)
	if v.phase == PhaseProxy {
		switch {
		case v.proxy.State == Failed: // by its answer; the transport's error is but the status text
			err = errors.New(v.proxy.Error)
		case v.tcp.State == Passed && isTimeout(err):
			err = fmt.Errorf("no answer within %s", answerWait)
		}
		v.proxy.State, v.proxy.Error = Failed, text(err)
		err = fmt.Errorf("proxy %s: %w", v.proxy.URL, err)
	}
	v.err = err
	if v.phase == "" || v.phase == PhaseHTTP {
		v.http = HTTP{Phase: Phase{State: Passed, Seconds: took - v.dns.Seconds - v.tcp.Seconds - v.proxy.Seconds - v.tls.Seconds}, Status: v.status}
		if err != nil {
			v.http.State, v.http.Error = Failed, text(err)
		}
	}
	if v.phase == PhaseTLS && v.tls.State != Failed { // the transport gave up before the hook was told
		v.tls.State, v.tls.Error = Failed, text(err)
		v.tls.Fault = cmp.Or(v.tls.Fault, handshakeFault(err))
	}
	return v
}

// connectTrace is what is seen of a CONNECT.
type connectTrace struct {
	mu     sync.Mutex
	conn   net.Conn
	start  time.Time
	took   time.Duration
	status int
}

// begin gives the proxy answerWait for its answer: net/http has no limit for that.
func (c *connectTrace) begin(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn, c.start = conn, time.Now()
	_ = conn.SetDeadline(c.start.Add(answerWait))
}

func (c *connectTrace) answered(_ context.Context, _ *url.URL, _ *http.Request, response *http.Response) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took, c.status = time.Since(c.start), response.StatusCode
	return c.conn.SetDeadline(time.Time{})
}

func (c *connectTrace) phase(wanted bool) (p Phase, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !wanted || c.status == 0:
		return Phase{}, 0
	case c.status/100 == 2:
		return Phase{State: Passed, Seconds: c.took.Seconds()}, c.status
	}
	return Phase{State: Failed, Seconds: c.took.Seconds(), Error: "the proxy answered " + statusText(c.status)}, c.status
}

// failedPhase is where a request failed; empty is nowhere.
func failedPhase(err error, v *visit, proxied bool) string {
	var dns *dnsError
	var dial *dialError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &dns), errors.As(err, &dial):
		switch {
		case proxied:
			return PhaseProxy
		case dns != nil:
			return PhaseDNS
		}
		return PhaseTCP
	case v.proxy.State == Failed, proxied && strings.HasPrefix(err.Error(), "proxyconnect"):
		return PhaseProxy
	case v.tls.State == Failed, handshakeFault(err) != OtherTLS, strings.Contains(err.Error(), "TLS handshake timeout"):
		return PhaseTLS
	case v.tls.State == "" && proxied && v.proxy.URL != "" && v.status == 0 && v.http.State == "" && v.proxy.State == "" && v.tcp.State == Passed:
		return PhaseProxy // it connected to the proxy and got no further
	}
	return PhaseHTTP
}

// causeOf is why a visit failed, in the words of the closed list. The runtimes' own errors are made of the same texts, so the classifier
// that reads theirs reads ours; where the text says nothing, the phase does.
func (v *visit) causeOf() cause.Cause {
	if v.phase == PhaseProxy {
		if v.dns.State == Failed {
			return cause.DNS // the name lookup failed, whatever the way
		}
		return cause.Proxy
	}
	switch v.phase {
	case PhaseDNS:
		return cause.DNS
	case PhaseTCP:
		return cause.Connection
	case PhaseTLS:
		if cutShort(v.err) || isReset(v.err) {
			return cause.Connection
		}
		return cause.TLS
	}
	switch {
	case isTimeout(v.err):
		return cause.Timeout
	case cutShort(v.err), isReset(v.err):
		return cause.Connection
	}
	if strings.Contains(v.err.Error(), `malformed HTTP response "\x15\x03`) { // a TLS alert
		return cause.TLS
	}
	return cause.RegistryError // an answer that is no HTTP, or too large to be one of a registry
}

// text is an error as it may be reported: without the URL that was asked, which stands beside it, without a user, and bounded.
func text(err error) string {
	var asked *url.Error
	if errors.As(err, &asked) {
		err = asked.Err
	}
	return bounded(strings.TrimPrefix(err.Error(), "net/http: HTTP/1.x transport connection broken: "), mostText)
}

// bounded cuts a text from outside.
func bounded(s string, most int) string {
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
