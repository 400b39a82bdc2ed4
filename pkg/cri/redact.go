package cri

import (
	"encoding/base64"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// minSecret is the length, in bytes, below which a value is not looked for in
// texts: striking out every "a" would show the password by its gaps.
const minSecret = 4

// secretsOf lists the forms in which an answer could repeat the credentials of
// a pull: as they are, and as the Basic header that carries them.
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
	var long []string
	for _, s := range all {
		if len(s) >= minSecret {
			long = append(long, s)
		}
	}
	return long
}

func redact(text string, secrets []string) string {
	for _, s := range secrets {
		text = strings.ReplaceAll(text, s, "[redacted]")
	}
	return text
}
