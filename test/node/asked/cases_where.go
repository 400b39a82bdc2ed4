package asked

var defaults = []Case{
	{
		Topic: "No configuration", Name: "loopback with a port, plain HTTP", Image: "{o}", Listen: map[string]string{"o": ""},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "No configuration", Name: "loopback with a port, TLS of an unknown CA", Image: "{o}", Listen: map[string]string{"o": "tls"},
		Asked16: `fails: pulling from host {o} failed with status code [manifests 1]: 400 Bad Request`,
		Asked24: `tag: https://o/v2 200
manifest+config+layer: https://o/v2 200`,
	},
	{
		Topic: "No configuration", Name: "localhost with a port, plain HTTP", Image: "localhost:{o.port}", Listen: map[string]string{"o": ""},
		Asked: `tag: http://localhost:o/v2 200
manifest+config+layer: http://localhost:o/v2 200`,
	},
	{
		Topic: "No configuration", Name: "loopback without a port", Image: "{ip}.1",
		Listen: map[string]string{"o": "at={ip}.1:80", "s": "at={ip}.1:443 tls"},
		Asked16: `tag: http://{ip}.1/v2 200
manifest+config+layer: http://{ip}.1/v2 200`,
		Asked24: `tag: https://{ip}.1/v2 200
manifest+config+layer: https://{ip}.1/v2 200`,
	},
	{
		Topic: "No configuration", Name: "loopback with port 443", Image: "{ip}.2:443", Listen: map[string]string{"s": "at={ip}.2:443 tls"},
		Asked16: `fails: pulling from host {s} failed with status code [manifests 1]: 400 Bad Request`,
		Asked24: `tag: https://{ip}.2:443/v2 200
manifest+config+layer: https://{ip}.2:443/v2 200`,
	},
	{
		Topic: "No configuration", Name: "loopback with port 80", Image: "{ip}.3:80", Listen: map[string]string{"o": "at={ip}.3:80"},
		Asked: `tag: http://{ip}.3:80/v2 200
manifest+config+layer: http://{ip}.3:80/v2 200`,
	},
	{
		Topic: "No configuration", Name: "a name without a port", Image: "no-config.test", Names: map[string]string{"no-config.test:443": "o"},
		Listen: map[string]string{"o": "tls"}, Note: "the CA is unknown, and nothing is asked by HTTP after that",
		Asked16: `CONNECT: no-config.test:443
fails: failed to do request: Head "https://no-config.test/v2/REPOSITORY/manifests/1": x509: certificate signed by unknown authority`,
		Asked24: `CONNECT: no-config.test:443
fails: failed to do request: Head "https://no-config.test/v2/REPOSITORY/manifests/1": tls: failed to verify certificate: x509: certificate signed by unknown authority`,
	},
	{
		Topic: "No configuration", Name: "a name with a port", Image: "no-config.test:5000", Names: map[string]string{"no-config.test:5000": "o"},
		Listen: map[string]string{"o": ""}, Note: "plain HTTP at the port, and it is not tried",
		Asked: `CONNECT: no-config.test:5000
fails: failed to do request: Head "https://no-config.test:5000/v2/REPOSITORY/manifests/1": http: server gave HTTP response to HTTPS client`,
	},
	{
		Topic: "No configuration", Name: "docker.io", Image: "docker.io", Names: map[string]string{}, Listen: map[string]string{},
		Asked: `CONNECT: registry-1.docker.io:443
fails: failed to do request: Head "https://registry-1.docker.io/v2/REPOSITORY/manifests/1": Bad Gateway`,
	},
	{
		Topic: "No configuration", Name: "by digest", Image: "{o}", Digest: true, Listen: map[string]string{"o": ""},
		Asked: `HEAD manifest+manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "No configuration", Name: "by digest, not found", Image: "{o}", Digest: true, Listen: map[string]string{"o": "404"},
		Asked: `HEAD manifest+HEAD blob of manifest: http://o/v2 404
fails: {o}/REPOSITORY@DIGEST: not found`,
	},
	{
		Topic: "No configuration", Name: "HEAD not allowed", Image: "{o}", Listen: map[string]string{"o": "head=405"},
		Asked: `tag: http://o/v2 405
GET tag+manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "No configuration", Name: "no digest in the answer to HEAD", Image: "{o}", Listen: map[string]string{"o": "nodigest"},
		Asked: `tag: http://o/v2 200
GET tag+manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "No configuration", Name: "what a request says of itself", Image: "{o}", Listen: map[string]string{"o": ""},
		Show: []string{"User-Agent", "Accept", "Accept-Encoding"},
		Asked16: `tag: http://o/v2 [User-Agent: containerd/1.6.20~ds1; Accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*] 200
manifest: http://o/v2 [User-Agent: containerd/1.6.20~ds1; Accept: application/vnd.docker.distribution.manifest.v2+json, */*; Accept-Encoding: gzip] 200
config: http://o/v2 [User-Agent: containerd/1.6.20~ds1; Accept: application/vnd.docker.container.image.v1+json, */*; Accept-Encoding: gzip] 200
layer: http://o/v2 [User-Agent: containerd/1.6.20~ds1; Accept: application/vnd.docker.image.rootfs.diff.tar.gzip, */*; Accept-Encoding: gzip] 200`,
		Asked24: `tag: http://o/v2 [User-Agent: containerd/2.4.2+unknown; Accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*] 200
manifest: http://o/v2 [User-Agent: containerd/2.4.2+unknown; Accept: application/vnd.docker.distribution.manifest.v2+json, */*; Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5] 200
config: http://o/v2 [User-Agent: containerd/2.4.2+unknown; Accept: application/vnd.docker.container.image.v1+json, */*; Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5] 200
layer: http://o/v2 [User-Agent: containerd/2.4.2+unknown; Accept: application/vnd.docker.image.rootfs.diff.tar.gzip, */*; Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5] 200`,
	},
	{
		Topic: "No configuration", Name: "a blob sent on to another host", Image: "{o}", Listen: map[string]string{"o": "blob=to=s", "s": ""},
		Show: []string{"Authorization"}, Login: true,
		Asked: `tag: http://o/v2 200
manifest: http://o/v2 200
config+layer: http://o/v2 307, http://s/store/v2 200`,
	},
	{
		Topic: "No configuration", Name: "a manifest sent on to another host", Image: "{o}", Listen: map[string]string{"o": "tag=to=s manifest=to=s", "s": ""},
		Asked: `tag: http://o/v2 307, http://s/store/v2 200
manifest: http://o/v2 307, http://s/store/v2 200
config+layer: http://o/v2 200`,
	},
}

