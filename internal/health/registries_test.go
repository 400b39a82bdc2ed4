package health

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/probe"
)

func ptr(is bool) *bool { return &is }

// Each is what a probe of a registry, whose name is filled in, may say.
var (
	reached = Probed{Reached: ptr(true), Resolved: true}
	unknown = Probed{}

	refused    = Probed{Reached: ptr(false), Cause: cause.Connection, Phase: probe.PhaseTCP, Resolved: true}
	stalled    = Probed{Reached: ptr(false), Cause: cause.Timeout, Phase: probe.PhaseHTTP, Resolved: true}
	serverErr  = Probed{Reached: ptr(false), Cause: cause.RegistryError, Phase: probe.PhaseHTTP, Resolved: true}
	limited    = Probed{Reached: ptr(false), Cause: cause.RateLimited, Phase: probe.PhaseHTTP, Resolved: true}
	noToken    = Probed{Reached: ptr(false), Cause: cause.Connection, Phase: probe.PhaseToken, Resolved: true}
	noResolver = Probed{Reached: ptr(false), Cause: cause.DNS, Phase: probe.PhaseDNS}
	noSuchName = Probed{Reached: ptr(false), Cause: cause.DNS, Phase: probe.PhaseDNS, NoSuchName: true}
	routeless  = Probed{Reached: ptr(false), Cause: cause.Connection, Phase: probe.PhaseTCP, Resolved: true, NoRoute: true}

	oneProxy     = "http://proxy.example:3128"
	proxied      = Probed{Reached: ptr(true), Resolved: true, Proxy: oneProxy}
	proxyDead    = Probed{Reached: ptr(false), Cause: cause.Proxy, Phase: probe.PhaseProxy, Resolved: true, Proxy: oneProxy}
	proxyUnknown = Probed{Reached: ptr(false), Cause: cause.DNS, Phase: probe.PhaseProxy, NoSuchName: true, Proxy: oneProxy}
	proxyNoNames = Probed{Reached: ptr(false), Cause: cause.DNS, Phase: probe.PhaseProxy, Proxy: oneProxy}
	proxyRefuses = Probed{Reached: ptr(false), Cause: cause.Proxy, Phase: probe.PhaseProxy, Resolved: true, Proxy: oneProxy, BehindProxy: true}
	proxyUnread  = Probed{Reached: ptr(false), Cause: cause.Proxy, Phase: probe.PhaseProxy}
)

func badTLS(fault probe.TLSFault) Probed {
	return Probed{Reached: ptr(false), Cause: cause.TLS, Phase: probe.PhaseTLS, TLSFault: string(fault), Resolved: true}
}

var (
	ahead    = badTLS(probe.WrongClock)
	behind   = with(ahead, func(p *Probed) { p.ClockBehind = true })
	onTime   = with(reached, func(p *Probed) { p.ClockAgrees = true })
	stranger = badTLS(probe.UnknownIssuer)
)

func meant(p Probed) Probed { return with(p, func(p *Probed) { p.Configured = true }) }

func with(p Probed, change func(*Probed)) Probed {
	change(&p)
	return p
}

func address(p Probed) Probed { return with(p, func(p *Probed) { p.Resolved = false }) }
func pulled(p Probed) Probed  { return with(p, func(p *Probed) { p.Pulled = true }) }
func named(name string, p Probed) Probed {
	return with(p, func(p *Probed) { p.Registry = name })
}

// probed gives each that has none a name of its own.
func probed(all ...Probed) Observation {
	all = slices.Clone(all)
	for i := range all {
		if all[i].Registry == "" {
			all[i].Registry = fmt.Sprintf("registry-%02d.example", i)
		}
	}
	return Observation{Registries: &Registries{Probed: all}}
}

