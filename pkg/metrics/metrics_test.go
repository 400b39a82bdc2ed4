package metrics

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/pullwatch/pullwatch/pkg/cause"
)

var update = flag.Bool("update", false, "write the golden files anew")

// noon is when everything of a test happened.
var noon = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

func newMetrics() *Metrics {
	return New(Options{Version: "1.2.3", Revision: "abc1234", MaxFailing: 100, MaxRegistries: 20})
}

// fill is one of everything.
func fill(m *Metrics) {
	m.SetNode(Node{Architecture: "arm64", OS: "linux", OSImage: "Debian GNU/Linux 12 (bookworm)", Kernel: "6.1.0-28-arm64", Runtime: "containerd",
		RuntimeVersion: "2.1.4", Kubelet: "v1.34.4"})
	m.SetRuntime(Runtime{Reachable: true, Up: true, Ready: true, Images: 42})
	m.SetEstablished([]string{"registry.k8s.io", "docker.io"})
	m.CountFailure(cause.NotFound, "ghcr.io")
	m.CountFailure(cause.InvalidReference, "")
	m.CountAttempt(cause.NotFound, "ghcr.io")
	m.CountAttempt(cause.NotFound, "ghcr.io")
	m.SetFailing([]Failing{
		{Namespace: "shop", Pod: "web-0", Container: "app", Kind: "container", Image: "ghcr.io/shop/web:1", Registry: "ghcr.io",
			Cause: cause.NotFound, Scope: cause.NotFound.Scope(), Since: noon.Add(-time.Hour)},
		{Namespace: "shop", Pod: "web-1", Container: "app", Kind: "init", Image: "ghcr.io/shop/web:1", Registry: "ghcr.io",
			Cause: cause.NotFound, Scope: cause.NotFound.Scope(), Since: noon.Add(-time.Minute).Add(250 * time.Millisecond)},
		{Namespace: "shop", Pod: "web-2", Kind: "sandbox", Image: "registry.k8s.io/pause:3.10", Registry: "registry.k8s.io",
			Cause: cause.DNS, Scope: cause.ScopeNode},
	})
	m.ObserveCall("Status", "OK", 2*time.Millisecond)
	m.ObserveCall("Status", "OK", 30*time.Millisecond)
	m.ObserveCall("ListImages", "DeadlineExceeded", 20*time.Second)
	m.ObserveCheck("runtime", 4*time.Millisecond, noon, true)
	m.ObserveCheck("images", time.Second, noon, false)
	m.SetStream("pods", true)
	m.SetStream("nodes", false)
	m.CountEventLookup("ok")
	m.CountBadInput("runtime")
	m.SetConditions([]Condition{{Type: "ImagePullFailing", True: true}, {Type: "ContainerRuntimeUnavailable"}})
	m.CountRegistryProbe("docker.io", cause.None)
	m.CountRegistryProbe("ghcr.io", cause.TLS)
	m.SetRegistryProbes([]RegistryProbe{mirrored, unreached, {Registry: "registry.k8s.io"}})
	m.CountImageProbe("docker.io", cause.None)
	m.CountImageProbe("docker.io", cause.NotFound)
	m.SetImagesMissing(map[string]int{"docker.io": 1, "registry.k8s.io": 0})
	yes, no := true, false
	m.SetDisk(&Disk{
		Filesystems: []Filesystem{
			{Name: "imagefs", Roles: []string{"imagefs", "containerfs"}, Mountpoint: "/var/lib/containerd", Type: "xfs", SizeBytes: 100e9, AvailableBytes: 20e9, Inodes: 1e6, InodesFree: 9e5},
			{Name: "nodefs", Roles: []string{"nodefs"}, Mountpoint: "/", Type: "btrfs", SizeBytes: 50e9, AvailableBytes: 40e9},
		},
		Thresholds: []EvictionThreshold{{Signal: "imagefs.available", Kind: "hard", At: 15e9}, {Signal: "imagefs.inodesFree", Kind: "hard", At: 5e4, Inodes: true}},
		GC:         &ImageGC{HighPercent: 85, LowPercent: 80, UsedPercent: 81, WantedBytes: 1e9, ReclaimableBytes: 5e8},
		Forecasts: []Forecast{
			{"imagefs", "eviction_hard", noon.Add(2 * time.Hour)}, {"imagefs", "eviction_hard", noon.Add(time.Hour)}, {"imagefs", "image_gc_high", noon.Add(30 * time.Minute)},
		},
		SettingsSource: "configz", Findings: []string{"gc_meets_eviction"}, SandboxPresent: &yes, SandboxPinned: &no,
	})
	m.SetPressure(map[string]float64{"cpu": .25, "io": 0})
}

