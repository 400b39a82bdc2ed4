package asked

var security = []Case{
	{
		Topic: "TLS", Name: "https with the CA", Image: "{o}", Listen: map[string]string{"o": "", "m": "tls"}, Show: []string{"SNI"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"https://{m}\"]\nca = \"{ca}\""},
		Asked: `tag: https://m/v2?ns=o 200
manifest+config+layer: https://m/v2?ns=o 200`,
	},
	{
		Topic: "TLS", Name: "https without the CA", Image: "{o}", Listen: map[string]string{"o": "", "m": "tls"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"https://{m}\"]"},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "TLS", Name: "https, skip_verify", Image: "{o}", Listen: map[string]string{"o": "", "m": "tls"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"https://{m}\"]\nskip_verify = true"},
		Asked: `tag: https://m/v2?ns=o 200
manifest+config+layer: https://m/v2?ns=o 200`,
	},
	{
		Topic: "TLS", Name: "https, the port speaks HTTP", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"https://{m}\"]\nskip_verify = true"},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "TLS", Name: "http and skip_verify, the port speaks TLS", Image: "{o}", Listen: map[string]string{"o": "", "m": "tls"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\nskip_verify = true"},
		Note:  "2.x tries HTTPS first where TLS is configured for an http URL",
		Asked16: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
		Asked24: `tag: https://m/v2?ns=o 200
manifest+config+layer: https://m/v2?ns=o 200`,
	},
	{
		Topic: "TLS", Name: "http and skip_verify, the port speaks HTTP", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\nskip_verify = true"},
		Asked: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "TLS", Name: "http and skip_verify = false, the port speaks TLS", Image: "{o}", Listen: map[string]string{"o": "", "m": "tls"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\nskip_verify = false"},
		Note:  "also that is a TLS configuration; the certificate is refused, and HTTP is not tried",
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "TLS", Name: "http and ca, at port 80", Image: "{o}", Listen: map[string]string{"o": "", "m": "at={ip}.5:80"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{ip}.5:80\"]\nca = \"{ca}\""},
		Asked: `tag: http://{ip}.5:80/v2?ns=o 200
manifest+config+layer: http://{ip}.5:80/v2?ns=o 200`,
	},
	{
		Topic: "TLS", Name: "http and ca, without a port", Image: "{o}", Listen: map[string]string{"o": "", "m": "at={ip}.6:80"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{ip}.6\"]\nca = \"{ca}\""},
		Note:  "nobody listens at 443",
		Asked: `tag: http://{ip}.6/v2?ns=o 200
manifest+config+layer: http://{ip}.6/v2?ns=o 200`,
	},
	{
		Topic: "TLS", Name: "http and ca, the port refuses TLS by a reset", Image: "{o}", Listen: map[string]string{"o": "", "m": "refuse"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\nca = \"{ca}\""},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "TLS", Name: "ca as an array, relative to the file", Image: "{o}", Listen: map[string]string{"o": "", "m": "tls"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"https://{m}\"]\nca = [\"other.pem\", \"sub/ca.pem\"]", "{o}/sub/ca.pem": "copy ca.crt", "{o}/other.pem": "copy other.crt"},
		Asked: `tag: https://m/v2?ns=o 200
manifest+config+layer: https://m/v2?ns=o 200`,
	},
	{
		Topic: "TLS", Name: "ca that is missing", Image: "{o}", Listen: map[string]string{"o": "", "m": "tls"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"https://{m}\"]\nca = \"gone.pem\""},
		Note:  "no host is asked, not even the origin",
		Asked: `fails: unable to read CA cert "{dir}/certs.d/{o}/gone.pem": open {dir}/certs.d/{o}/gone.pem: no such file or directory`,
	},
	{
		Topic: "TLS", Name: "ca that holds no certificate", Image: "{o}", Listen: map[string]string{"o": "", "m": "tls"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"https://{m}\"]\nca = \"bad.pem\"", "{o}/bad.pem": "no certificate"},
		Asked: `fails: unable to load CA cert "{dir}/certs.d/{o}/bad.pem"`,
	},
	{
		Topic: "TLS", Name: "ca that is empty text", Image: "{o}", Listen: map[string]string{"o": "", "m": "tls"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"https://{m}\"]\nca = \"\""},
		Asked: `fails: unable to read CA cert "{dir}/certs.d/{o}": read {dir}/certs.d/{o}: is a directory`,
	},
	{
		Topic: "TLS", Name: "ca that is a number", Image: "{o}", Listen: map[string]string{"o": "", "m": "tls"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"https://{m}\"]\nca = 1"},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "TLS", Name: "ca of the root is not the host's", Image: "{o}", Listen: map[string]string{"o": "", "m": "tls"},
		Files: map[string]string{"{o}/hosts.toml": "ca = \"{ca}\"\n[host.\"https://{m}\"]"},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "TLS", Name: "client as one file", Image: "{o}", Listen: map[string]string{"o": "", "m": "mtls"}, Show: []string{"client"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"https://{m}\"]\nca = \"{ca}\"\nclient = \"both.pem\"", "{o}/both.pem": "copy both.pem"},
		Asked: `tag: https://m/v2?ns=o [client: server] 200
manifest+config+layer: https://m/v2?ns=o [client: server] 200`,
	},
	{
		Topic: "TLS", Name: "client as an array of files", Image: "{o}", Listen: map[string]string{"o": "", "m": "mtls"}, Show: []string{"client"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"https://{m}\"]\nca = \"{ca}\"\nclient = [\"both.pem\"]", "{o}/both.pem": "copy both.pem"},
		Asked: `tag: https://m/v2?ns=o [client: server] 200
manifest+config+layer: https://m/v2?ns=o [client: server] 200`,
	},
	{
		Topic: "TLS", Name: "client as an array of pairs", Image: "{o}", Listen: map[string]string{"o": "", "m": "mtls"}, Show: []string{"client"},
		Files: map[string]string{
			"{o}/hosts.toml": "[host.\"https://{m}\"]\nca = \"{ca}\"\nclient = [[\"c.crt\", \"c.key\"]]", "{o}/c.crt": "copy server.crt", "{o}/c.key": "copy server.key",
		},
		Asked: `tag: https://m/v2?ns=o [client: server] 200
manifest+config+layer: https://m/v2?ns=o [client: server] 200`,
	},
	{
		Topic: "TLS", Name: "client as certificate and key in one array", Image: "{o}", Listen: map[string]string{"o": "", "m": "mtls"},
		Files: map[string]string{
			"{o}/hosts.toml": "[host.\"https://{m}\"]\nca = \"{ca}\"\nclient = [\"c.crt\", \"c.key\"]", "{o}/c.crt": "copy server.crt", "{o}/c.key": "copy server.key",
		},
		Note:  "they are two files with both in them, and each wants to be a pair",
		Asked: `fails: failed to load X509 key pair: tls: found a certificate rather than a key in the PEM for the private key`,
	},
	{
		Topic: "TLS", Name: "client that is missing", Image: "{o}", Listen: map[string]string{"o": "", "m": "mtls"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"https://{m}\"]\nca = \"{ca}\"\nclient = \"gone.pem\""},
		Asked: `fails: unable to read CERT file "{dir}/certs.d/{o}/gone.pem": open {dir}/certs.d/{o}/gone.pem: no such file or directory`,
	},
	{
		Topic: "TLS", Name: "no client where one is wanted", Image: "{o}", Listen: map[string]string{"o": "", "m": "mtls"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"https://{m}\"]\nca = \"{ca}\""},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "TLS", Name: "the files of Docker, no hosts.toml", Image: "docker-files.test", Listen: map[string]string{"o": "mtls"},
		Names: map[string]string{"docker-files.test:443": "o"}, Show: []string{"client", "SNI"},
		Files: map[string]string{"docker-files.test/a.crt": "copy ca.crt", "docker-files.test/b.cert": "copy server.crt", "docker-files.test/b.key": "copy server.key"},
		Asked: `tag: https://docker-files.test/v2 [client: server; SNI: docker-files.test] 200
manifest+config+layer: https://docker-files.test/v2 [client: server; SNI: docker-files.test] 200
CONNECT: docker-files.test:443`,
	},
	{
		Topic: "TLS", Name: "the files of Docker beside a hosts.toml that parses", Image: "docker-files.test:1", Listen: map[string]string{"o": "tls"},
		Names: map[string]string{"docker-files.test:1": "o"},
		Files: map[string]string{"docker-files.test:1/a.crt": "copy ca.crt", "docker-files.test:1/hosts.toml": "[host.\"http://127.0.0.1:9\"]\ncapabilities = [\"push\"]"},
		Note:  "they are not read then",
		Asked16: `CONNECT: docker-files.test:1
fails: failed to do request: Head "https://docker-files.test:1/v2/REPOSITORY/manifests/1": x509: certificate signed by unknown authority`,
		Asked24: `CONNECT: docker-files.test:1
fails: failed to do request: Head "https://docker-files.test:1/v2/REPOSITORY/manifests/1": tls: failed to verify certificate: x509: certificate signed by unknown authority`,
	},
	{
		Topic: "TLS", Name: "the files of Docker beside a hosts.toml that does not parse", Image: "docker-files.test:2", Listen: map[string]string{"o": "tls", "m": ""},
		Names: map[string]string{"docker-files.test:2": "o"},
		Files: map[string]string{"docker-files.test:2/a.crt": "copy ca.crt", "docker-files.test:2/hosts.toml": "[host.\"http://{m}\""},
		Asked: `tag: https://docker-files.test:2/v2 200
manifest+config+layer: https://docker-files.test:2/v2 200
CONNECT: docker-files.test:2`,
	},
	{
		Topic: "TLS", Name: "the files of Docker, loopback", Image: "{o}", Listen: map[string]string{"o": "tls"},
		Files:   map[string]string{"{o}/a.crt": "copy ca.crt"},
		Asked16: `fails: pulling from host {o} failed with status code [manifests 1]: 400 Bad Request`,
		Asked24: `tag: https://o/v2 200
manifest+config+layer: https://o/v2 200`,
	},
	{
		Topic: "TLS", Name: "a .cert without its key", Image: "{o}", Listen: map[string]string{"o": ""},
		Files: map[string]string{"{o}/b.cert": "copy server.crt"},
		Asked: `fails: failed to load X509 key pair: tls: found a certificate rather than a key in the PEM for the private key`,
	},
	{
		Topic: "Headers", Name: "one value and several", Image: "{o}", Listen: map[string]string{"o": "", "m": "blob=404"}, Show: []string{"X-A", "X-B"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\".header]\nx-a = \"1\"\nX-B = [\"2\", \"3\"]"},
		Note:  "to that host alone",
		Asked: `tag: http://m/v2?ns=o [X-A: 1; X-B: 2 & 3] 200
manifest: http://m/v2?ns=o [X-A: 1; X-B: 2 & 3] 200
config+layer: http://m/v2?ns=o [X-A: 1; X-B: 2 & 3] 404, http://o/v2 200`,
	},
	{
		Topic: "Headers", Name: "of the root", Image: "{o}", Listen: map[string]string{"o": "", "m": "404"}, Show: []string{"X-A"},
		Files: map[string]string{"{o}/hosts.toml": "server = \"http://{o}\"\n[host.\"http://{m}\"]\n[header]\nx-a = \"1\""},
		Asked: `tag: http://m/v2?ns=o 404, http://o/v2 [X-A: 1] 200
manifest+config+layer: http://m/v2?ns=o 404, http://o/v2 [X-A: 1] 200`,
	},
	{
		Topic: "Headers", Name: "User-Agent and Authorization", Image: "{o}", Listen: map[string]string{"o": "", "m": ""}, Show: []string{"User-Agent", "Authorization"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\".header]\nUser-Agent = \"me\"\nauthorization = \"Basic dXNlcjpwYXNzd29yZA==\""},
		Asked16: `tag: http://m/v2?ns=o [User-Agent: containerd/1.6.20~ds1; Authorization: Basic] 200
manifest+config+layer: http://m/v2?ns=o [User-Agent: containerd/1.6.20~ds1; Authorization: Basic] 200`,
		Asked24: `tag: http://m/v2?ns=o [User-Agent: me; Authorization: Basic] 200
manifest+config+layer: http://m/v2?ns=o [User-Agent: me; Authorization: Basic] 200`,
	},
	{
		Topic: "Headers", Name: "a number", Image: "{o}", Listen: map[string]string{"o": "", "m": ""}, Show: []string{"X-A"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\".header]\nx-a = 1"},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "Headers", Name: "sent on with a redirect", Image: "{o}", Listen: map[string]string{"o": "", "m": "blob=to=s", "s": ""}, Show: []string{"X-A", "Authorization"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\".header]\nx-a = \"1\"\nauthorization = \"Basic dXNlcjpwYXNzd29yZA==\""},
		Asked16: `tag: http://m/v2?ns=o [X-A: 1; Authorization: Basic] 200
manifest: http://m/v2?ns=o [X-A: 1; Authorization: Basic] 200
config+layer: http://m/v2?ns=o [X-A: 1; Authorization: Basic] 307, http://s/store/v2 [X-A: 1] 200`,
		Asked24: `tag: http://m/v2?ns=o [X-A: 1; Authorization: Basic] 200
manifest: http://m/v2?ns=o [X-A: 1; Authorization: Basic] 200
config+layer: http://m/v2?ns=o [X-A: 1; Authorization: Basic] 307, http://s/store/v2 [X-A: 1; Authorization: Basic] 200`,
	},
	{
		Topic: "Proxy", Name: "an http mirror behind the proxy", Image: "{o}", Listen: map[string]string{"o": "", "m": ""}, Names: map[string]string{"plain.test:8080": "m"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://plain.test:8080\"]"},
		Note:  "HTTP_PROXY; loopback is never asked through a proxy, though both variables are set for all cases",
		Asked: `tag: http://plain.test:8080/v2?ns=o 200
manifest+config+layer: http://plain.test:8080/v2?ns=o 200`,
	},
	{
		Topic: "Proxy", Name: "an https mirror behind the proxy", Image: "{o}", Listen: map[string]string{"o": "", "m": "tls"}, Names: map[string]string{"secure.test:443": "m"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"https://secure.test\"]\nca = \"{ca}\""}, Show: []string{"SNI"},
		Asked: `tag: https://secure.test/v2?ns=o [SNI: secure.test] 200
manifest+config+layer: https://secure.test/v2?ns=o [SNI: secure.test] 200
CONNECT: secure.test:443`,
	},
	{
		Topic: "Proxy", Name: "a proxy that does not know the mirror", Image: "{o}", Listen: map[string]string{"o": ""}, Names: map[string]string{},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://unknown.test\"]\n[host.\"https://unknown.test\"]"},
		Note:  "its 502 counts as the mirror's; where it refuses a tunnel, as a failed connection",
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200
CONNECT: unknown.test:443
GET by proxy: http://unknown.test 502 (3 times)
HEAD by proxy: http://unknown.test 502`,
	},
}
