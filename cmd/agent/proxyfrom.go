package main

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/pullwatch/pullwatch/pkg/registries"
)

// reaching is how registries are reached: what is told of the runtime's way to them.
type reaching struct {
	proxyFrom, containerdConfig string
}

func (r *reaching) flags(f *pflag.FlagSet) {
	f.StringVar(&r.proxyFrom, "proxy-from", "unit", "where the runtime's HTTP proxy is known from: its systemd unit, the environment (this program's own), or none (there is none)")
	f.StringVar(&r.containerdConfig, "containerd-config", "", "containerd's configuration file (default "+registries.ContainerdConfigFile+", or as its socket tells)")
}

func (r *reaching) validate() error {
	switch r.proxyFrom {
	case "unit", "environment", "none":
		return nil
	}
	return &usageError{fmt.Sprintf("--proxy-from %q: no such source", r.proxyFrom), "Sources are unit, environment and none."}
}

// proxy finds the proxy of a runtime that runs as one of the units.
func (r *reaching) proxy(units []string) registries.Proxying {
	switch r.proxyFrom {
	case "environment":
		return registries.ProxyFromEnvironment(os.Getenv, "environment of this program (--proxy-from)")
	case "none":
		return registries.NoProxying("none (--proxy-from)")
	}
	return registries.ProxyFromUnits("", units)
}
