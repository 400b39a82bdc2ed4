package probe

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/url"
	"strconv"
)

// Login is what a registry is asked for an image with. It shows nowhere: whatever prints or encodes it gets whose it is.
type Login struct {
	Username, Password string
	Source             string // whose, as a RateLimit tells it: "secret NAMESPACE/NAME"
}

// Format implements fmt.Formatter, for every verb.
func (l Login) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, l.Source) }

// MarshalText implements encoding.TextMarshaler.
func (l Login) MarshalText() ([]byte, error) { return []byte(l.Source), nil }

// basic is the login as a header (RFC 7617).
func (l *Login) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(l.Username+":"+l.Password))
}

// secrets are the texts by which a server could echo the login: as it is, quoted, in a URL, in base64. A pad at the end gives nothing away.
func (l *Login) secrets() (all []string) {
	for _, s := range []string{l.Username, l.Password, l.Username + ":" + l.Password} {
		quoted := strconv.Quote(s)
		for _, form := range []string{
			s, quoted[1 : len(quoted)-1], url.QueryEscape(s), url.PathEscape(s),
			base64.RawStdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)),
		} {
			if len(form) >= leastSecret {
				all = append(all, form)
			}
		}
	}
	return all
}
