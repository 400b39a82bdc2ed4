package chart

import (
	"cmp"
	"maps"
	"os"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// TestSame holds the chart, with each of its files of values, equal to the kustomization that says the same.
func TestSame(t *testing.T) {
	for _, c := range []struct {
		values     string // file in manifests/chart/values
		set        map[string]any
		components []string
	}{
		{},
		{values: "k3s", components: []string{"k3s"}},
		{values: "rke2", components: []string{"rke2"}},
		{values: "microk8s", components: []string{"microk8s"}},
		{values: "crio", components: []string{"crio"}},
		{values: "openshift", components: []string{"openshift"}},
		{values: "pod-network", components: []string{"pod-network"}},
		{values: "no-socket", components: []string{"no-socket"}},
		{set: map[string]any{"fence": map[string]any{"enabled": false}}, components: []string{"without-fence"}},
		{set: map[string]any{"podMonitor": map[string]any{"create": true}}, components: []string{"prometheus-operator"}},
		{set: map[string]any{"pullSecrets": []any{map[string]any{"namespace": "shop", "names": []any{"regcred"}}}}, components: []string{"pull-secrets"}},
		{values: "k3s", set: map[string]any{"hostNetwork": false}, components: []string{"k3s", "pod-network"}},
	} {
		t.Run(cmp.Or(c.values, "default")+" as "+cmp.Or(append(c.components, "base")...), func(t *testing.T) {
			values := valuesFile(t, c.values)
			maps.Copy(values, c.set)
			if diff := gocmp.Diff(plain(kustomized(t, c.components...)), plain(mustRender(t, values))); diff != "" {
				t.Errorf("kustomization (-) and chart (+) differ:\n%s", diff)
			}
		})
	}
}

// TestSameLists finds a file of values or a component that TestSame does not know.
func TestSameLists(t *testing.T) {
	for dir, want := range map[string][]string{
		chartDir + "/values":      {"crio.yaml", "k3s.yaml", "microk8s.yaml", "no-socket.yaml", "openshift.yaml", "pod-network.yaml", "rke2.yaml"},
		manifests + "/components": {"crio", "k3s", "microk8s", "no-socket", "openshift", "pod-network", "prometheus-operator", "pull-secrets", "rke2", "without-fence"},
	} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		if !slices.Equal(names, want) {
			t.Errorf("%s has %v, and %v is held to its like in TestSame", dir, names, want)
		}
	}
}

// plain keys objects by kind and name, and takes out what may differ: what Helm alone has (its labels, hooks), the namespace, which a chart
// cannot make, and the order of what has a name or a path of its own.
func plain(objects []object) map[string]object {
	all := make(map[string]object)
	for _, o := range objects {
		metadata := o["metadata"].(map[string]any)
		annotations, _ := metadata["annotations"].(map[string]any)
		if o["kind"] == "Namespace" || annotations["helm.sh/hook"] != nil {
			continue
		}
		labelled := o["kind"] == "DaemonSet" || o["kind"] == "PodMonitor"
		all[o["kind"].(string)+" "+nameOf(o)] = tidy(o, labelled).(map[string]any)
	}
	return all
}

// helmLabels are those that Helm's conventions ask for.
var helmLabels = []string{"app.kubernetes.io/managed-by", "app.kubernetes.io/instance", "helm.sh/chart"}

func tidy(value any, labelled bool) any {
	switch v := value.(type) {
	case map[string]any:
		for key, of := range v {
			v[key] = tidy(of, labelled)
			labels, ok := of.(map[string]any)
			if !ok || key != "labels" && key != "matchLabels" {
				continue
			}
			for _, label := range helmLabels {
				delete(labels, label)
			}
			if !labelled { // the name alone, which no object of the kustomizations has but these
				delete(v, key)
			}
		}
	case []any:
		for i := range v {
			v[i] = tidy(v[i], labelled)
		}
		slices.SortStableFunc(v, func(a, b any) int { return cmp.Compare(keyOf(a), keyOf(b)) })
	}
	return value
}

// keyOf is by what an entry of a list is told apart, for volumes, mounts and environment variables, whose order means nothing here; the rest
// keeps its own.
func keyOf(value any) string {
	o, ok := value.(map[string]any)
	if !ok {
		return ""
	}
	if path, ok := o["mountPath"].(string); ok {
		return path
	}
	for _, kind := range []string{"hostPath", "emptyDir", "valueFrom", "value"} {
		if name, named := o["name"].(string); named && o[kind] != nil {
			return name
		}
	}
	return ""
}
