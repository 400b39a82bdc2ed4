package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/probe"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

func (p *program) printProbe(o *output, a *probeAnswer) error {
	if o.format != "table" {
		return o.data(p.stdout, a)
	}
	if len(a.Registries) == 0 {
		p.note("This node uses no registry that is known here: no image came from one, and the runtime's configuration names none.")
		return nil
	}
	said := labels{}
	for i, r := range a.Registries {
		if i > 0 {
			said.line("")
		}
		said.registry(r)
	}
	for i := range a.Images {
		said.line("")
		said.image(&a.Images[i])
	}
	if !a.Proxy.Known {
		said.line("")
		said.line("Whether the runtime uses a proxy is not known: %s", a.Proxy.Source)
	}
	_, err := io.WriteString(p.stdout, said.String())
	return err
}

// registry writes one registry: a verdict, the ladder of each endpoint, and what to do.
func (l *labels) registry(r *probe.Registry) {
	switch {
	case r.OK == nil:
		l.line("%s: not known whether the runtime reaches it", r.Registry)
	case *r.OK:
		l.line("%s: reached, %s serves", r.Registry, r.Serving)
	case tokenServiceFails(r):
		l.line("%s: NOT reached: It answers, its token service fails (%s)", r.Registry, r.Cause)
	default:
		l.line("%s: NOT reached: %s (%s)", r.Registry, r.Cause.Title(), r.Cause)
	}
	for i, e := range r.Endpoints {
		if i > 0 && again(e, r.Endpoints[i-1]) {
			l.line("  %d. %s, the same again", i+1, e.URL)
			continue
		}
		l.line("  %d. %s", i+1, e.URL)
		e.Phases.Each(func(name string, phase *probe.Phase) {
			if phase.State != "" {
				l.line("     %-6s %-11s %7s  %s", name, stateMark(phase.State), milliseconds(phase.Seconds), rung(e, name, phase))
			}
		})
		for _, w := range e.Warnings {
			l.line("     note:  %s", w)
		}
	}
	for _, w := range r.Warnings {
		l.line("  note:  %s", w)
	}
	for _, f := range r.Findings {
		l.line("  file:  %s: %s: %s", place(f), f.Text, f.Effect)
	}
	if r.NotChecked != "" {
		l.line("  not checked: %s", r.NotChecked)
	}
	if r.OK != nil && !*r.OK {
		l.line("  do:    %s", advice(r))
	}
}

// presence is how much of an image the node has, in a few words.
func (a *imageAnswer) presence() string {
	switch p := a.PresentBytes; {
	case p == nil:
		return ""
	case *p == 0:
		return ", of which this node has none"
	default:
		return fmt.Sprintf(", of which this node has %s", size(uint64(*p)))
	}
}

// image writes what a registry told of one image.
func (l *labels) image(a *imageAnswer) {
	i := a.Image
	switch {
	case i.OK == nil:
		l.line("%s: not known whether this node can pull it", i.Image)
	case *i.OK:
		l.line("%s: there for this node without credentials, from %s", i.Image, i.Endpoint)
	default:
		l.line("%s: NOT there for this node without credentials: %s (%s)", i.Image, i.Cause.Title(), i.Cause)
	}
	told := func(label, format string, args ...any) { l.line("     %-9s %s", label, fmt.Sprintf(format, args...)) }
	if i.Digest != "" {
		kind := "one manifest"
		if i.Index {
			kind = "an index"
		}
		told("digest", "%s, %s", i.Digest, kind)
	}
	if len(i.Platforms) > 0 {
		takes := "none is for this node"
		if i.Platform != "" && (i.Index || len(i.Warnings) == 0) {
			takes = "this node takes " + i.Platform
		}
		told("platforms", "%s; %s", strings.Join(i.Platforms, ", "), takes)
	}
	if i.DownloadBytes > 0 {
		told("download", "%s in %d layers%s", size(uint64(i.DownloadBytes)), len(i.Layers), a.presence())
	}
	if b := i.Blob; b != nil {
		switch {
		case b.Error != "":
			told("layer", "FAILED at %s: %s", b.Host, b.Error)
		default:
			told("layer", "served by %s", b.Host)
		}
	}
	if r := i.RateLimit; r != nil {
		told("limit", "%d of %d pulls left in %s, for the address that the registry sees (%s)", r.Remaining, r.Limit, age(time.Duration(r.WindowSeconds*float64(time.Second))), r.Source)
	}
	for _, w := range i.Warnings {
		l.line("  note:  %s", w)
	}
	if i.NotChecked != "" {
		l.line("  not checked: %s", i.NotChecked)
	}
	if i.OK != nil && !*i.OK {
		l.line("  error: %s", i.Error)
		l.line("  do:    %s", i.Cause.Advice())
	}
}

// again is whether an endpoint that the configuration names twice in a row said the same twice, as where hosts.toml names one as its server
// and as its host.
func again(e, before *probe.Report) bool {
	return e.URL == before.URL && e.Cause == before.Cause && e.Phase == before.Phase && e.NotChecked == before.NotChecked && slices.Equal(e.Warnings, before.Warnings)
}

// tokenServiceFails is whether the registry answers and the service that gives tokens for it does not. No image comes without a token.
func tokenServiceFails(r *probe.Registry) bool {
	return len(r.Endpoints) > 0 && r.Endpoints[len(r.Endpoints)-1].Phase == probe.PhaseToken
}

func stateMark(s probe.State) string {
	switch s {
	case probe.Passed:
		return "ok"
	case probe.Failed:
		return "FAILED"
	}
	return "not checked"
}

func milliseconds(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d == 0:
		return ""
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", float64(d.Microseconds())/1000)
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}

func place(f registries.Finding) string {
	if f.Line > 0 {
		return fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	return f.File
}

// rung is what a phase found, in a few words.
func rung(e *probe.Report, name string, phase *probe.Phase) string {
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

// advice is the one thing to do about a registry that is not reached, by what exactly failed at the endpoint that counts.
func advice(r *probe.Registry) string {
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
