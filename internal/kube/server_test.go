package kube

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// TestMain lets all streams run at once: they wait for the reflector's back-off (0.8 s and up), not for a processor.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// token is what no message may show.
const token = "s3cr3t-t0ken"

// patience bounds every wait of a test.
const patience = 10 * time.Second

// server answers as a test tells it to and keeps what it was asked.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	answer http.HandlerFunc
	asked  []*http.Request
}

func serve(t *testing.T, answer http.HandlerFunc) *server {
	s := &server{answer: answer}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r)
	answer := s.answer
	s.mu.Unlock()
	answer(w, r)
}

func (s *server) answerWith(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *server) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// goes makes the server as good as dead: nothing listens there any more and every connection is cut.
func (s *server) goes(t *testing.T) {
	t.Helper()
	s.Listener.Close()
	s.CloseClientConnections()
}

// comesBack listens at the same address again.
func (s *server) comesBack(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	again := &http.Server{Handler: s}
	go again.Serve(l)
	t.Cleanup(func() { again.Close() })
}

func (s *server) client(t *testing.T) *Client {
	t.Helper()
	c, err := New(Config{Kubeconfig: kubeconfig(t, s.URL), NodeName: "node-1", UserAgent: "pullwatch/1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func kubeconfig(t *testing.T, url string) string {
	t.Helper()
	return write(t, fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c",
"clusters": [{"name": "c", "cluster": {"server": %q}}], "users": [{"name": "u", "user": {"token": %q}}],
"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}`, url, token))
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// reply writes an object as an API server does.
func reply(w http.ResponseWriter, code int, object runtime.Object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}

// refuse answers with a Status.
func refuse(code int, reason metav1.StatusReason, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		reply(w, code, &metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: int32(code), Reason: reason, Message: message})
	}
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// cluster is pods or a node that can be listed and watched, in resource version order.
type cluster struct {
	mu      sync.Mutex
	version int
	objects map[string]runtime.Object // by UID
	watches []chan string
}

func newCluster(objects ...runtime.Object) *cluster {
	c := &cluster{version: 100, objects: make(map[string]runtime.Object)}
	for _, o := range objects {
		c.put(o)
	}
	return c
}

// put adds or changes an object.
func (c *cluster) put(o runtime.Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	uid := c.stamp(o)
	what := "MODIFIED"
	if c.objects[uid] == nil {
		what = "ADDED"
	}
	c.objects[uid] = o
	c.tell(what, o)
}

func (c *cluster) remove(o runtime.Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.objects, c.stamp(o))
	c.tell("DELETED", o)
}

// removeUnseen removes an object behind the watches' back.
func (c *cluster) removeUnseen(o runtime.Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.objects, c.stamp(o))
}

// say sends any line on every watch.
func (c *cluster) say(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.watches {
		w <- line
	}
}

// hangUp ends every watch, as an API server does every now and then.
func (c *cluster) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.watches {
		close(w)
	}
	c.watches = nil
}

func (c *cluster) stamp(o runtime.Object) (uid string) {
	c.version++
	m := o.(metav1.Object)
	m.SetResourceVersion(fmt.Sprint(c.version))
	return string(m.GetUID())
}

func (c *cluster) tell(what string, o runtime.Object) {
	line := event(what, o)
	for _, w := range c.watches {
		w <- line
	}
}

func event(what string, o runtime.Object) string {
	object, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"type":%q,"object":%s}`+"\n", what, object)
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("watch") == "" {
		c.list(w, r)
		return
	}
	c.mu.Lock()
	changes := make(chan string, 100)
	c.watches = append(c.watches, changes)
	c.mu.Unlock()

	w.Header().Set("Content-Type", "application/json;stream=watch")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case line, ok := <-changes:
			if !ok {
				return
			}
			fmt.Fprint(w, line)
			_ = http.NewResponseController(w).Flush()
		}
	}
}

func (c *cluster) list(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	meta := metav1.ListMeta{ResourceVersion: fmt.Sprint(c.version)}
	if r.URL.Path == "/api/v1/nodes" {
		list := &corev1.NodeList{TypeMeta: kindOf("NodeList"), ListMeta: meta}
		for _, o := range c.objects {
			list.Items = append(list.Items, *o.(*corev1.Node))
		}
		reply(w, http.StatusOK, list)
		return
	}
	list := &corev1.PodList{TypeMeta: kindOf("PodList"), ListMeta: meta}
	for _, o := range c.objects {
		list.Items = append(list.Items, *o.(*corev1.Pod))
	}
	reply(w, http.StatusOK, list)
}

func kindOf(kind string) metav1.TypeMeta { return metav1.TypeMeta{Kind: kind, APIVersion: "v1"} }

// aPod is a pod with one container that waits.
func aPod(name, reason string) *corev1.Pod {
	return &corev1.Pod{
		TypeMeta: kindOf("Pod"), ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("uid-" + name)},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "app", Image: "ghcr.io/shop/" + name}}},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "app", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}}},
	}
}

func aNode(version string) *corev1.Node {
	return &corev1.Node{TypeMeta: kindOf("Node"), ObjectMeta: metav1.ObjectMeta{Name: "node-1", UID: "uid-node"},
		Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{KubeletVersion: version}}}
}

// next waits for what is told next.
func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("nothing told in %s", patience)
		panic("unreachable")
	}
}

// until waits for something to be true.
func until(t *testing.T, done func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("not in %s", patience)
		}
	}
}

// nothing checks that no more was told than was read.
func nothing[T any](t *testing.T, from <-chan T) {
	t.Helper()
	select {
	case v := <-from:
		t.Errorf("told as well: %+v", v)
	default:
	}
}

// run runs a stream. What it gives back stops it and waits for its end.
func run(t *testing.T, s *Stream) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	stop = func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			t.Errorf("the stream still runs %s after its context ended", patience)
		}
	}
	t.Cleanup(stop)
	return stop
}
