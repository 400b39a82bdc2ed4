package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/pkg/cri"
)

// Where settings come from, the strongest first: a flag, the environment (PULLWATCH_ and the flag's name), Pullwatch's own file, the
// default. The flags of crictl also obey crictl's environment and file, in crictl's order; pkg/cri sees to that.
const (
	environmentPrefix = "PULLWATCH_"
	defaultFile       = "/etc/pullwatch/config.yaml"
	defaultSocket     = "/run/pullwatch/pullwatch.sock"
)

// settings are the flags that more than one subcommand reads.
type settings struct {
	runtimeEndpoint, imageEndpoint, criConfig string
	timeout                                   time.Duration
	debug                                     bool

	file, socket, kubeconfig, nodeName string
	noKube, noRuntime                  bool

	sources map[string]string // of each flag that is not at its default
}

func (s *settings) global(f *pflag.FlagSet) {
	f.StringVarP(&s.runtimeEndpoint, "runtime-endpoint", "r", "", "socket of the container runtime (CONTAINER_RUNTIME_ENDPOINT)")
	f.StringVarP(&s.imageEndpoint, "image-endpoint", "i", "", "socket of the image service, where it is another (IMAGE_SERVICE_ENDPOINT)")
	f.StringVarP(&s.criConfig, "config", "c", "", "crictl's configuration file (CRI_CONFIG_FILE; default /etc/crictl.yaml)")
	f.DurationVarP(&s.timeout, "timeout", "t", 0, "deadline of a call to the container runtime (default that of crictl's file, else 10s)")
	f.BoolVarP(&s.debug, "debug", "D", false, "log more")
	f.StringVar(&s.file, "config-file", "", "Pullwatch's own configuration file (default "+defaultFile+" where it exists)")
	f.StringVar(&s.socket, "socket", defaultSocket, "unix socket between the agent and the other commands; empty is none")
	f.StringVar(&s.kubeconfig, "kubeconfig", "", "how to reach the API server (default KUBECONFIG, then ~/.kube/config, then the pod's service account)")
	f.StringVar(&s.nodeName, "node-name", "", "name of this node in the cluster (NODE_NAME; default the host's name)")
	f.BoolVar(&s.noKube, "no-kube", false, "do without an API server")
	f.BoolVar(&s.noRuntime, "no-runtime", false, "do without a container runtime, whatever socket there is")
}

// notInFile are the flags of the agent that make no sense in a file.
var notInFile = []string{"config-file", "help"}

// resolve fills the flags that were not given from the environment and the file, and notes where each came from.
func (s *settings) resolve(cmd *cobra.Command) error {
	s.sources = make(map[string]string)
	cmd.Flags().Visit(func(f *pflag.Flag) { s.sources[f.Name] = "flag --" + f.Name })
	if err := s.fromEnvironment(cmd.Flags()); err != nil {
		return err
	}
	if !needsNoSettings[cmd.Name()] {
		if err := s.fromFile(cmd); err != nil {
			return err
		}
	}
	if s.timeout < 0 {
		return &usageError{fmt.Sprintf("%s: a timeout of %s is below zero", s.sources["timeout"], s.timeout), "Give a duration such as 10s; 0 is the default."}
	}
	if s.nodeName == "" {
		if host, err := os.Hostname(); err == nil {
			s.nodeName = strings.ToLower(host) // as the kubelet does
			s.sources["node-name"] = "the host's name"
		}
	}
	return nil
}

// othersEnvironment are variables of crictl, kubectl and the manifests that are as strong as ours. Those of readElsewhere their own library
// reads.
var (
	othersEnvironment = map[string]string{
		"runtime-endpoint": "CONTAINER_RUNTIME_ENDPOINT", "image-endpoint": "IMAGE_SERVICE_ENDPOINT", "config": "CRI_CONFIG_FILE",
		"kubeconfig": "KUBECONFIG", "node-name": "NODE_NAME",
		"creds": "CRICTL_CREDS", "auth": "CRICTL_AUTH", "pull-timeout": "CRICTL_PULL_TIMEOUT",
	}
	readElsewhere = []string{"runtime-endpoint", "image-endpoint", "config", "kubeconfig"}
)

// needsNoSettings are the commands that ask nothing of this node: a configuration file that is wrong, or that only root may read, is none
// of their business.
var needsNoSettings = map[string]bool{"classify": true, "help": true, "completion": true, "bash": true, "zsh": true, "fish": true, "powershell": true}

