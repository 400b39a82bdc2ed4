package health

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/publicsuffix"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/probe"
)

// Registries is what the established registries said when they were asked last. What only pods name is left out: a tenant may have typed it.
// It is nil until each of them was asked once.
type Registries struct {
	Probed []Probed
}

// Probed is one established registry. All but its name and Pulled is of its last probe, and what failed there counts only where it was not
// reached: then it is that of the endpoint that is asked last.
type Probed struct {
	Registry string
	Reached  *bool // nil where that is not known, or was not asked yet
	Cause    cause.Cause
	Phase    string // that failed, of probe.PhaseNames

	// NoSuchName is set where the resolver answered that there is no such name. Otherwise a failure of phase dns is the resolver's own.
	NoSuchName bool
	// Resolved is set where the resolver found a name on the way there: the registry's, a mirror's or the proxy's.
	Resolved bool
	NoRoute  bool // nothing left this node
	// Proxy is the proxy on the way there, without its user; empty is none.
	Proxy string
	// BehindProxy is set where a failure of phase proxy may be that of what is behind it: the proxy took the connection and did not pass it
	// on, for another reason than who asks (407). Otherwise such a failure is the proxy's own.
	BehindProxy bool
	TLSFault    string // of phase tls: a probe.TLSFault
	// ClockBehind is set where its Date is ahead of this node's clock, of one whose TLSFault is the clock.
	ClockBehind bool
	// ClockAgrees is set where the Date of an endpoint is about this node's time.
	ClockAgrees bool

	// Configured is set where the operator or the runtime's configuration names it. The others are here since pods brought them.
	Configured bool

	// Pulled is set where an image was pulled from it since the probe failed. That outranks the probe.
	Pulled bool
}

// How much a message takes of what others chose.
const (
	mostNamed = 3   // registries of one fault; the rest is a number
	longest   = 100 // bytes of a name. That of a cloud's registry has 50
)

// faults are those of this node, the root before what may follow from it: the first that is there is the reason. Each is told by the
// registries that show it, out of those of which something is known.
var faults = []struct {
	reason, what, do string
	shown            func(known []Probed) []Probed
}{
	{"NoRoute", "this node has no route to its registries", "look at its interfaces and routes (ip address, ip route)", noRoute},
	{"NameResolutionFails", "this node resolves no name of a registry or of its proxy",
		"look at /etc/resolv.conf and the name servers in it", noNames},
	{"ProxyFails", "the runtime's proxy lets nothing through",
		"look at the proxy, and at HTTPS_PROXY and NO_PROXY of the runtime's service", noProxy},
	{"ClockIsWrong", "this node's clock is wrong, so that valid certificates look expired or not yet valid",
		"look at its time service (timedatectl)", wrongClock},
	{"CertificatesNotTrusted", "this node does not trust who signed the certificates of its registries",
		"look at its CA certificates (/etc/ssl/certs, /etc/pki), and at the CA that the runtime's configuration names for them", notTrusted},
	{"NoRegistryReachable", "this node reaches no registry", "look at its network, firewall and proxy", noneReached},
}

// judgeRegistries: True is for a fault of this node. One registry that is down is down for everybody, and no condition of every node.
func judgeRegistries(r *Registries) *judgement {
	if r == nil {
		return nil
	}
	known := slices.DeleteFunc(slices.Clone(r.Probed), func(p Probed) bool { return p.Reached == nil && !p.Pulled })
	if len(known) == 0 {
		return nil
	}
	slices.SortStableFunc(known, func(a, b Probed) int { return cmp.Compare(a.Registry, b.Registry) })

	for _, fault := range faults {
		if shown := fault.shown(known); len(shown) > 0 {
			return &judgement{true, fault.reason, fmt.Sprintf("%s (%d of %d established registries: %s): %s",
				fault.what, len(shown), len(known), list(shown), fault.do)}
		}
	}
	missing := slices.DeleteFunc(slices.Clone(known), Probed.reached)
	text := fmt.Sprintf("%d of %d established registries are reached", len(known)-len(missing), len(known))
	if len(missing) == 0 {
		return &judgement{false, "RegistriesReachable", text}
	}
	return &judgement{false, "NodeNotAtFault", text + ", and nothing shows this node to be why the others are not: " + list(missing)}
}

// noRoute: nothing left this node for one of them, and none answers. Where one answers there is a route, and the address of the other is of a
// network or family that this node is not meant to have.
func noRoute(known []Probed) []Probed {
	if slices.ContainsFunc(known, Probed.answers) {
		return nil
	}
	return filter(known, func(p Probed) bool { return p.NoRoute })
}

// noNames: no lookup worked, and either the resolver itself failed or it knows none of at least two names. Where another name resolves it is
// the trouble of one zone, or a name that is gone. A proxy's name that does not exist is the proxy's fault.
func noNames(known []Probed) []Probed {
	if slices.ContainsFunc(known, func(p Probed) bool { return p.Resolved }) {
		return nil
	}
	failed := filter(known, func(p Probed) bool {
		return !p.answers() && (p.Phase == probe.PhaseDNS || p.Phase == probe.PhaseProxy && p.Cause == cause.DNS && !p.NoSuchName)
	})
	return evidence(failed, func(p Probed) bool { return !p.NoSuchName })
}

