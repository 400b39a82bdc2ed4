package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// textFailures finds the failed pulls in a text: each line for itself, as events and states are printed; a cause that is known leaves out
// the bare back-offs beside it. Where no line says anything, the text as a whole may.
func textFailures(text string) (found []textFailure) {
	seen := make(map[textFailure]bool)
	known := make(map[string]bool) // images with a cause
	reason := ""
	for _, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(trimmed, "Reason:"); ok { // the State of a container; its Message follows
			reason = strings.TrimSpace(rest)
			if v := cause.Classify(reason, "", ""); v.Cause == cause.Unknown || v.Cause == cause.None {
				continue
			}
		}
		message, of := trimmed, ""
		if rest, ok := strings.CutPrefix(trimmed, "Message:"); ok {
			message, of = strings.TrimSpace(rest), reason
		} else if fields := strings.Fields(trimmed); len(fields) > 1 && (fields[0] == "Warning" || fields[0] == "Normal") {
			of = fields[1]
			// Type Reason Age From Message: the message starts behind the column From.
			if i := strings.Index(trimmed, "  kubelet"); i >= 0 {
				message = strings.TrimSpace(strings.TrimPrefix(strings.TrimLeft(trimmed[i:], " "), "kubelet"))
			}
		} else if strings.HasPrefix(trimmed, "Reason:") {
			of = reason
		}
		v := cause.Classify(of, message, "")
		if v.Cause == cause.None {
			continue
		}
		f := textFailure{v, quotedImage(message)}
		if !seen[f] {
			seen[f] = true
			found = append(found, f)
			known[f.image] = known[f.image] || v.Cause != cause.Unknown
		}
	}
	if len(found) == 0 {
		if v := cause.Classify("", strings.Join(strings.Fields(text), " "), ""); v.Cause != cause.None {
			return []textFailure{{v, quotedImage(text)}}
		}
	}
	anyKnown := false
	for _, is := range known {
		anyKnown = anyKnown || is
	}
	kept := found[:0]
	for _, f := range found {
		if f.Cause == cause.Unknown && (known[f.image] || f.image == "" && anyKnown) {
			continue
		}
		kept = append(kept, f)
	}
	return kept
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
