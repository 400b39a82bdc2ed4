package cause

import "strings"

// Verdict is what a text says: why a pull failed, and whether it was that of a sandbox (pause) image.
type Verdict struct {
	Cause Cause
	// Sandbox is set where the image is the one that the runtime itself needs for every pod.
	Sandbox bool
}

// Scope says who has to act. A sandbox image that cannot be pulled blocks every pod of the node, whatever the cause.
func (v Verdict) Scope() Scope {
	if v.Sandbox && v.Cause != None {
		return ScopeNode
	}
	return v.Cause.Scope()
}

// Classify reads the cause out of a waiting reason or event reason and its message. The image, where it is known, keeps a name that is
// no valid reference from being read as part of the text. Any of the three may be empty.
//
// Reasons are those of the kubelet's image manager (pkg/kubelet/images/types.go). Since 1.33 a reason may be free text, which is read
// like a message.
func Classify(reason, message, image string) Verdict {
	if strings.IndexByte(reason, ' ') >= 0 {
		if v := Classify("", reason, image); v.Cause != None {
			return v
		}
		if credentialText(reason) {
			return Verdict{Cause: SecretMissing}
		}
		if strings.Contains(reason, "image") || strings.Contains(reason, "pull") {
			return Verdict{Cause: Unknown}
		}
		reason = ""
	}
	kind := kindOf(reason)
	switch {
	case kind.never:
		return Verdict{}
	case kind.fixed != None:
		return Verdict{Cause: kind.fixed}
	}
	s := scan{text: message, skip: image, evidence: kind.pull}
	s.run()
	v := Verdict{Cause: s.verdict(), Sandbox: s.inSandbox || reason == "FailedCreatePodSandBox"}
	pull := s.evidence || v.Sandbox && mentionsRegistryPath(message)
	switch {
	case s.vetoed && !kind.pull:
		return Verdict{}
	case v.Cause == RuntimeUnavailable && (reason == "" || v.Sandbox):
		// The runtime is the node's affair even where the text does not get as far as an image. With another reason than that of a
		// sandbox it is what was done to a container whose image is there.
	case !pull && (kind.needsEvidence || v.Sandbox || reason == "Failed" && strings.HasPrefix(message, "Error: ")):
		return Verdict{}
	}
	if v.Cause == None && kind.pull {
		v.Cause = kind.otherwise
	}
	if v.Cause == None {
		return Verdict{}
	}
	return v
}

// reasonKind is what a reason alone says.
type reasonKind struct {
	never         bool  // never about a pull
	fixed         Cause // the reason is the cause
	pull          bool  // always about a pull
	otherwise     Cause // for pull: the cause where the text has none
	needsEvidence bool  // about a pull only where the text says so
}

func kindOf(reason string) reasonKind {
	switch reason {
	case "ErrImagePull", "ImagePullBackOff", "ImageInspectError", "InspectFailed":
		return reasonKind{pull: true, otherwise: Unknown}
	case "RegistryUnavailable": // the kubelet's name for CRI-O's connection refused
		return reasonKind{pull: true, otherwise: Connection}
	case "SignatureValidationFailed":
		return reasonKind{fixed: PolicyRejected}
	case "InvalidImageName":
		return reasonKind{fixed: InvalidReference}
	case "ErrImageNeverPull":
		return reasonKind{fixed: NotPresent}
	case "FailedToRetrieveImagePullSecret":
		return reasonKind{fixed: SecretMissing}
	case "Pulling", "Pulled", "Created", "Started", "Scheduled", "Killing", "Completed", "OOMKilled", "Evicted", "Preempting",
		"Unhealthy", "ProbeWarning", "CrashLoopBackOff", "RunContainerError", "StartError", "CreateContainerConfigError",
		"PostStartHookError", "PreStopHookError", "FailedPostStartHook", "FailedPreStopHook", "ContainerStatusUnknown",
		"FailedScheduling", "FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedUnMount", "FailedBinding",
		"ProvisioningFailed", "VolumeResizeFailed", "FailedKillPod", "FailedCreatePodContainer", "FailedValidation",
		"NetworkNotReady", "SandboxChanged", "DNSConfigForming", "NodeNotReady", "TaintManagerEviction", "FailedCreate":
		return reasonKind{never: true}
	case "", "Failed", "BackOff":
		return reasonKind{}
	default:
		return reasonKind{needsEvidence: true}
	}
}

func mentionsRegistryPath(text string) bool {
	return strings.Contains(text, "/v2/") || strings.Contains(text, "/v1/_ping")
}

// credentialText tells the errors of reading an imagePullSecret, which the kubelet (since 1.33) gives as a bare reason.
func credentialText(text string) bool {
	for _, start := range [...]string{"invalid character ", "illegal base64 ", "unexpected end of JSON", "json: "} {
		if strings.HasPrefix(text, start) {
			return true
		}
	}
	return false
}
