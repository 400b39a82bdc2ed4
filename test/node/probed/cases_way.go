package probed

import (
	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/test/node"
)

const topicWorks = "Registries as they are released"

var registriesThatWork = []Case{
	{Topic: topicWorks, Name: "Debian's registry", Real: &real{}},
	{Topic: topicWorks, Name: "Debian's registry, a tag that is not there", Cause: cause.NotFound, Tag: "1.27-alpnie", Real: &real{}},
	{Topic: topicWorks, Name: "Debian's registry, htpasswd", User: node.PrivateUser, Password: node.PrivatePassword, Real: &real{auth: "htpasswd"}},
	{Topic: topicWorks, Name: "Debian's registry, htpasswd, no credentials", Cause: cause.Unauthorized, Real: &real{auth: "htpasswd"}},
	{
		Topic: topicWorks, Name: "Debian's registry, htpasswd, a wrong password", Cause: cause.Unauthorized,
		User: node.PrivateUser, Password: "not-this-one", Real: &real{auth: "htpasswd"},
	},
	{Topic: topicWorks, Name: "Debian's registry, tokens", Real: &real{auth: "token"}, Listen: map[string]server{"8443": secure(givesTokens)}},
	{Topic: topicWorks, Name: "Debian's registry, the token service is down", Cause: cause.Connection, Real: &real{auth: "token"}},
	{Topic: topicWorks, Name: "Debian's registry, its storage is gone", Cause: cause.RegistryError, Real: &real{broken: true}},
	{Topic: topicWorks, Name: "distribution 3", Real: &real{distribution: true}},
	{Topic: topicWorks, Name: "distribution 3, htpasswd, no credentials", Cause: cause.Unauthorized, Real: &real{distribution: true, auth: "htpasswd"}},
	{Topic: topicWorks, Name: "distribution 3, tokens", Real: &real{distribution: true, auth: "token"}, Listen: map[string]server{"8443": secure(givesTokens)}},
	{Topic: topicWorks, Name: "distribution 3, its storage is gone", Cause: cause.RegistryError, Real: &real{distribution: true, broken: true}},
}

const topicNames = "Names"

var healthy = https(serves)

var names = []Case{
	{Topic: topicNames, Name: "a name that does not exist", Cause: cause.DNS, Names: "# nobody knows it"},
	{Topic: topicNames, Name: "a name without an address", Cause: cause.DNS, Names: "txt-record={host},no address"},
	{Topic: topicNames, Name: "the name server fails", Cause: cause.DNS, Names: "server=/{host}/" + failingServer},
	{Topic: topicNames, Name: "the name server refuses", Cause: cause.DNS, Names: "server=/{host}/" + refusingServer},
	{Topic: topicNames, Name: "the name server does not answer", Cause: cause.DNS, Names: "server=/{host}/" + silentServer},
	{Topic: topicNames, Name: "no name server listens", Cause: cause.DNS, Resolver: nobodyThere},
	{Topic: topicNames, Name: "IPv6 alone", Names: "address=/{host}/{six}", Listen: healthy},
	{Topic: topicNames, Name: "IPv6 alone, a black hole", Cause: cause.Connection, Names: "address=/{host}/" + sixHole},
	{Topic: topicNames, Name: "IPv4 serves, IPv6 is a black hole", Names: "address=/{host}/{address}\naddress=/{host}/" + sixHole, Listen: healthy},
	{Topic: topicNames, Name: "IPv4 serves, IPv6 refuses", Names: "address=/{host}/{address}\naddress=/{host}/" + sixRefuses, Listen: healthy},
	{Topic: topicNames, Name: "IPv6 serves, IPv4 is a black hole", Names: "address=/{host}/" + blackHole + "\naddress=/{host}/{six}", Listen: healthy},
}

const topicConnections = "Connections"

var connections = []Case{
	{Topic: topicConnections, Name: "refused", Cause: cause.Connection},
	{Topic: topicConnections, Name: "reset", Cause: cause.Connection, Listen: map[string]server{"443": raw(reset)}},
	{Topic: topicConnections, Name: "reset, plain HTTP", Cause: cause.Connection, Hosts: asHTTP, Listen: map[string]server{"80": raw(reset)}},
	{Topic: topicConnections, Name: "hung up, plain HTTP", Cause: cause.Connection, Hosts: asHTTP, Listen: map[string]server{"80": raw(hangUp)}},
	{Topic: topicConnections, Name: "a black hole", Cause: cause.Connection, Names: "address=/{host}/" + blackHole},
	{Topic: topicConnections, Name: "no route", Cause: cause.Connection, Names: "address=/{host}/" + noRoute},
	{Topic: topicConnections, Name: "unreachable", Cause: cause.Connection, Names: "address=/{host}/" + unreachable},
}

const topicTLS = "TLS"

// unverified has the host's certificate not verified.
const unverified = "server = \"https://{host}\"\nskip_verify = true\n[host.\"https://{host}\"]\nskip_verify = true\n"

