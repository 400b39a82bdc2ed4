package agent_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/internal/kube/kubetest"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/pkg/cri/critest"
)

func TestMain(m *testing.M) {
	klog.SetLogger(logr.Discard()) // as the program does
	os.Exit(m.Run())
}

const node = "node-a"

// world is an agent with its fakes around it.
type world struct {
	*testing.T
	api     *kubetest.Server
	runtime *critest.Runtime
	dir     string // short, for sockets
	base    string // URL of the open port
	socket  string
	log     *agent.Log
	agent   *agent.Agent
	stop    func() error
	every   time.Duration // interval of the checks

	prepared func(*agent.Agent) // called before it runs
}

// newWorld prepares the fakes with one node and no pod. The agent is not running yet.
func newWorld(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "pw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &world{T: t, api: kubetest.Start(t), runtime: critest.Start(t, critest.Containerd16), dir: dir, socket: filepath.Join(dir, "run", "a.sock"), every: 50 * time.Millisecond}
	w.api.SetNode(kubetest.NewNode(node))
	return w
}

// run starts an agent; what it is told may be changed first. It is stopped with the test at the latest.
func (w *world) run(change ...func(*agent.Config)) {
	w.Helper()
	kubeconfig, err := w.api.Kubeconfig(w.dir)
	if err != nil {
		w.Fatal(err)
	}
	client, err := kube.New(kube.Config{Kubeconfig: kubeconfig, NodeName: node, UserAgent: "pullwatch/test"})
	if err != nil {
		w.Fatal(err)
	}
	address := freeAddress(w.T)
	w.base = "http://" + address
	w.log = &agent.Log{}
	config := agent.Config{
		Version: "1.2.3", NodeName: node, Settings: cri.Settings{RuntimeEndpoint: w.runtime.Endpoint(), Root: w.dir}, Timeout: 500 * time.Millisecond,
		Kube: client, MaxFailingSeries: 100, MaxRegistries: 20, Listen: address, Socket: w.socket, Log: w.log.Logger(),
	}
	for _, f := range change {
		f(&config)
	}
	w.agent = agent.New(config)
	w.agent.Hurry(w.every)
	if w.prepared != nil {
		w.prepared(w.agent)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.agent.Run(ctx) }()
	w.until("the socket", func() bool { _, err := agent.Fetch(w.Context(), w.socket); return err == nil })
	stopped := false
	w.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(10 * time.Second):
			w.Error("the agent does not stop")
			return nil
		}
	}
	w.Cleanup(func() {
		if err := w.stop(); err != nil {
			w.Errorf("the agent ended with %v", err)
		}
		for _, secret := range []string{critest.Secret, kubetest.Token} {
			if strings.Contains(w.log.String(), secret) {
				w.Errorf("the log shows the secret %s", secret)
			}
		}
		if w.Failed() {
			w.Logf("log of the agent:\n%s", w.log)
		}
	})
}

// freeAddress is a port that was free just now.
func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// until waits for something to become true.
func (w *world) until(what string, is func() bool) {
	w.Helper()
	for deadline := time.Now().Add(15 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("not seen in 15 s: %s", what)
		}
	}
}

// soon is until for what is next to come: what is not seen in 3 s fails the test.
func (w *world) soon(what string, is func() bool) {
	w.Helper()
	for deadline := time.Now().Add(3 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Errorf("not seen in 3 s: %s", what)
			return
		}
	}
}

