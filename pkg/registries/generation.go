package registries

import (
	"fmt"
	"strings"
)

// manners is what containerd's versions do differently. Those of 1.6, 2.4 and 2.4 with use_local_image_pull are tried on the real ones
// (docs/containerd-hosts.md); where in between a change came is read from the releases' sources.
type manners struct {
	rootAlone    bool // 1.7: a hosts.toml without a [host] table counts
	fallsBack    bool // 1.7: http with TLS settings, and loopback, is asked by HTTPS first
	inlineHosts  bool // until 1.7: hosts that are not [host."..."] tables are seen
	inlineTLS    bool // until 1.7: registry.configs.tls
	repeatsHosts bool // 2.0: a host whose tables are apart is listed for each of them
	referrers    bool // 2.2: the capability is known
	oneRoot      bool // 2.1, unless pulls are local: a config_path of several roots is one name
	defaultRoots bool // 2.2: config_path has a default
	mark         bool // until 1.7: a byte order mark is passed over
	dialTimeout  bool // 2.0: dial_timeout
}

func mannersOf(version string, localPull bool) manners {
	// A version that is not known is taken for a new one.
	major, minor := 99, 0
	parsed, _ := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &major, &minor)
	since := func(x, y int) bool { return major > x || major == x && minor >= y }
	return manners{
		rootAlone: since(1, 7), fallsBack: since(1, 7), inlineHosts: !since(2, 0), inlineTLS: !since(2, 0), repeatsHosts: since(2, 0),
		referrers: since(2, 2), oneRoot: parsed == 2 && since(2, 1) && !localPull, defaultRoots: since(2, 2), mark: !since(2, 0), dialTimeout: since(2, 0),
	}
}
