package say_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/internal/keyring"
	"github.com/pullwatch/pullwatch/internal/say"
	"github.com/pullwatch/pullwatch/pkg/cause"
)

// TestLogin: every result has words of its own.
func TestLogin(t *testing.T) {
	now := time.Now()
	seen := make(map[string]bool)
	for _, tc := range []struct {
		outcome keyring.Outcome
		want    string
	}{
		{keyring.Outcome{Result: keyring.Accepted}, "is accepted: the image is there, the next try should work"},
		{keyring.Outcome{Result: keyring.Refused, Cause: cause.Unauthorized}, "is refused (unauthorized)"},
		{keyring.Outcome{Result: keyring.NoImage, Cause: cause.NotFound}, "is taken, and the registry has no such image for it (not_found): its name is wrong, or this login may not see it"},
		{keyring.Outcome{Result: keyring.NotAsked}, "is not asked for: the image is there without a login"},
		{keyring.Outcome{Result: keyring.NotAsked, Cause: cause.AccessDenied}, "is not asked for: the registry says no (access_denied) and wants no login, or in no way in which one may be sent"},
		{keyring.Outcome{Result: keyring.NotFound}, "does not exist in namespace shop"},
		{keyring.Outcome{Result: keyring.NoRight}, "is not looked at: this agent may not read it"},
		{keyring.Outcome{Result: keyring.WrongType}, "holds no logins: it is not of type kubernetes.io/dockerconfigjson, or empty"},
		{keyring.Outcome{Result: keyring.Malformed}, "does not parse, and the kubelet pulls nothing for a pod that names it"},
		{keyring.Outcome{Result: keyring.NoEntry, Hosts: []string{"ghcr.io", "quay.io"}}, "has no login for registry.example.com (it has: ghcr.io, quay.io)"},
		{keyring.Outcome{Result: keyring.NoEntry, Hosts: []string{"registry.example.com"}}, "has logins for other paths of registry.example.com, and none for this one"},
		{keyring.Outcome{Result: keyring.NoEntry, Hosts: strings.Split("a.b c.d e.f g.h i.j k.l m.n o.p", " ")}, "has no login for registry.example.com (it has: a.b, c.d, e.f, g.h, i.j, k.l, m.n, o.p …)"},
		{keyring.Outcome{Result: keyring.NoEntry}, "has no login for registry.example.com (it has: none)"},
		{keyring.Outcome{Result: keyring.NoPassword}, "has an entry for registry.example.com without a user and a password, and the kubelet takes nothing else from it"},
		{keyring.Outcome{Result: keyring.NotKnown, Cause: cause.Connection, Error: "connection refused"}, "is not known to be accepted or refused (connection): connection refused"},
		{keyring.Outcome{Result: keyring.NotKnown}, "is not known to be accepted or refused"},
	} {
		tc.outcome.Secret, tc.outcome.At = "shop/regcred", now.Add(-12*time.Minute)
		got := say.Login(&tc.outcome, "registry.example.com", now)
		if got != "shop/regcred "+tc.want+"; seen 12m ago" || seen[got] {
			t.Errorf("%s: %q, want %q", tc.outcome.Result, got, tc.want)
		}
		seen[got] = true
	}
}
