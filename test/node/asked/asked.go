// Package asked holds what containerd asks registries: of which host, in which order and how, for a table of configurations. The expectations
// of the table are what the real containerd was seen to do; the test of this package has Debian's 1.6 and 2.4 do it again, and
// docs/containerd-hosts.md is rendered from the same table.
package asked

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
)

// Request is one request as a listener got it.
type Request struct {
	Listener string
	Method   string
	Scheme   string // http or https
	Host     string // as asked, with port
	Prefix   string // of the path, in front of the repository
	Object   string // tag, manifest, config, layer, token, or the path where it is none of them
	Digest   string // of what is asked, where it is known
	NS       string // the query's ns
	Answer   string // the status, or what was done in place of one
	Shown    string // what Case.Show asks for
}

// objects is the order in which a sequence is told. Configuration and layers are fetched at the same time.
var objects = []string{"HEAD tag", "GET tag", "HEAD manifest", "HEAD config", "GET manifest", "GET config", "GET layer", "GET token", "POST token", "CONNECT"}

// usual is the method that is not told.
var usual = map[string]string{"HEAD tag": "tag", "GET manifest": "manifest", "GET config": "config", "GET layer": "layer"}

// sequence tells requests in the words of the table: for each object the attempts in their order, one line for objects with the same attempts.
// name gives the listener's name for host:port.
func sequence(requests []Request, name func(string) string) string {
	attempts := map[string][]string{}
	for i, r := range requests {
		key := strings.TrimSpace(r.Method + " " + r.Object)
		// Of several layers the first stands for all that are asked for in the same way.
		if r.Object == "layer" {
			first := slices.IndexFunc(requests, func(q Request) bool { return q.Object == "layer" })
			if r.Digest != requests[first].Digest {
				if slices.Equal(of(requests, r.Digest, name), of(requests, requests[first].Digest, name)) {
					continue
				}
				key = fmt.Sprintf("%s (not as the first) %d", key, i)
			}
		}
		attempts[key] = append(attempts[key], attempt(r, name))
	}
	keys := slices.Clone(objects)
	for _, key := range slices.Sorted(maps.Keys(attempts)) {
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	var lines []string
	var subjects []string
	for i, key := range keys {
		if len(attempts[key]) == 0 {
			continue
		}
		if short, ok := usual[key]; ok {
			subjects = append(subjects, short)
		} else {
			subjects = append(subjects, key)
		}
		next := slices.IndexFunc(keys[i+1:], func(k string) bool { return len(attempts[k]) > 0 })
		if next >= 0 && slices.Equal(attempts[key], attempts[keys[i+1+next]]) && key != "HEAD tag" {
			continue
		}
		lines = append(lines, strings.Join(subjects, "+")+": "+strings.Join(repeated(attempts[key]), ", "))
		subjects = nil
	}
	return strings.Join(lines, "\n")
}

// of are the attempts to get what has that digest.
func of(requests []Request, digest string, name func(string) string) []string {
	var out []string
	for _, r := range requests {
		if r.Digest == digest {
			out = append(out, attempt(r, name))
		}
	}
	return out
}

func attempt(r Request, name func(string) string) string {
	if r.Method == "CONNECT" {
		return r.Host
	}
	text := r.Scheme + "://" + name(r.Host) + r.Prefix
	if r.NS != "" {
		text += "?ns=" + name(r.NS)
	}
	if r.Shown != "" {
		text += " [" + r.Shown + "]"
	}
	return text + " " + r.Answer
}

// repeated writes equal neighbours once, with their number.
func repeated(all []string) []string {
	var out []string
	for i := 0; i < len(all); {
		n := i
		for n < len(all) && all[n] == all[i] {
			n++
		}
		if n-i > 1 {
			out = append(out, fmt.Sprintf("%s (%d times)", all[i], n-i))
		} else {
			out = append(out, all[i])
		}
		i = n
	}
	return out
}

// namer replaces the addresses of listeners by their names: 127.0.0.1:4711 becomes {o}, and another name of the same port localhost:{o}.
func namer(addresses map[string]string) func(string) string {
	return func(hostport string) string {
		hostport = strings.Replace(hostport, ip, "{ip}", 1)
		_, port, _ := net.SplitHostPort(hostport)
		for name, address := range addresses {
			if address == hostport {
				return name
			}
			if _, p, _ := net.SplitHostPort(address); p == port && len(p) > 3 {
				return strings.TrimSuffix(hostport, port) + name
			}
		}
		return hostport
	}
}
