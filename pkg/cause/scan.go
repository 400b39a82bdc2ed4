package cause

import "strings"

// weight orders what one text says. The heaviest wins, and of equals the last: wrappers stand before their root, and the origin
// stands after its mirrors.
type weight uint8

const (
	bare      weight = iota + 1 // a pull failed, nothing more
	grpcCode                    // no more than a status code
	stopped                     // cancelled
	deadline                    // a deadline, no more
	unpacking                   // a wrapper of unpacking, around whatever went wrong
	network                     // no answer, for a reason
	anonymous                   // the registry refused a client without credentials
	answer                      // the registry answered
	certain                     // the registry or the runtime named the root
	space                       // no space left: whatever else fails, fails for that
)

// scan reads one text word by word.
type scan struct {
	text string
	skip string // the image, skipped where it is no valid name and could hold whole sentences

	cause     Cause
	weight    weight
	artifact  bool  // the text tells of a second try as an OCI artifact, which counts only
	aside     Cause // where the first try said nothing: this is what it said
	evidence  bool  // the text is about a pull
	inSandbox bool  // of a pod's sandbox
	secret    bool  // an imagePullSecret could not be read, which the kubelet also says of pulls that work
	vetoed    bool  // the text is about something else

	// What holds for the present attempt, that is until the text turns to the next request.
	dialing bool   // a connection was being opened
	token   bool   // a token was being asked for
	known   bool   // with credentials
	shadow  weight // hits up to this weight only echo a root that was already named
}

// run walks over the words. A phrase can only begin where a word begins and end where one ends, so the names of images, hosts and
// files never match: they hold no spaces. For phrases of one word, which a name could be, see bareName.
func (s *scan) run() {
	hasSkip := strings.IndexByte(s.skip, ' ') > 0
	start, free := true, true // a word starts here; it does not hang on a name's colon
	for i := 0; i < len(s.text); {
		c := s.text[i]
		if hasSkip && c == s.skip[0] && strings.HasPrefix(s.text[i:], s.skip) {
			i += len(s.skip)
			continue
		}
		switch {
		case isWord(c) || c == '/' && start:
			if start {
				if end := s.match(i, free); end > i {
					i = end
					start, free = false, false
					continue
				}
			}
			start = false
			i++
		case c == '\\' && i+1 < len(s.text) && strings.IndexByte("ntr", s.text[i+1]) >= 0:
			start, free = true, true // an escaped line end inside a quoted error
			i += 2
		default:
			start = c != '-' && c != '.' && c != '/' && c != '@'
			free = start && c != ':'
			i++
		}
	}
}

// match tries the status codes and the phrases that can begin at i, and returns where the hit ended, or i.
func (s *scan) match(i int, free bool) int {
	if c := s.text[i]; c >= '3' && c <= '5' {
		if end := s.matchStatus(i); end > i {
			return end
		}
	}
	for _, r := range phrasesBy[lower(s.text[i])] {
		end := i + len(r.phrase)
		if !foldPrefix(s.text[i:], r.phrase) || !endsHere(s.text, end) {
			continue
		}
		if !r.spaced && (!free || bareName(s.text, i, end)) {
			continue
		}
		s.hit(s.look(r, i, end))
		return end
	}
	return i
}

// hit records what was read, unless it only echoes a root already named for this attempt.
func (s *scan) hit(c Cause, w weight) {
	if s.artifact && c != None {
		s.aside = c
		return
	}
	if c == None || w < s.weight || w <= s.shadow && c != DNS {
		return
	}
	s.cause, s.weight = c, w
}

// verdict is the cause of the whole text. A missing secret explains the refusal beside it.
func (s *scan) verdict() Cause {
	c := s.cause
	if (c == None || c == Unknown) && s.aside != None {
		c = s.aside
	}
	if s.secret && (c == None || c == Unknown || c == Unauthorized || c == AccessDenied) {
		return SecretMissing
	}
	return c
}

// nextAttempt forgets what held for one request.
func (s *scan) nextAttempt() {
	s.dialing, s.token, s.known, s.shadow = false, false, false, 0
}

// matchStatus reads an HTTP status: three digits with their text, after the word status or http, or straight after a URL.
func (s *scan) matchStatus(i int) int {
	t := s.text
	end := i + 3
	if end > len(t) || !isDigit(t[i+1]) || !isDigit(t[i+2]) || !endsHere(t, end) {
		return i
	}
	code := int(t[i]-'0')*100 + int(t[i+1]-'0')*10 + int(t[i+2]-'0')
	if text := statusText(code); text != "" && end+1 < len(t) && foldPrefix(t[end+1:], text) {
		end += 1 + len(text)
	} else if !afterStatusWord(t, i) && !afterURL(t, i) {
		return i
	}
	if strings.HasPrefix(t[end:], `: {"message"`) || strings.HasPrefix(t[end:], `: {\"message\"`) || foldPrefix(t[end:], ") server error") {
		return end // the Docker API's own status, around the error it reports
	}
	s.hit(s.status(code))
	return end
}