// scrape gets the page as a Prometheus that accepts this does.
func scrape(t *testing.T, m *Metrics, accept string) (contentType, body string) {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	if accept != "" {
		request.Header.Set("Accept", accept)
	}
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, request)
	if answer.Code != http.StatusOK {
		t.Fatalf("scrape: %d %s", answer.Code, answer.Body)
	}
	return answer.Header().Get("Content-Type"), answer.Body.String()
}

var goVersion = regexp.MustCompile(`goversion="[^"]*"`)

// ours is the part of a page that is not the Go runtime's and the process's.
func ours(page string) string {
	var b strings.Builder
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "pullwatch_") || strings.HasPrefix(line, "# HELP pullwatch_") || strings.HasPrefix(line, "# TYPE pullwatch_") {
			b.WriteString(line)
		}
	}
	return goVersion.ReplaceAllString(b.String(), `goversion="go1"`)
}

// samples is the series of a page, by name and labels as written.
func samples(t *testing.T, m *Metrics) map[string]string {
	t.Helper()
	_, page := scrape(t, m, "")
	found := make(map[string]string)
	for line := range strings.Lines(page) {
		if series, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok && !strings.HasPrefix(line, "#") {
			found[series+"}"] = value
		} else if series, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && !strings.HasPrefix(line, "#") {
			found[series] = value
		}
	}
	return found
}

// having is the samples whose series contains every part.
func having(all map[string]string, parts ...string) map[string]string {
	found := make(map[string]string)
series:
	for series, value := range all {
		for _, part := range parts {
			if !strings.Contains(series, part) {
				continue series
			}
		}
		found[series] = value
	}
	return found
}

func wantSamples(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}

// TestExposition holds the page: a name or a label that changes breaks the dashboards and alerts of others.
func TestExposition(t *testing.T) {
	for name, fill := range map[string]func(*Metrics){
		"filled.prom": fill,
		"empty.prom":  func(*Metrics) {},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMetrics()
			fill(m)
			_, page := scrape(t, m, "")
			got := ours(page)
			file := "testdata/" + name
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v; write it with: go test ./pkg/metrics -update", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got), go test ./pkg/metrics -update writes it anew:\n%s", file, diff)
			}
		})
	}
}

// TestLint: promlint has nothing to say of any family, the Go runtime's and the process's apart.
func TestLint(t *testing.T) {
	m := newMetrics()
	fill(m)
	m.CountFailure(cause.DNS, "a.example")
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	own := families[:0:0]
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "pullwatch_") {
			continue
		}
		own = append(own, family)
		if !strings.HasSuffix(family.GetHelp(), ".") {
			t.Errorf("%s: help %q is no sentence", family.GetName(), family.GetHelp())
		}
	}
	if len(own) < 15 {
		t.Errorf("%d families linted: the test looks at the wrong ones", len(own))
	}
	problems, err := promlint.NewWithMetricFamilies(own).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestOpenMetrics(t *testing.T) {
	m := newMetrics()
	fill(m)
	contentType, page := scrape(t, m, "application/openmetrics-text;version=1.0.0")
	if !strings.HasPrefix(contentType, "application/openmetrics-text") || !strings.HasSuffix(page, "# EOF\n") {
		t.Errorf("asked for OpenMetrics, got %s that ends %q", contentType, page[max(0, len(page)-40):])
	}
	if contentType, _ := scrape(t, m, ""); !strings.HasPrefix(contentType, "text/plain") {
		t.Errorf("asked for nothing, got %s", contentType)
	}
}

