package cri

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// DefaultTimeout is the deadline of one call when [Config] names none. The
// slowest good answer is a list on a node under memory pressure, which takes a
// few seconds; what takes longer hurts the kubelet too.
const DefaultTimeout = 10 * time.Second

// Config says whom to ask and how.
type Config struct {
	// Runtime and Image are the endpoints of the two services, as
	// [ParseEndpoint] takes them. Image is the runtime's when empty.
	Runtime string
	Image   string
	// Timeout bounds each call but a pull; zero stands for [DefaultTimeout].
	// A caller's sooner deadline wins.
	Timeout time.Duration
	// PullTimeout bounds a pull. Zero leaves the end of a pull to the caller's
	// context alone: a large image over a slow line takes an hour and is fine.
	PullTimeout time.Duration
	// Observe, when set, is told of every call as it ends: the bare name of
	// the CRI method, the gRPC code, and how long it took. It is called on the
	// caller's goroutine and must be safe for concurrent use.
	Observe func(method string, code codes.Code, took time.Duration)
	// Dial connects to the socket at path; nil stands for the real thing.
	Dial func(ctx context.Context, path string) (net.Conn, error)
}

// Client asks one container runtime. It is safe for concurrent use. All its
// errors are of type [*Error].
type Client struct {
	runtimeLink *link
	imageLink   *link
	runtimes    runtimeapi.RuntimeServiceClient
	images      runtimeapi.ImageServiceClient

	timeout     time.Duration
	pullTimeout time.Duration
	observe     func(string, codes.Code, time.Duration)
}

// Dial prepares a client. It does not connect: the first call does, so that an
// agent can start before its runtime. It fails only for an endpoint or a
// timeout that makes no sense.
func Dial(cfg Config) (*Client, error) {
	if cfg.Timeout < 0 || cfg.PullTimeout < 0 {
		return nil, errors.New("a timeout below zero")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Dial == nil {
		cfg.Dial = func(ctx context.Context, path string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}
	}
	runtimePath, err := ParseEndpoint(cfg.Runtime)
	if err != nil {
		return nil, fmt.Errorf("runtime %w", err)
	}
	imagePath := runtimePath
	if cfg.Image != "" {
		if imagePath, err = ParseEndpoint(cfg.Image); err != nil {
			return nil, fmt.Errorf("image %w", err)
		}
	}

	c := &Client{timeout: cfg.Timeout, pullTimeout: cfg.PullTimeout, observe: cfg.Observe}
	if c.runtimeLink, err = newLink(runtimePath, cfg.Dial); err != nil {
		return nil, err
	}
	c.imageLink = c.runtimeLink
	if imagePath != runtimePath {
		if c.imageLink, err = newLink(imagePath, cfg.Dial); err != nil {
			return nil, errors.Join(err, c.runtimeLink.conn.Close())
		}
	}
	c.runtimes = runtimeapi.NewRuntimeServiceClient(c.runtimeLink.conn)
	c.images = runtimeapi.NewImageServiceClient(c.imageLink.conn)
	return c, nil
}

// Close ends all calls in flight and gives up the connection.
func (c *Client) Close() error {
	err := c.runtimeLink.conn.Close()
	if c.imageLink != c.runtimeLink {
		err = errors.Join(err, c.imageLink.conn.Close())
	}
	return err
}

// Version tells name and version of the runtime: RuntimeName is "containerd"
// or "cri-o".
func (c *Client) Version(ctx context.Context) (*runtimeapi.VersionResponse, error) {
	return call(ctx, c, question{c.runtimeLink, "Version", "read version", c.timeout, nil},
		func(ctx context.Context) (*runtimeapi.VersionResponse, error) {
			return c.runtimes.Version(ctx, &runtimeapi.VersionRequest{})
		})
}

// Status tells the runtime's own conditions. With verbose, Info holds JSON
// about its configuration, which in containerd 1.x shows the passwords of
// registries in clear: never print it as it is.
func (c *Client) Status(ctx context.Context, verbose bool) (*runtimeapi.StatusResponse, error) {
	return call(ctx, c, question{c.runtimeLink, "Status", "read status", c.timeout, nil},
		func(ctx context.Context) (*runtimeapi.StatusResponse, error) {
			return c.runtimes.Status(ctx, &runtimeapi.StatusRequest{Verbose: verbose})
		})
}

// ListImages lists all images. It is the unary call, which every CRI v1
// runtime has; a list above 16 MiB is an error of kind TooLarge.
func (c *Client) ListImages(ctx context.Context) ([]*runtimeapi.Image, error) {
	r, err := call(ctx, c, question{c.imageLink, "ListImages", "list images", c.timeout, nil},
		func(ctx context.Context) (*runtimeapi.ListImagesResponse, error) {
			return c.images.ListImages(ctx, &runtimeapi.ListImagesRequest{})
		})
	return r.GetImages(), err
}

// ImageStatus looks up one image by reference or id. An image that is not
// there is a nil image and no error. With verbose, info is what
// [ReadImageConfig] reads.
func (c *Client) ImageStatus(ctx context.Context, image string, verbose bool) (_ *runtimeapi.Image, info map[string]string, _ error) {
	r, err := call(ctx, c, question{c.imageLink, "ImageStatus", "read image status", c.timeout, nil},
		func(ctx context.Context) (*runtimeapi.ImageStatusResponse, error) {
			return c.images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{
				Image:   &runtimeapi.ImageSpec{Image: image},
				Verbose: verbose,
			})
		})
	var e *Error
	if errors.As(err, &e) {
		// CRI asks for an empty answer here; NotFound means the same.
		if code, _, ok := e.Answer(); ok && code == codes.NotFound {
			return nil, nil, nil
		}
		return nil, nil, err
	}
	return r.GetImage(), r.GetInfo(), nil
}

