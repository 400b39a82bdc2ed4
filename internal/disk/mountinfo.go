package disk

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// What is read of a mount table. A node with 250 pods has about 3,000 lines of 200 bytes.
const (
	mostMountinfo = 16 << 20 // bytes
	longestMount  = 64 << 10 // bytes of a line: an overlay mount names all its layers
)

// mount is one line of /proc/PID/mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	id, parent string
	device     string // major:minor, which is the same for two names of one filesystem
	point      string
	fstype     string
	source     string // /dev/vda1, or a word such as overlay
}

// mounts is a mount table in the kernel's order.
type mounts []mount

func readMounts(file string) (mounts, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return parseMounts(io.LimitReader(f, mostMountinfo))
}

// parseMounts reads a mount table. A line that cannot be read is left out: the kernel may append fields, and has done so.
func parseMounts(r io.Reader) (table mounts, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), longestMount)
	for lines.Scan() {
		if m, ok := parseMount(lines.Bytes()); ok {
			table = append(table, m)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read mount table: %w", err)
	}
	if len(table) == 0 {
		return nil, errors.New("read mount table: no mounts in it")
	}
	return table, nil
}

func parseMount(line []byte) (m mount, ok bool) {
	// ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPER-OPTIONS
	before, after, found := bytes.Cut(line, []byte(" - "))
	front, back := bytes.Fields(before), bytes.Fields(after)
	if !found || len(front) < 6 || len(back) < 2 {
		return mount{}, false
	}
	m = mount{
		id: string(front[0]), parent: string(front[1]), device: string(front[2]), point: unescape(string(front[4])),
		fstype: string(back[0]), source: unescape(string(back[1])),
	}
	return m, strings.HasPrefix(m.point, "/")
}

// unescape undoes the kernel's octal escapes of space, tab, newline and backslash (mangle_path in fs/seq_file.c).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] <= '3' && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(c byte) bool { return '0' <= c && c <= '7' }

// holding is the mount that holds a path free of symbolic links. It walks from the root mount to its children as the kernel does, since the
// longest mount point alone may be hidden by a later mount over one of its parents.
func (table mounts) holding(name string) (mount, bool) {
	at := -1
	for i, m := range table {
		if m.point == "/" && (at < 0 || m.parent == table[at].id) {
			at = i
		}
	}
	if at < 0 {
		return mount{}, false
	}
	for range table { // a table in disorder may have a circle
		next := -1
		for i, m := range table {
			if i == at || m.parent != table[at].id || !within(name, m.point) || !within(m.point, table[at].point) {
				continue
			}
			if next < 0 || len(m.point) < len(table[next].point) || m.point == table[next].point {
				next = i
			}
		}
		if next < 0 {
			break
		}
		at = next
	}
	return table[at], true
}

// within tells that name is dir or lies below it.
func within(name, dir string) bool {
	return name == dir || dir == "/" || strings.HasPrefix(name, dir) && name[len(dir)] == '/'
}

// parent is the directory above, and whether there is one.
func parent(name string) (string, bool) {
	up := path.Dir(name)
	return up, up != name
}
