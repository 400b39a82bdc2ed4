package probed

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/test/node"
)

// The image that all registries have.
const (
	repository = "shop/web"
	tag        = "1"
)

// The squid that cases name as proxy, and where it is.
const (
	proxyHost    = "proxy.test"
	proxyAddress = "127.6.0.1"
)

// lab is one containerd and all that it meets.
type lab struct {
	node         *node.Node
	version      string
	caFile       string
	ca, stranger *node.Authority
	signer       tls.Certificate // of tokens
	places       []*place
	closers      []io.Closer
	client       *cri.Client
}

// newLab brings up containerd, the servers of the cases, and the programs that they share. What of it is up is closed by close, whatever
// the error.
func newLab(ctx context.Context, n *node.Node, version string, cases []*Case) (l *lab, err error) {
	l = &lab{node: n, version: version, caFile: filepath.Join(n.Dir, "probed", "ca.crt")}
	if l.ca, err = node.NewAuthority("the tests' CA", l.caFile); err != nil {
		return l, err
	}
	if l.stranger, err = node.NewAuthority("another CA", filepath.Join(n.Dir, "probed", "other.crt")); err != nil {
		return l, err
	}
	if l.signer, err = l.ca.Certificate(&x509.Certificate{}); err != nil {
		return l, err
	}
	if err := n.Registry().PushTag(ctx, repository+":"+tag); err != nil {
		return l, err
	}
	for i, c := range cases {
		l.places = append(l.places, &place{Case: c, lab: l, address: addressOf(i), six: fmt.Sprintf("fd00:5::%x", i+1)})
	}
	if err := errors.Join(l.startNames(), l.startProxy()); err != nil {
		return l, err
	}
	for _, at := range l.places {
		if err := l.furnish(at); err != nil {
			return l, fmt.Errorf("%s: %w", at.Name, err)
		}
	}
	script := filepath.Join(n.Dir, "containerd.sh")
	text := fmt.Sprintf("#!/bin/sh\n. %s\nexec %s \"$@\"\n", l.environment(), n.Parts.Containerd)
	n.Parts.Containerd = script
	return l, os.WriteFile(script, []byte(text), 0o755)
}

// furnish writes a case's configuration and opens its ports.
func (l *lab) furnish(at *place) error {
	name, text := "hosts.toml", at.fill(at.Hosts)
	if text == "" {
		ca, err := os.ReadFile(l.caFile)
		if err != nil {
			return err
		}
		name, text = "ca.crt", string(ca)
	}
	dir := filepath.Join(l.node.Dir, "certs.d", at.host())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		return err
	}
	for port, serve := range at.Listen {
		if err := at.open(port, serve); err != nil {
			return err
		}
	}
	if at.Real == nil {
		return nil
	}
	return l.startReal(at)
}

// start starts a program of the test's, with a configuration file, and returns when it takes connections at ready.
func (l *lab) start(name, config, ready string, argv func(config string) []string, env ...string) error {
	file := filepath.Join(l.node.Dir, "probed", name+".conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return err
	}
	if err := l.node.Spawn(name, argv(file), env...); err != nil {
		return err
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", ready, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) || l.node.PID(name) == 0 {
			log, _ := os.ReadFile(l.node.LogFile(name))
			return fmt.Errorf("%s does not listen: %w\n%s", name, err, log)
		}
	}
}

// environment is the file from which containerd has its proxy.
func (l *lab) environment() string { return filepath.Join(l.node.Dir, "environment") }

// setUp has containerd started anew for the cases of one setup.
func (l *lab) setUp(ctx context.Context, c *Case) error {
	text := "unset HTTP_PROXY HTTPS_PROXY NO_PROXY\n"
	if c.Proxy != "" {
		text += fmt.Sprintf("export HTTP_PROXY=%[1]q HTTPS_PROXY=%[1]q\n", c.Proxy)
	}
	if err := errors.Join(os.WriteFile(l.environment(), []byte(text), 0o644), resolveBy(cmp.Or(c.Resolver, resolver))); err != nil {
		return err
	}
	if err := l.node.Restart(ctx, node.PartContainerd); err != nil {
		return err
	}
	var err error
	if l.client != nil {
		err = l.client.Close()
	}
	client, dialErr := cri.Dial(cri.Config{Runtime: l.node.CRISocket()})
	l.client = client
	return errors.Join(err, dialErr)
}

// getenv reads the environment of the containerd that runs.
func (l *lab) getenv() (func(string) string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", l.node.PID(node.PartContainerd)))
	return func(name string) string {
		for pair := range strings.SplitSeq(string(text), "\x00") {
			if value, ok := strings.CutPrefix(pair, name+"="); ok {
				return value
			}
		}
		return ""
	}, err
}

func (l *lab) close() {
	if l.client != nil {
		_ = l.client.Close()
	}
	for _, at := range l.places {
		at.close()
	}
	for _, c := range l.closers {
		_ = c.Close()
	}
}
