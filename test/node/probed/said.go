package probed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/pkg/probe"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

const userAgent = "pullwatch/probed"

// Containerd's longest waits that end are 30 s for a connection or an answer and a minute for a proxy's, and 2.4 tries some of them three
// times. Where no end is expected it is not waited for as long.
const (
	patience        = 200 * time.Second
	shortOfPatience = 20 * time.Second
)

// said is what the probe or containerd made of a case.
type said struct {
	outcome string // works, goesOn, or a cause
	text    string // for a person, without what differs from run to run
}

// cell is it as the page has it.
func (s said) cell() string {
	text := "**" + s.outcome + "**"
	if s.text != "" {
		text += "<br>" + strings.ReplaceAll(strings.ReplaceAll(s.text, "|", `\|`), "\n", "<br>")
	}
	return text
}

// probe asks the probe, on the files and the environment that containerd runs with. requests is how many HTTP requests came of it.
func (l *lab) probe(ctx context.Context, at *place) (s said, requests int64, err error) {
	getenv, err := l.getenv()
	if err != nil {
		return s, 0, err
	}
	p := &probe.Prober{
		Proxying: registries.ProxyFromEnvironment(getenv, "containerd's environment"), UserAgent: userAgent, Resolver: &net.Resolver{PreferGo: true},
	}
	answer := registries.ContainerdFromFile(l.version, l.node.ContainerdConfig()).Lookup(at.host())
	r := p.Registry(ctx, answer, probe.Anywhere)
	requests = at.requests.Load()
	if at.Real != nil {
		requests += l.realRequests(at)
	}
	return said{probeOutcome(r), probeText(r, func(text string) string { return l.stable(at, text) })}, requests, nil
}

func probeOutcome(r *probe.Registry) string {
	switch {
	case r.OK == nil:
		return "not checked"
	case *r.OK:
		return works
	}
	return r.Cause.String()
}

// probeText is what the probe says of each endpoint, and its warnings.
func probeText(r *probe.Registry, stable func(string) string) string {
	var lines []string
	add := func(line string) {
		if line = stable(line); !slices.Contains(lines, line) { // one host may stand in hosts.toml twice
			lines = append(lines, line)
		}
	}
	urls := map[string]bool{}
	for _, e := range r.Endpoints {
		urls[e.URL] = true
	}
	for _, e := range r.Endpoints {
		of := ""
		if len(urls) > 1 {
			of = code(e.URL) + " "
		}
		add(of + endpointText(e))
		for _, w := range e.Warnings {
			add(of + "*" + w + "*")
		}
	}
	for _, w := range r.Warnings {
		add("*" + w + "*")
	}
	return strings.Join(lines, "\n")
}

func endpointText(e *probe.Report) string {
	p := &e.Phases
	if e.Error != "" {
		text := e.Phase
		if p.TLS.Fault != "" && e.Phase == probe.PhaseTLS {
			text += ", " + string(p.TLS.Fault)
		}
		if p.DNS.NoSuchName {
			text += ", no such name"
		}
		if p.TCP.NoRoute {
			text += ", no route"
		}
		if e.RetryAfterSeconds > 0 {
			text += fmt.Sprintf(", to be asked again in %.0f s", e.RetryAfterSeconds)
		}
		return text + ": " + code(e.Error)
	}
	text := fmt.Sprint(p.HTTP.Status)
	if p.HTTP.Final != "" {
		text += " from " + code(p.HTTP.Final)
	}
	if p.HTTP.Challenge != "" {
		text += " " + p.HTTP.Challenge
	}
	switch {
	case p.Token.State == probe.NotChecked:
		text += ", token not checked: " + code(p.Token.Error)
	case p.Token.Anonymous != nil && *p.Token.Anonymous:
		text += ", gives tokens to everybody"
	case p.Token.Anonymous != nil:
		text += fmt.Sprintf(", the token service answers %d", p.Token.Status)
	}
	return text
}

// pull has containerd pull the case's image.
func (l *lab) pull(ctx context.Context, at *place) said {
	limit := patience
	if at.wanted(l.version) == goesOn {
		limit = shortOfPatience
	}
	ctx, cancel := context.WithCancel(ctx) // a deadline would be handed on to containerd, and be its own
	defer cancel()
	defer time.AfterFunc(limit, cancel).Stop()
	var auth *runtimeapi.AuthConfig
	if at.User != "" {
		auth = &runtimeapi.AuthConfig{Username: at.User, Password: at.Password}
	}
	_, err := l.client.PullImage(ctx, at.image(), auth)
	switch {
	case err == nil:
		return said{outcome: works}
	case ctx.Err() != nil:
		return said{outcome: goesOn}
	}
	text := err.Error()
	message := text // as the kubelet has it: it strips the code Unknown
	var e *cri.Error
	if errors.As(err, &e) {
		if code, answer, ok := e.Answer(); ok {
			if text, message = answer, answer; code != codes.Unknown {
				message = fmt.Sprintf("rpc error: code = %s desc = %s", code, answer)
			}
		}
	}
	return said{outcome(cause.Classify("ErrImagePull", message, at.image()).Cause), code(l.stable(at, wrappers.ReplaceAllString(text, "")))}
}

var (
	// wrappers are what every pull has in front of its error.
	wrappers = regexp.MustCompile(`^(failed to pull and unpack image "[^"]*": )?(failed to resolve reference "[^"]*": |failed to resolve image: )?`)
	sources  = regexp.MustCompile(`(udp|tcp) 127\.\d+\.\d+\.\d+:\d+->`)
	moments  = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	takes    = regexp.MustCompile(`, (less than )?[0-9.]+m?s each time`)
	within   = regexp.MustCompile(`within (\d+)(\.\d)?s`)
	digest   = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
	lines    = strings.NewReplacer("\n", " ", "`", "'")
)

// broken is what net/http has in front of some errors, or not, as two goroutines happen to run.
const broken = "net/http: HTTP/1.x transport connection broken: "

// stable takes out of a text what differs from run to run.
func (l *lab) stable(at *place, text string) string {
	text = strings.NewReplacer(at.host(), "HOST", at.address, "ADDRESS", at.six+"]", "ADDRESS]", at.six+" ", "ADDRESS ", broken, "", l.node.Dir, "DIR").Replace(text)
	for _, r := range []struct {
		of *regexp.Regexp
		by string
	}{{sources, "$1 SOURCE->"}, {moments, "TIME"}, {takes, ""}, {within, "within ${1}s"}, {digest, "DIGEST"}} {
		text = r.of.ReplaceAllString(text, r.by)
	}
	return text
}

func code(text string) string { return "`" + lines.Replace(text) + "`" }
