package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// maxSnapshot bounds what a subcommand reads from the socket, in bytes.
const maxSnapshot = 64 << 20

// ErrNoAgent says that no agent runs behind the socket.
var ErrNoAgent = errors.New("no agent answers")

// Fetch asks the agent behind the unix socket for its snapshot. The error wraps ErrNoAgent where none runs there.
func Fetch(ctx context.Context, socket string) (*Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://pullwatch"+SnapshotPath, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w at %s", ErrNoAgent, socket)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("agent at %s: %w", socket, os.ErrPermission)
	case err != nil:
		return nil, fmt.Errorf("agent at %s: %w", socket, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("agent at %s: %s", socket, response.Status)
	}
	var s Snapshot
	if err := json.NewDecoder(io.LimitReader(response.Body, maxSnapshot)).Decode(&s); err != nil {
		return nil, fmt.Errorf("agent at %s: unreadable answer: %w", socket, err)
	}
	if s.Schema != SnapshotSchema {
		return nil, fmt.Errorf("agent at %s speaks %q and this program %q: use the agent's own version", socket, s.Schema, SnapshotSchema)
	}
	return &s, nil
}
