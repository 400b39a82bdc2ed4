package cri

import (
	"cmp"
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// minSecret is the length, in bytes, below which a value is not looked for in
// texts: striking out every "a" would show the password by its gaps.
const minSecret = 4

// secretsOf lists the forms in which an answer could repeat the credentials of
// a pull: as they are, as the Basic header that carries them, and each quoted
// or escaped.
func secretsOf(auth *runtimeapi.AuthConfig) []string {
	if auth == nil {
		return nil
	}
	all := []string{
		auth.GetPassword(),
		auth.GetAuth(),
		auth.GetIdentityToken(),
		auth.GetRegistryToken(),
	}
	if auth.GetPassword() != "" {
		all = append(all, base64.StdEncoding.EncodeToString([]byte(auth.GetUsername()+":"+auth.GetPassword())))
	}
	if pair, err := base64.StdEncoding.DecodeString(auth.GetAuth()); err == nil {
		if _, password, ok := strings.Cut(string(pair), ":"); ok {
			// Docker's configuration pads with NUL bytes.
			all = append(all, strings.TrimRight(password, "\x00"))
		}
	}
	for _, s := range all {
		quoted := strconv.Quote(s)
		all = append(all, quoted[1:len(quoted)-1], url.QueryEscape(s), url.PathEscape(s))
	}
	all = slices.DeleteFunc(all, func(s string) bool { return len(s) < minSecret })
	// The longest first: one that contains another would be left in pieces.
	slices.SortFunc(all, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return all
}

func redact(text string, secrets []string) string {
	for _, s := range secrets {
		text = strings.ReplaceAll(text, s, "[redacted]")
	}
	return text
}
