// Package e2e holds the agent against a real node: etcd, API server, kubelet, containerd and registries.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/test/node"
)

// agentPart is the agent's name among the node's processes.
const agentPart = "agent"

// agent is the program under test, as a process of its own on the node.
type agent struct {
	n           *node.Node
	bin, socket string
	address     string // of /metrics and health
	flags       []string
	around      []string // a command that runs the agent, in front of its own
}

func startAgent(t *testing.T, n *node.Node, flags ...string) *agent {
	t.Helper()
	bin, err := filepath.Abs("../../../bin/pullwatch")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("%v: build the agent first (make build)", err)
	}
	a := &agent{n: n, bin: bin, socket: filepath.Join(n.Dir, "pullwatch.sock"), address: n.Addr(agentPart), flags: flags}
	a.start(t)
	return a
}

func (a *agent) start(t *testing.T) {
	t.Helper()
	a.startUntil(t, "/readyz")
}

// startUntil starts the agent and waits until it says that all is well at a path.
func (a *agent) startUntil(t *testing.T, path string) {
	t.Helper()
	if err := a.spawn(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the agent answers at "+path, func() error {
		err := a.get(path, nil)
		if err != nil && a.n.PID(agentPart) == 0 { // one that was killed may hold its port for a moment longer
			return errors.Join(err, a.spawn())
		}
		return err
	})
}

func (a *agent) spawn() error {
	return a.n.Spawn(agentPart, slices.Concat(a.around, []string{
		a.bin, "run", "--node-name", a.n.NodeName, "--kubeconfig", a.n.AgentKubeconfig(), "-r", a.n.CRISocket(),
		"--listen-address", a.address, "--page-address=", "--socket", a.socket,
		"--kubelet-config", filepath.Join(a.n.Dir, "kubelet/config.json"), "--nodefs-path", filepath.Join(a.n.Dir, "kubelet"), // without, no condition of disks
	}, a.flags))
}

// get asks the agent over HTTP.
func (a *agent) get(path string, body *bytes.Buffer) error {
	response, err := http.Get("http://" + a.address + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if body == nil {
		body = new(bytes.Buffer)
	}
	if _, err := body.ReadFrom(response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, response.Status, body)
	}
	return nil
}

// failures is what `pullwatch failures` prints, by pod.
func (a *agent) failures(ctx context.Context) (map[string]pulls.Failure, error) {
	cmd := exec.CommandContext(ctx, a.bin, "failures", "-o", "json", "--socket", a.socket)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return nil, fmt.Errorf("pullwatch failures: %w: %s", err, &stderr)
	}
	var answer struct {
		Schema   string
		Failures []pulls.Failure
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("pullwatch failures: %w: %s", err, out)
	}
	if want := 0; err == nil && len(answer.Failures) != want {
		return nil, fmt.Errorf("pullwatch failures: exit code 0 with %d failures", len(answer.Failures))
	}
	byPod := make(map[string]pulls.Failure)
	for _, f := range answer.Failures {
		byPod[f.Pod] = f
	}
	return byPod, nil
}

func (a *agent) metrics() (node.Scrape, error) {
	var body bytes.Buffer
	if err := a.get("/metrics", &body); err != nil {
		return nil, err
	}
	return node.ReadScrape(&body)
}

// eventually tries until it works, and fails the test with the last error where it never does.
func eventually(t *testing.T, within time.Duration, what string, try func() error) {
	t.Helper()
	begin := time.Now()
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Since(begin) > within {
			t.Errorf("%s: not after %s: %v", what, within, err)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}
