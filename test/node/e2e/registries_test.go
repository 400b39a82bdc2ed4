package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"

	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/test/node"
)

// named is a registry by a name, which the test's own name server knows.
const named = "registry.test"

// TestRegistries has a mirror die and come back, a registry, and the node's resolver: the first two are in metrics and `probe`, and only the
// last is this node's fault. Then pull secrets are wrong.
func TestRegistries(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	n := startNode(t, node.Options{Containerd: node.Containerd24, Kubelet: node.Kubelet134})
	plain, private := n.RegistryAddr(), n.PrivateRegistry().Addr
	_, port, err := net.SplitHostPort(plain)
	must(t, err)
	byName := named + ":" + port

	resolver := newResolver(t)
	mirror := newMirror(t, plain)
	must(t, n.WriteHosts(plain, "http://"+plain, fmt.Sprintf("[host.%q]\n", "http://"+mirror.address)))
	must(t, n.WriteHosts(byName, "http://"+byName, ""))

	a := startAgent(t, n, "--probe-interval=10s", "--image-probe-interval=10s", "--pull-secrets", "--proxy-from=none", "--containerd-config="+n.ContainerdConfig())
	must(t, n.Kill(agentPart)) // and again, with a resolver of its own
	a.around = []string{"unshare", "-m", "sh", "-c", "mount --bind " + resolver.conf + " /etc/resolv.conf && exec \"$@\"", "agent"}
	a.start(t)

	unreachable := func(status corev1.ConditionStatus) func() error {
		return is(ctx, n, health.RegistryUnreachable, status)
	}
	for _, registry := range []string{plain, private, byName} {
		eventually(t, time.Minute, registry+" is up", a.registryUp(registry, 1))
	}
	eventually(t, time.Minute, "the condition is False", unreachable(corev1.ConditionFalse))

	t.Run("a mirror dies and comes back", func(t *testing.T) {
		eventually(t, time.Minute, "the mirror serves", a.series(1, "pullwatch_registry_serving_endpoint_info", `registry="`+plain+`"`, `url="http://`+mirror.address+`/v2"`))
		mirror.stop()
		eventually(t, time.Minute, "the mirror is down", a.series(0, "pullwatch_registry_endpoint_up", `registry="`+plain+`"`, `url="http://`+mirror.address+`/v2"`))
		eventually(t, time.Second, "the origin serves", a.series(1, "pullwatch_registry_serving_endpoint_info", `registry="`+plain+`"`, `url="http://`+plain+`/v2"`))
		eventually(t, time.Second, "the registry is up all the same", a.registryUp(plain, 1))
		text, code := a.probe(ctx, t, plain)
		if !strings.Contains(text, "http://"+mirror.address+"/v2 does not serve (connection)") || !strings.Contains(text, "every pull waits for it") || code != 0 {
			t.Errorf("exit %d, and probe does not say what the mirror costs:\n%s", code, text)
		}
		if _, err := n.CreatePod(ctx, n.Pod("past-a-dead-mirror", n.Registry().Ref("shop/none:1"))); err != nil {
			t.Fatal(err)
		}
		mirror.start(t)
		eventually(t, time.Minute, "the mirror serves again", a.series(1, "pullwatch_registry_serving_endpoint_info", `registry="`+plain+`"`, `url="http://`+mirror.address+`/v2"`))
	})

	t.Run("one registry dies", func(t *testing.T) {
		must(t, n.Kill(node.PartPrivate))
		died := time.Now()
		eventually(t, 15*time.Second, "it is down in the metrics within an interval", a.registryUp(private, 0))
		eventually(t, time.Second, "its cause is counted", a.atLeast(1, "pullwatch_registry_probe_failures_total", `registry="`+private+`"`, `cause="connection"`))
		if text, code := a.probe(ctx, t, private); code != 1 || !strings.Contains(text, "NOT reached") || !strings.Contains(text, "tcp    FAILED") {
			t.Errorf("exit %d:\n%s", code, text)
		}
		// Longer than the hold of the condition: it is everybody's trouble, and not this node's.
		for time.Since(died) < 150*time.Second {
			if err := unreachable(corev1.ConditionFalse)(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
		}
		must(t, n.Restart(ctx, node.PartPrivate))
		eventually(t, 30*time.Second, "it is back", a.registryUp(private, 1))
	})

	t.Run("the resolver dies", func(t *testing.T) {
		resolver.stop()
		eventually(t, 30*time.Second, "the registry by its name is down", a.registryUp(byName, 0))
		eventually(t, 4*time.Minute, "the condition is True", unreachable(corev1.ConditionTrue))
		c, err := condition(ctx, n, string(health.RegistryUnreachable))
		if err != nil || c.Reason != "NameResolutionFails" || !strings.Contains(c.Message, byName) {
			t.Errorf("%+v, %v", c, err)
		}
		resolver.start(t)
		eventually(t, 2*time.Minute, "the condition is False", unreachable(corev1.ConditionFalse))
		eventually(t, time.Second, "the registry by its name is up", a.registryUp(byName, 1))
	})

	t.Run("pull secrets", func(t *testing.T) { testPullSecrets(t, a) }) // the last: it pulls from the registry that has died above
}

// probe runs `pullwatch probe` as the agent runs.
func (a *agent) probe(ctx context.Context, t *testing.T, registry string) (text string, code int) {
	t.Helper()
	cmd := exec.CommandContext(ctx, a.bin, "probe", "-r", a.n.CRISocket(), "--socket", a.socket, "--proxy-from=none", "--containerd-config", a.n.ContainerdConfig(), registry)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func (a *agent) registryUp(registry string, want float64) func() error {
	return a.series(want, "pullwatch_registry_up", `registry="`+registry+`"`)
}

// series wants one series with a value.
func (a *agent) series(want float64, name string, labels ...string) func() error {
	return func() error {
		m, err := a.metrics()
		if err != nil {
			return err
		}
		if sum, series := m.Sum(name, labels...); series != 1 || sum != want {
			return fmt.Errorf("%s%v is %v in %d series, want %v", name, labels, sum, series, want)
		}
		return nil
	}
}

func (a *agent) atLeast(least float64, name string, labels ...string) func() error {
	return func() error {
		m, err := a.metrics()
		if err != nil {
			return err
		}
		if sum, _ := m.Sum(name, labels...); sum < least {
			return fmt.Errorf("%s%v is %v", name, labels, sum)
		}
		return nil
	}
}

// mirror is a proxy in front of a registry.
type mirror struct {
	address string
	target  *url.URL
	server  *http.Server
}

func newMirror(t *testing.T, registry string) *mirror {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	m := &mirror{address: l.Addr().String(), target: &url.URL{Scheme: "http", Host: registry}}
	m.serve(l)
	t.Cleanup(m.stop)
	return m
}

func (m *mirror) serve(l net.Listener) {
	m.server = &http.Server{Handler: httputil.NewSingleHostReverseProxy(m.target)}
	go func(s *http.Server) { _ = s.Serve(l) }(m.server)
}

func (m *mirror) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", m.address)
	must(t, err)
	m.serve(l)
}

func (m *mirror) stop() { _ = m.server.Close() }

// resolver is a name server that knows one name, at an address of loopback that is its own.
type resolver struct {
	conf, address string
	socket        net.PacketConn
}

func newResolver(t *testing.T) *resolver {
	t.Helper()
	r := &resolver{conf: filepath.Join(t.TempDir(), "resolv.conf"), address: fmt.Sprintf("127.53.%d.%d", os.Getpid()>>8&0xff, os.Getpid()&0xff)}
	must(t, os.WriteFile(r.conf, []byte("nameserver "+r.address+"\noptions timeout:1 attempts:1\n"), 0o644))
	r.start(t)
	t.Cleanup(r.stop)
	return r
}

func (r *resolver) start(t *testing.T) {
	t.Helper()
	socket, err := net.ListenPacket("udp", r.address+":53")
	must(t, err)
	r.socket = socket
	go func() {
		question := make([]byte, 1500)
		for {
			size, from, err := socket.ReadFrom(question)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(question[:size]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Additionals = true, nil
			switch {
			case q.Name.String() != named+".":
				m.RCode = dnsmessage.RCodeNameError
			case q.Type == dnsmessage.TypeA:
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
				}}
			}
			if answer, err := m.Pack(); err == nil {
				_, _ = socket.WriteTo(answer, from)
			}
		}
	}()
}

func (r *resolver) stop() { _ = r.socket.Close() }
