package asked

var files = []Case{
	{
		Topic: "What hosts.toml says", Name: "server alone", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": `server = "http://{m}"`},
		Asked16: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
		Asked24: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "server alone, of a name", Image: "file.test", Listen: map[string]string{"m": ""}, Names: map[string]string{},
		Files: map[string]string{"file.test/hosts.toml": `server = "http://{m}"`},
		Asked16: `CONNECT: file.test:443
fails: failed to do request: Head "https://file.test/v2/REPOSITORY/manifests/1": Bad Gateway`,
		Asked24: `tag: http://m/v2?ns=file.test 200
manifest+config+layer: http://m/v2?ns=file.test 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "ca alone", Image: "{o}", Listen: map[string]string{"o": "tls"},
		Files:   map[string]string{"{o}/hosts.toml": `ca = "{ca}"`},
		Asked16: `fails: pulling from host {o} failed with status code [manifests 1]: 400 Bad Request`,
		Asked24: `tag: https://o/v2 200
manifest+config+layer: https://o/v2 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "skip_verify alone, of a name", Image: "skip.test", Listen: map[string]string{"o": "tls"}, Names: map[string]string{"skip.test:443": "o"},
		Files: map[string]string{"skip.test/hosts.toml": `skip_verify = true`},
		Asked16: `CONNECT: skip.test:443
fails: failed to do request: Head "https://skip.test/v2/REPOSITORY/manifests/1": x509: certificate signed by unknown authority`,
		Asked24: `tag: https://skip.test/v2 200
manifest+config+layer: https://skip.test/v2 200
CONNECT: skip.test:443`,
	},
	{
		Topic: "What hosts.toml says", Name: "hosts and no server", Image: "{o}", Listen: map[string]string{"o": "", "m": "404", "n": "404"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{n}\"]\n[host.\"http://{m}\"]"},
		Note:  "the origin stands last; the order is the file's",
		Asked: `tag: http://n/v2?ns=o 404, http://m/v2?ns=o 404, http://o/v2 200
manifest+config+layer: http://n/v2?ns=o 404, http://m/v2?ns=o 404, http://o/v2 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "server and hosts", Image: "{o}", Listen: map[string]string{"o": "", "s": "", "m": "404"},
		Files: map[string]string{"{o}/hosts.toml": "server = \"http://{s}\"\n[host.\"http://{m}\"]"},
		Asked: `tag: http://m/v2?ns=o 404, http://s/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 404, http://s/v2?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "server that is the mirror", Image: "{o}", Listen: map[string]string{"o": "", "m": "404"},
		Files: map[string]string{"{o}/hosts.toml": "server = \"http://{m}\"\n[host.\"http://{m}\"]"},
		Note:  "it is asked twice, the origin never",
		Asked: `tag: http://m/v2?ns=o 404 (2 times)
fails: {o}/REPOSITORY:1: not found`,
	},
	{
		Topic: "What hosts.toml says", Name: "server after the host tables", Image: "{o}", Listen: map[string]string{"o": "", "s": "", "m": "404"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\nserver = \"http://{s}\""},
		Note:  "it belongs to that host then, and is ignored",
		Asked: `tag: http://m/v2?ns=o 404, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 404, http://o/v2 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "hosts without a scheme", Image: "scheme.test", Listen: map[string]string{"o": "tls", "m": "tls 404"},
		Names: map[string]string{"scheme.test:443": "o"},
		Files: map[string]string{"scheme.test/hosts.toml": "server = \"scheme.test\"\nca = \"{ca}\"\n[host.\"{m}\"]\nca = \"{ca}\""},
		Asked: `tag: https://m/v2?ns=scheme.test 404, https://scheme.test/v2 200
manifest+config+layer: https://m/v2?ns=scheme.test 404, https://scheme.test/v2 200
CONNECT: scheme.test:443`,
	},
	{
		Topic: "What hosts.toml says", Name: "a scheme in capitals", Image: "{o}", Names: map[string]string{}, Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": `[host."HTTP://{m}"]`},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200
CONNECT: HTTP:443`,
	},
	{
		Topic: "What hosts.toml says", Name: "a host called httpd", Image: "{o}", Names: map[string]string{}, Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": `[host."httpd.test"]`},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "a path", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": `[host."http://{m}/proxy/hub"]`},
		Asked: `tag: http://m/proxy/hub/v2?ns=o 200
manifest+config+layer: http://m/proxy/hub/v2?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "a path that ends in v2", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": `[host."http://{m}/proxy/v2/"]`},
		Asked: `tag: http://m/proxy/v2?ns=o 200
manifest+config+layer: http://m/proxy/v2?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "v2 in front of a path", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": `[host."http://{m}/v2/hub"]`},
		Note:  "as Harbor and others document it, for which override_path is needed",
		Asked: `tag: http://m/v2/hub/v2?ns=o 200
manifest+config+layer: http://m/v2/hub/v2?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "a bare slash", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": `[host."http://{m}/"]`},
		Asked: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "override_path with a path", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}/v2/hub\"]\noverride_path = true"},
		Asked: `tag: http://m/v2/hub?ns=o 200
manifest+config+layer: http://m/v2/hub?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "override_path without a path", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\noverride_path = true"},
		Asked: `tag: http://m?ns=o 200
manifest+config+layer: http://m?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "a query in a host", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": `[host."http://{m}/?x=1"]`},
		Asked: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "a user in a host", Image: "{o}", Listen: map[string]string{"o": "", "m": ""}, Show: []string{"Authorization"},
		Files: map[string]string{"{o}/hosts.toml": `[host."http://user:password@{m}"]`},
		Asked: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "resolve alone", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\ncapabilities = [\"resolve\"]"},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "pull alone", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\ncapabilities = [\"pull\"]"},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "pull alone, by digest", Image: "{o}", Digest: true, Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\ncapabilities = [\"pull\"]"},
		Asked: `HEAD manifest+manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "push alone", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\ncapabilities = [\"push\"]"},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "push alone, by digest", Image: "{o}", Digest: true, Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\ncapabilities = [\"push\"]"},
		Asked: `HEAD manifest: http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "push alone for server too", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "server = \"http://{o}\"\ncapabilities = [\"push\"]\n[host.\"http://{m}\"]\ncapabilities = [\"push\"]"},
		Asked: `fails: no resolve hosts: not found`,
	},
	{
		Topic: "What hosts.toml says", Name: "capabilities of a server that is not named", Image: "{o}", Listen: map[string]string{"o": "", "m": "404"},
		Files: map[string]string{"{o}/hosts.toml": "capabilities = [\"push\"]\n[host.\"http://{m}\"]"},
		Note:  "they are ignored: to shut the origin out, name a server",
		Asked: `tag: http://m/v2?ns=o 404, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 404, http://o/v2 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "capabilities that are empty", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\ncapabilities = []"},
		Asked: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "capabilities in capitals", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\ncapabilities = [\"PULL\", \"Resolve\"]"},
		Asked: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "a capability that is not known", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\ncapabilities = [\"pull\", \"resolve\", \"list\"]"},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "capability referrers", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\ncapabilities = [\"pull\", \"resolve\", \"referrers\"]"},
		Asked16: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
		Asked24: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "keys that are not known", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "colour = \"red\"\n[host.\"http://{m}\"]\nskip-verify = true\n[colours]\nred = 1"},
		Asked: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "a value of a wrong type", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\nskip_verify = \"true\""},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "TOML that does not parse", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"\n"},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "a key given twice", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\nskip_verify = true\nskip_verify = true"},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "a host given twice", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\n[host.\"http://{m}\"]\nskip_verify = true"},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "a byte order mark", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "\ufeff[host.\"http://{m}\"]\n"},
		Asked16: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
		Asked24: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "an empty file", Image: "{o}", Listen: map[string]string{"o": ""},
		Files: map[string]string{"{o}/hosts.toml": ""},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "a comment alone", Image: "{o}", Listen: map[string]string{"o": ""},
		Files: map[string]string{"{o}/hosts.toml": "# nothing"},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "hosts inline, not as tables", Image: "{o}", Listen: map[string]string{"o": "", "m": "", "n": ""},
		Files: map[string]string{"{o}/hosts.toml": "host = { \"http://{m}\" = {}, \"http://{n}\" = {} }"},
		Asked16: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
		Asked24: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "hosts below one host table", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host]\n\"http://{m}\" = { skip_verify = true }"},
		Asked16: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
		Asked24: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "What hosts.toml says", Name: "a header table before its host", Image: "{o}", Listen: map[string]string{"o": "", "m": "404", "n": "404"}, Show: []string{"X-A"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\".header]\nx-a = \"1\"\n[host.\"http://{n}\"]\n[host.\"http://{m}\"]\n"},
		Asked16: `tag: http://m/v2?ns=o [X-A: 1] 404, http://n/v2?ns=o 404, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o [X-A: 1] 404, http://n/v2?ns=o 404, http://o/v2 200`,
		Asked24: `tag: http://m/v2?ns=o [X-A: 1] 404, http://n/v2?ns=o 404, http://m/v2?ns=o [X-A: 1] 404, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o [X-A: 1] 404, http://n/v2?ns=o 404, http://m/v2?ns=o [X-A: 1] 404, http://o/v2 200`,
	},
}
