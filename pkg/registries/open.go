package registries

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.podman.io/image/v5/pkg/sysregistriesv2"
)

// Config is a runtime's configuration of registries.
type Config interface {
	// Lookup tells whom the runtime asks for a registry, or for an image of it. Files are read anew.
	Lookup(name string) *Answer
	// Named lists the registries that the configuration names, in the order of the alphabet.
	Named() []string
}

// Runtime is what is known of the runtime whose configuration is wanted.
type Runtime struct {
	Name     string            // as it calls itself: containerd, cri-o
	Version  string            // likewise
	Endpoint string            // of its socket
	Info     map[string]string // of its verbose CRI status; may be nil
	// ConfigFile is containerd's config.toml; where it is empty, its place is known by the socket.
	ConfigFile string
}

// Open finds a runtime's configuration.
func Open(r Runtime) (Config, error) {
	switch r.Name {
	case "containerd":
		if c, ok, err := ContainerdFromStatus(r.Version, r.Info); ok || err != nil {
			return c, err
		}
		return ContainerdFromFile(r.Version, configFileOf(r)), nil
	case "cri-o":
		return &CRIO{Version: r.Version}, nil
	case "":
		return &unknown{"which container runtime this node has is not known"}, nil
	}
	return &unknown{fmt.Sprintf("where %q has its registries configured is not known here", r.Name)}, nil
}

// configFileOf is where the containerd of a socket has its configuration.
func configFileOf(r Runtime) string {
	switch {
	case r.ConfigFile != "":
		return r.ConfigFile
	case strings.Contains(r.Endpoint, "/k3s/"):
		return newest("/var/lib/rancher/k3s/agent/etc/containerd/config.toml", "/var/lib/rancher/rke2/agent/etc/containerd/config.toml")
	case strings.Contains(r.Endpoint, "/k0s"):
		return "/etc/k0s/containerd.toml"
	}
	return ContainerdConfigFile
}

// newest is the file of several that was written last; the first where none is there. k3s and RKE2 answer on the same socket, and each writes its file
// whenever it starts.
func newest(files ...string) string {
	newest, at := files[0], time.Time{}
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.ModTime().After(at) {
			newest, at = file, info.ModTime()
		}
	}
	return newest
}

// Named lists the directories below config_path, and the inline mirrors.
func (c *Containerd) Named() (names []string) {
	for _, root := range c.roots() {
		entries, err := os.ReadDir(root)
		if err != nil {
			continue // Lookup says so
		}
		for _, entry := range entries {
			name := entry.Name()
			if host, port, ok := strings.Cut(strings.TrimSuffix(name, "_"), "_"); ok && strings.HasSuffix(name, "_") && host != "" {
				name = host + ":" + port
			}
			if name != "_default" && (entry.IsDir() || entry.Type()&os.ModeSymlink != 0) {
				names = append(names, name)
			}
		}
	}
	for name := range c.Mirrors {
		if name != "*" {
			names = append(names, name)
		}
	}
	return sorted(names)
}

// roots are the directories that config_path names, as this version reads it.
func (c *Containerd) roots() []string {
	if c.ConfigPath == "" {
		return nil
	}
	if c.manners().oneRoot {
		return []string{c.ConfigPath}
	}
	return filepath.SplitList(c.ConfigPath)
}

// Named lists the hosts of the registries that registries.conf names, but for those that it blocks and has no mirror for.
func (c *CRIO) Named() (names []string) {
	all, err := sysregistriesv2.GetRegistries(c.system())
	if err != nil {
		return nil // Lookup says so
	}
	for i := range all {
		host, _, _ := strings.Cut(all[i].Prefix, "/")
		if host != "" && !strings.HasPrefix(host, "*") && (!all[i].Blocked || len(all[i].Mirrors) > 0) {
			names = append(names, host)
		}
	}
	return sorted(names)
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// unknown is a runtime whose configuration is not known. What it would ask with none is still told.
type unknown struct{ why string }

func (u *unknown) Lookup(name string) *Answer {
	registry, _, err := split(name)
	if err != nil {
		return &Answer{Registry: registry, NotChecked: err.Error()}
	}
	return (&Containerd{NotChecked: u.why}).Lookup(registry)
}

func (u *unknown) Named() []string { return nil }
