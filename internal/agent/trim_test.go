package agent

import (
	"os"
	"os/exec"
	"testing"
)

// TestFixedPosition: what a loader writes into must never be dropped. Debian's programs are of that kind, and so is what is linked by gcc.
func TestFixedPosition(t *testing.T) {
	for _, program := range []string{"/bin/sh", "/nosuch"} {
		if fixedPosition(program) {
			t.Errorf("%s counts as one that nothing is written into", program)
		}
	}
	text := t.TempDir() + "/text"
	if err := os.WriteFile(text, []byte("#!/bin/sh\nnot an ELF file, and as long as the header of one would be\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if fixedPosition(text) {
		t.Error("a script counts as one")
	}
	// The agent as it is built: static, by Go's own linker.
	program := t.TempDir() + "/agent"
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !fixedPosition(program) {
		t.Error("the agent as it is built would not be trimmed")
	}
}

// TestTrim: the process goes on after it.
func TestTrim(t *testing.T) {
	trim()
	if out, err := exec.CommandContext(t.Context(), "true").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
