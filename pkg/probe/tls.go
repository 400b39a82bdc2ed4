package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pullwatch/pullwatch/pkg/registries"
)

// mostNames bounds the names of a certificate that are reported.
const mostNames = 5

// ClockSlack is how far the registry's Date may be from this node's clock before the clock is to blame for a certificate's dates.
const ClockSlack = 5 * time.Minute

// handshake watches one TLS handshake. It verifies by itself, so that a chain that does not pass can be told in full.
type handshake struct {
	host string
	now  func() time.Time
	skip bool // the runtime does not verify

	mu    sync.Mutex
	start time.Time
	facts TLS
}

// config is how the runtime would go about it, with a verification that keeps what it saw.
func (h *handshake) config(e *registries.Endpoint) *tls.Config {
	c := &tls.Config{}
	if e.TLS != nil {
		c = e.TLS.Clone()
	}
	h.skip = c.InsecureSkipVerify
	roots := c.RootCAs
	c.InsecureSkipVerify = true // VerifyConnection does it
	c.VerifyConnection = func(s tls.ConnectionState) error { return h.verify(s, roots) }
	return c
}

func (h *handshake) verify(s tls.ConnectionState, roots *x509.CertPool) error {
	options := x509.VerifyOptions{DNSName: h.host, Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: h.now()}
	for _, c := range s.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	leaf := s.PeerCertificates[0]
	chains, err := leaf.Verify(options)
	passes := err == nil
	chain := s.PeerCertificates
	if passes {
		chain = chains[0]
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.facts.Version = tls.VersionName(s.Version)
	h.facts.Names = namesOf(leaf)
	h.facts.Issuer = bounded(cmp.Or(leaf.Issuer.CommonName, leaf.Issuer.String()), 200)
	h.facts.NotBefore, h.facts.NotAfter = leaf.NotBefore, leaf.NotAfter
	for _, c := range chain[1:] {
		if c.NotAfter.Before(h.facts.NotAfter) {
			h.facts.NotAfter = c.NotAfter
		}
	}
	h.facts.Verified = &passes
	if passes {
		return nil
	}
	h.facts.Fault = certificateFault(err, leaf, h.now())
	if h.skip {
		return nil
	}
	if h.facts.Fault == UnknownIssuer && noRoots() {
		return errNoRoots
	}
	return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
}

// errNoRoots is a chain that cannot be judged: in a pod the node's certificate authorities are only seen where they are mounted.
var errNoRoots = errors.New("the node's certificate authorities are not to be seen here (/etc/ssl/certs and the like), so that its certificate cannot be checked")

// noRoots tells whether this program sees no certificate authority at all but those that the runtime's configuration names.
var noRoots = sync.OnceValue(func() bool {
	roots, err := x509.SystemCertPool()
	return err != nil || roots.Equal(x509.NewCertPool())
})

// namesOf are the hosts that a certificate is for.
func namesOf(c *x509.Certificate) (names []string) {
	for _, name := range c.DNSNames {
		names = append(names, bounded(name, 200))
	}
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return slices.Clip(names[:min(len(names), mostNames)])
}

// certificateFault says whose fault it is that a chain does not pass. Dates come first: crypto/x509 looks at them first too.
func certificateFault(err error, leaf *x509.Certificate, now time.Time) TLSFault {
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		bad := invalid.Cert
		if bad == nil {
			bad = leaf
		}
		if now.Before(bad.NotBefore) {
			return NotYetValid
		}
		return Expired
	case errors.As(err, &name):
		return WrongName
	case errors.As(err, new(x509.UnknownAuthorityError)), errors.As(err, new(x509.SystemRootsError)):
		return UnknownIssuer
	}
	return OtherTLS
}

// started and done are the hooks of httptrace.
func (h *handshake) started() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.start = time.Now()
}

func (h *handshake) done(_ tls.ConnectionState, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.facts.Phase = phase(h.start, err)
	if err != nil && h.facts.Fault == "" {
		h.facts.Fault = handshakeFault(err)
	}
}

// report is what was seen of the handshake.
func (h *handshake) report() TLS {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.facts
}

// handshakeFault reads the fault out of an error before any certificate was seen.
func handshakeFault(err error) TLSFault {
	var record tls.RecordHeaderError
	var remote *net.OpError
	switch {
	case errors.As(err, &record) && strings.HasPrefix(string(record.RecordHeader[:]), "HTTP"), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return PlainHTTP
	case errors.As(err, &remote) && remote.Op == "remote error" && slices.Contains(clientCertificateAlerts, remote.Err.Error()):
		return ClientCertificate
	}
	return OtherTLS
}

// clientCertificateAlerts are those by which a server tells that it wants a certificate of the client, or another one (RFC 8446, 6.2):
// bad_certificate, unsupported_certificate, certificate_revoked, certificate_expired, certificate_unknown, unknown_ca, access_denied,
// certificate_required. crypto/tls gives alerts of a type of its own, whose texts are these. In TLS 1.3 they come after the handshake.
var clientCertificateAlerts = func() (texts []string) {
	for _, alert := range []tls.AlertError{42, 43, 44, 45, 46, 48, 49, 116} {
		texts = append(texts, alert.Error())
	}
	return texts
}()

// cutShort tells whether a handshake or request ended because the other side hung up.
func cutShort(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// isTimeout tells a deadline of ours or of the kernel's.
func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}