// TestHistogram: classic buckets for those who read text, a native histogram for those who can.
func TestHistogram(t *testing.T) {
	m := newMetrics()
	fill(m)
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "pullwatch_cri_call_duration_seconds" {
			continue
		}
		for _, metric := range family.GetMetric() {
			h := metric.GetHistogram()
			if len(h.GetBucket()) != 4 || h.Schema == nil || h.GetZeroThreshold() == 0 || len(h.GetPositiveSpan()) == 0 {
				t.Errorf("%d classic buckets, native schema %v, spans %v: want both kinds", len(h.GetBucket()), h.Schema, h.GetPositiveSpan())
			}
		}
		return
	}
	t.Error("no histogram of CRI calls")
}

// TestUnknownYet: what nobody has told is not shown, rather than shown as 0.
func TestUnknownYet(t *testing.T) {
	m := newMetrics()
	all := samples(t, m)
	for _, name := range []string{"pullwatch_node_info", "pullwatch_runtime_", "pullwatch_images", "pullwatch_container_failing_since", "pullwatch_check_", "pullwatch_api_stream_up",
		"pullwatch_registry_up", "pullwatch_registry_probe", "pullwatch_registry_config"} {
		if got := having(all, name); len(got) > 0 {
			t.Errorf("before anything is known: %v", got)
		}
	}
	if got := having(all, "pullwatch_containers_failing{"); len(got) != len(cause.All()) {
		t.Errorf("%d series of containers failing, want one for each of the %d causes", len(got), len(cause.All()))
	}
	for series, value := range having(all, "pullwatch_containers_failing") {
		if value != "0" {
			t.Errorf("%s %s, want 0", series, value)
		}
	}

	m.SetRuntime(Runtime{Images: -1})
	all = samples(t, m)
	wantSamples(t, having(all, "pullwatch_runtime_"), map[string]string{"pullwatch_runtime_reachable": "0", "pullwatch_runtime_up": "0", "pullwatch_runtime_ready": "0"})
	wantSamples(t, having(all, "pullwatch_images"), map[string]string{})
	m.SetRuntime(Runtime{Reachable: true})
	wantSamples(t, having(samples(t, m), "pullwatch_images"), map[string]string{
		"pullwatch_images": "0", "pullwatch_images_unused": "0", `pullwatch_images_wrong_platform{used="true"}`: "0", `pullwatch_images_wrong_platform{used="false"}`: "0", "pullwatch_images_pulled_again_total": "0",
	})

	// A check that never succeeded says so; one that did keeps its time.
	m.ObserveCheck("runtime", time.Second, noon, false)
	wantSamples(t, having(samples(t, m), "pullwatch_check_last"), map[string]string{`pullwatch_check_last_success_timestamp_seconds{check="runtime"}`: "0"})
	m.ObserveCheck("runtime", time.Second, noon, true)
	m.ObserveCheck("runtime", 2*time.Second, noon.Add(time.Hour), false)
	wantSamples(t, having(samples(t, m), `{check="runtime"}`), map[string]string{
		`pullwatch_check_last_success_timestamp_seconds{check="runtime"}`: "1.7937072e+09",
		`pullwatch_check_success{check="runtime"}`:                        "0",
		`pullwatch_check_duration_seconds{check="runtime"}`:               "2",
	})
}

// TestNow: gauges show the present and nothing of the past.
func TestNow(t *testing.T) {
	m := newMetrics()
	fill(m)
	m.SetNode(Node{Kernel: "6.1.0-29-arm64"})
	m.SetFailing([]Failing{{Namespace: "shop", Pod: "web-0", Container: "app", Kind: "container", Image: "x", Registry: "docker.io", Cause: cause.DNS, Scope: cause.ScopeNetwork, Since: noon}})
	all := samples(t, m)
	if got := having(all, "pullwatch_node_info"); len(got) != 1 || len(having(got, `kernel_version="6.1.0-29-arm64"`)) != 1 {
		t.Errorf("node %v, want one, the present", got)
	}
	wantSamples(t, having(all, "pullwatch_container_failing_since"), map[string]string{
		`pullwatch_container_failing_since_timestamp_seconds{cause="dns",container="app",image="x",kind="container",namespace="shop",pod="web-0",registry="docker.io"}`: "1.7937072e+09"})
	if got := having(all, "pullwatch_containers_failing{", "ghcr.io"); len(got) != 0 {
		t.Errorf("what failed once: %v", got)
	}
	// Counters do not go back.
	wantSamples(t, having(all, "pullwatch_image_pull_failed_attempts_total"), map[string]string{
		`pullwatch_image_pull_failed_attempts_total{cause="not_found",registry="ghcr.io"}`: "2"})
}

