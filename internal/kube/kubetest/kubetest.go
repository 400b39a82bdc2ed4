// Package kubetest is an API server that is not one: it listens on the loopback with TLS, serves what internal/kube asks of core/v1 (pods, nodes,
// events; get, list and watch, with field selectors and resource versions; of secrets get alone) from memory, takes what internal/kube writes
// (the conditions of a node's status, events), and fails as a test tells it to.
//
// What it says in a failure, it says in the words and the Status objects of a real API server. It answers in JSON whatever is asked for,
// and it promises no more than Pullwatch uses: anything else is 404.
package kubetest

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Token is the only bearer token that the server takes, and a marker: a test that finds it in any output has found a leak.
const Token = "t0ken-marker-never-to-be-shown"

// Request is a request that the server got.
type Request struct {
	Method, Path      string
	Query             url.Values
	Accept, UserAgent string
	ContentType       string
	Body              []byte
}

// Verb is what the request does, as RBAC calls it.
func (r Request) Verb() string {
	switch {
	case r.Method == http.MethodPatch:
		return "patch"
	case r.Method == http.MethodPost:
		return "create"
	case r.Query.Get("watch") == "true" || r.Query.Get("watch") == "1":
		return "watch"
	case pathOf(r.Path).name != "":
		return "get"
	}
	return "list"
}

// Resource is what the request is about, as RBAC calls it: "pods", "nodes", "nodes/status", "events".
func (r Request) Resource() string { return pathOf(r.Path).right() }

// Server is a fake API server. All methods are safe for concurrent use, and what is set stays set over [Server.Down] and [Server.Up].
type Server struct {
	address     string
	certificate tls.Certificate
	ca          []byte // PEM

	mu       sync.Mutex
	server   *http.Server
	served   chan struct{}
	version  int64 // the resource version of the last change
	objects  map[key]object
	changes  []change // all of them, in order
	expired  int64    // watches from a version before it are answered 410
	changed  chan struct{}
	cut      chan struct{} // closed to end the watches that run
	faults   faults
	requests []Request
}

type key struct{ resource, namespace, name string }

// change is one step in the life of an object, with the object before (nil: it was created) and after (nil: it was deleted).
type change struct {
	key
	version       int64
	before, after object
}

// New starts a server on a free port of the loopback.
func New() (*Server, error) {
	s := &Server{objects: make(map[key]object), changed: make(chan struct{}), cut: make(chan struct{}), version: 1}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.address = l.Addr().String()
	s.certificate, s.ca = identity()
	s.serve(l)
	return s, nil
}

// identity is a certificate for the loopback, and its CA. Clients send tokens over TLS only.
func identity() (certificate tls.Certificate, ca []byte) {
	lender := httptest.NewUnstartedServer(nil)
	lender.StartTLS()
	defer lender.Close()
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: lender.Certificate().Raw})
	return lender.TLS.Certificates[0], ca
}

// Start starts a server that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func (s *Server) serve(l net.Listener) {
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{s.certificate}, MinVersion: tls.VersionTLS12},
	}
	served := make(chan struct{})
	s.mu.Lock()
	s.server, s.served = server, served
	s.mu.Unlock()
	go func() {
		defer close(served)
		_ = server.ServeTLS(l, "", "") // ends with Down
	}()
}

// URL is where the server is.
func (s *Server) URL() string { return "https://" + s.address }

// Down breaks all connections off and refuses new ones, as an API server that was killed does. It may be called twice.
func (s *Server) Down() {
	s.mu.Lock()
	server, served := s.server, s.served
	s.server, s.served = nil, nil
	s.mu.Unlock()
	if server == nil {
		return
	}
	_ = server.Close()
	<-served
}

// Up takes Down back, on the same port and with the same objects.
func (s *Server) Up() error {
	s.mu.Lock()
	up := s.server != nil
	s.mu.Unlock()
	if up {
		return errors.New("kubetest: the server is up")
	}
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		return err
	}
	s.serve(l)
	return nil
}

// Close ends the server.
func (s *Server) Close() { s.Down() }

// Kubeconfig writes a kubeconfig with the server's address and [Token] into the directory and gives its path.
func (s *Server) Kubeconfig(dir string) (string, error) {
	path := filepath.Join(dir, "kubeconfig")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: fake, cluster: {server: "%s", certificate-authority-data: "%s"}}]
users: [{name: agent, user: {token: "%s"}}]
contexts: [{name: fake, context: {cluster: fake, user: agent}}]
current-context: fake
`, s.URL(), base64.StdEncoding.EncodeToString(s.ca), Token)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// SetPod creates or replaces a pod. What a real API server would fill in and is empty, is: UID and the time of creation.
func (s *Server) SetPod(pod *corev1.Pod) {
	pod = pod.DeepCopy()
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	s.put("pods", pod)
}

// DeletePod deletes a pod. One that is not there is passed over.
func (s *Server) DeletePod(namespace, name string) { s.remove(key{"pods", namespace, name}) }

// Pod gives a copy of a pod, nil where there is none.
func (s *Server) Pod(namespace, name string) *corev1.Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pod, ok := s.objects[key{"pods", namespace, name}].(*corev1.Pod); ok {
		return pod.DeepCopy()
	}
	return nil
}

// SetSecret creates or replaces a secret.
func (s *Server) SetSecret(secret *corev1.Secret) {
	secret = secret.DeepCopy()
	secret.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}
	s.put("secrets", secret)
}

// SetNode creates or replaces a node.
func (s *Server) SetNode(node *corev1.Node) {
	node = node.DeepCopy()
	node.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}
	s.put("nodes", node)
}

// DeleteNode deletes a node. One that is not there is passed over.
func (s *Server) DeleteNode(name string) { s.remove(key{"nodes", "", name}) }

// AddEvent creates or replaces an event. Without a name it gets one of its own.
func (s *Server) AddEvent(event *corev1.Event) {
	event = event.DeepCopy()
	event.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Event"}
	if event.Namespace == "" {
		event.Namespace = event.InvolvedObject.Namespace
	}
	if event.Name == "" {
		s.mu.Lock()
		event.Name = fmt.Sprintf("%s.%x", event.InvolvedObject.Name, s.version)
		s.mu.Unlock()
	}
	s.put("events", event)
}

func (s *Server) put(resource string, o object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store(resource, o)
}

// store creates or replaces an object. The caller holds mu.
func (s *Server) store(resource string, o object) {
	k := key{resource, o.GetNamespace(), o.GetName()}
	before := s.objects[k]
	if o.GetUID() == "" {
		o.SetUID(types.UID(fmt.Sprintf("uid-%d", s.version)))
		if before != nil {
			o.SetUID(before.GetUID())
		}
	}
	if created := o.GetCreationTimestamp(); created.IsZero() {
		o.SetCreationTimestamp(metav1.Now())
	}
	s.version++
	o.SetResourceVersion(strconv.FormatInt(s.version, 10))
	s.objects[k] = o
	s.tell(change{k, s.version, before, o})
}

func (s *Server) remove(k key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.objects[k]
	if before == nil {
		return
	}
	delete(s.objects, k)
	s.version++
	s.tell(change{k, s.version, before, nil})
}

// tell wakes the watches. The caller holds mu.
func (s *Server) tell(c change) {
	s.changes = append(s.changes, c)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Requests is every request so far, those that were refused too.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Count tells how many requests with the verb ("get", "list", "watch", "create", "patch") there were for the resource.
func (s *Server) Count(verb, resource string) int {
	n := 0
	for _, r := range s.Requests() {
		if r.Verb() == verb && r.Resource() == resource {
			n++
		}
	}
	return n
}
