package keyring

import (
	"cmp"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/probe"
)

// Result is what came of a pull secret for an image.
type Result string

// The results, a closed list to which others are only added. The first are what the registry made of its login, the others why it was asked
// without.
const (
	Accepted Result = "accepted" // the image is there for it
	Refused  Result = "refused"  // Cause tells how
	NoImage  Result = "no_image" // the registry has no such image for it: of a wrong name, or not for this user to see
	NotAsked Result = "not_asked"

	NotFound   Result = "not_found"   // there is no such secret
	NoRight    Result = "no_right"    // to get it
	WrongType  Result = "wrong_type"  // a kubelet reads no logins from it
	Malformed  Result = "malformed"   // it does not parse: a kubelet then pulls nothing for the pod
	NoEntry    Result = "no_entry"    // of the image's repository
	NoPassword Result = "no_password" // an entry without a user and a password, which alone a kubelet takes
	NotKnown   Result = "not_known"   // Error or Cause tells why
)

// Outcome is what came of one pull secret for one image. It holds nothing of the secret but hosts.
type Outcome struct {
	Secret string      `json:"secret"` // NAMESPACE/NAME
	Result Result      `json:"result"`
	At     time.Time   `json:"at"` // when it was found out
	Cause  cause.Cause `json:"cause,omitempty"`
	Error  string      `json:"error,omitempty"`
	Hosts  []string    `json:"hosts,omitempty"` // of NoEntry: those that it has entries for
	// RateLimit is what is left to the user that the login is of.
	RateLimit *probe.RateLimit `json:"rateLimit,omitempty"`
}

// Asked takes what a registry said of the image with the login. Once that was sent, no text of the other side's is kept: it could hold it.
func (o *Outcome) Asked(i *probe.Image) {
	o.Result, o.Cause, o.Error = NotKnown, i.Cause, ""
	if !i.LoginSent {
		o.Error = cmp.Or(i.Error, i.NotChecked)
	} else {
		o.Error, o.RateLimit = i.NotChecked, i.RateLimit
	}
	there := i.OK != nil && *i.OK
	switch {
	case there && i.LoginSent:
		o.Result = Accepted
	case i.OK == nil:
	case (there || i.Cause.Scope() == cause.ScopeCredentials || i.Cause == cause.NotFound) && !i.LoginSent:
		o.Result = NotAsked
	case i.Cause.Scope() == cause.ScopeCredentials:
		o.Result = Refused
	case i.Cause == cause.NotFound:
		o.Result = NoImage
	}
}
