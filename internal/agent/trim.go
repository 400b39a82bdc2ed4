package agent

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"
)

// trim gives back what only the start needed: garbage to the kernel, and the pages of the program file that were mapped to run the
// initialisation of libraries. What the agent goes on using is mapped again on its next use, from the page cache; on a node with many
// programs of this kind the rest need not stay resident. It is best effort: where it fails, only memory is lost.
func trim() {
	debug.FreeOSMemory()
	self, err := os.Readlink("/proc/self/exe")
	if err != nil || !fixedPosition(self) {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range bytes.Lines(maps) {
		fields := bytes.Fields(line) // from-to rwxp offset device inode path
		// A page that is never written is the file's and can be dropped; a private writable one would lose what was written to it.
		if len(fields) < 6 || string(fields[5]) != self || fields[1][1] == 'w' {
			continue
		}
		from, to, _ := bytes.Cut(fields[0], []byte("-"))
		start, err1 := strconv.ParseUint(string(from), 16, 64)
		end, err2 := strconv.ParseUint(string(to), 16, 64)
		if err1 == nil && err2 == nil {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(end-start), unix.MADV_DONTNEED)
		}
	}
}

// fixedPosition tells a program that runs where it was linked for. In one that does not (PIE), the loader has written addresses into pages
// that are read-only since, and dropping those would lose them.
func fixedPosition(program string) bool {
	file, err := os.Open(program)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }() // only read
	const typeAt, executable = 16, 2    // e_type of the ELF header, ET_EXEC
	header := make([]byte, typeAt+2)
	if _, err := io.ReadFull(file, header); err != nil {
		return false
	}
	return binary.NativeEndian.Uint16(header[typeAt:]) == executable
}
