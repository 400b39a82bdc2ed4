package registries

import (
	"fmt"
	"strings"
	"testing"
)

// shown tells endpoints in one line: the URL, and what of it is not usual.
func shown(endpoints []Endpoint) string {
	var all []string
	for i := range endpoints {
		e := &endpoints[i]
		text := e.Name()
		if e.Repository != "" {
			text += " as " + e.Repository
		}
		if e.Mirror {
			text += " mirror"
		}
		if e.Partial {
			text += " part"
		}
		if !e.Resolve {
			text += " no-tags"
		}
		if !e.Pull {
			text += " no-digests"
		}
		if e.FallsBackToHTTP {
			text += " or-http"
		}
		if e.TLS != nil && e.TLS.InsecureSkipVerify {
			text += " unverified"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func TestCRIO(t *testing.T) {
	// As on the recorded node, and what else the format has.
	root := tree(t, map[string]string{
		"etc/containers/registries.conf": `unqualified-search-registries = ["127.0.0.1:5000"]
[[registry]]
location = "127.0.0.1:5000"
insecure = true
[[registry]]
location = "blocked.example"
blocked = true
[[registry]]
location = "mirrored.example"
[[registry.mirror]]
location = "127.0.0.1:5999"
insecure = true
[[registry.mirror]]
location = "mirror.example/cache"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.example"
pull-from-mirror = "tag-only"
[[registry]]
prefix = "old.example/team"
location = "new.example/group"
[[registry]]
prefix = "*.wild.example"
insecure = true
`,
		"etc/containers/registries.conf.d/50-hub.conf": `[[registry]]
location = "docker.io"
mirror-by-digest-only = true
[[registry.mirror]]
location = "hub.example:8443"
`,
		"etc/containers/certs.d/plain.example/": "",
	})
	c := &CRIO{Root: root}
	for name, want := range map[string]string{
		"127.0.0.1:5000":        "https://127.0.0.1:5000/v2 or-http unverified",
		"mirrored.example":      "https://127.0.0.1:5999/v2 mirror or-http unverified, https://mirror.example/v2 mirror no-tags, https://tags.example/v2 mirror no-digests, https://mirrored.example/v2",
		"docker.io":             "https://hub.example:8443/v2 mirror no-tags, https://registry-1.docker.io/v2",
		"old.example":           "https://new.example/v2 mirror part, https://old.example/v2",
		"old.example/team/app":  "https://new.example/v2 as group/app",
		"old.example/other/app": "https://old.example/v2",
		"a.wild.example":        "https://a.wild.example/v2 or-http unverified",
		"plain.example":         "https://plain.example/v2",
		"nobody.example":        "https://nobody.example/v2",
	} {
		a := c.Lookup(name)
		if got := shown(a.Endpoints); got != want || a.NotChecked != "" {
			t.Errorf("%s: %s, want %s (%s)", name, got, want, a.NotChecked)
		}
	}
	if got := fmt.Sprint(c.Named()); got != "[127.0.0.1:5000 docker.io mirrored.example old.example]" {
		t.Errorf("named: %s", got)
	}
}

// TestCRIORepositories: each endpoint has the image's repository as it is called there, and is told nothing in the query.
func TestCRIORepositories(t *testing.T) {
	c := &CRIO{Root: tree(t, map[string]string{"etc/containers/registries.conf": `[[registry]]
prefix = "docker.io"
location = "harbor.example/hub-proxy"
[[registry.mirror]]
location = "mirror.example:5000"
[[registry.mirror]]
location = "cache.example/a/b"
pull-from-mirror = "digest-only"
[[registry]]
prefix = "*.wild.example"
location = "wild.example/all"
[[registry]]
prefix = "short.example"
location = "nodots/app"
`})}
	const digest = "@sha256:8968d79d46c91913a16a72bd56ca6ff15f3d07e13b0b64b3dc8c9d3c0f14b920"
	const hub = "https://mirror.example:5000/v2 mirror, https://cache.example/v2 as a/b/library/nginx mirror no-tags, https://harbor.example/v2 as hub-proxy/library/nginx"
	for name, want := range map[string]string{
		"docker.io":                     "https://mirror.example:5000/v2 mirror, https://cache.example/v2 mirror no-tags, https://harbor.example/v2",
		"docker.io/nginx":               hub,
		"docker.io/nginx:1.27":          hub,
		"docker.io/nginx" + digest:      hub,
		"docker.io/nginx:1.27" + digest: hub,
		"a.wild.example/app:1":          "https://wild.example/v2 as all/app",
	} {
		a := c.Lookup(name)
		if got := shown(a.Endpoints); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		for _, e := range a.Endpoints {
			if e.Namespaced {
				t.Errorf("%s: %s is told ?ns=", name, e.Name())
			}
		}
	}
	if a := c.Lookup("short.example/app:1"); len(a.Endpoints) != 0 || !strings.Contains(a.NotChecked, "canonical") || len(a.Findings) != 1 {
		t.Errorf("a location that is no registry: %+v", a)
	}
}

// TestCRIOParts: what is written of some repositories is asked too for the registry as a whole, each host once, and the origin last.
func TestCRIOParts(t *testing.T) {
	var text strings.Builder
	for _, repository := range []string{"release", "ocp-v4", "images/x"} {
		fmt.Fprintf(&text, "[[registry]]\nlocation = \"quay.example/%s\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"mirror.example:5000/%[1]s\"\n", repository)
	}
	c := &CRIO{Root: tree(t, map[string]string{
		"etc/containers/registries.conf": text.String(),
		"etc/containers/registries.conf.d/tags.conf": `[[registry]]
location = "quay.example/tagged"
[[registry.mirror]]
location = "mirror.example:5000/other"
pull-from-mirror = "tag-only"
[[registry.mirror]]
location = "second.example/tagged"
[[registry]]
location = "quay.example/never"
blocked = true
[[registry]]
location = "quay.example.org/another"
[[registry.mirror]]
location = "third.example"
[[registry]]
location = "shut.example/x"
blocked = true
[[registry.mirror]]
location = "mirror.example:5000/x"
`})}
	for name, want := range map[string]string{
		"quay.example":                "https://mirror.example:5000/v2 mirror part, https://second.example/v2 mirror part, https://quay.example/v2",
		"quay.example/ocp-v4:1":       "https://mirror.example:5000/v2 mirror no-tags, https://quay.example/v2",
		"quay.example/tagged/image:1": "https://mirror.example:5000/v2 as other/image mirror no-digests, https://second.example/v2 mirror, https://quay.example/v2",
		"quay.example/never/x:1":      "",
		"shut.example":                "https://mirror.example:5000/v2 mirror part, https://shut.example/v2",
	} {
		a := c.Lookup(name)
		if got := shown(a.Endpoints); got != want || a.NotChecked != "" {
			t.Errorf("%s: %s, want %s (%s)", name, got, want, a.NotChecked)
		}
		if (a.Blocked != "") != (want == "") {
			t.Errorf("%s: blocked %q", name, a.Blocked)
		}
	}
	if got := fmt.Sprint(c.Named()); got != "[quay.example quay.example.org shut.example]" {
		t.Errorf("named: %s", got)
	}
}

// TestCRIOBlocked: what is blocked is not asked, whether it is the origin or a mirror. Mirrors are asked in its place.
func TestCRIOBlocked(t *testing.T) {
	c := &CRIO{Root: tree(t, map[string]string{"etc/containers/registries.conf": `[[registry]]
location = "blocked.example"
blocked = true
[[registry]]
location = "source.example"
blocked = true
[[registry.mirror]]
location = "blocked.example/source"
[[registry.mirror]]
location = "mirror.example/source"
[[registry]]
prefix = "moved.example"
location = "blocked.example/moved"
blocked = true
[[registry]]
location = "onlyblocked.example"
[[registry.mirror]]
location = "blocked.example"
`})}
	for name, want := range map[string]struct{ endpoints, effect string }{
		"blocked.example":          {"", "refuses to pull from it"},
		"blocked.example/app:1":    {"", "refuses to pull from it"},
		"source.example":           {"https://mirror.example/v2 mirror", "from its mirrors alone"},
		"source.example/app:1":     {"https://mirror.example/v2 as source/app mirror", "from its mirrors alone"},
		"moved.example/app:1":      {"", "refuses to pull from it"},
		"onlyblocked.example/a:1":  {"https://onlyblocked.example/v2", ""},
		"nobody.example/blocked:1": {"https://nobody.example/v2", ""},
	} {
		a := c.Lookup(name)
		if got := shown(a.Endpoints); got != want.endpoints || a.NotChecked != "" {
			t.Errorf("%s: %s, want %s (%s)", name, got, want.endpoints, a.NotChecked)
		}
		if want.effect == "" {
			if a.Blocked != "" || len(a.Findings) > 0 {
				t.Errorf("%s: %+v", name, a)
			}
			continue
		}
		if !strings.Contains(a.Blocked, registriesConf) || len(a.Findings) != 1 || !strings.Contains(a.Findings[0].Effect, want.effect) {
			t.Errorf("%s: %+v, want %q", name, a, want.effect)
		}
	}
	if got := fmt.Sprint(c.Named()); got != "[onlyblocked.example source.example]" {
		t.Errorf("named: %s", got)
	}
}

func TestCRIOBroken(t *testing.T) {
	root := tree(t, map[string]string{"etc/containers/registries.conf": "[[registry]]\nlocation = \n"})
	if a := (&CRIO{Root: root}).Lookup("a.example"); len(a.Findings) != 1 || a.NotChecked == "" {
		t.Errorf("a file that does not parse: %+v", a)
	}
	if a := (&CRIO{Root: t.TempDir()}).Lookup("a.example"); a.NotChecked == "" || len(a.Endpoints) != 1 {
		t.Errorf("a directory that is not mounted: %+v", a)
	}
	root = tree(t, map[string]string{"etc/containers/certs.d/a.example/ca.crt": "no certificate", "etc/containers/registries.conf": ""})
	if a := (&CRIO{Root: root}).Lookup("a.example"); len(a.Findings) != 1 || !strings.Contains(a.Findings[0].Effect, "fails every pull") {
		t.Errorf("a CA that is none: %+v", a)
	}
	if a := (&CRIO{Root: root}).Lookup("NO GOOD"); a.NotChecked == "" {
		t.Errorf("a name that is none: %+v", a)
	}
}

// TestCRIOInsecure: insecure_registries counts for older versions alone, and what it does not do any more is told.
func TestCRIOInsecure(t *testing.T) {
	root := tree(t, map[string]string{
		"etc/containers/registries.conf":    "",
		"etc/crio/crio.conf":                "[crio.image]\ninsecure_registries = [\"replaced.example\"]\n",
		"etc/crio/crio.conf.d/10-old.conf":  "[crio.image]\ninsecure_registries = [\"old.example:5000\", \"192.0.2.0/24\"]\n",
		"etc/crio/crio.conf.d/20-none.conf": "[crio.image]\npause_image = \"x\"\n",
	})
	for _, test := range []struct {
		version, registry string
		insecure          bool
		findings          int
	}{
		{"1.34.1", "old.example:5000", true, 0},
		{"1.34.1", "old.example", false, 0},
		{"1.34.1", "replaced.example", false, 0},
		{"1.34.1", "192.0.2.7:5000", true, 0},
		{"1.34.1", "198.51.100.7:5000", false, 0},
		{"1.34.1", "127.0.0.1:5000", true, 0},
		{"1.37.0", "old.example:5000", false, 1},
		{"1.37.0", "127.0.0.1:5000", false, 0},
		{"", "127.0.0.1:5000", false, 0},
	} {
		a := (&CRIO{Root: root, Version: test.version}).Lookup(test.registry)
		if len(a.Endpoints) != 1 || a.Endpoints[0].FallsBackToHTTP != test.insecure || len(a.Findings) != test.findings || a.NotChecked != "" {
			t.Errorf("%s %s: %+v", test.version, test.registry, a)
		}
	}
	broken := tree(t, map[string]string{"etc/containers/registries.conf": "", "etc/crio/crio.conf": "[crio\n"})
	if a := (&CRIO{Root: broken}).Lookup("a.example"); len(a.Findings) != 1 || a.Findings[0].Line != 1 {
		t.Errorf("a file that does not parse: %+v", a)
	}
}
