package monitored

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/pkg/cause"
)

// targetLabels are those that a scrape adds.
var targetLabels = []string{"cluster", "node", "instance", "job"}

var documented = regexp.MustCompile("(?m)^\\| `(pullwatch_\\w+)` \\| (\\w+) \\| ([^|]*)\\|")

// knownMetrics are those of docs/metrics.md, with their labels.
func knownMetrics() (map[string][]string, error) {
	page, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		return nil, err
	}
	known := make(map[string][]string)
	for _, row := range documented.FindAllStringSubmatch(string(page), -1) {
		labels := strings.Fields(strings.ReplaceAll(row[3], "`", " "))
		known[row[1]] = labels
		if row[2] == "histogram" {
			for _, suffix := range []string{"_sum", "_count", "_bucket"} {
				known[row[1]+suffix] = append([]string{"le"}, labels...)
			}
		}
	}
	return known, nil
}

var (
	named    = regexp.MustCompile(`\b[a-z_]+:pullwatch_\w+:\w+|\bpullwatch_[a-z]\w*`)
	selector = regexp.MustCompile(`([a-z_]+:pullwatch_\w+:\w+|\bpullwatch_\w+)\s*\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"`)
)

// metricsIn are the metrics and recorded series that a query names.
func metricsIn(query string) []string {
	found := named.FindAllString(query, -1)
	slices.Sort(found)
	return slices.Compact(found)
}

// unknownIn are what a query names that there is not: metrics, recorded series, labels of a metric, causes, conditions.
func unknownIn(query string, metrics map[string][]string, recorded map[string]bool) (unknown []string) {
	for _, name := range metricsIn(query) {
		if _, ok := metrics[name]; !ok && !recorded[name] {
			unknown = append(unknown, "metric "+name)
		}
	}
	for _, s := range selector.FindAllStringSubmatch(query, -1) {
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			label := m[1]
			if of, ok := metrics[s[1]]; ok && !slices.Contains(of, label) && !slices.Contains(targetLabels, label) {
				unknown = append(unknown, fmt.Sprintf("label %s of %s", label, s[1]))
			}
			for _, value := range strings.Split(m[2], "|") {
				if label == "cause" && !slices.Contains(causeNames(), value) && !strings.HasPrefix(value, "$") && value != "" {
					unknown = append(unknown, "cause "+value)
				}
				if s[1] == "pullwatch_condition" && label == "type" && !slices.Contains(health.Types, health.Type(value)) {
					unknown = append(unknown, "condition "+value)
				}
			}
		}
	}
	return unknown
}

func causeNames() (names []string) {
	for _, c := range cause.All() {
		names = append(names, c.String())
	}
	return names
}
