package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullwatch/pullwatch/test/node"
)

// tellingMetrics are the lines of /metrics that the demo prints: those that count something.
var tellingMetrics = regexp.MustCompile(`^pullwatch_(containers_failing|image_pull).* [1-9]`)

func demo(ctx context.Context, f flags, _ []string) error {
	agent, err := agentProgram(f)
	if err != nil {
		return err
	}
	p := node.NewProgress(os.Stderr)
	n, err := bringUp(ctx, f.options(), p)
	if err != nil {
		return err
	}
	socket, err := runAgent(n, agent, "--node-name", n.NodeName, "--kubeconfig", n.AgentKubeconfig(),
		"--kubelet-config", filepath.Join(n.Dir, "kubelet", "config.json"), "--nodefs-path", filepath.Join(n.Dir, "kubelet"))
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
	fmt.Printf("\n$ pullwatch df --socket %s\n", socket)
	if out, err := output(ctx, agent, "df", "--socket", socket); err != nil {
		fmt.Println(err)
	} else {
		fmt.Printf("%s", out)
	}
	metrics := "http://" + n.Addr(agentPart) + "/metrics"
	fmt.Printf("\n$ curl -s %s | grep -E '%s'\n", metrics, tellingMetrics)
	if err := printMetrics(ctx, metrics, tellingMetrics); err != nil {
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
