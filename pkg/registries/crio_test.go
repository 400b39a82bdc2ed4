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
		if e.Mirror {
			text += " mirror"
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
location = "new.example/team"
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
		"old.example":           "https://old.example/v2",
		"old.example/team/app":  "https://new.example/v2",
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
	if a := c.Lookup("blocked.example"); len(a.Findings) != 1 || !strings.Contains(a.Findings[0].Text, "blocked") {
		t.Errorf("blocked: %+v", a)
	}
	if got := fmt.Sprint(c.Named()); got != "[127.0.0.1:5000 docker.io mirrored.example old.example]" {
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
