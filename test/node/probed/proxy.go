package probed

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/pullwatch/pullwatch/test/node"
)

// What containerd's environment names as proxy.
var (
	squid           = fmt.Sprintf("http://%s:%s@%s:3128", node.PrivateUser, node.PrivatePassword, proxyHost)
	squidAsNobody   = "http://" + proxyHost + ":3128"
	proxyGone       = "http://" + proxyHost + ":3129"
	proxyMute       = "http://" + proxyHost + ":3130"
	proxyVanished   = "http://" + blackHole + ":3128"
	proxyWithNoName = "http://no-such-proxy.test:3128"
)

// squidConfig lets those in who are in the htpasswd file of the node's private registry, and nobody to the hosts that it denies.
const squidConfig = `http_port %[1]s:3128
visible_hostname proxy.test
dns_nameservers %[2]s
auth_param basic program /usr/lib/squid/basic_ncsa_auth %[3]s
auth_param basic children 1
acl known proxy_auth REQUIRED
acl denied dstdomain .denied-by-the-proxy.test .plain-http-denied-by-the-proxy.test
http_access deny denied
http_access allow known
http_access deny all
connect_timeout 3 seconds
connect_retries 0
cache deny all
access_log none
cache_store_log none
cache_log /dev/null
pid_filename none
cache_effective_user proxy
shutdown_lifetime 0 seconds
pinger_enable off
coredump_dir none
`

// startProxy starts squid, and beside it a port that takes connections and says nothing.
func (l *lab) startProxy() error {
	socket, err := net.Listen("tcp", proxyAddress+":3130")
	if err != nil {
		return err
	}
	l.closers = append(l.closers, socket)
	go raw(mute)(nil, socket)
	text, err := os.ReadFile(filepath.Join(l.node.Dir, "registry", "htpasswd"))
	if err != nil {
		return err
	}
	htpasswd := filepath.Join(l.node.Dir, "probed", "htpasswd")
	if err := os.WriteFile(htpasswd, text, 0o644); err != nil { // squid's helper is not root
		return err
	}
	return l.start("squid", fmt.Sprintf(squidConfig, proxyAddress, resolver, htpasswd), proxyAddress+":3128", func(config string) []string {
		return []string{"squid", "-N", "-d", "1", "-f", config}
	})
}