// get asks the open port; a server that is not there is status 0.
func (w *world) get(path string) (status int, body string) {
	w.Helper()
	request, err := http.NewRequestWithContext(w.Context(), http.MethodGet, w.base+path, nil)
	if err != nil {
		w.Fatal(err)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func (w *world) ready() bool { status, _ := w.get("/readyz"); return status == http.StatusOK }

// metric tells whether /metrics has this line, value included.
func (w *world) metric(line string) bool {
	w.Helper()
	_, body := w.get("/metrics")
	return strings.Contains("\n"+body, "\n"+line+"\n")
}

// fetch asks over the socket, as a subcommand does.
func (w *world) fetch() *agent.Snapshot {
	w.Helper()
	s, err := agent.Fetch(w.Context(), w.socket)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

func (w *world) failures() []pulls.Failure {
	w.Helper()
	return w.fetch().Failures.Value
}

func (w *world) failing(c cause.Cause) func() bool {
	return func() bool { f := w.failures(); return len(f) == 1 && f[0].Cause == c }
}

const (
	image    = "registry.example.com/shop/cart:2.3"
	notFound = `rpc error: code = NotFound desc = failed to pull and unpack image "` + image + `": failed to resolve reference "` + image + `": ` + image + `: not found`
	denied   = `failed to pull and unpack image "` + image + `": failed to resolve reference "` + image + `": failed to authorize: failed to fetch oauth token: unexpected status: 401 Unauthorized`
)

func pod() *corev1.Pod { return kubetest.NewPod(node, "shop", "cart-1", "app", image) }

const (
	countFound = `pullwatch_image_pull_failures_total{cause="not_found",registry="registry.example.com"} 1`
	nowFailing = `pullwatch_containers_failing{cause="not_found",registry="registry.example.com",scope="workload"} 1`
)

func TestFailureShowsAndEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	w.until("ready", w.ready)
	w.api.SetPod(kubetest.Waiting(kubetest.NewPod("node-b", "shop", "cart-9", "app", image), "ErrImagePull", notFound))
	w.api.SetPod(pod())
	w.api.SetPod(kubetest.Waiting(pod(), "ErrImagePull", notFound))
	w.until("the failure", w.failing(cause.NotFound))
	f := w.failures()[0]
	if f.Namespace != "shop" || f.Pod != "cart-1" || f.Container != "app" || f.Registry != "registry.example.com" || f.Scope != cause.ScopeWorkload ||
		f.Basis != pulls.BasisText || f.SinceFrom != pulls.Observed || f.Attempts != 1 || f.AttemptsFrom != pulls.Observed || f.NextTry.IsZero() || f.Advice == "" {
		t.Errorf("got %+v", f)
	}
	for _, line := range []string{nowFailing, countFound, `pullwatch_api_stream_up{resource="pods"} 1`, `pullwatch_api_stream_up{resource="nodes"} 1`,
		"pullwatch_runtime_up 1", "pullwatch_runtime_ready 1", "pullwatch_runtime_reachable 1", "pullwatch_images 2",
		`pullwatch_check_success{check="runtime"} 1`, `pullwatch_check_success{check="images"} 1`} {
		if !w.metric(line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	s := w.fetch()
	if s.Schema != agent.SnapshotSchema || s.Version != "1.2.3" || s.NodeName != node || s.Node.Value.KubeletVersion != "v1.34.1" ||
		s.Runtime.Value.Name != "containerd" || s.Images.Value.Count != 2 || len(s.Images.Value.Registries) == 0 {
		t.Errorf("snapshot %+v", s)
	}

	w.api.SetPod(kubetest.Waiting(pod(), "ImagePullBackOff", `Back-off pulling image "`+image+`": ErrImagePull: `+notFound))
	w.barrier()
	if f := w.failures()[0]; f.Cause != cause.NotFound || f.Attempts != 1 || !w.metric(countFound) {
		t.Errorf("in back-off: %+v", f)
	}
	w.api.SetPod(kubetest.Running(pod()))
	w.until("the recovery", func() bool { return len(w.failures()) == 0 })
	if w.metric(nowFailing) || !w.metric(countFound) {
		t.Error("after the recovery: the gauge stands, or the counter has moved")
	}
	if n := w.log.Count(`msg="image pull fails no longer" namespace=shop`); n != 1 {
		t.Errorf("%d lines of the recovery", n)
	}
	if n := w.log.Count("stream of the API server lost"); n != 0 {
		t.Errorf("%d lines of a lost stream though nothing was lost", n)
	}
	if n := w.api.Count("list", "events") + w.api.Count("watch", "events"); n != 0 {
		t.Errorf("events asked for %d times though the status said all", n)
	}
	for _, r := range w.api.Requests() {
		if r.Resource() == "pods" && r.Query.Get("fieldSelector") != "spec.nodeName="+node {
			t.Errorf("pods asked for by %q", r.Query.Get("fieldSelector"))
		}
		if r.UserAgent != "pullwatch/test" || !strings.HasPrefix(r.Accept, "application/vnd.kubernetes.protobuf") {
			t.Errorf("%s as %q, accepting %q", r.Path, r.UserAgent, r.Accept)
		}
	}
}

// What failed before the agent looked is shown and not counted, whether the agent or the API server began anew.
func TestRelistAndRestartNeverCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api.SetPod(kubetest.Waiting(pod(), "ErrImagePull", notFound))
	w.run()
	w.until("the failure of before", w.failing(cause.NotFound))
	if w.metric(countFound) {
		t.Error("counted though it failed before the agent started")
	}
	if f := w.failures()[0]; f.SinceFrom == pulls.Observed || f.AttemptsFrom == pulls.Observed {
		t.Errorf("since and attempts claim to be observed: %+v", f)
	}
	w.api.DeletePod("shop", "cart-1")
	w.until("it is gone", func() bool { return len(w.failures()) == 0 })
	w.api.SetPod(pod())
	w.api.SetPod(kubetest.Waiting(pod(), "ErrImagePull", notFound))
	w.until("a new failure", w.failing(cause.NotFound))
	if !w.metric(countFound) {
		t.Error("a new failure is not counted")
	}

	since := w.failures()[0].Since
	watches := w.api.Count("watch", "pods")
	w.api.Expire()
	w.until("a new list", func() bool { return w.api.Count("watch", "pods") > watches+1 || w.api.Count("list", "pods") > 0 })
	w.api.SetPod(kubetest.NewPod(node, "shop", "other", "app", image)) // something that comes after
	w.until("the stream again", func() bool { return w.metric(`pullwatch_api_stream_up{resource="pods"} 1`) })
	if !w.metric(countFound) || !w.failures()[0].Since.Equal(since) {
		t.Errorf("after a relist: %+v", w.failures())
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w.run()
	w.until("the failure", w.failing(cause.NotFound))
	if w.metric(countFound) {
		t.Error("counted again by an agent that was restarted")
	}
}

func TestCauseChangesAndRetriesCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	w.until("ready", w.ready)
	w.api.SetPod(pod())
	w.api.SetPod(kubetest.Waiting(pod(), "ErrImagePull", notFound))
	w.until("the failure", w.failing(cause.NotFound))
	w.api.SetPod(kubetest.Waiting(pod(), "ErrImagePull", denied))
	w.until("the new cause", w.failing(cause.Unauthorized))
	if n := w.log.Count("image pull fails for another cause"); n != 1 {
		t.Errorf("%d lines of the change", n)
	}
	for _, line := range []string{countFound, `pullwatch_image_pull_failed_attempts_total{cause="not_found",registry="registry.example.com"} 1`,
		`pullwatch_image_pull_failed_attempts_total{cause="unauthorized",registry="registry.example.com"} 1`} {
		if !w.metric(line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	if w.metric(`pullwatch_image_pull_failures_total{cause="unauthorized",registry="registry.example.com"} 1`) {
		t.Error("one failure that changed its cause is counted as two")
	}
}

// A pod whose sandbox image cannot be pulled says nothing in its status: its events are asked once it is stuck.
func TestSandboxImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	w.until("ready", w.ready)
	stuck := pod()
	started := metav1.NewTime(time.Now().Add(-time.Minute))
	stuck.Status.StartTime = &started
	w.api.SetPod(stuck)
	stuck = w.api.Pod("shop", "cart-1")
	const pause = "registry.k8s.io/pause:3.10"
	w.api.AddEvent(kubetest.NewEvent(stuck, false, "FailedCreatePodSandBox",
		`Failed to create pod sandbox: rpc error: code = Unknown desc = failed to start sandbox "0123": failed to get sandbox image "`+pause+
			`": failed to pull image "`+pause+`": failed to pull and unpack image "`+pause+`": failed to resolve reference "`+pause+
			`": failed to do request: Head "https://registry.k8s.io/v2/pause/manifests/3.10": dial tcp: lookup registry.k8s.io on 10.0.0.1:53: no such host`,
		4, started.Time, time.Now()))
	w.until("the sandbox", w.failing(cause.DNS))
	f := w.failures()[0]
	if f.Kind != kube.KindSandbox || f.Container != "" || f.Scope != cause.ScopeNode || f.Image != pause || f.SinceFrom != pulls.Event || f.Attempts != 4 {
		t.Errorf("got %+v", f)
	}
	for _, r := range w.api.Requests() {
		if r.Resource() != "events" {
			continue
		}
		want := "involvedObject.name=cart-1,involvedObject.uid=" + string(stuck.UID)
		if r.Verb() != "list" || r.Path != "/api/v1/namespaces/shop/events" || r.Query.Get("fieldSelector") != want || r.Query.Get("limit") == "" {
			t.Errorf("events asked for by %s %s", r.Verb(), r.Path+"?"+r.Query.Encode())
		}
	}
	w.api.SetPod(kubetest.Running(stuck))
	w.until("the recovery", func() bool { return len(w.failures()) == 0 })
}

// An old kubelet names no cause while it backs off; the pod's events do.
func TestBareBackOffAsksEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api.SetPod(kubetest.Waiting(pod(), "ImagePullBackOff", `Back-off pulling image "`+image+`"`))
	p := w.api.Pod("shop", "cart-1")
	first := time.Now().Add(-3 * time.Minute).Truncate(time.Second)
	w.api.AddEvent(kubetest.NewEvent(p, true, "Failed", `Failed to pull image "`+image+`": `+notFound, 3, first, time.Now().Add(-time.Minute)))
	w.run()
	w.until("the cause from the events", w.failing(cause.NotFound))
	if f := w.failures()[0]; !f.Since.Equal(first) || f.SinceFrom != pulls.Event || f.Attempts != 3 || f.AttemptsFrom != pulls.Event || f.NextTry.IsZero() {
		t.Errorf("got %+v", f)
	}
	if !w.metric(`pullwatch_event_lookups_total{result="ok"} 1`) {
		t.Error("the lookup is not counted")
	}
}

// What the kubelet says last is what is shown, though the cause is the same.
func TestReasonFollowsTheKubelet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	w.until("ready", w.ready)
	w.api.SetPod(kubetest.Waiting(pod(), "ErrImagePull", notFound))
	w.until("the failure", w.failing(cause.NotFound))
	w.api.SetPod(kubetest.Waiting(pod(), "ImagePullBackOff", `Back-off pulling image "`+image+`": ErrImagePull: `+notFound))
	w.soon("the reason of the back-off", func() bool { return w.failures()[0].Reason == "ImagePullBackOff" })
}

// Of a failure that the agent found when it started, the events tell since when and how often, though the cause was known before.
func TestTimesFromEventsShow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api.SetPod(kubetest.Waiting(pod(), "ErrImagePull", notFound))
	first := time.Now().Add(-3 * time.Minute).Truncate(time.Second)
	w.api.AddEvent(kubetest.NewEvent(w.api.Pod("shop", "cart-1"), true, "Failed", `Failed to pull image "`+image+`": `+notFound, 3, first, time.Now()))
	w.run()
	w.until("the question", func() bool { return w.metric(`pullwatch_event_lookups_total{result="ok"} 1`) })
	w.soon("since and attempts of the event", func() bool {
		f := w.failures()[0]
		return f.SinceFrom == pulls.Event && f.Since.Equal(first) && f.Attempts == 3
	})
}

func TestEventsForbiddenCostOnlyWhatTheyTell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api.Forbid("events")
	w.api.SetPod(kubetest.Waiting(pod(), "ImagePullBackOff", `Back-off pulling image "`+image+`"`))
	w.run()
	w.until("the failed lookup", func() bool { return w.metric(`pullwatch_event_lookups_total{result="error"} 1`) })
	if !w.failing(cause.Unknown)() || !w.ready() {
		t.Errorf("got %+v", w.failures())
	}
}