func environmentName(flag string) string {
	return environmentPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func (s *settings) fromEnvironment(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		name := environmentName(f.Name)
		value, ok := os.LookupEnv(name)
		if s.sources[f.Name] != "" || err != nil {
			return
		}
		if theirs := othersEnvironment[f.Name]; !ok && theirs != "" && os.Getenv(theirs) != "" {
			if slices.Contains(readElsewhere, f.Name) {
				s.sources[f.Name] = "environment " + theirs
				return
			}
			name, value, ok = theirs, os.Getenv(theirs), true
		}
		if !ok {
			return
		}
		if set := f.Value.Set(value); set != nil {
			err = &usageError{fmt.Sprintf("environment %s: %q: %v", name, value, set), "Correct or unset the variable."}
			return
		}
		s.sources[f.Name] = "environment " + name
	})
	return err
}

// fromFile reads Pullwatch's file. Its keys are the names of the agent's flags; another one is an error. What only the agent takes, the
// other commands pass over.
func (s *settings) fromFile(cmd *cobra.Command) error {
	path, explicit := s.file, s.file != ""
	if !explicit {
		path = defaultFile
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !explicit {
		return nil
	}
	if err != nil {
		return &usageError{fmt.Sprintf("configuration file: %v", err), "Name a file that can be read with --config-file."}
	}
	var keys map[string]any
	if err := yaml.UnmarshalStrict(data, &keys); err != nil {
		return &usageError{fmt.Sprintf("configuration file %s: %v", path, err), "The file is YAML: one line \"name: value\" for each flag."}
	}
	known := knownFlags(cmd.Root())
	for _, key := range sortedKeys(keys) {
		if !known[key] || slices.Contains(notInFile, key) {
			return &usageError{fmt.Sprintf("configuration file %s: unknown key %q", path, key),
				"Keys are the names of flags without dashes in front; \"pullwatch config\" lists them."}
		}
		f := cmd.Flags().Lookup(key)
		if f == nil || s.sources[key] != "" {
			continue
		}
		if err := setFlag(f, keys[key]); err != nil {
			return &usageError{fmt.Sprintf("configuration file %s: %s: %v", path, key, err), "Correct the value; \"pullwatch config\" shows the defaults."}
		}
		s.sources[key] = path
	}
	return nil
}

func setFlag(f *pflag.Flag, value any) error {
	switch v := value.(type) {
	case nil:
		return errors.New("has no value; write \"\" for an empty one")
	case float64: // every number in YAML, and 1000000 is not to be read as 1e+06
		return f.Value.Set(strconv.FormatFloat(v, 'f', -1, 64))
	}
	if list, ok := value.([]any); ok {
		slice, ok := f.Value.(pflag.SliceValue)
		if !ok {
			return errors.New("takes one value and no list")
		}
		texts := make([]string, len(list))
		for i := range list {
			texts[i] = fmt.Sprint(list[i])
		}
		return slice.Replace(texts)
	}
	if _, ok := value.(map[string]any); ok {
		return errors.New("takes a value and no keys of its own")
	}
	return f.Value.Set(fmt.Sprint(value))
}

// knownFlags are those of the agent.
func knownFlags(root *cobra.Command) map[string]bool {
	known := make(map[string]bool)
	note := func(f *pflag.Flag) { known[f.Name] = true }
	root.PersistentFlags().VisitAll(note)
	for _, cmd := range root.Commands() {
		if cmd.Name() == "run" {
			cmd.Flags().VisitAll(note)
		}
	}
	return known
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// criSettings is what pkg/cri looks for the runtime with.
func (s *settings) criSettings() cri.Settings {
	return cri.Settings{RuntimeEndpoint: s.runtimeEndpoint, ImageEndpoint: s.imageEndpoint, ConfigFile: s.criConfig, Getenv: os.Getenv, Sources: s.sources}
}

// discover finds the container runtime's socket.
func (s *settings) discover() (cri.Found, error) {
	if s.noRuntime {
		return cri.Found{}, agent.ErrNoRuntime
	}
	found, err := cri.Discover(s.criSettings())
	return found, withHint(err, "Correct the setting; \"pullwatch config\" shows what is in force and where it came from.")
}

// runtime opens the container runtime for one command.
func (s *settings) runtime() (*cri.Client, cri.Found, error) {
	found, err := s.discover()
	if err != nil {
		return nil, found, err
	}
	config := cri.Config{Runtime: found.Runtime.Value, Image: found.Image.Value, Timeout: s.timeout}
	if config.Timeout == 0 {
		config.Timeout, _ = found.Timeout()
	}
	client, err := cri.Dial(config)
	return client, found, err
}

// kube opens the API server. Nothing is asked of it yet.
func (s *settings) kube() (*kube.Client, error) {
	return kube.New(kube.Config{Kubeconfig: s.kubeconfig, NodeName: s.nodeName, UserAgent: "pullwatch/" + build.version})
}
