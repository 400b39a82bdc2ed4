package monitored

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// dashboard is what of a dashboard's JSON is read here.
type dashboard struct {
	UID, Title, Description string
	Editable                bool
	Tags                    []string
	Links                   []struct{ Title, URL string }
	Templating              struct {
		List []struct {
			Name, Type, AllValue string
			Query                any
			IncludeAll           bool
			Datasource           *datasource
		}
	}
	Annotations struct {
		List []struct {
			Name, Expr string
			Datasource *datasource
		}
	}
	Panels []panel
}

type datasource struct{ Type, UID string }

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               *datasource
	GridPos                  struct{ H, W, X, Y int }
	Targets                  []struct {
		RefID, Expr string
		Datasource  *datasource
	}
	FieldConfig struct{ Defaults struct{ Unit string } }
}

// has tells whether the dashboard has a variable.
func (d *dashboard) has(variable string) bool {
	for _, v := range d.Templating.List {
		if v.Name == variable {
			return true
		}
	}
	return false
}

// query is one of a panel.
type query struct {
	name string // dashboard, panel and reference: "fleet: Registries A"
	expr string
}

// queries are those of all panels, in their order.
func (d *dashboard) queries(name string) (all []query) {
	for _, p := range d.Panels {
		for _, t := range p.Targets {
			title := fmt.Sprintf("%s: %s", name, p.Title)
			if len(p.Targets) > 1 {
				title += " " + t.RefID
			}
			all = append(all, query{title, t.Expr})
		}
	}
	return all
}

// readDashboards are all of them by the name of their file.
func readDashboards() (map[string]*dashboard, error) {
	files, err := filepath.Glob(filepath.Join(manifests, "dashboards", "*.json"))
	if err != nil {
		return nil, err
	}
	all := make(map[string]*dashboard)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		d := new(dashboard)
		if err := json.Unmarshal(text, d); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		name := filepath.Base(file)
		all[name[:len(name)-len(".json")]] = d
	}
	return all, nil
}