func TestRuntimeTroubles(t *testing.T) {
	for _, test := range []struct {
		name          string
		break_, mend  func(*world)
		reachable, up string
	}{
		{"down", func(w *world) { w.runtime.Stop() }, func(w *world) { w.must(w.runtime.Restart()) }, "0", "0"},
		{"killed", func(w *world) { w.runtime.Refuse() }, func(w *world) { w.must(w.runtime.Restart()) }, "0", "0"},
		{"hung", func(w *world) { w.runtime.SetHang(true) }, func(w *world) { w.runtime.SetHang(false) }, "1", "0"},
		{"rubbish", func(w *world) { w.runtime.SetRubbish([]byte("SSH-2.0-OpenSSH_9.2\r\n")) }, func(w *world) { w.runtime.SetRubbish(nil) }, "1", "0"},
		{"not ready", func(w *world) { w.runtime.SetCondition("RuntimeReady", false, "Broken", "no shim") },
			func(w *world) { w.runtime.SetCondition("RuntimeReady", true, "", "") }, "1", "1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.run()
			w.until("up", func() bool {
				return w.metric("pullwatch_runtime_up 1") && w.metric("pullwatch_runtime_ready 1") && w.ready()
			})
			test.break_(w)
			w.until("the trouble", func() bool {
				return w.metric("pullwatch_runtime_ready 0") && w.metric("pullwatch_runtime_up "+test.up) && w.metric("pullwatch_runtime_reachable "+test.reachable)
			})
			if s := w.fetch(); s.Runtime.Value.Ready || s.Runtime.Value.Reason == "" || s.Runtime.Value.Endpoint != w.runtime.Endpoint() {
				t.Errorf("snapshot %+v", s.Runtime)
			}
			if test.name == "rubbish" {
				w.until("it is counted", func() bool { return !w.metric(`pullwatch_bad_input_total{source="runtime"} 0`) })
			}
			if status, _ := w.get("/healthz"); status != http.StatusOK {
				t.Errorf("healthz %d: this process is well whatever the runtime does", status)
			}
			test.mend(w)
			w.until("the recovery", func() bool {
				return w.metric("pullwatch_runtime_up 1") && w.metric("pullwatch_runtime_ready 1") && w.metric("pullwatch_runtime_reachable 1")
			})
			if n := w.log.Count("check=runtime"); n > 2 {
				t.Errorf("%d lines of the check, want one for each transition", n)
			}
		})
	}
}

