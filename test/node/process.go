package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is one program of the node, found again by any other process.
type process struct {
	PID int `json:"pid"`
	// Start is field 22 of /proc/PID/stat: with it a reused pid is not taken for ours.
	Start uint64 `json:"start"`
}

// statOf returns state and start time of a pid; ok is false when there is none.
func statOf(pid int) (state byte, ppid int, start uint64, ok bool) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, 0, false
	}
	// The command name, in parentheses, may hold blanks and parentheses itself.
	_, rest, found := bytes.Cut(raw[bytes.LastIndexByte(raw, ')'):], []byte(") "))
	f := strings.Fields(string(rest))
	if !found || len(f) < 20 {
		return 0, 0, 0, false
	}
	ppid, _ = strconv.Atoi(f[1])
	start, _ = strconv.ParseUint(f[19], 10, 64)
	return f[0][0], ppid, start, true
}

// alive says whether the process runs; a zombie that nobody has reaped does not. A process whose first thread has ended has its ports and files until the
// others have.
func (p process) alive() bool {
	state, _, start, ok := statOf(p.PID)
	if !ok || start != p.Start || state == 'X' {
		return false
	}
	if state != 'Z' {
		return true
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.PID))
	return err == nil && len(threads) > 1
}

// stop ends the process: politely for as long as grace says, then not.
func (p process) stop(grace time.Duration) error {
	if !p.alive() {
		return nil
	}
	if grace > 0 {
		_ = syscall.Kill(p.PID, syscall.SIGTERM)
		for end := time.Now().Add(grace); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if !p.alive() {
				return nil
			}
		}
	}
	_ = syscall.Kill(p.PID, syscall.SIGKILL)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if !p.alive() {
			return nil
		}
	}
	return fmt.Errorf("process %d does not end, not even on SIGKILL", p.PID)
}

// pids is the record of what runs, Dir/pids.json.
type pids struct {
	mu   sync.Mutex
	path string
}

func (r *pids) load() (map[string]process, error) {
	m := map[string]process{}
	raw, err := os.ReadFile(r.path)
	if errors.Is(err, os.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	return m, json.Unmarshal(raw, &m)
}

func (r *pids) set(part string, p process) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, err := r.load()
	if err != nil {
		return err
	}
	m[part] = p
	return writeJSON(r.path, m)
}

func (r *pids) get(part string) (process, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, err := r.load()
	p, ok := m[part]
	return p, ok && err == nil
}

// writeJSON replaces the file in one step, so that a reader never sees half of it.
func writeJSON(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, raw, 0o600)
}

func writeFile(path string, raw []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, raw, mode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// command is how to start a part and how to see that it is ready.
type command struct {
	argv    []string
	env     []string // added to PATH and HOME
	path    string   // directories in front of PATH
	timeout time.Duration
	ready   func(context.Context) error
}

// Spawn starts a program of the node's under that name: its own session, its log in Dir/logs, its pid on record.
// It is for programs that live and die with the node, such as the agent of the demo.
func (n *Node) Spawn(name string, argv []string, env ...string) error {
	return n.spawn(name, command{argv: argv, env: env})
}

func (n *Node) spawn(part string, c command) error {
	if p, ok := n.pids.get(part); ok && p.alive() {
		return fmt.Errorf("%s runs already (pid %d)", part, p.PID)
	}
	log, err := os.OpenFile(n.LogFile(part), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, n.Dir
	// Not the caller's environment: a proxy set there would come between the node and its own loopback.
	path := strings.TrimPrefix(c.path+":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ":")
	cmd.Env = append([]string{"PATH=" + path, "HOME=" + n.Dir}, c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", part, err)
	}
	_, _, start, _ := statOf(cmd.Process.Pid)
	go func() { _ = cmd.Wait() }() // reaps it, if this process lives that long
	return n.pids.set(part, process{PID: cmd.Process.Pid, Start: start})
}

// wait polls until the part is ready; it fails at once when the part has ended, with the end of its log.
func (n *Node) wait(ctx context.Context, part string, c command) error {
	if c.ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	for {
		once, done := context.WithTimeout(ctx, 2*time.Second)
		err := c.ready(once)
		done()
		if err == nil {
			return nil
		}
		if p, ok := n.pids.get(part); !ok || !p.alive() {
			return fmt.Errorf("%s ended instead of getting ready\n%s", part, n.logTail(part))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s: %w\n%s", part, c.timeout, err, n.logTail(part))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// logTail is the end of a part's log, for an error message.
func (n *Node) logTail(part string) string {
	raw, err := os.ReadFile(n.LogFile(part))
	if err != nil {
		return "its log cannot be read: " + err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
	if len(lines) > 12 {
		lines = lines[len(lines)-12:]
	}
	return "the end of " + n.LogFile(part) + ":\n  " + strings.Join(lines, "\n  ")
}
