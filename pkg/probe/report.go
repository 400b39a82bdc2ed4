package probe

import (
	"net/netip"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cause"
)

// State is how a phase ended. What could not be looked at is NotChecked, which is no verdict.
type State string

// The states. The zero State is a phase that was not come to, or is not needed.
const (
	Passed     State = "passed"
	Failed     State = "failed"
	NotChecked State = "not_checked"
)

// The phases of a probe, in the order in which they are gone through. They are metric label values.
const (
	PhaseDNS   = "dns"
	PhaseTCP   = "tcp"
	PhaseProxy = "proxy"
	PhaseTLS   = "tls"
	PhaseHTTP  = "http"
	PhaseToken = "token"
)

// PhaseNames lists the phases in their order.
var PhaseNames = []string{PhaseDNS, PhaseTCP, PhaseProxy, PhaseTLS, PhaseHTTP, PhaseToken}

// Report is what one probe of one endpoint found out: facts, none of them a judgement on the node.
type Report struct {
	URL     string    `json:"url"`
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"`
	// OK is whether a registry was reached. Refusals (401, 403, 404) are answers. It is nil where that cannot be told: the way that the
	// runtime takes is not known.
	OK    *bool       `json:"ok"`
	Cause cause.Cause `json:"cause,omitempty"` // why not, of scope network or registry
	Phase string      `json:"phase,omitempty"` // the phase that failed
	Error string      `json:"error,omitempty"`
	// NotChecked is why OK is nil.
	NotChecked string `json:"notChecked,omitempty"`
	Phases     Phases `json:"phases"`
	// Warnings are what works now and will not always, or costs every pull: sentences for a person.
	Warnings []string `json:"warnings,omitempty"`
	// RetryAfter is how long the registry wants to be left alone, from its 429 or 503; zero where it did not say.
	RetryAfterSeconds float64 `json:"retryAfterSeconds,omitempty"`
	// ClockOffsetSeconds is how far the Date of its answer is ahead of this node's clock. It is nil where it gave none, and where it is on this node.
	ClockOffsetSeconds *float64 `json:"clockOffsetSeconds,omitempty"`
}

// Phases are the facts of each phase.
type Phases struct {
	DNS   DNS   `json:"dns"`
	TCP   TCP   `json:"tcp"`
	Proxy Proxy `json:"proxy"`
	TLS   TLS   `json:"tls"`
	HTTP  HTTP  `json:"http"`
	Token Token `json:"token"`
}

// Each gives the phases in their order, with what all of them have.
func (p *Phases) Each(yield func(name string, phase *Phase)) {
	for i, phase := range []*Phase{&p.DNS.Phase, &p.TCP.Phase, &p.Proxy.Phase, &p.TLS.Phase, &p.HTTP.Phase, &p.Token.Phase} {
		yield(PhaseNames[i], phase)
	}
}

// Phase is what all phases have.
type Phase struct {
	State   State   `json:"state,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	Error   string  `json:"error,omitempty"`
}

// DNS is the lookup of the host that is connected to: the proxy's where there is one.
type DNS struct {
	Phase
	Host string       `json:"host,omitempty"`
	IPv4 []netip.Addr `json:"ipv4,omitempty"`
	IPv6 []netip.Addr `json:"ipv6,omitempty"`
	// NoSuchName is set where the resolver answered that there is none. Otherwise a failure is the resolver's own.
	NoSuchName bool `json:"noSuchName,omitempty"`
}

// TCP is the connections that were tried. A family that does not answer shows beside one that does.
type TCP struct {
	Phase
	Dials []Dial `json:"dials,omitempty"`
	// NoRoute is set where no attempt left this node: it has no route or address for any of them.
	NoRoute bool `json:"noRoute,omitempty"`
}

// Dial is one attempt to connect.
type Dial struct {
	Address netip.AddrPort `json:"address"`
	Phase
}

// Proxy is the HTTP proxy on the way.
type Proxy struct {
	Phase
	URL    string `json:"url,omitempty"` // without its user
	Source string `json:"source,omitempty"`
	Status int    `json:"status,omitempty"` // of CONNECT
}

// TLS is the handshake and what the certificate says.
type TLS struct {
	Phase
	Version string   `json:"version,omitempty"`
	Fault   TLSFault `json:"fault,omitempty"`
	Names   []string `json:"names,omitempty"`
	Issuer  string   `json:"issuer,omitempty"`
	// NotBefore and NotAfter are of the certificate in the chain whose validity is the shortest.
	NotBefore time.Time `json:"notBefore,omitzero"`
	NotAfter  time.Time `json:"notAfter,omitzero"`
	// Verified is whether the chain passes. Where the runtime is told to skip that, a false is a fact and no failure.
	Verified *bool `json:"verified,omitempty"`
}

// Holds tells whether the certificate's dates matter: it was verified, or would be but for them. Where the runtime does not verify, nothing ends
// with it.
func (t *TLS) Holds() bool {
	return t.Verified != nil && (*t.Verified || t.State == Failed && (t.Fault == Expired || t.Fault == NotYetValid || t.Fault == WrongClock))
}

// TLSFault says whose fault a failed handshake is.
type TLSFault string

// The faults.
const (
	UnknownIssuer     TLSFault = "unknown_issuer"     // the node does not trust who signed it
	WrongName         TLSFault = "wrong_name"         // it is another host's certificate
	Expired           TLSFault = "expired"            // the registry's operator did not renew
	NotYetValid       TLSFault = "not_yet_valid"      // issued in this node's future
	WrongClock        TLSFault = "wrong_clock"        // the registry's own Date disagrees with this node's clock, and at that time the chain passes
	PlainHTTP         TLSFault = "plain_http"         // the port speaks HTTP
	ClientCertificate TLSFault = "client_certificate" // it wants one, or another one
	OtherTLS          TLSFault = "handshake"          // no common version or cipher, or a connection cut short
)

// HTTP is the answer to GET /v2/.
type HTTP struct {
	Phase
	Status    int    `json:"status,omitempty"`
	Challenge string `json:"challenge,omitempty"` // the scheme: bearer or basic
	Final     string `json:"final,omitempty"`     // the URL that answered, where it was redirected
}

// Token is the token service that the challenge names.
type Token struct {
	Phase
	URL       string `json:"url,omitempty"`
	Status    int    `json:"status,omitempty"`
	Anonymous *bool  `json:"anonymous,omitempty"` // whether it issues tokens without credentials
}
