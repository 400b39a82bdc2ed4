// Package registries knows which endpoints the container runtime of this node asks for a registry, in which order and how, from the
// runtime's own configuration.
//
// It promises: the list is what the real runtime asks, as test/node/runtime holds it against containerd; what cannot be read or is not known is said
// and never guessed; and no secret of a configuration (header, password, key) is in any text that it makes.
package registries

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"time"
)

// Endpoint is one URL that the runtime asks for a registry: a mirror, or the origin.
type Endpoint struct {
	// URL is the base of the API, with the /v2 that the runtime appends and without a slash at its end.
	URL url.URL
	// Registry is the name that images carry.
	Registry string
	Mirror   bool
	// Namespaced is set where the runtime tells it Registry in the query ns, as containerd does with its mirrors.
	Namespaced bool
	// Repository is what the image's repository is called here; empty is as in the image.
	Repository string

	// Resolve and Pull tell whether the runtime resolves tags here, and digests. Containerd then asks every endpoint for manifest and blobs,
	// whatever its capabilities.
	Resolve, Pull bool
	// Partial is set in an answer for a registry as a whole where the runtime asks here for some of its repositories alone.
	Partial bool
	// TLS is how the runtime trusts it and who it says it is; nil is the node's roots and no client certificate. Its server name is left
	// to the URL.
	TLS *tls.Config
	// FallsBackToHTTP is set where the runtime tries plain HTTP after a TLS handshake that met no TLS.
	FallsBackToHTTP bool
	// Header is sent with each request to this host and to no other. Its values are secrets.
	Header http.Header
	// DialTimeout bounds one connection attempt of the runtime's; it waits so long on a dead endpoint before it goes on to the next.
	DialTimeout time.Duration

	// Source is the file that names the endpoint, with the line where known; "default" where none does.
	Source string
}

// Name is the endpoint as it may be shown: the URL without a user.
func (e *Endpoint) Name() string {
	u := e.URL
	u.User = nil
	return u.String()
}

// Finding is something in the runtime's configuration that is not as whoever wrote it will have meant it.
type Finding struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"` // from 1; 0 where the file as a whole is meant
	Text string `json:"text"`
	// Effect is what the runtime makes of it.
	Effect string `json:"effect"`
}

// Answer is what is known of one registry.
type Answer struct {
	Registry  string
	Endpoints []Endpoint
	Findings  []Finding
	// Blocked is why the runtime refuses to ask the origin, which is then none of the endpoints. Empty is that it asks it.
	Blocked string
	// NotChecked is why the endpoints are not known, or may be others than these. Empty is known.
	NotChecked string
}