// barrier waits until all that was set before was seen: another pod comes, fails and goes.
func (w *world) barrier() {
	w.Helper()
	n := len(w.failures())
	p := kubetest.NewPod(node, "zzz", "barrier", "app", "-")
	w.api.SetPod(kubetest.Waiting(p, "InvalidImageName", "couldn't parse image name: invalid reference format"))
	w.until("the barrier", func() bool { return len(w.failures()) == n+1 })
	w.api.DeletePod("zzz", "barrier")
	w.until("the barrier is gone", func() bool { return len(w.failures()) == n })
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// The runtime comes up after the agent, and no socket was named: it is found as soon as it is there.
func TestRuntimeComesLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runtime = critest.New(critest.CRIO)
	w.run(func(c *agent.Config) { c.Settings = cri.Settings{Root: w.dir} })
	w.until("readyz says what is missing", func() bool {
		status, body := w.get("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "container runtime not seen yet: find the container runtime: no socket on this node")
	})
	if !w.metric("pullwatch_runtime_up 0") {
		t.Error("a runtime that nobody found is up")
	}
	w.must(os.MkdirAll(filepath.Join(w.dir, "run/crio"), 0o755))
	w.must(w.runtime.Serve(filepath.Join(w.dir, "run/crio/crio.sock")))
	t.Cleanup(w.runtime.Stop)
	w.until("ready", w.ready)
	if s := w.fetch(); s.Runtime.Value.Name != "cri-o" {
		t.Errorf("snapshot %+v", s.Runtime)
	}
}

func TestAPIServerComesLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api.Down()
	w.api.SetPod(kubetest.Waiting(pod(), "ErrImagePull", notFound))
	w.run()
	w.until("readyz says what is missing", func() bool {
		status, body := w.get("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "API server not seen yet (pods)") &&
			strings.Contains(body, "connection refused") && !strings.Contains(body, "container runtime")
	})
	if s := w.fetch(); !s.Failures.At.IsZero() || s.Failures.Error == "" || s.Failures.Skipped {
		t.Errorf("without an API server: %+v", s.Failures)
	}
	if !w.metric(`pullwatch_api_stream_up{resource="pods"} 0`) || !w.metric("pullwatch_runtime_up 1") {
		t.Error("metrics without an API server")
	}
	w.must(w.api.Up())
	w.until("ready", w.ready)
	w.until("the failure", w.failing(cause.NotFound))
	if s := w.fetch(); s.Failures.Error != "" {
		t.Errorf("after it came: %+v", s.Failures)
	}
	if n := w.log.Count("stream of the API server lost"); n != 2 {
		t.Errorf("%d lines of lost streams, want one for each of two streams", n)
	}
}

// An API server that answers again has not told the pods yet: until it has, nobody may say that nothing fails.
func TestNothingIsKnownBeforeTheFirstList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api.Down()
	w.api.SetPod(kubetest.Waiting(pod(), "ErrImagePull", notFound))
	w.api.SetHold(true)
	w.run()
	w.until("the loss", func() bool { return w.fetch().Failures.Error != "" })
	w.must(w.api.Up())
	w.until("the list that is held", func() bool { return w.api.Count("list", "pods") > 0 })
	for deadline := time.Now().Add(500 * time.Millisecond); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if s := w.fetch(); !s.Failures.At.IsZero() {
			t.Errorf("failures known at %s to be %v though no list was seen", s.Failures.At, s.Failures.Value)
			break
		}
	}
	w.api.SetHold(false)
	w.until("the failure", w.failing(cause.NotFound))
}

