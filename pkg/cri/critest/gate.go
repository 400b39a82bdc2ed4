package critest

import (
	"context"
	"net"
	"sync"
	"time"
)

// SetHang makes the runtime accept connections and never answer, on old
// connections too, as a stopped process does. Taking it back answers all that
// has waited.
func (r *Runtime) SetHang(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case on && r.state.hang == nil:
		r.state.hang = make(chan struct{})
	case !on && r.state.hang != nil:
		close(r.state.hang)
		r.state.hang = nil
	}
}

// SetRubbish makes the runtime answer each connection with these bytes and
// hang up. Connections that stand are dropped. Nil takes it back.
func (r *Runtime) SetRubbish(answer []byte) {
	r.mu.Lock()
	r.state.rubbish = answer
	g := r.gate
	r.mu.Unlock()
	if g != nil {
		g.drop()
	}
}

// SetDelay makes every call wait that long before it is answered.
func (r *Runtime) SetDelay(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.delay = d
}

// fault tells what a new connection meets.
func (r *Runtime) fault() (hang <-chan struct{}, rubbish []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.hang, r.state.rubbish
}

// awaken waits while the runtime hangs.
func (r *Runtime) awaken(ctx context.Context) error {
	hang, _ := r.fault()
	if hang == nil {
		return nil
	}
	select {
	case <-hang:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gate is a listener that stands between the socket and the gRPC server and
// keeps back the connections that a fault is for.
type gate struct {
	net.Listener
	fault func() (<-chan struct{}, []byte)
	ready chan net.Conn
	done  chan struct{}
	close sync.Once

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newGate(l net.Listener, fault func() (<-chan struct{}, []byte)) *gate {
	g := &gate{
		Listener: l,
		fault:    fault,
		ready:    make(chan net.Conn),
		done:     make(chan struct{}),
		conns:    map[net.Conn]struct{}{},
	}
	go g.pump()
	return g
}

func (g *gate) pump() {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return
		}
		g.mu.Lock()
		g.conns[conn] = struct{}{}
		g.mu.Unlock()
		go g.admit(&tracked{Conn: conn, gate: g})
	}
}

// admit hands a connection to the server, or not.
func (g *gate) admit(conn net.Conn) {
	hang, rubbish := g.fault()
	if rubbish != nil {
		_, _ = conn.Write(rubbish)
		conn.Close()
		return
	}
	if hang != nil {
		select {
		case <-hang:
		case <-g.done:
			conn.Close()
			return
		}
	}
	select {
	case g.ready <- conn:
	case <-g.done:
		conn.Close()
	}
}

// Accept implements net.Listener.
func (g *gate) Accept() (net.Conn, error) {
	select {
	case conn := <-g.ready:
		return conn, nil
	case <-g.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (g *gate) Close() error {
	err := net.ErrClosed
	g.close.Do(func() {
		close(g.done)
		err = g.Listener.Close()
	})
	return err
}

// drop closes all connections.
func (g *gate) drop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for conn := range g.conns {
		conn.Close()
	}
	clear(g.conns)
}

// tracked forgets itself when it is closed.
type tracked struct {
	net.Conn
	gate *gate
}

func (c *tracked) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c.Conn)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
