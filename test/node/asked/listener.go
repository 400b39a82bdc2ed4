package asked

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// behaviour is what a listener does, read from the words of the table:
//
//	tls            speaks TLS, with a certificate of the CA that {ca} is
//	mtls           and wants a client's certificate
//	at=HOST:PORT   listens there, and not on some port of 127.0.0.1
//	refuse, hole   does not listen; lets connections wait for ever
//	404, reset, eof, hang, mute, basic, bearer, to=x, nodigest
//	               answers so; hang answers never, mute not even the TLS handshake, basic and bearer want a login, to=x sends on to listener x
//	tag=404        answers so for tags alone; likewise manifest, config, layer, blob, token, and head for all that is asked by HEAD
type behaviour struct {
	tls, mtls, refuse, hole, mute bool
	at                            string
	all                           string
	by                            map[string]string // object -> answer
}

func parse(words string) (behaviour, error) {
	b := behaviour{by: map[string]string{}}
	for _, word := range strings.Fields(words) {
		key, value, isPair := strings.Cut(word, "=")
		switch {
		case word == "tls":
			b.tls = true
		case word == "mtls":
			b.tls, b.mtls = true, true
		case word == "refuse":
			b.refuse = true
		case word == "hole":
			b.hole = true
		case word == "mute":
			b.mute = true
		case key == "at" && isPair:
			b.at = value
		case isPair && key == "blob":
			b.by["config"], b.by["layer"] = value, value
		case isPair && key != "to":
			b.by[key] = value
		case word == "serve":
		default:
			if _, err := strconv.Atoi(word); err != nil && !strings.HasPrefix(word, "to=") &&
				word != "reset" && word != "eof" && word != "hang" && word != "basic" && word != "bearer" && word != "nodigest" {
				return b, fmt.Errorf("a listener does not know how to %q", word)
			}
			b.all = word
		}
	}
	return b, nil
}

// listener is one registry, mirror or token server of a case.
type listener struct {
	name    string
	address string
	does    behaviour
	run     *run
	server  *http.Server
	close   func()
}

// listen opens the listener's port. dir holds the certificates.
func (r *run) listen(name, words, dir string) error {
	does, err := parse(words)
	if err != nil {
		return err
	}
	l := &listener{name: name, does: does, run: r}
	r.listeners[name] = l
	if does.refuse || does.hole {
		h, err := newHole(does.hole)
		if err != nil {
			return err
		}
		l.address, l.close = h.address, h.close
		if does.hole {
			r.holes = append(r.holes, h)
		}
		return nil
	}
	at := strings.Replace(does.at, "{ip}", ip, 1)
	if at == "" {
		at = "127.0.0.1:0"
	}
	socket, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	l.address = socket.Addr().String()
	if does.mute {
		l.close = func() { _ = socket.Close() }
		return nil // the kernel accepts, and nobody answers
	}
	if does.tls {
		if socket, err = secure(socket, dir, does.mtls); err != nil {
			return err
		}
	}
	l.server = &http.Server{Handler: l, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	// Go asks again by itself where a connection that was used before ends.
	l.server.SetKeepAlivesEnabled(!strings.Contains(words, "reset") && !strings.Contains(words, "eof"))
	l.close = func() { _ = l.server.Close() }
	go func() { _ = l.server.Serve(socket) }()
	return nil
}

func secure(socket net.Listener, dir string, wantClient bool) (net.Listener, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"))
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if wantClient {
		raw, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
		if err != nil {
			return nil, err
		}
		config.ClientCAs = x509.NewCertPool()
		config.ClientCAs.AppendCertsFromPEM(raw)
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return tls.NewListener(socket, config), nil
}

func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	object, prefix := l.run.object(r.URL.Path)
	req := Request{
		Listener: l.name, Method: r.Method, Scheme: "http", Host: r.Host, Prefix: prefix, Object: object,
		NS: r.URL.Query().Get("ns"), Shown: l.run.shown(r),
	}
	if r.TLS != nil {
		req.Scheme = "https"
	}
	answer := l.does.by[object]
	if r.Method == http.MethodHead && l.does.by["head"] != "" {
		answer = l.does.by["head"]
	}
	if answer == "" {
		answer = l.does.all
	}
	login := r.Header.Get("Authorization") != ""
	digest := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	if object == "tag" {
		digest = l.run.content.digest
	}
	body, known := l.run.content.blobs[digest]
	req.Digest = digest
	switch code, err := strconv.Atoi(answer); {
	case err == nil:
		req.Answer = answer
		l.run.record(req)
		w.WriteHeader(code)
	case answer == "reset" || answer == "eof" || answer == "hang":
		req.Answer = answer
		l.run.record(req)
		if answer == "hang" {
			<-r.Context().Done()
		}
		hangUp(w, answer == "reset")
	case (answer == "basic" || answer == "bearer") && !login:
		req.Answer = "401"
		l.run.record(req)
		challenge := `Basic realm="registry"`
		if answer == "bearer" {
			challenge = fmt.Sprintf(`Bearer realm="http://%s/token",service="%s"`, l.run.listeners["t"].address, l.name)
		}
		w.Header().Set("Www-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
	case strings.HasPrefix(answer, "to="):
		req.Answer = "307"
		l.run.record(req)
		to := l.run.listeners[strings.TrimPrefix(answer, "to=")].address
		http.Redirect(w, r, "http://"+to+"/store"+r.URL.Path, http.StatusTemporaryRedirect)
	case object == "token":
		req.Answer = "200"
		l.run.record(req)
		_, _ = io.WriteString(w, `{"token":"dG9rZW4","access_token":"dG9rZW4","expires_in":300}`)
	case !known:
		req.Answer = "404"
		l.run.record(req)
		w.WriteHeader(http.StatusNotFound)
	default:
		req.Answer = "200"
		l.run.record(req)
		kind := "application/octet-stream"
		if digest == l.run.content.digest {
			kind = "application/vnd.docker.distribution.manifest.v2+json"
			if answer != "nodigest" {
				w.Header().Set("Docker-Content-Digest", digest)
			}
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		if r.Method != http.MethodHead {
			_, _ = w.Write(body)
		}
	}
}

// hangUp ends the connection without an answer.
func hangUp(w http.ResponseWriter, reset bool) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if t, ok := c.(*net.TCPConn); ok && reset {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

// proxy is the HTTP proxy that containerd is started with. It stands for the network: it passes a name on to a listener of the one case
// that holds it, and nothing else anywhere.
type proxy struct {
	one sync.Mutex // held by the case whose names it serves
	mu  sync.Mutex
	run *run
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	run := p.run
	p.mu.Unlock()
	if run == nil {
		http.Error(w, "no case is served", http.StatusBadGateway)
		return
	}
	if r.Method != http.MethodConnect {
		target := run.named(r.Host)
		if target == nil {
			run.record(Request{Method: r.Method, Scheme: "http", Host: r.Host, Object: "by proxy", Answer: "502"})
			http.Error(w, "unknown host", http.StatusBadGateway)
			return
		}
		target.ServeHTTP(w, r)
		return
	}
	run.connected(r.Host)
	target := run.named(r.Host)
	if target == nil {
		http.Error(w, "unknown host", http.StatusBadGateway)
		return
	}
	if err := tunnel(w, target.address); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func tunnel(w http.ResponseWriter, address string) error {
	far, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	near, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return errors.Join(err, far.Close())
	}
	_, _ = io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() {
		_, _ = io.Copy(far, near)
		_ = far.Close()
	}()
	go func() {
		_, _ = io.Copy(near, far)
		_ = near.Close()
	}()
	return nil
}
