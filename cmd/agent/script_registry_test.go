package main

import (
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

func registryCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 || args[0] != "start" {
		ts.Fatalf("usage: registry start healthy|down|tokendown")
	}
	status := map[string]int{"healthy": http.StatusOK, "down": http.StatusServiceUnavailable, "tokendown": http.StatusUnauthorized}[args[1]]
	if status == 0 {
		ts.Fatalf("registry start %s: no such kind", args[1])
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://127.0.0.1:1/token"`)
		}
		w.WriteHeader(status)
	}))
	ts.Defer(s.Close)
	ts.Setenv("REGISTRY_BEFORE", ts.Getenv("REGISTRY"))
	ts.Setenv("REGISTRY", strings.TrimPrefix(s.URL, "http://"))
}
