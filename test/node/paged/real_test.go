package paged

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/internal/say"
	"github.com/pullwatch/pullwatch/pkg/probe"
	"github.com/pullwatch/pullwatch/test/node"
)

var update = flag.Bool("update", false, "write docs/page.png")

// broken are the pods of the real node, none of which makes the node one to blame.
var broken = []string{"typo-in-tag", "wrong-platform", "private-no-secret", "unavailable", "no-such-host"}

// TestReal has a real agent on a real node with broken pods serve its page, and holds it against what the prompt says there.
func TestReal(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a whole node")
	}
	agent, err := filepath.Abs("../../../bin/pullwatch")
	if err == nil {
		_, err = os.Stat(agent)
	}
	if err != nil {
		t.Fatalf("%v: build the agent first (make build)", err)
	}
	n, err := node.Start(t.Context(), node.Options{Containerd: node.Containerd24, Kubelet: node.Kubelet134, Out: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Down(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	address, err := node.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(n.Dir, "pullwatch.sock")
	reaching := []string{"--proxy-from=none", "--containerd-config=" + n.ContainerdConfig()}
	err = n.Spawn("agent", append([]string{
		agent, "run", "--node-name", n.NodeName, "--kubeconfig", n.AgentKubeconfig(), "-r", n.CRISocket(), "--listen-address=", "--socket", socket,
		"--page-address", address, "--probe-interval=10s",
	}, reaching...))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := n.CreatePod(ctx, n.Pod(fmt.Sprintf("good-%d", i+1), n.GoodImage())); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range broken {
		breakage, err := node.FindBreakage(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Break(ctx, breakage); err != nil {
			t.Fatal(err)
		}
	}
	prompt := func(into any, args ...string) error {
		cmd := exec.CommandContext(ctx, agent, append(args, "-o", "json", "--socket", socket, "-r", n.CRISocket())...)
		out, err := cmd.Output()
		if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
			return fmt.Errorf("%s: %w", cmd, err)
		}
		return json.Unmarshal(out, into)
	}
	b := startBrowser(t)
	url := "http://" + address + "/"
	var problem error
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		var failing struct{ Failures []pulls.Failure }
		var asked struct{ Registries []*probe.Registry }
		if problem = errors.Join(prompt(&failing, "failures"), prompt(&asked, append([]string{"probe"}, reaching...)...)); problem != nil {
			continue
		}
		b.look(t, url, 1280, "light")
		text := evaluate[string](t, b, "document.body.innerText")
		if problem = agrees(text, failing.Failures, asked.Registries); problem == nil {
			break
		}
	}
	if problem != nil {
		t.Fatalf("the page and the prompt do not agree: %v\n%s", problem, evaluate[string](t, b, "document.body.innerText"))
	}
	for _, width := range []int64{390, 1280} {
		b.look(t, url, width, "light")
		fits(t, b, width)
		harmless(t, b, url)
		readable(t, b)
	}
	if *pictures != "" {
		b.look(t, url, 390, "dark")
		b.shoot(t, filepath.Join(*pictures, "real-390.png"), 390, 0)
		b.look(t, url, 1280, "light")
		b.shoot(t, filepath.Join(*pictures, "real-1280.png"), 1280, 0)
	}
	if *update {
		picture(t, b, url)
	}
}

// agrees holds what the page shows against what `pullwatch failures` and `pullwatch probe` say.
func agrees(page string, failures []pulls.Failure, asked []*probe.Registry) error {
	var missing []error
	says := func(texts ...string) {
		for _, text := range texts {
			if !strings.Contains(page, text) {
				missing = append(missing, fmt.Errorf("the page does not say %q", text))
			}
		}
	}
	if len(failures) < len(broken) {
		missing = append(missing, fmt.Errorf("%d failures, want %d", len(failures), len(broken)))
	}
	for i := range failures {
		f := &failures[i]
		says(f.Namespace+"/"+f.Pod, f.Image, f.Cause.String(), f.Cause.Title(), f.Cause.Advice())
	}
	if len(asked) < 2 {
		missing = append(missing, fmt.Errorf("%d registries are asked", len(asked)))
	}
	for _, r := range asked {
		says(r.Registry, say.Reached(r))
		if r.OK != nil && !*r.OK {
			says(say.Advice(r))
		}
	}
	says("No, it is not this node", "ImagesCanBePulled", "cannot pull ")
	return errors.Join(missing...)
}

// picture writes the picture of docs/page.md.
func picture(t *testing.T, b *browser, url string) {
	t.Helper()
	if err := node.EnsurePrograms(t.Context(), node.NewProgress(os.Stderr), map[string]string{"optipng": "optipng"}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("..", "..", "..", "docs", "page.png")
	b.look(t, url, 1000, "light")
	b.shoot(t, file, 1000, 1150)
	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "optipng", "-quiet", "-o4", "-strip", "all", file)
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, &said)
	}
}
