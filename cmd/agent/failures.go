package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/internal/keyring"
	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/internal/say"
	"github.com/pullwatch/pullwatch/pkg/cause"
)

// FailuresSchema names the form of the JSON.
const FailuresSchema = "pullwatch.failures/v1"

// failuresAnswer is what `pullwatch failures` prints.
type failuresAnswer struct {
	Schema   string    `json:"schema"`
	Failures []failure `json:"failures"`
	// NotKnown says in sentences what could not be seen.
	NotKnown []string `json:"notKnown,omitempty"`
	stale    bool     // nothing is known of now
}

// failure is one, with what came of the pull secrets that its pod names, where the agent is told to read these.
type failure struct {
	pulls.Failure
	Logins []keyring.Outcome `json:"logins,omitempty"`
}

func failuresCommand(p *program) *cobra.Command {
	var o output
	var namespace string
	cmd := &cobra.Command{
		Use:     "failures",
		Aliases: []string{"failing"},
		Short:   "List who cannot pull an image on this node, why, since when, and what to do",
		Long: `Lists every container of this node, and every sandbox, that waits because its image cannot be pulled.

It asks the agent on this node. Where none runs, it asks the API server once; it then knows less of attempts and times, and says so.

In the table ~ marks what was estimated and + a count that may be higher. NEXT TRY is when the kubelet's back-off ends; the kubelet
itself looks every 10 seconds or so.

Where the agent may read the pull secrets that a pod names (run --pull-secrets), it also says what came of each: whether the secret has a
login for this registry, and whether the registry takes it.

Exit codes: 0 nobody waits for an image, 1 somebody does, 2 could not tell or wrong use.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			answer, err := p.failures(cmd.Context())
			if err != nil {
				return err
			}
			where := "on this node"
			if namespace != "" {
				where += " in namespace " + namespace
				answer.Failures = slices.DeleteFunc(answer.Failures, func(f failure) bool { return f.Namespace != namespace })
			}
			if len(answer.Failures) == 0 && answer.stale {
				return withHint(fmt.Errorf("nothing failed %s at last, and what does since is not known: %s", where, answer.NotKnown[0]),
					"Check that the API server runs and that this node reaches it.")
			}
			if err := p.printFailures(&o, answer, where); err != nil {
				return err
			}
			if len(answer.Failures) > 0 {
				return errNotFine
			}
			return nil
		},
	}
	o.flags(cmd.Flags(), "print only namespace/pod, a line each")
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "only this namespace")
	return cmd
}

// failures asks the agent, or else observes once.
func (p *program) failures(ctx context.Context) (*failuresAnswer, error) {
	answer := &failuresAnswer{Schema: FailuresSchema, Failures: []failure{}}
	snapshot, err := p.snapshot(ctx)
	switch {
	case err != nil && !errors.Is(err, agent.ErrNoAgent):
		return nil, err
	case err == nil && !snapshot.Failures.Skipped:
		part := snapshot.Failures
		switch {
		case part.At.IsZero() && part.Error != "":
			return nil, withHint(errors.New("the agent has not seen this node's pods yet: "+part.Error), "Check that the API server runs and that this node reaches it.")
		case part.At.IsZero():
			return nil, withHint(errors.New("the agent has not seen this node's pods yet"), "Try again in a few seconds.")
		case part.Error != "":
			answer.stale = true
			answer.NotKnown = append(answer.NotKnown, fmt.Sprintf("what happened since %s: %s", part.At.Format(time.RFC3339), part.Error))
		}
		for i := range part.Value {
			answer.Failures = append(answer.Failures, failure{part.Value[i], snapshot.LoginsOf(&part.Value[i])})
		}
		return answer, nil
	case p.settings.noKube, err == nil:
		return nil, withHint(errors.New("which pods fail is not known without an API server"), "Run without --no-kube, here or at the agent.")
	}
	answer.NotKnown = append(answer.NotKnown,
		err.Error()+": observed once, so attempts and times are only what events still tell")
	observed, err := p.observeFailures(ctx, answer)
	for _, f := range observed {
		answer.Failures = append(answer.Failures, failure{Failure: f})
	}
	return answer, err
}

// snapshot asks the agent on this node for what it knows.
func (p *program) snapshot(ctx context.Context) (*agent.Snapshot, error) {
	s, err := agent.Fetch(ctx, p.settings.socket)
	switch {
	case err == nil, errors.Is(err, agent.ErrNoAgent):
		return s, err
	case errors.Is(err, os.ErrPermission):
		return nil, withHint(err, "Run this as root or as the agent's user, or name another socket with --socket.")
	}
	return nil, withHint(err, "Use the program that the agent runs, restart the agent, or name another socket with --socket.")
}

// maxEventLookups bounds how many pods a command without an agent asks the events of.
const maxEventLookups = 50

func (p *program) observeFailures(ctx context.Context, answer *failuresAnswer) ([]pulls.Failure, error) {
	k, err := p.settings.kube()
	if errors.Is(err, kube.ErrNoConfig) {
		return nil, withHint(fmt.Errorf("no agent answers at %s, and %w", p.settings.socket, err),
			"Start the agent (pullwatch run), or name an API server with --kubeconfig.")
	} else if err != nil {
		return nil, withHint(err, "Name a kubeconfig that can be read with --kubeconfig.")
	}
	var unknown *kube.Error
	if _, err := k.Node(ctx); errors.As(err, &unknown) && unknown.NotFound() {
		return nil, err
	} else if err != nil {
		answer.NotKnown = append(answer.NotKnown, "whether the cluster has this node: "+err.Error())
	}
	pods, err := k.Pods(ctx)
	if err != nil {
		return nil, err
	}
	// Observed a minute from now, every question that only waits for the kubelet to write its events is due.
	tracker := pulls.NewTracker(func() time.Time { return time.Now().Add(time.Minute) }, nil)
	tracker.Replace(pods)
	for i, ask := range tracker.Due() {
		if i == maxEventLookups {
			answer.NotKnown = append(answer.NotKnown, "the events of more than "+fmt.Sprint(maxEventLookups)+" pods")
			break
		}
		events, err := k.PodEvents(ctx, ask.Namespace, ask.Name, ask.EventsUID)
		if err != nil {
			answer.NotKnown = append(answer.NotKnown, "what only events tell (since when, how often, sandbox images, causes while an old kubelet backs off): "+err.Error())
			break
		}
		tracker.Answer(ask.UID, events)
	}
	return tracker.Failures(), nil
}

func (p *program) printFailures(o *output, answer *failuresAnswer, where string) error {
	if o.format != "table" {
		return o.data(p.stdout, answer)
	}
	for _, text := range answer.NotKnown {
		p.note("Not known: %s", text)
	}
	switch {
	case o.quiet:
		last := ""
		for _, f := range answer.Failures {
			if name := f.Namespace + "/" + f.Pod; name != last {
				last = name
				if _, err := fmt.Fprintln(p.stdout, clean(name)); err != nil {
					return err
				}
			}
		}
		return nil
	case len(answer.Failures) == 0:
		_, err := fmt.Fprintf(p.stdout, "Nobody %s waits for an image that cannot be pulled.\n", clean(where))
		return err
	}
	now := time.Now()
	rows := [][]string{{"NAMESPACE", "POD", "CONTAINER", "CAUSE", "SINCE", "TRIES", "NEXT TRY", "IMAGE"}}
	for i := range answer.Failures {
		f := &answer.Failures[i].Failure
		rows = append(rows, []string{f.Namespace, f.Pod, say.Container(f), f.Cause.String(), say.Since(f, now), say.Tries(f), say.NextTry(f, now), f.Image})
	}
	if err := table(p.stdout, rows); err != nil {
		return err
	}
	return printAdvice(p.stdout, answer.Failures, now)
}

// printAdvice says once for each cause what it means and what to do, with the error that shows it and what is known of pull secrets.
func printAdvice(w io.Writer, failures []failure, now time.Time) (err error) {
	tell := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, format, args...)
		}
	}
	type kind struct {
		cause cause.Cause
		scope cause.Scope
	}
	var kinds []kind
	of := make(map[kind][]*failure)
	for i := range failures {
		f := &failures[i]
		k := kind{f.Cause, f.Scope}
		if of[k] == nil {
			kinds = append(kinds, k)
		}
		of[k] = append(of[k], f)
	}
	slices.SortFunc(kinds, func(a, b kind) int { return cmp.Or(cmp.Compare(a.cause, b.cause), cmp.Compare(a.scope, b.scope)) })
	for _, k := range kinds {
		f, more := of[k][0], ""
		if n := len(of[k]) - 1; n > 0 {
			more = fmt.Sprintf(" (and %d more)", n)
		}
		tell("\n%s: %s (%s)\n  do:    %s\n  error: %s%s\n", k.cause, k.cause.Title(), k.scope, k.cause.Advice(), clean(shorten(f.Message, say.ErrorLength)), more)
		for _, text := range secretsOf(of[k], now) {
			tell("  secret: %s\n", clean(shorten(text, say.ErrorLength)))
		}
	}
	return err
}

// secretsOf is what came of the pull secrets of failures, once each; where these are of several images, for which.
func secretsOf(failures []*failure, now time.Time) (texts []string) {
	for _, f := range failures {
		for _, o := range f.Logins {
			text := say.Login(&o, f.Registry, now)
			if slices.ContainsFunc(failures, func(other *failure) bool { return other.Image != f.Image }) {
				text += ", for " + f.Image
			}
			if !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		}
	}
	return texts
}
