package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/pkg/probe"
	"github.com/pullwatch/pullwatch/pkg/registries"
	"github.com/pullwatch/pullwatch/test/node"
)

// proberCommand has this program do nothing but probes: prober LISTEN CA URL.
const proberCommand = "prober"

// probePeer is what is measured beside it, in rounds that take turns.
const (
	probePeer   = "prometheus-blackbox-exporter"
	probeRounds = 8
	probesEach  = 50 // a round
)

// tlsRegistry is Debian's registry, over TLS, that lets everybody in.
const tlsRegistry = `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %q}}
http: {addr: %q, tls: {certificate: %q, key: %q}}
`

const blackboxConfig = `modules:
  registry:
    prober: http
    timeout: 10s
    http: {preferred_ip_protocol: ip4, valid_status_codes: [200, 401], tls_config: {ca_file: %q}}
`

// prober answers each request with one probe, as the peer does.
func prober(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%s wants an address, a file and a URL", proberCommand)
	}
	ca, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	u, err := url.Parse(args[2])
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	endpoint := &registries.Endpoint{URL: *u, Registry: u.Host, Resolve: true, Pull: true, TLS: &tls.Config{RootCAs: roots}}
	p := &probe.Prober{Proxying: registries.NoProxying("the benchmark"), UserAgent: "pullwatch/bench"}
	server := &http.Server{Addr: args[0], ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		report := p.Probe(r.Context(), endpoint, probe.Anywhere)
		if report.OK == nil || !*report.OK {
			w.WriteHeader(http.StatusBadGateway)
		}
		_ = json.NewEncoder(w).Encode(report)
	})}
	return server.ListenAndServe()
}

// probes measures a probe of a healthy registry beside the peer's.
func (b *run) probes(ctx context.Context, out *strings.Builder) error {
	if err := node.EnsurePrograms(ctx, b.progress, map[string]string{probePeer: probePeer}); err != nil {
		return err
	}
	dir := filepath.Join(b.n.Dir, "bench")
	ca, err := node.NewAuthority("the benchmark's CA", filepath.Join(dir, "ca.crt"))
	if err != nil {
		return err
	}
	base := filepath.Join(dir, "registry")
	var addresses [3]string
	for i := range addresses {
		if addresses[i], err = node.FreeAddress(); err != nil {
			return err
		}
	}
	registry, own, peer := addresses[0], addresses[1], addresses[2]
	self, err := os.Executable()
	if err := errors.Join(
		err, ca.Issue(base), os.MkdirAll(filepath.Join(dir, "storage"), 0o755),
		os.WriteFile(base+".yml", fmt.Appendf(nil, tlsRegistry, filepath.Join(dir, "storage"), registry, base+".crt", base+".key"), 0o644),
		os.WriteFile(filepath.Join(dir, "blackbox.yml"), fmt.Appendf(nil, blackboxConfig, filepath.Join(dir, "ca.crt")), 0o644),
		b.n.Spawn("tls-registry", []string{b.n.Parts.Registry, "serve", base + ".yml"}),
		b.n.Spawn(proberCommand, []string{self, proberCommand, own, filepath.Join(dir, "ca.crt"), "https://" + registry + "/v2"}),
		b.n.Spawn(probePeer, []string{"/usr/bin/" + probePeer, "--config.file", filepath.Join(dir, "blackbox.yml"), "--web.listen-address", peer, "--log.level", "error"}),
	); err != nil {
		return err
	}
	sides := []struct {
		part, url, want string
		wall            []time.Duration
		cpu             time.Duration
	}{
		{part: proberCommand, url: "http://" + own + "/", want: `"ok":true`},
		{part: probePeer, url: "http://" + peer + "/probe?module=registry&target=" + url.QueryEscape("https://"+registry+"/v2/"), want: "\nprobe_success 1\n"},
	}
	ask := func(url, want string) error {
		var text strings.Builder
		err := fetch(ctx, url, &text)
		if err == nil && !strings.Contains(text.String(), want) {
			err = fmt.Errorf("%s: no %q in\n%s", url, want, text.String())
		}
		return err
	}
	for i := range sides {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) { // ready, and warm
			if err := ask(sides[i].url, sides[i].want); err == nil {
				break
			} else if time.Now().After(end) {
				return err
			}
		}
	}
	for round := range probeRounds * len(sides) {
		side := &sides[round%len(sides)]
		before, err := node.UsageOf(b.n.PID(side.part))
		if err != nil {
			return err
		}
		for range probesEach {
			begin := time.Now()
			if err := ask(side.url, side.want); err != nil {
				return err
			}
			side.wall = append(side.wall, time.Since(begin))
		}
		after, err := node.UsageOf(b.n.PID(side.part))
		if err != nil {
			return err
		}
		side.cpu += after.CPU - before.CPU
	}
	fmt.Fprintf(out, "\n## A probe\n\n`pkg/probe` and Debian's `%s` ask the same registry (Debian's, over TLS on loopback, healthy), in rounds of %d that take\nturns; each probe is a request to the program that makes it, and its answer is read. The goal is at most 1.2 times the CPU, and no more time.\n\n"+
		"| %d probes | pullwatch | %s | ratio |\n|---|---|---|---|\n", probePeer, probesEach, probeRounds*probesEach, probePeer)
	ratio := func(name string, of func(i int) time.Duration) {
		ours, theirs := of(0), of(1)
		fmt.Fprintf(out, "| %s | %s | %s | %.2f |\n", name, ours.Round(10*time.Microsecond), theirs.Round(10*time.Microsecond), float64(ours)/float64(theirs))
	}
	ratio("CPU of one", func(i int) time.Duration { return sides[i].cpu / (probeRounds * probesEach) })
	for i := range sides {
		slices.Sort(sides[i].wall)
	}
	ratio("median time", func(i int) time.Duration { return sides[i].wall[len(sides[i].wall)/2] })
	ratio("90th of 100", func(i int) time.Duration { return sides[i].wall[len(sides[i].wall)*90/100] })
	return nil
}

// benchAlone is one section, on a node without Kubernetes.
func benchAlone(ctx context.Context, bin string, section func(*run, context.Context, *strings.Builder) error) (string, error) {
	n, err := node.Start(ctx, node.Options{RuntimeOnly: true, Out: os.Stderr})
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = section(&run{n: n, bin: bin, progress: node.NewProgress(os.Stderr)}, ctx, &out)
	return out.String(), errors.Join(err, n.Down())
}
