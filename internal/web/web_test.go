package web_test

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/internal/keyring"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/internal/say"
	"github.com/pullwatch/pullwatch/internal/web"
	"github.com/pullwatch/pullwatch/internal/web/webtest"
	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/probe"
)

var states = map[string]func() web.State{
	"well": webtest.Well, "loaded": webtest.Loaded, "at fault": webtest.AtFault, "hostile": webtest.Hostile,
	"nothing": func() web.State { return web.State{Now: webtest.Now} },
	"disk":    func() web.State { return webtest.WithDisk(webtest.Well()) },
}

func render(t testing.TB, s web.State) []byte {
	t.Helper()
	page, err := web.Render(s, false)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func parse(t *testing.T, s web.State) *html.Node {
	t.Helper()
	doc, err := html.Parse(bytes.NewReader(render(t, s)))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// find lists the elements of these names, in the order of the document.
func find(n *html.Node, names ...string) (found []*html.Node) {
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && slices.Contains(names, d.Data) {
			found = append(found, d)
		}
	}
	return found
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// TestSize holds the page of a node under load to 60 KiB, and the worst that tenants can do to ten times as much.
func TestSize(t *testing.T) {
	for name, most := range map[string]int{"well": 20 << 10, "loaded": 60 << 10, "hostile": 600 << 10} {
		page := render(t, states[name]())
		t.Logf("%s: %d bytes", name, len(page))
		if len(page) > most {
			t.Errorf("%s: %d bytes, want at most %d", name, len(page), most)
		}
	}
}

// TestBounded: a hundred times as many failures and registries make no larger page than the bounds allow, and what is left out is counted.
func TestBounded(t *testing.T) {
	s := webtest.Hostile()
	for range 100 {
		s.Failures.List = append(s.Failures.List, s.Failures.List[20:20+len(webtest.Evil)]...)
		s.Registries.List = append(s.Registries.List, s.Registries.List[20:20+len(webtest.Evil)]...)
	}
	full := webtest.Failing("shop", "web", "docker.io/library/nginx:1", cause.DiskFull, "no space left on device")
	s.Failures.List = append(s.Failures.List, full)
	page := render(t, s)
	if len(page) > 600<<10 {
		t.Errorf("%d bytes", len(page))
	}
	for _, want := range []string{"of this cause: <code>pullwatch failures</code> lists all", "more: <code>pullwatch probe</code> asks all", "no space left on device"} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// TestHostile: what others choose is text, and no character of theirs hides or turns what a person reads.
func TestHostile(t *testing.T) {
	page := render(t, webtest.Hostile())
	if i := bytes.IndexFunc(page, func(r rune) bool { return r != '\n' && say.Unsafe(r) }); i >= 0 {
		t.Errorf("an unsafe character at %d: %q", i, page[max(0, i-40):i+10])
	}
	doc := parse(t, webtest.Hostile())
	usual := parse(t, webtest.WithDisk(webtest.Loaded()))
	names := make(map[string]bool)
	for d := range usual.Descendants() {
		names[d.Data] = true
	}
	for d := range doc.Descendants() {
		if d.Type == html.ElementNode && !names[d.Data] {
			t.Errorf("an element that the page does not have otherwise: <%s>", d.Data)
		}
		for _, a := range d.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" || a.Key == "srcset" {
				t.Errorf("<%s %s=%q>", d.Data, a.Key, a.Val)
			}
			if a.Key == "href" && !strings.HasPrefix(a.Val, "#") && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "https://github.com/pullwatch/pullwatch/blob/main/docs/causes.md#") {
				t.Errorf("a link to %q", a.Val)
			}
		}
	}
	all := text(doc)
	for _, evil := range webtest.Evil {
		if shown := strings.Join(strings.Fields(say.Clean(evil)), " "); len(evil) < 300 && strings.Count(all, shown) < 10 {
			t.Errorf("%q is not shown as text, or not everywhere", shown)
		}
	}
}

