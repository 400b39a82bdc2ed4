package probed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/http"
	"time"
)

// days are those between which a certificate is valid, counted from now.
func days(from, to int) func(*place, *x509.Certificate, *tls.Config) {
	return func(_ *place, c *x509.Certificate, _ *tls.Config) {
		c.NotBefore, c.NotAfter = time.Now().AddDate(0, 0, from), time.Now().AddDate(0, 0, to)
	}
}

func otherName(_ *place, c *x509.Certificate, _ *tls.Config) {
	c.DNSNames = []string{"registry.example.test"}
}

// noNames is a certificate of the kind that names its host in the common name alone.
func noNames(at *place, c *x509.Certificate, _ *tls.Config) {
	c.DNSNames, c.Subject.CommonName = nil, at.host()
}

func ofStranger(at *place, template *x509.Certificate, config *tls.Config) {
	certificate, err := at.lab.stranger.Certificate(template)
	if err != nil {
		panic(err)
	}
	config.Certificates = []tls.Certificate{certificate}
}

func selfSigned(_ *place, template *x509.Certificate, config *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	config.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
}

func oldTLS(_ *place, _ *x509.Certificate, config *tls.Config) { config.MaxVersion = tls.VersionTLS11 }

func wantsClient(_ *place, _ *x509.Certificate, config *tls.Config) {
	config.ClientAuth = tls.RequireAnyClientCert
}

// dated answers as at that many days from now.
func dated(days int, h handler) handler {
	return func(at *place) http.HandlerFunc {
		answer := h(at)
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().AddDate(0, 0, days).UTC().Format(http.TimeFormat))
			answer(w, r)
		}
	}
}
