package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/internal/say"
	"github.com/pullwatch/pullwatch/pkg/cause"
)

// meaning concludes from a pull here what holds for the pods of this node, and claims no more than the pull has shown.
func (a *pullAnswer) meaning() []string {
	if !a.Pulled {
		return []string{a.meaningOfFailure()}
	}
	how := "without credentials, or with those in the runtime's own configuration"
	if a.Credentials {
		how = "with the credentials given"
	}
	said := []string{
		"This node can pull it: the registry gave it " + how + ".",
		"A pod of this node that still fails on it fails for its own credentials or policy, not for the node.",
	}
	if a.BeforeOnNode {
		said = []string{
			"It was on this node before, so no layers were downloaded; the registry gave its manifest " + how + ".",
			"That proves less. Still, the registry answers this node: look first at the credentials and the policy of a pod that fails.",
		}
	}
	if len(a.Failures) > 0 {
		said = append(said, "It is on the node now: a pod that may use it from there (imagePullPolicy IfNotPresent) starts at its next try.")
	}
	return said
}

func (a *pullAnswer) meaningOfFailure() string {
	from := "the registry"
	if registry := pulls.Registry(a.Image); registry != "" {
		from = registry
	}
	switch a.Scope {
	case cause.ScopeCredentials:
		if a.Credentials {
			return "The credentials given are not enough. A pod that brings the same fails likewise, here and elsewhere; with others it may work."
		}
		return "No credentials were given here: a pod with a right imagePullSecret may well pull it. Try the pod's own with --creds."
	case cause.ScopeWorkload:
		said := "It is the image or its name, not a pod's credentials or this node alone: every pod that names it fails likewise."
		if a.Cause == cause.NotFound && !a.Credentials {
			said += " (Unless the registry hides it from those who show no credentials: try --creds.)"
		}
		return said
	case cause.ScopeRegistry:
		return "It is not the pod: " + from + " fails, or refuses this node, for whoever asks it the same."
	case cause.ScopeNetwork:
		return "It is not the pod: every pod of this node that has to pull from " + from + " fails likewise."
	case cause.ScopeNode:
		return "It is not the pod: this node cannot take the image, for whatever pod."
	case cause.ScopeUnknown:
	}
	return "What this means for a pod does not follow from it."
}

// meaningFor is what the pull here says of a container that waits for the same image.
func (a *pullAnswer) meaningFor(f *pulls.Failure) string {
	switch {
	case !a.Pulled && f.Cause == a.Cause:
		return "the same cause as here"
	case !a.Pulled:
		return "another cause than here"
	case f.Cause == cause.NotPresent:
		return "it may not pull (imagePullPolicy Never), and the image is on the node now"
	case f.Scope == cause.ScopeCredentials && a.Credentials:
		return "the credentials given here work and the pod's do not: give these to its imagePullSecret, in namespace " + f.Namespace
	case f.Scope == cause.ScopeCredentials:
		return "the registry asked for nothing here and refuses what the pod shows: correct or remove the pod's imagePullSecret; " +
			"if it has none, this was mended since"
	case f.Cause == cause.NotFound:
		return "it was there now: pushed since the pod's last try, or hidden from the pod's credentials"
	case f.Scope == cause.ScopeUnknown:
		return "it worked now"
	}
	return "it worked now: mended since the pod's last try, or the trouble comes and goes"
}

// mostPullFailures bounds how many containers a person is shown.
const mostPullFailures = 5

func (p *program) printPull(o *output, a *pullAnswer) error {
	for _, text := range a.NotKnown {
		p.note("Not known: %s", text)
	}
	switch {
	case o.format != "table":
		return o.data(p.stdout, a)
	case o.quiet && a.Pulled:
		return lines(p.stdout, []string{a.ImageRef})
	case o.quiet:
		p.note("%s: %s", a.Cause, a.Error)
		return nil
	}
	took := time.Duration(a.Seconds * float64(time.Second)).Round(time.Millisecond)
	said := labels{}
	if a.Pulled {
		said.line("Image is up to date for %s", a.ImageRef) // crictl's words
		what := a.Image
		if a.SizeBytes > 0 {
			what += ", " + size(a.SizeBytes)
		}
		said.add("image", fmt.Sprintf("%s, in %s", what, took))
	} else {
		said.line("Not pulled: %s, after %s", a.Image, took)
		said.line("%s: %s (%s)", a.Cause, a.Cause.Title(), a.Scope)
		said.add("do", a.Advice)
	}
	said.add("means", a.Meaning...)
	if !a.Pulled {
		said.add("error", shorten(a.Error, 400))
		said.add("more", a.Cause.Runbook())
	}
	now := time.Now()
	for i := range a.Failures[:min(len(a.Failures), mostPullFailures)] {
		f := &a.Failures[i]
		what := fmt.Sprintf("%s/%s %s: %s", f.Namespace, f.Pod, say.Container(&f.Failure), f.Cause)
		if next := say.NextTry(&f.Failure, now); next != "" {
			what += ", next try " + next
		}
		said.add("pod", what, f.Meaning)
	}
	if more := len(a.Failures) - mostPullFailures; more > 0 {
		said.add("pods", fmt.Sprintf("and %d more: pullwatch failures", more))
	}
	_, err := io.WriteString(p.stdout, said.String())
	return err
}

// labels is text for people in lines with a label each.
type labels struct{ strings.Builder }

func (l *labels) line(format string, args ...any) {
	l.WriteString(clean(fmt.Sprintf(format, args...)) + "\n")
}

// add writes texts below each other with one label.
func (l *labels) add(label string, texts ...string) {
	label += ":"
	for _, text := range texts {
		l.line("  %-6s %s", label, text)
		label = ""
	}
}
