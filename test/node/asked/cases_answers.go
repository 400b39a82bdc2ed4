package asked

// answers are what one answer of a mirror, and of a registry that stands alone, leads to.
var answers = []Case{
	{
		Topic: "What a mirror answers", Name: "400", Image: "{o}", Listen: map[string]string{"o": "", "m": "400"}, Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 400, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 400, http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "403", Image: "{o}", Listen: map[string]string{"o": "", "m": "403"}, Files: mirrored,
		Asked16: `tag: http://m/v2?ns=o 403, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 403, http://o/v2 200`,
		Asked24: `tag: http://m/v2?ns=o 403, http://o/v2 200
GET tag: http://m/v2?ns=o 403
manifest+config+layer: http://m/v2?ns=o 403, http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "404", Image: "{o}", Listen: map[string]string{"o": "", "m": "404"}, Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 404, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 404, http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "408", Image: "{o}", Listen: map[string]string{"o": "", "m": "408"}, Files: mirrored,
		Asked16: `tag: http://m/v2?ns=o 408 (6 times), http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 408 (6 times), http://o/v2 200`,
		Asked24: `tag: http://m/v2?ns=o 408 (5 times), http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 408 (5 times), http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "410", Image: "{o}", Listen: map[string]string{"o": "", "m": "410"}, Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 410, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 410, http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "429", Image: "{o}", Listen: map[string]string{"o": "", "m": "429"}, Files: mirrored,
		Asked16: `tag: http://m/v2?ns=o 429 (6 times), http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 429 (6 times), http://o/v2 200`,
		Asked24: `tag: http://m/v2?ns=o 429 (5 times), http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 429 (5 times), http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "500", Image: "{o}", Listen: map[string]string{"o": "", "m": "500"}, Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 500, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 500, http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "502", Image: "{o}", Listen: map[string]string{"o": "", "m": "502"}, Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 502, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 502, http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "503", Image: "{o}", Listen: map[string]string{"o": "", "m": "503"}, Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 503, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 503, http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "504", Image: "{o}", Listen: map[string]string{"o": "", "m": "504"}, Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 504, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 504, http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "304", Image: "{o}", Listen: map[string]string{"o": "", "m": "304"}, Files: mirrored,
		Asked16: `tag: http://m/v2?ns=o 304
fails: pulling from host {m} failed with unexpected status code [manifests 1]: 304 Not Modified`,
		Asked24: `tag: http://m/v2?ns=o 304
fails: unexpected status from HEAD request to http://{m}/v2/REPOSITORY/manifests/1?ns={o}: 304 Not Modified`,
	},
	{
		Topic: "What a mirror answers", Name: "401 without a challenge", Image: "{o}", Listen: map[string]string{"o": "", "m": "401"}, Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 401, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 401, http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "401 Basic, no credentials", Image: "{o}", Listen: map[string]string{"o": "", "m": "basic"}, Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 401, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o 401, http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "refused", Image: "{o}", Listen: map[string]string{"o": "", "m": "refuse"}, Files: mirrored,
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "reset", Image: "{o}", Listen: map[string]string{"o": "", "m": "reset"}, Files: mirrored,
		Asked: `tag: http://m/v2?ns=o reset, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o reset, http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "hangs up", Image: "{o}", Listen: map[string]string{"o": "", "m": "eof"}, Files: mirrored,
		Asked: `tag: http://m/v2?ns=o eof, http://o/v2 200
manifest+config+layer: http://m/v2?ns=o eof, http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "TLS at a port asked by HTTP", Image: "{o}", Listen: map[string]string{"o": "", "m": "tls"}, Files: mirrored,
		Asked: `tag: http://o/v2 200
manifest+config+layer: http://o/v2 200`,
	},
	{
		Topic: "What the last host answers", Name: "last: 400", Image: "{o}", Listen: map[string]string{"o": "400"},
		Asked16: `tag: http://o/v2 400
fails: pulling from host {o} failed with status code [manifests 1]: 400 Bad Request`,
		Asked24: `tag: http://o/v2 400
fails: unexpected status from HEAD request to http://{o}/v2/REPOSITORY/manifests/1: 400 Bad Request`,
	},
	{
		Topic: "What the last host answers", Name: "last: 403", Image: "{o}", Listen: map[string]string{"o": "403"},
		Asked16: `tag: http://o/v2 403
fails: pulling from host {o} failed with status code [manifests 1]: 403 Forbidden`,
		Asked24: `tag: http://o/v2 403
GET tag: http://o/v2 403
fails: unexpected status from HEAD request to http://{o}/v2/REPOSITORY/manifests/1: 403 Forbidden`,
	},
	{
		Topic: "What the last host answers", Name: "last: 404", Image: "{o}", Listen: map[string]string{"o": "404"},
		Asked: `tag: http://o/v2 404
fails: {o}/REPOSITORY:1: not found`,
	},
	{
		Topic: "What the last host answers", Name: "last: 408", Image: "{o}", Listen: map[string]string{"o": "408"},
		Asked16: `tag: http://o/v2 408 (6 times)
fails: pulling from host {o} failed with status code [manifests 1]: 408 Request Timeout`,
		Asked24: `tag: http://o/v2 408 (5 times)
fails: unexpected status from HEAD request to http://{o}/v2/REPOSITORY/manifests/1: 408 Request Timeout`,
	},
	{
		Topic: "What the last host answers", Name: "last: 410", Image: "{o}", Listen: map[string]string{"o": "410"},
		Asked16: `tag: http://o/v2 410
fails: pulling from host {o} failed with status code [manifests 1]: 410 Gone`,
		Asked24: `tag: http://o/v2 410
fails: unexpected status from HEAD request to http://{o}/v2/REPOSITORY/manifests/1: 410 Gone`,
	},
	{
		Topic: "What the last host answers", Name: "last: 429", Image: "{o}", Listen: map[string]string{"o": "429"},
		Asked16: `tag: http://o/v2 429 (6 times)
fails: pulling from host {o} failed with status code [manifests 1]: 429 Too Many Requests`,
		Asked24: `tag: http://o/v2 429 (5 times)
fails: unexpected status from HEAD request to http://{o}/v2/REPOSITORY/manifests/1: 429 Too Many Requests`,
	},
	{
		Topic: "What the last host answers", Name: "last: 500", Image: "{o}", Listen: map[string]string{"o": "500"},
		Asked16: `tag: http://o/v2 500
fails: pulling from host {o} failed with status code [manifests 1]: 500 Internal Server Error`,
		Asked24: `tag: http://o/v2 500 (2 times)
fails: unexpected status from HEAD request to http://{o}/v2/REPOSITORY/manifests/1: 500 Internal Server Error`,
	},
	{
		Topic: "What the last host answers", Name: "last: 502", Image: "{o}", Listen: map[string]string{"o": "502"},
		Asked16: `tag: http://o/v2 502
fails: pulling from host {o} failed with status code [manifests 1]: 502 Bad Gateway`,
		Asked24: `tag: http://o/v2 502
fails: unexpected status from HEAD request to http://{o}/v2/REPOSITORY/manifests/1: 502 Bad Gateway`,
	},
	{
		Topic: "What the last host answers", Name: "last: 503", Image: "{o}", Listen: map[string]string{"o": "503"},
		Asked16: `tag: http://o/v2 503
fails: pulling from host {o} failed with status code [manifests 1]: 503 Service Unavailable`,
		Asked24: `tag: http://o/v2 503 (2 times)
fails: unexpected status from HEAD request to http://{o}/v2/REPOSITORY/manifests/1: 503 Service Unavailable`,
	},
	{
		Topic: "What the last host answers", Name: "last: 504", Image: "{o}", Listen: map[string]string{"o": "504"},
		Asked16: `tag: http://o/v2 504
fails: pulling from host {o} failed with status code [manifests 1]: 504 Gateway Timeout`,
		Asked24: `tag: http://o/v2 504 (2 times)
fails: unexpected status from HEAD request to http://{o}/v2/REPOSITORY/manifests/1: 504 Gateway Timeout`,
	},
	{
		Topic: "What the last host answers", Name: "last: 304", Image: "{o}", Listen: map[string]string{"o": "304"},
		Asked16: `tag: http://o/v2 304
fails: pulling from host {o} failed with unexpected status code [manifests 1]: 304 Not Modified`,
		Asked24: `tag: http://o/v2 304
fails: unexpected status from HEAD request to http://{o}/v2/REPOSITORY/manifests/1: 304 Not Modified`,
	},
	{
		Topic: "What the last host answers", Name: "last: 401 without a challenge", Image: "{o}", Listen: map[string]string{"o": "401"},
		Asked16: `tag: http://o/v2 401
fails: pulling from host {o} failed with status code [manifests 1]: 401 Unauthorized`,
		Asked24: `tag: http://o/v2 401
fails: unexpected status from HEAD request to http://{o}/v2/REPOSITORY/manifests/1: 401 Unauthorized`,
	},
	{
		Topic: "What the last host answers", Name: "last: 401 Basic, no credentials", Image: "{o}", Listen: map[string]string{"o": "basic"},
		Asked16: `tag: http://o/v2 401
fails: pulling from host {o} failed with status code [manifests 1]: 401 Unauthorized`,
		Asked24: `tag: http://o/v2 401
fails: pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials`,
	},
	{
		Topic: "What the last host answers", Name: "last: refused", Image: "{o}", Listen: map[string]string{"o": "refuse"},
		Asked16: `fails: failed to do request: Head "http://{o}/v2/REPOSITORY/manifests/1": dial tcp {o}: connect: connection refused`,
		Asked24: `fails: failed to do request: Head "https://{o}/v2/REPOSITORY/manifests/1": dial tcp {o}: connect: connection refused`,
	},
	{
		Topic: "What the last host answers", Name: "last: reset", Image: "{o}", Listen: map[string]string{"o": "reset"},
		Asked16: `tag: http://o/v2 reset
fails: failed to do request: Head "http://{o}/v2/REPOSITORY/manifests/1": read tcp {o}: read: connection reset by peer`,
		Asked24: `tag: http://o/v2 reset
fails: failed to do request: Head "https://{o}/v2/REPOSITORY/manifests/1": read tcp {o}: read: connection reset by peer`,
	},
	{
		Topic: "What the last host answers", Name: "last: hangs up", Image: "{o}", Listen: map[string]string{"o": "eof"},
		Asked16: `tag: http://o/v2 eof
fails: failed to do request: Head "http://{o}/v2/REPOSITORY/manifests/1": EOF`,
		Asked24: `tag: http://o/v2 eof (5 times)
fails: failed to do request: Head "https://{o}/v2/REPOSITORY/manifests/1": EOF`,
	},
	{
		Topic: "What the last host answers", Name: "last: TLS at a port asked by HTTP", Image: "{o}", Listen: map[string]string{"o": "tls"},
		Asked16: `fails: pulling from host {o} failed with status code [manifests 1]: 400 Bad Request`,
		Asked24: `tag: https://o/v2 200
manifest+config+layer: https://o/v2 200`,
	},

	{
		Topic: "What a mirror answers", Name: "401 Bearer, the token server refuses", Image: "{o}", Listen: map[string]string{"o": "", "m": "bearer", "t": "token=401"}, Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 401, http://o/v2 200
manifest: http://m/v2?ns=o 401, http://o/v2 200
config+layer: http://o/v2 200
GET token: http://t/token 401 (2 times)`,
	},
	{
		Topic: "What a mirror answers", Name: "401 Bearer, the token server is down", Image: "{o}", Listen: map[string]string{"o": "", "m": "bearer", "t": "refuse"}, Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 401, http://o/v2 200
manifest: http://m/v2?ns=o 401, http://o/v2 200
config+layer: http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "401 Bearer, anonymous", Image: "{o}", Listen: map[string]string{"o": "", "m": "bearer", "t": ""}, Files: mirrored,
		Show: []string{"Authorization"},
		Asked: `tag: http://m/v2?ns=o 401, http://m/v2?ns=o [Authorization: Bearer] 200
manifest: http://m/v2?ns=o 401, http://m/v2?ns=o [Authorization: Bearer] 200
config+layer: http://m/v2?ns=o [Authorization: Bearer] 200
GET token: http://t/token 200 (2 times)`,
	},
	{
		Topic: "What a mirror answers", Name: "blobs reset", Image: "{o}", Listen: map[string]string{"o": "", "m": "blob=reset"}, Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 200
manifest: http://m/v2?ns=o 200
config+layer: http://m/v2?ns=o reset, http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "blobs 429", Image: "{o}", Listen: map[string]string{"o": "", "m": "blob=429"}, Files: mirrored,
		Asked16: `tag: http://m/v2?ns=o 200
manifest: http://m/v2?ns=o 200
config+layer: http://m/v2?ns=o 429 (6 times), http://o/v2 200`,
		Asked24: `tag: http://m/v2?ns=o 200
manifest: http://m/v2?ns=o 200
config+layer: http://m/v2?ns=o 429 (5 times), http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "blobs 403", Image: "{o}", Listen: map[string]string{"o": "", "m": "blob=403"}, Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 200
manifest: http://m/v2?ns=o 200
config+layer: http://m/v2?ns=o 403, http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "blobs sent on to a host that is down", Image: "{o}", Listen: map[string]string{"o": "", "m": "blob=to=s", "s": "refuse"}, Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 200
manifest: http://m/v2?ns=o 200
config+layer: http://m/v2?ns=o 307, http://o/v2 200`,
	},
	{
		Topic: "What a mirror answers", Name: "GET of what HEAD did not tell fails", Image: "{o}", Listen: map[string]string{"o": "", "m": "nodigest"}, Files: mirrored,
		Asked: `tag: http://m/v2?ns=o 200
GET tag+manifest+config+layer: http://m/v2?ns=o 200`,
	},
}