// noProxy: a proxy lets none of those through that are reached by it, and either it fails itself or refuses at least two. One that it does
// not pass on may be down behind it.
func noProxy(known []Probed) (shown []Probed) {
	stopped := func(p Probed) bool { return !p.answers() && p.Phase == probe.PhaseProxy }
	var proxies []string
	for _, p := range filter(known, stopped) {
		if slices.Contains(proxies, p.Proxy) {
			continue
		}
		proxies = append(proxies, p.Proxy)
		through := filter(known, func(other Probed) bool { return other.Proxy == p.Proxy && (p.Proxy != "" || stopped(other)) })
		if len(filter(through, stopped)) == len(through) {
			shown = append(shown, evidence(through, func(p Probed) bool { return !p.BehindProxy })...)
		}
	}
	return shown
}

// wrongClock: a registry's own Date disagrees with this node's clock, by it its certificate is valid, and nobody's Date agrees with the node. One is
// enough where the node is behind: no authority issues certificates for the future. A certificate that has ended, and whose owner's clock stands still,
// looks the same as a node that is ahead; it takes two to tell.
func wrongClock(known []Probed) []Probed {
	if slices.ContainsFunc(known, func(p Probed) bool { return p.ClockAgrees }) {
		return nil
	}
	return independent(filter(known, func(p Probed) bool { return p.tlsFault() == probe.WrongClock }), func(p Probed) bool { return p.ClockBehind })
}

// notTrusted: the certificates of at least two have an unknown issuer. One alone has a certificate of its own making.
func notTrusted(known []Probed) []Probed {
	return independent(filter(known, func(p Probed) bool { return p.tlsFault() == probe.UnknownIssuer }), nil)
}

// independent is evidence of which one owner cannot give more than one piece: whatever a certificate says, its owner chose it, and a pod is enough to have
// a registry established. All that pods brought of one domain is one; what is configured is meant.
func independent(failed []Probed, sure func(Probed) bool) []Probed {
	owners := make(map[string]bool)
	for _, p := range failed {
		owner := Domain(p.Registry)
		if p.Configured {
			owner = host(p.Registry)
		}
		owners[owner] = true
	}
	return enough(len(owners), failed, sure)
}

// enough is what failed where it is enough to blame this node: it is sure of one, or at least two are seen.
func enough(seen int, failed []Probed, sure func(Probed) bool) []Probed {
	if seen >= 2 || sure != nil && slices.ContainsFunc(failed, sure) {
		return failed
	}
	return nil
}

// Domain is what somebody registered to have a registry's name below it, by the public suffix list; of an address, the address.
func Domain(registry string) string {
	of := host(registry)
	if domain, err := publicsuffix.EffectiveTLDPlusOne(of); err == nil && net.ParseIP(of) == nil {
		return domain
	}
	return of
}

// host is a registry's name without its port.
func host(registry string) string {
	if host, _, err := net.SplitHostPort(registry); err == nil {
		return host
	}
	return strings.Trim(registry, "[]")
}

// noneReached: at least two are known, and not one answers. One alone may be down for everybody.
func noneReached(known []Probed) []Probed {
	if slices.ContainsFunc(known, Probed.answers) {
		return nil
	}
	return evidence(known, nil)
}

// evidence is what failed, where that is enough. Two ports of one host are one, since that machine may be down.
func evidence(failed []Probed, sure func(Probed) bool) []Probed {
	hosts := make(map[string]bool)
	for _, p := range failed {
		hosts[host(p.Registry)] = true
	}
	return enough(len(hosts), failed, sure)
}

// reached tells that it can be pulled from.
func (p Probed) reached() bool { return p.Pulled || *p.Reached }

// answers tells that the way to the registry works, whatever it says: an error of its own, or a token service that it names and that fails.
func (p Probed) answers() bool {
	return p.reached() || p.Phase == probe.PhaseToken || p.Cause.Scope() != cause.ScopeNetwork
}

// tlsFault is the fault for which it is not reached. A runtime that is told not to verify is held up by none.
func (p Probed) tlsFault() probe.TLSFault {
	if p.answers() || p.Phase != probe.PhaseTLS {
		return ""
	}
	return probe.TLSFault(p.TLSFault)
}

func filter(all []Probed, is func(Probed) bool) (those []Probed) {
	for _, p := range all {
		if is(p) {
			those = append(those, p)
		}
	}
	return those
}

// list names registries and why they are not reached.
func list(all []Probed) string {
	var names []string
	for _, p := range all[:min(len(all), mostNamed)] {
		why := p.Cause.String()
		switch {
		case p.Phase == probe.PhaseTLS && p.TLSFault != "":
			why += ", " + clean(p.TLSFault)
		case p.Phase == probe.PhaseProxy && p.Proxy != "":
			why += ", through " + clean(p.Proxy)
		}
		names = append(names, fmt.Sprintf("%s (%s)", clean(p.Registry), why))
	}
	if more := len(all) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// clean is a name as a message may hold it: short, and without what a terminal would act on.
func clean(name string) string {
	if len(name) > longest {
		name = strings.ToValidUTF8(name[:longest], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, name)
}
