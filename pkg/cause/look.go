package cause

import "strings"

// look is what has to be looked at around a phrase that is not enough by itself, or what the phrase says of the rest of the text.
type look uint8

const (
	lookNowhere      look = iota
	lookAbout             // the text is about an image, whatever its reason
	lookEvidence          // so it is, and the phrase says no more
	lookSandbox           // the text is about a pod's sandbox
	lookSandboxImage      // and about its image
	lookVeto              // the text is about a probe, a volume, a network plugin, a start
	lookSecret            // a pull secret could not be read
	lookArtifact          // CRI-O tried the reference as an OCI artifact too, and appends what that gave
	lookImage             // back to the image
	lookStep              // containers/image turns to the next registry
	lookRequest           // the next HTTP request
	lookDial              // a connection is being opened
	lookTransfer          // it was open
	lookToken             // a token is being asked for
	lookKnownToken        // with credentials: containerd asks for an OAuth token only where it has some
	lookLookup            // a name lookup failed; what follows in this attempt is how
	lookProxied           // the proxy failed; what follows is the connection to the proxy
	lookStatusText        // the text of an HTTP status
	lookConnect           // whatever error follows, if a TCP connection was being opened
	lookDeadline
	lookEOF
	lookWhilePulling
	lookUnauthorized
	lookPermission
	lookNotFound
	lookMediaType
	lookSnapshotter
)

// look decides what the phrase of a rule at text[at:end] says where it stands. It is one switch and no functions in the table, since
// a call through a pointer would move the scan to the heap.
func (s *scan) look(r *rule, at, end int) (Cause, weight) {
	switch r.look {
	case lookAbout:
		s.evidence = true
	case lookEvidence:
		s.evidence = true
		return None, 0
	case lookSandbox:
		s.inSandbox = true
		return None, 0
	case lookSandboxImage:
		s.inSandbox, s.evidence = true, true
		return None, 0
	case lookVeto:
		s.vetoed = true
		return None, 0
	case lookSecret:
		s.secret, s.evidence = true, true
		return None, 0
	case lookArtifact:
		s.artifact = true
		return None, 0
	case lookImage:
		s.artifact, s.evidence = false, true
		s.nextAttempt()
	case lookStep:
		s.evidence = true
		s.nextAttempt()
		return None, 0
	case lookRequest:
		if rest := s.text[end:]; len(rest) > 1 && (rest[1] == '"' || rest[1] == '\\' || strings.HasPrefix(rest[1:], "http")) {
			s.nextAttempt()
		}
		return None, 0
	case lookDial:
		s.dialing = true
		return None, 0
	case lookTransfer:
		s.dialing = false
		return None, 0
	case lookToken:
		s.token, s.evidence = true, true
		return None, 0
	case lookKnownToken:
		s.token, s.known, s.evidence = true, true, true
		return None, 0
	case lookLookup:
		s.shadow = network
	case lookProxied:
		return s.proxied()
	case lookStatusText:
		// Without its number, straight after a URL, it is Go's error for a CONNECT that the proxy answered so (net/http,
		// Transport.dialConn). Elsewhere it is the registry's.
		if afterURL(s.text, at) {
			return s.proxied()
		}
	case lookConnect:
		if !s.dialing {
			return None, 0
		}
	case lookDeadline:
		if s.dialing {
			return Connection, network
		}
	case lookEOF:
		// A body cut short, unless it is the whole answer to a request.
		if afterURL(s.text, at) {
			return Connection, network
		}
	case lookWhilePulling:
		// What also happens to volumes and to containers that start counts only where the text is about an image.
		if !s.evidence && s.cause != UnpackFailed {
			return None, 0
		}
	case lookUnauthorized:
		if s.known {
			return r.cause, answer
		}
	case lookPermission:
		return s.permissionDenied(r, end)
	case lookNotFound:
		return s.notFound(r, at)
	case lookMediaType:
		return s.mediaType(r, at, end)
	case lookSnapshotter:
		return s.snapshotter(r, end)
	}
	return r.cause, r.weight
}

// proxied takes the proxy for the root of this attempt. Only a name lookup goes deeper.
func (s *scan) proxied() (Cause, weight) {
	s.hit(Proxy, network)
	s.shadow = network
	return None, 0
}

// permissionDenied reads `Permission "..." denied`, as Google's registries say it. A bare "permission denied" is the file system's.
func (s *scan) permissionDenied(r *rule, end int) (Cause, weight) {
	rest := s.text[end:]
	for i := 0; i < 2; i++ { // the quotes may be escaped
		if len(rest) > 1 && strings.IndexByte(" \\", rest[0]) >= 0 {
			rest = rest[1:]
		}
	}
	if rest == "" || rest[0] != '"' && rest[0] != '\'' {
		return None, 0
	}
	if i := strings.IndexByte(rest[1:], rest[0]); i < 0 || !foldPrefix(rest[i+2:], " denied") {
		return None, 0
	}
	return r.cause, r.weight
}

// notFound passes over what is not an image: `secret "x" not found`, `file not found`.
func (s *scan) notFound(r *rule, at int) (Cause, weight) {
	before := strings.TrimRight(s.text[:at], ` \`)
	if strings.HasSuffix(before, `"`) {
		before = strings.TrimRight(before[:len(before)-1], `\`)
		open := strings.LastIndexByte(before, '"')
		if open < 0 {
			return r.cause, r.weight
		}
		before = strings.TrimRight(before[:open], ` \`)
	}
	switch before[strings.LastIndexAny(before, " \n(\"=")+1:] {
	case "secret", "secrets", "configmap", "configmaps", "serviceaccount", "serviceaccounts", "persistentvolumeclaim",
		"persistentvolumeclaims", "persistentvolume", "storageclass", "storageclass.storage.k8s.io", "node", "nodes", "pod", "pods",
		"priorityclass", "runtimeclass", "RuntimeHandler", "volume", "file", "command", "path", "namespace", "namespaces", "container", "plugin", "key":
		return None, 0
	}
	return r.cause, r.weight
}

// mediaType: a media type is named in many texts; it is the cause where the same clause says that it is not supported.
func (s *scan) mediaType(r *rule, at, end int) (Cause, weight) {
	around := s.text[max(0, at-40):min(len(s.text), end+120)]
	for _, says := range [...]string{"not supported", "unsupported", "unknown", "unexpected", "nrecognized", "no longer supported"} {
		if strings.Contains(around, says) {
			return r.cause, r.weight
		}
	}
	return None, 0
}

// snapshotter: one that is not there is the runtime's configuration; one that fails is unpacking.
func (s *scan) snapshotter(r *rule, end int) (Cause, weight) {
	clause := s.text[end:]
	if i := strings.Index(clause, ": "); i >= 0 {
		clause = clause[:i]
	}
	for _, says := range [...]string{"not loaded", "not found", "does not exist", "not exist"} {
		if strings.Contains(clause, says) {
			return r.cause, r.weight
		}
	}
	return UnpackFailed, unpacking
}
