package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/distribution/reference"
	"github.com/spf13/cobra"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/cri"
)

func pullCommand(p *program) *cobra.Command {
	var o output
	var c credentials
	var patience time.Duration
	cmd := &cobra.Command{
		Use:   "pull IMAGE",
		Short: "Have the runtime pull an image, and say what that means for pods",
		Long: `Has the container runtime of this node pull an image, as the kubelet would, and concludes what that means for the pods on this node:
whose affair it is where it fails, and what remains where it works. Flags are those of crictl, and so is the first line of what it prints.

The image stays on the node. Credentials go to the runtime and nowhere else; CRICTL_CREDS and CRICTL_AUTH keep them off the command line.

Exit codes: 0 pulled; 1 not pulled; 2 the runtime could not be asked, or wrong use.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] != "" {
				return nil
			}
			return &usageError{fmt.Sprintf("one image is wanted, received %d", len(args)), "Write \"pullwatch pull registry/repository:tag\"."}
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			if patience < 0 {
				return &usageError{fmt.Sprintf("--pull-timeout %s is below zero", patience), "Give a duration such as 5m; 0 is no end."}
			}
			auth, err := c.read(cmd.Context(), p)
			if err != nil {
				return err
			}
			client, _, err := p.settings.runtime()
			if err != nil {
				return err
			}
			defer func() { _ = client.Close() }()
			answer, err := p.pull(cmd.Context(), client, args[0], auth, patience)
			if err != nil {
				return err
			}
			if err := p.printPull(&o, answer); err != nil {
				return err
			}
			if !answer.Pulled {
				return errNotFine
			}
			return nil
		},
	}
	o.flags(cmd.Flags(), "print only the image's ID, and nothing where it was not pulled")
	c.flags(cmd.Flags())
	cmd.Flags().DurationVar(&patience, "pull-timeout", 0, "end the pull after this time (CRICTL_PULL_TIMEOUT); 0 is no end")
	return cmd
}

// errPatience ends a pull that takes longer than a person wants to wait. It is no deadline, since the runtime would be told of that and
// answer in words of its own.
var errPatience = errors.New("longer than --pull-timeout")

// pull has the runtime pull. An error is that the runtime could not be asked; that it could not pull is an answer.
func (p *program) pull(
	ctx context.Context, client *cri.Client, image string, auth *runtimeapi.AuthConfig, patience time.Duration,
) (*pullAnswer, error) {
	before, err := client.ListImages(ctx)
	if err != nil {
		return nil, err
	}
	a := &pullAnswer{Schema: "pullwatch.pull/v1", Image: image, Credentials: auth != nil}
	pullContext, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if patience > 0 {
		defer time.AfterFunc(patience, func() { cancel(errPatience) }).Stop()
	}
	stop := p.progress("pulling " + image)
	begin := time.Now()
	a.ImageRef, err = client.PullImage(pullContext, image, auth)
	a.Seconds = time.Since(begin).Round(time.Millisecond).Seconds()
	stop()
	var e *cri.Error
	switch {
	case err == nil:
		a.Pulled = true
		a.BeforeOnNode = cri.IndexImages(before).Get(a.ImageRef) != nil
		if found, _, err := client.ImageStatus(ctx, a.ImageRef, false); err == nil {
			a.SizeBytes = found.GetSize()
		}
	case errors.Is(context.Cause(pullContext), errPatience):
		a.fail(cause.Canceled, fmt.Sprintf("not finished within %s (--pull-timeout), and cancelled", patience))
	case errors.As(err, &e) && e.Kind == cri.Answered:
		_, text, _ := e.Answer()
		a.fail(cause.Classify("ErrImagePull", text, image).Cause, text)
	default:
		return nil, err
	}
	a.addFailures(p.snapshot(ctx))
	a.Meaning = a.meaning()
	return a, nil
}

// pullAnswer is what `pullwatch pull` prints.
type pullAnswer struct {
	Schema      string `json:"schema"`
	Image       string `json:"image"` // as it was asked for
	Pulled      bool   `json:"pulled"`
	Credentials bool   `json:"credentials"` // whether some were given

	ImageRef string `json:"imageRef,omitempty"` // the runtime's name for it
	// BeforeOnNode: then the registry was asked for the manifest, and for no layers.
	BeforeOnNode bool    `json:"beforeOnNode"`
	SizeBytes    uint64  `json:"sizeBytes,omitempty"` // as the runtime counts; absent when not known
	Seconds      float64 `json:"seconds"`

	Cause  cause.Cause `json:"cause,omitempty"`
	Scope  cause.Scope `json:"scope,omitempty"`
	Advice string      `json:"advice,omitempty"`
	Error  string      `json:"error,omitempty"` // the runtime's own

	Meaning  []string      `json:"meaning"`            // in sentences
	Failures []pullFailure `json:"failures,omitempty"` // on this node, with this image
	NotKnown []string      `json:"notKnown,omitempty"`
}

// pullFailure is a container that waits for the image, and what the pull here says of it.
type pullFailure struct {
	pulls.Failure
	Meaning string `json:"meaning"`
}

func (a *pullAnswer) fail(c cause.Cause, text string) {
	a.Cause, a.Scope, a.Advice, a.Error = c, c.Scope(), c.Advice(), pulls.Redact(text)
}

// addFailures adds who waits for this image on this node, as far as an agent knows. Where none runs, nobody does.
func (a *pullAnswer) addFailures(snapshot *agent.Snapshot, err error) {
	switch {
	case errors.Is(err, agent.ErrNoAgent):
		return
	case err != nil:
		a.NotKnown = append(a.NotKnown, "which pods wait for this image: "+err.Error())
		return
	case snapshot.Failures.Error != "":
		a.NotKnown = append(a.NotKnown, "which pods wait for this image by now: "+snapshot.Failures.Error)
	}
	for _, f := range snapshot.Failures.Value {
		if sameImage(f.Image, a.Image) {
			a.Failures = append(a.Failures, pullFailure{f, a.meaningFor(&f)})
		}
	}
	slices.SortStableFunc(a.Failures, func(x, y pullFailure) int { return x.Since.Compare(y.Since) })
}

// sameImage compares references as a runtime reads them: shop/cart is docker.io/shop/cart:latest.
func sameImage(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := reference.ParseDockerRef(a)
	y, errY := reference.ParseDockerRef(b)
	return errX == nil && errY == nil && x.String() == y.String()
}
