package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pullwatch/pullwatch/pkg/cri"
)

// setting is one line of `pullwatch config`.
type setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

func configCommand(p *program) *cobra.Command {
	var o output
	var f runFlags
	var example bool
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the settings in force and where each came from",
		Long: `Prints the settings of the agent that would be in force here, and where each came from: a flag, the environment (PULLWATCH_ and the
flag's name in upper case, or crictl's own variables), a file, or the default. With --example it prints a commented configuration file.

Exit codes: 0; 2 a setting is wrong.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			if example {
				return p.printExample(cmd)
			}
			settings, err := p.inForce(cmd)
			if err != nil {
				return err
			}
			if o.format != "table" {
				return o.data(p.stdout, map[string]any{"schema": "pullwatch.config/v1", "settings": settings})
			}
			rows := [][]string{{"SETTING", "VALUE", "FROM"}}
			for _, s := range settings {
				rows = append(rows, []string{s.Name, s.Value, s.Source})
			}
			return table(p.stdout, rows)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&example, "example", false, "print a commented configuration file with the defaults")
	o.flags(cmd.Flags(), "")
	return cmd
}

// ownFlags are those of `pullwatch config` itself.
var ownFlags = append([]string{"example", "output"}, notInFile...)

func (p *program) inForce(cmd *cobra.Command) (settings []setting, err error) {
	found, err := p.settings.discover()
	if err != nil && !p.settings.noRuntime && found.Runtime.Value == "" && cri.KindOf(err) != cri.Missing { // that no socket exists yet is no wrong setting
		return nil, err
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if slices.Contains(ownFlags, f.Name) {
			return
		}
		s := setting{f.Name, f.Value.String(), p.settings.sources[f.Name]}
		switch {
		case f.Name == "runtime-endpoint" && found.Runtime.Value != "":
			s.Value, s.Source = found.Runtime.Value, cmp.Or(s.Source, found.Runtime.Source)
		case f.Name == "image-endpoint" && found.Image.Value != "":
			s.Value, s.Source = found.Image.Value, cmp.Or(s.Source, found.Image.Source)
		case (f.Name == "runtime-endpoint" || f.Name == "image-endpoint") && !p.settings.noRuntime:
			s.Source = "none found on this node yet"
		case f.Name == "config" && found.FileName != "":
			s.Value = found.FileName
		case f.Name == "timeout" && s.Source == "":
			s.Value = cri.DefaultTimeout.String()
			if t, file := found.Timeout(); t > 0 {
				s.Value, s.Source = t.String(), file
			}
		}
		if s.Source == "" {
			s.Source = "default"
		}
		settings = append(settings, s)
	})
	return settings, nil
}

func (p *program) printExample(cmd *cobra.Command) (err error) {
	_, err = fmt.Fprintf(p.stdout, "# Configuration of Pullwatch, read from %s or the file that --config-file names.\n"+
		"# A key is the name of a flag. Flags are stronger than the environment (%sNAME), and that is stronger than this file.\n",
		defaultFile, environmentPrefix)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if err == nil && !slices.Contains(ownFlags, f.Name) {
			value := fmt.Sprintf("%q", f.DefValue)
			if f.Value.Type() != "string" && f.Value.Type() != "duration" {
				value = f.DefValue
			}
			_, err = fmt.Fprintf(p.stdout, "\n# %s\n# %s: %s\n", f.Usage, f.Name, value)
		}
	})
	return err
}
