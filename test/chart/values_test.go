package chart

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write the table of values in the chart's README.md")

// TestSchema: what the schema does not know is refused, with the value's name.
func TestSchema(t *testing.T) {
	for _, c := range []struct{ values, want string }{
		{`{hostNetwrok: false}`, "hostNetwrok"},
		{`{image: {tga: v1}}`, "tga"},
		{`{image: {digest: "sha256:12"}}`, "/image/digest"},
		{`{image: {pullPolicy: Sometimes}}`, "/image/pullPolicy"},
		{`{imagePullSecrets: [pull]}`, "/imagePullSecrets/0"},
		{`{runtime: {socketDirectory: run/containerd}}`, "/runtime/socketDirectory"},
		{`{hostDirectories: {units: etc}}`, "/hostDirectories/units"},
		{`{hostDirectories: {run: /etc}}`, "'run'"},
		{`{listenAddress: "::1"}`, "/listenAddress"},
		{`{port: 99999}`, "/port"},
		{`{nodeConditions: {heartbeatInterval: 5}}`, "/nodeConditions/heartbeatInterval"},
		{`{nodeConditions: {heartbeatInterval: "5"}}`, "/nodeConditions/heartbeatInterval"},
		{`{probing: {proxyFrom: shell}}`, "/probing/proxyFrom"},
		{`{registries: ["registry.example.com/shop"]}`, "/registries/0"},
		{`{pullSecrets: [{namespace: shop}]}`, "names"},
		{`{pullSecrets: [{namespace: shop, names: []}]}`, "/pullSecrets/0/names"}, // which would be all of the namespace
		{`{pullSecrets: [{namespace: shop, names: ["*"]}]}`, "/pullSecrets/0/names/0"},
		{`{pullSecrets: [{namespace: "*", names: [regcred]}]}`, "/pullSecrets/0/namespace"},
		{`{pullSecrets: [{namespace: shop, names: [a]}, {namespace: shop, names: [b]}]}`, "shop twice"},
		{`{pullSecrets: [{namespace: shop, names: [a]}], runtime: {socketDirectory: ""}}`, "no runtime.socketDirectory"},
		{`{logFormat: xml}`, "/logFormat"},
		{`{runAsUser: pullwatch}`, "/runAsUser"},
		{`{resources: {claims: {}}}`, "claims"},
		{`{livenessProbe: {httpGet: {path: /}}}`, "httpGet"},
		{`{tolerations: [{effect: Never}]}`, "/tolerations/0/effect"},
		{`{podMonitor: {create: "yes"}}`, "/podMonitor/create"},
	} {
		if _, _, err := render(valuesOf(t, c.values), kubernetes); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", c.values, err, c.want)
		}
	}
	if _, _, err := render(valuesOf(t, `{global: {imageRegistry: ignored}}`), kubernetes); err != nil {
		t.Errorf("what helm hands to a chart below another: %v", err)
	}
}

// TestSchemaKnowsValues holds the schema and values.yaml to the same names.
func TestSchemaKnowsValues(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chartDir, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties map[string]struct {
			Properties map[string]any
		}
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	var inSchema, inValues []string
	for name, of := range schema.Properties {
		if name == "global" {
			continue
		}
		inSchema = append(inSchema, name)
		if slices.Contains(groups, name) {
			for _, below := range slices.Collect(maps.Keys(of.Properties)) {
				inSchema = append(inSchema, name+"."+below)
			}
		}
	}
	for _, v := range readValues(t) {
		inValues = append(inValues, v.name)
		group, _, below := strings.Cut(v.name, ".")
		if below && !slices.Contains(groups, group) && group != "hostDirectories" {
			t.Errorf("%s is documented and %s is no group", v.name, group)
		}
		if below && !slices.Contains(inValues, group) {
			inValues = append(inValues, group)
		}
	}
	inValues = slices.DeleteFunc(inValues, func(name string) bool { return strings.HasPrefix(name, "hostDirectories.") })
	slices.Sort(inSchema)
	slices.Sort(inValues)
	if !slices.Equal(inSchema, inValues) {
		t.Errorf("schema %v\nvalues %v", inSchema, inValues)
	}
}

// groups are the values that have none of their own but those below them.
var groups = []string{
	"image", "runtime", "kubelet", "nodeConditions", "fence", "removeConditions", "probing", "resourceQuota", "podMonitor", "securityContextConstraints",
}

// TestDocs holds the table of values in README.md to values.yaml; -update writes it.
func TestDocs(t *testing.T) {
	const begin, end = "<!-- made by test/chart from values.yaml: make docs -->\n", "<!-- end -->"
	path := filepath.Join(chartDir, "README.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the table", path)
	}
	var table strings.Builder
	table.WriteString("| value | default | what it is |\n|---|---|---|\n")
	for _, v := range readValues(t) {
		fmt.Fprintf(&table, "| `%s` | `%s` | %s |\n", v.name, v.defaults, v.comment)
	}
	want := before + begin + table.String() + end + after
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatalf("%s differs from values.yaml: make docs", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
}

type value struct{ name, defaults, comment string }

// readValues are the values of values.yaml that have a comment, in its order. One without, and with none above or below it, is an error.
func readValues(t *testing.T) (all []value) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	var read func(prefix string, of *yaml.Node, told bool)
	read = func(prefix string, of *yaml.Node, told bool) {
		for i := 0; i < len(of.Content); i += 2 {
			key, node := of.Content[i], of.Content[i+1]
			name := prefix + key.Value
			// What stands above the first value is of the file, and set apart by an empty line.
			comment := key.HeadComment
			if at := strings.LastIndex(comment, "\n\n"); at >= 0 {
				comment = comment[at:]
			}
			comment = strings.ReplaceAll(strings.TrimSpace(strings.ReplaceAll(comment, "# ", "")), "\n", " ")
			if comment != "" {
				all = append(all, value{name, compact(t, node), comment})
			}
			switch {
			case node.Kind == yaml.MappingNode && len(node.Content) > 0 && (comment == "" || name == "hostDirectories"):
				read(name+".", node, told || comment != "")
			case comment == "" && !told:
				t.Errorf("values.yaml: %s has no comment", name)
			}
		}
	}
	read("", document.Content[0], false)
	return all
}

// compact is a value in one line.
func compact(t *testing.T, node *yaml.Node) string {
	t.Helper()
	var v any
	if err := node.Decode(&v); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
