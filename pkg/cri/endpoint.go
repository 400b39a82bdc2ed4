package cri

import (
	"fmt"
	"path/filepath"
	"strings"
)

// maxSocketPath is the longest path of a unix socket in bytes: sun_path holds
// 108 with the closing NUL (unix(7)).
const maxSocketPath = 107

// ParseEndpoint gives the path of the socket that an endpoint names. It takes
// what the kubelet and crictl take on Linux: unix:///path and a bare absolute
// path. Any other scheme is an error that says so.
func ParseEndpoint(endpoint string) (path string, err error) {
	path = endpoint
	scheme, rest, ok := strings.Cut(endpoint, "://")
	switch {
	case ok && scheme == "unix":
		path = rest
	case ok && scheme == "npipe":
		return "", fmt.Errorf("endpoint %q: named pipes exist on Windows only, use unix:///path", endpoint)
	case ok && scheme == "tcp":
		return "", fmt.Errorf("endpoint %q: a container runtime is asked over its local socket only, use unix:///path", endpoint)
	case ok:
		return "", fmt.Errorf("endpoint %q: scheme %q is not supported, use unix:///path", endpoint, scheme)
	case strings.HasPrefix(endpoint, "unix:"):
		// gRPC's own short form, which crictl does not take either.
		return "", fmt.Errorf("endpoint %q: write it as unix:///path", endpoint)
	}
	if path == "" {
		return "", fmt.Errorf("endpoint %q names no socket, use unix:///path", endpoint)
	}
	if strings.ContainsRune(path, 0) {
		return "", fmt.Errorf("endpoint %q: a path cannot hold a NUL byte", endpoint)
	}
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("endpoint %q: the path of the socket is not absolute, use unix:///path", endpoint)
	}
	path = filepath.Clean(path)
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("endpoint %q: the path of a socket has at most %d bytes, this one has %d", endpoint, maxSocketPath, len(path))
	}
	return path, nil
}
