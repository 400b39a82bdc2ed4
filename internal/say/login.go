package say

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/internal/keyring"
	"github.com/pullwatch/pullwatch/pkg/cause"
)

// Login is what came of a pull secret for an image of a registry: the secret's name, and the rest of a sentence about it.
func Login(o *keyring.Outcome, registry string, now time.Time) string {
	return fmt.Sprintf("%s %s; seen %s ago", o.Secret, login(o, registry), Age(now.Sub(o.At)))
}

func login(o *keyring.Outcome, registry string) string {
	why := "" // in brackets
	if o.Cause != cause.None {
		why = " (" + o.Cause.String() + ")"
	}
	switch o.Result {
	case keyring.Accepted:
		return "is accepted: the image is there, the next try should work"
	case keyring.Refused:
		return "is refused" + why
	case keyring.NoImage:
		return "is taken, and the registry has no such image for it" + why + ": its name is wrong, or this login may not see it"
	case keyring.NotAsked:
		if o.Cause == cause.None {
			return "is not asked for: the image is there without a login"
		}
		return "is not asked for: the registry says no" + why + " and wants no login, or in no way in which one may be sent"
	case keyring.NotFound:
		namespace, _, _ := strings.Cut(o.Secret, "/")
		return "does not exist in namespace " + namespace
	case keyring.NoRight:
		return "is not looked at: this agent may not read it"
	case keyring.WrongType:
		return "holds no logins: it is not of type kubernetes.io/dockerconfigjson, or empty"
	case keyring.Malformed:
		return "does not parse, and the kubelet pulls nothing for a pod that names it"
	case keyring.NoEntry:
		return noEntry(o, registry)
	case keyring.NoPassword:
		return "has an entry for " + registry + " without a user and a password, and the kubelet takes nothing else from it"
	case keyring.NotKnown:
	}
	if o.Error != "" {
		why += ": " + o.Error
	}
	return "is not known to be accepted or refused" + why
}

func noEntry(o *keyring.Outcome, registry string) string {
	if slices.Contains(o.Hosts, registry) {
		return "has logins for other paths of " + registry + ", and none for this one"
	}
	has := "none"
	if len(o.Hosts) > 0 {
		has = strings.Join(o.Hosts, ", ")
	}
	if len(o.Hosts) == keyring.MostHosts {
		has += " …"
	}
	return "has no login for " + registry + " (it has: " + has + ")"
}
