package agent_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/internal/disk"
	"github.com/pullwatch/pullwatch/internal/kube/kubetest"
	"github.com/pullwatch/pullwatch/pkg/cause"
)

// page asks for the page on the unix socket.
func (w *world) page() (status int, body string) {
	return w.ask("http://pullwatch/", &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", w.socket)
	}})
}

func (w *world) ask(url string, way *http.Transport) (status int, body string) {
	w.Helper()
	response, err := (&http.Client{Transport: way}).Get(url)
	w.must(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	w.must(err)
	return response.StatusCode, string(text)
}

// TestPage: what fails is on the page, and that it did is when it is over. Beside the page its address has nothing.
func TestPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := freeAddress(t)
	w.run(func(c *agent.Config) { c.Page.Address = address })
	w.until("ready", w.ready)
	shows := func(texts ...string) func() bool {
		return func() bool {
			for _, way := range []func() (int, string){w.page, func() (int, string) { return w.ask("http://"+address+"/", &http.Transport{DisableKeepAlives: true}) }} {
				status, body := way()
				for _, text := range texts {
					if status != http.StatusOK || !strings.Contains(body, text) {
						return false
					}
				}
			}
			return true
		}
	}
	w.until("a page on which nothing is wrong", shows("Nothing is wrong</h1>", node, "containerd 1.6"))
	w.api.SetPod(pod())
	w.api.SetPod(kubetest.Waiting(pod(), "ErrImagePull", notFound))
	w.until("the failure", w.failing(cause.NotFound))
	w.until("the failure on the page", shows("shop/<wbr>cart-1", cause.NotFound.Advice(), "cannot pull "+image))
	w.until("the conditions on the page, which answer the question", shows("No, it is not this node</h1>", "ImagesCanBePulled"))
	w.api.SetPod(kubetest.Running(pod()))
	w.until("what happened on the page", shows("Nobody on this node.", "waits no longer for "+image))

	for _, path := range []string{agent.SnapshotPath, "/debug/pprof/", "/metrics", "/index.html"} {
		if status, _ := w.ask("http://"+address+path, &http.Transport{DisableKeepAlives: true}); status != http.StatusNotFound {
			t.Errorf("%s has status %d", path, status)
		}
	}
	_, port, _ := net.SplitHostPort(address)
	away := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
	if status, body := w.ask("http://rebound.test:"+port+"/", away); status != http.StatusMisdirectedRequest || strings.Contains(body, node) {
		t.Errorf("by the name of somebody else: %d %s", status, body)
	}
}

// TestPageAddressTaken: an address that nobody asked for costs the page alone, one that was asked for is an error.
func TestPageAddressTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	w := newWorld(t)
	w.run(func(c *agent.Config) { c.Page = agent.Page{Address: taken.Addr().String(), Optional: true} })
	w.until("ready", w.ready)
	if w.log.Count("the page is not served") != 1 {
		t.Errorf("it does not say that there is no page")
	}
	other := newWorld(t)
	err = agent.New(agent.Config{Page: agent.Page{Address: taken.Addr().String()}, Socket: other.socket, Log: (&agent.Log{}).Logger()}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("it ran without the page that was asked for: %v", err)
	}
	if _, err := net.Dial("unix", other.socket); err == nil {
		t.Error("its socket is left behind")
	}
}

// TestForecastOnThePage says what happens at a threshold, and whether that rests on a guess.
func TestForecastOnThePage(t *testing.T) {
	for _, test := range []struct {
		threshold string
		assumed   bool
		want      string
	}{
		{disk.AheadGC, false, "At the present rate collection of images begins in 30m."},
		{disk.AheadHard, false, "At the present rate pods are evicted in 30m."},
		{disk.AheadSoft, false, "At the present rate a soft threshold of eviction is met in 30m."},
		{disk.AheadHard, true, "If the kubelet's defaults hold, at the present rate pods are evicted in 30m."},
	} {
		r := &disk.Report{Forecast: []disk.Ahead{{Threshold: test.threshold, Outlook: disk.OutlookGoing, InSeconds: 1800}}, Settings: disk.SettingsReport{Assumed: test.assumed}}
		if got := agent.ForecastOn(r); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
