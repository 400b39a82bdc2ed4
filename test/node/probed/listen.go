package probed

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// server serves a port of a case until the socket is closed.
type server func(at *place, socket net.Listener)

// handler answers requests at a place.
type handler func(at *place) http.HandlerFunc

// place is where a case's servers are.
type place struct {
	*Case
	lab          *lab
	address, six string
	requests     atomic.Int64 // of the probe's
	sockets      []net.Listener
}

// open listens at a port of the place.
func (at *place) open(port string, serve server) error {
	addresses := []string{at.address}
	if strings.Contains(at.Names, "{six}") {
		addresses = append(addresses, at.six)
		if err := run("ip -6 addr replace " + at.six + "/128 dev lo nodad"); err != nil {
			return err
		}
	}
	for _, address := range addresses {
		socket, err := net.Listen("tcp", net.JoinHostPort(address, port))
		if err != nil {
			return err
		}
		at.sockets = append(at.sockets, socket)
		go serve(at, socket)
	}
	return nil
}

// fill puts what a case's texts stand for.
func (at *place) fill(text string) string {
	return strings.NewReplacer("{host}", at.host(), "{address}", at.address, "{six}", at.six, "{ca}", at.lab.caFile).Replace(text)
}

func (at *place) close() {
	for _, socket := range at.sockets {
		_ = socket.Close()
	}
}

// plain speaks HTTP.
func plain(h handler) server {
	return func(at *place, socket net.Listener) {
		answer := h(at)
		s := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.UserAgent() == userAgent {
				at.requests.Add(1)
			}
			answer(w, r)
		})}
		_ = s.Serve(socket)
		_ = s.Close()
	}
}

// secure speaks TLS, as change would have it.
func secure(h handler, change ...func(at *place, certificate *x509.Certificate, config *tls.Config)) server {
	return func(at *place, socket net.Listener) {
		template := &x509.Certificate{DNSNames: []string{at.host(), "*." + at.host()}}
		config := &tls.Config{MinVersion: tls.VersionTLS10, NextProtos: []string{"http/1.1"}}
		for _, f := range change {
			f(at, template, config)
		}
		if config.Certificates == nil {
			certificate, err := at.lab.ca.Certificate(template)
			if err != nil {
				panic(err)
			}
			config.Certificates = []tls.Certificate{certificate}
		}
		plain(h)(at, tls.NewListener(socket, config))
	}
}

// https is a host that speaks TLS at its port 443 alone.
func https(h handler, change ...func(at *place, certificate *x509.Certificate, config *tls.Config)) map[string]server {
	return map[string]server{"443": secure(h, change...)}
}

// raw speaks what is no HTTP.
func raw(speak func(net.Conn)) server {
	return func(_ *place, socket net.Listener) {
		for {
			c, err := socket.Accept()
			if err != nil {
				return
			}
			go speak(c)
		}
	}
}

// hello waits for the first bytes of the other side, so that what follows meets it at the same point each time.
func hello(c net.Conn) { _, _ = bufio.NewReader(c).Peek(1) }

func reset(c net.Conn) {
	hello(c)
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

func hangUp(c net.Conn) {
	hello(c)
	_ = c.Close()
}

// mute reads and says nothing, until the other side has enough of it.
func mute(c net.Conn) {
	_, _ = io.Copy(io.Discard, c)
	_ = c.Close()
}

// alert answers what is no TLS as most TLS servers do (RFC 8446, 6): a fatal unexpected_message.
func alert(c net.Conn) {
	hello(c)
	_, _ = io.WriteString(c, "\x15\x03\x01\x00\x02\x02\x0a")
	mute(c)
}

// greets speaks another protocol. It does so once it is asked: net/http's error for a word before that depends on who is faster.
func greets(c net.Conn) {
	hello(c)
	_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2p1\r\n")
	mute(c)
}

// serves is the image, from the node's own registry.
func serves(at *place) http.HandlerFunc {
	return httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: at.lab.node.RegistryAddr()}).ServeHTTP
}

// status answers all with that, and with headers in pairs.
func status(code int, header ...string) handler {
	return func(at *place) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], at.fill(header[i+1]))
			}
			w.WriteHeader(code)
		}
	}
}

// body answers all with a text of that kind.
func body(kind, text string) handler {
	return func(*place) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, text)
		}
	}
}

// silent never answers.
func silent(*place) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
}

// endless answers with a text that does not end, without haste: whoever wants all of it may wait.
func endless(kind, begin string) handler {
	return func(*place) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, err := io.WriteString(w, begin)
			for err == nil && r.Method != http.MethodHead && r.Context().Err() == nil {
				_, err = io.WriteString(w, strings.Repeat("x", 16<<10))
				_ = http.NewResponseController(w).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		}
	}
}

// endlessHeader answers with headers that do not end, up to more than Go's clients take (10 MiB).
func endlessHeader(*place) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
		line := "X-Filler: " + strings.Repeat("x", 8000) + "\r\n"
		for i := 0; err == nil && i < 12<<20/len(line); i++ {
			_, err = io.WriteString(c, line)
		}
		mute(c)
	}
}

// sendsOn redirects all to a URL that begins so; what was asked for is appended.
func sendsOn(to string) handler {
	return func(at *place) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", at.fill(to)+r.URL.Path)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	}
}

// below answers paths that begin so by one handler, and the others by another.
func below(path string, h, otherwise handler) handler {
	return func(at *place) http.HandlerFunc {
		one, other := h(at), otherwise(at)
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, path) {
				one(w, r)
				return
			}
			other(w, r)
		}
	}
}

// bearer wants a token from that realm and then serves; at /token it answers as the token service does.
func bearer(realm string, token handler) handler {
	challenge := status(http.StatusUnauthorized, "WWW-Authenticate", `Bearer realm="`+realm+`",service="probed"`)
	return below("/token", token, func(at *place) http.HandlerFunc {
		wants, image := challenge(at), serves(at)
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				wants(w, r)
				return
			}
			r.Header.Del("Authorization")
			image(w, r)
		}
	})
}
