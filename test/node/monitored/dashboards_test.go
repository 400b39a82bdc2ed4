package monitored

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dashboards are all of them by uid.
func dashboards(t *testing.T) map[string]*dashboard {
	t.Helper()
	files, err := readDashboards()
	must(t, err)
	all := make(map[string]*dashboard)
	for _, d := range files {
		all[d.UID] = d
	}
	return all
}

var (
	window = regexp.MustCompile(`\[[^\]]*\]`)
	// counted are the ends of names whose series only grow.
	counted = regexp.MustCompile(`_(total|bucket|sum|count)$`)
)

// TestDashboards holds the dashboards to what Grafana's users expect of one that is shipped.
func TestDashboards(t *testing.T) {
	metrics, err := knownMetrics()
	must(t, err)
	rules, err := allRules()
	must(t, err)
	recorded := recordedSeries(rules)
	boards, err := readDashboards()
	must(t, err)
	if len(boards) != 2 {
		t.Fatalf("%d dashboards, want 2", len(boards))
	}
	var links []string
	for name, d := range boards {
		problem := func(format string, args ...any) {
			t.Helper()
			t.Errorf("%s: "+format, append([]any{name}, args...)...)
		}
		if d.UID != "pullwatch-"+name || d.Editable || d.Description == "" || !slices.Contains(d.Tags, "pullwatch") {
			problem("uid %q, editable %v, description %q, tags %q", d.UID, d.Editable, d.Description, d.Tags)
		}
		for _, l := range d.Links {
			links = append(links, l.URL)
		}
		if v := d.Templating.List; len(v) < 3 || v[0].Type != "datasource" || v[0].Query != "prometheus" || v[1].Name != "cluster" || !v[1].IncludeAll || v[1].AllValue != ".*" {
			problem("the first variables are not a data source and a cluster that may be all or none: %+v", v)
		}
		for _, v := range d.Templating.List[1:] {
			if !own(v.Datasource) {
				problem("variable %s has the data source %+v", v.Name, v.Datasource)
			}
		}
		for _, a := range d.Annotations.List {
			if !own(a.Datasource) || !strings.Contains(a.Expr, `cluster=~"$cluster"`) {
				problem("annotation %s", a.Name)
			}
		}
		ids, titles := make(map[int]bool), make(map[string]bool) // a row may be called as a panel in it
		taken := make(map[[2]int]string)
		for _, p := range d.Panels {
			kind := "panel "
			if p.Type == "row" {
				kind = "row "
			}
			if ids[p.ID] || titles[kind+p.Title] || p.Title == "" {
				problem("the id or title of panel %d %q is not its own", p.ID, p.Title)
			}
			ids[p.ID], titles[kind+p.Title] = true, true
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if at := [2]int{x, y}; x >= 24 || taken[at] != "" {
						problem("panel %q lies on %q", p.Title, taken[at])
					} else {
						taken[at] = p.Title
					}
				}
			}
			if p.Type == "row" {
				continue
			}
			if !strings.HasSuffix(p.Description, ".") || p.FieldConfig.Defaults.Unit == "" || !own(p.Datasource) || len(p.Targets) == 0 {
				problem("panel %q: description %q, unit %q, data source %+v", p.Title, p.Description, p.FieldConfig.Defaults.Unit, p.Datasource)
			}
			for _, target := range p.Targets {
				if !own(target.Datasource) || !strings.Contains(target.Expr, `cluster=~"$cluster"`) {
					problem("panel %q: query %s has no cluster, or a data source of its own: %s", p.Title, target.RefID, target.Expr)
				}
				if unknown := unknownIn(target.Expr, metrics, recorded); len(unknown) > 0 {
					problem("panel %q: there is no %s", p.Title, strings.Join(unknown, ", "))
				}
				for _, w := range window.FindAllString(target.Expr, -1) {
					if w != "[$__rate_interval]" {
						problem("panel %q: a window of %s", p.Title, w)
					}
				}
				for _, metric := range metricsIn(target.Expr) {
					if !strings.Contains(metric, ":") && counted.MatchString(metric) && !strings.Contains(target.Expr, "[$__rate_interval]") {
						problem("panel %q shows the counter %s without rate", p.Title, metric)
					}
				}
			}
		}
	}
	for _, want := range []string{"/d/pullwatch-fleet", "/d/pullwatch-node", "https://github.com/pullwatch/pullwatch/blob/main/docs/runbooks/README.md"} {
		if !slices.Contains(links, want) {
			t.Errorf("no dashboard links to %s", want)
		}
	}
}

// own tells whether the data source is the dashboard's variable.
func own(d *datasource) bool {
	return d != nil && *d == datasource{"prometheus", "${datasource}"}
}
