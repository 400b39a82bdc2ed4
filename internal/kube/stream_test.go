package kube

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// sink writes down what it is told.
type sink chan string

func (s sink) Replace(pods []Pod) {
	var names []string
	for _, p := range pods {
		names = append(names, p.Name+" "+p.Containers[0].Reason)
	}
	slices.Sort(names)
	s <- "replace " + strings.Join(names, ", ")
}
func (s sink) Observe(p Pod)     { s <- "observe " + p.Name + " " + p.Containers[0].Reason }
func (s sink) Forget(uid string) { s <- "forget " + uid }

func (s sink) want(t *testing.T, want string) {
	t.Helper()
	if got := next(t, s); got != want {
		t.Fatalf("told %q, want %q", got, want)
	}
}

// follow runs a stream of pods and tells where its sink and its states come out.
func follow(t *testing.T, s *server) (stream *Stream, told sink, states chan StreamState, stop func()) {
	t.Helper()
	told, states = make(sink, 100), make(chan StreamState, 100)
	stream = s.client(t).PodStream(told, func(s StreamState) { states <- s })
	if state := stream.State(); state.Synced || state.Err != nil {
		t.Errorf("before it runs: %+v", state)
	}
	return stream, told, states, run(t, stream)
}

// untilSynced reads states up to the first list.
func untilSynced(t *testing.T, states <-chan StreamState) {
	t.Helper()
	for {
		if s := next(t, states); s.Synced && s.Err == nil {
			return
		}
	}
}

func TestPodStream(t *testing.T) {
	t.Parallel()
	web, api := aPod("web", "ErrImagePull"), aPod("api", "ContainerCreating")
	pods := newCluster(web, api)
	s := serve(t, pods.ServeHTTP)
	stream, told, states, stop := follow(t, s)
	told.want(t, "replace api ContainerCreating, web ErrImagePull")
	untilSynced(t, states)
	if state := stream.State(); !state.Synced || state.Err != nil {
		t.Errorf("state %+v", state)
	}
	waitForWatch(t, pods)
	pods.put(aPod("new", "ErrImagePull"))
	told.want(t, "observe new ErrImagePull")
	pods.put(aPod("web", "ImagePullBackOff"))
	told.want(t, "observe web ImagePullBackOff")
	pods.remove(api)
	told.want(t, "forget uid-api")

	// Nothing is lost over a watch's end, which is every few minutes and no loss to tell of.
	pods.hangUp()
	waitForWatch(t, pods)
	pods.put(aPod("web", "ErrImagePull"))
	told.want(t, "observe web ErrImagePull")
	stop()
	nothing(t, told)
	nothing(t, states)

	for _, r := range s.requests() {
		query := r.URL.Query()
		if r.URL.Path != "/api/v1/pods" || query.Get("fieldSelector") != "spec.nodeName=node-1" {
			t.Errorf("asked for %s: more than this node's pods", r.URL)
		}
		if accept := r.Header.Get("Accept"); !strings.HasPrefix(accept, "application/vnd.kubernetes.protobuf") {
			t.Errorf("accepts %q, want protobuf first", accept)
		}
		if query.Get("watch") != "" && query.Get("timeoutSeconds") == "" {
			t.Errorf("a watch without an end: %s", r.URL)
		}
		if query.Get("sendInitialEvents") != "" {
			t.Errorf("asked for a list as a stream, which the API server has no index for: %s", r.URL)
		}
	}
}

// waitForWatch waits until somebody watches.
func waitForWatch(t *testing.T, c *cluster) {
	t.Helper()
	until(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.watches) > 0
	})
}

// TestStreamHeals: an API server that is gone and comes back is told of once each, and what was missed is caught up.
func TestStreamHeals(t *testing.T) {
	t.Parallel()
	web, api := aPod("web", "ErrImagePull"), aPod("api", "ErrImagePull")
	pods := newCluster(web, api)
	s := serve(t, pods.ServeHTTP)
	stream, told, states, stop := follow(t, s)
	told.want(t, "replace api ErrImagePull, web ErrImagePull")
	untilSynced(t, states)
	waitForWatch(t, pods)

	s.goes(t)
	lost := next(t, states)
	var e *Error
	if !lost.Synced || !errors.As(lost.Err, &e) {
		t.Fatalf("told %+v, want that it is lost", lost)
	}
	checkError(t, e, s.URL)
	if stream.State().Err == nil {
		t.Error("the state does not say that it is lost")
	}
	pods.mu.Lock()
	pods.watches = nil
	pods.mu.Unlock()
	s.comesBack(t)
	if healed := next(t, states); healed.Err != nil || !healed.Synced {
		t.Fatalf("told %+v, want that it is found again, once", healed)
	}
	waitForWatch(t, pods)
	pods.put(aPod("web", "ImagePullBackOff"))
	for { // it may have begun anew or gone on where it was
		if text := next(t, told); text == "observe web ImagePullBackOff" {
			break
		} else if !strings.HasPrefix(text, "replace ") {
			t.Errorf("told %q", text)
		}
	}
	stop()
	nothing(t, states)
}

