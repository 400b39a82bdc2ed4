package probe

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

// piped is a registry at the other end of a pipe.
func piped(answer string) net.Conn {
	client, server := net.Pipe()
	go func() {
		defer func() { _ = server.Close() }()
		if _, err := http.ReadRequest(bufio.NewReader(server)); err == nil {
			_, _ = io.WriteString(server, answer)
		}
	}()
	return client
}

var (
	four = netip.MustParseAddr("192.0.2.4")
	six  = netip.MustParseAddr("2001:db8::6")
)

// TestFamilies has a host with addresses of both families, one or both of them dead.
func TestFamilies(t *testing.T) {
	hang := func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	refuse := func(_ context.Context, a netip.AddrPort) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(a), Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	away := func(_ context.Context, a netip.AddrPort) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(a), Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
	}
	fine := func(context.Context, netip.AddrPort) (net.Conn, error) {
		return piped("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), nil
	}
	type dial = func(context.Context, netip.AddrPort) (net.Conn, error)
	tests := map[string]struct {
		four, six dial
		ok        bool
		warning   string
		error     string
		took      time.Duration
	}{
		"both live":           {four: fine, six: fine, ok: true},
		"IPv6 is a hole":      {four: fine, six: hang, ok: true, warning: six.String() + " does not connect", took: familyWait},
		"IPv6 refuses":        {four: fine, six: refuse, ok: true, warning: six.String() + " does not connect"},
		"no route for IPv6":   {four: fine, six: away, ok: true},
		"IPv4 is a hole":      {four: hang, six: fine, ok: true, warning: four.String() + " does not connect", took: familyWait},
		"both refuse":         {four: refuse, six: refuse, error: "connection refused"},
		"only IPv4, refuses":  {four: refuse, six: away, error: "connection refused"},
		"both are holes":      {four: hang, six: hang, error: "no answer within 5s", took: dialAtMost},
		"hole, and no route6": {four: hang, six: away, error: "no answer within 5s", took: dialAtMost},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &Prober{Proxying: direct, Resolver: names(map[string][]netip.Addr{"registry.test": {four, six}}), Dial: func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
					if a.Addr().Is4() {
						return test.four(ctx, a)
					}
					return test.six(ctx, a)
				}}
				start := time.Now()
				r := p.Probe(t.Context(), endpointOf(t, "http://registry.test", nil), Anywhere)
				if took := time.Since(start); took != test.took {
					t.Errorf("took %s, want %s", took, test.took)
				}
				if r.OK == nil || *r.OK != test.ok || !strings.Contains(r.Error, test.error) {
					t.Errorf("%s", dump(r))
				}
				if got := strings.Join(r.Warnings, ";"); !strings.Contains(got, test.warning) || test.warning == "" && got != "" {
					t.Errorf("warnings %q, want %q", got, test.warning)
				}
				if len(r.Phases.TCP.Dials) != 2 || len(r.Phases.DNS.IPv4) != 1 || len(r.Phases.DNS.IPv6) != 1 {
					t.Errorf("not every address is reported: %s", dump(r))
				}
				synctest.Wait()
			})
		})
	}
}

// TestManyAddresses bounds how many addresses of a name are tried.
func TestManyAddresses(t *testing.T) {
	var all []netip.Addr
	for i := range 100 {
		all = append(all, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
	}
	tried := 0
	p := &Prober{Proxying: direct, Resolver: names(map[string][]netip.Addr{"registry.test": all}), Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
		tried++
		return nil, syscall.ECONNREFUSED
	}}
	r := p.Probe(t.Context(), endpointOf(t, "http://registry.test", nil), Anywhere)
	if tried != mostAddresses || len(r.Phases.DNS.IPv4) != mostAddresses {
		t.Errorf("%d addresses tried: %s", tried, dump(r))
	}
}