var handshakes = []Case{
	{Topic: topicTLS, Name: "expired", Cause: cause.TLS, Listen: https(serves, days(-90, -2))},
	{Topic: topicTLS, Name: "not yet valid", Cause: cause.TLS, Listen: https(serves, days(3, 90))},
	{Topic: topicTLS, Name: "this node's clock is slow", Cause: cause.TLS, Listen: https(dated(5, status(200)), days(3, 90))},
	{Topic: topicTLS, Name: "wrong name", Cause: cause.TLS, Listen: https(serves, otherName)},
	{Topic: topicTLS, Name: "the name in the common name alone", Cause: cause.TLS, Listen: https(serves, noNames)},
	{Topic: topicTLS, Name: "of another CA", Cause: cause.TLS, Listen: https(serves, ofStranger)},
	{Topic: topicTLS, Name: "self-signed", Cause: cause.TLS, Listen: https(serves, selfSigned)},
	{Topic: topicTLS, Name: "of another CA, and not verified", Hosts: unverified, Listen: https(serves, ofStranger)},
	{Topic: topicTLS, Name: "ends soon", Listen: https(serves, days(-80, 6))},
	{Topic: topicTLS, Name: "wants a client certificate", Cause: cause.TLS, Listen: https(serves, wantsClient)},
	{Topic: topicTLS, Name: "TLS 1.1 alone", Cause: cause.TLS, Listen: https(serves, oldTLS)},
	{Topic: topicTLS, Name: "HTTP where HTTPS is wanted", Cause: cause.TLS, Listen: map[string]server{"443": plain(serves)}},
	{
		Topic: topicTLS, Name: "HTTPS where HTTP is wanted", Cause: cause.TLS, Runtime: cause.RegistryError.String(),
		Hosts: "server = \"http://{host}:443\"\n[host.\"http://{host}:443\"]\n", Listen: https(serves),
		Note: "containerd gives the status and leaves out what the answer says",
	},
	{Topic: topicTLS, Name: "HTTPS where HTTP is wanted, told by an alert", Cause: cause.TLS, Hosts: asHTTP, Listen: map[string]server{"80": raw(alert)}},
	{Topic: topicTLS, Name: "cut off in the handshake", Cause: cause.Connection, Listen: map[string]server{"443": raw(hangUp)}},
	{Topic: topicTLS, Name: "no answer to the handshake", Cause: cause.TLS, Listen: map[string]server{"443": raw(mute)}},
}

const topicProxies = "Proxies"

var proxies = []Case{
	{Topic: topicProxies, Name: "squid", Proxy: squid, Listen: healthy},
	{Topic: topicProxies, Name: "denied by the proxy", Cause: cause.Proxy, Proxy: squid, Listen: healthy},
	{
		Topic: topicProxies, Name: "plain HTTP denied by the proxy", Cause: cause.Proxy, Probe: works, Runtime: cause.AccessDenied.String(),
		Proxy: squid, Hosts: asHTTP, Listen: map[string]server{"80": plain(serves)},
		Note: "by HTTP the proxy's answer is all there is, and looks like the registry's",
	},
	{Topic: topicProxies, Name: "a name unknown to the proxy", Cause: cause.Proxy, Proxy: squid, Names: "# nobody knows it"},
	{Topic: topicProxies, Name: "refused to the proxy", Cause: cause.Proxy, Proxy: squid},
	{Topic: topicProxies, Name: "expired, behind the proxy", Cause: cause.TLS, Proxy: squid, Listen: https(serves, days(-90, -2))},
	{Topic: topicProxies, Name: "503, behind the proxy", Cause: cause.RegistryError, Proxy: squid, Listen: https(status(503))},
	{Topic: topicProxies, Name: "the proxy wants a password", Cause: cause.Proxy, Proxy: squidAsNobody, Listen: healthy},
	{Topic: topicProxies, Name: "the proxy refuses connections", Cause: cause.Proxy, Proxy: proxyGone, Listen: healthy},
	{Topic: topicProxies, Name: "the proxy's name is unknown", Cause: cause.DNS, Proxy: proxyWithNoName, Listen: healthy},
	{Topic: topicProxies, Name: "the proxy is a black hole", Cause: cause.Proxy, Proxy: proxyVanished, Listen: healthy},
	{
		Topic: topicProxies, Name: "the proxy takes connections and says nothing", Cause: cause.Proxy, Runtime16: goesOn, Runtime24: cause.Timeout.String(), Proxy: proxyMute,
		Listen: healthy,
		Note:   "1.6 has no time limit for the proxy's answer, and the text of 2.4 does not name the proxy",
	},
}

const topicMirrors = "Mirrors"

// mirrored has a mirror in front of the host.
const mirrored = "server = \"https://{host}\"\nca = \"{ca}\"\n[host.\"https://mirror.{host}:8443\"]\nca = \"{ca}\"\n"

var mirrors = []Case{
	{Topic: topicMirrors, Name: "the mirror refuses connections", Hosts: mirrored, Listen: healthy},
	{Topic: topicMirrors, Name: "the mirror answers 503", Hosts: mirrored, Listen: map[string]server{"8443": secure(status(503)), "443": secure(serves)}},
	{
		Topic: topicMirrors, Name: "the mirror has an expired certificate", Hosts: mirrored,
		Listen: map[string]server{"8443": secure(serves, days(-90, -2)), "443": secure(serves)},
	},
	{Topic: topicMirrors, Name: "the origin refuses, the mirror serves", Hosts: mirrored, Listen: map[string]server{"8443": secure(serves)}},
	{
		Topic: topicMirrors, Name: "the mirror answers 503, the origin refuses", Cause: cause.Connection, Runtime: cause.RegistryError.String(),
		Hosts: mirrored, Listen: map[string]server{"8443": secure(status(503))},
		Note: "containerd gives the mirror's error alone",
	},
	{
		Topic: topicMirrors, Name: "the mirror refuses, the origin answers 503", Cause: cause.RegistryError, Runtime16: cause.Connection.String(),
		Hosts: mirrored, Listen: https(status(503)),
		Note: "1.6 gives the mirror's error alone",
	},
	{Topic: topicMirrors, Name: "both refuse", Cause: cause.Connection, Hosts: mirrored},
}
