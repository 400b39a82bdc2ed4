package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/sync/errgroup"

	page "github.com/pullwatch/pullwatch/internal/web"
)

// shutdownTime is what a scrape or a subcommand under way gets to finish at a stop.
const shutdownTime = 3 * time.Second

// listeners are what the agent listens on: /metrics and health for the network, the page on loopback, and all with the snapshot and pprof on
// the unix socket. Each may be nil.
type listeners struct{ open, page, socket net.Listener }

// listen opens all or nothing.
func (a *Agent) listen(ctx context.Context) (l listeners, err error) {
	defer func() {
		for _, opened := range []net.Listener{l.open, l.socket} {
			if err != nil && opened != nil {
				_ = opened.Close()
			}
		}
	}()
	if a.config.Listen != "" {
		if err := web.Validate(a.config.WebConfig); err != nil {
			return l, &webConfigError{a.config.WebConfig, err}
		}
		if l.open, err = (&net.ListenConfig{}).Listen(ctx, "tcp", a.config.Listen); err != nil {
			return l, &ListenError{"tcp", a.config.Listen, "--listen-address", err}
		}
	}
	if a.config.Socket != "" {
		if l.socket, err = listenSocket(ctx, a.config.Socket); err != nil {
			return l, err
		}
	}
	if a.config.Page.Address != "" {
		if l.page, err = (&net.ListenConfig{}).Listen(ctx, "tcp", a.config.Page.Address); err != nil {
			err = &ListenError{"tcp", a.config.Page.Address, "--page-address", err}
			if !a.config.Page.Optional {
				return l, err
			}
			a.log.Warn("the page is not served", "error", err, "hint", hint(err))
		}
	}
	return l, nil
}

func (a *Agent) serve(ctx context.Context, group *errgroup.Group, l listeners) {
	if l.open != nil {
		server := newServer(a.openHandler())
		noSystemd, addresses := false, []string{a.config.Listen}
		flags := &web.FlagConfig{WebListenAddresses: &addresses, WebSystemdSocket: &noSystemd, WebConfigFile: &a.config.WebConfig}
		group.Go(func() error { return closed(web.Serve(l.open, server, flags, a.log)) })
		group.Go(func() error { return shutdown(ctx, server) })
	}
	if l.page != nil {
		if to, ok := l.page.Addr().(*net.TCPAddr); ok && !to.IP.IsLoopback() {
			a.log.Warn("the page is open to the network: it shows the names, images and errors of every failing pod to whoever asks", "address", to.String())
		}
		server := newServer(a.pageHandler())
		group.Go(func() error { return closed(server.Serve(l.page)) })
		group.Go(func() error { return shutdown(ctx, server) })
	}
	if l.socket != nil {
		server := newServer(a.socketHandler())
		group.Go(func() error { return closed(server.Serve(l.socket)) })
		group.Go(func() error { return shutdown(ctx, server) })
	}
}

// webConfigError says that the file for TLS and basic auth cannot be used.
type webConfigError struct {
	file string
	err  error
}

func (e *webConfigError) Error() string {
	return fmt.Sprintf("web configuration %s: %v", e.file, e.err)
}
func (e *webConfigError) Unwrap() error { return e.err }

// Hint is one sentence on what to do.
func (e *webConfigError) Hint() string {
	return "Correct the file that --web-config-file names; it is the web configuration of the Prometheus exporters."
}

// newServer bounds what a client can hold: the server is open to the node's network.
func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 60 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
}

func closed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func shutdown(ctx context.Context, server *http.Server) error {
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close() // whoever still reads was given its time
	}
	return nil
}

// openHandler is all that the network sees.
func (a *Agent) openHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metrics.Handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, a.healthy()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, a.ready()) })
	return mux
}

func answer(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, err)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

// pageHandler is all that loopback sees. Any process on the node's network reaches it, and so does any browser of theirs.
func (a *Agent) pageHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", page.Local(page.Handler(a.page)))
	return mux
}

// SnapshotPath is where the snapshot is on the unix socket. ImagesPath has what is remembered of each image: there may be thousands, and few ask.
const (
	SnapshotPath = "/v1/snapshot"
	ImagesPath   = "/v1/images"
)

// socketHandler is what somebody on the node sees who may open the socket.
func (a *Agent) socketHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", a.openHandler())
	mux.Handle("GET /{$}", page.Handler(a.page))
	mux.HandleFunc("GET "+SnapshotPath, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, a.Snapshot()) })
	mux.HandleFunc("GET "+ImagesPath, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, a.store.records()) })
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	return mux
}

// answerJSON answers with v, or says that it cannot be told: a number that JSON has no word for would make a part of it look like the whole.
func answerJSON(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // whoever asked may be gone
}

// ListenError says that an address could not be opened, and what to do.
type ListenError struct {
	Network string // tcp or unix
	Address string
	Flag    string // that names the address
	Err     error
}

func (e *ListenError) Error() string {
	err := e.Err
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fmt.Sprintf("listen on %s: %v", e.Address, err)
}

func (e *ListenError) Unwrap() error { return e.Err }

// Hint is one sentence on what to do.
func (e *ListenError) Hint() string {
	if e.Network == "unix" {
		return "Name another path with --socket, or none with --socket=\"\"."
	}
	return "Name another address with " + e.Flag + ", or stop what listens there."
}

// listenSocket opens the unix socket. A socket file that nobody answers on was left behind by an agent that was killed, and is replaced.
func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, &ListenError{"unix", path, "--socket", err}
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, &ListenError{"unix", path, "--socket", errors.New("something that is no socket is in the way")}
		}
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
		if conn != nil {
			_ = conn.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) { // what is not refused may be heard
			return nil, &ListenError{"unix", path, "--socket", errors.New("another agent listens there")}
		}
		if err := os.Remove(path); err != nil {
			return nil, &ListenError{"unix", path, "--socket", err}
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, &ListenError{"unix", path, "--socket", err}
	}
	// Who may open the socket sees the names and messages of every pod of the node: the owner and the group.
	if err := os.Chmod(path, 0o660); err != nil {
		_ = l.Close()
		return nil, &ListenError{"unix", path, "--socket", err}
	}
	return l, nil
}
