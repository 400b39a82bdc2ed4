package web

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"strings"
	"sync"
	"time"

	"github.com/pullwatch/pullwatch/internal/history"
	"github.com/pullwatch/pullwatch/internal/say"
	"github.com/pullwatch/pullwatch/pkg/probe"
)

//go:embed page.css
var styleSource string

//go:embed page.html
var source string

// style is the sheet as it stands in the page: without comments and line breaks, which would only cost bytes.
var style = func() string {
	var b strings.Builder
	for line := range strings.Lines(styleSource) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "/*") {
			b.WriteString(line)
		}
	}
	return b.String()
}()

// Bounds of the page. What is beyond them is counted there, and the prompt has it all.
const (
	mostRows       = 60 // failures, and of one cause mostOfCause
	mostOfCause    = 25
	mostRegistries = 50
	mostHistory    = 40
	mostConditions = 40
	longestName    = 300 // characters
)

// view is the page's content as the template takes it.
type view struct {
	*State
	Style    template.CSS
	Reload   int // seconds; 0 is never
	Verdict  verdict
	Tiles    []tile
	Groups   []group
	Unlisted int // failures that are not shown
	Hosts    []host
	Beyond   int // registries that are not shown
	Facts    []condition
	Bars     []bar
	Past     []past
	Parts    []part
}

// tile is a figure that leads to its section.
type tile struct {
	To, Label, Value string
	Level            level
}

// Render makes the page.
func Render(s State, reload bool) ([]byte, error) {
	v := view{State: &s, Style: template.CSS(style)} //nolint:gosec // our own file
	if reload {
		v.Reload = reloadSeconds
	}
	v.Groups, v.Unlisted = groupsOf(&s)
	v.Verdict = judge(&s, v.Groups)
	for i := range s.Registries.List[:min(len(s.Registries.List), mostRegistries)] {
		v.Hosts = append(v.Hosts, hostOf(&s.Registries.List[i], s.Now))
	}
	v.Beyond = len(s.Registries.List) - len(v.Hosts)
	v.Facts = conditionsOf(&s)
	v.Bars = barsOf(s.Disk)
	v.Past = pastOf(s.History, s.Now)
	v.Parts = parts(&s)
	v.Tiles = tilesOf(&v)
	var b bytes.Buffer
	b.Grow(64 << 10)
	if err := page().Execute(&b, &v); err != nil {
		return nil, err
	}
	return clean(b.Bytes()), nil
}

// page is the template. It is parsed when it is first asked for: most agents are never looked at.
var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"name":  func(text string) string { return say.Shorten(say.Clean(text), longestName) },
		"error": func(text string) string { return say.Shorten(say.Clean(text), say.ErrorLength) },
		"took":  say.Took, "size": say.Size, "place": say.Place,
		"clock": clock,
		"ago":   func(t, now time.Time) string { return say.Age(now.Sub(t)) },
		"stamp": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"inc":   func(i int) int { return i + 1 },
	}).Parse(source))
})

// clean is the last step: whatever was forgotten on the way, no control or format character of anybody's reaches a reader. They show as
// their code, as at the prompt.
func clean(page []byte) []byte {
	if bytes.IndexFunc(page, func(r rune) bool { return r != '\n' && say.Unsafe(r) }) < 0 {
		return page
	}
	var b bytes.Buffer
	b.Grow(len(page) + 1<<10)
	for i, line := range strings.Split(string(page), "\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(say.Clean(line))
	}
	return b.Bytes()
}

func tilesOf(v *view) (tiles []tile) {
	waiting := tile{"#failures", "waiting for images", fmt.Sprint(len(v.Failures.List)), fine}
	switch {
	case v.Failures.At.IsZero():
		waiting.Value, waiting.Level = "not known", unknown
	case len(v.Failures.List) > 0:
		waiting.Level = warn
	}
	return append(tiles, waiting, registriesTile(v), runtimeTile(&v.Runtime), conditionsTile(v))
}

