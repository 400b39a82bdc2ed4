package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pullwatch/pullwatch/pkg/cause"
)

// maxLine bounds one line of input, in bytes: a longer one is an error of its own, and the next is read.
const maxLine = 1 << 20

func classifyCommand(p *program) *cobra.Command {
	var text bool
	cmd := &cobra.Command{
		Use:   "classify [TEXT ...]",
		Short: "Name the cause in the text of a failed pull",
		Long: `Reads JSON lines {"reason": "...", "message": "...", "image": "..."} on standard input (all but message optional) and writes for
each, in order, {"cause": "...", "scope": "...", "advice": "..."}. The cause is empty for a message that is no pull failure. A line
that is not such JSON gives {"error": "..."}.

With --text, or text as arguments, it takes a message or pasted output of "kubectl describe pod" and prints what a person needs.

Exit codes: 0; 1 a line was not JSON, or with text: no pull failure was found in it; 2 wrong use.`,
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) > 0:
				return p.classifyText(strings.NewReader(strings.Join(args, " ")))
			case text:
				return p.classifyText(p.stdin)
			}
			return p.classifyLines()
		},
	}
	cmd.Flags().BoolVar(&text, "text", false, "read pasted text on standard input")
	return cmd
}

type classifyResult struct {
	Cause  string `json:"cause"`
	Scope  string `json:"scope"`
	Advice string `json:"advice"`
}

func (p *program) classifyLines() error {
	in := bufio.NewReaderSize(p.stdin, 64<<10)
	out := bufio.NewWriter(p.stdout)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	bad := false
	for {
		line, err := readLine(in)
		if errors.Is(err, io.EOF) {
			break
		}
		result, problem := any(nil), err
		if err != nil && !errors.Is(err, errLongLine) {
			return fmt.Errorf("standard input: %w", err)
		}
		if problem == nil {
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			result, problem = classifyLine(line)
		}
		if problem != nil {
			bad, result = true, map[string]string{"error": problem.Error()}
		}
		if err := encoder.Encode(result); err != nil {
			return err
		}
		if in.Buffered() == 0 { // whoever types or pipes line by line sees each answer
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if bad {
		return errNotFine
	}
	return nil
}

func classifyLine(line []byte) (any, error) {
	var in struct{ Reason, Message, Image string }
	if err := json.Unmarshal(line, &in); err != nil {
		return nil, fmt.Errorf("not a JSON object with reason, message and image: %w", err)
	}
	v := cause.Classify(in.Reason, in.Message, in.Image)
	return classifyResult{v.Cause.String(), string(v.Scope()), v.Cause.Advice()}, nil
}

var errLongLine = fmt.Errorf("line longer than %d bytes", maxLine)

// readLine reads one line. Of a line that is too long it reads all and keeps nothing.
func readLine(r *bufio.Reader) (line []byte, err error) {
	long := false
	for {
		part, more, err := r.ReadLine()
		if err != nil {
			return nil, err
		}
		if len(line)+len(part) > maxLine {
			long, line = true, nil
		} else if !long {
			line = append(line, part...)
		}
		if !more {
			if long {
				return nil, errLongLine
			}
			return line, nil
		}
	}
}

// classifyText answers a person who pasted something.
func (p *program) classifyText(r io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(r, maxLine))
	if err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	if strings.TrimSpace(string(data)) == "" {
		return &usageError{"no text", "Paste the message of the failed pull, or the output of \"kubectl describe pod\"."}
	}
	found := textFailures(string(data))
	if len(found) == 0 {
		_, err := fmt.Fprintln(p.stdout, "No failed image pull in this text.")
		return errors.Join(err, errNotFine)
	}
	for i, f := range found {
		if i > 0 {
			_, _ = fmt.Fprintln(p.stdout)
		}
		what := f.Cause.Title()
		if f.image != "" {
			what += ": " + f.image
		}
		if f.Sandbox {
			what = "Sandbox image, every pod of the node: " + what
		}
		if _, err := fmt.Fprintf(p.stdout, "%s\n  cause:  %s (scope %s)\n  do:     %s\n  more:   %s\n",
			clean(what), f.Cause, f.Scope(), f.Cause.Advice(), f.Cause.Runbook()); err != nil {
			return err
		}
	}
	return nil
}

// textFailure is a failed pull found in a text.
type textFailure struct {
	cause.Verdict
	image string
}

// textFailures finds the failed pulls in a text. A bare back-off beside a known cause of the same image says nothing.
func textFailures(text string) (found []textFailure) {
	known := make(map[string]bool) // images with a cause
	for _, said := range statements(text) {
		v := cause.Classify(said.reason, said.message, "")
		if v.Cause == cause.None {
			continue
		}
		f := textFailure{v, quotedImage(said.message)}
		if !slices.Contains(found, f) {
			found = append(found, f)
		}
		if v.Cause != cause.Unknown {
			known[f.image], known[""] = true, true
		}
	}
	if len(found) == 0 && !describes(text) {
		if v := cause.Classify("", strings.Join(strings.Fields(text), " "), ""); v.Cause != cause.None {
			return []textFailure{{v, quotedImage(text)}}
		}
	}
	return slices.DeleteFunc(found, func(f textFailure) bool { return f.Cause == cause.Unknown && known[f.image] })
}

// statement is what a text says in one place.
type statement struct{ reason, message string }

// describes tells the output of "kubectl describe pod", of which only the states of waiting containers and the events speak of now: a
// container's environment, arguments and last state may say anything.
func describes(text string) bool {
	has := func(label string) bool { return strings.HasPrefix(text, label) || strings.Contains(text, "\n"+label) }
	return has("Events:") || has("Name:") && has("Containers:")
}

// statements takes a text apart: "kubectl describe pod" by its form, anything else line by line.
func statements(text string) (said []statement) {
	lines := strings.Split(text, "\n")
	if !describes(text) {
		for _, line := range lines {
			if line = strings.TrimSpace(line); line != "" {
				said = append(said, eventLine(line))
			}
		}
		return said
	}
	inEvents, waiting := false, false
	for _, line := range lines {
		label, value, labelled := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch {
		case strings.HasPrefix(line, "Name:"): // the next pod
			inEvents, waiting = false, false
		case inEvents:
			said = append(said, eventLine(strings.TrimSpace(line)))
		case strings.HasPrefix(line, "Events:"):
			inEvents = true
		case labelled && label == "State":
			waiting = value == "Waiting"
		case waiting && labelled && label == "Reason":
			said = append(said, statement{reason: value})
		case waiting && labelled && label == "Message" && len(said) > 0:
			said[len(said)-1].message = value
		case labelled:
			waiting = false
		}
	}
	return said
}

// eventLine reads a line of the table of events: type, reason, age, who, message. Another line is a message.
func eventLine(line string) statement {
	fields := strings.Fields(line)
	if len(fields) < 2 || fields[0] != "Warning" && fields[0] != "Normal" {
		return statement{message: line}
	}
	// Who it is from is a word of its own, behind an age that may have blanks in it ("3s (x2 over 18s)").
	if _, message, ok := strings.Cut(line, " kubelet "); ok {
		return statement{fields[1], strings.TrimSpace(message)}
	}
	return statement{fields[1], line}
}

// quotedImage is the image that a message of the kubelet names.
func quotedImage(message string) string {
	for _, before := range []string{`sandbox image "`, `Failed to pull image "`, `Back-off pulling image "`, `Container image "`, `image "`} {
		if _, rest, ok := strings.Cut(message, before); ok {
			if image, _, ok := strings.Cut(rest, `"`); ok {
				return image
			}
		}
	}
	return ""
}
