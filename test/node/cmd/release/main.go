// Command release makes the files of a release of the programs that `make cross` built; `make release` calls it.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/test/node/release"
)

func main() { os.Exit(Main(os.Args[1:])) }

// Main makes the release and returns the exit code.
func Main(args []string) int {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	version := flags.String("version", "", "what is released: the tag")
	revision := flags.String("revision", "", "the commit")
	epoch := flags.Int64("epoch", 0, "time of the commit, seconds since 1970 (SOURCE_DATE_EPOCH)")
	platforms := flags.String("platforms", "", "platforms, parted by spaces")
	programs := flags.String("programs", "", "directory of the built programs")
	source := flags.String("source", "../..", "directory of the repository")
	out := flags.String("out", "", "directory to write into; the chart is there already")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	r := &release.Release{Version: *version, Revision: *revision, Time: time.Unix(*epoch, 0), Source: *source}
	if err := write(r, *programs, strings.Fields(*platforms), *out); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		return 1
	}
	return 0
}

func write(r *release.Release, programs string, platforms []string, out string) error {
	if r.Time.Unix() <= 0 {
		return fmt.Errorf("the time of the commit is not known: set SOURCE_DATE_EPOCH")
	}
	for _, platform := range platforms {
		p, err := release.Open(programs, platform)
		if err != nil {
			return err
		}
		if p.Platform.OS == runtime.GOOS && p.Platform.Architecture == runtime.GOARCH {
			if err := ask(filepath.Join(programs, release.Name+"-"+p.Platform.OS+"-"+p.Platform.Architecture), r); err != nil {
				return err
			}
		}
		r.Programs = append(r.Programs, p)
	}
	return r.Write(out)
}

// ask holds what the program says of itself to what is released: the linker's flags are not in its build info.
func ask(program string, r *release.Release) error {
	cmd := exec.Command(program, "version", "-o", "json")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s version: %w: %s", program, err, stderr.String())
	}
	var said struct{ Version, Revision string }
	if err := json.Unmarshal(out, &said); err != nil {
		return fmt.Errorf("%s version: %w", program, err)
	}
	if said.Version != r.Version || said.Revision != r.Revision {
		return fmt.Errorf("%s says that it is %s of %s, want %s of %s", program, said.Version, said.Revision, r.Version, r.Revision)
	}
	return nil
}
