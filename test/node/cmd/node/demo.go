package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullwatch/pullwatch/test/node"
)

// agentPart is the name under which the demo's agent is on the node's record: it ends with the node.
const agentPart = "agent"

// tellingMetrics are the lines of /metrics that the demo prints, unless they are zero.
var tellingMetrics = regexp.MustCompile(`^pullwatch_(containers_failing|image_pull)`)

func demo(ctx context.Context, f flags, _ []string) error {
	agent, err := filepath.Abs(f.agent)
	if err != nil || f.agent == "" {
		return fmt.Errorf("--agent PATH is missing: the pullwatch binary\n%w", errUsage)
	}
	if _, err := exec.LookPath(agent); err != nil {
		return fmt.Errorf("the agent cannot be run: %w\nbuild it first: make build", err)
	}
	p := node.NewProgress(os.Stderr)
	n, err := node.Open(f.dir)
	switch {
	case err == nil && n.Up() && n.Options.Containerd == f.containerd && n.Options.Kubelet == f.kubelet:
		n.SetProgress(p)
		p.Say("the node in %s is up", n.Dir)
	case err == nil && n.Up():
		return fmt.Errorf("a node with containerd %s and kubelet %s is up in %s\ntake it down first: make down", n.Options.Containerd, n.Options.Kubelet, n.Dir)
	default:
		if n, err = node.Start(ctx, f.options()); err != nil {
			return err
		}
	}
	socket, err := runAgent(n, agent)
	if err != nil {
		return err
	}
	p.Say("the agent runs, its log is %s", n.LogFile(agentPart))
	list := n.Possible()
	if err := populate(ctx, n, f, list, p); err != nil {
		return err
	}
	missing := waitForCauses(ctx, n, agent, socket, list, p)

	fmt.Printf("\n$ pullwatch failures --socket %s\n", socket)
	if out, err := output(ctx, agent, "failures", "--socket", socket); err != nil {
		fmt.Println(err)
	} else {
		fmt.Printf("%s", out)
	}
	metrics := "http://" + n.Addr(agentPart) + "/metrics"
	fmt.Printf("\n$ curl -s %s | grep -E '%s'\n", metrics, tellingMetrics)
	if err := printMetrics(ctx, metrics); err != nil {
		fmt.Println(err)
	}
	self, err := os.Executable()
	if err != nil || strings.Contains(self, "go-build") {
		self = "go -C test/node run ./cmd/node"
	}
	fmt.Printf(`
Look around:
  %[1]s failures --socket %[2]s
  %[1]s images -r %[3]s
  curl -s %[4]s
  what the agent says     %[5]s
  logs of all the parts   %[6]s
  kubeconfig (no kubectl is installed here, any will do)   %[7]s
Mend faults and watch the failures end, or break something again:
  %[8]s mend sandbox-image refused
  %[8]s break refused
Stop everything:
  make down
`, agent, socket, n.CRISocket(), metrics, n.LogFile(agentPart), filepath.Dir(n.LogFile(agentPart)), n.Kubeconfig(node.Admin), self)
	if len(missing) > 0 {
		return fmt.Errorf("the agent does not show what it should after a minute:\n  %s\nlook into %s", strings.Join(missing, "\n  "), n.LogFile(agentPart))
	}
	p.Say("%d broken pods, each shown with its cause", len(list))
	return nil
}

// runAgent starts the agent anew, so that a binary that was just built is the one that is shown.
func runAgent(n *node.Node, agent string) (socket string, err error) {
	socket = filepath.Join(n.Dir, "pullwatch.sock")
	if n.PID(agentPart) != 0 {
		if err := n.Stop(agentPart); err != nil {
			return "", err
		}
	}
	return socket, n.Spawn(agentPart, []string{
		agent, "run", "--node-name", n.NodeName, "--kubeconfig", n.AgentKubeconfig(), "-r", n.CRISocket(),
		"--listen-address", n.Addr(agentPart), "--socket", socket,
	})
}

// populate breaks pods, and around them makes a node like any other: pods that run, and images from earlier days.
// What is there already stays as it is.
func populate(ctx context.Context, n *node.Node, f flags, list []node.Breakage, p *node.Progress) error {
	there := map[string]bool{}
	pods, err := n.Pods(ctx)
	if err != nil {
		return err
	}
	for _, pod := range pods {
		there[pod.Name] = true
	}
	if len(pods) == 0 {
		if err := n.PullTags(ctx, f.images); err != nil {
			return err
		}
		p.Say("%d images are on the node", f.images)
	}
	for i := range max(0, f.pods-len(list)) {
		name := fmt.Sprintf("good-%d", i+1)
		if there[name] {
			continue
		}
		if _, err := n.CreatePod(ctx, n.Pod(name, n.GoodImage())); err != nil {
			return err
		}
	}
	list = slices.DeleteFunc(slices.Clone(list), func(b node.Breakage) bool { return there[b.Name] })
	return makeBroken(ctx, n, list, p)
}

// waitForCauses returns what the agent still does not show, or shows wrong, after a minute.
func waitForCauses(ctx context.Context, n *node.Node, agent, socket string, list []node.Breakage, p *node.Progress) []string {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for said := -1; ; {
		missing, err := compare(ctx, agent, socket, list)
		if err == nil && len(missing) == 0 {
			return nil
		}
		if err == nil && len(list)-len(missing) != said {
			said = len(list) - len(missing)
			p.Say("%d of %d causes are shown", said, len(list))
		}
		select {
		case <-ctx.Done():
			if err != nil {
				return []string{err.Error()}
			}
			return missing
		case <-time.After(500 * time.Millisecond):
		}
		if n.PID(agentPart) == 0 {
			return []string{"the agent has ended"}
		}
	}
}

// compare asks the agent for its failures and returns what differs from the breakages.
func compare(ctx context.Context, agent, socket string, list []node.Breakage) ([]string, error) {
	out, err := output(ctx, agent, "failures", "--socket", socket, "-o", "json")
	if err != nil {
		return nil, err
	}
	var got struct {
		Failures []struct{ Namespace, Pod, Container, Cause string }
	}
	if err := json.Unmarshal(out, &got); err != nil {
		return nil, fmt.Errorf("pullwatch failures -o json: %w", err)
	}
	causes := map[string]string{}
	for _, f := range got.Failures {
		if f.Namespace == metav1.NamespaceDefault {
			causes[f.Pod] = f.Cause
		}
	}
	var missing []string
	for _, b := range list {
		want := strings.Join(b.Causes, " or ")
		switch cause, ok := causes[b.Name]; {
		case !ok:
			missing = append(missing, fmt.Sprintf("%s: not among the failures, want %s", b.Name, want))
		case !slices.Contains(b.Causes, cause):
			missing = append(missing, fmt.Sprintf("%s: %q, want %s", b.Name, cause, want))
		}
	}
	return missing, nil
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

func printMetrics(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{Proxy: nil}, Timeout: 5 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if tellingMetrics.Match(lines.Bytes()) && !strings.HasSuffix(lines.Text(), " 0") {
			fmt.Println(lines.Text())
		}
	}
	return lines.Err()
}