// TestRegistryRules: each sentence of the rules is a row.
func TestRegistryRules(t *testing.T) {
	of := func(p ...Probed) []Probed { return p }
	skipped := func(fault probe.TLSFault) Probed {
		return with(stalled, func(p *Probed) { p.TLSFault = string(fault) }) // the runtime does not verify
	}
	for _, test := range []struct {
		name string
		seen []Probed
		want string // the reason where True; "" is False, "unknown" no judgement
	}{
		{"nothing is established", nil, "unknown"},
		{"nothing is known", of(unknown, unknown), "unknown"},
		{"what is not known is left out", of(unknown, reached), ""},
		{"what is not known is no second registry", of(unknown, refused), ""},
		{"all are reached", of(reached, reached), ""},

		{"one alone, refused", of(refused), ""},
		{"one alone, timed out", of(stalled), ""},
		{"one alone, server error", of(serverErr), ""},
		{"one alone, certificate expired", of(badTLS(probe.Expired)), ""},
		{"one of several is down", of(refused, reached, reached), ""},

		{"not one is reached", of(refused, stalled), "NoRegistryReachable"},
		{"not one is reached, whatever fails of the network", of(badTLS(probe.Expired), refused, noSuchName), "NoRegistryReachable"},
		{"two ports of one host are one", of(named("r.example:5000", refused), named("r.example:5001", refused)), ""},
		{"two ports of one address are one", of(named("[2001:db8::1]:5000", refused), named("[2001:db8::1]", refused)), ""},
		{"one answers with a server error: it is reached", of(refused, stalled, serverErr), ""},
		{"one answers 429", of(refused, stalled, limited), ""},
		{"all answer with server errors", of(serverErr, serverErr, limited), ""},
		{"the token service fails: the registry itself has answered", of(refused, stalled, noToken), ""},
		{"all token services fail", of(noToken, noToken), ""},
		{"no cause is no verdict", of(Probed{Reached: ptr(false)}, refused), ""},
		{"a pull outranks its probe", of(refused, pulled(refused)), ""},
		{"a pull outranks what is not known", of(refused, stalled, pulled(unknown)), ""},
		{"one that was pulled from is not down", of(pulled(noResolver)), ""},

		{"no route", of(routeless), "NoRoute"},
		{"no route, and another is down", of(routeless, refused), "NoRoute"},
		{"no route to one where another is reached", of(routeless, reached), ""},
		{"no route to one where another answers with an error", of(routeless, serverErr), ""},
		{"no route is the root of names that do not resolve", of(address(routeless), noResolver), "NoRoute"},

		{"the resolver fails", of(noResolver), "NameResolutionFails"},
		{"the resolver fails, addresses are reached", of(noResolver, address(reached), address(reached)), "NameResolutionFails"},
		{"the resolver fails for one zone", of(noResolver, reached), ""},
		{"the resolver fails for one zone, another registry is down", of(noResolver, serverErr), ""},
		{"the resolver fails, and knows no other name", of(noResolver, noSuchName), "NameResolutionFails"},
		{"the resolver fails for the proxy's name", of(proxyNoNames), "NameResolutionFails"},
		{"a mirror's name resolves where the origin's does not", of(with(noResolver, func(p *Probed) { p.Resolved = true })), ""},
		{"a mirror serves, the origin's name does not resolve", of(with(noResolver, func(p *Probed) { p.Reached = ptr(true) })), ""},
		{"one name is gone", of(noSuchName), ""},
		{"one name is gone, another resolves", of(noSuchName, noSuchName, reached), ""},
		{"one name is gone, an address is reached", of(noSuchName, address(reached)), ""},
		{"no name is known", of(noSuchName, noSuchName), "NameResolutionFails"},
		{"no name is known, addresses are reached", of(noSuchName, noSuchName, address(reached)), "NameResolutionFails"},
		{"one name on two ports is gone", of(named("r.example", noSuchName), named("r.example:5000", noSuchName)), ""},

		{"the proxy does not answer", of(proxyDead), "ProxyFails"},
		{"the proxy does not answer, others need none", of(proxyDead, reached), "ProxyFails"},
		{"the proxy does not answer, yet another gets through", of(proxyDead, proxied), ""},
		{"so, with a server error", of(proxyDead, with(serverErr, func(p *Probed) { p.Proxy = oneProxy })), ""},
		{"one proxy of two", of(proxyDead, with(proxied, func(p *Probed) { p.Proxy = "http://other.example:3128" })), "ProxyFails"},
		{"the proxy's name is wrong", of(proxyUnknown, reached), "ProxyFails"},
		{"the proxy's name is wrong for two", of(proxyUnknown, proxyUnknown), "ProxyFails"},
		{"the proxy's name does not resolve, others do", of(proxyNoNames, reached), "ProxyFails"},
		{"the proxy's setting cannot be read", of(proxyUnread, reached), "ProxyFails"},
		{"the proxy refuses one", of(proxyRefuses, reached), ""},
		{"the proxy refuses one alone", of(proxyRefuses), ""},
		{"the proxy refuses all", of(proxyRefuses, proxyRefuses, reached), "ProxyFails"},
		{"the proxy refuses two of three", of(proxyRefuses, proxyRefuses, proxied), ""},
		{"a pull got through the proxy", of(proxyDead, pulled(proxyDead)), ""},

		{"the clock is behind, by one registry", of(behind, reached, reached), "ClockIsWrong"},
		{"the clock is behind by one, and another's agrees", of(behind, onTime, reached), ""},
		{"the clock is ahead, by one registry", of(ahead, reached), ""},
		{"the clock is ahead, by two", of(ahead, ahead, reached), "ClockIsWrong"},
		{"the clock is ahead by two, and another's agrees", of(ahead, ahead, onTime), ""},
		{"the clock is ahead, by two names of one domain", of(named("a.x.example", ahead), named("b.x.example", ahead), reached), ""},
		{"the clock is wrong, and the runtime does not verify", of(skipped(probe.WrongClock), reached), ""},
		{"the clock is behind, and a mirror serves", of(with(behind, func(p *Probed) { p.Reached = ptr(true) })), ""},
		{"one issuer is unknown", of(badTLS(probe.UnknownIssuer), reached), ""},
		{"one issuer is unknown, alone", of(badTLS(probe.UnknownIssuer)), ""},
		{"two issuers are unknown", of(badTLS(probe.UnknownIssuer), badTLS(probe.UnknownIssuer), reached), "CertificatesNotTrusted"},
		{"two issuers are unknown, of one domain that pods brought", of(named("a.x.example", stranger), named("b.x.example", stranger), reached), ""},
		{"two issuers are unknown, of one domain that is configured", of(named("a.x.example", meant(stranger)), named("b.x.example", meant(stranger)), reached), "CertificatesNotTrusted"},
		{"two issuers are unknown, of two domains", of(named("a.x.co.uk", stranger), named("b.y.co.uk", stranger), reached), "CertificatesNotTrusted"},
		{"two issuers are unknown, of addresses", of(named("192.0.2.1:5000", stranger), named("192.0.2.2:5000", stranger), reached), "CertificatesNotTrusted"},
		{"two issuers are unknown, of one address", of(named("192.0.2.1:5000", stranger), named("192.0.2.1:5001", stranger), reached), ""},
		{"two issuers are unknown, and the runtime does not verify", of(skipped(probe.UnknownIssuer), skipped(probe.UnknownIssuer), reached), ""},
		{"two certificates have expired", of(badTLS(probe.Expired), badTLS(probe.Expired), reached), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t).step(probed(test.seen...), 3*time.Minute)
			v := p.last[RegistryUnreachable]
			switch test.want {
			case "unknown":
				p.want(RegistryUnreachable, "unknown")
			case "":
				p.want(RegistryUnreachable, "False")
			default:
				p.want(RegistryUnreachable, "True")
				if v.Reason != test.want {
					t.Errorf("reason %s, want %s (%s)", v.Reason, test.want, v.Message)
				}
			}
		})
	}
}

