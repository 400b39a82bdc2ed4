// Command faults serves registries that fail in one way each, in front of a registry that works.
//
// Every fault has a port of its own, since a registry is named by its port on this machine. A fault that was
// mended passes everything through to the good registry, so a pod that failed can pull on its next try.
// It is a program of its own, and not part of the harness, because the node outlives the command that made it.
package main

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// config is what the harness writes for this program.
type config struct {
	Control   string            `json:"control"`   // address of the control port
	Upstream  string            `json:"upstream"`  // the good registry's address
	Token     string            `json:"token"`     // an address where nobody listens, for a token service that is down
	Certs     map[string]string `json:"certs"`     // of the faults that speak TLS: files without .crt and .key
	Listeners map[string]string `json:"listeners"` // fault -> address
}

// fault is one misbehaving registry.
type fault struct {
	name   string
	broken http.HandlerFunc
	good   http.Handler
	mended atomic.Bool
	// late faults listen only once they are mended: until then the port refuses.
	late bool
	// server is the running one; of late faults only, changed under the control port's lock.
	server *http.Server
}

func (f *fault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.mended.Load() || f.broken == nil {
		f.good.ServeHTTP(w, r)
		return
	}
	f.broken(w, r)
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: faults CONFIG.json")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var cfg config
	if err := json.Unmarshal(raw, &cfg); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	upstream := &url.URL{Scheme: "http", Host: cfg.Upstream}
	faults := map[string]*fault{}
	for _, f := range []*fault{
		{name: "ratelimit", broken: rateLimited(upstream)},
		{name: "unavailable", broken: unavailable},
		{name: "forbidden", broken: forbidden},
		{name: "hub", broken: insufficientScope},
		{name: "schema1", broken: schema1},
		{name: "reset", broken: reset},
		{name: "truncated", broken: truncated(upstream)},
		{name: "tokendown", broken: tokenDown(cfg.Token)},
		{name: "plain"},      // a good registry that somebody asks by https
		{name: "blackhole"},  // a good registry behind a dropped port
		{name: "mirrored"},   // a good registry behind a mirror that is dead
		{name: "selfsigned"}, // a good registry whose CA nobody knows
		{name: "expired"},    // a good registry whose certificate has ended
		{name: "refused", late: true},
	} {
		f.good = httputil.NewSingleHostReverseProxy(upstream)
		faults[f.name] = f
	}
	failed := make(chan error, len(faults)+1)
	serve := func(f *fault) error {
		l, err := net.Listen("tcp", cfg.Listeners[f.name])
		if err != nil {
			return fmt.Errorf("listen for %s: %w", f.name, err)
		}
		if cert := cfg.Certs[f.name]; cert != "" {
			pair, err := tls.LoadX509KeyPair(cert+".crt", cert+".key")
			if err != nil {
				return err
			}
			l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
		}
		srv := &http.Server{Handler: f, ReadHeaderTimeout: 10 * time.Second}
		f.server = srv
		go func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", f.name, err)
			}
		}()
		return nil
	}
	for name, f := range faults {
		if cfg.Listeners[name] == "" {
			return fmt.Errorf("no address for fault %s in %s", name, path)
		}
		if !f.late {
			if err := serve(f); err != nil {
				return err
			}
		}
	}
	var mu sync.Mutex
	control := http.NewServeMux()
	control.HandleFunc("POST /mend/{name}", func(w http.ResponseWriter, r *http.Request) {
		f := faults[r.PathValue("name")]
		if f == nil {
			http.Error(w, "no such fault", http.StatusNotFound)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if !f.mended.Swap(true) && f.late {
			if err := serve(f); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}
	})
	control.HandleFunc("POST /break/{name}", func(w http.ResponseWriter, r *http.Request) {
		f := faults[r.PathValue("name")]
		if f == nil {
			http.Error(w, "no such fault", http.StatusNotFound)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if f.mended.Swap(false) && f.late {
			_ = f.server.Close()
		}
	})
	control.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	srv := &http.Server{Addr: cfg.Control, Handler: control, ReadHeaderTimeout: 10 * time.Second}
	go func() { failed <- fmt.Errorf("serve control: %w", srv.ListenAndServe()) }()
	return <-failed
}

// refuse answers with the error document of the distribution specification.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}

// rateLimited lets the client resolve a tag and refuses the manifest itself: HEAD is not counted by the big registries, and answered with what is
// left of the limit.
func rateLimited(upstream *url.URL) http.HandlerFunc {
	pass := httputil.NewSingleHostReverseProxy(upstream)
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			w.Header().Set("Ratelimit-Limit", "100;w=21600")
			w.Header().Set("Ratelimit-Remaining", "0;w=21600")
			if r.Method == http.MethodGet {
				w.Header().Set("Retry-After", "3600")
				refuse(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "the pull rate limit of this registry is reached")
				return
			}
		}
		pass.ServeHTTP(w, r)
	}
}

func unavailable(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
}

func forbidden(w http.ResponseWriter, _ *http.Request) {
	refuse(w, http.StatusForbidden, "DENIED", "requested access to the resource is denied")
}

// insufficientScope is a registry with token authentication that gives everybody a token, but no rights with it.
func insufficientScope(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"token": "bm9uZQ.bm9uZQ.bm9uZQ", "expires_in": 300})
		return
	}
	repo, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
	challenge := fmt.Sprintf(`Bearer realm="http://%s/token",service="%s",scope="repository:%s:pull"`, r.Host, r.Host, repo)
	if r.Header.Get("Authorization") != "" {
		challenge += `,error="insufficient_scope"`
	}
	w.Header().Set("Www-Authenticate", challenge)
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

// tokenDown is a registry with token authentication whose token service does not listen.
func tokenDown(service string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Www-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token",service="%s"`, service, r.Host))
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	}
}

// schema1 answers every manifest in the format that runtimes gave up.
func schema1(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.URL.Path, "/manifests/") {
		w.WriteHeader(http.StatusOK)
		return
	}
	repo, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
	body := fmt.Appendf(nil, `{"schemaVersion":1,"name":%q,"tag":"1.0","architecture":"amd64","fsLayers":[],"history":[],"signatures":[]}`, repo)
	w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
	w.Header().Set("Docker-Content-Digest", fmt.Sprintf("sha256:%x", sha256.Sum256(body)))
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// reset ends the connection with RST.
func reset(w http.ResponseWriter, _ *http.Request) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// truncated sends half of each blob and hangs up, however often the client tries to go on from there.
func truncated(upstream *url.URL) http.HandlerFunc {
	pass := httputil.NewSingleHostReverseProxy(upstream)
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			pass.ServeHTTP(w, r)
			return
		}
		resp, err := http.Get(upstream.String() + r.URL.Path)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.ContentLength < 64<<10 { // the small config blob passes
			w.WriteHeader(resp.StatusCode)
			_, _ = io.Copy(w, resp.Body)
			return
		}
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.Header().Set("Content-Length", fmt.Sprint(resp.ContentLength))
		_, _ = io.CopyN(w, resp.Body, resp.ContentLength/2)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}
