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
	var s Snapshot
	if err := fetch(ctx, socket, SnapshotPath, &s); err != nil {
		return nil, err
	}
	if s.Schema != SnapshotSchema {
		return nil, fmt.Errorf("agent at %s speaks %q and this program %q: use the agent's own version", socket, s.Schema, SnapshotSchema)
	}
	return &s, nil
}

// FetchImages asks the agent behind the unix socket for what it remembers of each image.
func FetchImages(ctx context.Context, socket string) (records []ImageRecord, err error) {
	err = fetch(ctx, socket, ImagesPath, &records)
	return records, err
}

func fetch(ctx context.Context, socket, path string, to any) error {
	if socket == "" {
		return fmt.Errorf("%w: --socket is empty", ErrNoAgent)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://pullwatch"+path, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w at %s", ErrNoAgent, socket)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("agent at %s: %w", socket, os.ErrPermission)
	case err != nil:
		return fmt.Errorf("agent at %s: %w", socket, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("agent at %s: %s", socket, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxSnapshot)).Decode(to); err != nil {
		return fmt.Errorf("agent at %s: unreadable answer: %w", socket, err)
	}
	return nil
}
