package monitored

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// Where things are, seen from this directory.
const (
	manifests = "../../../manifests/monitoring"
	runbooks  = "../../../docs/runbooks"
)

// ruleFiles are the sources of rules, and of each the object for the Prometheus operator that is made from it.
var ruleFiles = map[string]struct{ object, name string }{
	"rules.yaml":          {"prometheusrule.yaml", "pullwatch"},
	"optional-rules.yaml": {"optional-prometheusrule.yaml", "pullwatch-optional"},
}

// rule is a recording or an alerting rule.
type rule struct {
	Record        string            `json:"record,omitempty"`
	Alert         string            `json:"alert,omitempty"`
	Expr          string            `json:"expr"`
	For           string            `json:"for,omitempty"`
	KeepFiringFor string            `json:"keep_firing_for,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type ruleFile struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

// readRules are the rules of one file, in their order.
func readRules(name string) (rules []rule, err error) {
	text, err := os.ReadFile(filepath.Join(manifests, name))
	if err != nil {
		return nil, err
	}
	var f ruleFile
	if err := yaml.UnmarshalStrict(text, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, group := range f.Groups {
		rules = append(rules, group.Rules...)
	}
	return rules, nil
}

// allRules are the rules of all files.
func allRules() (rules []rule, err error) {
	for name := range ruleFiles {
		some, err := readRules(name)
		if err != nil {
			return nil, err
		}
		rules = append(rules, some...)
	}
	return rules, nil
}

// prometheusRule is the object of the operator with the same rules, comments included.
func prometheusRule(name, rules string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Made from the plain rule file beside it: make docs.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: %s
  namespace: pullwatch
  labels:
    app.kubernetes.io/name: pullwatch
spec:
`, name)
	for line := range strings.Lines(rules[strings.Index(rules, "groups:"):]) {
		if strings.TrimSpace(line) != "" {
			b.WriteString("  ")
		}
		b.WriteString(line)
	}
	return b.String()
}

// held are the two durations for which Prometheus waits before it begins and before it ends an alert.
var held = regexp.MustCompile(`(?m)^(\s+(?:for|keep_firing_for): )\d+m\b`)

// shorten replaces the durations of rules and leaves everything else as it is.
func shorten(rules, to string) string { return held.ReplaceAllString(rules, "${1}"+to) }