// TestDuplicates: two series that are equal would fail the whole scrape.
func TestDuplicates(t *testing.T) {
	long := strings.Repeat("a", 600)
	f := Failing{Namespace: "shop", Pod: "web", Container: "app", Kind: "container", Image: long + "1", Cause: cause.DNS, Scope: cause.ScopeNetwork, Since: noon}
	g := f
	g.Image, g.Since = long+"2", noon.Add(time.Minute)
	m := newMetrics()
	m.SetFailing([]Failing{f, g, f})
	if got := having(samples(t, m), "pullwatch_container_failing_since"); len(got) != 1 {
		t.Errorf("series %v, want one", got)
	}
}

// TestMaxFailing: a node on which everything fails has a bounded number of series. Those that fail longest stay, the rest is counted.
func TestMaxFailing(t *testing.T) {
	for _, most := range []int{0, 2, 3, 5, 6} {
		m := New(Options{MaxFailing: most, MaxRegistries: 20})
		var failing []Failing
		for _, i := range []int{3, 0, 4, 1, 2} { // i: in the order of how long
			failing = append(failing, Failing{Namespace: "shop", Pod: fmt.Sprint("web-", i), Container: "app", Kind: "container", Image: "x", Registry: "docker.io",
				Cause: cause.NotFound, Scope: cause.ScopeWorkload, Since: noon.Add(time.Duration(i) * time.Minute)})
		}
		m.SetFailing(failing)
		all := samples(t, m)
		shown := having(all, "pullwatch_container_failing_since")
		if len(shown) != min(most, 5) {
			t.Errorf("at most %d: %d series", most, len(shown))
		}
		for i := range min(most, 5) {
			if len(having(shown, fmt.Sprintf(`pod="web-%d"`, i))) != 1 {
				t.Errorf("at most %d: web-%d, which fails longer, is not among %v", most, i, shown)
			}
		}
		wantSamples(t, having(all, "without_series"), map[string]string{"pullwatch_containers_failing_without_series": fmt.Sprint(5 - min(most, 5))})
		wantSamples(t, having(all, "pullwatch_containers_failing{", "not_found", "docker.io"), map[string]string{
			`pullwatch_containers_failing{cause="not_found",registry="docker.io",scope="workload"}`: "5"})
	}
}

