package kube

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
)

// TestRequests: what is asked for, to the letter. Anything wider would cost the API server more than the node is worth.
func TestRequests(t *testing.T) {
	first, last := metav1.NewTime(time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)), metav1.NewTime(time.Date(2026, 11, 3, 12, 5, 0, 0, time.UTC))
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v1/nodes/node-1":
			reply(w, 200, aNode("v1.34.4"))
		case "/api/v1/pods":
			reply(w, 200, &corev1.PodList{TypeMeta: kindOf("PodList"), Items: []corev1.Pod{*aPod("web", "ErrImagePull")}})
		case "/api/v1/namespaces/shop/events":
			reply(w, 200, &corev1.EventList{TypeMeta: kindOf("EventList"), Items: []corev1.Event{
				{Reason: "Failed", Message: "m", Count: 3, FirstTimestamp: first, LastTimestamp: last, InvolvedObject: corev1.ObjectReference{FieldPath: "spec.containers{app}"}}}})
		default:
			http.NotFound(w, r)
		}
	})
	c := s.client(t)
	if c.Host() != s.URL || c.NodeName() != "node-1" {
		t.Errorf("host %q, node %q", c.Host(), c.NodeName())
	}
	node, err := c.Node(t.Context())
	if err != nil || node.KubeletVersion != "v1.34.4" || node.UID != "uid-node" {
		t.Errorf("node %+v, %v", node, err)
	}
	pods, err := c.Pods(t.Context())
	if err != nil || len(pods) != 1 || pods[0].Name != "web" || pods[0].Containers[0].Reason != "ErrImagePull" {
		t.Errorf("pods %+v, %v", pods, err)
	}
	events, err := c.PodEvents(t.Context(), "shop", "web", "uid-web")
	want := []Event{{Reason: "Failed", Message: "m", FieldPath: "spec.containers{app}", Count: 3, First: first.Time, Last: last.Time}}
	if diff := cmp.Diff(want, events); diff != "" || err != nil {
		t.Errorf("events: %v (-want +got):\n%s", err, diff)
	}

	var asked []string
	for _, r := range s.requests() {
		asked = append(asked, r.Method+" "+r.URL.Path+"?"+r.URL.RawQuery)
		if accept := r.Header.Get("Accept"); accept != "application/vnd.kubernetes.protobuf,application/json" {
			t.Errorf("%s: accepts %q, want protobuf first", r.URL.Path, accept)
		}
		if r.UserAgent() != "pullwatch/1.2.3" {
			t.Errorf("%s: user agent %q", r.URL.Path, r.UserAgent())
		}
	}
	if diff := cmp.Diff([]string{
		"GET /api/v1/nodes/node-1?resourceVersion=0",
		"GET /api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1&resourceVersion=0",
		"GET /api/v1/namespaces/shop/events?fieldSelector=involvedObject.name%3Dweb%2CinvolvedObject.uid%3Duid-web&limit=100",
	}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// TestProtobuf: real API servers answer in it.
func TestProtobuf(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
		var object runtime.Object = aNode("v1.34.4")
		if r.URL.Path == "/api/v1/pods" {
			object = &corev1.PodList{TypeMeta: kindOf("PodList"), Items: []corev1.Pod{*aPod("web", "ErrImagePull")}}
		}
		if err := protobuf.NewSerializer(scheme, scheme).Encode(object, w); err != nil {
			t.Error(err)
		}
	})
	c := s.client(t)
	if node, err := c.Node(t.Context()); err != nil || node.KubeletVersion != "v1.34.4" {
		t.Errorf("node %+v, %v", node, err)
	}
	if pods, err := c.Pods(t.Context()); err != nil || len(pods) != 1 || pods[0].Containers[0].Reason != "ErrImagePull" {
		t.Errorf("pods %+v, %v", pods, err)
	}
}

