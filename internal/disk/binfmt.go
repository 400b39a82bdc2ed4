package disk

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
)

// Handler is a binfmt_misc handler that runs programs of another architecture, in software (Documentation/admin-guide/binfmt-misc.rst of the
// kernel). An image of that architecture runs on the node then, slowly.
type Handler struct {
	Name         string // qemu-aarch64
	Interpreter  string
	Architecture string // as images name it: arm64
	Enabled      bool
	// InContainers is set where the interpreter was opened on registration (flag F). Without, it is looked for in the container, where it is not.
	InContainers bool
}

// handlerDirs are where the kernel has them, and where a pod has that mounted: container runtimes mount nothing inside /proc.
var handlerDirs = []string{"/proc/sys/fs/binfmt_misc", "/host/proc/sys/fs/binfmt_misc"}

const (
	mostHandlers     = 200
	mostHandlerBytes = 4096
)

// Handlers lists those of foreign architectures, from the first of the directories where binfmt_misc is mounted; that it is in none is an error. Without
// directories it looks where the kernel has it and, for a pod, below /host. What was registered for other things (Java, Wine) is left out.
func Handlers(dirs ...string) ([]Handler, error) {
	if len(dirs) == 0 {
		dirs = handlerDirs
	}
	dir := ""
	for _, d := range dirs {
		if _, err := os.Stat(path.Join(d, "status")); err == nil {
			dir = d
			break
		}
	}
	if dir == "" {
		return nil, &hinted{fmt.Errorf("read binfmt_misc: it is not mounted at %s", strings.Join(dirs, " or ")),
			"Mount the host's " + handlerDirs[0] + " into the agent's pod, read-only, at " + handlerDirs[1] + "."}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read binfmt_misc: %w", err)
	}
	status, failed := readBounded(path.Join(dir, "status"), mostHandlerBytes)
	off := strings.TrimSpace(string(status)) == "disabled" // all of them, whatever each says
	var handlers []Handler
	for _, entry := range entries[:min(len(entries), mostHandlers)] {
		if name := entry.Name(); name != "register" && name != "status" {
			text, err := readBounded(path.Join(dir, name), mostHandlerBytes)
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("read binfmt_misc: %w", err))
				continue
			}
			if h, ok := parseHandler(name, string(text)); ok {
				h.Enabled = h.Enabled && !off
				handlers = append(handlers, h)
			}
		}
	}
	return handlers, failed
}

// parseHandler reads one, and whether it is for ELF programs of an architecture that images have.
func parseHandler(name, text string) (Handler, bool) {
	h := Handler{Name: clean(name)}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "enabled":
			h.Enabled = true
		case "interpreter":
			h.Interpreter = clean(value)
		case "flags:":
			h.InContainers = strings.Contains(value, "F")
		case "magic":
			if magic, err := hex.DecodeString(value); err == nil {
				h.Architecture = elfArchitecture(magic)
			}
		}
	}
	return h, h.Architecture != ""
}

// elfArchitecture reads the beginning of an ELF file: class, byte order and e_machine (elf.h).
func elfArchitecture(magic []byte) string {
	if len(magic) < 20 || string(magic[:4]) != "\x7fELF" {
		return ""
	}
	is64, little := magic[4] == 2, magic[5] == 1
	machine := int(magic[18]) | int(magic[19])<<8
	if !little {
		machine = int(magic[19]) | int(magic[18])<<8
	}
	switch {
	case machine == 3:
		return "386"
	case machine == 62:
		return "amd64"
	case machine == 40:
		return "arm"
	case machine == 183 && little:
		return "arm64"
	case machine == 21 && little:
		return "ppc64le"
	case machine == 22 && is64:
		return "s390x"
	case machine == 243 && is64:
		return "riscv64"
	case machine == 258 && is64:
		return "loong64"
	case machine == 8 && is64 && little:
		return "mips64le"
	}
	return ""
}
