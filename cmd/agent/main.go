// Command pullwatch is the agent on every Kubernetes node that knows why images cannot be pulled, and the program that asks it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// The exit codes of every subcommand. Each subcommand's help says what 1 means for it.
const (
	exitFine    = 0
	exitNotFine = 1
	exitUnknown = 2 // could not tell, or wrong use
)

// errNotFine ends a subcommand with exitNotFine; what is not fine was already printed.
var errNotFine = errors.New("not fine")

// program is what subcommands share: where they write and what they were told.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	settings       settings
}

func main() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// Main runs the program with the arguments and returns its exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr}
	root := p.root()
	root.SetArgs(args)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitFine
	case errors.Is(err, errNotFine):
		return exitNotFine
	}
	p.complain(err)
	return exitUnknown
}

// root is the program with all its subcommands.
func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "pullwatch",
		Short: "Tells why images cannot be pulled on this node",
		Long: `Pullwatch is the agent on a Kubernetes node that knows whether the node can pull images, why not, for whom, since when,
and what to do about it.

"pullwatch run" is the agent. The other commands ask it over its socket, and do what they can by themselves where none runs.

Exit codes: 0 fine, 1 what was asked about is not fine, 2 could not tell or wrong use.`,
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return p.settings.resolve(cmd) },
		Version:           build.version,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				hint := `Run "pullwatch --help" for the commands.`
				if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
					hint = fmt.Sprintf("Did you mean %q? ", like[0]) + hint
				}
				return &usageError{fmt.Sprintf("unknown command %q", args[0]), hint}
			}
			return cmd.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{err.Error(), "Run \"" + cmd.CommandPath() + " --help\" for what it takes."}
	})
	p.settings.global(root.PersistentFlags())
	root.AddCommand(runCommand(p), failuresCommand(p), infoCommand(p), classifyCommand(p), pullCommand(p), probeCommand(p), dfCommand(p),
		imagesCommand(p), inspectiCommand(p), imageFsInfoCommand(p), psCommand(p), podsCommand(p),
		configCommand(p), versionCommand(p), removeConditionsCommand(p))
	return root
}

// usageError is a wrong use, with what to do.
type usageError struct{ text, hint string }

func (e *usageError) Error() string { return e.text }
func (e *usageError) Hint() string  { return e.hint }

// atMost takes so many arguments and no more.
func atMost(most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) <= most {
			return nil
		}
		return &usageError{fmt.Sprintf("accepts at most %d arg(s), received %d", most, len(args)), "Run \"" + cmd.CommandPath() + " --help\" for what it takes."}
	}
}

// complain prints an error for a person: a line that says what and where, and one that says what to do.
func (p *program) complain(err error) {
	_, _ = fmt.Fprintf(p.stderr, "pullwatch: %s\n", clean(firstLine(err.Error())))
	if h := hintOf(err); h != "" {
		_, _ = fmt.Fprintln(p.stderr, clean(h))
	}
}

// note tells a person something about an answer without being part of it.
func (p *program) note(format string, args ...any) {
	_, _ = fmt.Fprintln(p.stderr, clean(fmt.Sprintf(format, args...)))
}

// firstLine joins what some libraries spread over lines.
func firstLine(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "\n", " ")), " ")
}

// hintOf is the sentence on what to do that an error carries, or that one of those it wraps does.
func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
