package agent_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/internal/kube/kubetest"
	"github.com/pullwatch/pullwatch/pkg/cri/critest"
)

// TestImagesAtTheirRegistry: an image in use is asked for by HEAD alone, and what has become of it is told; one that fails is asked for whole.
func TestImagesAtTheirRegistry(t *testing.T) {
	const digest, other = "sha256:8968d79d46c91913a16a72bd56ca6ff15f3d07e13b0b64b3dc8c9d3c0f14b920", "sha256:c6889075ed584bf743b75eb3691d5fb895721bc1a7a74f4038ef4fc489bb2e2d"
	var mu sync.Mutex
	now, asked := digest, make(map[string]int)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked[r.Method+" "+r.URL.Path]++
		w.Header().Set("Ratelimit-Limit", "100;w=21600")
		w.Header().Set("Ratelimit-Remaining", "76;w=21600")
		switch {
		case r.URL.Path == "/v2/":
		case !strings.HasPrefix(r.URL.Path, "/v2/shop/web/") || now == "":
			w.WriteHeader(http.StatusNotFound)
		default:
			w.Header().Set("Docker-Content-Digest", now)
		}
	}))
	defer s.Close()
	set := func(digest string) { mu.Lock(); now = digest; mu.Unlock() }
	name := strings.TrimPrefix(s.URL, "http://")
	w := newWorld(t)
	// As CRI-O tells an image of an index that was named once more on the node, and one that was built there.
	const instance = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	w.runtime.SetImages(
		critest.Image{
			ID: strings.Repeat("a", 64), Tags: []string{name + "/shop/web:1", "localhost/web:1"},
			Digests: []string{"localhost/web@" + instance, "localhost/web@" + digest, name + "/shop/web@" + instance, name + "/shop/web@" + digest},
		},
		critest.Image{ID: strings.Repeat("c", 64), Tags: []string{"localhost/tool:1"}, Digests: []string{"localhost/tool@" + other}},
		critest.Image{ID: strings.Repeat("b", 64), Tags: []string{name + "/shop/unused:1"}, Digests: []string{name + "/shop/unused@" + other}})
	w.runtime.AddContainer(critest.Container{Namespace: "shop", Pod: "web-0", Name: "app", Image: name + "/shop/web:1", Created: time.Now()})
	w.runtime.AddContainer(critest.Container{Namespace: "shop", Pod: "tool-0", Name: "app", Image: "localhost/tool:1", Created: time.Now()})
	w.run(probing(), func(c *agent.Config) { c.Probing.ImageInterval = 50 * time.Millisecond })

	standing := func(want agent.Standing) func() bool {
		return func() bool {
			all := w.fetch().ImageProbes.Value
			return len(all) == 1 && all[0].Image.Image == name+"/shop/web:1" && all[0].Standing == want && !all[0].Failing
		}
	}
	w.until("it is there", standing(agent.There))
	w.until("none is missing", func() bool { return w.metric(`pullwatch_registry_images_missing{registry="` + name + `"} 0`) })
	w.until("the rate limit is told", func() bool {
		return w.metric(`pullwatch_registry_rate_limit_remaining_requests{registry="` + name + `",source="anonymous"} 76`)
	})
	set(instance)
	w.until("either digest is its own", func() bool {
		all := w.fetch().ImageProbes.Value
		return len(all) == 1 && all[0].Digest == instance && all[0].Standing == agent.There
	})
	if from := w.fetch().Images.Value.Registries; slices.Contains(from, "localhost") || !slices.Contains(from, name) || w.registry("localhost") != nil {
		t.Errorf("established are %q", from)
	}
	set(other)
	w.until("its tag names another", standing(agent.Moved))
	set("")
	w.until("it is missing", standing(agent.Missing))
	w.until("it is counted", func() bool { return w.metric(`pullwatch_registry_images_missing{registry="` + name + `"} 1`) })
	mu.Lock()
	for what := range asked {
		if strings.Contains(what, "unused") || strings.HasPrefix(what, "GET /v2/shop") {
			t.Errorf("asked %s", what)
		}
	}
	mu.Unlock()

	set(digest)
	pod := kubetest.NewPod(node, "shop", "web-1", "app", name+"/shop/wbe:1")
	w.api.SetPod(pod)
	w.api.SetPod(kubetest.Waiting(pod, "ErrImagePull", `failed to resolve reference "`+name+`/shop/wbe:1": `+name+`/shop/wbe:1: not found`))
	w.until("what fails is asked for", func() bool {
		for _, state := range w.fetch().ImageProbes.Value {
			if state.Failing && state.Image.Image == name+"/shop/wbe:1" {
				return state.Cause.String() == "not_found" && state.Standing == ""
			}
		}
		return false
	})
	w.api.SetPod(kubetest.Running(pod))
	w.until("it is forgotten", func() bool { return len(w.fetch().ImageProbes.Value) == 1 })
}

// TestShortNameThatFails: a pod's image without a registry is asked for as the runtime reads it.
func TestShortNameThatFails(t *testing.T) {
	var mu sync.Mutex
	asked := make(map[string]bool)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked[r.URL.Path] = true
		if r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer s.Close()
	w := newWorld(t)
	certs := t.TempDir()
	w.must(os.Mkdir(filepath.Join(certs, "docker.io"), 0o700))
	w.must(os.WriteFile(filepath.Join(certs, "docker.io", "hosts.toml"), []byte("server = \""+s.URL+"\"\n[host.\""+s.URL+"\"]\n"), 0o600))
	w.runtime.SetInfo("config", `{"registry": {"configPath": "`+certs+`"}}`)
	w.run(probing("docker.io"), func(c *agent.Config) {
		c.Probing.Exclude, c.Probing.ImageInterval = []string{critest.Registry, critest.Private, "registry.k8s.io"}, 50*time.Millisecond
	})
	pod := kubetest.NewPod(node, "shop", "web-1", "app", "wbe:1")
	w.api.SetPod(pod)
	w.api.SetPod(kubetest.Waiting(pod, "ErrImagePull", `failed to resolve reference "docker.io/library/wbe:1": docker.io/library/wbe:1: not found`))
	w.until("it is asked for", func() bool {
		for _, state := range w.fetch().ImageProbes.Value {
			if state.Image.Image == "wbe:1" && state.OK != nil {
				return state.Cause.String() == "not_found"
			}
		}
		return false
	})
	mu.Lock()
	defer mu.Unlock()
	if !asked["/v2/library/wbe/manifests/1"] {
		t.Errorf("asked were %v", asked)
	}
}
