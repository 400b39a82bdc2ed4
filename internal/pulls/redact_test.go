package pulls

import "testing"

func TestRedact(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"nothing", `Head "https://r.example/v2/a/manifests/1?ns=docker.io": EOF`, `Head "https://r.example/v2/a/manifests/1?ns=docker.io": EOF`},
		{"user of a proxy", "proxyconnect tcp: dial http://bob:s3cr3t@proxy.example:3128", "proxyconnect tcp: dial http://***@proxy.example:3128"},
		{"a digest is no user", `docker://r.example/a@sha256:0123`, `docker://r.example/a@sha256:0123`},
		{"signed URL", `Get "https://b.example/x?X-Amz-Date=1&X-Amz-Signature=s3cr3t&X-Amz-Credential=s3cr3t%2Fx": EOF`,
			`Get "https://b.example/x?X-Amz-Date=1&X-Amz-Signature=***&X-Amz-Credential=***": EOF`},
		{"Azure", `Get "https://b.example/x?se=1&sig=s3cr3t%3D": EOF`, `Get "https://b.example/x?se=1&sig=***": EOF`},
		{"token", "Authorization: Bearer eyJhbGciOiJSUzI1NiIsInR5", "Authorization: Bearer ***"},
		{"basic auth as a word", "failed: no basic auth credentials", "failed: no basic auth credentials"},
	} {
		if got := redact(test.text); got != test.want {
			t.Errorf("%s: %s\n got %s\nwant %s", test.name, test.text, got, test.want)
		}
	}
}
