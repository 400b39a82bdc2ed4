package probed

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// real is a registry as it is released, over TLS.
type real struct {
	distribution bool   // v3, and not Debian's 2.8
	auth         string // htpasswd or token; empty lets everybody in
	broken       bool   // its storage is gone, and its health check sees it
}

// startReal starts a case's registry. All of them serve what is in the node's plain registry; those with htpasswd let in whom its private
// one lets in.
func (l *lab) startReal(at *place) error {
	base := filepath.Join(l.node.Dir, "probed", at.host())
	if err := l.ca.Issue(base, at.host()); err != nil {
		return err
	}
	root := filepath.Join(l.node.Dir, "registry", "plain")
	if at.Real.broken { // a directory below what is none
		root = filepath.Join(base+".crt", "storage")
	}
	config := fmt.Sprintf(`version: 0.1
log: {accesslog: {disabled: false}}
storage: {filesystem: {rootdirectory: %q}}
http: {addr: "%s:443", tls: {certificate: %q, key: %q}}
health: {storagedriver: {enabled: %t, interval: 100ms, threshold: 1}}
`, root, at.address, base+".crt", base+".key", at.Real.broken)
	switch at.Real.auth {
	case "htpasswd":
		config += fmt.Sprintf("auth: {htpasswd: {realm: the tests, path: %q}}\n", filepath.Join(l.node.Dir, "registry", "htpasswd"))
	case "token":
		config += fmt.Sprintf("auth: {token: {realm: \"https://%s:8443/token\", service: %q, issuer: %q, rootcertbundle: %q}}\n",
			at.host(), service, issuer, l.caFile)
	}
	program := l.node.Parts.Registry
	if at.Real.distribution {
		program = os.Getenv(insideVariable)
	}
	return l.start(at.host(), config, at.address+":443", func(config string) []string { return []string{program, "serve", config} }, "OTEL_TRACES_EXPORTER=none")
}

// realRequests counts the probe's requests in the access log of a real registry.
func (l *lab) realRequests(at *place) int64 {
	log, err := os.ReadFile(l.node.LogFile(at.host()))
	if err != nil {
		return -1
	}
	n := int64(0)
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, `"`+userAgent+`"`) && strings.Contains(line, ` "GET /v2/ HTTP/1.1" `) {
			n++
		}
	}
	return n
}

// What the registries with token auth are told of the token service.
const (
	service = "probed"
	issuer  = "the tests' token service"
)

// givesTokens is a token service that lets everybody pull (distribution, docs/spec/auth/jwt.md).
func givesTokens(at *place) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, err := at.lab.token(r.URL.Query()["scope"])
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": 300})
	}
}

// token is a signed JWT (RFC 7519) that grants what the scopes ask for. The registries trust it by the certificate in its header.
func (l *lab) token(scopes []string) (string, error) {
	type access struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	}
	granted := []access{}
	for _, scope := range scopes {
		if f := strings.Split(scope, ":"); len(f) == 3 {
			granted = append(granted, access{f[0], f[1], strings.Split(f[2], ",")})
		}
	}
	now := time.Now()
	var parts []string
	for _, part := range []map[string]any{
		{"typ": "JWT", "alg": "ES256", "x5c": []string{base64.StdEncoding.EncodeToString(l.signer.Certificate[0])}},
		{
			"iss": issuer, "aud": service, "sub": "", "jti": fmt.Sprint(now.UnixNano()), "access": granted,
			"iat": now.Unix(), "nbf": now.Unix() - 60, "exp": now.Unix() + 300,
		},
	} {
		text, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(text))
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, ".")))
	r, s, err := ecdsa.Sign(rand.Reader, l.signer.PrivateKey.(*ecdsa.PrivateKey), sum[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return strings.Join(append(parts, base64.RawURLEncoding.EncodeToString(signature)), "."), nil
}
