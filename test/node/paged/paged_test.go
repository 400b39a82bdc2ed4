package paged

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/pullwatch/pullwatch/internal/say"
	"github.com/pullwatch/pullwatch/internal/web"
	"github.com/pullwatch/pullwatch/internal/web/webtest"
)

var pictures = flag.String("pictures", "", "directory for a picture of each page, to look at")

var states = map[string]func() web.State{
	"well": webtest.Well, "loaded": webtest.Loaded, "at-fault": webtest.AtFault, "hostile": webtest.Hostile,
	"nothing": func() web.State { return web.State{Now: webtest.Now} },
	"disk":    func() web.State { return webtest.WithDisk(webtest.Well()) },
}

// serve serves a state as the agent serves its own.
func serve(t *testing.T, state func() web.State) string {
	t.Helper()
	server := httptest.NewServer(web.Local(web.Handler(state)))
	t.Cleanup(server.Close)
	return server.URL + "/"
}

// TestChromium looks at every state at phone and desk width, dark and light. One browser serves all.
func TestChromium(t *testing.T) {
	b := startBrowser(t)
	for name, state := range states {
		url := serve(t, state)
		for _, width := range []int64{320, 390, 1280} {
			for _, scheme := range []string{"light", "dark"} {
				t.Run(name+" "+scheme, func(t *testing.T) {
					b.took(&b.asked)
					b.look(t, url, width, scheme)
					fits(t, b, width)
					harmless(t, b, url)
					colored(t, b, scheme)
					readable(t, b)
					if *pictures != "" {
						b.shoot(t, filepath.Join(*pictures, name+"-"+scheme+"-"+map[int64]string{320: "320", 390: "390", 1280: "1280"}[width]+".png"), width, 0)
					}
				})
			}
		}
	}
	t.Run("hostile texts", func(t *testing.T) { shown(t, b) })
	t.Run("keyboard", func(t *testing.T) { keyboard(t, b) })
	t.Run("another site", func(t *testing.T) { framed(t, b) })
	// The browser has things of its own to ask its maker for, which the proxy refuses as well; what pages name is evil.test.
	if got := b.evil(); len(got) > 0 {
		t.Errorf("a page had it ask for:\n  %s", lines(got))
	}
	b.run(t, chromedp.Navigate("http://evil.test/")) // whose refusal is a page too
	if got := b.evil(); len(got) == 0 {
		t.Error("what leaves is not seen: this looks at nothing")
	}
}

// fits holds the page to its width, also where names are long and details are open.
func fits(t *testing.T, b *browser, width int64) {
	t.Helper()
	evaluate[int](t, b, "document.querySelectorAll('details').forEach(d => d.open = true), 0")
	if got := evaluate[int64](t, b, "document.documentElement.scrollWidth"); got > width {
		wide := evaluate[[]string](t, b, `[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth).map(e => e.tagName + ': ' + e.textContent.slice(0, 60)).slice(0, 5)`)
		t.Errorf("it is %d pixels wide at %d:\n  %s", got, width, lines(wide))
	}
	// What is cut off or laid over each other cannot be read either.
	cut := evaluate[[]string](t, b, `[...document.querySelectorAll('td, tbody th, li, h1, h2, h3, p, summary, code, bdi')].filter(e => e.getClientRects().length && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display != 'inline').map(e => e.tagName + ': ' + e.textContent.slice(0, 60)).slice(0, 5)`)
	if len(cut) > 0 {
		t.Errorf("cut off at %d:\n  %s", width, lines(cut))
	}
}

// harmless: no script, no dialog, nothing asked for but the page itself.
func harmless(t *testing.T, b *browser, url string) {
	t.Helper()
	if n := evaluate[int](t, b, "document.querySelectorAll('script, img, iframe, object, embed, link, base, form, video, audio').length + document.scripts.length"); n != 0 {
		t.Errorf("%d elements that have no place in the page", n)
	}
	if n := evaluate[int](t, b, "[...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => a.name.startsWith('on') || a.name == 'style' || a.name == 'src')).length"); n != 0 {
		t.Errorf("%d elements with a handler, a style or a source", n)
	}
	if got := b.took(&b.dialogs); len(got) > 0 {
		t.Errorf("dialogs: %q", got)
	}
	for _, asked := range b.took(&b.asked) {
		if asked != url && asked != url+"favicon.ico" { // which a browser asks for by itself
			t.Errorf("it asked for %s", asked)
		}
	}
}

