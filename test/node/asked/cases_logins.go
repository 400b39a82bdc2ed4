package asked

// logins are about credentials, and about which of several errors is told.
var logins = []Case{
	{
		Topic: "Credentials", Name: "Basic at a mirror", Login: true, Image: "{o}", Listen: map[string]string{"o": "", "m": "basic"}, Files: mirrored, Show: []string{"Authorization"},
		Note: "the kubelet's credentials go to the mirror",
		Asked: `tag: http://m/v2?ns=o 401, http://m/v2?ns=o [Authorization: Basic] 200
manifest: http://m/v2?ns=o 401, http://m/v2?ns=o [Authorization: Basic] 200
config+layer: http://m/v2?ns=o [Authorization: Basic] 200`,
	},
	{
		Topic: "Credentials", Name: "Bearer at a mirror", Login: true, Image: "{o}", Listen: map[string]string{"o": "", "m": "bearer", "t": ""}, Files: mirrored, Show: []string{"Authorization"},
		Asked: `tag: http://m/v2?ns=o 401, http://m/v2?ns=o [Authorization: Bearer] 200
manifest: http://m/v2?ns=o 401, http://m/v2?ns=o [Authorization: Bearer] 200
config+layer: http://m/v2?ns=o [Authorization: Bearer] 200
POST token: http://t/token 200 (2 times)`,
	},
	{
		Topic: "Credentials", Name: "credentials nobody asks for", Login: true, Image: "{o}", Listen: map[string]string{"o": ""}, Show: []string{"Authorization"},
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "Credentials", Name: "headers to the token server", Image: "{o}", Listen: map[string]string{"o": "", "m": "bearer", "t": ""}, Show: []string{"X-A", "User-Agent"},
		Files: map[string]string{"{o}/hosts.toml": "[host.\"http://{m}\".header]\nx-a = \"1\""},
		Asked16: `tag: http://m/v2?ns=o [X-A: 1; User-Agent: containerd/1.6.20~ds1] 401, http://m/v2?ns=o [X-A: 1; User-Agent: containerd/1.6.20~ds1] 200
manifest: http://m/v2?ns=o [X-A: 1; User-Agent: containerd/1.6.20~ds1] 401, http://m/v2?ns=o [X-A: 1; User-Agent: containerd/1.6.20~ds1] 200
config+layer: http://m/v2?ns=o [X-A: 1; User-Agent: containerd/1.6.20~ds1] 200
GET token: http://t/token [User-Agent: containerd/1.6.20~ds1] 200 (2 times)`,
		Asked24: `tag: http://m/v2?ns=o [X-A: 1; User-Agent: containerd/2.4.2+unknown] 401, http://m/v2?ns=o [X-A: 1; User-Agent: containerd/2.4.2+unknown] 200
manifest: http://m/v2?ns=o [X-A: 1; User-Agent: containerd/2.4.2+unknown] 401, http://m/v2?ns=o [X-A: 1; User-Agent: containerd/2.4.2+unknown] 200
config+layer: http://m/v2?ns=o [X-A: 1; User-Agent: containerd/2.4.2+unknown] 200
GET token: http://t/token [X-A: 1; User-Agent: containerd/2.4.2+unknown] 200 (2 times)`,
	},
	{
		Topic: "Which error is told", Name: "a mirror refuses, the origin has it not", Image: "{o}", Listen: map[string]string{"o": "404", "m": "refuse"}, Files: mirrored,
		Asked16: `tag: http://o/v2 404
fails: failed to do request: Head "http://{m}/v2/REPOSITORY/manifests/1?ns={o}": dial tcp {m}: connect: connection refused`,
		Asked24: `tag: http://o/v2 404
fails: {o}/REPOSITORY:1: not found`,
	},
	{
		Topic: "Which error is told", Name: "a mirror has it not, the origin refuses", Image: "{o}", Listen: map[string]string{"o": "refuse", "m": "404"}, Files: mirrored,
		Asked16: `tag: http://m/v2?ns=o 404
fails: failed to do request: Head "http://{o}/v2/REPOSITORY/manifests/1": dial tcp {o}: connect: connection refused`,
		Asked24: `tag: http://m/v2?ns=o 404
fails: {o}/REPOSITORY:1: not found`,
	},
	{
		Topic: "Which error is told", Name: "a mirror answers 500, the origin has it not", Image: "{o}", Listen: map[string]string{"o": "404", "m": "500"}, Files: mirrored,
		Asked16: `tag: http://m/v2?ns=o 500, http://o/v2 404
fails: pulling from host {m} failed with status code [manifests 1]: 500 Internal Server Error`,
		Asked24: `tag: http://m/v2?ns=o 500, http://o/v2 404
fails: unexpected status from HEAD request to http://{m}/v2/REPOSITORY/manifests/1?ns={o}: 500 Internal Server Error`,
	},
	{
		Topic: "Which error is told", Name: "a mirror refuses, the origin answers 401", Image: "{o}", Listen: map[string]string{"o": "401", "m": "refuse"}, Files: mirrored,
		Asked16: `tag: http://o/v2 401
fails: failed to do request: Head "http://{m}/v2/REPOSITORY/manifests/1?ns={o}": dial tcp {m}: connect: connection refused`,
		Asked24: `tag: http://o/v2 401
fails: unexpected status from HEAD request to http://{o}/v2/REPOSITORY/manifests/1: 401 Unauthorized`,
	},
	{
		Topic: "Which error is told", Name: "a mirror refuses, the origin wants a login", Image: "{o}", Listen: map[string]string{"o": "basic", "m": "refuse"}, Files: mirrored,
		Asked16: `tag: http://o/v2 401
fails: failed to do request: Head "http://{m}/v2/REPOSITORY/manifests/1?ns={o}": dial tcp {m}: connect: connection refused`,
		Asked24: `tag: http://o/v2 401
fails: failed to do request: Head "http://{m}/v2/REPOSITORY/manifests/1?ns=%5BREDACTED%5D": dial tcp {m}: connect: connection refused`,
	},
	{
		Topic: "Which error is told", Name: "a mirror answers 503, the origin 403", Image: "{o}", Listen: map[string]string{"o": "403", "m": "503"}, Files: mirrored,
		Asked16: `tag: http://m/v2?ns=o 503, http://o/v2 403
fails: pulling from host {m} failed with status code [manifests 1]: 503 Service Unavailable`,
		Asked24: `tag: http://m/v2?ns=o 503, http://o/v2 403
GET tag: http://o/v2 403
fails: unexpected status from HEAD request to http://{m}/v2/REPOSITORY/manifests/1?ns={o}: 503 Service Unavailable`,
	},
	{
		Topic: "Which error is told", Name: "a mirror answers 403, the origin refuses", Image: "{o}", Listen: map[string]string{"o": "refuse", "m": "403"}, Files: mirrored,
		Asked16: `tag: http://m/v2?ns=o 403
fails: pulling from host {m} failed with status code [manifests 1]: 403 Forbidden`,
		Asked24: `tag: http://m/v2?ns=o 403
GET tag: http://m/v2?ns=o 403
fails: unexpected status from HEAD request to http://{m}/v2/REPOSITORY/manifests/1?ns={o}: 403 Forbidden`,
	},
	{
		Topic: "Which error is told", Name: "blobs: a mirror refuses them, the origin has them not", Image: "{o}", Listen: map[string]string{"o": "blob=404", "m": "blob=reset"}, Files: mirrored,
		Asked16: `tag: http://m/v2?ns=o 200
manifest: http://m/v2?ns=o 200
config: http://m/v2?ns=o reset, http://o/v2 404
fails: failed to copy: httpReadSeeker: failed open: failed to do request: Get "http://{m}/v2/REPOSITORY/blobs/DIGEST?ns={o}": read tcp {m}: read: connection reset by peer`,
		Asked24: `tag: http://m/v2?ns=o 200
manifest: http://m/v2?ns=o 200
config: http://m/v2?ns=o reset, http://o/v2 404
fails: failed to copy: httpReadSeeker: failed open: failed to do request: Get "http://{m}/v2/REPOSITORY/blobs/DIGEST?ns=%5BREDACTED%5D": read tcp {m}: read: connection reset by peer`,
	},
	{
		Topic: "Which error is told", Name: "blobs: a mirror has them not, the origin answers 500", Image: "{o}", Listen: map[string]string{"o": "blob=500", "m": "blob=404"}, Files: mirrored,
		Asked16: `tag: http://m/v2?ns=o 200
manifest: http://m/v2?ns=o 200
config: http://m/v2?ns=o 404, http://o/v2 500
fails: failed to copy: httpReadSeeker: failed open: could not fetch content descriptor DIGEST (application/vnd.docker.container.image.v1+json) from remote: not found`,
		Asked24: `tag: http://m/v2?ns=o 200
manifest: http://m/v2?ns=o 200
config: http://m/v2?ns=o 404, http://o/v2 500 (2 times)
fails: failed to copy: httpReadSeeker: failed open: could not fetch content descriptor DIGEST (application/vnd.docker.container.image.v1+json) from remote: not found`,
	},
}
