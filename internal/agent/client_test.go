package agent_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/internal/agent"
)

// shortDir is a directory whose path leaves room for the name of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// serve answers on a unix socket as no agent of this version would.
func serve(t *testing.T, h http.HandlerFunc) (socket string) {
	t.Helper()
	socket = filepath.Join(shortDir(t), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return socket
}

func TestFetchWithoutAnAgent(t *testing.T) {
	dir := shortDir(t)
	left := filepath.Join(dir, "left")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: left, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as an agent that was killed leaves it
	l.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, socket := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "no", "directory"), left, file} {
		_, err := agent.Fetch(t.Context(), socket)
		if !errors.Is(err, agent.ErrNoAgent) || err.Error() != "no agent answers at "+socket {
			t.Errorf("%s: %v", socket, err)
		}
	}
}

func TestFetchOfWhatIsNoSnapshot(t *testing.T) {
	for _, test := range []struct {
		name, answer, want string
	}{
		{"rubbish", "<html>", "unreadable answer"},
		{"cut short", `{"schema": "pullwatch.snapshot/v1", "fail`, "unreadable answer"},
		{"empty", "", "unreadable answer"},
		{"another schema", `{"schema": "pullwatch.snapshot/v9"}`, `speaks "pullwatch.snapshot/v9" and this program "pullwatch.snapshot/v1": use the agent's own version`},
		{"a cause of a later version", `{"schema": "pullwatch.snapshot/v1", "failures": {"value": [{"cause": "gremlins"}]}}`, `no cause is called "gremlins"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			socket := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(test.answer)) })
			s, err := agent.Fetch(t.Context(), socket)
			if s != nil || err == nil || errors.Is(err, agent.ErrNoAgent) || !strings.HasPrefix(err.Error(), "agent at "+socket) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// An answer that is an HTTP error is told as one.
func TestFetchOfAnErrorStatus(t *testing.T) {
	socket := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.NotFound(w, nil) })
	if _, err := agent.Fetch(t.Context(), socket); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v, want the status", err)
	}
}

func TestFetchOfAnAgentThatHangs(t *testing.T) {
	release := make(chan struct{})
	socket := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := agent.Fetch(ctx, socket)
	if err == nil || errors.Is(err, agent.ErrNoAgent) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline: an agent that hangs is one that is there", err)
	}
}
