package probe

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Reach is which addresses a probe may connect to. Names of registries come from tenants, and a name may resolve to anything: the agent has
// the node's network and must not be made to knock at doors that the tenant cannot reach.
type Reach int

const (
	// Anywhere is for what the runtime's configuration or the operator names.
	Anywhere Reach = iota
	// NotThisNode refuses loopback, link-local (with it the metadata services) and other addresses that are no registry's. It is for names that only
	// pods give.
	NotThisNode
	// PublicOnly refuses private addresses too. It is where a public registry sends the probe: its token service, its redirects.
	PublicOnly
)

// metadata are the metadata services of clouds that are not link-local.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
	netip.MustParseAddr("fd00:ec2::23"),    // AWS, identities of pods
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("168.63.129.16"),   // Azure
	netip.MustParseAddr("192.0.0.192"),     // Oracle
	netip.MustParseAddr("fd20:ce::254"),    // Google
}

// shared is the space of carriers' NAT, 100.64.0.0/10 (RFC 6598), which clusters use as private.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// refusedError is an address that a probe does not connect to.
type refusedError struct {
	address netip.Addr
	reach   Reach
}

func (e *refusedError) Error() string {
	if e.reach == PublicOnly {
		return fmt.Sprintf("address %s is not asked: a public registry names it, and it is private", e.address)
	}
	return fmt.Sprintf("address %s is not asked: only a pod names this registry, and the address is this node's own, link-local or a metadata service's", e.address)
}

// allows tells whether an address may be connected to.
func (r Reach) allows(a netip.Addr) error {
	a = a.Unmap()
	refused := a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) ||
		slices.Contains(metadata, a)
	switch r {
	case Anywhere:
		return nil
	case NotThisNode:
		refused = refused || ownAddress(a)
	case PublicOnly:
		refused = refused || private(a)
	}
	if refused {
		return &refusedError{a, r}
	}
	return nil
}

// private tells whether an address is not of the public network.
func private(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || shared.Contains(a)
}

// servicesInterface is where kube-proxy puts the addresses of all Services of the cluster in its mode ipvs: they are no node's.
const servicesInterface = "kube-ipvs0"

// ownAddress tells whether this machine has an address: what listens there may trust its own node more than others. In a pod without the node's network
// the node's addresses are not seen, and are no nearer to this program than to any other pod.
func ownAddress(a netip.Addr) bool {
	own, err := net.InterfaceAddrs() // all in one question: a node has an interface for each pod
	if err != nil {
		return true // rather one registry that only a pod names too few
	}
	return among(own, a) && !serviceAddress(a)
}

func serviceAddress(a netip.Addr) bool {
	i, err := net.InterfaceByName(servicesInterface)
	if err != nil {
		return false
	}
	services, err := i.Addrs()
	return err == nil && among(services, a)
}

func among(all []net.Addr, a netip.Addr) bool {
	return slices.ContainsFunc(all, func(of net.Addr) bool {
		prefix, err := netip.ParsePrefix(of.String())
		return err == nil && prefix.Addr().Unmap().WithZone("") == a.WithZone("")
	})
}
