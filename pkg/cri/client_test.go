package cri_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/pkg/cri/critest"
)

func dial(t testing.TB, cfg cri.Config) *cri.Client {
	t.Helper()
	c, err := cri.Dial(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// socketDir is short, which t.TempDir is not.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cri")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func wantError(t *testing.T, err error, kind cri.Kind) *cri.Error {
	t.Helper()
	var e *cri.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *cri.Error of kind %v", err, kind)
	}
	if e.Kind != kind {
		t.Fatalf("got kind %v (%v), want %v", e.Kind, err, kind)
	}
	if strings.ContainsAny(err.Error(), "\n\r") {
		t.Errorf("more than one line: %q", err)
	}
	if e.Hint() == "" {
		t.Error("no hint")
	}
	return e
}

// listen serves each connection of a socket of its own with handle.
func listen(t *testing.T, handle func(net.Conn)) (path string) {
	t.Helper()
	path = filepath.Join(socketDir(t), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go handle(conn)
		}
	}()
	return path
}

// TestFaults is every way in which a socket can be bad. Each is met by a new
// client, and again by the same client a moment later, when gRPC is in its
// pause between attempts.
func TestFaults(t *testing.T) {
	tests := []struct {
		name string
		// setup gives the socket, and a dialer where it takes a special one.
		setup func(t *testing.T) (path string, dial func(context.Context, string) (net.Conn, error))
		kind  cri.Kind
		text  string
		is    error
	}{
		{
			name: "missing",
			setup: func(t *testing.T) (string, func(context.Context, string) (net.Conn, error)) {
				return filepath.Join(socketDir(t), "none"), nil
			},
			kind: cri.Missing, text: "no such socket", is: fs.ErrNotExist,
		},
		{
			name: "below a file",
			setup: func(t *testing.T) (string, func(context.Context, string) (net.Conn, error)) {
				file := filepath.Join(socketDir(t), "file")
				if err := os.WriteFile(file, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				return file + "/s", nil
			},
			kind: cri.Missing, text: "no such socket", is: syscall.ENOTDIR,
		},
		{
			// Tests run as root, whom no permission stops.
			name: "forbidden",
			setup: func(*testing.T) (string, func(context.Context, string) (net.Conn, error)) {
				return "/run/x.sock", func(context.Context, string) (net.Conn, error) {
					return nil, &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EACCES)}
				}
			},
			kind: cri.Forbidden, text: "permission denied", is: fs.ErrPermission,
		},
		{
			name: "refused",
			setup: func(t *testing.T) (string, func(context.Context, string) (net.Conn, error)) {
				r := critest.Start(t, critest.Containerd16)
				r.Refuse()
				return r.Path(), nil
			},
			kind: cri.Refused, text: "connection refused, nobody listens", is: syscall.ECONNREFUSED,
		},
		{
			name: "queue full",
			setup: func(*testing.T) (string, func(context.Context, string) (net.Conn, error)) {
				return "/run/x.sock", func(context.Context, string) (net.Conn, error) {
					return nil, &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EAGAIN)}
				}
			},
			kind: cri.Timeout, text: "nobody accepts", is: syscall.EAGAIN,
		},
		{
			name: "datagram socket",
			setup: func(t *testing.T) (string, func(context.Context, string) (net.Conn, error)) {
				path := filepath.Join(socketDir(t), "s")
				l, err := net.ListenPacket("unixgram", path)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { l.Close() })
				return path, nil
			},
			kind: cri.NotCRI, text: "not a stream socket",
		},
		{
			name: "hangs",
			setup: func(t *testing.T) (string, func(context.Context, string) (net.Conn, error)) {
				r := critest.Start(t, critest.Containerd16)
				r.SetHang(true)
				return r.Path(), nil
			},
			kind: cri.Timeout, text: "the socket accepts but does not answer", is: context.DeadlineExceeded,
		},
		{
			name: "rubbish",
			setup: func(t *testing.T) (string, func(context.Context, string) (net.Conn, error)) {
				r := critest.Start(t, critest.CRIO)
				r.SetRubbish([]byte("\x00\x01\x02 what is this \xff\xfe, a door?\n"))
				return r.Path(), nil
			},
			kind: cri.NotCRI, text: "bytes that are not CRI",
		},
		{
			name: "a few bytes of rubbish",
			setup: func(t *testing.T) (string, func(context.Context, string) (net.Conn, error)) {
				r := critest.Start(t, critest.CRIO)
				r.SetRubbish([]byte("hi"))
				return r.Path(), nil
			},
			kind: cri.NotCRI, text: "bytes that are not CRI",
		},
		{
			name: "hangs up",
			setup: func(t *testing.T) (string, func(context.Context, string) (net.Conn, error)) {
				return listen(t, func(c net.Conn) { c.Close() }), nil
			},
			kind: cri.Unavailable, text: "closed without a word",
		},
		{
			name: "HTTP/1",
			setup: func(t *testing.T) (string, func(context.Context, string) (net.Conn, error)) {
				path := filepath.Join(socketDir(t), "s")
				l, err := net.Listen("unix", path)
				if err != nil {
					t.Fatal(err)
				}
				server := &http.Server{Handler: http.NotFoundHandler()}
				t.Cleanup(func() { server.Close() })
				go server.Serve(l)
				return path, nil
			},
			kind: cri.NotCRI, text: "answers HTTP/1, not CRI",
		},
		{
			name: "HTTP/2 without gRPC",
			setup: func(t *testing.T) (string, func(context.Context, string) (net.Conn, error)) {
				path := filepath.Join(socketDir(t), "s")
				l, err := net.Listen("unix", path)
				if err != nil {
					t.Fatal(err)
				}
				server := &http.Server{Handler: http.NotFoundHandler(), Protocols: new(http.Protocols)}
				server.Protocols.SetUnencryptedHTTP2(true)
				t.Cleanup(func() { server.Close() })
				go server.Serve(l)
				return path, nil
			},
			kind: cri.NotCRI, text: "answers HTTP that is not gRPC",
		},
		{
			// What containerd says with the CRI plugin disabled, and what one
			// says that has v1alpha2 only.
			name: "gRPC without CRI v1",
			setup: func(t *testing.T) (string, func(context.Context, string) (net.Conn, error)) {
				path := filepath.Join(socketDir(t), "s")
				l, err := net.Listen("unix", path)
				if err != nil {
					t.Fatal(err)
				}
				server := grpc.NewServer()
				t.Cleanup(server.Stop)
				go server.Serve(l)
				return path, nil
			},
			kind: cri.NotCRI, text: "does not serve CRI v1 (unknown service runtime.v1.ImageService)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path, dialer := tt.setup(t)
			timeout := 10 * time.Second
			if tt.kind == cri.Timeout {
				timeout = 500 * time.Millisecond
			}
			c := dial(t, cri.Config{Runtime: path, Timeout: timeout, Dial: dialer})
			for n := range 3 {
				start := time.Now()
				_, err := c.ListImages(t.Context())
				took := time.Since(start)
				e := wantError(t, err, tt.kind)
				if e.Op != "list images" || e.Endpoint != path {
					t.Errorf("call %d: op %q at %q", n, e.Op, e.Endpoint)
				}
				if want := fmt.Sprintf("list images at %s: ", path); !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("call %d: got %q, want %q and %q", n, err, want, tt.text)
				}
				for _, noise := range []string{"desc =", "transport:", "rpc error", "dial unix"} {
					if strings.Contains(err.Error(), noise) {
						t.Errorf("call %d: %q is not for people: %q", n, noise, err)
					}
				}
				if tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("call %d: %v is not %v", n, err, tt.is)
				}
				if _, ok := status.FromError(err); !ok {
					t.Errorf("call %d: %v has no gRPC status", n, err)
				}
				// Two seconds: one is promised, and the machine may be busy.
				if took > 2*time.Second {
					t.Errorf("call %d took %v", n, took)
				}
			}
		})
	}
}