// While the agent starts it is not ready, whenever it is asked. The race detector watches this one.
func TestNotReadyWhileStarting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api.SetHold(true)
	stop, asked := make(chan struct{}), make(chan bool)
	w.prepared = func(a *agent.Agent) {
		go func() {
			early := false
			for {
				select {
				case <-stop:
					asked <- early
					return
				default:
					early = early || a.Ready() == nil
				}
			}
		}()
	}
	w.run()
	w.until("the runtime", func() bool { return w.metric("pullwatch_runtime_up 1") })
	close(stop)
	if <-asked || w.ready() {
		t.Error("ready before the API server has told anything")
	}
}

func TestAPIServerTroubles(t *testing.T) {
	for _, test := range []struct {
		name        string
		break_      func(*kubetest.Server)
		mend        func(*kubetest.Server)
		says, hints string
	}{
		{"down", (*kubetest.Server).Down, func(s *kubetest.Server) { _ = s.Up() }, "connection refused", "Check that the API server runs"},
		{"unauthorized", func(s *kubetest.Server) { s.SetUnauthorized(true); s.CloseWatches() }, func(s *kubetest.Server) { s.SetUnauthorized(false) },
			"Unauthorized", "does not accept these credentials"},
		{"forbidden", func(s *kubetest.Server) { s.Forbid("pods"); s.CloseWatches() }, func(s *kubetest.Server) { s.Allow("pods") },
			"is forbidden", "Grant the service account list and watch on pods"},
		{"overloaded", func(s *kubetest.Server) { s.SetStatus(429); s.CloseWatches() }, func(s *kubetest.Server) { s.SetStatus(0) },
			"Too Many Requests", "overloaded"},
		{"rubbish", func(s *kubetest.Server) { s.SetRubbish([]byte("<html>sign in</html>")); s.CloseWatches() }, func(s *kubetest.Server) { s.SetRubbish(nil) },
			"", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.run()
			w.until("ready", w.ready)
			w.api.SetPod(pod())
			w.api.SetPod(kubetest.Waiting(pod(), "ErrImagePull", notFound))
			w.until("the failure", w.failing(cause.NotFound))
			test.break_(w.api)
			w.until("the loss", func() bool {
				return w.metric(`pullwatch_api_stream_up{resource="pods"} 0`) && strings.Contains(w.fetch().Failures.Error, test.says)
			})
			if f := w.failures(); len(f) != 1 || !w.metric(nowFailing) {
				t.Errorf("what was known is lost: %+v", f)
			}
			if !strings.Contains(w.log.String(), test.hints) {
				t.Errorf("no hint %q", test.hints)
			}
			test.mend(w.api)
			w.api.SetPod(kubetest.Running(pod()))
			w.until("the recovery", func() bool { return len(w.failures()) == 0 && w.metric(`pullwatch_api_stream_up{resource="pods"} 1`) })
			if !w.metric(countFound) {
				t.Error("the loss has moved the counter")
			}
		})
	}
}

