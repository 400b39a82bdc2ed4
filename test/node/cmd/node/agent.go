package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/test/node"
)

// agentPart is the name under which the agent is on the node's record: it ends with the node.
const agentPart = "agent"

// agentProgram is the path of --agent.
func agentProgram(f flags) (string, error) {
	agent, err := filepath.Abs(f.agent)
	if err != nil || f.agent == "" {
		return "", fmt.Errorf("--agent PATH is missing: the pullwatch binary\n%w", errUsage)
	}
	if _, err := exec.LookPath(agent); err != nil {
		return "", fmt.Errorf("the agent cannot be run: %w\nbuild it first: make build", err)
	}
	return agent, nil
}

// runAgent starts the agent anew, so that a binary that was just built is the one that is shown.
func runAgent(n *node.Node, agent string, flags ...string) (socket string, err error) {
	socket = filepath.Join(n.Dir, "pullwatch.sock")
	if n.PID(agentPart) != 0 {
		if err := n.Stop(agentPart); err != nil {
			return "", err
		}
	}
	return socket, n.Spawn(agentPart, append([]string{
		agent, "run", "-r", n.CRISocket(), "--listen-address", n.Addr(agentPart), "--socket", socket,
	}, flags...))
}

// output runs the agent's command line. Exit 1 means that there are failures, as there should be.
func output(ctx context.Context, agent string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, agent, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 1 {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("pullwatch %s: %w\n%s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// get asks the agent. An answer other than 200 is an error.
func get(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		err = fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return resp, err
}

// printMetrics prints the lines of /metrics that match.
func printMetrics(ctx context.Context, url string, match *regexp.Regexp) error {
	resp, err := get(ctx, url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if match.Match(lines.Bytes()) {
			fmt.Println(lines.Text())
		}
	}
	return lines.Err()
}
