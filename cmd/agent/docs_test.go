package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the pages that are made from the code anew")

// TestDocs holds the reference pages to the code.
func TestDocs(t *testing.T) {
	for name, text := range map[string]string{"commands.md": commandsPage(t), "configuration.md": configurationPage(t)} {
		page := filepath.Join("../../docs/reference", name)
		if *update {
			if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(text, string(have)); diff != "" {
			t.Errorf("%s is not what the code says: run make docs\n%s", page, diff)
		}
		if host, err := os.Hostname(); err == nil && len(host) > 3 && strings.Contains(text, host) {
			t.Errorf("%s tells the name of the machine, %s", page, host)
		}
	}
}

// commandsPage lists every subcommand as its --help does.
func commandsPage(t *testing.T) string {
	t.Helper()
	root := (&program{}).root()
	root.InitDefaultCompletionCmd()
	var commands []*cobra.Command
	for _, cmd := range root.Commands() {
		if !cmd.Hidden {
			commands = append(commands, cmd)
		}
	}
	var b strings.Builder
	b.WriteString("# Commands\n\nMade from the code (`make docs`). Each command takes the flags [of all](#flags-of-every-command) too.\n\n| command | what it does |\n|---|---|\n")
	for _, cmd := range commands {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", cmd.CommandPath(), strings.ReplaceAll(cmd.CommandPath(), " ", "-"), cell(cmd.Short))
	}
	for _, cmd := range commands {
		fmt.Fprintf(&b, "\n## %s\n\n", cmd.CommandPath())
		if cmd.Name() == "completion" { // cobra's own, in the words of which version of it is used
			names := make([]string, 0, 4)
			for _, shell := range cmd.Commands() {
				names = append(names, "`"+shell.Name()+"`")
			}
			fmt.Fprintf(&b, "Prints completions for a shell: %s. `pullwatch completion SHELL --help` tells how to load them.\n", strings.Join(names, ", "))
			continue
		}
		text, codes, ok := strings.Cut(strings.TrimSpace(cmd.Long), "\n\nExit codes: ")
		if !ok || strings.Contains(codes, "\n\n") {
			t.Errorf("the help of %s does not end with its exit codes", cmd.CommandPath())
		}
		fmt.Fprintf(&b, "```text\n%s\n\n%s\n```\n\nExit codes: %s\n", cmd.UseLine(), text, strings.ReplaceAll(codes, "\n", " "))
		if len(cmd.Aliases) > 0 {
			fmt.Fprintf(&b, "\nAlso called `%s`.\n", strings.Join(cmd.Aliases, "`, `"))
		}
		if cmd.Name() == "run" || cmd.Name() == "config" {
			b.WriteString("\nIts flags are the settings of [configuration.md](configuration.md)")
			if cmd.Name() == "run" {
				b.WriteString(".\n")
				continue
			}
			b.WriteString(", and:\n")
		}
		flagTable(&b, cmd.LocalNonPersistentFlags(), func(f *pflag.Flag) bool {
			return f.Name != "help" && (cmd.Name() != "config" || slices.Contains(ownFlags, f.Name))
		})
	}
	b.WriteString("\n## Flags of every command\n")
	flagTable(&b, root.PersistentFlags(), func(*pflag.Flag) bool { return true })
	return b.String()
}

func flagTable(b *strings.Builder, flags *pflag.FlagSet, wanted func(*pflag.Flag) bool) {
	head := "\n| flag | default | what it does |\n|---|---|---|\n"
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && wanted(f) {
			fmt.Fprintf(b, "%s| %s | %s | %s |\n", head, flagNames(f), defaultOf(f), cell(f.Usage))
			head = ""
		}
	})
}

// configurationPage lists every setting of the agent.
func configurationPage(t *testing.T) string {
	t.Helper()
	root := (&program{}).root()
	run, _, err := root.Find([]string{"run"})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Configuration\n\nMade from the code (`make docs`). The settings of `pullwatch run`; the other commands read those of them that they have.\n\n"+
		"A flag is stronger than the environment, that is stronger than the file (`%s`, or the one that `--config-file` names), and that than the default.\n"+
		"Of two variables the first is the stronger. The key in the file is the flag's name without its dashes; one that no setting has is an error.\n"+
		"`pullwatch config` prints what is in force and where each came from, `pullwatch config --example` the file with comments.\n\n"+
		"`--runtime-endpoint`, `--image-endpoint` and `--timeout` also obey crictl's file, which is weaker than ours: [interop.md](../interop.md#etccrictlyaml).\n\n"+
		"| flag | environment | key in the file | default | what it does |\n|---|---|---|---|---|\n", defaultFile)
	row := func(f *pflag.Flag) {
		if f.Name == "help" || f.Hidden {
			return
		}
		variables := "`" + environmentName(f.Name) + "`"
		if theirs := othersEnvironment[f.Name]; theirs != "" {
			variables += ", `" + theirs + "`"
		}
		key := "`" + f.Name + "`"
		if slices.Contains(notInFile, f.Name) {
			key = "none"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", flagNames(f), variables, key, defaultOf(f), cell(f.Usage))
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.SortFlags = false
	root.PersistentFlags().SortFlags = false
	flags.AddFlagSet(root.PersistentFlags())
	flags.AddFlagSet(run.LocalNonPersistentFlags())
	flags.VisitAll(row)
	return b.String()
}

func flagNames(f *pflag.Flag) string {
	if f.Shorthand != "" {
		return "`--" + f.Name + "`, `-" + f.Shorthand + "`"
	}
	return "`--" + f.Name + "`"
}

// defaultOf is what stands in the flag before anything is read: nothing of this machine.
func defaultOf(f *pflag.Flag) string {
	if f.DefValue == "" || f.DefValue == "[]" {
		return ""
	}
	return "`" + f.DefValue + "`"
}

// cell makes a text safe in a table of Markdown.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ", "*", `\*`).Replace(text)
}

// TestConfigurationExample: what `pullwatch config --example` prints has the settings of the page, and no others.
func TestConfigurationExample(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := Main([]string{"config", "--example", "--config-file", os.DevNull}, nil, &stdout, &stderr); code != exitFine {
		t.Fatalf("%d: %s", code, stderr.String())
	}
	var have []string
	lines := strings.Split(stdout.String(), "\n")
	for i, line := range lines {
		if i > 1 && lines[i-2] == "" {
			name, _, _ := strings.Cut(strings.TrimPrefix(line, "# "), ":")
			have = append(have, name)
		}
	}
	var want []string
	for line := range strings.Lines(configurationPage(t)) {
		if fields := strings.Split(line, " | "); len(fields) > 3 && strings.HasPrefix(fields[2], "`") {
			want = append(want, strings.Trim(fields[2], "`"))
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("the page (-) and the example (+):\n%s", diff)
	}
}