// TestReach keeps a probe from where a tenant's name or a public registry would lead it.
func TestReach(t *testing.T) {
	private, public := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("192.0.2.4")
	hosts := map[string][]netip.Addr{
		"loopback.test": {netip.MustParseAddr("127.0.0.1")}, "metadata.test": {netip.MustParseAddr("169.254.169.254")}, "aws6.test": {netip.MustParseAddr("fd00:ec2::254")},
		"private.test": {private}, "public.test": {public}, "zero.test": {netip.MustParseAddr("0.0.0.0")},
	}
	tests := map[string]struct {
		host     string
		reach    Reach
		location string // where the registry redirects to
		realm    string
		refused  bool
		asked    string // the last host that was connected to
	}{
		"a pod names loopback":                {host: "loopback.test", reach: NotThisNode, refused: true},
		"a pod names loopback by address":     {host: "127.0.0.1", reach: NotThisNode, refused: true},
		"a pod names the metadata service":    {host: "metadata.test", reach: NotThisNode, refused: true},
		"a pod names it over IPv6":            {host: "aws6.test", reach: NotThisNode, refused: true},
		"a pod names a mapped address":        {host: "[::ffff:127.0.0.1]", reach: NotThisNode, refused: true},
		"a pod names no address":              {host: "zero.test", reach: NotThisNode, refused: true},
		"a pod names a private registry":      {host: "private.test", reach: NotThisNode, asked: private.String()},
		"the operator names loopback":         {host: "loopback.test", reach: Anywhere, asked: "127.0.0.1"},
		"public sends to private":             {host: "public.test", reach: Anywhere, location: "http://private.test/x", refused: true, asked: public.String()},
		"public sends to loopback":            {host: "public.test", reach: Anywhere, location: "http://127.0.0.1/x", refused: true, asked: public.String()},
		"private sends to private":            {host: "private.test", reach: Anywhere, location: "http://loopback.test/x", asked: "127.0.0.1"},
		"a pod's private sends to metadata":   {host: "private.test", reach: NotThisNode, location: "http://metadata.test/x", refused: true, asked: private.String()},
		"public names a private token server": {host: "public.test", reach: Anywhere, realm: "http://private.test/token", asked: public.String()},
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range own { // loopback's among them
		test := tests["a pod names loopback"]
		hosts["node.test"] = append(hosts["node.test"], netip.MustParsePrefix(of.String()).Addr())
		test.host = "node.test"
		tests["a pod names this node"] = test
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			asked := ""
			p := &Prober{Proxying: direct, Resolver: names(hosts), Dial: func(_ context.Context, a netip.AddrPort) (net.Conn, error) {
				first := asked == ""
				asked = a.Addr().String()
				switch {
				case first && test.location != "":
					return piped("HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nLocation: " + test.location + "\r\n\r\n"), nil
				case first && test.realm != "":
					return piped("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: Bearer realm=\"" + test.realm + "\"\r\n\r\n"), nil
				}
				return piped("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), nil
			}}
			r := p.Probe(t.Context(), endpointOf(t, "http://"+test.host, nil), test.reach)
			if asked != test.asked {
				t.Errorf("connected to %q, want %q", asked, test.asked)
			}
			if refused := r.OK == nil && r.Cause == cause.None && r.NotChecked != ""; refused != test.refused {
				t.Errorf("%s", dump(r))
			}
			if test.realm != "" && r.Phases.Token.State != NotChecked {
				t.Errorf("token: %s", dump(r))
			}
		})
	}
}

// proxied is a proxy for everything.
func proxied(t *testing.T, address string) registries.Proxying {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return registries.Proxying{Known: true, Source: "containerd.service", Secrets: []string{"PLANTED-proxy"}, For: func(*url.URL) (*url.URL, error) { return u, nil }}
}

func TestProxy(t *testing.T) {
	ca := newAuthority(t)
	registry := serve(t, ca.issue(t, nil), ok)
	// A proxy that connects, and one for each way to fail.
	proxy := func(answer string) string {
		return strings.Replace(raw(t, func(c net.Conn) {
			defer func() { _ = c.Close() }()
			request, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				return
			}
			if got := request.Header.Get("Proxy-Authorization"); got != "Basic "+base64.StdEncoding.EncodeToString([]byte("user:PLANTED-proxy")) {
				t.Errorf("Proxy-Authorization %q", got)
			}
			_, _ = io.WriteString(c, answer)
			if !strings.Contains(answer, " 200 ") {
				return
			}
			to, err := net.Dial("tcp", request.Host)
			if err != nil {
				return
			}
			defer func() { _ = to.Close() }()
			go func() { _, _ = io.Copy(to, c) }()
			_, _ = io.Copy(c, to)
		}), "https://", "http://user:PLANTED-proxy@", 1)
	}
	tests := map[string]struct {
		proxy string
		ok    bool
		phase string
		cause cause.Cause
		state State
	}{
		"connects":         {proxy: proxy("HTTP/1.1 200 OK\r\n\r\n"), ok: true, state: Passed},
		"forbids":          {proxy: proxy("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"), phase: PhaseProxy, cause: cause.Proxy, state: Failed},
		"wants a password": {proxy: proxy("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"), phase: PhaseProxy, cause: cause.Proxy, state: Failed},
		"cannot connect":   {proxy: proxy("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), phase: PhaseProxy, cause: cause.Proxy, state: Failed},
		"hangs up":         {proxy: proxy(""), phase: PhaseProxy, cause: cause.Proxy, state: Failed},
		"is gone":          {proxy: "http://user:PLANTED-proxy@127.0.0.1:1", phase: PhaseProxy, cause: cause.Proxy, state: Failed},
		"has no address":   {proxy: "http://user:PLANTED-proxy@nowhere.test:3128", phase: PhaseProxy, cause: cause.DNS, state: Failed},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := &Prober{Proxying: proxied(t, test.proxy), Resolver: names(nil)}
			r := p.Probe(t.Context(), endpointOf(t, registry.URL, ca.pool), Anywhere)
			if r.OK == nil || *r.OK != test.ok || r.Phase != test.phase || r.Cause != test.cause || r.Phases.Proxy.State != test.state {
				t.Errorf("want %+v\n%s", test, dump(r))
			}
			if !test.ok && !strings.Contains(r.Error, "proxy http://") {
				t.Errorf("error %q", r.Error)
			}
			if strings.Contains(dump(r), "PLANTED") || strings.Contains(r.Phases.Proxy.URL, "user") {
				t.Errorf("the proxy's user is reported: %s", dump(r))
			}
		})
	}
}