var directories = []Case{
	{
		Topic: "Which directory", Name: "HOST:PORT", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": `[host."http://{m}"]`},
		Asked: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "Which directory", Name: "HOST_PORT_ before HOST:PORT", Image: "{o}", Listen: map[string]string{"o": "", "m": "", "n": ""},
		Files: map[string]string{"127.0.0.1_{o.port}_/hosts.toml": `[host."http://{m}"]`, "{o}/hosts.toml": `[host."http://{n}"]`},
		Asked: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "Which directory", Name: "an empty HOST_PORT_ hides HOST:PORT", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"127.0.0.1_{o.port}_/readme": "", "{o}/hosts.toml": `[host."http://{m}"]`},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "Which directory", Name: "HOST alone is not that of HOST:PORT", Image: "dir.test:5000", Listen: map[string]string{"m": ""}, Names: map[string]string{},
		Files: map[string]string{"dir.test/hosts.toml": `[host."http://{m}"]`},
		Asked: `CONNECT: dir.test:5000
fails: failed to do request: Head "https://dir.test:5000/v2/REPOSITORY/manifests/1": Bad Gateway`,
	},
	{
		Topic: "Which directory", Name: "docker.io, its own directory", Image: "docker.io", Listen: map[string]string{"m": "404", "o": "tls"},
		Names: map[string]string{"registry-1.docker.io:443": "o"},
		Files: map[string]string{"{dir}/hub/docker.io/hosts.toml": "ca = \"{ca}\"\n[host.\"http://{m}\"]"},
		Setup: `config_path = "{dir}/hub"`,
		Asked: `tag: http://m/v2?ns=docker.io 404, https://registry-1.docker.io/v2 200
manifest+config+layer: http://m/v2?ns=docker.io 404, https://registry-1.docker.io/v2 200
CONNECT: registry-1.docker.io:443`,
	},
	{
		Topic: "Which directory", Name: "docker.io falls to _default", Image: "docker.io", Listen: map[string]string{"m": ""}, Names: map[string]string{},
		Files: map[string]string{"{dir}/first/_default/hosts.toml": "server = \"http://{ip}.9:9\"\n[host.\"http://{m}\"]"},
		Setup: `config_path = "{dir}/first"`,
		Asked: `tag: http://m/v2?ns=docker.io 200
manifest+config+layer: http://m/v2?ns=docker.io 200`,
	},
	{
		Topic: "Which directory", Name: "_default with a host and no server", Image: "{o}", Listen: map[string]string{"m": "404", "o": ""},
		Files: map[string]string{"{dir}/third/_default/hosts.toml": "[host.\"http://{m}\"]"},
		Setup: `config_path = "{dir}/third"`, Note: "the origin stands last",
		Asked: `tag: http://m/v2?ns=o 404, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 404, http://o/v2 200`,
	},
	{
		Topic: "Which directory", Name: "two roots, the host's directory in the second", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{dir}/roots2/{o}/hosts.toml": `[host."http://{m}"]`},
		Setup: `config_path = "{dir}/roots1:{dir}/roots2"`,
		Asked16: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
		Asked24: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
		Local24: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "Which directory", Name: "two roots, both have the host", Image: "{o}", Listen: map[string]string{"o": "", "m": "", "n": ""},
		Files: map[string]string{"{dir}/roots1/{o}/hosts.toml": `[host."http://{m}"]`, "{dir}/roots2/{o}/hosts.toml": `[host."http://{n}"]`},
		Setup: `config_path = "{dir}/roots1:{dir}/roots2"`,
		Asked16: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
		Asked24: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
		Local24: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "Which directory", Name: "two roots, _default of the first hides the second", Image: "{o}", Listen: map[string]string{"o": "", "m": "", "n": ""},
		Files: map[string]string{"{dir}/roots3/_default/hosts.toml": `[host."http://{m}"]`, "{dir}/roots4/{o}/hosts.toml": `[host."http://{n}"]`},
		Setup: `config_path = "{dir}/roots3:{dir}/roots4"`,
		Asked16: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
		Asked24: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
		Local24: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "Which directory", Name: "the directory named as two roots are written", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{dir}/roots5:{dir}/roots6/{o}/hosts.toml": `[host."http://{m}"]`},
		Setup: `config_path = "{dir}/roots5:{dir}/roots6"`,
		Asked16: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
		Asked24: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
		Local24: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "Which directory", Name: "a host that is a file", Image: "{o}", Listen: map[string]string{"o": ""},
		Files: map[string]string{"{o}": "no directory"},
		Asked: `fails: open {dir}/certs.d/{o}/hosts.toml: not a directory`,
	},
	{
		Topic: "Which directory", Name: "hosts.toml is a directory", Image: "{o}", Listen: map[string]string{"o": ""},
		Files: map[string]string{"{o}/hosts.toml/x": ""},
		Asked: `fails: read {dir}/certs.d/{o}/hosts.toml: is a directory`,
	},
}
