package disk

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Of one question to /configz. An answer has about 4 kB; the kubelet makes it up from memory.
const (
	configzTimeout = 5 * time.Second
	mostConfigz    = 1 << 20
	mostToken      = 64 << 10
	mostCAs        = 4 << 20
)

// Configz asks the kubelet of this node for the settings in force: files, drop-ins and flags put together. It needs the right to get
// nodes/configz (kubelets from 1.33), on older ones nodes/proxy, which is the right to run commands in every pod and not worth it.
type Configz struct {
	URL string // https://HOST:10250
	// ServerName is the name that the certificate must be for; empty is the host of URL.
	ServerName string
	// TokenFile is that of the service account. It is read for each question, since it changes every hour.
	TokenFile string
	// CAFiles hold the certificates that the kubelet's is verified against, in PEM; one that is missing counts for nothing. None is an error:
	// the token is never sent to somebody unknown.
	CAFiles []string
	// Timeout bounds one question; 0 is 5 s.
	Timeout time.Duration
}

// ConfigzError is why the kubelet did not say.
type ConfigzError struct {
	Status int // HTTP's; 0 where there was no answer
	Err    error
}

func (e *ConfigzError) Error() string { return "read the kubelet's configz: " + e.Err.Error() }
func (e *ConfigzError) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *ConfigzError) Hint() string {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case e.Status == http.StatusUnauthorized:
		return "The kubelet does not take the token: set authentication.webhook.enabled in its configuration, and see that the service account exists."
	case e.Status == http.StatusForbidden:
		return "Grant the agent's service account get on nodes/configz; kubelets before 1.33 know no such right, and their file has to be read."
	case e.Status == http.StatusNotFound, e.Status == http.StatusMethodNotAllowed:
		return "The kubelet serves no configz: set enableDebuggingHandlers in its configuration, or have its file read."
	case errors.As(e.Err, &unknown):
		return "Name the CA of the kubelet's serving certificate with --kubelet-ca-file, or set serverTLSBootstrap and approve its certificate requests."
	case errors.As(e.Err, &name):
		return "Ask the kubelet under a name or address that its serving certificate is for."
	case errors.As(e.Err, &invalid):
		return "Have the kubelet's serving certificate renewed, and look at this node's clock."
	}
	return ""
}

// Read asks once. version is the kubelet's.
func (c *Configz) Read(ctx context.Context, version string) (Settings, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Timeout, configzTimeout))
	defer cancel()
	text, status, err := c.get(ctx)
	if err != nil {
		return Settings{}, &ConfigzError{status, err}
	}
	settings, err := parseConfigz(text, version)
	if err != nil {
		return Settings{}, &ConfigzError{status, err}
	}
	return settings, nil
}

func (c *Configz) get(ctx context.Context) (text []byte, status int, err error) {
	at, err := url.Parse(c.URL)
	if err != nil || at.Scheme != "https" || at.Host == "" {
		return nil, 0, errors.New("the kubelet's address is not https://HOST:PORT")
	}
	roots, err := c.roots()
	if err != nil {
		return nil, 0, err
	}
	token, err := readBounded(c.TokenFile, mostToken)
	if err != nil {
		return nil, 0, fmt.Errorf("token: %w", err)
	}
	secret := strings.TrimSpace(string(token))
	if secret == "" || strings.ContainsAny(secret, "\r\n\x00") {
		return nil, 0, errors.New("token: the file has none")
	}
	at.Path, at.RawQuery, at.User = "/configz", "", nil
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return nil, 0, err
	}
	request.Header.Set("Authorization", "Bearer "+secret)
	transport := &http.Transport{ // no proxy stands between a node and itself
		TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: c.ServerName, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a token goes nowhere else
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, response.StatusCode, fmt.Errorf("it answers %d %s", response.StatusCode, http.StatusText(response.StatusCode))
	}
	text, err = io.ReadAll(io.LimitReader(response.Body, mostConfigz+1))
	if err == nil && len(text) > mostConfigz {
		err = fmt.Errorf("the answer is larger than %d bytes", mostConfigz)
	}
	return text, response.StatusCode, err
}

func (c *Configz) roots() (*x509.CertPool, error) {
	pool, any := x509.NewCertPool(), false
	var failed error
	for _, file := range c.CAFiles {
		text, err := readBounded(file, mostCAs)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		any = pool.AppendCertsFromPEM(text) || any
	}
	if !any {
		return nil, errors.Join(errors.New("no CA to verify the kubelet's certificate against"), failed)
	}
	return pool, nil
}

// parseConfigz reads an answer. All of it but what document names is left alone: staticPodURLHeader is a secret.
func parseConfigz(text []byte, version string) (Settings, error) {
	var answer struct {
		Config *document `json:"kubeletconfig"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return Settings{}, fmt.Errorf("%s is a %s", clean(wrong.Field), wrong.Value)
		}
		return Settings{}, errors.New("the answer is not JSON") // its text may hold a secret
	}
	if answer.Config == nil || answer.Config.High == nil || answer.Config.Low == nil {
		return Settings{}, errors.New("the answer has no kubelet configuration in it")
	}
	settings, problems := answer.Config.settings(version, func(string) Source { return Source{From: FromConfigz} })
	if len(problems) > 0 {
		// A running kubelet was validated: this is one whose rules are not these.
		return Settings{}, fmt.Errorf("%s: %s", clean(problems[0].path), clean(problems[0].text))
	}
	return settings, nil
}

// readBounded reads a file that may be anything. It may be a symbolic link, as those of a service account are.
func readBounded(file string, most int64) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // a pipe would block for ever
		return nil, fmt.Errorf("%s: not a regular file", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(text)) > most:
		return nil, fmt.Errorf("%s: larger than %d bytes", file, most)
	case len(text) == 0:
		return nil, fmt.Errorf("%s: the file is empty", file)
	}
	return text, nil
}
