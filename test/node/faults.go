package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func (n *Node) prepareFaults() error {
	dir := filepath.Join(n.Dir, "faults")
	ca, err := NewAuthority("a company CA", filepath.Join(dir, "ca.crt"))
	if err != nil {
		return err
	}
	if err := errors.Join(ca.Issue(filepath.Join(dir, "serving")), ca.IssueExpired(filepath.Join(dir, "expired"))); err != nil {
		return err
	}
	listeners := map[string]string{}
	for _, name := range faultNames {
		listeners[name] = n.addr(name)
		if slices.Contains(exampleNames, name) {
			continue
		}
		scheme := "http://"
		// Two of them are faults of the node's configuration: the wrong scheme, and a CA that is missing.
		if name == "selfsigned" || name == "plain" {
			scheme = "https://"
		}
		if err := n.WriteHosts(n.addr(name), scheme+n.addr(name), ""); err != nil {
			return err
		}
	}
	return writeJSON(filepath.Join(dir, "config.json"), map[string]any{
		"control": n.addr("faults"), "upstream": n.addr("registry"), "listeners": listeners,
		"certs": map[string]string{"selfsigned": filepath.Join(dir, "serving"), "expired": filepath.Join(dir, "expired")},
		"token": n.addr("token"),
	})
}

func (n *Node) faults() command {
	return command{
		argv:    []string{n.Parts.Faults, filepath.Join(n.Dir, "faults", "config.json")},
		timeout: 10 * time.Second,
		ready:   httpOK("http://" + n.addr("faults") + "/healthz"),
	}
}

// setFault mends or breaks ("mend", "break") one of the misbehaving registries.
func (n *Node) setFault(ctx context.Context, verb, name string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+n.addr("faults")+"/"+verb+"/"+name, nil)
	if err != nil {
		return err
	}
	resp, err := direct.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w\nis the node up?", verb, name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		msg, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s %s: %s", verb, name, strings.TrimSpace(string(msg)))
	}
	return nil
}

// blackHole drops everything that goes to the port, in silence.
func (n *Node) blackHole(ctx context.Context, port string) error {
	return n.iptables(ctx, "-I", port)
}

// liftBlackHole ends it.
func (n *Node) liftBlackHole(ctx context.Context, port string) error {
	return n.iptables(ctx, "-D", port)
}

func (n *Node) iptables(ctx context.Context, verb, port string) error {
	path, err := findProgram("iptables")
	if err != nil {
		return err
	}
	rule := []string{"-i", "lo", "-p", "tcp", "--dport", fmt.Sprint(n.Ports[port]), "-m", "comment", "--comment", n.mark(), "-j", "DROP"}
	present := exec.CommandContext(ctx, path, append([]string{"-w", "-C", "INPUT"}, rule...)...).Run() == nil
	if present == (verb == "-I") {
		return nil
	}
	out, err := exec.CommandContext(ctx, path, append([]string{"-w", verb, "INPUT"}, rule...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("iptables %s: %w\n%s", verb, err, lastLines(string(out), 3))
	}
	return nil
}

// sweepRules removes the rules that carry the node's mark.
func (n *Node) sweepRules() error {
	path, _ := findProgram("iptables")
	if path == "" {
		return nil // where the program is not, there are no rules of ours
	}
	out, err := exec.Command(path, "-w", "-S", "INPUT").Output()
	if err != nil {
		return fmt.Errorf("list iptables rules: %w", err)
	}
	var errs []error
	for line := range strings.Lines(string(out)) {
		args := strings.Fields(strings.ReplaceAll(line, `"`, ""))
		if len(args) < 3 || args[0] != "-A" || !strings.Contains(line, n.mark()) {
			continue
		}
		args[0] = "-D"
		if err := exec.Command(path, append([]string{"-w"}, args...)...).Run(); err != nil {
			errs = append(errs, fmt.Errorf("remove iptables rule %q: %w", line, err))
		}
	}
	return errors.Join(errs...)
}