// colored: the scheme is the one that was asked for.
func colored(t *testing.T, b *browser, scheme string) {
	t.Helper()
	background := evaluate[string](t, b, "getComputedStyle(document.body).backgroundColor")
	want := map[string]string{"light": "rgb(245, 246, 248)", "dark": "rgb(17, 20, 24)"}[scheme]
	if background != want {
		t.Errorf("the background is %s in the %s scheme, want %s: is the style refused?", background, scheme, want)
	}
}

// readable: a screen reader gets landmarks, headings, and tables that are tables at any width.
func readable(t *testing.T, b *browser) {
	t.Helper()
	count := map[string]int{}
	for _, e := range b.spoken(t) {
		count[e.role]++
		if slices.Contains([]string{"link", "region", "navigation", "columnheader", "rowheader", "image"}, e.role) && strings.TrimSpace(e.name) == "" {
			t.Errorf("a %s without a name", e.role)
		}
	}
	elements := evaluate[map[string]int](t, b, `({table: document.querySelectorAll('table').length, columnheader: document.querySelectorAll('thead th').length,
		rowheader: document.querySelectorAll('tbody th').length, cell: document.querySelectorAll('td').length, image: document.querySelectorAll('svg').length,
		region: document.querySelectorAll('section').length, main: 1, banner: 1, contentinfo: 1, navigation: 1})`)
	for role, want := range elements {
		if count[role] != want {
			t.Errorf("%d of role %s, want %d", count[role], role, want)
		}
	}
	if count["heading"] < 6 {
		t.Errorf("%d headings", count["heading"])
	}
}

// shown: every hostile text is there to read, whole or cut, and as its code where it would turn what stands around it.
func shown(t *testing.T, b *browser) {
	b.look(t, serve(t, webtest.Hostile), 1280, "light")
	text := evaluate[string](t, b, "document.body.textContent")
	for _, evil := range webtest.Evil {
		want := say.Clean(evil)
		if len(want) > 250 {
			want = want[:100]
		}
		if !strings.Contains(text, want) {
			t.Errorf("%q is not shown", want)
		}
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && say.Unsafe(r) }); i >= 0 {
		t.Errorf("%q is in the page", text[i:i+4])
	}
	time.Sleep(100 * time.Millisecond) // for what would go off later, such as a refresh to elsewhere
	if at := evaluate[string](t, b, "location.hostname"); at != "127.0.0.1" {
		t.Errorf("the page has gone to %s", at)
	}
}

// keyboard: Tab goes through every link and every summary in their order, and shows where it is.
func keyboard(t *testing.T, b *browser) {
	b.look(t, serve(t, webtest.AtFault), 1280, "light")
	want := evaluate[int](t, b, "document.querySelectorAll('a[href], summary').length")
	const at = `(e => { const s = getComputedStyle(e); const all = [...document.querySelectorAll('a[href], summary')];
		return [all.indexOf(e), s.outlineStyle != 'none' && parseFloat(s.outlineWidth) >= 2 ? 1 : 0] })(document.activeElement)`
	for i := range want {
		b.run(t, chromedp.KeyEvent(kb.Tab))
		if got := evaluate[[]int](t, b, at); got[0] != i || got[1] != 1 {
			t.Fatalf("after %d times Tab the focus is at %d and shows: %d", i+1, got[0], got[1])
		}
	}
	evaluate[int](t, b, "document.querySelector('.host summary').focus(), 0")
	b.run(t, chromedp.KeyEvent(kb.Enter))
	if evaluate[bool](t, b, "document.querySelector('.host').open") {
		t.Error("Enter does not close a registry that is open")
	}
}

// framed: a page of another site cannot embed this one, nor read it.
func framed(t *testing.T, b *browser) {
	answers := make(chan int, 10)
	page := web.Local(web.Handler(webtest.Well))
	ours := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := httptest.NewRecorder()
		page.ServeHTTP(seen, r)
		w.WriteHeader(seen.Code)
		answers <- seen.Code
	}))
	defer ours.Close()
	theirs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte("<!doctype html><iframe src='" + ours.URL + "/'></iframe>"))
	}))
	defer theirs.Close()
	refused := func(how string) {
		select {
		case code := <-answers:
			if code != http.StatusForbidden {
				t.Errorf("%s it answers %d", how, code)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s it was not asked: this looks at nothing", how)
		}
	}
	b.run(t, chromedp.Navigate(strings.Replace(theirs.URL, "127.0.0.1", "localhost", 1))) // which is another site than an address
	refused("in a frame")
	if got := evaluate[string](t, b, "fetch('"+ours.URL+"/').then(r => r.text(), e => 'refused')", chromedp.EvalAwaitPromise); got != "refused" {
		t.Errorf("a script of another site reads %q", got)
	}
	refused("to a script of another site")
}
