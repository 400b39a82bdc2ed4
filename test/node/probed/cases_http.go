package probed

import (
	"github.com/pullwatch/pullwatch/pkg/cause"
)

const topicAnswers = "What the registry answers"

// asHTTP has the host asked by HTTP.
const asHTTP = "server = \"http://{host}\"\n[host.\"http://{host}\"]\n"

var answers = []Case{
	{Topic: topicAnswers, Name: "200, plain HTTP", Hosts: asHTTP, Listen: map[string]server{"80": plain(serves)}},
	{Topic: topicAnswers, Name: "400", Cause: cause.RegistryError, Listen: https(status(400))},
	{Topic: topicAnswers, Name: "401 without a challenge", Cause: cause.Unauthorized, Listen: https(status(401))},
	{Topic: topicAnswers, Name: "401 Basic", Cause: cause.Unauthorized, Listen: https(status(401, "WWW-Authenticate", `Basic realm="x"`))},
	{Topic: topicAnswers, Name: "403", Cause: cause.AccessDenied, Listen: https(status(403))},
	{Topic: topicAnswers, Name: "404", Cause: cause.NotFound, Listen: https(status(404))},
	{Topic: topicAnswers, Name: "405", Cause: cause.RegistryError, Listen: https(status(405))},
	{Topic: topicAnswers, Name: "408", Cause: cause.Timeout, Listen: https(status(408))},
	{Topic: topicAnswers, Name: "429", Cause: cause.RateLimited, Listen: https(status(429))},
	{Topic: topicAnswers, Name: "429 with Retry-After", Cause: cause.RateLimited, Listen: https(status(429, "Retry-After", "7"))},
	{Topic: topicAnswers, Name: "500", Cause: cause.RegistryError, Listen: https(status(500))},
	{Topic: topicAnswers, Name: "502", Cause: cause.RegistryError, Listen: https(status(502))},
	{Topic: topicAnswers, Name: "503 with Retry-After", Cause: cause.RegistryError, Listen: https(status(503, "Retry-After", "30"))},
	{Topic: topicAnswers, Name: "504", Cause: cause.RegistryError, Listen: https(status(504))},
	{
		Topic: topicAnswers, Name: "no answer", Cause: cause.Timeout, Runtime16: goesOn, Listen: https(silent),
		Note: "1.6 has no time limit for the answer",
	},
	{Topic: topicAnswers, Name: "no end of the headers", Cause: cause.RegistryError, Listen: https(endlessHeader)},
	{
		Topic: topicAnswers, Name: "no end of the body", Cause: cause.RegistryError, Probe: works, Runtime16: cause.Unknown.String(), Runtime24: cause.UnsupportedFormat.String(),
		Listen: https(endless("text/plain", "")),
		Note:   "200 is an answer, of which the probe reads 64 KiB; containerd takes the body for a manifest, as far as it reads it",
	},
	{Topic: topicAnswers, Name: "a web page", Cause: cause.UnsupportedFormat, Listen: https(body("text/html; charset=utf-8", "<html>Log in</html>"))},
	{
		Topic: topicAnswers, Name: "what is no HTTP", Cause: cause.RegistryError, Runtime: cause.TLS.String(), Hosts: asHTTP,
		Listen: map[string]server{"80": raw(greets)},
		Note:   "of what is no HTTP nearly all is TLS, and so a pull's error is read",
	},
}

const topicRedirects = "Where the registry sends on to"

var redirects = []Case{
	{
		Topic: topicRedirects, Name: "another host that serves",
		Listen: map[string]server{"443": secure(sendsOn("https://cdn.{host}:8443")), "8443": secure(serves)},
	},
	{Topic: topicRedirects, Name: "itself for ever", Cause: cause.RegistryError, Listen: https(sendsOn("https://{host}"))},
	{Topic: topicRedirects, Name: "plain HTTP", Listen: map[string]server{"443": secure(sendsOn("http://cdn.{host}")), "80": plain(serves)}},
	{Topic: topicRedirects, Name: "a host that refuses", Cause: cause.Connection, Listen: https(sendsOn("https://cdn.{host}:8443"))},
	{Topic: topicRedirects, Name: "a name that is unknown", Cause: cause.DNS, Listen: https(sendsOn("https://cdn.invalid"))},
	{
		Topic: topicRedirects, Name: "a certificate of another CA", Cause: cause.TLS,
		Listen: map[string]server{"443": secure(sendsOn("https://cdn.{host}:8443")), "8443": secure(serves, ofStranger)},
	},
	{Topic: topicRedirects, Name: "nowhere", Cause: cause.RegistryError, Listen: https(status(302))},
}

const topicTokens = "What the token service does"

const atToken = "https://token.{host}/token"

var tokens = []Case{
	{Topic: topicTokens, Name: "gives tokens", Listen: https(bearer(atToken, givesTokens))},
	{Topic: topicTokens, Name: "answers 401", Cause: cause.Unauthorized, Listen: https(bearer(atToken, status(401)))},
	{Topic: topicTokens, Name: "answers 403", Cause: cause.AccessDenied, Listen: https(bearer(atToken, status(403)))},
	{Topic: topicTokens, Name: "answers 404", Cause: cause.RegistryError, Listen: https(bearer(atToken, status(404)))},
	{Topic: topicTokens, Name: "answers 429", Cause: cause.RateLimited, Listen: https(bearer(atToken, status(429, "Retry-After", "9")))},
	{Topic: topicTokens, Name: "answers 500", Cause: cause.RegistryError, Listen: https(bearer(atToken, status(500)))},
	{Topic: topicTokens, Name: "answers what is no JSON", Cause: cause.RegistryError, Listen: https(bearer(atToken, body("application/json", "<html>")))},
	{Topic: topicTokens, Name: "answers without a token", Cause: cause.RegistryError, Listen: https(bearer(atToken, body("application/json", "{}")))},
	{
		Topic: topicTokens, Name: "answers without end", Cause: cause.RegistryError, Runtime: goesOn,
		Listen: https(bearer(atToken, endless("application/json", `{"token":"`))),
		Note:   "containerd reads on, and keeps what it reads",
	},
	{
		Topic: topicTokens, Name: "does not answer", Cause: cause.Timeout, Runtime16: goesOn, Listen: https(bearer(atToken, silent)),
		Note: "1.6 has no time limit for the answer",
	},
	{Topic: topicTokens, Name: "refuses connections", Cause: cause.Connection, Listen: https(bearer("https://token.{host}:8443/token", status(404)))},
	{Topic: topicTokens, Name: "has no address", Cause: cause.DNS, Listen: https(bearer("https://token.invalid/token", status(404)))},
	{
		Topic: topicTokens, Name: "has a certificate of another CA", Cause: cause.TLS,
		Listen: map[string]server{"443": secure(bearer("https://token.{host}:8443/token", status(404))), "8443": secure(givesTokens, ofStranger)},
	},
	{
		Topic: topicTokens, Name: "is named over HTTP",
		Listen: map[string]server{"443": secure(bearer("http://token.{host}/token", status(404))), "80": plain(givesTokens)},
	},
	{
		Topic: topicTokens, Name: "is named over HTTP and refuses", Cause: cause.Connection, Probe: works,
		Listen: https(bearer("http://token.{host}/token", status(404))),
		Note:   "the probe sends nothing by HTTP where the registry is asked by HTTPS, and so does not know",
	},
	{Topic: topicTokens, Name: "is no URL", Cause: cause.RegistryError, Listen: https(bearer("::", status(404)))},
}