// What the API server sends and nobody can read is counted, as the issue asks.
func TestRubbishOfTheAPIServerIsCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api.SetRubbish([]byte("<html>sign in</html>"))
	w.run()
	w.until("rubbish was sent", func() bool { return w.api.Count("list", "pods") > 2 })
	if n := w.log.Count("stream of the API server lost\" resource=pods"); n != 1 {
		t.Errorf("%d lines of one loss", n)
	}
	w.soon("it is counted", func() bool {
		_, body := w.get("/metrics")
		return strings.Contains(body, "pullwatch_bad_input_total") && !strings.Contains(body, `pullwatch_bad_input_total{source="apiserver"} 0`)
	})
}

func TestNoSuchNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api.DeleteNode(node)
	w.run()
	w.until("ready", w.ready)
	if s := w.fetch(); s.Node.Error != `the API server has no node "node-a"` {
		t.Errorf("snapshot %+v", s.Node)
	}
	if !strings.Contains(w.log.String(), "--node-name") {
		t.Error("no hint in the log")
	}
	w.api.SetNode(kubetest.NewNode(node))
	w.until("the node", func() bool { s := w.fetch(); return s.Node.Error == "" && s.Node.Value.Name == node })
}

func TestWithoutAPIServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(func(c *agent.Config) { c.Kube = nil })
	w.until("ready", w.ready)
	if s := w.fetch(); !s.Failures.Skipped || !s.Node.Skipped {
		t.Errorf("snapshot %+v", s)
	}
	w.until("a condition in the metrics, which no Node has", func() bool { return w.metric(`pullwatch_condition{type="ContainerRuntimeUnavailable"} 0`) })
	if n := len(w.api.Requests()); n != 0 {
		t.Errorf("%d requests to an API server it was told to do without", n)
	}
}