// TestSeriesOfHealthyNode: what a node costs a Prometheus while nothing fails, whatever runs on it.
func TestSeriesOfHealthyNode(t *testing.T) {
	m := newMetrics()
	m.SetNode(Node{Architecture: "amd64", Kernel: "6.1"})
	m.SetRuntime(Runtime{Reachable: true, Up: true, Ready: true, Images: 42})
	m.SetEstablished([]string{"docker.io", "ghcr.io", "quay.io", "registry.k8s.io"})
	for _, method := range []string{"Status", "Version", "ListImages", "ListContainers", "ImageFsInfo", "ImageStatus"} { // what the agent's checks call
		m.ObserveCall(method, "OK", time.Millisecond)
	}
	for _, check := range []string{"runtime", "images", "disk"} {
		m.ObserveCheck(check, time.Millisecond, noon, true)
	}
	m.SetStream("pods", true)
	m.SetStream("nodes", true)
	m.SetFailing(nil)
	m.SetConditions([]Condition{{Type: "ContainerRuntimeUnavailable"}, {Type: "ImagePullFailing"}, {Type: "RegistryUnreachable"}, {Type: "ImageFilesystemPressure"}})
	probes := []RegistryProbe{reached("registry.k8s.io"), reached("docker.io")}
	probes[1].Phases["token"] = 80 * time.Millisecond
	probes[1].RateLimit = &RateLimit{Limit: 100, Remaining: 97, Window: 6 * time.Hour, Source: "anonymous"}
	for _, p := range probes {
		m.CountRegistryProbe(p.Registry, cause.None)
	}
	m.SetRegistryProbes(probes)
	m.CountImageProbe("docker.io", cause.None)
	m.SetImagesMissing(map[string]int{"docker.io": 0, "registry.k8s.io": 0})
	fine := true
	disk := &Disk{Filesystems: []Filesystem{{Name: "imagefs", Inodes: 1}, {Name: "nodefs", Inodes: 1}}, GC: &ImageGC{}, Findings: []string{"gc_meets_eviction"}, SandboxPresent: &fine, SandboxPinned: &fine}
	for _, signal := range []string{"imagefs", "nodefs"} { // as the defaults have them on two filesystems
		disk.Thresholds = append(disk.Thresholds, EvictionThreshold{Signal: signal + ".available", Kind: "hard"}, EvictionThreshold{Signal: signal + ".inodesFree", Kind: "hard", Inodes: true})
	}
	m.SetDisk(disk)
	m.SetPressure(map[string]float64{"cpu": 0, "memory": 0, "io": 0})
	all := samples(t, m)
	own := len(having(all, "pullwatch_"))
	t.Logf("%d series on a healthy node: %d of Pullwatch, %d of the Go runtime and the process", len(all), own, len(all)-own)
	if len(all) > 150 {
		t.Errorf("%d series, want at most 150", len(all))
	}
	if len(all) == own || len(having(all, "process_open_fds")) != 1 || len(having(all, "go_goroutines")) != 1 {
		t.Error("the Go runtime and the process are not shown")
	}
	if len(having(all, "go_info", runtime.Version())) != 1 {
		t.Error("the page is not read as it is written")
	}
}

func TestLabel(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "",
		"docker.io":              "docker.io",
		"é\n\"\\":                "é\n\"\\",
		"a\xffb":                 "a\uFFFDb",
		strings.Repeat("a", 512): strings.Repeat("a", 512),
		strings.Repeat("a", 513): strings.Repeat("a", 512),
	} {
		if got := Label(text); got != want {
			t.Errorf("Label(%q) = %q, want %q", text, got, want)
		}
	}
}

// TestHostileLabels: whatever a pod's author or a runtime may write, the page stays readable.
func TestHostileLabels(t *testing.T) {
	const bad = "x\xff\"}\n\\ 1\x00"
	m := newMetrics()
	m.SetNode(Node{Architecture: bad, OS: bad, OSImage: bad, Kernel: bad, Runtime: bad, RuntimeVersion: bad, Kubelet: bad})
	m.SetEstablished([]string{bad + "established"})
	m.SetFailing([]Failing{{Namespace: bad, Pod: bad, Container: bad, Kind: "container", Image: bad, Registry: bad, Cause: cause.DNS, Scope: cause.ScopeNetwork}})
	m.CountFailure(cause.DNS, bad)
	m.CountAttempt(cause.DNS, bad+"established")
	for _, accept := range []string{"", "application/openmetrics-text;version=1.0.0"} {
		_, page := scrape(t, m, accept)
		if !utf8.ValidString(page) {
			t.Errorf("accept %q: not UTF-8", accept)
		}
		if !strings.Contains(page, `namespace="x`+"\uFFFD"+`\"}\n\\ 1`) {
			t.Errorf("accept %q: no escaped namespace in\n%s", accept, having(samples(t, m), "failing_since"))
		}
	}
}

// TestConcurrent: everything is set while everything is scraped. The race detector is the judge.
func TestConcurrent(t *testing.T) {
	m := newMetrics()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 50 {
				fill(m)
				r := fmt.Sprintf("r%d-%d.example", i, n)
				m.CountFailure(cause.DNS, r)
				m.CountRegistryProbe(r, cause.DNS)
				m.SetRegistryProbes([]RegistryProbe{mirrored, reached(r)})
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for range 25 {
				if _, err := m.Gatherer().Gather(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := having(samples(t, m), `pullwatch_image_pull_failures_total{cause="not_found",registry="ghcr.io"}`); len(got) != 1 {
		t.Errorf("counted: %v", got)
	}
}
