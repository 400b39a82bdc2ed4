package cri

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// wellKnown are the sockets that runtimes and distributions use, in the order
// in which they are taken. The first three runtimes and their order are
// crictl's; the rest is what k3s, k0s and microk8s document.
var wellKnown = []string{
	"/run/containerd/containerd.sock",
	"/run/crio/crio.sock",
	"/var/run/crio/crio.sock",
	"/run/cri-dockerd.sock",
	"/var/run/cri-dockerd.sock",
	"/run/k3s/containerd/containerd.sock",
	"/run/k0s/containerd.sock",
	"/var/snap/microk8s/common/run/containerd.sock",
}

// The environment variables that crictl reads.
const (
	envRuntime = "CONTAINER_RUNTIME_ENDPOINT"
	envImage   = "IMAGE_SERVICE_ENDPOINT"
	envConfig  = "CRI_CONFIG_FILE"
)

// FoundOnNode is the source of an endpoint that nobody named.
const FoundOnNode = "found on this node"

// Settings is all that [Discover] looks at. Empty strings are settings that
// were not given.
type Settings struct {
	RuntimeEndpoint string // --runtime-endpoint, -r
	ImageEndpoint   string // --image-endpoint, -i
	ConfigFile      string // --config, -c
	// Sources name where the three came from, by flag ("runtime-endpoint", "image-endpoint", "config"), where that
	// was not the flag itself.
	Sources map[string]string
	// Getenv reads the environment; nil stands for an empty one.
	Getenv func(string) string
	// Root is put in front of the well-known paths and of the default
	// configuration file, for a pod that sees the node's files below a mount.
	// Empty is the root directory.
	Root string
}

// Value is a setting and where it came from, such as "flag --runtime-endpoint",
// "environment CONTAINER_RUNTIME_ENDPOINT", a file's name, or [FoundOnNode].
type Value struct {
	Value  string
	Source string
}

// Found is the outcome of [Discover]. Endpoints are written as unix:///path.
type Found struct {
	Runtime Value
	Image   Value
	// Others are well-known sockets that exist too and were not taken. It is
	// filled only when the endpoint was found on the node.
	Others []string
	// File holds the settings of FileName; FileName is empty when there is no
	// such file.
	File     File
	FileName string
}

// Timeout gives the deadline of one call that the file asks for, and the
// file's name; zero when it asks for none.
func (f Found) Timeout() (time.Duration, string) {
	if f.File.Timeout == 0 {
		return 0, ""
	}
	return f.File.Timeout, f.FileName
}

// Discover decides which sockets to talk to, in crictl's order: flag,
// environment, configuration file, and the first well-known socket that
// exists. The image endpoint is the runtime's when nothing names it. It only
// looks: no socket is dialled, so it takes no time and a hanging runtime is
// found like any other.
//
// It fails with an [*Error] of kind Missing when there is no socket, and with
// an error that names the setting at fault otherwise.
func Discover(s Settings) (Found, error) {
	getenv := s.Getenv
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	var found Found
	var err error
	if found.File, found.FileName, err = s.file(getenv); err != nil {
		return Found{}, err
	}

	found.Runtime, err = firstEndpoint(
		Value{s.RuntimeEndpoint, s.source("runtime-endpoint")},
		Value{getenv(envRuntime), "environment " + envRuntime},
		Value{found.File.RuntimeEndpoint, found.FileName},
	)
	if err != nil {
		return Found{}, err
	}
	if found.Runtime.Value == "" {
		sockets, err := s.existing()
		if err != nil {
			return Found{}, err
		}
		found.Runtime = Value{sockets[0], FoundOnNode}
		found.Others = sockets[1:]
	}

	found.Image, err = firstEndpoint(
		Value{s.ImageEndpoint, s.source("image-endpoint")},
		Value{getenv(envImage), "environment " + envImage},
		Value{found.File.ImageEndpoint, found.FileName},
		found.Runtime,
	)
	if err != nil {
		return Found{}, err
	}
	return found, nil
}

// source is where a setting that was given came from.
func (s Settings) source(flag string) string {
	if source := s.Sources[flag]; source != "" {
		return source
	}
	return "flag --" + flag
}

// file reads the configuration file. Only the default one may be missing.
func (s Settings) file(getenv func(string) string) (File, string, error) {
	named := Value{s.ConfigFile, s.source("config")}
	if named.Value == "" {
		named = Value{getenv(envConfig), "environment " + envConfig}
	}
	if named.Value != "" {
		file, err := readFile(named.Value)
		if err != nil {
			return File{}, "", fmt.Errorf("%s: %w", named.Source, err)
		}
		return file, named.Value, nil
	}
	name := filepath.Join("/", s.Root, DefaultConfigFile)
	file, err := readFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return File{}, "", nil
	}
	if err != nil {
		return File{}, "", err
	}
	return file, name, nil
}

// firstEndpoint takes the first value that is set and checks it. All unset is
// no error.
func firstEndpoint(values ...Value) (Value, error) {
	for _, v := range values {
		if v.Value == "" {
			continue
		}
		path, err := ParseEndpoint(v.Value)
		if err != nil {
			return Value{}, fmt.Errorf("%s: %w", v.Source, err)
		}
		v.Value = "unix://" + path
		return v, nil
	}
	return Value{}, nil
}

// existing lists the well-known sockets of this node, each once.
func (s Settings) existing() ([]string, error) {
	root := filepath.Join("/", s.Root)
	skipVarRun := varRunIsRun(root)
	var sockets, looked []string
	var seen []os.FileInfo
	for _, w := range wellKnown {
		if skipVarRun && strings.HasPrefix(w, "/var/run/") {
			continue
		}
		path := filepath.Join(root, w)
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrPermission):
			looked = append(looked, path+" (permission denied)")
			continue
		case err != nil:
			looked = append(looked, path)
			continue
		case info.Mode()&fs.ModeSocket == 0:
			looked = append(looked, path+" (not a socket)")
			continue
		}
		if !sameAsAny(info, seen) {
			seen = append(seen, info)
			sockets = append(sockets, "unix://"+path)
		}
	}
	if len(sockets) == 0 {
		return nil, &Error{
			Op:   "find the container runtime",
			Kind: Missing,
			Err: &failure{
				text:   "no socket on this node; looked for " + strings.Join(looked, ", "),
				causes: []error{fs.ErrNotExist},
			},
		}
	}
	return sockets, nil
}

// varRunIsRun tells whether <root>/var/run leads to <root>/run, as it does on
// nearly every Linux. Where the link is absolute, following it below another
// root would leave that root, so the link is read and not followed.
func varRunIsRun(root string) bool {
	target, err := os.Readlink(filepath.Join(root, "var/run"))
	if err != nil {
		return false
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join("/var", target)
	}
	target = filepath.Clean(target)
	return target == "/run" || target == filepath.Join(root, "run")
}

func sameAsAny(info os.FileInfo, seen []os.FileInfo) bool {
	for _, s := range seen {
		if os.SameFile(info, s) {
			return true
		}
	}
	return false
}
