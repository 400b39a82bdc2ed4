package agent

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/pullwatch/pullwatch/"

// TestImports holds the table of who may import whom: the data goes one way, and client-go stays in one package.
func TestImports(t *testing.T) {
	root := filepath.Join("..", "..")
	type imported struct {
		from, path string
		test       bool
		position   string
	}
	var all []imported
	packages := make(map[string]bool)
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			base := entry.Name()
			if relative != "." && (base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_') {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil && relative != "." {
				return filepath.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		file, err := parser.ParseFile(files, name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from := filepath.ToSlash(filepath.Dir(relative))
		packages[from] = true
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			position := files.Position(spec.Pos())
			position.Filename = relative
			all = append(all, imported{from, path, strings.HasSuffix(name, "_test.go"), position.String()})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cmd/agent", "internal/agent", "internal/keyring", "internal/kube", "internal/pulls", "pkg/cause", "pkg/cri", "pkg/metrics"} {
		if !packages[want] {
			t.Fatalf("package %s not found below %s: this test looks in the wrong place", want, root)
		}
	}

	under := func(path string, parents ...string) bool {
		return slices.ContainsFunc(parents, func(parent string) bool { return path == parent || strings.HasPrefix(path, parent+"/") })
	}
	fakes := []string{module + "pkg/cri/critest", module + "internal/kube/kubetest", module + "internal/web/webtest"}
	rules := []struct {
		name   string
		broken func(imported) bool
	}{
		{"pkg imports nothing internal", func(i imported) bool {
			return under(i.from, "pkg") && under(i.path, module+"internal", module+"cmd")
		}},
		{"only internal/kube imports client-go", func(i imported) bool {
			return under(i.path, "k8s.io/client-go") && !under(i.from, "internal/kube")
		}},
		{"pkg/cause imports only the standard library", func(i imported) bool {
			first, _, _ := strings.Cut(i.path, "/")
			return i.from == "pkg/cause" && !i.test && strings.Contains(first, ".")
		}},
		{"internal/pulls imports only internal/kube and pkg/cause of ours", func(i imported) bool {
			return i.from == "internal/pulls" && !i.test && strings.HasPrefix(i.path, module) && i.path != module+"internal/kube" && i.path != module+"pkg/cause"
		}},
		{"internal/disk imports nothing of ours", func(i imported) bool {
			return i.from == "internal/disk" && !i.test && strings.HasPrefix(i.path, module)
		}},
		{"internal/keyring imports only pkg/cause and pkg/probe of ours", func(i imported) bool {
			return i.from == "internal/keyring" && !i.test && strings.HasPrefix(i.path, module) && i.path != module+"pkg/cause" && i.path != module+"pkg/probe"
		}},
		{"internal/kube imports nothing of ours", func(i imported) bool {
			return i.from == "internal/kube" && !i.test && strings.HasPrefix(i.path, module)
		}},
		{"pkg/metrics imports only pkg/cause of ours", func(i imported) bool {
			return i.from == "pkg/metrics" && !i.test && strings.HasPrefix(i.path, module) && i.path != module+"pkg/cause"
		}},
		{"internal/say and internal/web are told by internal/agent, and ask nobody", func(i imported) bool {
			return under(i.from, "internal/say", "internal/web") && !i.test && under(i.path, module+"internal/agent", module+"internal/nodestatus", module+"pkg/cri", module+"pkg/metrics")
		}},
		{"internal/agent and internal/pulls know no API types of Kubernetes", func(i imported) bool {
			return under(i.from, "internal/agent", "internal/pulls") && !i.test && under(i.path, "k8s.io/api", "k8s.io/apimachinery")
		}},
		{"fakes are for tests", func(i imported) bool {
			return under(i.path, fakes...) && !i.test && !under(module+i.from, fakes...)
		}},
		{"testing is for tests", func(i imported) bool {
			return i.path == "testing" && !i.test && !under(module+i.from, fakes...)
		}},
		{"nobody imports the program", func(i imported) bool { return under(i.path, module+"cmd") }},
	}
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			for _, i := range all {
				if rule.broken(i) {
					t.Errorf("%s: %s imports %s", i.position, i.from, i.path)
				}
			}
		})
	}
}
