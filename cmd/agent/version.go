package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version and revision are set by the linker; see the Makefile. Where they are not, build knows better.
var version, revision string

// build is what this program was built from.
var build = identify(version, revision, debug.ReadBuildInfo)

// origin is what a program was built from. What is not known is empty, but for the version.
type origin struct {
	version  string
	revision string // the commit; "-dirty" behind it where there was more than that
	time     string // of the commit, RFC 3339
}

// identify takes the version and revision that the linker set, and where it set none what the go command wrote into the program: `go install
// MODULE@VERSION` gives the module's version, a build in a clone of the repository the commit too.
func identify(version, revision string, read func() (*debug.BuildInfo, bool)) origin {
	id := origin{version: version, revision: revision}
	if info, ok := read(); ok {
		settings := make(map[string]string)
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
		const digits = 12 // as in the pseudo-versions of Go modules
		commit := settings["vcs.revision"]
		commit = commit[:min(len(commit), digits)]
		if commit != "" && settings["vcs.modified"] == "true" {
			commit += "-dirty"
		}
		id.revision = cmp.Or(revision, commit)
		id.time = settings["vcs.time"]
		if info.Main.Version != "(devel)" { // what the go command writes where it knows nothing
			id.version = cmp.Or(version, info.Main.Version)
		}
	}
	id.version = cmp.Or(id.version, "0.0.0-dev")
	return id
}

func versionCommand(p *program) *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program and of the container runtime",
		Long: `Prints the version of this program and, where it answers, that of the container runtime.

Exit codes: 0; 2 wrong use.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			v := struct {
				Schema            string `json:"schema"`
				Version           string `json:"version"`
				Revision          string `json:"revision,omitempty"`
				RevisionTime      string `json:"revisionTime,omitempty"`
				Go                string `json:"go"`
				Platform          string `json:"platform"`
				RuntimeName       string `json:"runtimeName,omitempty"`
				RuntimeVersion    string `json:"runtimeVersion,omitempty"`
				RuntimeAPIVersion string `json:"runtimeApiVersion,omitempty"`
			}{
				Schema: "pullwatch.version/v1", Version: build.version, Revision: build.revision, RevisionTime: build.time,
				Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
			}
			if client, _, err := p.settings.runtime(); err == nil {
				if r, err := client.Version(cmd.Context()); err == nil {
					v.RuntimeName, v.RuntimeVersion, v.RuntimeAPIVersion = r.GetRuntimeName(), r.GetRuntimeVersion(), r.GetRuntimeApiVersion()
				} else {
					p.note("container runtime: %v", err)
				}
				_ = client.Close()
			} else {
				p.note("container runtime: %v", err)
			}
			if o.format != "table" {
				return o.data(p.stdout, v)
			}
			_, err := fmt.Fprintf(p.stdout, "Version:  %s\nRevision:  %s\nGo:  %s %s\n", v.Version, cmp.Or(v.Revision, "unknown"), v.Go, v.Platform)
			if err == nil && v.RevisionTime != "" {
				_, err = fmt.Fprintf(p.stdout, "RevisionTime:  %s\n", v.RevisionTime)
			}
			if err == nil && v.RuntimeName != "" {
				_, err = fmt.Fprintf(p.stdout, "RuntimeName:  %s\nRuntimeVersion:  %s\nRuntimeApiVersion:  %s\n",
					clean(v.RuntimeName), clean(v.RuntimeVersion), clean(v.RuntimeAPIVersion))
			}
			return err
		},
	}
	o.flags(cmd.Flags(), "")
	return cmd
}
