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
		{"an @ in the password", "http://bob:p@ss'w@proxy.example:3128/", "http://***@proxy.example:3128/"},
		{"a digest behind a port", `docker://r.example:5000/a@sha256:0123`, `docker://r.example:5000/a@sha256:0123`},
		{"signed URL in JSON", `{"url":"https://b.example/x?a=1\u0026X-Amz-Signature=s3cr3t"}`, `{"url":"https://b.example/x?a=1\u0026X-Amz-Signature=***"}`},
		{"signed URL in XML", `https://b.example/x?a=1&amp;sig=s3cr3t`, `https://b.example/x?a=1&amp;sig=***`},
		{"token field", `{"token":"s3cr3t","expires_in":300}`, `{"token":"***","expires_in":300}`},
		{"escaped token field", `"{\"access_token\": \"s3cr3t\"}"`, `"{\"access_token\": \"***\"}"`},
		{"short basic auth", "Authorization: Basic Ym9iOng=", "Authorization: Basic ***"},
		{"token", "Authorization: Bearer eyJhbGciOiJSUzI1NiIsInR5", "Authorization: Bearer ***"},
		{"authorization as a word", "may require authorization: authorization failed: no basic auth credentials", "may require authorization: authorization failed: no basic auth credentials"},
		{"basic auth as a word", "failed: no basic auth credentials", "failed: no basic auth credentials"},
	} {
		if got := Redact(test.text); got != test.want {
			t.Errorf("%s: %s\n got %s\nwant %s", test.name, test.text, got, test.want)
		}
	}
}