// TestStreamExpires: where the API server no longer knows the place, the whole list is told anew, and what went in the meantime is not in it.
func TestStreamExpires(t *testing.T) {
	t.Parallel()
	web, api := aPod("web", "ErrImagePull"), aPod("api", "ErrImagePull")
	pods := newCluster(web, api)
	s := serve(t, pods.ServeHTTP)
	_, told, states, stop := follow(t, s)
	told.want(t, "replace api ErrImagePull, web ErrImagePull")
	untilSynced(t, states)
	waitForWatch(t, pods)
	pods.removeUnseen(api)
	pods.say(`{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","message":"too old resource version: 100 (200)","reason":"Expired","code":410}}` + "\n")
	told.want(t, "replace web ErrImagePull")
	stop()
	nothing(t, states) // none of it is worth a word
}

// TestStreamRubbish: bytes on the watch that are no event cost a new beginning, no more.
func TestStreamRubbish(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"no JSON":         "<html>\n",
		"no event":        `{"a": 1}` + "\n",
		"unknown type":    `{"type":"SURPRISE","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"shop","resourceVersion":"7"}}}` + "\n",
		"another kind":    `{"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x","resourceVersion":"7"}}}` + "\n",
		"unknown kind":    `{"type":"ADDED","object":{"kind":"Surprise","apiVersion":"v9","metadata":{"name":"x"}}}` + "\n",
		"a broken object": `{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","spec":7}}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pods := newCluster(aPod("web", "ErrImagePull"))
			s := serve(t, pods.ServeHTTP)
			_, told, states, stop := follow(t, s)
			told.want(t, "replace web ErrImagePull")
			untilSynced(t, states)
			pods.say(line)
			pods.hangUp() // a reader that waits for the rest gets none
			waitForWatch(t, pods)
			pods.put(aPod("web", "ImagePullBackOff"))
			for {
				text := next(t, told)
				if strings.HasSuffix(text, "web ImagePullBackOff") {
					break
				} else if !strings.HasPrefix(text, "replace ") {
					t.Errorf("told %q", text)
				}
			}
			stop()
		})
	}
}

// TestStreamRefused: without the rights the stream says which, once, and goes on trying: they may be granted.
func TestStreamRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		say    string
		hint   string
	}{
		"forbidden":    {refuse(403, metav1.StatusReasonForbidden, `pods is forbidden: User "u" cannot list resource "pods"`), "is forbidden", "list and watch on pods"},
		"unauthorized": {refuse(401, metav1.StatusReasonUnauthorized, "Unauthorized"), "Unauthorized", "credentials"},
		"rubbish":      {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, tc.answer)
			stream, told, states, stop := follow(t, s)
			var e *Error
			lost := next(t, states)
			if lost.Synced || !errors.As(lost.Err, &e) {
				t.Fatalf("told %+v", lost)
			}
			checkError(t, e, s.URL)
			if !strings.Contains(e.Error(), tc.say) || !strings.Contains(e.Hint(), tc.hint) {
				t.Errorf("says %q, hint %q; want %q, %q", e, e.Hint(), tc.say, tc.hint)
			}
			until(t, func() bool { return len(s.requests()) >= 3 }) // a second round
			if stream.State().Err == nil {
				t.Error("the state says nothing of it")
			}
			pods := newCluster(aPod("web", "ErrImagePull"))
			s.answerWith(pods.ServeHTTP)
			told.want(t, "replace web ErrImagePull")
			if healed := next(t, states); healed.Err != nil || healed.Synced {
				t.Errorf("told %+v, want first that it is answered again", healed)
			}
			if synced := next(t, states); synced.Err != nil || !synced.Synced {
				t.Errorf("told %+v, want then that the list was seen", synced)
			}
			stop()
			nothing(t, states)
		})
	}
}

// TestNodeStream: the own Node, its absence included.
func TestNodeStream(t *testing.T) {
	t.Parallel()
	nodes := newCluster()
	s := serve(t, nodes.ServeHTTP)
	told := make(chan Node, 100)
	stream := s.client(t).NodeStream(func(n Node) { told <- n }, nil)
	stop := run(t, stream)
	want := func(version string) {
		t.Helper()
		got, want := next(t, told), Node{}
		if version != "" {
			want = Node{Name: "node-1", UID: "uid-node", KubeletVersion: version}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	}
	want("")
	waitForWatch(t, nodes)
	nodes.put(aNode("v1.34.4"))
	want("v1.34.4")
	nodes.put(aNode("v1.35.0"))
	want("v1.35.0")
	nodes.remove(aNode("v1.35.0"))
	want("")
	stop()
	nothing(t, told)
	if !stream.State().Synced {
		t.Error("not synced")
	}
	for _, r := range s.requests() {
		if r.URL.Path != "/api/v1/nodes" || r.URL.Query().Get("fieldSelector") != "metadata.name=node-1" {
			t.Errorf("asked for %s: more than the own Node", r.URL)
		}
	}
}

// TestNodeStreamBegins: a Node that is there already is told first.
func TestNodeStreamBegins(t *testing.T) {
	t.Parallel()
	node := aNode("v1.34.4")
	node.Status.Conditions = []corev1.NodeCondition{{Type: "DiskPressure", Status: "True"}}
	s := serve(t, newCluster(node).ServeHTTP)
	told := make(chan Node, 100)
	run(t, s.client(t).NodeStream(func(n Node) { told <- n }, nil))
	if got := next(t, told); got.UID != "uid-node" || len(got.Conditions) != 1 {
		t.Errorf("told %+v", got)
	}
}
