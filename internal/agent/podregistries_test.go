package agent

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pullwatch/pullwatch/internal/kube"
)

// TestPodRegistries: what pods were pulled from counts for a day after they are gone.
func TestPodRegistries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r podRegistries
		pod := func(uid string, finished bool, pulled ...string) kube.Pod {
			p := kube.Pod{UID: uid, Finished: finished}
			for _, name := range pulled {
				p.Containers = append(p.Containers, kube.Container{Pulled: name})
			}
			return p
		}
		const digest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		want := func(when string, names ...string) {
			t.Helper()
			if got := r.known(time.Now()); !slices.Equal(got, names) {
				t.Errorf("%s: %q, want %q", when, got, names)
			}
		}
		want("nothing was seen")
		r.Replace([]kube.Pod{
			pod("job", true, "z.example/a"+digest), pod("web", false, "ghcr.io/a"+digest, "ghcr.io/b"+digest), pod("local", false, "localhost/tool"+digest, ""),
		})
		want("pods are there", "ghcr.io", "z.example")
		time.Sleep(48 * time.Hour)
		want("they are for long", "ghcr.io", "z.example")
		r.Replace([]kube.Pod{pod("web", false, "ghcr.io/a"+digest)})
		r.Forget("web")
		time.Sleep(podRegistriesLast)
		want("they are gone", "ghcr.io", "z.example")
		time.Sleep(time.Second)
		want("for a day")
		for i := range 2 * mostPodRegistries {
			r.Observe(pod("p", false, fmt.Sprintf("r%d.example/a%s", i, digest)))
			time.Sleep(time.Second)
		}
		if got := r.known(time.Now()); len(got) != mostPodRegistries+1 || slices.Contains(got, "r0.example") {
			t.Errorf("%d registries are remembered", len(got))
		}
	})
}
