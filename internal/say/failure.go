package say

import (
	"fmt"
	"time"

	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/pkg/cause"
)

// ErrorLength is how much of an error is shown, in characters: the rest is in its middle.
const ErrorLength = 400

// Container is what of a pod waits.
func Container(f *pulls.Failure) string {
	switch f.Kind {
	case kube.KindContainer:
		return f.Container
	case kube.KindSandbox:
		return "(sandbox)"
	}
	return f.Container + " (" + string(f.Kind) + ")"
}

// Since is for how long it fails; ~ marks an estimate, and empty is not known.
func Since(f *pulls.Failure, now time.Time) string {
	if f.Since.IsZero() {
		return ""
	}
	return mark(f.SinceFrom) + Age(now.Sub(f.Since))
}

// Tries is how often it was tried; + marks a lower bound, and empty is not known.
func Tries(f *pulls.Failure) string {
	if f.Attempts == 0 {
		return ""
	}
	text := fmt.Sprint(f.Attempts)
	if f.AttemptsFrom != pulls.Observed {
		text += "+"
	}
	return text
}

// NextTry is when the kubelet's back-off ends; ~ marks an estimate, and empty is not known.
func NextTry(f *pulls.Failure, now time.Time) string {
	switch {
	case f.NextTry.IsZero():
		return ""
	case !f.NextTry.After(now):
		return mark(f.NextTryFrom) + "due"
	}
	return mark(f.NextTryFrom) + "in " + Age(f.NextTry.Sub(now))
}

func mark(from pulls.Source) string {
	if from == pulls.Estimated {
		return "~"
	}
	return ""
}

// Who is who has to act on a cause of this scope.
func Who(s cause.Scope) string {
	switch s {
	case cause.ScopeWorkload:
		return "whoever wrote the pod"
	case cause.ScopeCredentials:
		return "whoever holds the credentials"
	case cause.ScopeRegistry:
		return "whoever runs the registry"
	case cause.ScopeNetwork:
		return "whoever runs the network"
	case cause.ScopeNode:
		return "whoever runs this node"
	case cause.ScopeUnknown:
	}
	return "not known who"
}
