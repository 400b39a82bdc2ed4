package disk

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// answerOf134 is what a kubelet 1.34 answered, shortened, with a secret where it has one.
const answerOf134 = `{"kubeletconfig":{"enableServer":true,"staticPodURLHeader":{"Authorization":["s3cret"]},"syncFrequency":"1m0s",
"imageMinimumGCAge":"2m0s","imageMaximumGCAge":"0s","imageGCHighThresholdPercent":85,"imageGCLowThresholdPercent":80,
"evictionHard":{"imagefs.available":"15%","imagefs.inodesFree":"5%","memory.available":"100Mi","nodefs.available":"10%","nodefs.inodesFree":"5%"},
"evictionSoft":{"nodefs.available":"12%"},"evictionSoftGracePeriod":{"nodefs.available":"1m"},"evictionPressureTransitionPeriod":"5m0s","featureGates":{"ImageVolume":true}}}`

// fakeKubelet serves as one, and keeps the tokens that it was sent.
type fakeKubelet struct {
	*httptest.Server
	dir    string
	answer http.HandlerFunc
	tokens []string
}

func newFakeKubelet(t *testing.T) *fakeKubelet {
	k := &fakeKubelet{dir: write(t, map[string]string{"token": "the-token\n"})}
	k.answer = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answerOf134) }
	k.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.tokens = append(k.tokens, r.Header.Get("Authorization"))
		if r.URL.Path != "/configz" || r.Method != http.MethodGet {
			http.NotFound(w, r)
			return
		}
		k.answer(w, r)
	}))
	k.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that fail as they should
	k.StartTLS()
	t.Cleanup(k.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(k.dir, "ca.crt"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *fakeKubelet) configz() *Configz {
	return &Configz{URL: k.URL, TokenFile: filepath.Join(k.dir, "token"), CAFiles: []string{filepath.Join(k.dir, "none"), filepath.Join(k.dir, "ca.crt")}}
}

func TestConfigz(t *testing.T) {
	k := newFakeKubelet(t)
	s := (&Kubelet{Configz: k.configz(), File: "/not/asked", Version: "v1.34.4"}).Settings(t.Context())
	if len(s.Failed) != 0 || s.Assumed() {
		t.Fatalf("%v", s.Failed)
	}
	want := []string{
		"high 85 configz", "low 80 configz", "minimum 2m0s configz", "maximum 0s default",
		"imagefs.available 15% configz", "imagefs.inodesFree 5% configz", "nodefs.available 10% configz", "nodefs.available 12% configz soft 1m0s", "nodefs.inodesFree 5% configz",
	}
	if diff := gocmp.Diff(want, told(s, "", "")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// A new token is read for each question.
	if err := os.WriteFile(filepath.Join(k.dir, "token"), []byte("the-next"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := k.configz().Read(t.Context(), ""); err != nil {
		t.Error(err)
	}
	if diff := gocmp.Diff([]string{"Bearer the-token", "Bearer the-next"}, k.tokens); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
}

// TestConfigzRefused: each way not to be told says what to do, and the settings come from the file then.
func TestConfigzRefused(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "s3cret", code) }
	}
	body := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
	}
	for _, test := range []struct {
		name         string
		answer       http.HandlerFunc
		change       func(*Configz)
		want, hint   string
		tokenIsFirst bool // the token was sent, to the kubelet alone
	}{
		{"401", status(401), nil, "401 Unauthorized", "authentication.webhook", true},
		{"403", status(403), nil, "403 Forbidden", "nodes/configz", true},
		{"404", status(404), nil, "404 Not Found", "enableDebuggingHandlers", true},
		{"405", status(405), nil, "405 Method Not Allowed", "enableDebuggingHandlers", true},
		{"500", status(500), nil, "500 Internal", "", true},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/configz?again", http.StatusFound) }, nil, "302 Found", "", true},
		{"not JSON", body("s3cret"), nil, "not JSON", "", true},
		{"of something else", body(`{"kubeletconfig":{}}`), nil, "no kubelet configuration", "", true},
		{"of another type", body(`{"kubeletconfig":{"imageGCHighThresholdPercent":"s3cret"}}`), nil, "imageGCHighThresholdPercent is a string", "", true},
		{"nonsense", body(strings.Replace(answerOf134, `"15%"`, `"\u001b[31m%"`, 1)), nil, "no percentage", "", true},
		{"too large", body(`{"a":"` + strings.Repeat("x", mostConfigz) + `"}`), nil, "larger than", "", true},
		{"an unknown authority", nil, func(c *Configz) { c.CAFiles = []string{otherCA(t)} }, "unknown authority", "--kubelet-ca-file", false},
		{"no authority", nil, func(c *Configz) { c.CAFiles = nil }, "no CA", "", false},
		{"a certificate for another name", nil, func(c *Configz) { c.ServerName = "node-1" }, "not node-1", "name or address", false},
		{"plain HTTP", nil, func(c *Configz) { c.URL = strings.Replace(c.URL, "https", "http", 1) }, "not https", "", false},
		{"no address", nil, func(c *Configz) { c.URL = "" }, "not https", "", false},
		{"no token", nil, func(c *Configz) { c.TokenFile = "/no/such/token" }, "token", "", false},
		{"a token of two lines", nil, func(c *Configz) { c.TokenFile = filepath.Join(write(t, map[string]string{"t": "s3cret\r\nX: y"}), "t") }, "has none", "", false},
		{"nobody there", nil, func(c *Configz) { c.URL = "https://127.0.0.1:1" }, "connection refused", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := newFakeKubelet(t)
			if test.answer != nil {
				k.answer = test.answer
			}
			c := k.configz()
			if test.change != nil {
				test.change(c)
			}
			file := filepath.Join(write(t, map[string]string{"config.yaml": configHead}), "config.yaml")
			s := (&Kubelet{Configz: c, File: file, Version: "v1.34.4"}).Settings(t.Context())
			if len(s.Failed) != 1 || s.Assumed() || s.Thresholds[0].Source.From != FromDefault {
				t.Fatalf("%+v", s)
			}
			err := s.Failed[0]
			if !strings.Contains(err.Error(), test.want) || strings.ContainsAny(err.Error(), "\n\x1b") || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "the-token") {
				t.Errorf("%q, want %q", err, test.want)
			}
			if hint := Hint(err); !strings.Contains(hint, test.hint) || (hint == "") != (test.hint == "") {
				t.Errorf("hint %q, want %q", hint, test.hint)
			}
			if sent := slices.Contains(k.tokens, "Bearer the-token"); sent != test.tokenIsFirst || len(k.tokens) > 1 {
				t.Errorf("sent %q", k.tokens)
			}
		})
	}
}

// otherCA is a certificate that has signed nothing here.
func otherCA(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "another"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(write(t, map[string]string{"ca": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}), "ca")
}

// TestConfigzHangs: a kubelet that does not answer costs the timeout.
func TestConfigzHangs(t *testing.T) {
	k := newFakeKubelet(t)
	k.answer = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	c := k.configz()
	c.Timeout = 100 * time.Millisecond
	if _, err := c.Read(t.Context(), ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func FuzzConfigz(f *testing.F) {
	f.Add([]byte(answerOf134))
	f.Add([]byte(`{"kubeletconfig":{"imageGCHighThresholdPercent":1,"imageGCLowThresholdPercent":0}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseConfigz(text, "v1.34.4")
		if err == nil && (s.LowPercent.Value < 0 || s.LowPercent.Value >= s.HighPercent.Value || s.HighPercent.Value > 100) {
			t.Errorf("low %d, high %d", s.LowPercent.Value, s.HighPercent.Value)
		}
	})
}
