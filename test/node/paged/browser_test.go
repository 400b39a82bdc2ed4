package paged

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/pullwatch/pullwatch/test/node"
)

// browser is a Chromium whose every step outside of loopback is seen.
type browser struct {
	context.Context

	mu      sync.Mutex
	asked   []string // URLs that a page asked for
	proxied []string // what the browser asked the network for, beside loopback
	dialogs []string
}

// startBrowser starts a browser of the test's own. Whatever it asks for beside loopback comes to a proxy that refuses and writes it down.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	if err := node.EnsurePrograms(t.Context(), node.NewProgress(os.Stderr), map[string]string{"chromium": "chromium"}); err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.note(&b.proxied, r.Method+" "+r.Host)
		http.Error(w, "nothing leaves this test", http.StatusForbidden)
	}))
	t.Cleanup(proxy.Close)
	flags := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(program), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.UserDataDir(t.TempDir()),
		chromedp.ProxyServer(proxy.URL),
	}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-default-apps", "hide-scrollbars"} {
		flags = append(flags, chromedp.Flag(flag, true))
	}
	allocator, stop := chromedp.NewExecAllocator(t.Context(), flags...)
	t.Cleanup(stop)
	tab, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(closeTab)
	b.Context = tab
	b.run(t, chromedp.Navigate("about:blank")) // which starts it, for as long as its tab
	err = chromedp.Listen(b.Context, func(event any) {
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			b.note(&b.asked, e.Request.URL)
		case *page.EventJavascriptDialogOpening:
			b.note(&b.dialogs, e.Message)
			go chromedp.Call(b.Context, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true}) // else all stands still
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *browser) note(to *[]string, what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*to = append(*to, what)
}

// took gives what was noted and begins anew.
func (b *browser) took(from *[]string) (noted []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	noted, *from = *from, nil
	return noted
}

// evil is what was asked of the host that the hostile texts name.
func (b *browser) evil() []string {
	return slices.DeleteFunc(b.took(&b.proxied), func(asked string) bool { return !strings.Contains(asked, "evil.test") })
}

func (b *browser) run(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b.Context, steps...); err != nil {
		t.Fatal(err)
	}
}

// call sends a command of the protocol.
func call[P, R any](t *testing.T, b *browser, command cdp.Command[P, R], params P) R {
	t.Helper()
	answer, err := chromedp.Call(b.Context, command, params)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// look opens a page at a width, in a scheme.
func (b *browser) look(t *testing.T, url string, width int64, scheme string) {
	t.Helper()
	b.size(t, width, 900)
	call(t, b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	b.run(t, chromedp.Navigate(url))
}

func (b *browser) size(t *testing.T, width, height int64) {
	t.Helper()
	call(t, b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 500})
}

// evaluate asks the page something.
func evaluate[T any](t *testing.T, b *browser, script string, options ...chromedp.EvaluateOption) T {
	t.Helper()
	answer, err := chromedp.Run(b.Context, chromedp.Evaluate[T](script, options...))
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// spoken is an element as a screen reader gets it.
type spoken struct{ role, name string }

func (b *browser) spoken(t *testing.T) (all []spoken) {
	t.Helper()
	text := func(v *accessibility.Value) (text string) {
		if v != nil {
			_ = json.Unmarshal(v.Value, &text) // what is no text is none
		}
		return text
	}
	for _, n := range call(t, b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		if !n.Ignored {
			all = append(all, spoken{text(n.Role), text(n.Name)})
		}
	}
	return all
}

// shoot writes a picture of the page from its top, so many pixels high; 0 is all of it.
func (b *browser) shoot(t *testing.T, file string, width, height int64) {
	t.Helper()
	if height == 0 {
		height = evaluate[int64](t, b, "document.documentElement.scrollHeight")
	}
	b.size(t, width, height)
	png, err := chromedp.Run(b.Context, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		t.Fatal(err)
	}
}

func lines(texts []string) string { return strings.Join(texts, "\n  ") }
