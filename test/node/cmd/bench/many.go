package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/test/node"
)

const (
	manyRegistries = 200
	deadOf         = 5 // each so-many-th registry does not answer
	manyRest       = 12 * time.Minute
)

// many measures an agent that probes many registries at the default interval beside one that probes a single one, in the same minutes.
func (b *run) many(ctx context.Context, out *strings.Builder) error {
	ca, err := node.NewAuthority("the benchmark's CA", filepath.Join(b.n.Dir, "many.crt"))
	if err != nil {
		return err
	}
	certificate, err := ca.Certificate(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		return err
	}
	var names []string
	for i := range manyRegistries {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
		s.StartTLS()
		name := strings.TrimPrefix(s.URL, "https://")
		names = append(names, name)
		if i%deadOf == deadOf-1 {
			s.Close()
		} else {
			defer s.Close()
		}
		dir := filepath.Join(b.n.Dir, "certs.d", name)
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "hosts.toml"),
			fmt.Appendf(nil, "server = \"https://%s\"\nca = %q\n[host.\"https://%s\"]\nca = %q\n", name, filepath.Join(b.n.Dir, "many.crt"), name, filepath.Join(b.n.Dir, "many.crt")), 0o644)); err != nil {
			return err
		}
	}
	sides := []struct {
		part       string
		excluded   []string
		goroutines int
		begin, end node.Usage
	}{{part: "one", excluded: names[1:]}, {part: "many"}} // the runtime's configuration names them all
	for i := range sides {
		side := &sides[i]
		socket := filepath.Join(b.n.Dir, side.part+".sock")
		argv := []string{b.bin, "run", "--standalone", "-r", b.n.CRISocket(), "--listen-address=", "--socket", socket, "--proxy-from=none",
			"--max-probed-registries", fmt.Sprint(manyRegistries)}
		for _, name := range side.excluded {
			argv = append(argv, "--exclude-registry", name)
		}
		if err := b.n.Spawn(side.part, argv); err != nil {
			return err
		}
	}
	for i := range 4 {
		if err := node.Sleep(ctx, manyRest/4); err != nil {
			return err
		}
		for n := range sides {
			u, err := node.UsageOf(b.n.PID(sides[n].part))
			if err != nil {
				return err
			}
			if i == 1 {
				sides[n].begin = u
			}
			sides[n].end = u
		}
		b.progress.Say("%d registries for %s of %s", manyRegistries, manyRest/4*time.Duration(i+1), manyRest)
	}
	fmt.Fprintf(out, "\n## Many registries\n\nTwo agents without an API server, on the same node in the same %s, at the default interval; one of %d registries does not answer, the others do so over\nTLS on loopback. CPU is that of the second half. The goals are 10 ms/s (1%% of a core) and 8 MiB more than with one registry.\n\n| | 1 registry | %d registries |\n|---|---|---|\n",
		manyRest, deadOf, manyRegistries)
	for i := range sides {
		if sides[i].goroutines, err = goroutines(ctx, filepath.Join(b.n.Dir, sides[i].part+".sock")); err != nil {
			return err
		}
	}
	one, all := sides[0], sides[1]
	row := func(name, format string, a, b any) {
		fmt.Fprintf(out, "| %s | "+format+" | "+format+" |\n", name, a, b)
	}
	row("anonymous memory", "%.1f MiB", node.MiB(one.end.Anonymous), node.MiB(all.end.Anonymous))
	row("resident memory", "%.1f MiB", node.MiB(one.end.Resident), node.MiB(all.end.Resident))
	cpu := func(begin, end node.Usage) float64 {
		return (end.CPU - begin.CPU).Seconds() * 1000 / (manyRest / 2).Seconds()
	}
	row("CPU", "%.2f ms/s", cpu(one.begin, one.end), cpu(all.begin, all.end))
	row("goroutines", "%d", one.goroutines, all.goroutines)
	row("descriptors", "%d", one.end.Descriptors, all.end.Descriptors)
	return nil
}

// goroutines asks an agent how many it has.
func goroutines(ctx context.Context, socket string) (n int, err error) {
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/debug/pprof/goroutine?debug=1", nil)
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil {
		_, err = fmt.Sscanf(string(text), "goroutine profile: total %d", &n)
	}
	return n, err
}