// TestErrors: what a person reads of each way to fail: one line with what and where, one with what to do, and no secret.
func TestErrors(t *testing.T) {
	text := func(code int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, tc := range map[string]struct {
		answer   http.HandlerFunc
		say      string
		hint     string
		notFound bool
	}{
		"unauthorized":     {refuse(401, metav1.StatusReasonUnauthorized, "Unauthorized"), "Unauthorized", "credentials", false},
		"forbidden":        {refuse(403, metav1.StatusReasonForbidden, `nodes "node-1" is forbidden: User "u" cannot get resource "nodes"`), "is forbidden", "Grant the service account list and watch on pods", false},
		"no such node":     {refuse(404, metav1.StatusReasonNotFound, `nodes "node-1" not found`), `nodes "node-1" not found`, "--node-name", true},
		"overloaded":       {refuse(429, metav1.StatusReasonTooManyRequests, "too many requests"), "too many requests", "overloaded", false},
		"server error":     {refuse(500, metav1.StatusReasonInternalError, "etcdserver: no leader"), "etcdserver: no leader", "API server runs", false},
		"a proxy's page":   {text(502, "text/html", "<html>\n<h1>Bad Gateway</h1>\n</html>"), "Bad Gateway", "", false},
		"not Kubernetes":   {text(200, "text/html", "<html>\nhello\n</html>"), "", "", false},
		"rubbish JSON":     {text(200, "application/json", `{"kind": "Node", "apiVersion": "v1", "status": [`), "", "", false},
		"rubbish protobuf": {text(200, "application/vnd.kubernetes.protobuf", "k8s\x00\xff\xff\xff\xff"), "", "", false},
		"empty":            {text(200, "application/json", ""), "", "", false},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(`{"kind": "Node"`))
		}, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, tc.answer)
			c := s.client(t)
			node, err := c.Node(t.Context())
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%+v, error %v, want one that is an *Error", node, err)
			}
			checkError(t, e, s.URL)
			if !strings.HasPrefix(err.Error(), "get node node-1 at "+s.URL+": ") || !strings.Contains(err.Error(), tc.say) {
				t.Errorf("says %q, want what was asked, where, and %q", err, tc.say)
			}
			if !strings.Contains(e.Hint(), tc.hint) || e.NotFound() != tc.notFound {
				t.Errorf("hint %q, not found %v; want %q, %v", e.Hint(), e.NotFound(), tc.hint, tc.notFound)
			}
			if _, err := c.Pods(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "list pods of node node-1 at ") {
				t.Errorf("pods: %v", err)
			}
			if _, err := c.PodEvents(t.Context(), "shop", "web", "u"); err == nil || !strings.HasPrefix(err.Error(), "list events of pod shop/web at ") {
				t.Errorf("events: %v", err)
			}
		})
	}
}

func checkError(t *testing.T, e *Error, host string) {
	t.Helper()
	if e.Host != host {
		t.Errorf("host %q, want %q", e.Host, host)
	}
	for _, text := range []string{e.Error(), e.Hint()} {
		if text == "" || strings.ContainsAny(text, "\n\r") || strings.Contains(text, token) || len(text) > 3000 {
			t.Errorf("no line for a person: %q", text)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	s := serve(t, nil)
	c := s.client(t)
	s.goes(t)
	_, err := c.Node(t.Context())
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v", err)
	}
	checkError(t, e, s.URL)
	if !strings.HasSuffix(e.Error(), "connection refused") || strings.Contains(e.Error(), "resourceVersion") || !strings.Contains(e.Hint(), "--no-kube") {
		t.Errorf("says %q, hint %q", e, e.Hint())
	}
}

func TestNoAnswer(t *testing.T) {
	s := serve(t, hang)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := s.client(t).Node(ctx)
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("error %v, want that there was no answer", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := s.client(t).Node(ctx); !errors.Is(err, context.Canceled) || errors.As(err, &e) {
		t.Errorf("cancelled: %v, want nothing about the API server", err)
	}
}

// TestNew: where the configuration comes from, and what is said where it is not there.
func TestNew(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBECONFIG", "")
	if _, err := New(Config{NodeName: "n"}); !errors.Is(err, ErrNoConfig) {
		t.Errorf("nothing configured: %v", err)
	}
	missing := filepath.Join(home, "missing")
	t.Setenv("KUBECONFIG", missing)
	if _, err := New(Config{NodeName: "n"}); !errors.Is(err, ErrNoConfig) {
		t.Errorf("KUBECONFIG names no file: %v", err)
	}
	t.Setenv("KUBECONFIG", kubeconfig(t, "http://192.0.2.1:6443"))
	if c, err := New(Config{NodeName: "n"}); err != nil || c.Host() != "http://192.0.2.1:6443" {
		t.Errorf("KUBECONFIG: %+v, %v", c, err)
	}
	if c, err := New(Config{NodeName: "n", Kubeconfig: kubeconfig(t, "http://192.0.2.2:6443")}); err != nil || c.Host() != "http://192.0.2.2:6443" {
		t.Errorf("a file over KUBECONFIG: %+v, %v", c, err)
	}
	for name, tc := range map[string]struct{ file, say string }{
		"missing":    {missing, missing},
		"directory":  {home, "directory"},
		"rubbish":    {write(t, "{]"), "kubeconfig"},
		"no cluster": {write(t, `{"apiVersion": "v1", "kind": "Config"}`), "names no cluster"},
		"no context": {write(t, `{"apiVersion": "v1", "kind": "Config", "current-context": "gone", "clusters": [{"name": "c", "cluster": {"server": "http://192.0.2.1"}}]}`), "gone"},
		"missing CA": {write(t, `{"current-context": "c", "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1", "certificate-authority": "/missing/ca.crt"}}], "contexts": [{"name": "c", "context": {"cluster": "c"}}]}`), "/missing/ca.crt"},
		"no URL":     {write(t, `{"current-context": "c", "clusters": [{"name": "c", "cluster": {"server": "http://%zz"}}], "contexts": [{"name": "c", "context": {"cluster": "c"}}]}`), "%zz"},
	} {
		c, err := New(Config{NodeName: "n", Kubeconfig: tc.file})
		if err == nil || errors.Is(err, ErrNoConfig) || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: %+v, error %v, want one that says %q", name, c, err, tc.say)
		}
	}
}