// TestUnknownProxy: what fails on the network proves nothing where the runtime may go another way; what answers does.
func TestUnknownProxy(t *testing.T) {
	ca := newAuthority(t)
	broken := serve(t, ca.issue(t, nil), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	p := &Prober{Proxying: registries.Proxying{Source: "/etc/systemd/system: not mounted"}}
	for address, known := range map[string]bool{"https://127.0.0.1:1": false, broken.URL: true} {
		r := p.Probe(t.Context(), endpointOf(t, address, ca.pool), Anywhere)
		if (r.OK != nil) != known || known && *r.OK || (r.NotChecked == "") != known || r.Cause == cause.None {
			t.Errorf("%s", dump(r))
		}
	}
}

// TestSecrets plants secrets in all that goes out, has the other side echo them in all that comes back, and looks for them in the report.
func TestSecrets(t *testing.T) {
	ca := newAuthority(t)
	elsewhere := serve(t, ca.issue(t, nil), func(w http.ResponseWriter, r *http.Request) {
		if text := fmt.Sprint(r.Header, r.URL); strings.Contains(text, "PLANTED") && r.URL.Path != "/echo/PLANTED-header" {
			t.Errorf("a secret went to another host: %s", text)
		}
		w.WriteHeader(http.StatusBadGateway)
	})
	for name, answer := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/echo/"+r.Header.Get("X-Token"), http.StatusTemporaryRedirect)
		},
		"challenge": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+elsewhere.URL+"/echo/"+r.Header.Get("X-Token")+`"`)
			w.WriteHeader(401)
		},
		"scheme": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", r.Header.Get("X-Token"))
			w.WriteHeader(401)
		},
	} {
		t.Run(name, func(t *testing.T) {
			registry := serve(t, ca.issue(t, nil), answer)
			e := endpointOf(t, registry.URL, ca.pool)
			e.URL.User = url.UserPassword("user", "PLANTED-url")
			e.Header = http.Header{"X-Token": {"PLANTED-header"}, "Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("user:PLANTED-basic"))}}
			r := (&Prober{Proxying: direct}).Probe(t.Context(), e, Anywhere)
			if text := dump(r); strings.Contains(strings.ToUpper(text), "PLANTED") || strings.Contains(text, "UExBTlRFRC") {
				t.Errorf("a secret is reported: %s", text)
			}
		})
	}
}

// TestNoGoroutineLeft probes dead endpoints and looks for what is left of it.
func TestNoGoroutineLeft(t *testing.T) {
	p := &Prober{Proxying: direct, Resolver: names(nil)}
	before := runtime.NumGoroutine()
	for range 50 {
		p.Probe(t.Context(), endpointOf(t, "https://127.0.0.1:1", nil), Anywhere)
	}
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before+2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestChallenges(t *testing.T) {
	for text, want := range map[string]string{
		`Bearer realm="https://auth.test/token",service="a, b",scope="x:y:pull,push"`: `[{bearer map[realm:https://auth.test/token scope:x:y:pull,push service:a, b]}]`,
		`Basic realm="Sonatype \"Nexus\""`:                                            `[{basic map[realm:Sonatype "Nexus"]}]`,
		`Bearer realm=https://auth.test/t,a=b`:                                        `[{bearer map[a:b realm:https://auth.test/t]}]`,
		`Basic realm="x", Bearer realm="y"`:                                           `[{basic map[realm:x]} {bearer map[realm:y]}]`,
		`Negotiate`:                                                                   `[{negotiate map[]}]`,
		`Negotiate, Basic realm="x"`:                                                  `[{negotiate map[]} {basic map[realm:x]}]`,
		`Bearer realm="open`:                                                          `[{bearer map[realm:open]}]`,
		`,,, =`:                                                                       `[]`,
		"":                                                                            `[]`,
		`BEARER REALM = "x"`:                                                          `[{bearer map[realm:x]}]`,
	} {
		if got := fmt.Sprint(challenges([]string{text})); got != want {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add(`Bearer realm="https://auth.test/token",service="a, b"`)
	f.Fuzz(func(_ *testing.T, text string) { challenges([]string{text}) })
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "30": 30 * time.Second, "-1": 0, "x": 0, "86400": mostRetryAfter, "99999999999999999999": 0,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
