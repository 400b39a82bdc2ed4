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

// fixedPosition tells a program in whose file nothing is written at its start. A loader writes addresses into pages that are read-only from
// then on, and dropping those would lose them: it does so in a program that runs elsewhere than it was linked for (PIE), that has an
// interpreter, or that names such pages (GNU_RELRO). Only what is surely none of these is trimmed: ELF of 64 bits, as elf(5) lays it out.
func fixedPosition(program string) bool {
	file, err := os.Open(program)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }() // only read
	header := make([]byte, 64)
	if _, err := io.ReadFull(file, header); err != nil {
		return false
	}
	const class64, executable, interpreter, relro = 2, 2, 3, 0x6474e552
	order := binary.NativeEndian
	if string(header[:4]) != "\x7fELF" || header[4] != class64 || order.Uint16(header[16:]) != executable {
		return false
	}
	segment := make([]byte, order.Uint16(header[54:]))
	offset := int64(order.Uint64(header[32:]))
	for i := range int64(order.Uint16(header[56:])) {
		if _, err := file.ReadAt(segment, offset+i*int64(len(segment))); err != nil || len(segment) < 4 {
			return false
		}
		if kind := order.Uint32(segment); kind == interpreter || kind == relro {
			return false
		}
	}
	return true
}
