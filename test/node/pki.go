package node

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"time"
)

// Authority is a certificate authority of a test's own.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// NewAuthority makes a CA and writes its certificate to path.
func NewAuthority(name, path string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{cert, key}, writePEM(path, "CERTIFICATE", der)
}

// Issue writes a certificate for servers and clients, valid for loopback and the given names, to base.crt and base.key.
func (a *Authority) Issue(base string, names ...string) error {
	return a.sign(base, &x509.Certificate{
		Subject: pkix.Name{CommonName: filepath.Base(base)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames: append([]string{"localhost"}, names...), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
}

// IssueExpired writes a certificate for servers that ended a week ago.
func (a *Authority) IssueExpired(base string) error {
	return a.sign(base, &x509.Certificate{
		Subject: pkix.Name{CommonName: filepath.Base(base)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().AddDate(-1, 0, -7), NotAfter: time.Now().AddDate(0, 0, -7),
	})
}

// Certificate makes a server's certificate that is kept in no file, valid for a year where the template does not say otherwise.
func (a *Authority) Certificate(template *x509.Certificate) (tls.Certificate, error) {
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	key, der, err := a.make(template)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// issueClient writes a client certificate, for a user of a group of Kubernetes, to base.crt and base.key.
func (a *Authority) issueClient(base, user, group string) error {
	return a.sign(base, &x509.Certificate{
		Subject: pkix.Name{CommonName: user, Organization: []string{group}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// make signs a certificate for a new key.
func (a *Authority) make(tmpl *x509.Certificate) (key *ecdsa.PrivateKey, der []byte, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	tmpl.SerialNumber, tmpl.KeyUsage = big.NewInt(time.Now().UnixNano()), x509.KeyUsageDigitalSignature
	if tmpl.NotAfter.IsZero() {
		tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	}
	der, err = x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	return key, der, err
}

func (a *Authority) sign(base string, tmpl *x509.Certificate) error {
	key, der, err := a.make(tmpl)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(base+".crt", "CERTIFICATE", der); err != nil {
		return err
	}
	return writePEM(base+".key", "PRIVATE KEY", keyDER)
}

// writeSigningKey makes the key pair that signs service account tokens.
func writeSigningKey(base string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make the service account key: %w", err)
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := writePEM(base+".pub", "PUBLIC KEY", pub); err != nil {
		return err
	}
	return writePEM(base+".key", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
}

func writePEM(path, kind string, der []byte) error {
	return writeFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