// ImageFsInfo tells where images are kept and how much they use, in bytes and
// inodes. containerd fills ImageFilesystems only.
func (c *Client) ImageFsInfo(ctx context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
	return call(ctx, c, question{c.imageLink, "ImageFsInfo", "read image filesystem info", c.timeout, nil},
		func(ctx context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
			return c.images.ImageFsInfo(ctx, &runtimeapi.ImageFsInfoRequest{})
		})
}

// ListContainers lists all containers, running or not.
func (c *Client) ListContainers(ctx context.Context) ([]*runtimeapi.Container, error) {
	r, err := call(ctx, c, question{c.runtimeLink, "ListContainers", "list containers", c.timeout, nil},
		func(ctx context.Context) (*runtimeapi.ListContainersResponse, error) {
			return c.runtimes.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
		})
	return r.GetContainers(), err
}

// ListPodSandboxes lists all pod sandboxes, ready or not.
func (c *Client) ListPodSandboxes(ctx context.Context) ([]*runtimeapi.PodSandbox, error) {
	r, err := call(ctx, c, question{c.runtimeLink, "ListPodSandbox", "list pod sandboxes", c.timeout, nil},
		func(ctx context.Context) (*runtimeapi.ListPodSandboxResponse, error) {
			return c.runtimes.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
		})
	return r.GetItems(), err
}

// PullImage pulls one image and gives its reference on this node. auth may be
// nil; it goes to the runtime and nowhere else, and is struck out of the
// runtime's answer should that repeat it. Cancelling ctx cancels the pull.
func (c *Client) PullImage(ctx context.Context, image string, auth *runtimeapi.AuthConfig) (imageRef string, _ error) {
	r, err := call(ctx, c, question{c.imageLink, "PullImage", "pull image", c.pullTimeout, secretsOf(auth)},
		func(ctx context.Context) (*runtimeapi.PullImageResponse, error) {
			return c.images.PullImage(ctx, &runtimeapi.PullImageRequest{
				Image: &runtimeapi.ImageSpec{Image: image},
				Auth:  auth,
			})
		})
	return r.GetImageRef(), err
}

// question is one call: whom, what, in whose words, for how long, and what
// must not be repeated.
type question struct {
	link    *link
	method  string
	op      string
	timeout time.Duration
	secrets []string
}

func call[R any](ctx context.Context, c *Client, q question, ask func(context.Context) (*R, error)) (*R, error) {
	start := time.Now()
	if q.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, q.timeout)
		defer cancel()
	}
	ctx, answered := withAnswered(ctx)

	var r *R
	err := q.link.recovered(ctx)
	if err == nil {
		r, err = ask(ctx)
	}
	took := time.Since(start)
	if c.observe != nil {
		c.observe(q.method, status.Code(err), took)
	}
	if err != nil {
		return nil, q.link.explain(ctx, q.op, err, answered.Load(), took, q.secrets)
	}
	return r, nil
}
