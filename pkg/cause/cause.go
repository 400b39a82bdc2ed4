// Package cause holds the closed list of reasons why an image cannot be pulled, and reads them out of the texts that kubelets and
// container runtimes write.
//
// It promises: no I/O, no state, no allocation on the way to a verdict, and a list that is only ever appended to once released,
// because its names are metric label values, condition reasons and runbook anchors. A cause names the root and not the wrapper
// around it; a text that is no pull failure has no cause.
package cause

import "fmt"

// Cause is why an image cannot be pulled. The zero value is None.
type Cause uint8

// The closed list. Its order is that of docs/causes.md.
const (
	None Cause = iota // no pull failure at all
	InvalidReference
	NotFound
	PlatformMismatch
	UnsupportedFormat
	NotPresent
	PolicyRejected
	AccessDenied
	Unauthorized
	CredentialsExpired
	SecretMissing
	RateLimited
	RegistryError
	CorruptContent
	DNS
	Connection
	TLS
	Proxy
	Timeout
	DiskFull
	UnpackFailed
	RuntimeUnavailable
	RuntimeConfig
	Throttled
	Canceled
	Unknown
)

// Scope says who has to act on a cause.
type Scope string

// Who has to act: whoever wrote the pod, holds the credentials, runs the registry, the network or the node.
const (
	ScopeWorkload    Scope = "workload"
	ScopeCredentials Scope = "credentials"
	ScopeRegistry    Scope = "registry"
	ScopeNetwork     Scope = "network"
	ScopeNode        Scope = "node"
	ScopeUnknown     Scope = "unknown"
)

// info is one row of the table from which metric labels, tables, advice and runbooks are all read.
type info struct {
	name   string
	scope  Scope
	title  string
	advice string
}

