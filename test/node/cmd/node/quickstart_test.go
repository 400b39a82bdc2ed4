package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pullwatch/pullwatch/test/node"
)

// TestQuickstart runs the command as `make quickstart` does, twice, asks the registries after it has ended, and takes all down.
func TestQuickstart(t *testing.T) {
	bin := t.TempDir()
	program, agent := filepath.Join(bin, "node"), filepath.Join(bin, "pullwatch")
	for out, source := range map[string][2]string{program: {".", "."}, agent: {filepath.Join("..", "..", "..", ".."), "./cmd/agent"}} {
		build := exec.CommandContext(t.Context(), "go", "build", "-o", out, source[1])
		build.Dir = source[0]
		if text, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	dir := filepath.Join(t.TempDir(), "node")
	command := func(ctx context.Context, program string, args ...string) (stdout, stderr string, code int) {
		cmd := exec.CommandContext(ctx, program, args...)
		var out, talk bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &talk
		_ = cmd.Run() // its exit code says it
		return out.String(), talk.String(), cmd.ProcessState.ExitCode()
	}
	t.Cleanup(func() {
		if _, stderr, code := command(context.Background(), program, "down", "--dir", dir); code != 0 || !strings.Contains(stderr, "nothing of it is left") {
			t.Errorf("down: exit %d: %s", code, stderr)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", dir, err)
		}
		processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, process := range processes {
			if line, _ := os.ReadFile(process); bytes.Contains(line, []byte(dir)) {
				t.Errorf("a process is left: %q", line)
			}
		}
	})

	stdout, stderr, code := command(t.Context(), program, "quickstart", "--dir", dir, "--agent", agent)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	for _, want := range []string{
		`note:  http://\S+ does not serve \(connection\) and is asked before`,
		`do:    Have the registry's certificate renewed: it ended on `,
		`do:    This port speaks plain HTTP`,
		`NOT reached: It answers, its token service fails \(connection\)`,
		`shop/web +1\.27 .* linux/`,
		`runtime +containerd 1\.6`,
		`not checked: told to do without an API server`,
		`(?m)^pullwatch_registry_up\{registry="\S+"\} 1$`,
		`make down`,
	} {
		if !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("it does not print %s:\n%s", want, stdout)
		}
	}
	n, err := node.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	probed, stderr, code := command(t.Context(), agent, "probe", "--proxy-from=none", "-r", n.CRISocket(), "-o", "json")
	if err := compareExamples([]byte(probed), n.Examples()); err != nil || code != 1 {
		t.Errorf("exit %d, %v: %s", code, err, stderr)
	}
	if _, stderr, code := command(t.Context(), program, "quickstart", "--dir", dir, "--agent", agent); code != 0 || !strings.Contains(stderr, "is up") {
		t.Errorf("the second time: exit %d: %s", code, stderr)
	}
}
