package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/internal/keyring"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/pkg/cause"
)

// TestFailuresSecrets: what came of pull secrets stands with their cause, once each, and for which image where there are several.
func TestFailuresSecrets(t *testing.T) {
	now := time.Now()
	failing := func(pod, image string, c cause.Cause, logins ...keyring.Outcome) failure {
		return failure{pulls.Failure{Namespace: "shop", Pod: pod, Image: image, Registry: "ghcr.io", Cause: c, Scope: c.Scope()}, logins}
	}
	secret := func(name string, r keyring.Result) keyring.Outcome {
		return keyring.Outcome{Secret: "shop/" + name, Result: r, At: now.Add(-time.Minute)}
	}
	for name, tc := range map[string]struct {
		failures []failure
		want     []string // the lines about secrets
	}{
		"none": {[]failure{failing("a", "ghcr.io/a:1", cause.Unauthorized)}, nil},
		"two pods of one image": {
			[]failure{
				failing("a", "ghcr.io/a:1", cause.Unauthorized, secret("regcred", keyring.NotFound), secret("other", keyring.NoRight)),
				failing("b", "ghcr.io/a:1", cause.Unauthorized, secret("regcred", keyring.NotFound)),
			},
			[]string{"  secret: shop/regcred does not exist in namespace shop; seen 60s ago", "  secret: shop/other is not looked at: this agent may not read it; seen 60s ago"},
		},
		"two images, two causes": {
			[]failure{
				failing("a", "ghcr.io/a:1", cause.Unauthorized, secret("regcred", keyring.Refused)), failing("b", "ghcr.io/b:1", cause.Unauthorized, secret("regcred", keyring.Accepted)),
				failing("c", "ghcr.io/c:1", cause.AccessDenied, secret("re\x1b[2Jg", keyring.Refused)),
			},
			[]string{
				"  secret: shop/re\\u001b[2Jg is refused; seen 60s ago",
				"  secret: shop/regcred is refused; seen 60s ago, for ghcr.io/a:1",
				"  secret: shop/regcred is accepted: the image is there, the next try should work; seen 60s ago, for ghcr.io/b:1",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := printAdvice(&out, tc.failures, now); err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(out.String()) {
				if strings.HasPrefix(line, "  secret:") {
					got = append(got, strings.TrimSuffix(line, "\n"))
				}
			}
			if strings.Join(got, "\n") != strings.Join(tc.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
	text, err := json.Marshal(failing("a", "ghcr.io/a:1", cause.Unauthorized, secret("regcred", keyring.Refused)))
	if want := `"logins":[{"secret":"shop/regcred","result":"refused","at":`; err != nil || !strings.Contains(string(text), want) || !strings.Contains(string(text), `"pod":"a"`) {
		t.Errorf("%v: %s, want %s in it", err, text, want)
	}
}