var table = [...]info{
	None: {},
	InvalidReference: {"invalid_reference", ScopeWorkload, "The image name is not valid",
		"Correct the image string in the pod spec: registry/repository:tag, the repository in lower case, short names written out in full."},
	NotFound: {"not_found", ScopeWorkload, "The registry has no such image",
		"Check repository and tag for a typo, or push the image: the registry answered, and it does not have this one."},
	PlatformMismatch: {"platform_mismatch", ScopeWorkload, "The image is not built for this node's platform",
		"Build and push the image for this node's os/arch, or keep the pod on nodes it was built for (nodeSelector kubernetes.io/arch)."},
	UnsupportedFormat: {"unsupported_format", ScopeWorkload, "The runtime cannot use this image format",
		"Rebuild and push the image with a current builder: its manifest, media type or compression is not one this runtime reads."},
	NotPresent: {"not_present", ScopeWorkload, "The image is not on the node and may not be pulled",
		"Load the image onto this node, or change imagePullPolicy from Never to IfNotPresent."},
	PolicyRejected: {"policy_rejected", ScopeWorkload, "A policy of the node refuses the image",
		"Sign the image as the node's policy demands or use an allowed registry; the policy is in the runtime's configuration."},
	AccessDenied: {"access_denied", ScopeCredentials, "The registry denies access",
		"Check the repository's name, then whether the pod's imagePullSecret or the node's role may read it: registries say the same for both."},
	Unauthorized: {"unauthorized", ScopeCredentials, "The registry wants valid credentials",
		"Give the pod an imagePullSecret with valid credentials for this registry, in the pod's own namespace."},
	CredentialsExpired: {"credentials_expired", ScopeCredentials, "The credentials have expired",
		"Renew the token in the imagePullSecret (ECR's lasts 12 hours) and see why whatever renews it did not."},
	SecretMissing: {"secret_missing", ScopeCredentials, "An imagePullSecret cannot be read",
		"Create the imagePullSecret that the pod names, in the pod's own namespace and of type kubernetes.io/dockerconfigjson."},
	RateLimited: {"rate_limited", ScopeRegistry, "The registry limits this client's requests",
		"Wait for the limit to reset; then pull with credentials, or through a mirror or pull-through cache."},
	RegistryError: {"registry_error", ScopeRegistry, "The registry fails with a server error",
		"Look at the registry's own health and logs; this node reached it and it answered with an error."},
	CorruptContent: {"corrupt_content", ScopeRegistry, "What was downloaded is not what was asked for",
		"Push the image again; if others fail too, look for a mirror, cache or proxy that cuts or alters downloads."},
	DNS: {"dns", ScopeNetwork, "The registry's name cannot be resolved",
		"Check the registry's host name for a typo, then this node's resolver (/etc/resolv.conf)."},
	Connection: {"connection", ScopeNetwork, "The registry cannot be connected to",
		"Check that the registry listens at that address and that routes and firewalls let this node reach it."},
	TLS: {"tls", ScopeNetwork, "The TLS connection to the registry fails",
		"Give the runtime the registry's CA, renew the certificate, or correct http/https for this registry in the runtime's configuration."},
	Proxy: {"proxy", ScopeNetwork, "The HTTP proxy fails or refuses",
		"Check HTTPS_PROXY and NO_PROXY of the container runtime's service, and that the proxy runs and allows this registry."},
	Timeout: {"timeout", ScopeNetwork, "The registry did not answer in time",
		"Check how this node reaches the registry (route, proxy, MTU, load): the text names no more specific cause."},
	DiskFull: {"disk_full", ScopeNode, "No space left for the image",
		"Free space, inodes or quota on this node's image filesystem, or make it larger."},
	UnpackFailed: {"unpack_failed", ScopeNode, "The image cannot be unpacked on this node",
		"Look at the runtime's log and its image store on this node; removing the image there and pulling it anew mends a damaged copy."},
	RuntimeUnavailable: {"runtime_unavailable", ScopeNode, "The container runtime does not answer",
		"Look at the container runtime's service and log on this node, and restart it if it is down."},
	RuntimeConfig: {"runtime_config", ScopeNode, "The runtime's configuration breaks pulls",
		"Correct the runtime's configuration file that the message names; until then every pull on this node fails."},
	Throttled: {"throttled", ScopeUnknown, "The kubelet holds its own pulls back",
		"Nothing to do at boot; otherwise raise the kubelet's registryPullQPS, registryBurst or maxParallelImagePulls."},
	Canceled: {"canceled", ScopeUnknown, "The pull was cancelled",
		"Watch the next try; a pull that is cancelled again and again makes no progress: look at bandwidth and the runtime's progress timeout."},
	Unknown: {"unknown", ScopeUnknown, "A pull failed and the text does not say why",
		"Wait for the next try, whose error names the cause, or look at the pod's events."},
}

// String is the cause's name, the value of metric labels. It is empty for None.
func (c Cause) String() string { return c.row().name }

// Scope says who has to act. It is empty for None.
func (c Cause) Scope() Scope { return c.row().scope }

// Title says in a few words what is wrong.
func (c Cause) Title() string { return c.row().title }

// Advice is the one thing to do, as one line.
func (c Cause) Advice() string { return c.row().advice }

// Runbook is the address of the page that explains the cause. It is empty for None.
func (c Cause) Runbook() string {
	if c.String() == "" {
		return ""
	}
	return "https://github.com/pullwatch/pullwatch/blob/main/docs/causes.md#" + c.String()
}

func (c Cause) row() info {
	if int(c) >= len(table) {
		return info{}
	}
	return table[c]
}

// MarshalText writes the name, so that a Cause reads as its name in JSON and YAML.
func (c Cause) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a name of the list. The empty name is None.
func (c *Cause) UnmarshalText(text []byte) error {
	for i, row := range table {
		if row.name == string(text) {
			*c = Cause(i)
			return nil
		}
	}
	return fmt.Errorf("no cause is called %q", text)
}

// All lists every cause but None, in the order of the list.
func All() []Cause {
	all := make([]Cause, 0, len(table)-1)
	for c := None + 1; int(c) < len(table); c++ {
		all = append(all, c)
	}
	return all
}
