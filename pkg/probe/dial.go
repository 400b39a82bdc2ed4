package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	// dialAtMost bounds one connection attempt. A registry that takes longer is as good as dead for a pull of many layers; the runtimes
	// themselves wait for 30 s.
	dialAtMost = 5 * time.Second
	// mostAddresses bounds the addresses that are tried of each family. A name may resolve to hundreds.
	mostAddresses = 4
	// familyWait is how long the slower family is waited for after the other has connected. One lost SYN is sent again after 1 s.
	familyWait = 1500 * time.Millisecond
)

// dialer connects to one host and keeps what it saw. It tries both families at once, as clients with happy eyeballs nearly do, so that one
// that is announced and dead is found behind the one that lives.
type dialer struct {
	resolver *net.Resolver
	reach    Reach
	dial     func(ctx context.Context, address netip.AddrPort) (net.Conn, error)

	mu     sync.Mutex
	dns    DNS
	tcp    TCP
	peer   netip.Addr // whom the connection is to
	racing sync.WaitGroup
}

// dnsError and dialError tell at which phase it failed.
type dnsError struct{ err error }

func (e *dnsError) Error() string { return e.err.Error() }
func (e *dnsError) Unwrap() error { return e.err }

type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// connect looks up and dials host:port. The context is that of the whole probe: the slower family goes on after the first has connected.
func (d *dialer) connect(ctx context.Context, hostPort string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port %q: %w", portText, err)
	}
	families, err := d.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	conn, peer, err := d.race(ctx, families, uint16(port))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.peer = peer
	d.tcp.Phase = phase(start, err)
	if err != nil {
		d.tcp.NoRoute = noRoute(err) // of all that were tried it says the most
		return nil, &dialError{err}
	}
	return conn, nil
}

// phase is how something went that began at start.
func phase(start time.Time, err error) Phase {
	p := Phase{State: Passed, Seconds: time.Since(start).Seconds()}
	if err != nil {
		p.State, p.Error = Failed, text(err)
	}
	return p
}

// lookup finds the addresses of a host, each family for itself. An address needs no lookup.
func (d *dialer) lookup(ctx context.Context, host string) (families [2][]netip.Addr, err error) {
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Unmap().Is4() {
			families[0] = []netip.Addr{a.Unmap()}
		} else {
			families[1] = []netip.Addr{a}
		}
		return families, nil
	}
	start := time.Now()
	var errs [2]error
	var both sync.WaitGroup
	for i, network := range []string{"ip4", "ip6"} {
		both.Go(func() { families[i], errs[i] = d.resolver.LookupNetIP(ctx, network, host) })
	}
	both.Wait()
	if len(families[0]) == 0 && len(families[1]) == 0 {
		err = errs[0]
		// A name with no record of one family and trouble with the other has the trouble.
		var notFound *net.DNSError
		if errors.As(err, &notFound) && notFound.IsNotFound && errs[1] != nil {
			err = errs[1]
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dns = DNS{Phase: phase(start, err), Host: host, IPv4: few(families[0]), IPv6: few(families[1])}
	if err != nil {
		var of *net.DNSError
		d.dns.NoSuchName = errors.As(err, &of) && of.IsNotFound
		return families, &dnsError{err}
	}
	return families, nil
}

func few(addresses []netip.Addr) []netip.Addr {
	return addresses[:min(len(addresses), mostAddresses)]
}

// race dials both families at the same time, the addresses of each one after the other. The first connection wins; the other family
// goes on for familyWait so that what it does is seen, and its connection is closed.
func (d *dialer) race(ctx context.Context, families [2][]netip.Addr, port uint16) (net.Conn, netip.Addr, error) {
	type result struct {
		conn net.Conn
		peer netip.Addr
		err  error
	}
	results := make(chan result, len(families))
	running := 0
	ctx, stop := context.WithTimeout(ctx, mostAddresses*dialAtMost)
	for _, addresses := range families {
		if len(addresses) == 0 {
			continue
		}
		running++
		d.racing.Add(1)
		go func() {
			conn, peer, err := d.dialAll(ctx, few(addresses), port)
			results <- result{conn, peer, err}
			d.racing.Done()
		}()
	}
	var errs []error
	for ; running > 0; running-- {
		r := <-results
		if r.err != nil {
			errs = append(errs, r.err)
			continue
		}
		if running > 1 {
			time.AfterFunc(familyWait, stop)
			go func() {
				if late := <-results; late.conn != nil {
					_ = late.conn.Close()
				}
				stop()
			}()
		} else {
			stop()
		}
		return r.conn, r.peer, nil
	}
	stop()
	if len(errs) == 0 {
		return nil, netip.Addr{}, errors.New("no address")
	}
	return nil, netip.Addr{}, preferred(errs)
}

// preferred is the error that says most: not that the node has no route of one family, where the other family was tried.
func preferred(errs []error) error {
	for _, err := range errs {
		if !noRoute(err) {
			return err
		}
	}
	return errs[0]
}

// noRoute tells whether this node has no address or route of the family at all, which is no fault of the registry.
func noRoute(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}

// dialAll tries addresses of one family until one connects.
func (d *dialer) dialAll(ctx context.Context, addresses []netip.Addr, port uint16) (conn net.Conn, peer netip.Addr, err error) {
	for _, a := range addresses {
		at := netip.AddrPortFrom(a, port)
		start := time.Now()
		if err = d.reach.allows(a); err == nil {
			one, cancel := context.WithTimeout(ctx, dialAtMost)
			conn, err = d.dial(one, at)
			cancel()
		}
		if err != nil && (ctx.Err() != nil || isTimeout(err)) {
			err = fmt.Errorf("dial tcp %s: no answer within %s", at, min(dialAtMost, time.Since(start)).Round(100*time.Millisecond))
		}
		d.mu.Lock()
		d.tcp.Dials = append(d.tcp.Dials, Dial{at, phase(start, err)})
		d.mu.Unlock()
		if err == nil || ctx.Err() != nil {
			return conn, a, err
		}
	}
	return nil, netip.Addr{}, err
}

// facts waits for the attempts that still run and gives what was seen.
func (d *dialer) facts() (DNS, TCP, netip.Addr) {
	d.racing.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dns, d.tcp, d.peer
}

// dialTCP is the real connection.
func dialTCP(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
	var direct net.Dialer
	return direct.DialContext(ctx, "tcp", address.String())
}
