// Package keyring finds in a pull secret the logins that a kubelet would have an image pulled with, and tells what came of them.
//
// It promises: the kubelet's own rules (pkg/credentialprovider of Kubernetes 1.34), a secret that it would not understand being told as one; a
// bounded amount of memory, whatever a secret holds; and of what it holds nothing but the hosts that it has logins for in any text.
package keyring

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/pullwatch/pullwatch/pkg/probe"
)

const (
	// mostLogins bounds the logins of one secret that are asked with for an image: a kubelet tries all that match.
	mostLogins = 3
	// mostLogin bounds user and password together, in bytes: no registry takes a header as large.
	mostLogin = 16 << 10
	// MostHosts bounds the hosts that are told of a secret.
	MostHosts = 8
	// longestHost is that of a name (RFC 1035) with a port.
	longestHost = 253 + len(":65535")
)

// The types of secrets that a kubelet takes logins from.
const (
	dockerConfigJSON = "kubernetes.io/dockerconfigjson" // {"auths": {KEY: ENTRY}}
	dockerConfig     = "kubernetes.io/dockercfg"        // {KEY: ENTRY}
)

// Found is what a secret holds for an image.
type Found struct {
	Logins []probe.Login // in the order in which a kubelet tries them; their Source is not set
	Fault  Result        // why there is none; empty where there is one. NotKnown is one that is too large to be tried
	Hosts  []string      // that the secret has entries for, MostHosts of them, where it has none for the image
}

// Find looks for the logins of an image in the content of a secret of a type.
func Find(secretType string, content []byte, image string) Found {
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		return Found{Fault: NoEntry}
	}
	s := search{repository: named.Name()}
	switch {
	case secretType != dockerConfigJSON && secretType != dockerConfig, len(content) == 0:
		return Found{Fault: WrongType}
	case s.read(json.NewDecoder(bytes.NewReader(content)), secretType == dockerConfigJSON) != nil:
		return Found{Fault: Malformed}
	}
	if len(s.matched) == 0 {
		s.matched = s.hub
	}
	f := Found{Fault: NoEntry, Hosts: s.hosts}
	for _, m := range s.matched {
		f.Fault, f.Hosts = NoPassword, nil
		if len(m.username)+len(m.password) > mostLogin {
			f.Fault = NotKnown
			break
		}
		if m.username != "" && m.password != "" { // what a runtime takes for a login
			f.Logins = append(f.Logins, probe.Login{Username: m.username, Password: m.password})
		}
	}
	if len(f.Logins) > 0 {
		f.Fault = ""
	}
	return f
}

// search goes through the entries of a secret and keeps what is for one repository.
type search struct {
	repository string
	matched    []match // the most specific first, mostLogins at most
	hub        []match // of Docker Hub's old key, which serves where nothing else does
	hosts      []string
}

// match is an entry that is for the repository. key is what its name comes to.
type match struct{ key, name, username, password string }

var errMalformed = errors.New("malformed")

// read goes through a configuration, one entry at a time: all of them at once take many times the memory of the text.
func (s *search) read(d *json.Decoder, below bool) error {
	err := object(d, func(name string) error {
		switch {
		case !below:
			return s.entry(d, name)
		case strings.EqualFold(name, "auths"): // as encoding/json has it
			return object(d, func(name string) error { return s.entry(d, name) })
		}
		var other json.RawMessage
		return d.Decode(&other)
	})
	if err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errMalformed
	}
	return nil
}

// object goes through the members of an object; null is one without any.
func object(d *json.Decoder, member func(name string) error) error {
	if t, err := d.Token(); err != nil || t == nil {
		return err
	} else if t != json.Delim('{') {
		return errMalformed
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, ok := t.(string)
		if !ok {
			return errMalformed
		}
		if err := member(name); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// entry reads one. A kubelet takes user and password from it and nothing else: no identity token, no token for the registry.
func (s *search) entry(d *json.Decoder, name string) error {
	var e struct{ Username, Password, Email, Auth string }
	if err := d.Decode(&e); err != nil {
		return err
	}
	if e.Auth != "" {
		encoding := base64.RawStdEncoding
		if strings.HasSuffix(strings.TrimSpace(e.Auth), "=") {
			encoding = base64.StdEncoding
		}
		pair, err := encoding.DecodeString(e.Auth)
		user, password, ok := strings.Cut(string(pair), ":")
		if err != nil || !ok {
			return errMalformed
		}
		e.Username, e.Password = user, password
	}
	u := parseKey(name)
	if u == nil {
		return nil // a kubelet passes over what is no URL
	}
	m := match{u.Host + u.Path, name, e.Username, e.Password}
	switch {
	case covers(u, s.repository):
		s.matched = keep(s.matched, m)
	case m.key == "index.docker.io" && hubs(s.repository):
		s.hub = keep(s.hub, m)
	}
	if h := u.Host; plausible(h) && len(s.hosts) < MostHosts && !slices.Contains(s.hosts, h) {
		s.hosts = append(s.hosts, h)
	}
	return nil
}

// keep adds a match where it has its place. Of two by the same name the last counts, as in any object.
func keep(all []match, m match) []match {
	all = append(slices.DeleteFunc(all, func(other match) bool { return other.name == m.name }), m)
	slices.SortStableFunc(all, func(a, b match) int { return cmp.Or(cmp.Compare(b.key, a.key), cmp.Compare(a.name, b.name)) })
	return all[:min(len(all), mostLogins)]
}

// parseKey reads the name of an entry: a host, or a URL with a path, of which the API's version is no part. It is nil for what is neither.
func parseKey(name string) *url.URL {
	if !strings.HasPrefix(name, "https://") && !strings.HasPrefix(name, "http://") {
		name = "https://" + name
	}
	u, err := url.Parse(name)
	if err != nil {
		return nil
	}
	if strings.HasPrefix(u.Path, "/v1/") || strings.HasPrefix(u.Path, "/v2/") {
		u.Path = u.Path[len("/v1"):]
	}
	if u.Path == "/" {
		u.Path = ""
	}
	return u
}

// covers tells whether an entry is for a repository: the same port, as many labels, each matched by its like, and a path that begins the
// repository's, be it in the midst of a name.
func covers(entry *url.URL, repository string) bool {
	target, err := url.Parse("https://" + repository)
	if err != nil || !strings.HasPrefix(target.Path, entry.Path) {
		return false
	}
	globs, port := labels(entry.Host)
	names, targetPort := labels(target.Host)
	if port != targetPort || len(globs) != len(names) {
		return false
	}
	for i := range globs {
		if ok, err := path.Match(globs[i], names[i]); !ok || err != nil {
			return false
		}
	}
	return true
}

// hubs tells what a kubelet takes for Docker Hub's: localhost too, which holds neither a dot nor a colon.
func hubs(repository string) bool {
	host, _, _ := strings.Cut(repository, "/")
	return host == "docker.io" || !strings.ContainsAny(host, ".:")
}

func labels(host string) (all []string, port string) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = host, ""
	}
	return strings.Split(name, "."), port
}

// plausible tells whether a text is the host of a registry, with the wildcards that a kubelet knows. What else somebody wrote there, by mistake
// perhaps, is not shown.
func plausible(host string) bool {
	return len(host) <= longestHost && (strings.ContainsAny(host, ".:") || host == "localhost") && strings.IndexFunc(host, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(".:-_*?[]", r)
	}) < 0
}
