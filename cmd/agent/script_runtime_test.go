package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/pkg/cri/critest"
)

func containerCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 5 {
		ts.Fatalf("usage: container NS/POD NAME IMAGE running|exited|created AGE [ATTEMPT]")
	}
	old, err := time.ParseDuration(args[4])
	ts.Check(err)
	c := critest.Container{Name: args[1], Image: args[2], Created: time.Now().Add(-old)}
	c.Namespace, c.Pod, _ = strings.Cut(args[0], "/")
	state, ok := runtimeapi.ContainerState_value["CONTAINER_"+strings.ToUpper(args[3])]
	if !ok {
		ts.Fatalf("no container is %s", args[3])
	}
	c.State = runtimeapi.ContainerState(state)
	if len(args) > 5 {
		n, err := strconv.ParseUint(args[5], 10, 32)
		ts.Check(err)
		c.Attempt = uint32(n)
	}
	stageOf(ts).runtime.AddContainer(c)
}

// makeHostile gives a runtime an image, a container and an error that would move the cursor, and an error that repeats credentials.
func makeHostile(r *critest.Runtime) {
	const evil = "evil\x1b[2J\u202e/\u009bx:1\tt"
	r.SetImages(critest.Image{
		ID: strings.Repeat("ab", 32), Size: 1234567, Tags: []string{evil}, Digests: []string{"evil\x1b[2J@sha256:" + strings.Repeat("cd", 32)},
	})
	r.AddContainer(critest.Container{
		Namespace: "shop\x1b[2J", Pod: "cart\u202e", Name: "app\nforged", Image: evil, State: runtimeapi.ContainerState_CONTAINER_RUNNING, Created: time.Now(),
	})
	r.SetPull("evil.example/x:1", critest.Pull{Code: codes.Unknown, Text: "\x1b]0;owned\x07 evil.example/x:1: not found\nforged line \u202egnp.exe"})
	// Plain, in base64 behind the user, and in an address: robot:p4ssw0rd-marker.
	r.SetPull("echo.example/x:1", critest.Pull{Code: codes.Unknown, Text: `failed to authorize "p4ssw0rd-marker", Basic cm9ib3Q6cDRzc3cwcmQtbWFya2Vy, ` +
		`at https://robot:p4ssw0rd-marker@echo.example/token?token=p4ssw0rd-marker: 401 Unauthorized`})
}