// TestOneSickRegistry: beside a healthy one, however it is reached, one that is sick makes nothing True unless what it shows is of this
// node. Others of which nothing is known change nothing.
func TestOneSickRegistry(t *testing.T) {
	healthy := []Probed{reached, proxied, address(reached), address(proxied), pulled(refused), pulled(noResolver), pulled(unknown)}
	ofTheNode := func(p Probed) bool { // in words of its own
		switch p.Phase {
		case probe.PhaseDNS:
			return !p.NoSuchName // the resolver's own
		case probe.PhaseProxy:
			return !p.BehindProxy || p.Cause == cause.DNS // nobody connected to what has no address
		}
		return p.TLSFault == string(probe.WrongClock) && p.ClockBehind
	}
	tlsFaults := []probe.TLSFault{
		probe.UnknownIssuer, probe.WrongName, probe.Expired, probe.NotYetValid, probe.WrongClock,
		probe.PlainHTTP, probe.ClientCertificate, probe.OtherTLS,
	}
	sick, blamed := 0, 0
	for _, phase := range probe.PhaseNames {
		ofPhase := []probe.TLSFault{""}
		if phase == probe.PhaseTLS {
			ofPhase = tlsFaults
		}
		for _, why := range append(cause.All(), cause.None) {
			for _, fault := range ofPhase {
				for flags := range 1 << 6 {
					p := Probed{
						Reached: ptr(false), Cause: why, Phase: phase,
						TLSFault: string(fault), ClockBehind: flags&32 > 0, NoSuchName: flags&1 > 0, Resolved: flags&2 > 0, NoRoute: flags&4 > 0, BehindProxy: flags&8 > 0,
					}
					if flags&16 > 0 {
						p.Proxy = oneProxy
					}
					sick++
					for _, well := range healthy {
						j := judgeRegistries(probed(p, well, unknown).Registries)
						if j == nil || j.bad && !ofTheNode(p) || j.bad && why.Scope() != cause.ScopeNetwork {
							t.Fatalf("%+v beside %+v: %+v", p, well, j)
						}
						if j.bad {
							blamed++
						}
					}
				}
			}
		}
	}
	if blamed == 0 || sick < 1000 {
		t.Errorf("%d sick ones, %d times blamed: this tries nothing", sick, blamed)
	}
}

