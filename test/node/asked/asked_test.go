package asked

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/test/node"
)

var (
	only  = flag.String("case", "", "regular expression: the cases to try")
	quick = flag.Bool("quick", false, "leave out what takes long")
	tell  = flag.Bool("tell", false, "print what is asked")
)

// way is a version and the way it pulls.
type way struct {
	name, version string
	table         string // with the registry settings
	local         bool   // use_local_image_pull
	want          func(Case) string
}

var ways = []way{
	{"1.6", node.Containerd16, `plugins."io.containerd.grpc.v1.cri".registry`, false, func(c Case) string { return cmp.Or(c.Asked16, c.Asked) }},
	{"2.4", node.Containerd24, `plugins."io.containerd.cri.v1.images".registry`, false, func(c Case) string { return cmp.Or(c.Asked24, c.Asked) }},
	{"2.4 local", node.Containerd24, `plugins."io.containerd.cri.v1.images".registry`, true, func(c Case) string { return cmp.Or(c.Local24, c.Asked24, c.Asked) }},
}

// TestAsked has the real containerd do the table again. The pulls of one configuration run at the same time.
func TestAsked(t *testing.T) {
	if testing.Short() {
		t.Skip("three containerds, which make e2e brings up")
	}
	match := regexp.MustCompile(*only)
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			n := start(t, way.version)
			lab := &lab{dir: n.Dir, proxy: &proxy{}}
			socket, err := net.Listen("tcp", n.Addr("proxy"))
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: lab.proxy}
			go func() { _ = server.Serve(socket) }()
			t.Cleanup(func() { _ = server.Close() })
			raw, err := os.ReadFile(n.ContainerdConfig())
			if err != nil {
				t.Fatal(err)
			}
			groups := map[string][]Case{}
			for _, c := range Cases() {
				if match.MatchString(c.Name) && (!c.Slow || !*quick) {
					groups[c.Setup] = append(groups[c.Setup], c)
				}
			}
			for _, setup := range slices.Sorted(maps.Keys(groups)) {
				tryGroup(t, n, lab, way, string(raw), groups[setup])
			}
		})
	}
}

// start brings up containerd with a /etc/containerd and a proxy of the test's own, and the certificates.
func start(t *testing.T, version string) *node.Node {
	t.Helper()
	n, err := node.Start(t.Context(), node.Options{RuntimeOnly: true, Containerd: version, Out: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Down(); err != nil {
			t.Error(err)
		}
	})
	if n.Parts.Containerd, err = ownEtc(n); err != nil {
		t.Fatal(err)
	}
	if err := writePKI(filepath.Join(n.Dir, "pki")); err != nil {
		t.Fatal(err)
	}
	return n
}

func dial(t *testing.T, n *node.Node) *cri.Client {
	t.Helper()
	client, err := cri.Dial(cri.Config{Runtime: n.CRISocket(), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// tryGroup tries the cases of one Setup. base is containerd's configuration as the harness wrote it.
func tryGroup(t *testing.T, n *node.Node, lab *lab, way way, base string, cases []Case) {
	own := `config_path = "` + n.Dir + `/certs.d"`
	top, registry, ok := strings.Cut(cases[0].Setup, "---\n")
	if !ok {
		top, registry = "", cmp.Or(cases[0].Setup, own)
	}
	var runs []*run
	for _, c := range cases {
		r, err := newRun(c, n.Dir)
		if err != nil {
			t.Fatal(err)
		}
		defer r.close()
		runs = append(runs, r)
		if err := r.write(n.Dir); err != nil {
			t.Fatal(err)
		}
		registry += "\n" + r.fill(c.Inline, n.Dir)
	}
	config := strings.NewReplacer("{registry}", way.table, "{dir}", n.Dir).Replace(top + strings.Replace(base, own, registry, 1))
	if way.local {
		config += "[" + strings.TrimSuffix(way.table, ".registry") + "]\nuse_local_image_pull = true\n"
	}
	if err := os.WriteFile(n.ContainerdConfig(), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := n.Restart(t.Context(), node.PartContainerd); err != nil {
		t.Fatal(err)
	}
	lab.client = dial(t, n)
	got := make([]string, len(runs))
	var all sync.WaitGroup
	slots := make(chan struct{}, 12)
	for i, r := range runs {
		all.Go(func() {
			if !r.Slow {
				slots <- struct{}{}
				defer func() { <-slots }()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			got[i] = lab.try(ctx, r)
		})
	}
	all.Wait()
	for i, r := range runs {
		t.Run(r.slug(), func(t *testing.T) {
			if *tell {
				fmt.Printf("@@ %s\n%s\n", r.Name, got[i])
			}
			if w := way.want(r.Case); got[i] != w {
				t.Errorf("asked\n%s\nwant\n%s", got[i], w)
			}
		})
	}
}

// ownEtc makes a program that starts containerd with an /etc/containerd of its own.
func ownEtc(n *node.Node) (string, error) {
	path, etc := filepath.Join(n.Dir, "containerd.sh"), filepath.Join(n.Dir, "etc")
	if err := os.MkdirAll(etc, 0o755); err != nil {
		return "", err
	}
	script := fmt.Sprintf("#!/bin/sh\nexec unshare -m sh -c 'mount --bind %s /etc/containerd && exec %s \"$@\"' containerd \"$@\"\n", etc, n.Parts.Containerd)
	return path, os.WriteFile(path, []byte(script), 0o755)
}

// writePKI makes the CA that {ca} is, a certificate for servers and clients, and a CA that signs nothing.
func writePKI(dir string) error {
	ca, err := node.NewAuthority("test CA", filepath.Join(dir, "ca.crt"))
	if err != nil {
		return err
	}
	if err := ca.Issue(filepath.Join(dir, "server"), "*.test", "registry-1.docker.io"); err != nil {
		return err
	}
	if _, err := node.NewAuthority("another CA", filepath.Join(dir, "other.crt")); err != nil {
		return err
	}
	crt, err := os.ReadFile(filepath.Join(dir, "server.crt"))
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(dir, "server.key"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "both.pem"), append(crt, key...), 0o600)
}
