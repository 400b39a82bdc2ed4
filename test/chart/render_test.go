package chart

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	chartDir  = "../../manifests/chart"
	manifests = "../../manifests"
	// kubernetes is the cluster's version, where none is given: Helm's library, unlike its releases, would take a very old one.
	kubernetes = "v1.34.4"
)

// object is one object of Kubernetes as YAML has it.
type object = map[string]any

// render is what `helm template pullwatch manifests/chart -n pullwatch` prints with the values, and what NOTES.txt says.
func render(values map[string]any, kubeVersion string) (objects []object, notes string, err error) {
	c, err := loader.Load(chartDir)
	if err != nil {
		return nil, "", err
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	version, err := chartutil.ParseKubeVersion(kubeVersion)
	if err != nil {
		return nil, "", err
	}
	capabilities.KubeVersion = *version
	release := chartutil.ReleaseOptions{Name: "pullwatch", Namespace: "pullwatch", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, values, release, capabilities)
	if err != nil {
		return nil, "", err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, "", err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		switch {
		case strings.HasSuffix(name, "/NOTES.txt"):
			notes = files[name]
		case strings.HasSuffix(name, ".yaml"):
			found, err := parse([]byte(files[name]))
			if err != nil {
				return nil, "", errors.Join(errors.New(name), err)
			}
			objects = append(objects, found...)
		}
	}
	return objects, notes, nil
}

func mustRender(t *testing.T, values map[string]any) []object {
	t.Helper()
	objects, _, err := render(values, kubernetes)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// parse reads documents of YAML.
func parse(text []byte) (objects []object, err error) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		var o object
		if err := yaml.UnmarshalStrict(document, &o); err != nil {
			return nil, err
		}
		if len(o) > 0 {
			objects = append(objects, o)
		}
	}
}

// valuesFile reads one of the chart's files of values; "" is none.
func valuesFile(t *testing.T, name string) map[string]any {
	t.Helper()
	values := map[string]any{}
	if name != "" {
		text, err := os.ReadFile(filepath.Join(chartDir, "values", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(text, &values); err != nil {
			t.Fatal(err)
		}
	}
	return values
}

// kustomized is what `kubectl kustomize` prints of manifests/base with components, and with the files that these have for users to copy.
func kustomized(t *testing.T, components ...string) []object {
	t.Helper()
	root, err := filepath.Abs(manifests)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if root, err = filepath.Rel(dir, root); err != nil { // kustomize takes no absolute path
		t.Fatal(err)
	}
	resources, file := root+"/base", "\ncomponents:\n"
	for _, name := range components {
		file += "- " + root + "/components/" + name + "\n"
		if text, err := os.ReadFile(filepath.Join(manifests, "components", name, "role.yaml")); err == nil {
			if err := os.WriteFile(filepath.Join(dir, "role.yaml"), text, 0o600); err != nil {
				t.Fatal(err)
			}
			resources += ", role.yaml"
		}
	}
	file = "resources: [" + resources + "]" + file
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatalf("%v: %v", components, err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// find is the one object of a kind whose name ends so.
func find(t *testing.T, objects []object, kind, suffix string) object {
	t.Helper()
	var found []object
	for _, o := range objects {
		if o["kind"] == kind && strings.HasSuffix(nameOf(o), suffix) {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d objects %s *%s, want 1", len(found), kind, suffix)
	}
	return found[0]
}

func nameOf(o object) string {
	name, _ := o["metadata"].(map[string]any)["name"].(string)
	return name
}

// typed reads an object strictly: a field that Kubernetes does not know is an error.
func typed(t *testing.T, o object, into any) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o, into, true); err != nil {
		t.Fatal(err)
	}
}

func daemonSet(t *testing.T, objects []object) *appsv1.DaemonSet {
	t.Helper()
	var ds appsv1.DaemonSet
	typed(t, find(t, objects, "DaemonSet", ""), &ds)
	return &ds
}

func hookJob(t *testing.T, objects []object) *batchv1.Job {
	t.Helper()
	var job batchv1.Job
	typed(t, find(t, objects, "Job", ""), &job)
	return &job
}
