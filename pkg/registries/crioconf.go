package registries

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Where CRI-O's own configuration is (crio.conf(5), crio.conf.d(5)).
const (
	crioConf    = "/etc/crio/crio.conf"
	crioConfDir = "/etc/crio/crio.conf.d"
)

// mostCRIOConf bounds one of these files, in bytes. The commented template has 30 KiB.
const mostCRIOConf = 1 << 20

// insecureBefore is the first version of CRI-O that takes no notice of insecure_registries (cri-o#9511). Until then loopback was always one.
const insecureBefore = "1.35"

// insecure tells whether CRI-O's own insecure_registries let it ask a registry by HTTP and without verification, on top of registries.conf.
func (c *CRIO) insecure(registry string, a *Answer) bool {
	listed, file := c.insecureRegistries(a)
	if !c.before(insecureBefore) {
		if slices.Contains(listed, registry) {
			a.Findings = append(a.Findings, Finding{File: file, Text: fmt.Sprintf("insecure_registries names %s", registry),
				Effect: "CRI-O takes no notice of it since " + insecureBefore + ": write insecure = true for it into registries.conf"})
		}
		return false
	}
	host, err := netip.ParseAddr(hostOf(registry))
	return slices.ContainsFunc(append(listed, "127.0.0.0/8"), func(entry string) bool {
		network, no := netip.ParsePrefix(entry)
		// A name would be looked up first, to see whether one of its addresses is in the network: that is not done here.
		return entry == registry || no == nil && err == nil && network.Contains(host)
	})
}

// insecureRegistries is the list in force, of the last file that has one, and that file.
func (c *CRIO) insecureRegistries(a *Answer) (listed []string, file string) {
	files, _ := filepath.Glob(c.Root + crioConfDir + "/*.conf") // in the order of the alphabet; a pattern of ours is one
	for _, path := range append([]string{c.Root + crioConf}, files...) {
		text, err := readBounded(path, mostCRIOConf)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			a.NotChecked = err.Error()
			return nil, path
		}
		var conf struct {
			CRIO struct {
				Image struct {
					Insecure []string `toml:"insecure_registries"`
				} `toml:"image"`
			} `toml:"crio"`
		}
		if err := toml.Unmarshal(text, &conf); err != nil {
			at := tomlError(err)
			a.Findings = append(a.Findings, Finding{File: path, Line: at.line, Text: at.text, Effect: "CRI-O does not start with it; one that runs was started before the change"})
			continue
		}
		if conf.CRIO.Image.Insecure != nil {
			listed, file = conf.CRIO.Image.Insecure, path
		}
	}
	return listed, file
}

// before tells whether CRI-O's version is older than one. A version that is not known is taken for a new one.
func (c *CRIO) before(version string) bool {
	var major, minor, thanMajor, thanMinor int
	if n, _ := fmt.Sscanf(c.Version, "%d.%d", &major, &minor); n < 2 {
		return false
	}
	_, _ = fmt.Sscanf(version, "%d.%d", &thanMajor, &thanMinor) // a constant of ours
	return major < thanMajor || major == thanMajor && minor < thanMinor
}

// hostOf is a registry without its port.
func hostOf(registry string) string {
	if address, err := netip.ParseAddrPort(registry); err == nil {
		return address.Addr().String()
	}
	host, _, _ := strings.Cut(registry, ":")
	return host
}
