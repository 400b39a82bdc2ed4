package asked

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/pkg/cri"
)

// run is one case being tried.
type run struct {
	Case
	repo      string
	content   *content
	listeners map[string]*listener
	holes     []*hole
	written   []string // files

	mu       sync.Mutex
	requests []Request
}

// lab is what the cases of one containerd share.
type lab struct {
	dir    string // the node's; below it certs.d and pki
	client *cri.Client
	proxy  *proxy
}

// newRun opens a case's listeners.
func newRun(c Case, dir string) (*run, error) {
	r := &run{Case: c, repo: "t/" + c.slug(), listeners: map[string]*listener{}}
	layers := max(c.Layers, 1)
	var err error
	if r.content, err = newContent(fmt.Sprint(c.Name, time.Now().UnixNano()), layers); err != nil {
		return nil, err
	}
	for name, words := range c.Listen {
		if err := r.listen(name, words, filepath.Join(dir, "pki")); err != nil {
			r.close()
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return r, nil
}

// close ends what the case listens on, and takes its files away: another case may get one of its addresses.
func (r *run) close() {
	for _, path := range r.written {
		// With the directories that are empty without it.
		for err := os.Remove(path); err == nil && filepath.Base(filepath.Dir(path)) != "certs.d"; err = os.Remove(path) {
			path = filepath.Dir(path)
		}
	}
	for _, l := range r.listeners {
		if l.close != nil {
			l.close()
		}
	}
}

// fill puts addresses for names in braces.
func (r *run) fill(text, dir string) string {
	for name, l := range r.listeners {
		_, port, _ := strings.Cut(l.address, ":")
		text = strings.NewReplacer("{"+name+"}", l.address, "{"+name+".port}", port).Replace(text)
	}
	return strings.NewReplacer("{ip}", ip, "{dir}", dir, "{ca}", filepath.Join(dir, "pki", "ca.crt")).Replace(text)
}

// ip begins the addresses of listeners that want a port of their own, so that two processes do not want the same.
var ip = fmt.Sprintf("127.%d.%d", os.Getpid()>>8&0x7f+1, os.Getpid()&0xff)

// write makes the case's files.
func (r *run) write(dir string) error {
	for path, text := range r.Files {
		path = r.fill(path, dir)
		if own, ok := strings.CutPrefix(path, "/etc/containerd/"); ok {
			path = filepath.Join(dir, "etc", own)
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, "certs.d", path)
		}
		if strings.HasPrefix(text, "copy ") {
			raw, err := os.ReadFile(filepath.Join(dir, "pki", strings.TrimPrefix(text, "copy ")))
			if err != nil {
				return err
			}
			text = string(raw)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(r.fill(text, dir)), 0o644); err != nil {
			return err
		}
		r.written = append(r.written, path)
	}
	return nil
}

// try pulls the case's image and tells what was asked, as Case.Asked does.
func (l *lab) try(ctx context.Context, r *run) string {
	if r.Names != nil {
		l.proxy.serve(r)
		defer l.proxy.release()
	}
	image := r.fill(r.Image, l.dir) + "/" + r.repo
	if r.Digest {
		image += "@" + r.content.digest
	} else {
		image += ":1"
	}
	var auth *runtimeapi.AuthConfig
	if r.Login {
		auth = &runtimeapi.AuthConfig{Username: "user", Password: "password"}
	}
	if r.Limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Limit)
		defer cancel()
	}
	begin := time.Now()
	_, err := l.client.PullImage(ctx, image, auth)
	took := time.Since(begin)
	addresses := map[string]string{}
	for name, listener := range r.listeners {
		addresses[name] = listener.address
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	told := []string{}
	if asked := sequence(r.requests, namer(addresses)); asked != "" {
		told = append(told, asked)
	}
	for _, h := range r.holes {
		told = append(told, fmt.Sprintf("dials: %d", h.count()))
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded): // ctx itself may say so only a moment later, when the runtime keeps the deadline as well
		told = append(told, fmt.Sprintf("goes on after %s", r.Limit))
	case err != nil:
		told = append(told, "fails: "+r.failure(err, l.dir))
	}
	if r.Slow {
		told = append(told, fmt.Sprintf("takes: %d s", int(took.Seconds()/5+0.5)*5)) // it does so to a second, on a machine that is not busy
	}
	return strings.Join(told, "\n")
}