// Names and texts that a tenant chose reach the metrics as valid labels and the snapshot as valid JSON.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	w.until("ready", w.ready)
	const evil = "evil\x1b[2J\u202e\"} 1\n\\\xff/x:1"
	p := kubetest.NewPod(node, "shop", "evil", "app", evil)
	w.api.SetPod(p)
	w.api.SetPod(kubetest.Waiting(p, "InvalidImageName", "Failed to apply default image tag \""+evil+"\": couldn't parse image name: invalid reference format"))
	w.until("the failure", w.failing(cause.InvalidReference))
	_, body := w.get("/metrics")
	for _, line := range strings.Split(body, "\n") {
		if strings.HasPrefix(line, "pullwatch_container_failing_since") && !strings.HasSuffix(strings.TrimRight(line, "0123456789.e+"), "} ") {
			t.Errorf("a line of its own making: %q", line)
		}
	}
}

func TestSecretsShowNowhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	w.until("ready", w.ready)
	w.api.SetUnauthorized(true)
	w.api.CloseWatches()
	w.until("the loss", func() bool { return w.fetch().Failures.Error != "" })
	snapshot, err := json.Marshal(w.agent.Snapshot())
	w.must(err)
	_, metrics := w.get("/metrics")
	_, ready := w.get("/readyz")
	_, page := w.page()
	for where, text := range map[string]string{"snapshot": string(snapshot), "metrics": metrics, "readyz": ready, "page": page, "log": w.log.String()} {
		for _, secret := range []string{critest.Secret, kubetest.Token} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %s", where, secret)
			}
		}
	}
}

