package cri

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// greeted is a connection that remembers how the other side began to speak.
//
// Every HTTP/2 server opens with a SETTINGS frame (RFC 9113, 3.4). Looking at
// those nine bytes tells a hanging runtime from rubbish and from HTTP/1
// without leaning on the words of gRPC's errors.
type greeted struct {
	net.Conn

	mu   sync.Mutex
	head []byte // at most frameHeader bytes
	err  error  // why reading or writing ended
}

// frameHeader is the size of an HTTP/2 frame header in bytes (RFC 9113, 4.1).
const frameHeader = 9

func (g *greeted) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	g.mu.Lock()
	g.hear(p[:n])
	g.note(err)
	g.mu.Unlock()
	return n, err
}

// Write notes errors too: when the other side has hung up, it depends on the
// moment whether reading or writing tells. gRPC then closes without reading
// what was said before, so it is read here.
func (g *greeted) Write(p []byte) (int, error) {
	n, err := g.Conn.Write(p)
	if err != nil {
		_ = g.SetReadDeadline(time.Now().Add(lastWords))
		var said [frameHeader]byte
		m, _ := g.Conn.Read(said[:])
		g.mu.Lock()
		g.hear(said[:m])
		g.note(err)
		g.mu.Unlock()
	}
	return n, err
}

// lastWords bounds the reading of a connection that is dead already: there is
// something at once or never.
const lastWords = 100 * time.Millisecond

func (g *greeted) hear(p []byte) {
	g.head = append(g.head, p[:min(len(p), frameHeader-len(g.head))]...)
}

func (g *greeted) note(err error) {
	if err != nil && g.err == nil {
		g.err = err
	}
}

// manner is how the other side of a connection behaved.
type manner uint8

const (
	mannerPending manner = iota // nothing to judge by yet
	mannerSilent                // given up by us for want of a word
	mannerHungUp                // closed without a word
	mannerHTTP2                 // what a gRPC server says
	mannerHTTP1                 // a web server of the old kind
	mannerRubbish               // none of these
)

func (g *greeted) manner() manner {
	g.mu.Lock()
	defer g.mu.Unlock()
	hungUp := errors.Is(g.err, io.EOF) || errors.Is(g.err, syscall.ECONNRESET) || errors.Is(g.err, syscall.EPIPE)
	h := g.head
	switch {
	case len(h) == 0 && hungUp:
		return mannerHungUp
	case len(h) == 0 && g.err == nil:
		return mannerPending
	case len(h) == 0:
		return mannerSilent
	case bytes.HasPrefix(h, []byte("HTTP/")):
		return mannerHTTP1
	case len(h) < frameHeader && hungUp:
		return mannerRubbish
	case len(h) < frameHeader && g.err == nil:
		return mannerPending
	case len(h) < frameHeader:
		return mannerSilent
	}
	const settings, largest = 0x4, 1 << 14 // frame type; SETTINGS_MAX_FRAME_SIZE before it is agreed
	length := int(h[0])<<16 | int(h[1])<<8 | int(h[2])
	stream := h[5] | h[6] | h[7] | h[8]
	if h[3] != settings || length > largest || stream != 0 {
		return mannerRubbish
	}
	return mannerHTTP2
}
