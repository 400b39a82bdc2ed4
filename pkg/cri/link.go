package cri

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

const (
	// maxMessage is the largest answer taken, in bytes. The kubelet, crictl
	// and containerd's server all stop at 16 MiB, so that a larger list is
	// trouble for the node and not only for us; gRPC's own default of 4 MiB
	// is outgrown by nodes with a few thousand containers.
	maxMessage = 16 << 20

	// maxBackoff and backoffJitter bound the pause between two attempts to
	// connect so that, jitter included, a restarted runtime is asked again
	// within 3 s even when nobody calls.
	maxBackoff    = 2500 * time.Millisecond
	backoffJitter = 0.2

	// connectTimeout is how long a socket that accepts may stay silent before
	// the connection is given up and made anew. It is longer than the default
	// deadline of a call, which therefore ends first.
	connectTimeout = 20 * time.Second

	// recoverWait is the longest that a call waits for a runtime that accepts
	// again after it had gone. It keeps failing calls within a second or so.
	recoverWait = time.Second

	// answerSlack is how far before its deadline a call can end because the
	// other side's clock ran out first: the deadline travels with the call,
	// rounded.
	answerSlack = 50 * time.Millisecond
)

// link is the connection to one socket, and what is known of its last attempt
// to come about.
type link struct {
	path string
	dial func(ctx context.Context, path string) (net.Conn, error)
	conn *grpc.ClientConn

	mu      sync.Mutex
	dialErr error    // of the last connect; nil when it succeeded
	peer    *greeted // of the last connect that succeeded
	before  *greeted // the one before, since gRPC may try again before a call has failed
}

func newLink(path string, dial func(context.Context, string) (net.Conn, error)) (*link, error) {
	l := &link{path: path, dial: dial}
	conn, err := grpc.NewClient(
		// passthrough hands the path to the dialer untouched.
		"passthrough:///"+path,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.connect(ctx) }),
		// A path is no valid :authority; "localhost" is what gRPC itself
		// sends over unix sockets.
		grpc.WithAuthority("localhost"),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay:  100 * time.Millisecond,
				Multiplier: 1.6,
				Jitter:     backoffJitter,
				MaxDelay:   maxBackoff,
			},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithDisableServiceConfig(),
		grpc.WithStatsHandler(answeredHandler{}),
	)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", path, err)
	}
	l.conn = conn
	return l, nil
}

// connect dials and keeps how it went.
func (l *link) connect(ctx context.Context) (net.Conn, error) {
	conn, err := l.dial(ctx, l.path)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dialErr = err
	if err != nil {
		return nil, err
	}
	if l.peer != nil && l.peer.manner() != mannerPending {
		l.before = l.peer
	}
	l.peer = &greeted{Conn: conn}
	return l.peer, nil
}