func registriesTile(v *view) tile {
	t := tile{"#registries", "registries reached", "not known", unknown}
	known, reached := 0, 0
	for i := range v.Registries.List {
		if ok := v.Registries.List[i].reached(); ok != nil {
			known++
			if *ok {
				reached++
			}
		}
	}
	if known > 0 {
		t.Value, t.Level = fmt.Sprintf("%d of %d", reached, known), fine
		if reached < known {
			t.Level = warn
		}
	}
	return t
}

func runtimeTile(r *Runtime) tile {
	t := tile{"#agent", "container runtime", "not known", unknown}
	switch {
	case r.Skipped:
		t.Value = "not asked"
	case r.At.IsZero() || r.Error != "":
	case r.Up && r.Ready:
		t.Value, t.Level = "ready", fine
	case r.Up:
		t.Value, t.Level = "not ready", bad
	default:
		t.Value, t.Level = "no answer", bad
	}
	return t
}

func conditionsTile(v *view) tile {
	t := tile{"#conditions", "conditions amiss", "none", fine}
	amiss := 0
	for _, c := range v.Facts {
		if c.Level == bad {
			amiss++
		}
	}
	switch {
	case amiss > 0:
		t.Value, t.Level = fmt.Sprint(amiss), bad
	case len(v.Facts) == 0:
		t.Value, t.Level = "not known", unknown
	}
	return t
}

// past is a line of the history.
type past struct {
	history.Entry
	Level      level
	When       string
	Repetition string
}

func pastOf(entries []history.Entry, now time.Time) (all []past) {
	for _, e := range entries[:min(len(entries), mostHistory)] {
		p := past{Entry: e, Level: fine, When: clock(e.Last, now)}
		if e.Failed {
			p.Level = bad
		}
		if e.Count > 1 {
			p.Repetition = fmt.Sprintf("%d times since %s", e.Count, clock(e.First, now))
		}
		all = append(all, p)
	}
	return all
}

// part is one of the things that the page rests on.
type part struct {
	Name string
	Seen
	Level level
	State string // a sentence
}

// parts are what is looked at and what is not.
func parts(s *State) []part {
	all := []part{
		{Name: "Container runtime", Seen: s.Runtime.Seen}, {Name: "Images", Seen: s.Runtime.ImagesSeen}, {Name: "Pods", Seen: s.Failures.Seen},
		{Name: "Node object", Seen: s.Conditions.Seen}, {Name: "Registries", Seen: s.Registries.Seen},
	}
	if s.Disk != nil {
		all = append(all, part{Name: "Disk", Seen: s.Disk.Seen})
	}
	for i := range all {
		p := &all[i]
		switch {
		case p.Skipped:
			p.Level, p.State = unknown, "not checked: the agent was told to do without"
		case p.Error != "" && p.At.IsZero():
			p.Level, p.State = warn, "never seen: "+p.Error
		case p.Error != "":
			p.Level, p.State = warn, "not known since "+clock(p.At, s.Now)+": "+p.Error
		case p.At.IsZero():
			p.Level, p.State = unknown, "not seen yet"
		default:
			p.Level, p.State = fine, "seen "+say.Age(s.Now.Sub(p.At))+" ago"
		}
	}
	return all
}

// phase is a rung of a ladder.
type phase struct {
	Name, Mark, Took, Found string
	Level                   level
}

func laddersOf(e *probe.Report) (ladder []phase) {
	e.Phases.Each(func(name string, p *probe.Phase) {
		if p.State == "" {
			return
		}
		of := phase{name, say.Mark(p.State), say.Took(p.Seconds), say.Rung(e, name, p), unknown}
		switch p.State {
		case probe.Passed:
			of.Level = fine
		case probe.Failed:
			of.Level = bad
		case probe.NotChecked:
		}
		ladder = append(ladder, of)
	})
	return ladder
}
