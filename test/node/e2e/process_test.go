package e2e

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// processOf finds `PROGRAM run` in /proc, and returns its directory there.
func processOf(t *testing.T, program string) string {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	for _, process := range processes {
		if command, err := os.ReadFile(process + "/cmdline"); err == nil && bytes.HasPrefix(command, []byte(program+"\x00run\x00")) {
			return process
		}
	}
	t.Fatalf("no process %s run", program)
	return ""
}

// asUser reads that the process runs as the manifests promise: uid 65532, no capability, no new privileges.
func asUser(t *testing.T, process string) {
	t.Helper()
	status, err := os.ReadFile(process + "/status")
	must(t, err)
	const none = "0000000000000000"
	for _, want := range []string{
		"Uid:\t65532\t65532\t65532\t65532", "CapEff:\t" + none, "CapBnd:\t" + none, "NoNewPrivs:\t1", "Seccomp:\t2",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the agent's process is not %q:\n%s", want, status)
		}
	}
}

// openTo holds the process to one open port: whatever else it listens on is the page on loopback and a unix socket.
func openTo(t *testing.T, process, address string) {
	t.Helper()
	inodes := make(map[string]bool)
	links, err := filepath.Glob(process + "/fd/*")
	must(t, err)
	for _, link := range links {
		to, _ := os.Readlink(link) // one that was closed meanwhile listens no more
		if inode, ok := strings.CutPrefix(to, "socket:["); ok {
			inodes[strings.TrimSuffix(inode, "]")] = true
		}
	}
	var open []string
	for _, protocol := range []struct{ name, listens string }{
		{"tcp", "0A"}, {"tcp6", "0A"}, // LISTEN
		{"udp", "07"}, {"udp6", "07"}, {"udplite", "07"}, {"udplite6", "07"}, // not connected: takes from anybody
		{"raw", "07"}, {"raw6", "07"},
	} {
		for _, f := range fieldsOf(t, process+"/net/"+protocol.name) {
			if f[3] == protocol.listens && inodes[f[9]] {
				open = append(open, protocol.name+" "+addressIn(t, f[1]))
			}
		}
	}
	slices.Sort(open)
	if want := []string{"tcp " + address, "tcp 127.0.0.1:9768"}; !slices.Equal(open, want) {
		t.Errorf("open to the network: %q, want %q", open, want)
	}
	var sockets []string
	for _, f := range fieldsOf(t, process+"/net/unix") {
		const accepts = 0x10000 // SO_ACCEPTCON
		if flags, _ := strconv.ParseUint(f[3], 16, 32); flags&accepts != 0 && inodes[f[6]] {
			sockets = append(sockets, strings.Join(f[7:], " "))
		}
	}
	if want := []string{"/run/pullwatch/pullwatch.sock"}; !slices.Equal(sockets, want) {
		t.Errorf("it listens on the unix sockets %q, want %q", sockets, want)
	}
}

// fieldsOf are the lines of a table in /proc/PID/net but for its head.
func fieldsOf(t *testing.T, file string) [][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil // no such protocol in this kernel
	}
	must(t, err)
	var lines [][]string
	scan := bufio.NewScanner(bytes.NewReader(text))
	for scan.Scan(); scan.Scan(); {
		lines = append(lines, strings.Fields(scan.Text()))
	}
	return lines
}

// addressIn reads an address as the kernel prints it: words of 32 bits in the machine's order, which is little-endian here, and the port.
func addressIn(t *testing.T, text string) string {
	t.Helper()
	digits, port, _ := strings.Cut(text, ":")
	ip, err := hex.DecodeString(digits)
	must(t, err)
	for word := range slices.Chunk(ip, 4) {
		slices.Reverse(word)
	}
	number, err := strconv.ParseUint(port, 16, 16)
	must(t, err)
	return net.JoinHostPort(net.IP(ip).String(), fmt.Sprint(number))
}
