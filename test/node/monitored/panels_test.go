package monitored

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/test/node"
)

// want is a series that a panel's query has to return: labels among its own, and a value.
type want struct {
	labels      map[string]string
	least, most float64
}

// is wants one value exactly.
func is(value float64, labels ...string) want { return between(value, value, labels...) }

func between(least, most float64, labels ...string) want {
	w := want{map[string]string{}, least, most}
	for i := 0; i < len(labels); i += 2 {
		w.labels[labels[i]] = labels[i+1]
	}
	return w
}

// panels asks Prometheus for the queries of dashboards.
type panels struct {
	w       *watch
	queries map[string]string // by name, with variables replaced
	asked   map[string]bool
}

// answers wants of each query the series that are named and, where all is set, no other.
func (p *panels) answers(ctx context.Context, all bool, wants map[string][]want) error {
	var errs []error
	for name, series := range wants {
		expr, ok := p.queries[name]
		if !ok {
			return fmt.Errorf("there is no panel %q", name)
		}
		p.asked[name] = true
		samples, err := p.w.instant(ctx, expr)
		if err != nil {
			return err
		}
		if all && len(samples) != len(series) {
			errs = append(errs, fmt.Errorf("%s: %d series, want %d: %v", name, len(samples), len(series), samples))
		}
		for _, w := range series {
			found := slices.IndexFunc(samples, func(s sample) bool { return within(w.labels, s.labels) })
			if found < 0 {
				errs = append(errs, fmt.Errorf("%s: no series with %v in %v", name, w.labels, samples))
			} else if value := samples[found].value; value < w.least || value > w.most || math.IsNaN(value) {
				errs = append(errs, fmt.Errorf("%s: %v is %v, want %v to %v", name, w.labels, value, w.least, w.most))
			}
		}
	}
	return errors.Join(errs...)
}

