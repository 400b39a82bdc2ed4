package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/internal/say"
	"github.com/pullwatch/pullwatch/pkg/probe"
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
	l.line("%s: %s", r.Registry, say.Reached(r))
	for i, e := range r.Endpoints {
		if i > 0 && say.Again(e, r.Endpoints[i-1]) {
			l.line("  %d. %s, the same again", i+1, e.URL)
			continue
		}
		l.line("  %d. %s", i+1, e.URL)
		e.Phases.Each(func(name string, phase *probe.Phase) {
			if phase.State != "" {
				l.line("     %-6s %-11s %7s  %s", name, say.Mark(phase.State), say.Took(phase.Seconds), say.Rung(e, name, phase))
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
		l.line("  file:  %s: %s: %s", say.Place(f), f.Text, f.Effect)
	}
	if r.NotChecked != "" {
		l.line("  not checked: %s", r.NotChecked)
	}
	if r.OK != nil && !*r.OK {
		l.line("  do:    %s", say.Advice(r))
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
	if a.ReadAs != "" {
		told("read as", "%s", a.ReadAs)
	}
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
	if i.Error != "" && i.Error != i.NotChecked {
		l.line("  error: %s", i.Error)
	}
	if i.OK != nil && !*i.OK {
		l.line("  do:    %s", i.Cause.Advice())
	}
}