// recovered is called before each question. While the connection is down gRPC
// fails calls with the error of its last attempt, up to maxBackoff old. A
// connect of our own is cheap on a unix socket and tells at once what is so
// now; when it succeeds, gRPC is told to try again and given a moment.
func (l *link) recovered(ctx context.Context) error {
	if l.conn.GetState() != connectivity.TransientFailure {
		return nil
	}
	patience := recoverWait
	if end, ok := ctx.Deadline(); ok {
		// Leave the call time to fail in its own words.
		patience = min(patience, time.Until(end)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	probe, err := l.dial(ctx, l.path)
	if err != nil {
		if ctx.Err() != nil {
			return status.FromContextError(ctx.Err()).Err()
		}
		l.mu.Lock()
		l.dialErr = err
		l.mu.Unlock()
		return status.Error(codes.Unavailable, err.Error())
	}
	probe.Close()
	l.conn.ResetConnectBackoff()
	l.conn.WaitForStateChange(ctx, connectivity.TransientFailure)
	return nil
}

// explain turns the error of a call into ours. ctx is the call's own, with its
// deadline; answered tells whether the status came over the wire.
func (l *link) explain(ctx context.Context, op string, err error, answered bool, took time.Duration, secrets []string) *Error {
	s := status.Convert(err)
	kind, text, cause := l.judge(ctx, s, answered, took)
	e := &Error{Op: op, Endpoint: l.path, Kind: kind}
	if kind == Answered {
		e.Err = newAnswer(s, secrets)
		return e
	}
	f := &failure{text: clip(redact(text, secrets), maxAnswer)}
	f.causes = []error{status.Error(s.Code(), f.text)}
	if cause != nil {
		f.causes = append(f.causes, cause)
	}
	e.Err = f
	return e
}

// judge finds the kind, words for a person, and the cause for errors.Is where
// there is one. What the other side said stands before what is guessed from
// the state of the connection.
func (l *link) judge(ctx context.Context, s *status.Status, answered bool, took time.Duration) (Kind, string, error) {
	ended := endOf(ctx, s.Code())
	if text, ok := notCRIText(s, answered); ok {
		return NotCRI, text, nil
	}
	switch {
	case s.Code() == codes.ResourceExhausted && strings.Contains(s.Message(), "larger than max"):
		return TooLarge, fmt.Sprintf("the answer exceeds the %d MiB of one message", maxMessage>>20), nil
	case strings.HasPrefix(s.Message(), "grpc: failed to unmarshal"):
		// gRPC's own words; the trailers of such an answer may have come too.
		return NotCRI, "sent a message that does not decode", nil
	case answered && ended == nil:
		return Answered, "", nil
	case errors.Is(ended, context.Canceled):
		return Canceled, "canceled", ended
	case s.Code() == codes.Canceled:
		return Canceled, "the client is closed", context.Canceled
	}

	l.mu.Lock()
	dialErr, peer, before := l.dialErr, l.peer, l.before
	l.mu.Unlock()
	if dialErr != nil {
		kind, text := dialFailure(dialErr)
		return kind, text, dialErr
	}
	m := mannerPending
	if peer != nil {
		m = peer.manner()
	}
	if m == mannerPending && ended == nil && before != nil {
		m = before.manner()
	}
	within := took.Round(time.Millisecond)
	switch {
	case m == mannerHTTP1:
		return NotCRI, "answers HTTP/1, not CRI", nil
	case m == mannerRubbish:
		return NotCRI, "answers with bytes that are not CRI", nil
	case m == mannerSilent, m == mannerPending && peer != nil:
		return Timeout, fmt.Sprintf("the socket accepts but does not answer (waited %s)", within), context.DeadlineExceeded
	case errors.Is(ended, context.DeadlineExceeded):
		return Timeout, fmt.Sprintf("no answer within %s", within), ended
	case m == mannerHungUp:
		return Unavailable, "the connection was closed without a word", nil
	}
	return Unavailable, "the connection was lost before the answer came", nil
}

// endOf tells whether the call ended because its context did, and how. A
// status that says so while the context is alive is the runtime's own.
func endOf(ctx context.Context, code codes.Code) error {
	if code != codes.Canceled && code != codes.DeadlineExceeded && code != codes.Unavailable {
		return nil
	}
	if err := ctx.Err(); err != nil {
		if errors.Is(err, context.Canceled) {
			return context.Canceled
		}
		return context.DeadlineExceeded
	}
	if end, ok := ctx.Deadline(); ok && code == codes.DeadlineExceeded && time.Until(end) < answerSlack {
		return context.DeadlineExceeded
	}
	return nil
}

// answeredHandler notes on each call whether the other side sent the status,
// which gRPC's errors do not tell: containerd says Unavailable and
// DeadlineExceeded of registries.
type answeredHandler struct{}

type answeredKey struct{}

// withAnswered gives a context whose call will set the flag.
func withAnswered(ctx context.Context) (context.Context, *atomic.Bool) {
	flag := new(atomic.Bool)
	return context.WithValue(ctx, answeredKey{}, flag), flag
}

func (answeredHandler) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.InTrailer); !ok {
		return
	}
	if flag, ok := ctx.Value(answeredKey{}).(*atomic.Bool); ok {
		flag.Store(true)
	}
}

func (answeredHandler) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (answeredHandler) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (answeredHandler) HandleConn(context.Context, stats.ConnStats)                       {}
