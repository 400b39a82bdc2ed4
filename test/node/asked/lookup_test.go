package asked

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pullwatch/pullwatch/pkg/registries"
	"github.com/pullwatch/pullwatch/test/node"
)

// TestLookup holds pkg/registries against the table: whom it says containerd will ask is whom containerd was seen to ask.
func TestLookup(t *testing.T) {
	match := regexp.MustCompile(*only)
	checked := 0
	for _, way := range ways {
		for _, c := range Cases() {
			if !match.MatchString(c.Name) || len(c.Listen) == 0 || strings.Contains(c.Setup+fmt.Sprint(c.Files), "/etc/containerd") ||
				way.version == node.Containerd16 && strings.Contains(c.Setup, "imports") { // 1.6 tells its settings by its status
				continue
			}
			t.Run(way.name+"/"+c.Name, func(t *testing.T) {
				endpoints, findings := lookup(t, way, c)
				line, tag := wantedLine(way.want(c))
				if line == "" { // it failed before anything was asked
					if strings.Contains(way.want(c), "{dir}") && !strings.Contains(findings, "fails every pull") {
						t.Errorf("nothing is found in what fails every pull: %s\nfindings %s", way.want(c), findings)
					}
					return
				}
				checked++
				var list []string
				for _, e := range endpoints {
					if tag && e.Resolve || !tag && e.Pull {
						list = append(list, e.text)
					}
				}
				asked := attempts(line)
				for _, e := range list {
					switch {
					case len(asked) == 0:
					case e == asked[0]:
						asked = asked[1:]
					case !leavesNoTrace(c, e):
						t.Errorf("says %q, which was not asked: %s\nfindings %s", list, line, findings)
						return
					}
				}
				if len(asked) > 0 {
					t.Errorf("says %q, and asked was %q\nfindings %s", list, line, findings)
				}
			})
		}
	}
	if *only == "" && checked < 300 {
		t.Errorf("only %d lookups were held against the table", checked)
	}
}

type said struct {
	registries.Endpoint
	text string
}

// lookup asks pkg/registries about the configuration of a case.
func lookup(t *testing.T, way way, c Case) (endpoints []said, findings string) {
	t.Helper()
	dir := t.TempDir()
	if err := writePKI(filepath.Join(dir, "pki")); err != nil {
		t.Fatal(err)
	}
	r, err := newRun(c, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if err := os.MkdirAll(filepath.Join(dir, "certs.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
	top, registry, ok := strings.Cut(c.Setup, "---\n")
	if !ok {
		top, registry = "", cmp.Or(c.Setup, `config_path = "`+dir+`/certs.d"`)
	}
	version := 3
	if way.version == node.Containerd16 {
		version = 2
	}
	config := fmt.Sprintf("version = %d\n%s\n[{registry}]\n%s\n%s\n", version, top, registry, r.fill(c.Inline, dir))
	if way.local {
		config += "[" + strings.TrimSuffix(way.table, ".registry") + "]\nuse_local_image_pull = true\n"
	}
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(strings.NewReplacer("{registry}", way.table, "{dir}", dir).Replace(config)), 0o644); err != nil {
		t.Fatal(err)
	}
	answer := registries.ContainerdFromFile(way.version, file).Lookup(r.fill(c.Image, dir))
	addresses := map[string]string{}
	for name, l := range r.listeners {
		addresses[name] = l.address
	}
	name := namer(addresses)
	for i := range answer.Endpoints {
		e := &answer.Endpoints[i]
		text := e.URL.Scheme + "://" + name(e.URL.Host) + e.URL.Path
		if e.Namespaced {
			text += "?ns=" + name(e.Registry)
		}
		endpoints = append(endpoints, said{*e, text})
		if e.FallsBackToHTTP && r.listeners[named(c, name(e.URL.Host))] != nil {
			// What the port speaks decides, which is the probe's affair.
			if !strings.Contains(c.Listen[named(c, name(e.URL.Host))], "tls") {
				endpoints[len(endpoints)-1].text = strings.Replace(text, "https://", "http://", 1)
			}
		}
	}
	return endpoints, fmt.Sprint(answer.Findings, answer.NotChecked)
}

// named is the listener that stands for what namer made of a host.
func named(c Case, host string) string {
	_, last, ok := strings.Cut(host, ":")
	if !ok {
		last = host
	}
	if _, known := c.Listen[last]; known {
		return last
	}
	for name, words := range c.Listen {
		if strings.Contains(words, "at="+host+" ") || strings.HasSuffix(words, "at="+host) || strings.Contains(words, "at="+host+":443") || strings.HasSuffix(words, "at="+host+":80") {
			return name
		}
	}
	return ""
}

// wantedLine is the line of the resolving question, and whether that was by tag.
func wantedLine(want string) (line string, tag bool) {
	for one := range strings.Lines(want) {
		what, rest, _ := strings.Cut(strings.TrimSpace(one), ": ")
		switch strings.Split(what, "+")[0] {
		case "tag":
			return rest, true
		case "HEAD manifest":
			return rest, false
		}
	}
	return "", false
}

var (
	times   = regexp.MustCompile(` \(\d+ times\)`)
	outcome = regexp.MustCompile(`( \[[^\]]*\])? [^ ]+$`)
	noTrace = regexp.MustCompile(`refuse|reset|eof|hole|hang|mute|tls`)
)

// attempts are the endpoints of a line. One that is asked again stands there once, and where a redirect led is not one.
func attempts(line string) (all []string) {
	for _, one := range strings.Split(strings.ReplaceAll(line, ", http", "\x00http"), "\x00") {
		one = outcome.ReplaceAllString(times.ReplaceAllString(one, ""), "")
		if !strings.Contains(one, "/store/") && (len(all) == 0 || all[len(all)-1] != one) {
			all = append(all, one)
		}
	}
	return all
}

// leavesNoTrace tells whether an endpoint may have been tried without a listener having seen a request: nobody is there, or it came to no
// HTTP.
func leavesNoTrace(c Case, endpoint string) bool {
	scheme, rest, _ := strings.Cut(endpoint, "://")
	host, _, _ := strings.Cut(rest, "/")
	words, ok := c.Listen[named(c, host)]
	return !ok || noTrace.MatchString(words) || scheme == "https"
}
