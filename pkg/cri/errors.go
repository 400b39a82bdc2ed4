package cri

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Kind says in what way a call failed. The list is closed: programs branch on
// it, and every failure is exactly one of these.
type Kind uint8

// The kinds of failure.
const (
	// Unavailable: the connection stood and went away in the middle, or was
	// closed before a word was said. A runtime that restarts looks so.
	Unavailable Kind = iota
	// Missing: there is no such socket, or none was found at all.
	Missing
	// Forbidden: the socket exists and this process may not connect to it.
	Forbidden
	// Refused: the socket file exists and nobody listens on it.
	Refused
	// Timeout: the socket is there, and no answer came in time.
	Timeout
	// NotCRI: something answers that does not speak CRI v1.
	NotCRI
	// TooLarge: the answer exceeds what one message may hold.
	TooLarge
	// Canceled: the caller gave up.
	Canceled
	// Answered: the runtime itself answered with an error. [Error.Answer] has
	// its words.
	Answered
)

var kindNames = [...]string{
	Unavailable: "unavailable",
	Missing:     "missing",
	Forbidden:   "forbidden",
	Refused:     "refused",
	Timeout:     "timeout",
	NotCRI:      "not_cri",
	TooLarge:    "too_large",
	Canceled:    "canceled",
	Answered:    "answered",
}

// String gives the kind as a lower-case word fit for a metric label.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Kinds lists all kinds there are, so that a metric can show each from the
// start.
func Kinds() []Kind {
	all := make([]Kind, len(kindNames))
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Error is what every method of [Client] fails with, and what [Discover] fails
// with when it finds no socket.
//
// errors.Is and errors.As see through it to the system's error of a failed
// connect (fs.ErrNotExist, syscall.ECONNREFUSED) and to the gRPC status.
type Error struct {
	// Op is what was attempted, such as "list images".
	Op string
	// Endpoint is the path of the socket; empty when none was found.
	Endpoint string
	Kind     Kind
	// Err is what went wrong, in words without operation and endpoint.
	Err error
}

// Error is one line: operation, socket, reason.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Endpoint != "" {
		b.WriteString(" at ")
		b.WriteString(e.Endpoint)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(oneLine(e.Err.Error()))
	}
	return b.String()
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

// Hint says in one sentence what a person can do.
func (e *Error) Hint() string {
	switch e.Kind {
	case Missing:
		if e.Endpoint == "" {
			return "Start the container runtime, or name its socket with --runtime-endpoint; in a pod, mount the directory of the socket."
		}
		return "Check that the container runtime is running, or name another socket with --runtime-endpoint; in a pod, mount the directory of the socket."
	case Forbidden:
		return "Run as root or with the group that owns the socket."
	case Refused:
		return "The socket is left over from a runtime that is gone: start the container runtime (in a pod, mount the directory of the socket and not the file)."
	case Timeout:
		return "Look at the container runtime's log and load: it is running and does not answer; a restart of the runtime leaves containers running."
	case NotCRI:
		return "Name the CRI socket with --runtime-endpoint; for containerd check that \"cri\" is not in disabled_plugins and that the version is 1.6 or later."
	case TooLarge:
		return "Remove images or dead containers that nobody needs: the runtime's list has outgrown what CRI clients, the kubelet among them, accept."
	case Canceled:
		return "Ask again: the question was withdrawn before the answer came."
	case Answered:
		return "The runtime is reachable and its own words say why it refused."
	case Unavailable:
	}
	return "Try again in a few seconds; if it stays so, look at the container runtime's log for crashes."
}

// KindOf gives the kind of an error of this package, and Unavailable for any
// other error.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Unavailable
}

// Answer gives the gRPC code and the text of an answer of the runtime, as the
// kubelet would see it but for redacted credentials. It is ok only for the
// kind Answered.
func (e *Error) Answer() (code codes.Code, text string, ok bool) {
	if e.Kind != Answered {
		return codes.OK, "", false
	}
	var a *answer
	if !errors.As(e.Err, &a) {
		return codes.Unknown, "", false
	}
	return a.status.Code(), a.status.Message(), true
}

// answer is an error that the runtime sent.
type answer struct{ status *status.Status }

func (a *answer) Error() string              { return a.status.Message() }
func (a *answer) GRPCStatus() *status.Status { return a.status }

// maxAnswer bounds the text of an error that is kept, in bytes. The longest
// seen are CRI-O's with several mirrors, which stay below 4 KiB.
const maxAnswer = 16 << 10

// newAnswer keeps code and text of what the runtime said. Details are dropped:
// no CRI runtime sends any, and they would escape the redaction.
func newAnswer(s *status.Status, secrets []string) *answer {
	text := strings.ToValidUTF8(redact(s.Message(), secrets), "\uFFFD")
	return &answer{status.New(s.Code(), clip(text, maxAnswer))}
}

// failure is an error that arose on this side of the socket: short words for a
// person, and the causes for errors.Is.
type failure struct {
	text   string
	causes []error
}

func (f *failure) Error() string   { return f.text }
func (f *failure) Unwrap() []error { return f.causes }

// dialFailure sorts the error of a connect(2) to a unix socket.
func dialFailure(err error) (Kind, string) {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return Missing, "no such socket"
	case errors.Is(err, fs.ErrPermission):
		return Forbidden, "permission denied"
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused, "connection refused, nobody listens"
	case errors.Is(err, syscall.EAGAIN):
		// unix(7): the queue of connections that wait for accept is full.
		return Timeout, "the socket's queue is full, nobody accepts"
	case errors.Is(err, syscall.EPROTOTYPE):
		return NotCRI, "not a stream socket"
	}
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() {
		return Timeout, "the socket does not accept in time"
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return Unavailable, errno.Error()
	}
	return Unavailable, err.Error()
}

// notCRIText tells whether the words of a status say that the other side has
// no CRI v1 service. A gRPC server answers which service it does not know; of
// a web server that speaks HTTP/2 gRPC makes a status of its own. The texts of
// answers are not searched further: they may quote a registry.
func notCRIText(s *status.Status, answered bool) (string, bool) {
	text := s.Message()
	if s.Code() == codes.Unimplemented && answered {
		if text == "" {
			return "does not serve CRI v1", true
		}
		for _, p := range []string{"unknown service", "unknown method"} {
			if strings.HasPrefix(text, p) {
				return "does not serve CRI v1 (" + clip(text, 200) + ")", true
			}
		}
	}
	if answered {
		return "", false
	}
	for _, p := range []string{"unexpected HTTP status code", "received unexpected content-type", "malformed header: missing HTTP"} {
		if strings.Contains(text, p) {
			return "answers HTTP that is not gRPC", true
		}
	}
	return "", false
}

// oneLine replaces what would break a line or a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}

// clip cuts s to at most n bytes, on a rune's edge.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
