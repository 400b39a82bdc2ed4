package main

// The rules of output, for every subcommand:
//
//  1. stdout is data, stderr is talk: notes on what could not be seen, hints, errors.
//  2. -o table is for people, json and yaml are for programs and carry a schema; -q prints one identifier a line.
//  3. What came from outside is cleaned of control characters before a person's terminal sees it.
//  4. Ages are rounded to what a person reads; ~ marks an estimate, + a lower bound, - what is not known.
//  5. An error is one line that says what and where, then one line that says what to do.

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf16"

	"github.com/spf13/pflag"
	"golang.org/x/term"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/pullwatch/pullwatch/internal/say"
)

// output is the form a command prints in.
type output struct {
	format  string // what it is before flags are read is the default; empty is table
	quiet   bool
	noTrunc bool
}

func (o *output) flags(f *pflag.FlagSet, quiet string) {
	f.StringVarP(&o.format, "output", "o", cmp.Or(o.format, "table"), "output format: table, json or yaml")
	if quiet != "" {
		f.BoolVarP(&o.quiet, "quiet", "q", false, quiet)
	}
}

func (o *output) validate() error {
	switch o.format {
	case "table", "json", "yaml":
		return nil
	}
	return &usageError{fmt.Sprintf("--output %q: no such format", o.format), "Formats are table, json and yaml."}
}

// data writes v as JSON or YAML.
func (o *output) data(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return o.raw(w, text)
}

// message writes a message of the CRI as crictl does: empty values are shown, messages that are not there are left out.
func (o *output) message(w io.Writer, m proto.Message) error {
	text, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return err
	}
	return o.data(w, json.RawMessage(text)) // whose blanks are not left to chance
}

// raw writes what is JSON already.
func (o *output) raw(w io.Writer, text []byte) (err error) {
	text = append(escaped(text), '\n')
	if o.format == "yaml" {
		if text, err = yaml.JSONToYAML(text); err != nil {
			return err
		}
		text = visible(text)
	}
	_, err = w.Write(text)
	return err
}

// escaped writes unsafe characters of JSON as their code, which reads back as the same text.
func escaped(text []byte) []byte {
	if bytes.IndexFunc(text, func(r rune) bool { return r >= 0x7f && say.Unsafe(r) }) < 0 {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case r < 0x7f || !say.Unsafe(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

// visible takes the unsafe characters out of YAML, which cannot escape them everywhere: they show as their code.
func visible(text []byte) []byte {
	lines := strings.Split(string(text), "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return []byte(strings.Join(lines, "\n"))
}

// table writes rows in columns. The first row is the heading.
func table(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	for _, row := range rows {
		for i := range row {
			row[i] = clean(row[i])
			if row[i] == "" {
				row[i] = "-"
			}
		}
		_, _ = fmt.Fprintln(tw, strings.Join(row, "\t")) // kept until Flush, which tells
	}
	return tw.Flush()
}

// lines writes texts, one a line.
func lines(w io.Writer, texts []string) error {
	for _, text := range texts {
		if _, err := fmt.Fprintln(w, clean(text)); err != nil {
			return err
		}
	}
	return nil
}

// isTerminal tells whether a person sits at the other end of a standard stream.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// progress tells a person that something goes on and for how long, until stop is called. Where nobody watches it is silent.
func (p *program) progress(what string) (stop func()) {
	if !isTerminal(p.stderr) {
		return func() {}
	}
	return progressLine(p.stderr, what)
}

// progressLine writes one line again every second, and takes it away at the end.
func progressLine(w io.Writer, what string) (stop func()) {
	const width = 60 // a line that wraps could not be written over
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for begin := time.Now(); ; {
			_, _ = fmt.Fprintf(w, "\r%s %s", shorten(clean(what), width), age(time.Since(begin)))
			select {
			case <-done:
				_, _ = io.WriteString(w, "\r\x1b[K")
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(done)
		<-gone
	}
}

// The short names of what every subcommand says; the words themselves are in internal/say, which the page asks too.

func clean(text string) string             { return say.Clean(text) }
func shorten(text string, most int) string { return say.Shorten(text, most) }
func age(d time.Duration) string           { return say.Age(d) }
func size(n uint64) string                 { return say.Size(n) }
