package asked

// With the line that sets config_path gone, what is written in containerd's own file is in force.
var inline = []Case{
	{
		Topic: "Inline mirrors", Setup: "# none", Name: "no mirror for the host", Image: "{o}", Listen: map[string]string{"o": ""},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "Inline mirrors", Setup: "# none", Name: "mirror, then the default", Image: "{o}", Listen: map[string]string{"o": "", "m": "404", "n": "500"},
		Inline: "[{registry}.mirrors.\"{o}\"]\nendpoint = [\"http://{m}\", \"http://{n}\"]\n",
		Asked: `tag: http://m/v2?ns=o 404, http://n/v2?ns=o 500, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 404, http://n/v2?ns=o 500, http://o/v2 200`,
	},
	{
		Topic: "Inline mirrors", Setup: "# none", Name: "a list that holds the host itself", Image: "{o}", Listen: map[string]string{"o": "404", "m": ""},
		Inline: "[{registry}.mirrors.\"{o}\"]\nendpoint = [\"http://{o}\", \"http://{m}\"]\n",
		Note:   "the default is not added",
		Asked: `tag: http://o/v2 404, http://m/v2?ns=o 200
manifest+config+layer: http://o/v2 404, http://m/v2?ns=o 200`,
	},
	{
		Topic: "Inline mirrors", Setup: "# none", Name: "an endpoint without a scheme", Image: "{o}", Listen: map[string]string{"o": "404", "m": ""},
		Inline: "[{registry}.mirrors.\"{o}\"]\nendpoint = [\"{m}\"]\n",
		Asked: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "Inline mirrors", Setup: "# none", Name: "an endpoint with a path", Image: "{o}", Listen: map[string]string{"o": "404", "m": ""},
		Inline: "[{registry}.mirrors.\"{o}\"]\nendpoint = [\"http://{m}/proxy/hub\"]\n",
		Note:   "no v2 is added",
		Asked: `tag: http://m/proxy/hub?ns=o 200
manifest+config+layer: http://m/proxy/hub?ns=o 200`,
	},
	{
		Topic: "Inline mirrors", Setup: "# none", Name: "an endpoint with a bare slash", Image: "{o}", Listen: map[string]string{"o": "404", "m": ""},
		Inline: "[{registry}.mirrors.\"{o}\"]\nendpoint = [\"http://{m}/\"]\n",
		Asked: `tag: http://m?ns=o 200
manifest+config+layer: http://m?ns=o 200`,
	},
	{
		Topic: "Inline mirrors", Setup: "# none", Name: "an empty list", Image: "{o}", Listen: map[string]string{"o": ""},
		Inline: "[{registry}.mirrors.\"{o}\"]\nendpoint = []\n",
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "Inline mirrors", Setup: "# none", Name: "inline credentials", Image: "{o}", Listen: map[string]string{"o": "basic"}, Show: []string{"Authorization"},
		Inline: "[{registry}.configs.\"{o}\".auth]\nusername = \"user\"\npassword = \"planted-password\"\n",
		Asked: `tag: http://o/v2 401, http://o/v2 [Authorization: Basic] 200
manifest: http://o/v2 401, http://o/v2 [Authorization: Basic] 200
config+layer: http://o/v2 [Authorization: Basic] 200`,
	},
	{
		Topic: "Inline mirrors", Setup: "# none", Name: "inline TLS", Image: "{o}", Listen: map[string]string{"o": "404", "m": "tls"},
		Inline: "[{registry}.mirrors.\"{o}\"]\nendpoint = [\"https://{m}\"]\n[{registry}.configs.\"{m}\".tls]\nca_file = \"{ca}\"\n",
		Asked16: `tag: https://m/v2?ns=o 200
manifest+config+layer: https://m/v2?ns=o 200`,
		Asked24: `tag: http://o/v2 404
fails: {o}/REPOSITORY:1: not found`,
	},
	{
		Topic: "Inline mirrors", Setup: "# none", Name: "inline headers", Image: "{o}", Listen: map[string]string{"o": "", "m": "404"}, Show: []string{"X-All"},
		Inline: "[{registry}.headers]\nX-All = [\"1\"]\n[{registry}.mirrors.\"{o}\"]\nendpoint = [\"http://{m}\"]\n",
		Asked: `tag: http://m/v2?ns=o [X-All: 1] 404, http://o/v2 [X-All: 1] 200
manifest+config+layer: http://m/v2?ns=o [X-All: 1] 404, http://o/v2 [X-All: 1] 200`,
	},
	{
		Topic: "Inline mirrors", Setup: "# star", Name: "the mirror of all", Image: "{o}", Listen: map[string]string{"o": "", "m": "404"},
		Inline: "[{registry}.mirrors.\"*\"]\nendpoint = [\"http://{m}\"]\n",
		Asked: `tag: http://m/v2?ns=o 404, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 404, http://o/v2 200`,
	},
	{
		Topic: "Inline mirrors", Setup: "# star", Name: "the mirror of all is not for a host with its own", Image: "{o}", Listen: map[string]string{"o": "", "n": "404"},
		Inline: "[{registry}.mirrors.\"{o}\"]\nendpoint = [\"http://{n}\"]\n",
		Asked: `tag: http://n/v2?ns=o 404, http://o/v2 200
manifest+config+layer: http://n/v2?ns=o 404, http://o/v2 200`,
	},
	{
		Topic: "Inline mirrors", Setup: "# star of docker.io", Name: "the mirror of all for docker.io", Image: "docker.io", Names: map[string]string{},
		Listen: map[string]string{"m": "404"},
		Inline: "[{registry}.mirrors.\"*\"]\nendpoint = [\"http://{m}\"]\n",
		Asked16: `tag: http://m/v2?ns=docker.io 404
CONNECT: registry-1.docker.io:443
fails: failed to do request: Head "https://registry-1.docker.io/v2/REPOSITORY/manifests/1": Bad Gateway`,
		Asked24: `tag: http://m/v2?ns=docker.io 404
CONNECT: registry-1.docker.io:443
fails: docker.io/REPOSITORY:1: not found`,
	},
	{
		Topic: "Inline mirrors", Setup: "# both", Name: "credentials beside a config_path", Image: "{o}", Listen: map[string]string{"o": "basic"}, Show: []string{"Authorization"},
		Inline: "config_path = \"{dir}/certs.d\"\n[{registry}.configs.\"{o}\".auth]\nusername = \"user\"\npassword = \"planted-password\"\n",
		Asked: `tag: http://o/v2 401, http://o/v2 [Authorization: Basic] 200
manifest: http://o/v2 401, http://o/v2 [Authorization: Basic] 200
config+layer: http://o/v2 [Authorization: Basic] 200`,
	},
	{
		Topic: "containerd's own file", Setup: "# default", Name: "no config_path", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"/etc/containerd/certs.d/{o}/hosts.toml": `[host."http://{m}"]`},
		Note:  "the default of 2.4 is /etc/containerd/certs.d:/etc/docker/certs.d, which the transfer service takes for one directory",
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
		Local24: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "containerd's own file", Setup: "# default", Name: "no config_path, the default as one name", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"/etc/containerd/certs.d:/etc/docker/certs.d/{o}/hosts.toml": `[host."http://{m}"]`},
		Asked16: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
		Asked24: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
		Local24: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "containerd's own file", Setup: "imports = [\"more.toml\"]\n---\nconfig_path = \"{dir}/certs.d\"", Name: "an import", Image: "{o}", Listen: map[string]string{"o": "", "m": "", "n": ""},
		Files: map[string]string{
			"{o}/hosts.toml": `[host."http://{m}"]`, "{dir}/imported/{o}/hosts.toml": `[host."http://{n}"]`,
			"{dir}/more.toml": "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"{dir}/imported\"",
		},
		Note: "of version 2, also for 2.4; what is imported is stronger",
		Asked: `tag: http://n/v2?ns=o 200
manifest+config+layer: http://n/v2?ns=o 200`,
	},
	{
		Topic: "containerd's own file", Setup: "imports = [\"{dir}/conf.d/*.toml\"]\n---\nconfig_path = \"{dir}/certs.d\"", Name: "imports by a pattern", Image: "{o}", Listen: map[string]string{"o": "", "m": "", "n": ""},
		Files: map[string]string{
			"{dir}/conf.d/10.toml":              "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"{dir}/first-import\"",
			"{dir}/conf.d/20.toml":              "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"{dir}/last-import\"",
			"{dir}/first-import/{o}/hosts.toml": `[host."http://{m}"]`, "{dir}/last-import/{o}/hosts.toml": `[host."http://{n}"]`,
		},
		Note: "the last in the order of names is the strongest",
		Asked: `tag: http://n/v2?ns=o 200
manifest+config+layer: http://n/v2?ns=o 200`,
	},
	{
		Topic: "containerd's own file", Setup: "imports = [\"other.toml\"]\n---\nconfig_path = \"{dir}/certs.d\"", Name: "an import about something else of the same plugin", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{
			"{o}/hosts.toml":   `[host."http://{m}"]`,
			"{dir}/other.toml": "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nmax_concurrent_downloads = 3",
		},
		Note: "1.6 takes the whole table of the plugin from the import, and config_path is gone",
		Asked16: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
		Asked24: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
}