// TestPanels asks for every query of every panel on a real node while faults are known, and wants the value of these faults. Whoever adds a
// panel adds what it has to show.
func TestPanels(t *testing.T) {
	if testing.Short() {
		t.Skip("runs processes: make monitored")
	}
	ctx := t.Context()
	n := startNode(t, fullDisk)
	w := newWatch(n)
	must(t, n.MakeExamples(ctx))
	limited := n.Addr("ratelimit")
	must(t, os.MkdirAll(filepath.Join(n.Dir, "certs.d", limited), 0o755)) // known, and asked as any on loopback
	must(t, n.Registry().PushTag(ctx, "library/redis:7"))
	foreign, err := n.Registry().ForeignImage()
	must(t, err)
	must(t, n.Registry().Push(ctx, foreignTag, foreign))
	for _, image := range []string{n.Registry().Ref(foreignTag), n.SandboxImage()} {
		must(t, n.PullImage(ctx, image)) // so that none is new later, and too young to be collected
	}
	must(t, fillDisk(ctx, n))
	good, speaksHTTP, mirrored, expired, tokendown := n.RegistryAddr(), n.Addr("plain"), n.Addr("mirrored"), n.Addr("expired"), n.Addr("tokendown")
	deadURL, mirroredURL := "http://"+n.Addr("refused")+"/v2", "http://"+mirrored+"/v2"
	must(t, n.WriteHosts(mirrored, "http://"+mirrored, fmt.Sprintf("skip-verify = true\n[host.%q]\n", "http://"+n.Addr("refused"))))
	agent := func() error {
		return n.Spawn("agent", []string{
			agentProgram(t), "run", "--node-name", n.NodeName, "--kubeconfig", n.AgentKubeconfig(), "-r", n.CRISocket(), "--listen-address", w.at(9767), "--page-address=",
			"--socket", filepath.Join(n.Dir, "pullwatch.sock"), "--proxy-from=none", "--probe-interval=10s",
			"--rate-limit-image", limited + "/library/redis:7",
			"--kubelet-config", filepath.Join(n.Dir, "kubelet/config.json"), "--nodefs-path", filepath.Join(n.Dir, "kubelet"),
		})
	}
	begun := time.Now()
	must(t, w.start(ctx, map[string]string{n.NodeName: w.at(9767)}))
	must(t, agent())
	p := preparePanels(t, n, w)
	eventually(t, time.Minute, "Prometheus has the agent's series before anything fails", func() error {
		return p.answers(ctx, true, map[string][]want{
			"node: Streams of the API server": {is(1, "resource", "pods"), is(1, "resource", "nodes")},
			"node: Images":                    {is(float64(len(node.ExampleImages) + 2))},
		})
	})
	must(t, n.RemoveImage(ctx, n.Registry().Ref(foreignTag)))
	eventually(t, 2*time.Minute, "the panels show that an image is gone", func() error {
		return p.answers(ctx, true, map[string][]want{"node: Images": {is(float64(len(node.ExampleImages) + 1))}})
	})
	_, err = n.CreatePod(ctx, n.Pod("foreign", n.Registry().Ref(foreignTag)))
	must(t, err)

	never, err := node.FindBreakage("never")
	must(t, err)
	typo, err := node.FindBreakage("typo-in-tag")
	must(t, err)
	must(t, n.Break(ctx, never))
	must(t, n.Break(ctx, typo))
	_, err = n.CreatePod(ctx, n.Pod("behind-expired", expired+"/shop/web:1.27"))
	must(t, err)

	now := float64(time.Now().Add(time.Hour).UnixMilli())
	since := func(pod, cause, registry string) want {
		return between(float64(begun.Truncate(time.Second).UnixMilli()), now,
			"pod", pod, "namespace", "default", "cause", cause, "registry", registry, "node", n.NodeName)
	}
	waiting := []want{since("typo-in-tag", "not_found", good), since("never", "not_present", good), since("behind-expired", "tls", expired)}
	byCause := []want{
		is(1, "cause", "not_found", "scope", "workload"), is(1, "cause", "not_present", "scope", "workload"), is(1, "cause", "tls", "scope", "network"),
	}
	nodesBy := []want{is(1, "cause", "not_found"), is(1, "cause", "not_present"), is(1, "cause", "tls")}
	down := []string{speaksHTTP, expired, tokendown}
	each := func(registries []string, value want) (all []want) {
		for _, r := range registries {
			all = append(all, between(value.least, value.most, "registry", r))
		}
		return all
	}
	used := each([]string{good, speaksHTTP, mirrored, expired, tokendown, limited}, is(1))
	up := []string{good, mirrored, limited}
	reached := append(each(down, is(0)), each(up, is(1))...)
	unreached := append(each(down, is(1)), each(up, is(0))...)
	failedProbes := []want{
		between(1, 1000, "registry", speaksHTTP, "cause", "tls"), between(1, 1000, "registry", expired, "cause", "tls"),
		between(1, 1000, "registry", tokendown, "cause", "connection"),
	}
	ended := float64(certificateEnd(t, filepath.Join(n.Dir, "faults", "expired.crt")).UnixMilli())
	phases := []want{
		between(0, 5, "registry", good, "phase", "http"),
		between(1e-6, 5, "registry", expired, "phase", "tls"),
		between(1e-6, 5, "registry", tokendown, "phase", "token"),
	}
	eventually(t, 2*time.Minute, "the panels show registries that are broken and pods that wait", func() error {
		some := p.answers(ctx, false, map[string][]want{
			"fleet: Time to reach it, by phase": phases,
			"node: Time to reach it, by phase":  phases,
			"node: Failed attempts, by cause": {
				between(1, 1000, "cause", "not_found", "registry", good), between(1, 1000, "cause", "tls", "registry", expired),
			},
			"node: Conditions":                    {is(0, "type", "RegistryUnreachable"), is(0, "type", "ImagePullFailing")},
			"node: Node":                          {is(1, "container_runtime", "containerd", "kubelet_version", "v1.34.4", "node", n.NodeName)},
			"node: Findings in the configuration": {is(1, "registry", mirrored)},
		})
		disks, err := diskWants(ctx, n, float64(begun.UnixMilli()), now)
		if err != nil {
			return err
		}
		return errors.Join(some, p.answers(ctx, true, disks), p.answers(ctx, true, map[string][]want{
			"fleet: Nodes watched":                  {is(1)},
			"fleet: Nodes with failing pulls":       {is(1)},
			"fleet: Containers that wait":           {is(3)},
			"fleet: Registries not reached by all":  {is(3)},
			"fleet: Alerts":                         {is(8)}, // three registries out of reach, a certificate, a rate limit, and of disks: eviction or pressure, platform, sandbox image
			"fleet: Containers that wait, by cause": byCause,
			"fleet: Nodes, by cause":                nodesBy,
			"fleet: New failures, by cause":         nodesBy,
			"fleet: Who waits, why, since when":     waiting,
			"fleet: Registries A":                   used,
			"fleet: Registries B":                   unreached,
			"fleet: Registries C":                   unreached,
			"fleet: Nodes that cannot reach it":     each(down, is(1)),
			"fleet: Failed probes, by cause":        failedProbes,
			"fleet: Which nodes cannot reach which registry, and when they last did": each(down, is(0)), // never
			"fleet: Certificates":                  {between(ended, ended+999, "registry", expired)},
			"fleet: Dead mirrors":                  {is(1, "registry", mirrored, "url", deadURL)},
			"fleet: Agents, by version":            {is(1)},
			"node: Containers that wait":           {is(3)},
			"node: Who waits, why, since when":     waiting,
			"node: Containers that wait, by cause": byCause,
			"node: Reached":                        reached,
			"node: Endpoints": {
				is(0, "registry", mirrored, "url", deadURL), is(1, "registry", mirrored, "url", mirroredURL),
				// The harness names these as their own mirror.
				is(0, "registry", speaksHTTP, "url", "https://"+speaksHTTP+"/v2"), is(0, "registry", expired, "url", "https://"+expired+"/v2"),
			},
			"node: Failed probes, by cause":             failedProbes,
			"node: Who serves":                          {is(1, "registry", mirrored, "url", mirroredURL)},
			"node: Last reached":                        append(each(down, is(0)), each(up, between(float64(begun.UnixMilli()), now))...),
			"fleet: Rate limit left":                    {is(0, "registry", limited, "source", "anonymous")},
			"node: Rate limit left":                     {is(0, "registry", limited, "source", "anonymous")},
			"node: CRI calls, the slowest of a hundred": {between(1e-6, 30)},
			"node: Certificates":                        {between(ended, ended+999, "registry", expired)},
		}))
	})

	must(t, n.Kill(node.PartContainerd))
	eventually(t, 2*time.Minute, "the panels show a runtime that is dead", func() error {
		if err := p.answers(ctx, false, map[string][]want{
			"node: Conditions":               {is(1, "type", "ContainerRuntimeUnavailable"), is(0, "type", "RegistryUnreachable")},
			"node: Writes to the API server": {between(1, 1000, "write", "condition", "result", "ok"), is(0, "write", "condition", "result", "error")},
			"node: CRI calls that failed":    {between(1, 1000, "method", "Status", "code", "Unavailable")},
		}); err != nil {
			return err
		}
		return p.answers(ctx, true, map[string][]want{
			"node: Container runtime A": {is(0)},
			"node: Container runtime B": {is(0)},
			// That it is dead is what the first can tell; the others cannot tell anything.
			"node: Time since each check succeeded": {
				between(0, 30, "check", "runtime"), between(30, 600, "check", "images"), between(30, 600, "check", "disk"),
			},
		})
	})
	must(t, n.Kill("agent"))
	must(t, agent())
	eventually(t, time.Minute, "the panels show checks that never succeeded", func() error {
		return p.answers(ctx, true, map[string][]want{"fleet: Checks without success for 10 minutes": {
			is(1, "check", "runtime"), is(1, "check", "images"), is(1, "check", "disk"),
		}})
	})
	must(t, n.Kill(node.PartAPIServer))
	eventually(t, time.Minute, "the panels show streams that are lost", func() error {
		return p.answers(ctx, true, map[string][]want{"node: Streams of the API server": {is(0, "resource", "pods"), is(0, "resource", "nodes")}})
	})

	for name, expr := range p.queries {
		if !p.asked[name] {
			t.Errorf("%s: no fault is known to show in it: %s", name, expr)
		}
	}
}

// preparePanels replaces the variables as Grafana does: all of everything, but for the node.
func preparePanels(t *testing.T, n *node.Node, w *watch) *panels {
	t.Helper()
	boards, err := readDashboards()
	must(t, err)
	p := &panels{w: w, queries: make(map[string]string), asked: make(map[string]bool)}
	variables := strings.NewReplacer("$cluster", ".*", "$registry", ".*", "$node", n.NodeName, "$__rate_interval", "10m")
	for file, board := range boards {
		for _, q := range board.queries(file) {
			expr := variables.Replace(q.expr)
			if p.queries[q.name] != "" || strings.Contains(expr, "$") {
				t.Errorf("%s is there twice, or has a variable left: %s", q.name, expr)
			}
			p.queries[q.name] = expr
		}
	}
	return p
}

func certificateEnd(t *testing.T, file string) time.Time {
	t.Helper()
	block, _ := pem.Decode([]byte(read(t, file)))
	if block == nil {
		t.Fatalf("%s is no certificate", file)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	return certificate.NotAfter
}
