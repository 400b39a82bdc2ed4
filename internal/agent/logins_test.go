package agent_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/internal/keyring"
	"github.com/pullwatch/pullwatch/internal/kube/kubetest"
)

// marked is in every user and password of the tests' pull secrets, and in no output.
const marked = "s3cret-marker"

// private is a registry that wants a user and a password, and notes who asked for what.
type private struct {
	*httptest.Server
	name string

	mu    sync.Mutex
	asked map[string]int // by "METHOD user"; "" is nobody
	heads []string       // who asked by HEAD, in turn
}

func newPrivate(t *testing.T) *private {
	p := &private{asked: make(map[string]int)}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		p.mu.Lock()
		p.asked[r.Method+" "+user]++
		if r.Method == http.MethodHead {
			p.heads = append(p.heads, user)
		}
		p.mu.Unlock()
		switch {
		case user != "right-"+marked || password != "right-"+marked:
			w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
			w.WriteHeader(http.StatusUnauthorized)
		case strings.Contains(r.URL.Path, "gone"):
			w.WriteHeader(http.StatusNotFound)
		default:
			w.Header().Set("Docker-Content-Digest", "sha256:8968d79d46c91913a16a72bd56ca6ff15f3d07e13b0b64b3dc8c9d3c0f14b920")
			w.Header().Set("Ratelimit-Limit", "200;w=21600")
			w.Header().Set("Ratelimit-Remaining", "150;w=21600")
		}
	}))
	t.Cleanup(p.Close)
	p.name = strings.TrimPrefix(p.URL, "http://")
	return p
}

func (p *private) count(what string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[what]
}

// pullSecret is one with a login for a registry.
func pullSecret(namespace, name, registry, user string) *corev1.Secret {
	text, _ := json.Marshal(map[string]any{"auths": map[string]any{registry: map[string]string{
		"auth": base64.StdEncoding.EncodeToString([]byte(user + "-" + marked + ":" + user + "-" + marked)),
	}}})
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: text, "other": []byte(marked)},
	}
}

// refusedPod is one that cannot pull for want of credentials, and names pull secrets.
func refusedPod(namespace, name, image string, secrets ...string) *corev1.Pod {
	pod := kubetest.NewPod(node, namespace, name, "app", image)
	for _, s := range secrets {
		pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
	}
	return kubetest.Waiting(pod, "ErrImagePull", `failed to pull and unpack image "`+image+`": failed to resolve reference "`+image+`": pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials`)
}

// logins are what came of the pull secrets of each failing pod, as "SECRET RESULT".
func (w *world) logins() map[string]string {
	w.Helper()
	s, all := w.fetch(), make(map[string]string)
	for i := range s.Failures.Value {
		f := &s.Failures.Value[i]
		var texts []string
		for _, o := range s.LoginsOf(f) {
			texts = append(texts, o.Secret+" "+string(o.Result))
		}
		all[f.Namespace+"/"+f.Pod] = strings.Join(texts, ", ")
	}
	return all
}

// hidden fails the test where a secret's content is in anything that the agent tells anybody.
func (w *world) hidden() {
	w.Helper()
	snapshot, _ := json.Marshal(w.fetch())
	_, page := w.page()
	_, metrics := w.get("/metrics")
	for where, text := range map[string]string{"the snapshot": string(snapshot), "the page": page, "the metrics": metrics, "the log": w.log.String()} {
		for _, form := range []string{marked, base64.RawStdEncoding.EncodeToString([]byte("right-" + marked)), base64.RawStdEncoding.EncodeToString([]byte("wrong-" + marked)), "right-", "wrong-"} {
			if strings.Contains(text, form) {
				w.Errorf("%s shows %s of a secret", where, form)
			}
		}
	}
	if strings.Contains(metrics, "regcred") {
		w.Error("the metrics name a secret")
	}
}

func asking(c *agent.Config) {
	c.Probing.ImageInterval, c.Probing.PullSecrets = 50*time.Millisecond, true
}

