package asked

import "time"

// mirrored is a file with one mirror in front of the origin.
var mirrored = map[string]string{"{o}/hosts.toml": `[host."http://{m}"]`}

var order = []Case{
	{
		Topic: "Several hosts", Name: "three hosts in the order of the file", Image: "{o}", Listen: map[string]string{"o": "", "m": "404", "n": "500", "a": "403"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{n}\"]\n[host.\"http://{a}\"]\n[host.\"http://{m}\"]"},
		Asked16: `tag: http://n/v2?ns=o 500, http://a/v2?ns=o 403, http://m/v2?ns=o 404, http://o/v2 200
manifest+config+layer: http://n/v2?ns=o 500, http://a/v2?ns=o 403, http://m/v2?ns=o 404, http://o/v2 200`,
		Asked24: `tag: http://n/v2?ns=o 500, http://a/v2?ns=o 403, http://m/v2?ns=o 404, http://o/v2 200
GET tag: http://a/v2?ns=o 403
manifest+config+layer: http://n/v2?ns=o 500, http://a/v2?ns=o 403, http://m/v2?ns=o 404, http://o/v2 200`,
	},
	{
		Topic: "Several hosts", Name: "each object starts at the first host again", Image: "{o}", Listen: map[string]string{"o": "", "m": "tag=404"},
		Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 404, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "Several hosts", Name: "a mirror without the blobs", Image: "{o}", Layers: 2, Listen: map[string]string{"o": "", "m": "blob=404"},
		Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 200
manifest: http://m/v2?ns=o 200
config+layer: http://m/v2?ns=o 404, http://o/v2 200`,
	},
	{
		Topic: "Several hosts", Name: "a mirror without the manifest", Image: "{o}", Listen: map[string]string{"o": "", "m": "manifest=404"},
		Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 200
manifest: http://m/v2?ns=o 404, http://o/v2 200
config+layer: http://m/v2?ns=o 200`,
	},
	{
		Topic: "Several hosts", Name: "nobody has it", Image: "{o}", Listen: map[string]string{"o": "404", "m": "404"},
		Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 404, http://o/v2 404
fails: {o}/REPOSITORY:1: not found`,
	},
	{
		Topic: "Several hosts", Name: "nobody has the blobs", Image: "{o}", Listen: map[string]string{"o": "blob=404", "m": "blob=404"},
		Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 200
manifest: http://m/v2?ns=o 200
config: http://m/v2?ns=o 404, http://o/v2 404
fails: failed to copy: httpReadSeeker: failed open: could not fetch content descriptor DIGEST (application/vnd.docker.container.image.v1+json) from remote: not found`,
	},
	{
		Topic: "Several hosts", Name: "by digest, nobody has it", Image: "{o}", Digest: true, Listen: map[string]string{"o": "404", "m": "404"},
		Files: mirrored,
		Asked: `HEAD manifest+HEAD blob of manifest: http://m/v2?ns=o 404, http://o/v2 404
fails: {o}/REPOSITORY@DIGEST: not found`,
	},
	{
		Topic: "Several hosts", Name: "by digest, the mirror is broken", Image: "{o}", Digest: true, Listen: map[string]string{"o": "404", "m": "500"},
		Files: mirrored,
		Asked16: `HEAD manifest+HEAD blob of manifest: http://m/v2?ns=o 500, http://o/v2 404
fails: pulling from host {m} failed with status code [manifests DIGEST]: 500 Internal Server Error`,
		Asked24: `HEAD manifest: http://m/v2?ns=o 500, http://o/v2 404
fails: unexpected status from HEAD request to http://{m}/v2/REPOSITORY/manifests/DIGEST?ns={o}: 500 Internal Server Error`,
	},
}

var slow = []Case{
	{
		Topic: "Time", Name: "a mirror that is a black hole, 1 layer", Image: "{o}", Slow: true, Listen: map[string]string{"o": "", "m": "hole"}, Files: mirrored,
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200
dials: 4
takes: 120 s`,
	},
	{
		Topic: "Time", Name: "a mirror that is a black hole, 3 layers, dial_timeout 5s", Image: "{o}", Layers: 3, Listen: map[string]string{"o": "", "m": "hole"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\ndial_timeout = \"5s\""},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200
dials: 6`,
		Note: "layers are waited for at the same time; 1.6 knows no dial_timeout, and takes 120 s, 2.4 takes 20 s",
	},
	{
		Topic: "Time", Name: "the last host is a black hole", Image: "{m}", Slow: true, Listen: map[string]string{"m": "hole"},
		Asked16: `dials: 1
fails: failed to do request: Head "http://{m}/v2/REPOSITORY/manifests/1": dial tcp {m}: i/o timeout
takes: 30 s`,
		Asked24: `dials: 1
fails: failed to do request: Head "https://{m}/v2/REPOSITORY/manifests/1": dial tcp {m}: i/o timeout
takes: 30 s`,
	},
	{
		Topic: "Time", Name: "the last host is a black hole, dial_timeout 5s", Image: "dial.test", Slow: true, Listen: map[string]string{"m": "hole"},
		Files: map[string]string{"dial.test/hosts.toml": "server = \"http://{m}\"\ndial_timeout = \"5s\"\n[host.\"http://{m}\"]\ncapabilities = [\"push\"]"},
		Asked16: `dials: 1
fails: failed to do request: Head "http://{m}/v2/REPOSITORY/manifests/1?ns=dial.test": dial tcp {m}: i/o timeout
takes: 30 s`,
		Asked24: `dials: 1
fails: failed to do request: Head "http://{m}/v2/REPOSITORY/manifests/1?ns=%5BREDACTED%5D": dial tcp {m}: i/o timeout
takes: 5 s`,
	},
	{
		Topic: "Time", Name: "a mirror that never answers", Image: "{o}", Slow: true, Listen: map[string]string{"o": "", "m": "hang"}, Files: mirrored, Limit: 140 * time.Second,
		Asked16: `tag: http://m/v2?ns=o hang
goes on after 2m20s
takes: 140 s`,
		Asked24: `tag: http://m/v2?ns=o hang, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o hang, http://o/v2 200
takes: 120 s`,
	},
	{
		Topic: "Time", Name: "the last host never answers", Image: "{m}", Slow: true, Listen: map[string]string{"m": "hang"}, Limit: 45 * time.Second,
		Asked16: `tag: http://m/v2 hang
goes on after 45s
takes: 45 s`,
		Asked24: `tag: http://m/v2 hang
fails: failed to do request: Head "https://{m}/v2/REPOSITORY/manifests/1": net/http: timeout awaiting response headers
takes: 30 s`,
	},
	{
		Topic: "Time", Name: "a mirror that never answers the TLS handshake", Image: "{o}", Slow: true, Listen: map[string]string{"o": "", "m": "mute"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"https://{m}\"]"},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200
takes: 40 s`,
	},
	{
		Topic: "Time", Name: "a dial_timeout that is none", Image: "{o}", Listen: map[string]string{"o": "", "m": ""},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\"]\ndial_timeout = 5"},
		Asked16: `tag: http://m/v2?ns=o 200
manifest+config+layer: http://m/v2?ns=o 200`,
		Asked24: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
}
