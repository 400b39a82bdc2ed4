package critest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/pkg/cri"
)

// Target is a runtime that [Conformance] runs against, and how it was
// prepared.
type Target struct {
	Client *cri.Client
	// Name is the runtime's own, "containerd" or "cri-o".
	Name string
	// Present is a reference that is on the node, built for the platform
	// PresentOS/PresentArch.
	Present                string
	PresentOS, PresentArch string
	// Absent is a well-formed reference that is not on the node.
	Absent string
	// Pullable is a reference that is not on the node yet and can be pulled
	// without credentials.
	Pullable string
	// NotFound is a reference that the registry answers 404 for. The answer
	// has NotFoundCode and contains NotFoundText.
	NotFound     string
	NotFoundCode codes.Code
	NotFoundText string
	// Stall makes the runtime stop answering until resume is called: a fake
	// that hangs, or SIGSTOP to a real one. Nil leaves that part out.
	Stall func(t *testing.T) (resume func())
}

// enough is a deadline that a healthy runtime always keeps.
const enough = 30 * time.Second

// Conformance checks all that the client relies on.
func Conformance(t *testing.T, target Target) {
	c := target.Client
	ctx, cancel := context.WithTimeout(t.Context(), 4*enough)
	defer cancel()

	t.Run("version", func(t *testing.T) {
		v, err := c.Version(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if v.GetRuntimeName() != target.Name || v.GetRuntimeApiVersion() != "v1" || v.GetRuntimeVersion() == "" {
			t.Errorf("got %v, want runtime %q, a version, API v1", v, target.Name)
		}
	})

	t.Run("status", func(t *testing.T) {
		for _, verbose := range []bool{false, true} {
			s, err := c.Status(ctx, verbose)
			if err != nil {
				t.Fatal(err)
			}
			if !hasCondition(s.GetStatus().GetConditions(), runtimeapi.RuntimeReady) {
				t.Errorf("verbose %t: conditions %v, want RuntimeReady true", verbose, s.GetStatus().GetConditions())
			}
			// The node may be without CNI, so only its presence is certain.
			if !slices.ContainsFunc(s.GetStatus().GetConditions(), func(c *runtimeapi.RuntimeCondition) bool {
				return c.GetType() == runtimeapi.NetworkReady
			}) {
				t.Errorf("verbose %t: no condition NetworkReady", verbose)
			}
			if got := s.GetInfo()["config"] != ""; got != verbose {
				t.Errorf("verbose %t: info has a configuration: %t", verbose, got)
			}
		}
	})

	t.Run("images", func(t *testing.T) {
		present := lookup(ctx, t, c, target.Present)
		if present == nil {
			t.Fatalf("%s is not on the node", target.Present)
		}
		images, err := c.ListImages(ctx)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(images, func(i *runtimeapi.Image) bool { return i.GetId() == present.GetId() })
		if i < 0 {
			t.Fatalf("ImageStatus knows %s as %s, ListImages does not", target.Present, present.GetId())
		}
		if !slices.Contains(images[i].GetRepoTags(), target.Present) && !slices.Contains(images[i].GetRepoDigests(), target.Present) {
			t.Errorf("names of %s: %v %v", target.Present, images[i].GetRepoTags(), images[i].GetRepoDigests())
		}
		if images[i].GetSize() == 0 {
			t.Errorf("%s has no size", target.Present)
		}
		if again := lookup(ctx, t, c, present.GetId()); again.GetId() != present.GetId() {
			t.Errorf("lookup by id %s gives %v", present.GetId(), again)
		}
	})

	t.Run("absent image", func(t *testing.T) {
		for _, verbose := range []bool{false, true} {
			image, info, err := c.ImageStatus(ctx, target.Absent, verbose)
			if image != nil || len(info) != 0 || err != nil {
				t.Errorf("verbose %t: got %v, %v, %v, want nothing", verbose, image, info, err)
			}
		}
	})

	t.Run("platform", func(t *testing.T) {
		_, info, err := c.ImageStatus(ctx, target.Present, true)
		if err != nil {
			t.Fatal(err)
		}
		config := cri.ReadImageConfig(info)
		if config.OS != target.PresentOS || config.Architecture != target.PresentArch || len(config.DiffIDs) == 0 {
			t.Errorf("got %+v, want %s/%s and its layers; info %v", config, target.PresentOS, target.PresentArch, info)
		}
		if _, info, err := c.ImageStatus(ctx, target.Present, false); err != nil || len(info) != 0 {
			t.Errorf("not verbose: info %v, error %v, want none", info, err)
		}
	})

	t.Run("image filesystem", func(t *testing.T) {
		fs, err := c.ImageFsInfo(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(fs.GetImageFilesystems()) == 0 {
			t.Fatal("no image filesystem")
		}
		first := fs.GetImageFilesystems()[0]
		if first.GetFsId().GetMountpoint() == "" || first.GetTimestamp() == 0 || first.GetUsedBytes() == nil || first.GetInodesUsed() == nil {
			t.Errorf("got %v, want directory, time, bytes and inodes", first)
		}
	})

	t.Run("containers and sandboxes", func(t *testing.T) {
		containers, err := c.ListContainers(ctx)
		if err != nil {
			t.Error(err)
		}
		sandboxes, err := c.ListPodSandboxes(ctx)
		if err != nil {
			t.Error(err)
		}
		for _, c := range containers {
			if !slices.ContainsFunc(sandboxes, func(s *runtimeapi.PodSandbox) bool { return s.GetId() == c.GetPodSandboxId() }) {
				t.Errorf("container %s has no sandbox in the list", c.GetId())
			}
		}
	})

	t.Run("pull", func(t *testing.T) {
		if lookup(ctx, t, c, target.Pullable) != nil {
			t.Fatalf("%s is on the node before the pull", target.Pullable)
		}
		ref, err := c.PullImage(ctx, target.Pullable, nil)
		if err != nil {
			t.Fatal(err)
		}
		if image := lookup(ctx, t, c, target.Pullable); image == nil || image.GetId() != ref {
			t.Errorf("pulled as %q, then found as %v", ref, image)
		}
	})

	t.Run("pull of what is not there", func(t *testing.T) {
		ref, err := c.PullImage(ctx, target.NotFound, nil)
		e := wantKind(t, err, cri.Answered)
		code, text, ok := e.Answer()
		if ref != "" || !ok || code != target.NotFoundCode || !strings.Contains(text, target.NotFoundText) {
			t.Errorf("got %q, code %v, text %q, %t, want code %v, text with %q", ref, code, text, ok, target.NotFoundCode, target.NotFoundText)
		}
		if s, _ := status.FromError(err); s.Code() != target.NotFoundCode {
			t.Errorf("as a gRPC status: %v, want code %v", s, target.NotFoundCode)
		}
		if image := lookup(ctx, t, c, target.NotFound); image != nil {
			t.Errorf("after the failed pull there is %v", image)
		}
	})

	t.Run("pull of no reference", func(t *testing.T) {
		_, err := c.PullImage(ctx, target.NotFound+"/UPPER:1", nil)
		wantKind(t, err, cri.Answered)
	})

	t.Run("deadline", func(t *testing.T) {
		ctx, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
		defer cancel()
		_, err := c.ListImages(ctx)
		wantKind(t, err, cri.Timeout)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v is not context.DeadlineExceeded", err)
		}
	})

	t.Run("cancel", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		_, err := c.ListImages(ctx)
		wantKind(t, err, cri.Canceled)
		_, err = c.PullImage(ctx, target.Pullable, nil)
		wantKind(t, err, cri.Canceled)
	})

	if target.Stall == nil {
		return
	}
	t.Run("stalled", func(t *testing.T) {
		resume := target.Stall(t)
		defer resume()

		const patience = 200 * time.Millisecond
		short, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		start := time.Now()
		_, err := c.ListImages(short)
		wantKind(t, err, cri.Timeout)
		if took := time.Since(start); took < patience/2 || took > patience+5*time.Second {
			t.Errorf("took %v, want about %v", took, patience)
		}

		left, leave := context.WithCancel(ctx)
		time.AfterFunc(patience, leave)
		_, err = c.PullImage(left, target.Pullable, nil)
		wantKind(t, err, cri.Canceled)

		resume()
		if _, err := c.Version(ctx); err != nil {
			t.Errorf("after it resumed: %v", err)
		}
	})
}

func lookup(ctx context.Context, t *testing.T, c *cri.Client, ref string) *runtimeapi.Image {
	t.Helper()
	image, _, err := c.ImageStatus(ctx, ref, false)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func hasCondition(all []*runtimeapi.RuntimeCondition, kind string) bool {
	return slices.ContainsFunc(all, func(c *runtimeapi.RuntimeCondition) bool {
		return c.GetType() == kind && c.GetStatus()
	})
}

func wantKind(t *testing.T, err error, want cri.Kind) *cri.Error {
	t.Helper()
	var e *cri.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *cri.Error of kind %v", err, want)
	}
	if e.Kind != want {
		t.Fatalf("got kind %v (%v), want %v", e.Kind, err, want)
	}
	return e
}
