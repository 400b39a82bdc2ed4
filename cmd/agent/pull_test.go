package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/pkg/cause"
)

func TestSameImage(t *testing.T) {
	const digest = "@sha256:ec6652732332b8774bca278a360682557eb0ed43dfee440086701f3dde96f328"
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"cart", "docker.io/library/cart:latest", true},
		{"shop/cart:1", "index.docker.io/shop/cart:1", true},
		{"r.example/a:1" + digest, "r.example/a" + digest, true}, // the digest counts
		{"r.example/a:1", "r.example/a:2", false},
		{"r.example/a", "r.example/a" + digest, false},
		{"r.example/UPPER:1", "r.example/UPPER:1", true}, // no reference at all, and the same
		{"r.example/UPPER:1", "r.example/upper:1", false},
		{"", "UPPER", false},
	} {
		if got := sameImage(test.a, test.b); got != test.want {
			t.Errorf("%q and %q: %t, want %t", test.a, test.b, got, test.want)
		}
	}
}

// TestMeaning: every cause has its sentence, none claims of pods what the pull has not shown, and those that are nobody's pod say so.
func TestMeaning(t *testing.T) {
	for _, c := range cause.All() {
		for _, given := range []bool{false, true} {
			a := &pullAnswer{Image: "r.example/a:1", Credentials: given}
			a.fail(c, "text")
			said := a.meaning()[0]
			for scope, must := range map[cause.Scope]string{
				cause.ScopeWorkload: "every pod that names it fails likewise", cause.ScopeRegistry: "It is not the pod: r.example",
				cause.ScopeNetwork: "It is not the pod: every pod of this node", cause.ScopeNode: "It is not the pod: this node", cause.ScopeUnknown: "does not follow",
			} {
				if (c.Scope() == scope) != strings.Contains(said, must) {
					t.Errorf("%s (%s): %s", c, c.Scope(), said)
				}
			}
			if may := strings.Contains(said, "may well pull it"); may != (c.Scope() == cause.ScopeCredentials && !given) {
				t.Errorf("%s, credentials given %t: %s", c, given, said)
			}
		}
		// A pod fails by each cause while the pull here works.
		f := &pulls.Failure{Cause: c, Scope: c.Scope(), Namespace: "shop"}
		with, without := (&pullAnswer{Pulled: true, Credentials: true}).meaningFor(f), (&pullAnswer{Pulled: true}).meaningFor(f)
		if strings.Contains(with, "credentials given here work") != (c.Scope() == cause.ScopeCredentials) || strings.Contains(without, "given here") {
			t.Errorf("%s: with %q, without %q", c, with, without)
		}
	}
}

func TestProgressLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		stop := progressLine(&b, "pulling r.example/\x1b[2J")
		time.Sleep(2500 * time.Millisecond)
		stop()
		const line = "\rpulling r.example/\\u001b[2J "
		if want := line + "0s" + line + "1s" + line + "2s" + "\r\x1b[K"; b.String() != want {
			t.Errorf("%q, want %q", b.String(), want)
		}
	})
}
