package monitored

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/test/node"
)

// agentProgram is the one that make builds.
func agentProgram(t *testing.T) string {
	t.Helper()
	program, err := filepath.Abs("../../../bin/pullwatch")
	must(t, err)
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v: build the agent first (make build)", err)
	}
	return program
}

func startNode(t *testing.T, o node.Options) *node.Node {
	t.Helper()
	ensure(t, map[string]string{"prometheus": "prometheus", "prometheus-alertmanager": "prometheus-alertmanager"})
	o.Out = os.Stderr
	n, err := node.Start(t.Context(), o)
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			for _, part := range []string{prometheusPart, alertmanagerPart} {
				text, _ := os.ReadFile(n.LogFile(part))
				t.Logf("the log of %s:\n%s", part, text[max(0, len(text)-4000):])
			}
		}
		if err := n.Down(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// eventually tries until it works, and fails the test with the last error where it never does.
func eventually(t *testing.T, within time.Duration, what string, try func() error) {
	t.Helper()
	begin := time.Now()
	for {
		err := try()
		if err == nil {
			t.Logf("%6.1fs  %s", time.Since(begin).Seconds(), what)
			return
		}
		if time.Since(begin) > within {
			t.Fatalf("%s: not after %s: %v", what, within, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// fires wants an alert in Prometheus, in Alertmanager and told of, with the annotations that lead on.
func (w *watch) fires(ctx context.Context, labels map[string]string) func() error {
	return func() error {
		for _, list := range []func(context.Context) ([]notice, error){w.firing, w.active} {
			alerts, err := list(ctx)
			if err != nil {
				return err
			}
			if !has(alerts, labels) {
				return fmt.Errorf("not among %v", alerts)
			}
		}
		last, err := w.notified(labels)
		if err != nil {
			return err
		}
		if last.Status != "firing" || !strings.HasSuffix(last.Annotations["runbook_url"], "/docs/runbooks/"+labels["alertname"]+".md") ||
			!strings.HasPrefix(last.Annotations["dashboard_url"], "/d/pullwatch-") || strings.Contains(last.Annotations["description"], "<") {
			return fmt.Errorf("told was %+v", last)
		}
		return nil
	}
}

// ends wants an alert gone from both, and the end told of.
func (w *watch) ends(ctx context.Context, labels map[string]string) func() error {
	return func() error {
		for _, list := range []func(context.Context) ([]notice, error){w.firing, w.active} {
			if alerts, err := list(ctx); err != nil || has(alerts, labels) {
				return fmt.Errorf("still among %v, %w", alerts, err)
			}
		}
		if last, err := w.notified(labels); err != nil || last.Status != "resolved" {
			return fmt.Errorf("told was %+v, %w", last, err)
		}
		return nil
	}
}

func has(alerts []notice, labels map[string]string) bool {
	for _, a := range alerts {
		if within(labels, a.Labels) {
			return true
		}
	}
	return false
}

func alert(name string, labels ...string) map[string]string {
	all := map[string]string{"alertname": name}
	for i := 0; i < len(labels); i += 2 {
		all[labels[i]] = labels[i+1]
	}
	return all
}

// fleet is two real agents beside one containerd, each of which sees registry settings of its own, as on a node of its own.
type fleet struct {
	n       *node.Node
	w       *watch
	program string
}

var fleetNodes = []string{"node-a", "node-b"}

func (f *fleet) address(name string) string {
	return f.w.at(9767 + slices.Index(fleetNodes, name))
}

// certs is the directory with the hosts.toml files that a node has in the place of containerd's.
func (f *fleet) certs(name string) string { return filepath.Join(f.n.Dir, name, "certs.d") }

// point has a node ask for a registry at an address.
func (f *fleet) point(t *testing.T, name, registry, address string) {
	t.Helper()
	dir := filepath.Join(f.certs(name), registry)
	must(t, os.MkdirAll(dir, 0o755))
	text := fmt.Sprintf("server = \"http://%[1]s\"\n[host.\"http://%[1]s\"]\n", address)
	must(t, os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(text), 0o644))
}

func (f *fleet) start(t *testing.T, name string) {
	t.Helper()
	mount := fmt.Sprintf("mount --bind %s %s && exec \"$@\"", f.certs(name), filepath.Join(f.n.Dir, "certs.d"))
	must(t, f.n.Spawn(name, []string{
		"unshare", "-m", "sh", "-c", mount, "agent",
		f.program, "run", "--standalone", "-r", f.n.CRISocket(), "--listen-address", f.address(name), "--socket", filepath.Join(f.n.Dir, name+".sock"),
		"--proxy-from=none", "--probe-interval=10s", "--page-address=",
	}))
	eventually(t, 30*time.Second, "the agent of "+name+" listens", func() error {
		c, err := net.DialTimeout("tcp", f.address(name), time.Second)
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

// TestChain has registries, agents and the runtime die before a real Prometheus and a real Alertmanager: the alert that is meant for it fires,
// arrives, and ends when it is mended. The rules are those that are shipped; their minutes are seconds.
func TestChain(t *testing.T) {
	if testing.Short() {
		t.Skip("runs processes: make monitored")
	}
	ctx := t.Context()
	n := startNode(t, node.Options{RuntimeOnly: true})
	f := &fleet{n: n, w: newWatch(n), program: agentProgram(t)}
	w := f.w
	registry, private := n.RegistryAddr(), n.PrivateRegistry().Addr
	targets := make(map[string]string)
	for _, name := range fleetNodes {
		f.point(t, name, registry, registry)
		f.point(t, name, private, private)
		f.start(t, name)
		targets[name] = f.address(name)
	}
	must(t, w.start(ctx, targets))

	eventually(t, time.Minute, "both nodes reach both registries", func() error {
		for _, r := range []string{registry, private} {
			all, err := w.instant(ctx, fmt.Sprintf(
				`registry:pullwatch_registry_nodes:count{registry=%q} == 2 and registry:pullwatch_registry_down_nodes:count == 0`, r))
			if err != nil || len(all) != 1 {
				return fmt.Errorf("%s: %v, %w", r, all, err)
			}
		}
		return nil
	})
	quiet := func(t *testing.T) {
		t.Helper()
		eventually(t, 40*time.Second, "nothing fires", func() error {
			if alerts, err := w.firing(ctx); err != nil || len(alerts) > 0 {
				return fmt.Errorf("%v, %w", alerts, err)
			}
			return nil
		})
	}
	quiet(t)

	t.Run("a registry dies for everybody", func(t *testing.T) {
		critical := alert("PullwatchRegistryUnreachable", "registry", private, "severity", "critical")
		must(t, n.Kill(node.PartPrivate))
		eventually(t, time.Minute, "the alert fires and is told", w.fires(ctx, critical))
		if alerts, err := w.firing(ctx); err != nil || len(alerts) != 1 {
			t.Errorf("one trouble is one alert: %v, %v", alerts, err)
		}
		must(t, n.Restart(ctx, node.PartPrivate))
		eventually(t, time.Minute, "it ends and is told", w.ends(ctx, critical))
		quiet(t)
	})

	t.Run("a registry is dead for one node", func(t *testing.T) {
		warning := alert("PullwatchRegistryUnreachableFromNode", "registry", private, "severity", "warning", "node", "node-b")
		f.point(t, "node-b", private, "127.0.0.1:1")
		eventually(t, time.Minute, "the alert fires and is told", w.fires(ctx, warning))
		last, err := w.notified(warning)
		if want := "node-b cannot reach " + private + ". Nodes that cannot, this one counted: 1."; err != nil || last.Annotations["description"] != want {
			t.Errorf("%q, %v, want %q", last.Annotations["description"], err, want)
		}
		if alerts, err := w.firing(ctx); err != nil || len(alerts) != 1 {
			t.Errorf("one trouble is one alert: %v, %v", alerts, err)
		}
		f.point(t, "node-b", private, private)
		eventually(t, time.Minute, "it ends and is told", w.ends(ctx, warning))
		quiet(t)
	})

	t.Run("the runtime dies", func(t *testing.T) {
		must(t, n.Kill(node.PartContainerd))
		for _, name := range fleetNodes {
			eventually(t, time.Minute, "the alert of "+name+" fires and is told", w.fires(ctx, alert("PullwatchRuntimeDown", "node", name)))
		}
		if alerts, err := w.firing(ctx); err != nil || len(alerts) != len(fleetNodes) {
			t.Errorf("one trouble is one alert of each node: %v, %v", alerts, err)
		}
		must(t, n.Restart(ctx, node.PartContainerd))
		for _, name := range fleetNodes {
			eventually(t, time.Minute, "that of "+name+" ends and is told", w.ends(ctx, alert("PullwatchRuntimeDown", "node", name)))
		}
		quiet(t)
	})

	t.Run("agents die", func(t *testing.T) {
		down, absent := alert("PullwatchAgentDown", "node", "node-b"), alert("PullwatchAgentsAbsent", "severity", "critical")
		must(t, n.Kill("node-b"))
		eventually(t, time.Minute, "the alert for one fires and is told", w.fires(ctx, down))
		if alerts, err := w.firing(ctx); err != nil || len(alerts) != 1 {
			t.Errorf("one trouble is one alert: %v, %v", alerts, err)
		}
		must(t, n.Kill("node-a"))
		eventually(t, time.Minute, "the alert for all fires and is told", w.fires(ctx, absent))
		for _, name := range fleetNodes {
			f.start(t, name)
		}
		eventually(t, time.Minute, "the alert for one ends and is told", w.ends(ctx, down))
		eventually(t, time.Minute, "the alert for all ends and is told", w.ends(ctx, absent))
		quiet(t)
	})
}
