package main

import (
	"cmp"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// version and revision are set by the linker; see the Makefile.
var (
	version  = "0.0.0-dev"
	revision = ""
)

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
				Go                string `json:"go"`
				Platform          string `json:"platform"`
				RuntimeName       string `json:"runtimeName,omitempty"`
				RuntimeVersion    string `json:"runtimeVersion,omitempty"`
				RuntimeAPIVersion string `json:"runtimeApiVersion,omitempty"`
			}{Schema: "pullwatch.version/v1", Version: version, Revision: revision, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
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
