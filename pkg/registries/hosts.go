package registries

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// mostHostsFile bounds a hosts.toml and each certificate it names, in bytes.
const mostHostsFile = 1 << 20

// defaultDialTimeout is containerd's, for an endpoint that names none (docker.DefaultHTTPTransport).
const defaultDialTimeout = 30 * time.Second

// hostTable is what may be said of one host. The types are those that containerd takes (core/remotes/docker/config/hosts.go).
type hostTable struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`     // a file, or several
	Client       any            `toml:"client"` // a file, files, or pairs of certificate and key
	SkipVerify   *bool          `toml:"skip_verify"`
	Header       map[string]any `toml:"header"` // a value, or several
	OverridePath bool           `toml:"override_path"`
	DialTimeout  any            `toml:"dial_timeout"` // a duration as text
}

// hostsFile is a hosts.toml. What stands at its root is said of the server.
type hostsFile struct {
	hostTable
	Server string               `toml:"server"`
	Host   map[string]hostTable `toml:"host"`
}

// host is one endpoint of a hosts.toml, or of a directory with certificates alone.
type host struct {
	scheme, name, path string // name is empty where the registry itself is meant
	table              hostTable
	resolve, pull      bool
	caFiles            []string
	clients            [][2]string // certificate and key; one file holds both where the key's is empty
	header             http.Header
	dialTimeout        time.Duration
	line               int
}

// fileError is something in a file that makes containerd do without it.
type fileError struct {
	line int
	text string
}

func (e *fileError) Error() string { return e.text }

// parseHosts reads a hosts.toml. The hosts are in the order in which they are asked, the server's comes last. An error is one for which
// containerd throws the whole file away.
func (m manners) parseHosts(text []byte, dir string) (hosts []host, findings []Finding, err error) {
	if m.mark {
		text = bytes.TrimPrefix(text, []byte("\ufeff"))
	}
	var file hostsFile
	if err := toml.Unmarshal(text, &file); err != nil {
		return nil, nil, tomlError(err)
	}
	order, unseen := m.hostOrder(text)
	if len(order) == 0 && !m.rootAlone {
		return nil, nil, &fileError{1, "no [host] table, which this version of containerd wants"}
	}
	for _, at := range order {
		h, err := m.readHost(at.name, file.Host[at.name], dir)
		if err != nil {
			return nil, nil, &fileError{at.line, err.Error()}
		}
		h.line = at.line
		hosts = append(hosts, h)
	}
	server, err := m.readHost(file.Server, file.hostTable, dir)
	if err != nil {
		return nil, nil, &fileError{1, err.Error()}
	}
	findings = unknownKeys(text)
	for _, at := range unseen {
		findings = append(findings, Finding{Line: at.line, Text: "a host that is not written as a [host.\"URL\"] table", Effect: "this version of containerd does not see it"})
	}
	return append(hosts, server), findings, nil
}

// tomlError is an error of the parser with its line.
func tomlError(err error) *fileError {
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		line, _ := decode.Position()
		return &fileError{line, strings.TrimPrefix(decode.Error(), "toml: ")}
	}
	return &fileError{0, err.Error()}
}

// unknownKeys are those that mean nothing, with their lines: most often a typo, or a key of a newer containerd.
func unknownKeys(text []byte) (findings []Finding) {
	var file hostsFile
	var strict *toml.StrictMissingError
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&file)
	if !errors.As(err, &strict) {
		return nil
	}
	for i := range strict.Errors {
		line, _ := strict.Errors[i].Position()
		findings = append(findings, Finding{Line: line, Text: fmt.Sprintf("unknown key %q", strings.Join(strict.Errors[i].Key(), ".")), Effect: "containerd ignores the key"})
	}
	return findings
}

// place is a [host."NAME"] table.
type place struct {
	name string
	line int
}

// hostOrder lists the hosts as they stand in the file, which is the order in which they are asked; a decoded map has none. unseen are those
// that containerd decodes and does not ask.
func (m manners) hostOrder(text []byte) (order, unseen []place) {
	parser := unstable.Parser{}
	parser.Reset(text)
	var table []string // the one that keys are read in
	seen := make(map[string]bool)
	add := func(name string, at unstable.Range, header bool) {
		one := place{name, parser.Shape(at).Start.Line}
		adjacent := len(order) > 0 && order[len(order)-1].name == name
		switch {
		case !header && !m.inlineHosts:
			if !seen[name] {
				unseen = append(unseen, one)
			}
		case !seen[name], header && m.repeatsHosts && !adjacent:
			order = append(order, one)
		}
		seen[name] = true
	}
	for parser.NextExpression() {
		e := parser.Expression()
		var key []string
		var ranges []unstable.Range
		for it := e.Key(); it.Next(); {
			key = append(key, string(it.Node().Data))
			ranges = append(ranges, it.Node().Raw)
		}
		switch {
		case e.Kind == unstable.Table:
			table = key
			if len(key) > 1 && key[0] == "host" {
				add(key[1], ranges[1], true)
			}
		case e.Kind != unstable.KeyValue:
		case len(table) == 1 && table[0] == "host": // [host] "URL" = {...}
			add(key[0], ranges[0], false)
		case len(table) == 0 && len(key) > 1 && key[0] == "host": // host."URL" = {...}
			add(key[1], ranges[1], false)
		case len(table) == 0 && key[0] == "host" && e.Value().Kind == unstable.InlineTable: // host = {"URL" = {...}}
			for it := e.Value().Children(); it.Next(); {
				if name := it.Node().Key(); name.Next() {
					add(string(name.Node().Data), name.Node().Raw, false)
				}
			}
		}
	}
	return order, unseen
}

// readHost reads what is said of one host.
func (m manners) readHost(name string, table hostTable, dir string) (h host, err error) {
	h.table, h.dialTimeout = table, defaultDialTimeout
	if name != "" {
		if !strings.HasPrefix(name, "http") {
			name = "https://" + name
		}
		u, err := url.Parse(name)
		if err != nil {
			return h, errors.New("the host is no URL") // the parser's own text quotes it, with a password maybe
		}
		h.scheme, h.name, h.path = u.Scheme, u.Host, apiPath(u.Path, table.OverridePath)
	}
	for _, c := range table.Capabilities {
		switch strings.ToLower(c) {
		case "pull":
			h.pull = true
		case "resolve":
			h.resolve = true
		case "push":
		case "referrers":
			if !m.referrers {
				return h, errors.New("capability referrers, which containerd knows since 2.2")
			}
		default:
			return h, fmt.Errorf("unknown capability %q", c)
		}
	}
	if len(table.Capabilities) == 0 {
		h.pull, h.resolve = true, true
	}
	if h.caFiles, err = paths(table.CA, dir, "ca"); err != nil {
		return h, err
	}
	if h.clients, err = pairs(table.Client, dir); err != nil {
		return h, err
	}
	for key, value := range table.Header {
		values, err := texts(value, fmt.Sprintf("header %q", key))
		if err != nil {
			return h, err
		}
		if h.header == nil {
			h.header = make(http.Header)
		}
		h.header[http.CanonicalHeaderKey(key)] = values
	}
	if text, ok := table.DialTimeout.(string); m.dialTimeout && table.DialTimeout != nil && table.DialTimeout != "" {
		if !ok {
			return h, errors.New("dial_timeout: not a text such as \"5s\"")
		}
		if h.dialTimeout, err = time.ParseDuration(text); err != nil {
			return h, fmt.Errorf("dial_timeout: %w", err)
		}
	}
	return h, nil
}

// apiPath is where the API is below a host: containerd appends /v2 unless told that the path is the whole of it.
func apiPath(given string, override bool) string {
	if given == "" {
		if override {
			return ""
		}
		return "/v2"
	}
	given = strings.TrimSuffix(path.Clean(given), "/")
	if !strings.HasSuffix(given, "/v2") && !override {
		given += "/v2"
	}
	return given
}

// texts is one string or a list of strings.
func texts(value any, what string) ([]string, error) {
	switch v := value.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		all := make([]string, len(v))
		for i := range v {
			s, ok := v[i].(string)
			if !ok {
				return nil, fmt.Errorf("%s: a list of what is no text", what)
			}
			all[i] = s
		}
		return all, nil
	}
	return nil, fmt.Errorf("%s: neither a text nor a list of texts", what)
}

// paths are files; those that are not absolute are next to the hosts.toml.
func paths(value any, dir, what string) ([]string, error) {
	all, err := texts(value, what)
	for i := range all {
		if !filepath.IsAbs(all[i]) {
			all[i] = filepath.Join(dir, all[i])
		}
	}
	return all, err
}

// pairs are client certificates: one file, several, or pairs of files.
func pairs(value any, dir string) (all [][2]string, err error) {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	if value == nil {
		return nil, nil
	}
	for _, one := range list {
		files, err := paths(one, dir, "client")
		if err != nil {
			return nil, err
		}
		_, whole := one.(string)
		switch {
		case whole:
			all = append(all, [2]string{files[0], ""})
		case len(files) == 2:
			all = append(all, [2]string{files[0], files[1]})
		default:
			return nil, errors.New("client: a pair is a certificate and a key")
		}
	}
	return all, nil
}

// certificateDir reads a directory without a hosts.toml as Docker lays it out: *.crt are CAs, *.cert and *.key the client's.
func certificateDir(dir string) (h host, err error) {
	h = host{resolve: true, pull: true, dialTimeout: defaultDialTimeout}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return h, err
	}
	for _, entry := range entries {
		file := filepath.Join(dir, entry.Name())
		switch filepath.Ext(file) {
		case ".crt":
			h.caFiles = append(h.caFiles, file)
		case ".cert":
			key := strings.TrimSuffix(file, ".cert") + ".key"
			if !seen(key) {
				key = ""
			}
			h.clients = append(h.clients, [2]string{file, key})
		}
	}
	return h, nil
}

// trust loads the certificates of a host. An error is one with which containerd fails every pull; a file that this user may not read is
// told apart, since the runtime may.
func (h *host) trust(roots func() (*x509.CertPool, error)) (config *tls.Config, err error) {
	if h.caFiles == nil && h.clients == nil && h.table.SkipVerify == nil {
		return nil, nil
	}
	config = &tls.Config{}
	if h.table.SkipVerify != nil {
		config.InsecureSkipVerify = *h.table.SkipVerify //nolint:gosec // as the runtime is told to
	}
	if h.caFiles != nil {
		if config.RootCAs, err = roots(); err != nil {
			return nil, err
		}
	}
	for _, file := range h.caFiles {
		text, err := readBounded(file, mostHostsFile)
		if err != nil {
			return nil, err
		}
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate", file)
		}
	}
	for _, pair := range h.clients {
		certificate, err := readBounded(pair[0], mostHostsFile)
		if err != nil {
			return nil, err
		}
		key := certificate
		if pair[1] != "" {
			if key, err = readBounded(pair[1], mostHostsFile); err != nil {
				return nil, err
			}
		}
		c, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", pair[0], err)
		}
		config.Certificates = append(config.Certificates, c)
	}
	return config, nil
}

// isLocalhost tells the hosts that containerd speaks plain HTTP to where the port leaves it open (docker.IsLocalhost).
func isLocalhost(registry string) bool {
	name := registry
	if host, _, err := net.SplitHostPort(registry); err == nil {
		name = host
	}
	if name == "localhost" {
		return true
	}
	ip := net.ParseIP(name)
	return ip != nil && ip.IsLoopback()
}
