package say

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/probe"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

// Reached is whether a registry is, and why not.
func Reached(r *probe.Registry) string {
	switch {
	case r.OK == nil:
		return "not known whether the runtime reaches it"
	case *r.OK:
		return fmt.Sprintf("reached, %s serves", r.Serving)
	case tokenServiceFails(r):
		return fmt.Sprintf("NOT reached: It answers, its token service fails (%s)", r.Cause)
	}
	return fmt.Sprintf("NOT reached: %s (%s)", r.Cause.Title(), r.Cause)
}

// Again is whether an endpoint that the configuration names twice in a row said the same twice, as where hosts.toml names one as its server
// and as its host.
func Again(e, before *probe.Report) bool {
	return e.URL == before.URL && e.Cause == before.Cause && e.Phase == before.Phase && e.NotChecked == before.NotChecked && slices.Equal(e.Warnings, before.Warnings)
}

// tokenServiceFails is whether the registry answers and the service that gives tokens for it does not. No image comes without a token.
func tokenServiceFails(r *probe.Registry) bool {
	return len(r.Endpoints) > 0 && r.Endpoints[len(r.Endpoints)-1].Phase == probe.PhaseToken
}

// Mark is how a phase ended, in a word.
func Mark(s probe.State) string {
	switch s {
	case probe.Passed:
		return "ok"
	case probe.Failed:
		return "FAILED"
	}
	return "not checked"
}

// Place is where a finding is.
func Place(f registries.Finding) string {
	if f.Line > 0 {
		return fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	return f.File
}

// Rung is what a phase found, in a few words.
func Rung(e *probe.Report, name string, phase *probe.Phase) string {
	if phase.Error != "" {
		return phase.Error
	}
	p := &e.Phases
	switch name {
	case probe.PhaseDNS:
		var addresses []string
		for _, a := range append(p.DNS.IPv4, p.DNS.IPv6...) {
			addresses = append(addresses, a.String())
		}
		return strings.Join(addresses, " ")
	case probe.PhaseTCP:
		var tried []string
		for _, d := range p.TCP.Dials {
			text := d.Address.String()
			if d.State != probe.Passed {
				text += " (no)"
			}
			tried = append(tried, text)
		}
		return strings.Join(tried, " ")
	case probe.PhaseProxy:
		return "by " + p.Proxy.URL
	case probe.PhaseTLS:
		return fmt.Sprintf("%s, certificate by %q until %s", p.TLS.Version, p.TLS.Issuer, p.TLS.NotAfter.UTC().Format(time.DateOnly))
	case probe.PhaseHTTP:
		text := fmt.Sprint(p.HTTP.Status)
		if p.HTTP.Challenge != "" {
			text += ", wants credentials (" + p.HTTP.Challenge + ")"
		}
		if p.HTTP.Final != "" {
			text += ", from " + p.HTTP.Final
		}
		return text
	case probe.PhaseToken:
		if p.Token.Anonymous != nil && *p.Token.Anonymous {
			return p.Token.URL + " gives tokens to anybody"
		}
		return fmt.Sprintf("%s answers %d: it wants credentials", p.Token.URL, p.Token.Status)
	}
	return ""
}

// Advice is the one thing to do about a registry that is not reached, by what exactly failed at the endpoint that counts.
func Advice(r *probe.Registry) string {
	e := r.Endpoints[len(r.Endpoints)-1]
	if tokenServiceFails(r) && e.Phases.Token.URL != "" && r.Cause != cause.RateLimited {
		return "Look at the token service, which the registry's operator runs, and at this node's way to it: " + e.Phases.Token.URL + "."
	}
	switch e.Phases.TLS.Fault {
	case probe.UnknownIssuer:
		return "Give the runtime the CA that signed this certificate (hosts.toml: ca, CRI-O: certs.d), or install it on the node: " + e.Phases.TLS.Issuer + "."
	case probe.WrongName:
		return "The certificate is for " + strings.Join(e.Phases.TLS.Names, ", ") + ": use such a name, or have one issued for this one."
	case probe.Expired:
		return "Have the registry's certificate renewed: it ended on " + e.Phases.TLS.NotAfter.UTC().Format(time.DateOnly) + "."
	case probe.NotYetValid, probe.WrongClock:
		return "Set this node's clock (chrony, systemd-timesyncd): by it the certificate is not valid."
	case probe.PlainHTTP:
		return "This port speaks plain HTTP: correct the port, or write http:// in the runtime's configuration (hosts.toml: server or host; CRI-O: insecure)."
	case probe.ClientCertificate:
		return "The registry wants a client certificate, or another one (hosts.toml: client; CRI-O: certs.d)."
	case probe.OtherTLS, "":
	}
	if e.Phases.TCP.NoRoute {
		return "This node has no route to it: look at the node's own network first (ip route)."
	}
	return r.Cause.Advice()
}