// A check that never comes back is what /healthz is for.
func TestStalledCheckIsUnhealthy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.every = time.Hour
	w.run()
	w.until("ready", w.ready)
	w.until("healthy", func() bool { status, body := w.get("/healthz"); return status == http.StatusOK && body == "ok\n" })
	w.agent.Age("images", 3*time.Hour)
	w.until("unhealthy", func() bool {
		status, body := w.get("/healthz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "check images has not finished a run for too long")
	})
}

func TestOpenPortShowsNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	w.until("ready", w.ready)
	for _, path := range []string{"/", agent.SnapshotPath, "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile", "/debug/vars", "/metrics/../v1/snapshot"} {
		if status, _ := w.get(path); status != http.StatusNotFound {
			t.Errorf("GET %s: %d, want 404", path, status)
		}
	}
	info, err := os.Stat(w.socket)
	w.must(err)
	if info.Mode().Perm() != 0o660 {
		t.Errorf("socket has mode %v", info.Mode())
	}
}

// A stop ends all that was started, and takes the socket away.
func TestStopLeavesNothing(t *testing.T) {
	// Not parallel: it counts goroutines.
	before := runtime.NumGoroutine()
	w := newWorld(t)
	w.run()
	w.until("ready", w.ready)
	w.must(w.stop())
	if _, err := os.Stat(w.socket); !os.IsNotExist(err) {
		t.Errorf("socket after the stop: %v", err)
	}
	if n := w.log.Count("msg=stopped"); n != 1 {
		t.Errorf("%d lines of the stop", n)
	}
	w.api.Close()
	w.runtime.Stop()
	left := 0
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if left = runtime.NumGoroutine() - before; left <= 0 {
			return
		}
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d goroutines left:\n%s", left, stacks[:runtime.Stack(stacks, true)])
}

// An agent that cannot open its socket serves nothing: what it had opened before is closed when Run returns.
func TestFailedStartLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.must(os.WriteFile(filepath.Join(w.dir, "file"), nil, 0o600))
	address := freeAddress(t)
	log := &agent.Log{}
	a := agent.New(agent.Config{Listen: address, Socket: filepath.Join(w.dir, "file"), Log: log.Logger(), Settings: cri.Settings{Root: w.dir}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := a.Run(ctx)
	if want := "listen on " + filepath.Join(w.dir, "file") + ": something that is no socket is in the way"; err == nil || err.Error() != want {
		t.Fatalf("got %v, want %s", err, want)
	}
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		l, err := net.Listen("tcp", address)
		if err == nil {
			l.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("Run has returned and %s is still served: %v", address, err)
		}
	}
}