// TestAccessible holds what a screen reader and a keyboard need, in every state.
func TestAccessible(t *testing.T) {
	for name, state := range states {
		t.Run(name, func(t *testing.T) {
			doc := parse(t, state())
			if lang := attr(find(doc, "html")[0], "lang"); lang != "en" {
				t.Errorf("lang is %q", lang)
			}
			for element, want := range map[string]int{"title": 1, "h1": 1, "main": 1, "header": 1, "footer": 1, "nav": 1} {
				if got := find(doc, element); len(got) != want || text(got[0]) == "" {
					t.Errorf("%d <%s>, want %d, and not empty", len(got), element, want)
				}
			}
			last := 0
			for _, h := range find(doc, "h1", "h2", "h3", "h4") {
				if level := int(h.Data[1] - '0'); level > last+1 {
					t.Errorf("heading %q of level %d after one of %d", text(h), level, last)
				} else {
					last = level
				}
				if text(h) == "" {
					t.Error("an empty heading")
				}
			}
			ids := make(map[string]bool)
			for d := range doc.Descendants() {
				if id := attr(d, "id"); id != "" {
					if ids[id] {
						t.Errorf("id %q twice", id)
					}
					ids[id] = true
				}
			}
			for d := range doc.Descendants() {
				if to, ok := strings.CutPrefix(attr(d, "href"), "#"); ok && !ids[to] {
					t.Errorf("a link to #%s, which is not there", to)
				}
				if by := attr(d, "aria-labelledby"); by != "" && !ids[by] {
					t.Errorf("labelled by %q, which is not there", by)
				}
			}
			for _, section := range find(doc, "section", "nav") {
				if attr(section, "aria-labelledby")+attr(section, "aria-label") == "" {
					t.Errorf("a <%s> without a name", section.Data)
				}
			}
			for _, th := range find(doc, "th") {
				if s := attr(th, "scope"); s != "col" && s != "row" || text(th) == "" {
					t.Errorf("header %q has scope %q", text(th), s)
				}
			}
			for _, table := range find(doc, "table") { // whose parts are named, since it reflows
				for element, role := range map[string]string{"tr": "row", "td": "cell", "thead": "rowgroup", "tbody": "rowgroup"} {
					for _, e := range find(table, element) {
						if attr(e, "role") != role {
							t.Errorf("<%s> of a table that reflows has role %q", element, attr(e, "role"))
						}
					}
				}
			}
			for _, d := range find(doc, "details") {
				if first := find(d, "*", "summary"); len(first) == 0 || text(first[0]) == "" {
					t.Error("details without a summary")
				}
			}
			for _, e := range find(doc, "a", "summary") {
				if text(e) == "" {
					t.Errorf("a <%s> without a name", e.Data)
				}
			}
			for _, e := range find(doc, "svg") {
				if attr(e, "role") != "img" || attr(e, "aria-label") == "" {
					t.Error("a picture without words")
				}
			}
		})
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// TestVerdict: is it this node?
func TestVerdict(t *testing.T) {
	with := func(change func(*web.State)) web.State {
		s := webtest.Well()
		change(&s)
		return s
	}
	typo := webtest.Failing("shop", "web", "docker.io/library/alpnie:3", cause.NotFound, "not found")
	for _, test := range []struct {
		name, answer, says string
		state              web.State
	}{
		{"all is well", "Nothing is wrong", "no container waits", webtest.Well()},
		{"a typo", "No, it is not this node", "1 container waits: The registry has no such image (not_found).", with(func(s *web.State) { s.Failures.List = []pulls.Failure{typo} })},
		{"a registry is down", "No, it is not this node", "registry.example.com is NOT reached: The TLS connection to the registry fails (tls).", with(func(s *web.State) {
			s.Registries.List = append(s.Registries.List, webtest.Expired("registry.example.com"))
		})},
		{"a registry is down by its probe, and gives images", "Nothing is wrong", "but an image was pulled from it", with(func(s *web.State) {
			r := webtest.Expired("registry.example.com")
			r.Pulled, r.LastPull = true, webtest.Now
			s.Registries.List = append(s.Registries.List, r)
		})},
		{"a registry that only pods name is down", "Nothing is wrong", "named by pods only", with(func(s *web.State) {
			r := webtest.Expired("registry.example.com")
			r.Established = false
			s.Registries.List = append(s.Registries.List, r)
		})},
		{"its resolver", "Yes, it is this node", "Do: Look at /etc/resolv.conf and the name servers in it.", webtest.AtFault()},
		{"too early to say", "It may be this node", "from 03:13:37 UTC on, if it stays so", with(func(s *web.State) {
			s.Conditions.Coming = []health.Coming{{
				Verdict: health.Verdict{Type: health.ImagePullFailing, True: true, Reason: "DiskFull", Message: "no space", Since: webtest.Now.Add(-30 * time.Second)},
				Turns:   webtest.Now.Add(90 * time.Second),
			}}
		})},
		{"not judged yet", "Not known yet whether it is this node", "1 container waits", with(func(s *web.State) {
			s.Failures.List, s.Conditions.Judged = []pulls.Failure{typo}, nil
		})},
		{"the API server is lost", "Not known", "Pods: not known since 03:12:07: no route", with(func(s *web.State) { s.Failures.Error = "no route" })},
		{"no API server", "Nothing is wrong that can be seen", "Which pods wait is not looked at", with(func(s *web.State) { s.Failures.Seen = web.Seen{Skipped: true} })},
		{"no runtime", "Nothing is wrong that can be seen", "The container runtime is not asked.", with(func(s *web.State) {
			s.Runtime = web.Runtime{Seen: web.Seen{Skipped: true}, ImagesSeen: web.Seen{Skipped: true}}
			s.Registries = web.Registries{Seen: web.Seen{Skipped: true}}
		})},
		{"a condition that nobody judges", "Nothing is wrong", "ContainerRuntimeUnavailablenot checked–the agent was told to do without what it takes", with(func(s *web.State) {
			s.Conditions.Judged = s.Conditions.Judged[1:]
			s.Conditions.Unjudged = []health.Type{health.ContainerRuntimeUnavailable}
		})},
		{"neither runtime nor API server", "Not known", "What this takes cannot be seen.", with(func(s *web.State) {
			s.Runtime.Seen, s.Failures.Seen = web.Seen{Skipped: true}, web.Seen{Skipped: true}
		})},
		{"the runtime was never seen", "Not known", "Container runtime: never seen: forbidden", with(func(s *web.State) { s.Runtime = web.Runtime{Seen: web.Seen{Error: "forbidden"}} })},
		{"nothing was seen yet", "Not known", "What this takes cannot be seen.", web.State{Now: webtest.Now}},
		{"disk pressure", "Nothing is wrong", "The kubelet reports DiskPressure for 2d.", with(func(s *web.State) { s.Conditions.OnNode[1].Status = "True" })},
	} {
		t.Run(test.name, func(t *testing.T) {
			doc := parse(t, test.state)
			if got := text(find(doc, "h1")[0]); got != test.answer {
				t.Errorf("the answer is %q, want %q", got, test.answer)
			}
			if all := text(doc); !strings.Contains(all, test.says) {
				t.Errorf("the page does not say %q:\n%s", test.says, text(find(doc, "main")[0]))
			}
		})
	}
}

// TestLikeThePrompt: of a registry the page has every word that `pullwatch probe` has.
func TestLikeThePrompt(t *testing.T) {
	for _, r := range []web.Registry{webtest.Reached("a.example.com"), webtest.Unresolved("b.example.com"), webtest.Expired("c.example.com"), webtest.Mirrored("d.example.com")} {
		s := webtest.Well()
		s.Registries.List = []web.Registry{r}
		all := text(parse(t, s))
		words := append([]string{say.Reached(r.Registry)}, r.Warnings...)
		if !*r.OK {
			words = append(words, "Do: "+say.Advice(r.Registry))
		}
		for _, e := range r.Registry.Endpoints {
			words = append(words, e.URL)
			e.Phases.Each(func(name string, phase *probe.Phase) {
				if phase.State != "" {
					words = append(words, name+" "+say.Mark(phase.State)+" "+say.Took(phase.Seconds)+" "+say.Rung(e, name, phase))
				}
			})
		}
		for _, want := range words {
			if !strings.Contains(all, want) {
				t.Errorf("%s: the page does not say %q", r.Registry.Registry, want)
			}
		}
	}
}

// TestPullSecrets: what came of a pull secret stands with the failure whose it is, in the prompt's words.
func TestPullSecrets(t *testing.T) {
	s := webtest.Well()
	for i, name := range []string{"a", "b"} {
		s.Failures.List = append(s.Failures.List, webtest.Failing("shop", name, "ghcr.io/shop/"+name+":1", cause.Unauthorized, "401"))
		if i == 1 {
			s.Failures.Logins = map[int][]keyring.Outcome{1: {{Secret: "shop/regcred", Result: keyring.Refused, Cause: cause.Unauthorized, At: webtest.Now.Add(-time.Minute)}}}
		}
	}
	doc := parse(t, s)
	var rows []string
	for _, tr := range find(doc, "tr") {
		if all := text(tr); strings.Contains(all, "ghcr.io/shop/") {
			rows = append(rows, all)
		}
	}
	const want = "Secret shop/regcred is refused (unauthorized); seen 60s ago"
	if len(rows) != 2 || strings.Contains(rows[0], "Secret") || !strings.Contains(rows[1], want) {
		t.Errorf("%q, want %q in the second", rows, want)
	}
}

var declared = regexp.MustCompile(`--(\w+):#([0-9a-f]{3,6})`)

// TestContrast: text on what it stands on reaches WCAG 2.2 AA, 4.5 to 1, in both schemes.
func TestContrast(t *testing.T) {
	style, _, _ := strings.Cut(string(render(t, webtest.Well())), "</style>")
	light, dark, ok := strings.Cut(style, "prefers-color-scheme:dark")
	if !ok {
		t.Fatal("no dark scheme")
	}
	for scheme, css := range map[string]string{"light": light, "dark": dark} {
		colors := make(map[string]float64)
		for _, m := range declared.FindAllStringSubmatch(css, -1) {
			colors[m[1]] = luminance(t, m[2])
		}
		for _, pair := range []string{
			"text bg", "text card", "dim bg", "dim card", "link bg", "link card", "text okbg", "text warnbg", "text badbg", "text nonebg",
			"ok okbg", "warn warnbg", "bad badbg", "none nonebg", "ok card", "warn card", "bad card", "none card", "ok bg", "warn bg", "bad bg", "none bg",
		} {
			name, on, _ := strings.Cut(pair, " ")
			a, known := colors[name]
			b, knownOn := colors[on]
			if ratio := (max(a, b) + .05) / (min(a, b) + .05); !known || !knownOn || ratio < 4.5 {
				t.Errorf("%s: %s has %.2f to 1", scheme, pair, ratio)
			}
		}
	}
}

// BenchmarkPage is what one look at a node under load costs.
func BenchmarkPage(b *testing.B) {
	state := webtest.Loaded()
	render(b, state) // parses
	for b.Loop() {
		render(b, state)
	}
}
