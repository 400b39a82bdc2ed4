package agent_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/internal/kube/kubetest"
	"github.com/pullwatch/pullwatch/pkg/cri/critest"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

// probing has the agent ask registries ten times a second, but for those that the fake runtime's images are of.
func probing(names ...string) func(*agent.Config) {
	return func(c *agent.Config) {
		c.Registries = names
		c.Probing = agent.Probing{
			Interval: 100 * time.Millisecond, Most: 10, Exclude: []string{critest.Registry, critest.Private, "docker.io", "registry.k8s.io"},
			Proxy: func([]string) registries.Proxying { return registries.NoProxying("the test") },
		}
	}
}

// registry is what the agent knows of one.
func (w *world) registry(name string) *agent.RegistryState {
	all := w.fetch().Registries.Value
	for i := range all {
		if all[i].Registry.Registry == name {
			return &all[i]
		}
	}
	return nil
}

func reached(s *agent.RegistryState, want bool) bool { return s != nil && s.OK != nil && *s.OK == want }

func TestRegistryDiesAndComesBack(t *testing.T) {
	var status, requests atomic.Int64
	status.Store(http.StatusOK)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(int(status.Load()))
	}))
	defer s.Close()
	name := strings.TrimPrefix(s.URL, "http://")
	w := newWorld(t)
	w.run(probing(name))

	w.until("it is reached", func() bool { return reached(w.registry(name), true) })
	w.until("it is up", func() bool { return w.metric(`pullwatch_registry_up{registry="` + name + `"} 1`) })
	if !w.metric(`pullwatch_registry_established{registry="` + name + `"} 1`) {
		t.Error("a registry that the operator names is not shown as established")
	}
	if state := w.registry(name); !state.Established || state.LastSuccess.IsZero() || len(state.Endpoints) != 1 {
		t.Errorf("%+v", state)
	}
	status.Store(http.StatusServiceUnavailable)
	w.until("it is not reached", func() bool {
		return reached(w.registry(name), false) && w.registry(name).Cause.String() == "registry_error"
	})
	w.until("it is down", func() bool { return w.metric(`pullwatch_registry_up{registry="` + name + `"} 0`) })
	w.until("it is counted", func() bool {
		_, body := w.get("/metrics")
		return strings.Contains(body, `pullwatch_registry_probe_failures_total{cause="registry_error",registry="`+name+`"}`)
	})
	status.Store(http.StatusOK)
	w.until("it is reached again", func() bool { return reached(w.registry(name), true) })

	if err := w.stop(); err != nil {
		t.Error(err)
	}
	before := requests.Load()
	time.Sleep(300 * time.Millisecond)
	if now := requests.Load(); now != before {
		t.Errorf("an agent that has stopped asked %d times", now-before)
	}
}

// TestRegistryOfAPod: a host that only a pod names is asked with care, and of what it says only the cause is told.
func TestRegistryOfAPod(t *testing.T) {
	var asked atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); w.WriteHeader(http.StatusOK) }))
	defer inside.Close()
	name := strings.TrimPrefix(inside.URL, "http://")
	w := newWorld(t)
	w.run(probing())
	pod := kubetest.NewPod(node, "tenant", "curious", "app", name+"/a:b")
	w.api.SetPod(pod)
	w.api.SetPod(kubetest.Waiting(pod, "ErrImagePull", "dial tcp "+name+": connect: connection refused"))
	w.until("it was looked at", func() bool { return w.registry(name) != nil })
	state := w.registry(name)
	if state.Established || state.OK != nil || asked.Load() != 0 {
		t.Errorf("a tenant's loopback was asked %d times: %+v", asked.Load(), state)
	}
	w.until("it is not taken for one of the node's", func() bool { return w.metric(`pullwatch_registry_established{registry="` + name + `"} 0`) })
	text, err := json.Marshal([]any{state.NotChecked, state.Endpoints})
	if err != nil || state.NotChecked == "" || strings.Contains(string(text), "connect") || strings.Contains(string(text), "address") {
		t.Errorf("more is told than the cause: %s, %v", text, err)
	}
	w.api.SetPod(kubetest.Running(pod))
	w.until("it is forgotten", func() bool { return w.registry(name) == nil })
}

// TestExcludedRegistry is never asked, whoever names it.
func TestExcludedRegistry(t *testing.T) {
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1) }))
	defer s.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
	defer other.Close()
	name := strings.TrimPrefix(s.URL, "http://")
	w := newWorld(t)
	w.run(probing(name, strings.TrimPrefix(other.URL, "http://")), func(c *agent.Config) { c.Probing.Exclude = append(c.Probing.Exclude, name) })
	w.until("the other is asked", func() bool { return reached(w.registry(strings.TrimPrefix(other.URL, "http://")), true) })
	if asked.Load() != 0 || w.registry(name) != nil {
		t.Errorf("asked %d times", asked.Load())
	}
}
