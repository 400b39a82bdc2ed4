package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Credentials of the private registry.
const (
	PrivateUser     = "pullwatch"
	PrivatePassword = "correct-horse"
)

// No blob cache: a tag or blob that a test changes on disk is served changed at once.
const registryConfig = `version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: %q}
  delete: {enabled: true}
http: {addr: %q}
`

func (n *Node) prepareRegistries() error {
	plain := n.Registry()
	private := n.PrivateRegistry()
	hash, err := bcrypt.GenerateFromPassword([]byte(PrivatePassword), bcrypt.MinCost)
	if err != nil {
		return err
	}
	htpasswd := filepath.Join(n.Dir, "registry", "htpasswd")
	return errors.Join(
		os.MkdirAll(plain.storage, 0o755), os.MkdirAll(private.storage, 0o755),
		writeFile(filepath.Join(n.Dir, "registry", PartRegistry+".yml"), fmt.Appendf(nil, registryConfig, plain.storage, plain.Addr), 0o644),
		writeFile(filepath.Join(n.Dir, "registry", PartPrivate+".yml"),
			fmt.Appendf(nil, registryConfig+"auth: {htpasswd: {realm: private, path: %q}}\n", private.storage, private.Addr, htpasswd), 0o644),
		writeFile(htpasswd, fmt.Appendf(nil, "%s:%s\n", PrivateUser, hash), 0o600),
		n.WriteHosts(plain.Addr, "http://"+plain.Addr, ""),
		n.WriteHosts(private.Addr, "http://"+private.Addr, ""),
	)
}

func (n *Node) registry(part, addr string) command {
	ok := httpOK("http://" + addr + "/") // not /v2/: the private one answers 401 there
	return command{
		argv:    []string{n.Parts.Registry, "serve", filepath.Join(n.Dir, "registry", part+".yml")},
		timeout: 20 * time.Second,
		ready:   ok,
	}
}

// WriteHosts tells containerd by which URL to ask for a registry; lines are added to it. It is read at each pull.
func (n *Node) WriteHosts(host, server, lines string) error {
	conf := fmt.Sprintf("server = %q\n%s", server, lines)
	// Containerd 1.6 ignores a server without a host section. With one, a failed pull is tried twice, so it is left
	// out where it is not needed: a registry on loopback is asked by HTTP anyway.
	if !strings.HasPrefix(host, "127.") || !strings.HasPrefix(server, "http:") {
		conf += fmt.Sprintf("[host.%q]\n%s", server, lines)
	}
	return writeFile(filepath.Join(n.Dir, "certs.d", host, "hosts.toml"), []byte(conf), 0o644)
}