// TestPullSecrets: each secret that a failing pod names is read by its name and tried, and what came of it is told to its own failure alone.
func TestPullSecrets(t *testing.T) {
	t.Parallel()
	w, registry := newWorld(t), newPrivate(t)
	image := registry.name + "/shop/cart:2.3"
	w.api.SetSecret(pullSecret("shop", "wrong", registry.name, "wrong"))
	w.api.SetSecret(pullSecret("shop", "elsewhere", "ghcr.io", "right"))
	w.api.SetSecret(pullSecret("shop", "closed", registry.name, "right"))
	w.api.SetSecret(pullSecret("shop", "unnamed", registry.name, "right"))
	w.api.SetSecret(pullSecret("pay", "wrong", registry.name, "right"))
	w.api.Forbid("secrets shop/closed")
	w.run(probing(registry.name), asking)
	w.until("ready", w.ready)
	w.api.SetPod(refusedPod("shop", "web-0", image, "wrong", "elsewhere", "missing", "closed"))
	w.api.SetPod(refusedPod("pay", "web-0", image, "wrong"))
	w.api.SetPod(refusedPod("pay", "web-1", registry.name+"/shop/gone:1", "wrong"))
	w.api.SetPod(refusedPod("pay", "web-2", image))
	w.until("all is told", func() bool {
		all := w.logins()
		return all["shop/web-0"] == "shop/wrong refused, shop/elsewhere no_entry, shop/missing not_found, shop/closed no_right" &&
			all["pay/web-0"] == "pay/wrong accepted" && all["pay/web-1"] == "pay/wrong no_image" && all["pay/web-2"] == ""
	})
	for _, probe := range w.fetch().ImageProbes.Value {
		for _, o := range probe.Logins {
			switch {
			case o.At.IsZero(), o.Error != "":
				t.Errorf("%+v", o)
			case o.Secret == "shop/elsewhere" && fmt.Sprint(o.Hosts) != "[ghcr.io]":
				t.Errorf("%+v", o)
			case o.Result == keyring.Accepted && (o.RateLimit == nil || o.RateLimit.Source != "secret pay/wrong" || o.RateLimit.Remaining != 150):
				t.Errorf("%+v", o)
			}
		}
	}
	w.until("it is on the page", func() bool {
		_, page := w.page()
		return strings.Contains(page, "shop/elsewhere has no login for "+registry.name+" (it has: ghcr.io); seen ") && strings.Contains(page, "pay/wrong is accepted")
	})
	w.hidden()

	// What may not be read is asked for once, whatever asks for it again; the rest is got, and neither listed nor watched.
	w.until("more rounds", func() bool { return registry.count("HEAD wrong-"+marked) > 3 })
	refused := 0
	for _, r := range w.api.Requests() {
		if r.Resource() != "secrets" {
			continue
		}
		if r.Verb() != "get" || strings.Contains(r.Path, "unnamed") {
			t.Errorf("%s %s", r.Verb(), r.Path)
		}
		if strings.HasSuffix(r.Path, "closed") {
			refused++
		}
	}
	if refused != 1 {
		t.Errorf("%d questions that were refused", refused)
	}
	if n := registry.count("GET right-"+marked) + registry.count("GET wrong-"+marked); n != 0 {
		t.Errorf("%d questions with a login that a registry may count as pulls", n)
	}
	if !w.metric(`pullwatch_containers_failing{cause="unauthorized",registry="` + registry.name + `",scope="credentials"} 4`) {
		t.Error("the cause is another one for it")
	}

	// What is over is forgotten.
	w.api.SetPod(kubetest.Running(refusedPod("pay", "web-0", image, "wrong")))
	w.until("its secret is forgotten", func() bool {
		for _, probe := range w.fetch().ImageProbes.Value {
			for _, o := range probe.Logins {
				if probe.Image.Image == image && o.Secret == "pay/wrong" {
					return false
				}
			}
		}
		return true
	})
	w.hidden()
}

// TestPullSecretsAnew: another secret that a pod names for an image which was asked for already does not wait for the next hour.
func TestPullSecretsAnew(t *testing.T) {
	t.Parallel()
	w, registry := newWorld(t), newPrivate(t)
	image := registry.name + "/shop/cart:2.3"
	names := []string{"a", "b", "c", "d", "e", "f"}
	for _, name := range names {
		w.api.SetSecret(pullSecret("shop", name, registry.name, "wrong"))
	}
	w.run(probing(registry.name), asking)
	w.until("ready", w.ready)
	w.api.SetPod(refusedPod("shop", "web-0", image, names...))
	w.until("all of them, four at once", func() bool { return strings.Count(w.logins()["shop/web-0"], "refused") == len(names) })
	w.api.SetSecret(pullSecret("shop", "a", registry.name, "right"))
	// A round begins with two questions by nobody, that for the image and the one to which the registry says that it wants a login.
	registry.mu.Lock()
	logins := 0
	for i, user := range registry.heads {
		if user != "" {
			logins++
		} else if i > 0 && registry.heads[i-1] == "" {
			logins = 0
		}
		if logins > 4 {
			t.Errorf("more than 4 logins in one round: %q", registry.heads)
			break
		}
	}
	registry.mu.Unlock()
	w.until("what is known is asked anew", func() bool { return strings.HasPrefix(w.logins()["shop/web-0"], "shop/a accepted, shop/b refused") })
}

// TestPullSecretsNotRead: without being told to, of a registry that only a pod names, and of a failure that has nothing to do with them, no secret is
// read.
func TestPullSecretsNotRead(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		told, established bool
		message           string
	}{
		"not told to":          {established: true},
		"a pod names the host": {told: true},
		"a typo":               {told: true, established: true, message: "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, registry, known := newWorld(t), newPrivate(t), newPrivate(t)
			w.api.SetSecret(pullSecret("shop", "regcred", registry.name, "right"))
			established := []string{known.name}
			if tc.established {
				established = append(established, registry.name)
			}
			w.run(probing(established...), asking, func(c *agent.Config) { c.Probing.PullSecrets = tc.told })
			w.until("ready", w.ready)
			pod := refusedPod("shop", "web-0", registry.name+"/shop/cart:2.3", "regcred")
			if tc.message != "" {
				pod = kubetest.Waiting(pod, "ErrImagePull", registry.name+"/shop/cart:2.3: "+tc.message)
			}
			w.api.SetPod(pod)
			w.until("it fails", func() bool { f := w.failures(); return len(f) == 1 && len(f[0].PullSecrets) == 1 })
			w.api.SetPod(refusedPod("shop", "web-1", known.name+"/shop/cart:2.3")) // which comes after it, and has its turns
			w.until("some rounds", func() bool { return known.count("HEAD ") > 5 && (registry.count("HEAD ") > 5 || !tc.established) })
			if n := w.api.Count("get", "secrets"); n != 0 {
				t.Errorf("%d secrets were read", n)
			}
			if n := registry.count("HEAD right-" + marked); n != 0 {
				t.Errorf("the login was used %d times", n)
			}
		})
	}
}
