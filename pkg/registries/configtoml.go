package registries

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// ContainerdConfigFile is where containerd's configuration is unless it is told otherwise.
const ContainerdConfigFile = "/etc/containerd/config.toml"

// What a configuration may import, at most. containerd itself has no bound.
const (
	mostConfigFile = 4 << 20 // bytes
	mostImports    = 100     // files
)

// defaultConfigPath is the config_path of containerd since 2.2, where neither it nor a mirror is set.
const defaultConfigPath = "/etc/containerd/certs.d:/etc/docker/certs.d"

// configFile is what of a config.toml bears on registries.
type configFile struct {
	Version  int                    `toml:"version"`
	Imports  []string               `toml:"imports"`
	Disabled []string               `toml:"disabled_plugins"`
	Plugins  map[string]pluginTable `toml:"plugins"`
}

// pluginTable is what of a plugin's settings is read: those of registries, and those that decide who pulls (containerd,
// internal/cri/config: CheckLocalImagePullConfigs).
type pluginTable struct {
	Registry     *registryTable `toml:"registry"`
	SandboxImage string         `toml:"sandbox_image"` // until 1.7
	PinnedImages struct {
		Sandbox string `toml:"sandbox"`
	} `toml:"pinned_images"`
	UseLocalImagePull          bool  `toml:"use_local_image_pull"`
	DisableSnapshotAnnotations *bool `toml:"disable_snapshot_annotations"`
	DiscardUnpackedLayers      bool  `toml:"discard_unpacked_layers"`
	MaxConcurrentDownloads     *int  `toml:"max_concurrent_downloads"`
	ImagePullWithSyncFs        bool  `toml:"image_pull_with_sync_fs"`
}

// localPull tells whether the settings have the CRI plugin itself pull, and not the transfer service.
func (t *pluginTable) localPull() bool {
	r := t.Registry
	return t.UseLocalImagePull || t.DiscardUnpackedLayers || t.ImagePullWithSyncFs || t.DisableSnapshotAnnotations != nil && !*t.DisableSnapshotAnnotations ||
		t.MaxConcurrentDownloads != nil && *t.MaxConcurrentDownloads != 3 || r != nil && len(r.Mirrors)+len(r.Configs)+len(r.Auths) > 0
}

type registryTable struct {
	ConfigPath string `toml:"config_path"`
	Mirrors    map[string]struct {
		Endpoints []string `toml:"endpoint"`
	} `toml:"mirrors"`
	Auths   map[string]any `toml:"auths"`
	Configs map[string]struct {
		TLS *struct {
			SkipVerify bool   `toml:"insecure_skip_verify"`
			CAFile     string `toml:"ca_file"`
			CertFile   string `toml:"cert_file"`
			KeyFile    string `toml:"key_file"`
		} `toml:"tls"`
	} `toml:"configs"`
}

// ContainerdFromFile reads containerd's config.toml with its imports. Containerd 2 does not tell them in its status. What cannot be read
// makes NotChecked.
func ContainerdFromFile(version, file string) *Containerd {
	c := &Containerd{Version: version, Source: file, Mirrors: make(map[string][]string), TLS: make(map[string]InlineTLS)}
	pending := []string{file}
	loaded := make(map[string]bool)
	for len(pending) > 0 && c.NotChecked == "" {
		path := pending[0]
		pending = pending[1:]
		if loaded[path] {
			continue
		}
		loaded[path] = true
		if len(loaded) > mostImports {
			c.NotChecked = fmt.Sprintf("%s imports more than %d files", file, mostImports)
			break
		}
		pending = append(pending, c.readConfig(path, path == file)...)
	}
	if c.ConfigPath == "" && len(c.Mirrors) == 0 && c.NotChecked == "" && c.manners().defaultRoots {
		c.ConfigPath = defaultConfigPath
	}
	if c.manners().oneRoot && strings.ContainsRune(c.ConfigPath, filepath.ListSeparator) {
		c.Findings = append(c.Findings, Finding{File: file, Text: fmt.Sprintf("config_path is %q", c.ConfigPath),
			Effect: "this version of containerd takes it for the name of one directory: no hosts.toml below its parts is read, unless use_local_image_pull is set"})
	}
	return c
}

// readConfig merges one file into what is known, and gives the files it imports.
func (c *Containerd) readConfig(path string, main bool) (imports []string) {
	text, err := readBounded(path, mostConfigFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && main && dirInSight("", filepath.Dir(path)):
		return nil // containerd starts without one
	case errors.Is(err, fs.ErrNotExist) && main:
		c.NotChecked = fmt.Sprintf("%s: the directory is not to be seen: it does not exist, or is not mounted", path)
		return nil
	case err != nil:
		c.NotChecked = err.Error()
		return nil
	}
	var f configFile
	if err := toml.Unmarshal(text, &f); err != nil {
		at := tomlError(err)
		c.Findings = append(c.Findings, Finding{File: path, Line: at.line, Text: at.text, Effect: "containerd does not start with it; one that runs was started before the change"})
		c.NotChecked = fmt.Sprintf("%s cannot be parsed", path)
		return nil
	}
	if slices.ContainsFunc(f.Disabled, isCRI) {
		c.NotChecked = fmt.Sprintf("%s disables CRI, so it is another containerd's than the one that answers: --containerd-config names that one's", path)
		return nil
	}
	for _, plugin := range imagePlugins(f.Version) {
		of := f.Plugins[plugin]
		c.LocalPull = c.LocalPull || of.localPull()
		c.SandboxImage = cmp.Or(of.PinnedImages.Sandbox, of.SandboxImage, c.SandboxImage)
		if of.Registry != nil {
			c.merge(of.Registry)
		}
	}
	for _, name := range f.Imports {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		names := []string{name}
		if strings.Contains(name, "*") {
			names, _ = filepath.Glob(name) // a pattern that is none matches nothing
		}
		imports = append(imports, names...)
	}
	return imports
}

// imagePlugins are the plugins that hold the settings of registries, by the version of a configuration file, the stronger last. The older
// table is migrated even in files that have the newer one.
func imagePlugins(version int) []string {
	switch version {
	case 0, 1:
		return []string{"cri", "io.containerd.grpc.v1.cri"}
	}
	return []string{"io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri"}
}

// isCRI tells the plugins without which no image is pulled over CRI. On Talos the containerd of the system itself has them disabled, in the file where
// that of Kubernetes has its own elsewhere (/etc/cri/containerd.toml).
func isCRI(plugin string) bool {
	return plugin == "cri" || slices.Contains(imagePlugins(2), plugin)
}

// merge lets a later file override: single values where it has one, maps by their keys.
func (c *Containerd) merge(t *registryTable) {
	if t.ConfigPath != "" {
		c.ConfigPath = t.ConfigPath
	}
	for name, mirror := range t.Mirrors {
		c.Mirrors[name] = mirror.Endpoints
	}
	for name, of := range t.Configs {
		if of.TLS != nil {
			c.TLS[name] = InlineTLS{SkipVerify: of.TLS.SkipVerify, CAFile: of.TLS.CAFile, CertFile: of.TLS.CertFile, KeyFile: of.TLS.KeyFile}
		}
	}
}