// TestRegistrySets: in all sets of three, the order changes nothing, nor what is not known, and where an image was pulled from all of them
// nothing is wrong.
func TestRegistrySets(t *testing.T) {
	kinds := []Probed{
		reached, refused, stalled, serverErr, noToken, noResolver, noSuchName, routeless,
		proxied, proxyDead, proxyUnknown, proxyNoNames, proxyRefuses, proxyUnread,
		ahead, behind, onTime, stranger, badTLS(probe.Expired), address(reached), address(refused), pulled(noResolver), unknown,
	}
	for _, a := range kinds {
		for _, b := range kinds {
			for _, c := range kinds {
				set := probed(a, b, c).Registries
				first := judgeRegistries(set)
				turned := slices.Clone(set.Probed)
				slices.Reverse(turned)
				more := append(slices.Clone(set.Probed), named("zz.example", unknown))
				for what, other := range map[string][]Probed{"reversed": turned, "one more that is not known": more} {
					second := judgeRegistries(&Registries{other})
					if (first == nil) != (second == nil) || first != nil && *first != *second {
						t.Fatalf("%+v: %+v, %s: %+v", set.Probed, first, what, second)
					}
				}
				if j := judgeRegistries(probed(pulled(a), pulled(b), pulled(c)).Registries); j == nil || j.bad || j.reason != "RegistriesReachable" {
					t.Fatalf("%+v, pulled from all: %+v", set.Probed, j)
				}
			}
		}
	}
}

// TestRegistriesMessage tells how many, names few, says what to do, and is bounded and clean whatever the names are.
func TestRegistriesMessage(t *testing.T) {
	many := []Probed{named("zz.example", address(reached))}
	for i := range 40 {
		many = append(many, named(fmt.Sprintf("r%02d.example", i), noResolver))
	}
	for _, test := range []struct {
		seen []Probed
		want string
	}{
		{many, "this node resolves no name of a registry or of its proxy (40 of 41 established registries: r00.example (dns), r01.example (dns), " +
			"r02.example (dns), and 37 more): look at /etc/resolv.conf and the name servers in it"},
		{[]Probed{proxyDead}, "the runtime's proxy lets nothing through (1 of 1 established registries: registry-00.example (proxy, through " +
			"http://proxy.example:3128)): look at the proxy, and at HTTPS_PROXY and NO_PROXY of the runtime's service"},
		{[]Probed{proxyUnread, proxyUnread, reached}, "the runtime's proxy lets nothing through (2 of 3 established registries: registry-00.example " +
			"(proxy), registry-01.example (proxy)): look at the proxy, and at HTTPS_PROXY and NO_PROXY of the runtime's service"},
		{[]Probed{badTLS(probe.Expired), stalled, unknown}, "this node reaches no registry (2 of 2 established registries: registry-00.example " +
			"(tls, expired), registry-01.example (timeout)): look at its network, firewall and proxy"},
		{[]Probed{refused, reached, unknown}, "1 of 2 established registries are reached, and nothing shows this node to be why the others are not: " +
			"registry-00.example (connection)"},
		{[]Probed{reached, pulled(refused)}, "2 of 2 established registries are reached"},
	} {
		if j := judgeRegistries(probed(test.seen...).Registries); j.message != test.want {
			t.Errorf("message %q, want %q", j.message, test.want)
		}
	}

	var hostile []Probed
	for i, name := range []string{"a\x1b[31m\n", strings.Repeat("é", 1<<15), "\xff\xfe", strings.Repeat("\u202e", 1<<10)} {
		p := with(proxyDead, func(p *Probed) { p.Registry, p.Proxy = fmt.Sprint(i, name), name })
		tls := with(badTLS(probe.UnknownIssuer), func(p *Probed) { p.Registry, p.TLSFault = fmt.Sprint(i, name), name })
		hostile = append(hostile, p, tls)
	}
	for i := range hostile {
		j := judgeRegistries(probed(hostile[i:]...).Registries)
		if len(j.message) > 1500 || strings.ContainsFunc(j.message, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%d bytes: %q", len(j.message), j.message)
		}
	}
}