// TestRecovers has the runtime go and come back in different ways under one
// client.
func TestRecovers(t *testing.T) {
	r := critest.Start(t, critest.Containerd2)
	c := dial(t, cri.Config{Runtime: r.Endpoint(), Timeout: 2 * time.Second})
	ask := func() error {
		_, err := c.ListImages(t.Context())
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		bad  func()
		kind cri.Kind
		good func() error
	}{
		{"stopped", r.Stop, cri.Missing, r.Restart},
		{"killed", r.Refuse, cri.Refused, r.Restart},
		{"rubbish", func() { r.SetRubbish([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, cri.NotCRI, func() error { r.SetRubbish(nil); return nil }},
		{"hung", func() { r.SetHang(true) }, cri.Timeout, func() error { r.SetHang(false); return nil }},
		{"stopped again", r.Stop, cri.Missing, r.Restart},
	} {
		tt.bad()
		// The moment of breaking may look like a lost connection.
		var err error
		for range 5 {
			if err = ask(); cri.KindOf(err) == tt.kind {
				break
			}
		}
		wantError(t, err, tt.kind)
		// Fail for long enough that gRPC's pauses grow.
		for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end) && tt.kind != cri.Timeout; {
			wantError(t, ask(), tt.kind)
			time.Sleep(20 * time.Millisecond)
		}
		if err := tt.good(); err != nil {
			t.Fatal(err)
		}
		if err := ask(); err != nil {
			t.Errorf("%s: the first call after it came back: %v", tt.name, err)
		}
	}
}

// TestMidway has the runtime go while it owes an answer.
func TestMidway(t *testing.T) {
	r := critest.Start(t, critest.Containerd2)
	c := dial(t, cri.Config{Runtime: r.Endpoint()})
	if _, err := c.Version(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.SetPull("127.0.0.1:5000/slow:1", critest.Pull{Took: time.Minute})
	done := make(chan error, 1)
	go func() {
		_, err := c.PullImage(t.Context(), "127.0.0.1:5000/slow:1", nil)
		done <- err
	}()
	poll(t, func() bool { return r.Calls("PullImage") == 1 })
	r.Stop()
	e := wantError(t, <-done, cri.Unavailable)
	if want := "pull image at " + r.Path() + ": the connection was lost before the answer came"; e.Error() != want {
		t.Errorf("got %q, want %q", e, want)
	}
}

func poll(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("waited for too long")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestOversizedList(t *testing.T) {
	// containerd refuses to send what CRI-O sends.
	for _, flavor := range []critest.Flavor{critest.Containerd16, critest.CRIO} {
		r := critest.Start(t, flavor)
		r.SetOversizedList(true)
		c := dial(t, cri.Config{Runtime: r.Endpoint()})
		_, err := c.ListImages(t.Context())
		e := wantError(t, err, cri.TooLarge)
		if want := "list images at " + r.Path() + ": the answer exceeds the 16 MiB of one message"; e.Error() != want {
			t.Errorf("%s: got %q, want %q", flavor, e, want)
		}
		if _, err := c.Version(t.Context()); err != nil {
			t.Errorf("%s: the next call: %v", flavor, err)
		}
	}
}

// TestLargeList is one that gRPC's default limit of 4 MiB would cut.
func TestLargeList(t *testing.T) {
	r := critest.Start(t, critest.Containerd16)
	image := critest.Image{ID: "1", Size: 1}
	for range 10 << 10 {
		image.Tags = append(image.Tags, "127.0.0.1:5000/"+strings.Repeat("x", 1<<10))
	}
	r.SetImages(image)
	images, err := dial(t, cri.Config{Runtime: r.Endpoint()}).ListImages(t.Context())
	if err != nil || len(images) != 1 || len(images[0].GetRepoTags()) != 10<<10 {
		t.Errorf("got %d images, error %v", len(images), err)
	}
}

// TestEmptyAnswers has every message arrive without a single field.
func TestEmptyAnswers(t *testing.T) {
	r := critest.Start(t, critest.CRIO)
	r.SetAnswer("Version", &runtimeapi.VersionResponse{}, nil)
	r.SetAnswer("Status", &runtimeapi.StatusResponse{}, nil)
	r.SetAnswer("ListImages", &runtimeapi.ListImagesResponse{Images: []*runtimeapi.Image{{}}}, nil)
	r.SetAnswer("ImageStatus", &runtimeapi.ImageStatusResponse{}, nil)
	r.SetAnswer("ImageFsInfo", &runtimeapi.ImageFsInfoResponse{ImageFilesystems: []*runtimeapi.FilesystemUsage{{}}}, nil)
	r.SetAnswer("ListContainers", &runtimeapi.ListContainersResponse{Containers: []*runtimeapi.Container{{}}}, nil)
	r.SetAnswer("ListPodSandbox", &runtimeapi.ListPodSandboxResponse{Items: []*runtimeapi.PodSandbox{{}}}, nil)
	r.SetAnswer("PullImage", &runtimeapi.PullImageResponse{}, nil)
	c := dial(t, cri.Config{Runtime: r.Endpoint()})
	ctx := t.Context()

	version, err := c.Version(ctx)
	if err != nil || version.GetRuntimeName() != "" {
		t.Error(version, err)
	}
	s, err := c.Status(ctx, true)
	if err != nil || s.GetStatus().GetConditions() != nil {
		t.Error(s, err)
	}
	images, err := c.ListImages(ctx)
	if err != nil || len(images) != 1 || images[0].GetSpec().GetImage() != "" {
		t.Error(images, err)
	}
	image, info, err := c.ImageStatus(ctx, "x", true)
	if err != nil || image != nil || len(info) != 0 {
		t.Error(image, info, err)
	}
	fsInfo, err := c.ImageFsInfo(ctx)
	if err != nil || fsInfo.GetImageFilesystems()[0].GetUsedBytes().GetValue() != 0 {
		t.Error(fsInfo, err)
	}
	containers, err := c.ListContainers(ctx)
	if err != nil || len(containers) != 1 || containers[0].GetMetadata().GetName() != "" {
		t.Error(containers, err)
	}
	sandboxes, err := c.ListPodSandboxes(ctx)
	if err != nil || len(sandboxes) != 1 || sandboxes[0].GetMetadata().GetName() != "" {
		t.Error(sandboxes, err)
	}
	if ref, err := c.PullImage(ctx, "x", nil); err != nil || ref != "" {
		t.Error(ref, err)
	}
}

// TestAnswered has codes that gRPC uses for its own errors come from the
// runtime: they are its answer, not the state of the socket.
func TestAnswered(t *testing.T) {
	tests := []struct {
		code codes.Code
		text string
	}{
		{codes.Unknown, "failed to resolve reference"},
		{codes.NotFound, "no match for platform in manifest: not found"},
		{codes.Unavailable, "server is not initialized yet"},
		{codes.Canceled, "failed to copy: context canceled"},
		{codes.DeadlineExceeded, "failed to do request: context deadline exceeded"},
		{codes.ResourceExhausted, "toomanyrequests"},
		{codes.Unimplemented, "media type \"application/vnd.docker.distribution.manifest.v1+prettyjws\" is no longer supported"},
		{codes.Internal, "unexpected HTTP status code received from server: 404 (Not Found)"},
		{codes.Unknown, "two\nlines\tand \x1b[31mred"},
	}
	r := critest.Start(t, critest.Containerd2)
	c := dial(t, cri.Config{Runtime: r.Endpoint()})
	for _, tt := range tests {
		r.SetPull("x", critest.Pull{Code: tt.code, Text: tt.text})
		ref, err := c.PullImage(t.Context(), "x", nil)
		e := wantError(t, err, cri.Answered)
		code, text, ok := e.Answer()
		if ref != "" || code != tt.code || text != tt.text || !ok {
			t.Errorf("got %q, %v, %q, %t, want code %v, text %q", ref, code, text, ok, tt.code, tt.text)
		}
		if strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q writes to the terminal", err)
		}
		if s, ok := status.FromError(err); !ok || s.Code() != tt.code {
			t.Errorf("as a status: %v, %t, want code %v", s, ok, tt.code)
		}
	}
}

func TestAbsentByNotFound(t *testing.T) {
	r := critest.Start(t, critest.CRIO)
	r.SetAnswer("ImageStatus", nil, status.Error(codes.NotFound, "no such image"))
	image, info, err := dial(t, cri.Config{Runtime: r.Endpoint()}).ImageStatus(t.Context(), "x", true)
	if image != nil || info != nil || err != nil {
		t.Errorf("got %v, %v, %v, want nothing", image, info, err)
	}
	r.SetAnswer("ImageStatus", nil, status.Error(codes.Unknown, "storage is locked"))
	_, _, err = dial(t, cri.Config{Runtime: r.Endpoint()}).ImageStatus(t.Context(), "x", true)
	wantError(t, err, cri.Answered)
}

// TestLongAnswer bounds what a hostile runtime can make us keep.
func TestLongAnswer(t *testing.T) {
	r := critest.Start(t, critest.Containerd2)
	r.SetPull("x", critest.Pull{Text: strings.Repeat("é", 100<<10)})
	_, err := dial(t, cri.Config{Runtime: r.Endpoint()}).PullImage(t.Context(), "x", nil)
	wantError(t, err, cri.Answered)
	if len(err.Error()) > 20<<10 {
		t.Errorf("%d bytes of error", len(err.Error()))
	}
}

// TestNoSecretInErrors has the runtime repeat each credential it was sent.
func TestNoSecretInErrors(t *testing.T) {
	// "cm9ib3Q6" is "robot:", so that both forms of the pair are looked for.
	auth := &runtimeapi.AuthConfig{
		Username:      "robot",
		Password:      critest.Secret + "-password",
		Auth:          "cm9ib3Q6aHVudGVyMi1pbi1hdXRo", // robot:hunter2-in-auth
		IdentityToken: critest.Secret + "-identity",
		RegistryToken: critest.Secret + "-registry",
	}
	echo := "failed with " + strings.Join([]string{
		auth.GetPassword(), auth.GetAuth(), auth.GetIdentityToken(), auth.GetRegistryToken(),
		"cm9ib3Q6czNjcjN0LW1hcmtlci1wYXNzd29yZA==", // robot: and the password
		"hunter2-in-auth",
	}, " and ")
	r := critest.Start(t, critest.Containerd16)
	r.SetPull("x", critest.Pull{Text: echo})
	c := dial(t, cri.Config{Runtime: r.Endpoint(), Timeout: time.Second})

	check := func(err error) {
		t.Helper()
		s, _ := status.FromError(err)
		var e *cri.Error
		errors.As(err, &e)
		_, text, _ := e.Answer()
		for _, shown := range []string{err.Error(), fmt.Sprintf("%+v %#v", err, err), s.Message(), s.String(), text, e.Hint()} {
			for _, secret := range []string{critest.Secret, "hunter2", auth.GetAuth(), "czNjcjN0"} {
				if strings.Contains(shown, secret) {
					t.Errorf("%q shows %q", shown, secret)
				}
			}
		}
	}
	_, err := c.PullImage(t.Context(), "x", auth)
	wantError(t, err, cri.Answered)
	if !strings.Contains(err.Error(), "failed with [redacted] and") {
		t.Errorf("the rest of the text is gone: %v", err)
	}
	check(err)
	r.Stop()
	_, err = c.PullImage(t.Context(), "x", auth)
	check(err)
}

// TestSecretForms: an answer may repeat a password as a program or an address
// writes it, and one secret may be part of another.
func TestSecretForms(t *testing.T) {
	const password = `pa"ss/wörd+`
	auth := &runtimeapi.AuthConfig{Username: "robot", Password: password, RegistryToken: "head." + password + ".tail"}
	r := critest.Start(t, critest.Containerd16)
	r.SetPull("x", critest.Pull{Text: fmt.Sprintf("%s, %q, %s, %s and %s", password, password, url.QueryEscape(password), url.PathEscape(password), auth.GetRegistryToken())})
	c := dial(t, cri.Config{Runtime: r.Endpoint()})
	_, err := c.PullImage(t.Context(), "x", auth)
	const want = `[redacted], "[redacted]", [redacted], [redacted] and [redacted]`
	if e := wantError(t, err, cri.Answered); e.Err.Error() != want {
		t.Errorf("got %q, want %q", e.Err.Error(), want)
	}
}

func TestObserve(t *testing.T) {
	type seen struct {
		method string
		code   codes.Code
	}
	var mu sync.Mutex
	var got []seen
	r := critest.Start(t, critest.Containerd2)
	c := dial(t, cri.Config{
		Runtime: r.Endpoint(),
		Timeout: time.Second,
		Observe: func(method string, code codes.Code, took time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, seen{method, code})
			if took <= 0 {
				t.Errorf("%s took %v", method, took)
			}
		},
	})
	ctx := t.Context()
	_, _ = c.Version(ctx)
	_, _ = c.Status(ctx, false)
	_, _ = c.ListImages(ctx)
	_, _, _ = c.ImageStatus(ctx, "x", false)
	_, _ = c.ImageFsInfo(ctx)
	_, _ = c.ListContainers(ctx)
	_, _ = c.ListPodSandboxes(ctx)
	_, _ = c.PullImage(ctx, critest.Registry+"/pause:3.1O", nil)
	r.Stop()
	// The first may still see the old connection break.
	_, _ = c.Version(ctx)
	_, _ = c.Version(ctx)
	want := []seen{
		{"Version", codes.OK},
		{"Status", codes.OK},
		{"ListImages", codes.OK},
		{"ImageStatus", codes.OK},
		{"ImageFsInfo", codes.OK},
		{"ListContainers", codes.OK},
		{"ListPodSandbox", codes.OK},
		{"PullImage", codes.NotFound},
		{"Version", codes.Unavailable},
		{"Version", codes.Unavailable},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestConnections counts the connections of a client: one for each socket.
func TestConnections(t *testing.T) {
	a, b := critest.Start(t, critest.Containerd2), critest.Start(t, critest.CRIO)
	for _, tt := range []struct {
		name           string
		runtime, image string
		want           int
	}{
		{"one socket", a.Endpoint(), "", 1},
		{"one socket by two spellings", a.Endpoint(), a.Path(), 1},
		{"two sockets", a.Endpoint(), b.Endpoint(), 2},
	} {
		var mu sync.Mutex
		dials := 0
		c := dial(t, cri.Config{Runtime: tt.runtime, Image: tt.image, Dial: func(ctx context.Context, path string) (net.Conn, error) {
			mu.Lock()
			dials++
			mu.Unlock()
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}})
		if dials != 0 {
			t.Errorf("%s: dialled before the first call", tt.name)
		}
		for range 3 {
			if _, err := c.Version(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := c.ListImages(t.Context()); err != nil {
				t.Error(err)
			}
		}
		mu.Lock()
		if dials != tt.want {
			t.Errorf("%s: %d connections, want %d", tt.name, dials, tt.want)
		}
		mu.Unlock()
	}
	if a.Calls("ListImages") != 6 || b.Calls("ListImages") != 3 || b.Calls("Version") != 0 {
		t.Errorf("calls: %d, %d and %d, want 6, 3 and 0", a.Calls("ListImages"), b.Calls("ListImages"), b.Calls("Version"))
	}
}

// TestPullOutlivesTimeout: a pull has no deadline but the caller's, unless one
// is configured.
func TestPullOutlivesTimeout(t *testing.T) {
	r := critest.Start(t, critest.Containerd2)
	r.SetPull("x", critest.Pull{Took: 300 * time.Millisecond, Text: "in the end"})
	c := dial(t, cri.Config{Runtime: r.Endpoint(), Timeout: 50 * time.Millisecond})
	_, err := c.PullImage(t.Context(), "x", nil)
	wantError(t, err, cri.Answered)

	r.SetPull("x", critest.Pull{Took: time.Minute})
	c = dial(t, cri.Config{Runtime: r.Endpoint(), PullTimeout: 50 * time.Millisecond})
	_, err = c.PullImage(t.Context(), "x", nil)
	wantError(t, err, cri.Timeout)
	if !strings.Contains(err.Error(), "no answer within ") {
		t.Error(err)
	}
}

func TestClosed(t *testing.T) {
	r := critest.Start(t, critest.Containerd2)
	c := dial(t, cri.Config{Runtime: r.Endpoint()})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := c.Version(t.Context())
	wantError(t, err, cri.Canceled)
}

func TestDialRejects(t *testing.T) {
	for _, tt := range []struct {
		cfg  cri.Config
		want string
	}{
		{cri.Config{}, "names no socket"},
		{cri.Config{Runtime: "tcp://127.0.0.1:1"}, "runtime endpoint"},
		{cri.Config{Runtime: "/run/a", Image: "run/b"}, "image endpoint"},
		{cri.Config{Runtime: "/run/a", Timeout: -1}, "below zero"},
	} {
		c, err := cri.Dial(tt.cfg)
		if c != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want %q", tt.cfg, err, tt.want)
		}
	}
}

// TestKinds: the names are labels, so they are distinct and fit for one.
func TestKinds(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range cri.Kinds() {
		name := k.String()
		if seen[name] || name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("kind %d is %q", k, name)
		}
		seen[name] = true
	}
	if len(seen) != 9 || !seen["answered"] || cri.Kind(200).String() != "kind(200)" {
		t.Errorf("got %v", seen)
	}
	if k := cri.KindOf(fmt.Errorf("asking: %w", &cri.Error{Kind: cri.Refused})); k != cri.Refused {
		t.Errorf("wrapped: %v", k)
	}
}
