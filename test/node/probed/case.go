// Package probed holds pkg/probe against containerd, fault by fault: for a table of broken registries, networks and proxies it asks the
// probe what is wrong, has the real containerd pull through the same configuration, and holds both against a cause that was written by
// hand. The programs are real where there is one (docker-registry, distribution, squid, dnsmasq), and all of it happens in a network
// namespace of the test's own. docs/probe-faults.md is what they said.
package probed

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pullwatch/pullwatch/pkg/cause"
)

// What comes of a probe or a pull, where it is no cause.
const (
	works  = "works"
	goesOn = "goes on" // neither fails nor succeeds
)

// Case is one fault. Each has a host of its own at an address of its own; in its texts {host} is that name, {address} and {six} its
// addresses, and {ca} the file of the CA that signs the certificates.
type Case struct {
	Topic, Name string
	// Cause is what is wrong; None where the pull works.
	Cause cause.Cause

	// Listen is what listens at the host's address, by port; Real is a real registry at its port 443.
	Listen map[string]server
	Real   *real
	// Names are dnsmasq's lines for the host, in place of one that gives it its IPv4 address.
	Names string
	// Hosts is the host's hosts.toml. Where it is empty the CA lies in the host's directory as for Docker.
	Hosts string
	// Proxy is what containerd's environment names as HTTP proxy; resolver is the name server's address.
	Proxy, Resolver string
	User, Password  string // the pull's
	Tag             string // of the image that is pulled; default the one that is there

	// What is said where that is not Cause: the probe's and both containerds' outcome. Note is why.
	Probe, Runtime, Runtime16, Runtime24 string
	Note                                 string
}

var noName = regexp.MustCompile("[^a-z0-9]+")

// host is the registry's name.
func (c *Case) host() string {
	return strings.Trim(noName.ReplaceAllString(strings.ToLower(c.Name), "-"), "-") + ".test"
}

// image is the reference that is pulled.
func (c *Case) image() string { return c.host() + "/" + repository + ":" + cmp.Or(c.Tag, tag) }

// setup is what containerd is started for.
func (c *Case) setup() string { return c.Proxy + " " + c.Resolver }

// wanted is what is to come of a pull with that version.
func (c *Case) wanted(version string) string {
	byVersion := map[string]string{"1.6": c.Runtime16, "2.4": c.Runtime24}
	return cmp.Or(byVersion[version], c.Runtime, outcome(c.Cause))
}

// wantedProbe is what is to come of a probe: a registry that refuses this pull is there, and that is all a probe asks.
func (c *Case) wantedProbe() string {
	switch {
	case c.Probe != "":
		return c.Probe
	case c.Cause.Scope() == cause.ScopeNetwork, c.Cause.Scope() == cause.ScopeRegistry:
		return outcome(c.Cause)
	}
	return works
}

func outcome(c cause.Cause) string { return cmp.Or(c.String(), works) }

// Cases are all of them, topic by topic.
func Cases() []*Case {
	var all []*Case
	for _, group := range [][]Case{registriesThatWork, names, connections, handshakes, answers, redirects, tokens, proxies, mirrors} {
		for i := range group {
			all = append(all, &group[i])
		}
	}
	return all
}

// addressOf is the address of the host of a case. Loopback is a whole network.
func addressOf(i int) string { return fmt.Sprintf("127.7.%d.%d", i/200, i%200+1) }

// setups are the different ones of some cases, in the order in which they are tried.
func setups(all []*Case) (list []string) {
	for _, c := range all {
		if !slices.Contains(list, c.setup()) {
			list = append(list, c.setup())
		}
	}
	return list
}
