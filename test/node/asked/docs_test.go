package asked

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/containerd-hosts.md")

const page = "../../../docs/containerd-hosts.md"

// TestDocs holds docs/containerd-hosts.md to the table.
func TestDocs(t *testing.T) {
	want := document()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil || string(have) != want {
		t.Errorf("%s is not what is rendered (%v): run make docs", page, err)
	}
}

// TestCasesAreTold holds what cannot be seen from a run: every case has a name of its own and says what to expect.
func TestCasesAreTold(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Cases() {
		if seen[c.slug()] || c.Topic == "" || c.Image == "" {
			t.Errorf("%q is there twice or not told in full", c.Name)
		}
		seen[c.slug()] = true
		if c.Asked == "" && (c.Asked16 == "" || c.Asked24 == "") {
			t.Errorf("%q does not say what is asked", c.Name)
		}
		for name, words := range c.Listen {
			if _, err := parse(words); err != nil {
				t.Errorf("%q: listener %s: %v", c.Name, name, err)
			}
		}
	}
}

func TestSequence(t *testing.T) {
	got := sequence([]Request{
		{Method: "HEAD", Object: "tag", Scheme: "http", Host: "127.0.0.1:4711", Prefix: "/v2", NS: "localhost:4712", Answer: "404"},
		{Method: "HEAD", Object: "tag", Scheme: "http", Host: "localhost:4712", Prefix: "/v2", Answer: "429"},
		{Method: "HEAD", Object: "tag", Scheme: "http", Host: "localhost:4712", Prefix: "/v2", Answer: "429"},
		{Method: "GET", Object: "layer", Digest: "a", Scheme: "http", Host: "127.0.0.1:4711", Answer: "200"},
		{Method: "GET", Object: "config", Digest: "c", Scheme: "http", Host: "127.0.0.1:4711", Answer: "200"},
		{Method: "GET", Object: "layer", Digest: "b", Scheme: "http", Host: "127.0.0.1:4711", Answer: "200"},
	}, namer(map[string]string{"m": "127.0.0.1:4711", "o": "127.0.0.1:4712"}))
	want := "tag: http://m/v2?ns=localhost:o 404, http://localhost:o/v2 429 (2 times)\nconfig+layer: http://m 200"
	if got != want {
		t.Errorf("sequence\n%s\nwant\n%s", got, want)
	}
}

const preface = `# What containerd asks

Made from the table of ` + "`test/node/asked`" + ` (` + "`make docs`" + `), which ` + "`make e2e`" + ` tries on the real containerd: Debian's 1.6.20 and 2.4.2.

` + "`{o}`" + ` is the address of the registry that the reference names, on loopback where the reference is; ` + "`{m}`, `{n}`" + ` and other letters are mirrors
and whoever else listens, ` + "`{ip}`" + ` the beginning of a loopback address, ` + "`{ca}`" + ` the file of the CA that signs the certificates, and a name in
` + "`.test`" + ` is known to containerd's HTTP proxy alone. Files are below ` + "`config_path`" + ` where they do not begin with ` + "`/` or `{`" + `. "o: tls 404" is how
a listener behaves: it speaks TLS and answers 404; one that says nothing serves the image.

What is asked is told by object: the tag (by HEAD), then, by its digest, the manifest, and the configuration and the layers (by GET). Each
attempt has its URL up to the repository, and the answer. Of the error stands what follows ` + "`failed to pull and unpack image \"…\": `, and `failed to resolve reference \"…\": `" + ` (1.6) or
` + "`failed to resolve image: `" + ` (2.4).
`

// document renders the page.
func document() string {
	var b strings.Builder
	b.WriteString(preface)
	topic := ""
	for _, c := range Cases() {
		if c.Topic != topic {
			topic = c.Topic
			fmt.Fprintf(&b, "\n## %s\n\n| case | configuration | 1.6 asks | 2.4 asks |\n|---|---|---|---|\n", topic)
		}
		cell := "the same"
		if c.Asked24 != "" {
			cell = lines(c.Asked24)
		}
		if c.Local24 != "" {
			cell += "<br>with `use_local_image_pull`:<br>" + lines(c.Local24)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", title(c), configuration(c), lines(cmp.Or(c.Asked16, c.Asked)), cell)
	}
	return b.String()
}

func title(c Case) string {
	text := strings.TrimPrefix(c.Name, "last: ")
	if c.Note != "" {
		text += "<br>*" + c.Note + "*"
	}
	return text
}

// configuration is everything that the case sets up.
func configuration(c Case) string {
	var all []string
	reference := c.Image
	if c.Digest {
		reference += ", by digest"
	}
	if c.Login {
		reference += ", with credentials"
	}
	all = append(all, "image of `"+reference+"`")
	if listeners := sorted(c.Listen, func(name, does string) string {
		if does == "" {
			return ""
		}
		return name + ": " + does
	}); len(listeners) > 0 {
		all = append(all, strings.Join(listeners, "; "))
	}
	if setup := strings.TrimSpace(c.Setup); setup != "" && !strings.HasPrefix(setup, "#") {
		all = append(all, lines(strings.ReplaceAll(setup, "\n---\n", "\n")))
	}
	if c.Inline != "" {
		all = append(all, lines(c.Inline))
	}
	all = append(all, sorted(c.Files, func(path, text string) string {
		return "*" + code(path) + "*<br>" + lines(text)
	})...)
	return strings.Join(all, "<br>")
}

func sorted(m map[string]string, tell func(string, string) string) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if text := tell(key, m[key]); text != "" {
			out = append(out, text)
		}
	}
	return out
}

// lines are the lines of a text as code.
func lines(text string) string {
	var out []string
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		line = strings.TrimRight(line, "\n")
		if line == "" {
			continue
		}
		out = append(out, code(line))
	}
	return strings.Join(out, "<br>")
}

func code(text string) string { return "`" + strings.ReplaceAll(text, "|", "\\|") + "`" }
