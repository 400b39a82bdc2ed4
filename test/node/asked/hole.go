package asked

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// hole is a port that nobody can connect to: it refuses, or, as behind a firewall that drops, connecting takes for ever.
type hole struct {
	address string
	port    int
	fds     []int
	stop    chan struct{}
	done    sync.WaitGroup

	mu    sync.Mutex
	dials map[string]time.Time // the dialling side's address
}

func newHole(drop bool) (*hole, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	h := &hole{fds: []int{fd}, stop: make(chan struct{}), dials: map[string]time.Time{}}
	// A port that is bound and not listened on refuses, and no other process can take it.
	loopback := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if err := syscall.Bind(fd, loopback); err != nil {
		h.close()
		return nil, err
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		h.close()
		return nil, err
	}
	loopback = at.(*syscall.SockaddrInet4)
	h.port, h.address = loopback.Port, fmt.Sprintf("127.0.0.1:%d", loopback.Port)
	if !drop {
		return h, nil
	}
	// Where the queue of a listening socket is full, the kernel drops what else arrives.
	if err := syscall.Listen(fd, 0); err != nil {
		h.close()
		return nil, err
	}
	for range 3 {
		c, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			h.close()
			return nil, err
		}
		h.fds = append(h.fds, c)
		_ = syscall.Connect(c, loopback) // in progress: it is not waited for
	}
	time.Sleep(50 * time.Millisecond)
	own := dialling(h.port)
	h.done.Go(func() { h.watch(own) })
	return h, nil
}

// watch counts who dials. An attempt lasts for seconds, so that looking now and then misses none.
func (h *hole) watch(own []string) {
	skip := map[string]bool{}
	for _, a := range own {
		skip[a] = true
	}
	for {
		for _, a := range dialling(h.port) {
			h.mu.Lock()
			if _, seen := h.dials[a]; !seen && !skip[a] {
				h.dials[a] = time.Now()
			}
			h.mu.Unlock()
		}
		select {
		case <-h.stop:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (h *hole) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.dials)
}

func (h *hole) close() {
	select {
	case <-h.stop:
	default:
		close(h.stop)
	}
	h.done.Wait()
	for _, fd := range h.fds {
		_ = syscall.Close(fd)
	}
	h.fds = nil
}

// dialling are the local addresses of the connections to a port that are not established yet.
func dialling(port int) []string {
	raw, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return nil
	}
	to := ":" + strings.ToUpper(hex.EncodeToString([]byte{byte(port >> 8), byte(port)}))
	var from []string
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) > 3 && strings.HasSuffix(f[2], to) && f[3] == "02" { // SYN_SENT
			from = append(from, f[1])
		}
	}
	return from
}
