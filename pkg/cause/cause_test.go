package cause

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what is made from the table")

func TestTable(t *testing.T) {
	scopes := []Scope{ScopeWorkload, ScopeCredentials, ScopeRegistry, ScopeNetwork, ScopeNode, ScopeUnknown}
	names := make(map[string]bool)
	for _, c := range All() {
		if c.String() == "" || names[c.String()] {
			t.Errorf("cause %d: name %q is empty or used twice", c, c)
		}
		names[c.String()] = true
		if !slices.Contains(scopes, c.Scope()) {
			t.Errorf("%s: scope %q is none of the list", c, c.Scope())
		}
		for what, text := range map[string]string{"title": c.Title(), "advice": c.Advice()} {
			if text == "" || strings.ContainsAny(text, "\n\t") {
				t.Errorf("%s: %s %q is not one line", c, what, text)
			}
		}
		text, err := json.Marshal(c)
		var back Cause
		if err != nil || json.Unmarshal(text, &back) != nil || back != c {
			t.Errorf("%s: reads back from %s as %s", c, text, back)
		}
	}
	if len(names) != 25 {
		t.Errorf("%d causes; the list is closed: 25", len(names))
	}
	if None.String() != "" || None.Scope() != "" || None.Runbook() != "" || Cause(200).String() != "" {
		t.Error("what is no cause has a name")
	}
	var c Cause
	if err := json.Unmarshal([]byte(`"made_up"`), &c); err == nil {
		t.Error("made_up reads as a cause")
	}
}

// TestDocs holds docs/causes.md to the table.
func TestDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Causes\n\nWhy an image cannot be pulled, as Pullwatch names it in metrics, conditions, events and tables. The list is closed, and only\n" +
		"ever appended to. This page is made from the code (`make docs`).\n\n| cause | who has to act | what it means |\n|---|---|---|\n")
	for _, c := range All() {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s |\n", c, c, c.Scope(), c.Title())
	}
	for _, c := range All() {
		fmt.Fprintf(&b, "\n## %s\n\n%s. Scope: %s.\n\n%s\n", c, c.Title(), c.Scope(), c.Advice())
	}
	const page = "../../docs/causes.md"
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil || string(have) != b.String() {
		t.Errorf("%s is not what the table says (%v): run make docs", page, err)
	}
}