func (s *scan) status(code int) (Cause, weight) {
	switch {
	case code == 401 && s.known:
		return Unauthorized, answer
	case code == 401:
		return Unauthorized, anonymous
	case code == 403:
		return AccessDenied, answer
	case code == 404 && s.token: // a token service that is not there is no missing image
		return RegistryError, answer
	case code == 404, code == 410:
		return NotFound, answer
	case code == 407:
		return Proxy, network
	case code == 408:
		return Timeout, deadline
	case code == 429:
		return RateLimited, answer
	case code >= 500:
		return RegistryError, answer
	default:
		return RegistryError, grpcCode
	}
}

// statusText is what stands behind a status that registries and proxies use, in lower case.
func statusText(code int) string {
	switch code {
	case 302:
		return "found"
	case 307:
		return "temporary redirect"
	case 400:
		return "bad request"
	case 401:
		return "unauthorized"
	case 403:
		return "forbidden"
	case 404:
		return "not found"
	case 405:
		return "method not allowed"
	case 407:
		return "proxy authentication required"
	case 408:
		return "request timeout"
	case 410:
		return "gone"
	case 429:
		return "too many requests"
	case 500:
		return "internal server error"
	case 502:
		return "bad gateway"
	case 503:
		return "service unavailable"
	case 504:
		return "gateway timeout"
	}
	return ""
}

// afterStatusWord tells whether a number at i is called a status: "status code 429", "StatusCode: 404", "HTTP 403 response".
func afterStatusWord(t string, i int) bool {
	from := max(0, i-14)
	for j := from; j < i; j++ {
		if c := lower(t[j]); (c == 's' && foldPrefix(t[j:], "status")) || (c == 'h' && foldPrefix(t[j:], "http ")) {
			return true
		}
	}
	return false
}

// afterURL tells whether the word at i follows a URL and a colon: Go puts what happened to a request there.
func afterURL(t string, i int) bool {
	if i < 3 || t[i-1] != ' ' || t[i-2] != ':' {
		return false
	}
	end := i - 2
	if t[end-1] == '"' {
		end--
		if end > 0 && t[end-1] == '\\' {
			end--
		}
	}
	start := strings.LastIndexAny(t[:end], " \"\n") + 1
	return strings.Contains(t[start:end], "://")
}

// bareName tells whether the single word t[at:end] is a name and not something said: it stands alone in quotes (unless it is the
// upper-case value of a JSON error code), or after a word that introduces a name.
func bareName(t string, at, end int) bool {
	if at > 0 && t[at-1] == '"' && end < len(t) && (t[end] == '"' || t[end] == '\\') {
		return !errorCode(t, at, end)
	}
	before := strings.TrimRight(t[:at], " ")
	if len(before) == at {
		return strings.HasSuffix(before, "mage=") // image=, fromImage=
	}
	if strings.HasSuffix(before, "]):") && strings.HasPrefix(t[end:], ": ") {
		return true // containers/image names the origin behind the list of its mirrors
	}
	word := before[strings.LastIndexAny(before, " \n\"([")+1:]
	switch word {
	case "in", "for", "lookup", "repository", "image", "registry", "host", "reference", "from", "secret", "container", "artifact", "tcp", "pull",
		"pulling", "repository:":
		return true
	case "manifest", "manifests", "tag":
		return strings.HasPrefix(t[end:], " in ") || strings.HasPrefix(t[end:], "]")
	}
	return false
}

// errorCode tells "code":"DENIED" from a quoted name.
func errorCode(t string, at, end int) bool {
	for j := at; j < end; j++ {
		if c := t[j]; c >= 'a' && c <= 'z' {
			return false
		}
	}
	before := strings.TrimRight(t[:at-1], `\ `)
	return strings.HasSuffix(before, ":")
}

// endsHere tells whether a word can end at i: not in the middle of a name.
func endsHere(t string, i int) bool {
	if i >= len(t) {
		return true
	}
	switch c := t[i]; {
	case isWord(c) && isWord(t[i-1]), c == '/', c == '@', c == '-':
		return false
	case c == ':' || c == '.':
		return i+1 >= len(t) || !isWord(t[i+1])
	case t[i-1] == ':':
		return !isWord(c) // "x509:" speaks, "x509:latest" is a name
	}
	return true
}

// foldPrefix tells whether t begins with the lower-case prefix. A space in the prefix also matches a line end.
func foldPrefix(t, prefix string) bool {
	if len(t) < len(prefix) {
		return false
	}
	for i := 0; i < len(prefix); i++ {
		if c := lower(t[i]); c != prefix[i] && (prefix[i] != ' ' || c != '\n') {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
