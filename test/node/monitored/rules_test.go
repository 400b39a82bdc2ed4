package monitored

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/pullwatch/pullwatch/test/node"
)

var update = flag.Bool("update", false, "write the files that are made from others")

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	must(t, err)
	return string(text)
}

// ensure installs Debian's programs that are missing, by name the package.
func ensure(t *testing.T, programs map[string]string) {
	t.Helper()
	must(t, node.EnsurePrograms(t.Context(), node.NewProgress(os.Stderr), programs))
}

// TestPrometheusRules holds the operator's objects to the plain files.
func TestPrometheusRules(t *testing.T) {
	for source, made := range ruleFiles {
		want := prometheusRule(made.name, read(t, manifests, source))
		path := filepath.Join(manifests, made.object)
		if *update {
			must(t, os.WriteFile(path, []byte(want), 0o644))
		}
		if have, err := os.ReadFile(path); err != nil || string(have) != want {
			t.Errorf("%s does not hold what %s does (%v): run make docs", made.object, source, err)
			continue
		}
		var object struct{ Spec ruleFile }
		must(t, yaml.Unmarshal([]byte(want), &object))
		rules, err := readRules(source)
		must(t, err)
		var same []rule
		for _, group := range object.Spec.Groups {
			same = append(same, group.Rules...)
		}
		if len(rules) == 0 || !slices.EqualFunc(rules, same, func(a, b rule) bool { return a.Alert == b.Alert && a.Record == b.Record && a.Expr == b.Expr }) {
			t.Errorf("%s is read as other rules than %s", made.object, source)
		}
	}
}

// TestPromtool has promtool check the rules and run their tests.
func TestPromtool(t *testing.T) {
	ensure(t, map[string]string{"promtool": "prometheus"})
	tests, err := filepath.Glob(filepath.Join(manifests, "tests", "*.yaml"))
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests of rules: %v", err)
	}
	check := []string{"check", "rules"}
	for name := range ruleFiles {
		check = append(check, filepath.Join(manifests, name))
	}
	for _, args := range [][]string{check, append([]string{"test", "rules"}, tests...)} {
		if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args[:2], " "), err, out)
		}
	}
}

// TestEveryAlertTested: each alert is tested to fire, to stay silent and to bear a flap, as the names of the tests say; and a test that
// says so expects it.
func TestEveryAlertTested(t *testing.T) {
	type tests struct {
		Tests []struct {
			Name  string
			Input []any `json:"input_series"`
			Rules []struct {
				Alert string           `json:"alertname"`
				Want  []map[string]any `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		}
	}
	have := make(map[string]bool)
	files, err := filepath.Glob(filepath.Join(manifests, "tests", "*.yaml"))
	must(t, err)
	for _, file := range files {
		var f tests
		must(t, yaml.Unmarshal([]byte(read(t, file)), &f))
		for _, test := range f.Tests {
			alert, what, _ := strings.Cut(test.Name, " ")
			what, _, _ = strings.Cut(what, ":")
			fires, silent := 0, 0
			for _, r := range test.Rules {
				if r.Alert != alert {
					t.Errorf("%q asks for %s", test.Name, r.Alert)
				}
				if len(r.Want) > 0 {
					fires++
				} else {
					silent++
				}
			}
			switch {
			case what == "fires" && fires == 0, what == "is silent" && (fires > 0 || silent == 0), what == "flaps" && fires+silent < 2, len(test.Input) == 0:
				t.Errorf("%q does not test what it says", test.Name)
			}
			have[alert+" "+what] = true
		}
	}
	rules, err := allRules()
	must(t, err)
	for _, r := range rules {
		for _, what := range []string{"fires", "is silent", "flaps"} {
			if r.Alert != "" && !have[r.Alert+" "+what] {
				t.Errorf("no test %q in %s/tests", r.Alert+" "+what, manifests)
			}
		}
	}
}

var (
	alertName = regexp.MustCompile(`^Pullwatch([A-Z][a-z]+)+$`)
	sentence  = regexp.MustCompile(`^[A-Z][^{}]*\.$`)
)

// TestAlertStyle holds alerts to what their readers expect of them.
func TestAlertStyle(t *testing.T) {
	boards := dashboards(t)
	rules, err := allRules()
	must(t, err)
	for _, r := range rules {
		if r.Record != "" {
			if len(strings.Split(r.Record, ":")) != 3 {
				t.Errorf("%s is not level:metric:operation", r.Record)
			}
			continue
		}
		a := r.Annotations
		if !alertName.MatchString(r.Alert) || r.For == "" || len(a) != 4 || len(r.Labels) != 1 {
			t.Errorf("%s: name, for, labels or annotations are not as in the others", r.Alert)
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
			t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
		}
		if !sentence.MatchString(a["summary"]) {
			t.Errorf("%s: the summary is no static sentence: %s", r.Alert, a["summary"])
		}
		if !strings.Contains(a["description"], "{{") && r.Alert != "PullwatchAgentsAbsent" { // which has no labels to tell
			t.Errorf("%s: the description tells nothing: %s", r.Alert, a["description"])
		}
		if want := "https://github.com/pullwatch/pullwatch/blob/main/docs/runbooks/" + r.Alert + ".md"; a["runbook_url"] != want {
			t.Errorf("%s: runbook_url %s", r.Alert, a["runbook_url"])
		}
		path, query, _ := strings.Cut(a["dashboard_url"], "?")
		board, ok := boards[strings.TrimPrefix(path, "/d/")]
		if !ok {
			t.Errorf("%s: no dashboard %s", r.Alert, path)
			continue
		}
		if variable, _, found := strings.Cut(strings.TrimPrefix(query, "var-"), "="); found && !board.has(variable) {
			t.Errorf("%s: dashboard %s has no variable %q", r.Alert, path, variable)
		}
	}
}

// TestRulesNameWhatExists: a misspelt metric, label or cause is an alert that never fires.
func TestRulesNameWhatExists(t *testing.T) {
	metrics, err := knownMetrics()
	must(t, err)
	rules, err := allRules()
	must(t, err)
	recorded := recordedSeries(rules)
	for _, r := range rules {
		if unknown := unknownIn(r.Expr, metrics, recorded); len(unknown) > 0 {
			t.Errorf("%s%s: there is no %s", r.Record, r.Alert, strings.Join(unknown, ", "))
		}
	}
	const wrong = `pullwatch_nosuch{a="b"} + pullwatch_registry_up{cause="dns"} + pullwatch_containers_failing{cause="dsn"} + pullwatch_condition{type="DiskPressure"}`
	if unknown := unknownIn(wrong, metrics, recorded); len(unknown) != 4 {
		t.Errorf("of four that do not exist were found: %q", unknown)
	}
}

func recordedSeries(rules []rule) map[string]bool {
	recorded := make(map[string]bool)
	for _, r := range rules {
		recorded[r.Record] = r.Record != ""
	}
	return recorded
}

// output runs a program and returns what it prints, whatever its exit code.
func output(ctx context.Context, t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Fatalf("%s %s: %v", program, strings.Join(args, " "), err)
	}
	return string(out)
}
