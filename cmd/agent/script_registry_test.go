package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/rogpeppe/go-internal/testscript"
)

func registryCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 || args[0] != "start" {
		ts.Fatalf("usage: registry start healthy|down|tokendown, or registry start image BYTES")
	}
	status := map[string]int{"healthy": http.StatusOK, "down": http.StatusServiceUnavailable, "tokendown": http.StatusUnauthorized}[args[1]]
	answer := func(w http.ResponseWriter, _ *http.Request) {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://127.0.0.1:1/token"`)
		}
		w.WriteHeader(status)
	}
	switch {
	case args[1] == "image" && len(args) == 3:
		answer = anyImage(args[2])
	case status == 0 || len(args) != 2:
		ts.Fatalf("registry %s: no such kind", strings.Join(args, " "))
	}
	s := httptest.NewServer(http.HandlerFunc(answer))
	ts.Defer(s.Close)
	ts.Setenv("REGISTRY_BEFORE", ts.Getenv("REGISTRY"))
	ts.Setenv("REGISTRY", strings.TrimPrefix(s.URL, "http://"))
}

// anyImage answers for every image with one manifest for linux/amd64, whose only layer is said to have so many bytes.
func anyImage(bytes string) http.HandlerFunc {
	const config = `{"os":"linux","architecture":"amd64"}`
	manifest := fmt.Sprintf(`{"schemaVersion":2,"config":{"digest":%q,"size":%d},"layers":[{"digest":%q,"size":%s}]}`,
		digest.FromString(config), len(config), digest.FromString("layer"), bytes)
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/manifests/"):
			w.Header().Set("Docker-Content-Digest", digest.FromString(manifest).String())
			_, _ = w.Write([]byte(manifest))
		case strings.HasSuffix(r.URL.Path, "/blobs/"+digest.FromString(config).String()):
			_, _ = w.Write([]byte(config))
		}
	}
}