var (
	digests  = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
	wrappers = regexp.MustCompile(`^failed to pull and unpack image "[^"]*": (failed to resolve reference "[^"]*": |failed to resolve image: )?`)
	sources  = regexp.MustCompile(`127\.0\.0\.1:[0-9]+->`)
)

// failure is the runtime's error without what every pull has in front, and with names for what differs from time to time.
func (r *run) failure(err error, dir string) string {
	text := err.Error()
	var e *cri.Error
	if errors.As(err, &e) {
		if _, answer, ok := e.Answer(); ok {
			text = answer
		}
	}
	text = wrappers.ReplaceAllString(text, "")
	text = sources.ReplaceAllString(digests.ReplaceAllString(text, "DIGEST"), "")
	for name, l := range r.listeners {
		text = strings.NewReplacer(l.address, "{"+name+"}", url.QueryEscape(l.address), "{"+name+"}").Replace(text)
	}
	return strings.NewReplacer(dir, "{dir}", r.repo, "REPOSITORY", ip, "{ip}").Replace(text)
}

// object says what a path is about, and what stands in front of the repository.
func (r *run) object(path string) (object, prefix string) {
	if path == "/token" {
		return "token", path
	}
	prefix, rest, ok := strings.Cut(path, "/"+r.repo+"/")
	if !ok {
		return path, ""
	}
	kind, name, _ := strings.Cut(rest, "/")
	if object, ok = r.content.kind[name]; ok {
		if kind == "blobs" && object == "manifest" {
			object = "blob of manifest"
		}
		return object, prefix
	}
	if kind == "manifests" {
		return "tag", prefix
	}
	return rest, prefix
}

// shown are the properties of a request that the case is about.
func (r *run) shown(req *http.Request) string {
	var all []string
	for _, what := range r.Show {
		var value string
		switch what {
		case "Authorization": // never its value
			value, _, _ = strings.Cut(req.Header.Get(what), " ")
		case "SNI":
			if req.TLS != nil {
				value = req.TLS.ServerName
			}
		case "client":
			if req.TLS != nil && len(req.TLS.PeerCertificates) > 0 {
				value = req.TLS.PeerCertificates[0].Subject.CommonName
			}
		default:
			value = strings.Join(req.Header.Values(what), " & ")
		}
		if value != "" {
			all = append(all, what+": "+value)
		}
	}
	return strings.Join(all, "; ")
}

func (r *run) record(req Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, req)
}

// connected records which tunnel was asked of the proxy: once, since how often it is depends on which connections are kept.
func (r *run) connected(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, old := range r.requests {
		if old.Method == http.MethodConnect && old.Host == host {
			return
		}
	}
	r.requests = append(r.requests, Request{Method: http.MethodConnect, Host: host})
}

// named is the listener that stands for a host:port of the case's names.
func (r *run) named(hostport string) *listener {
	if !strings.Contains(hostport, ":") {
		hostport += ":80"
	}
	return r.listeners[r.Names[hostport]]
}

func (p *proxy) serve(r *run) {
	p.one.Lock()
	p.mu.Lock()
	p.run = r
	p.mu.Unlock()
}

func (p *proxy) release() {
	p.mu.Lock()
	p.run = nil
	p.mu.Unlock()
	p.one.Unlock()
}

// count says how often an object was asked for until now.
func (r *run) count(object string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, req := range r.requests {
		if req.Object == object {
			n++
		}
	}
	return n
}
