// Package release makes the files of a release from programs that are already built: archives, bills of materials, the container image, and the
// checksums of them all.
//
// It promises that equal programs, files and times give equal bytes: nothing of the machine, the user or the clock comes into a file. `make
// reproducible` holds it to that.
package release

import (
	"cmp"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Name is that of the program, its archives and its image.
const Name = "pullwatch"

// Release is what the files are made of.
type Release struct {
	Version  string    // as `git describe` says it: v1.2.3 at a tag
	Revision string    // the commit
	Time     time.Time // of the commit; all files have it
	Programs []Program // one for each platform
	Source   string    // directory of the repository
}

// Program is one built program and what the go command wrote into it.
type Program struct {
	Platform v1.Platform
	Content  []byte
	Info     *buildinfo.BuildInfo
}

// settings are those of a program that may be released, beside its platform's. Another one would mean that the environment or a configuration
// of the go command had a say, and two machines would make two programs of one commit.
var settings = map[string]string{
	"-buildmode": "exe", "-compiler": "gc", "-trimpath": "true", "CGO_ENABLED": "0", "GOOS": "linux",
	"GOAMD64": "v1", "GOARM64": "v8.0", "GOARM": "7", "GOPPC64": "power8", "GORISCV64": "rva20u64", // what Go's own default is, and variant 7 as asked
}

// Open reads the program for a platform (linux/amd64, linux/arm/v7) from the directory in which `make cross` leaves it.
func Open(dir, platform string) (Program, error) {
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		return Program{}, err
	}
	file := filepath.Join(dir, Name+"-"+p.OS+"-"+p.Architecture+p.Variant)
	content, err := os.ReadFile(file)
	if err != nil {
		return Program{}, err
	}
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return Program{}, fmt.Errorf("%s: %w", file, err)
	}
	program := Program{*p, content, info}
	if err := program.check(); err != nil {
		return Program{}, fmt.Errorf("%s: %w", file, err)
	}
	return program, nil
}

// check holds a program to what its name says and to how releases are built.
func (p Program) check() error {
	seen := make(map[string]string)
	for _, s := range p.Info.Settings {
		seen[s.Key] = s.Value
		if want, known := settings[s.Key]; s.Key != "GOARCH" && (!known || s.Value != want) {
			return fmt.Errorf("built with %s=%s, want %q", s.Key, s.Value, want)
		}
	}
	if seen["GOARCH"] != p.Platform.Architecture {
		return fmt.Errorf("built for %s, want %s", seen["GOARCH"], p.Platform.Architecture)
	}
	for _, must := range []string{"-trimpath", "CGO_ENABLED"} {
		if seen[must] == "" {
			return fmt.Errorf("built without %s=%s", must, settings[must])
		}
	}
	if p.Info.Main.Path == "" {
		return fmt.Errorf("does not tell what it was built from")
	}
	return nil
}

// stem is the name of a platform's files without their ending.
func (r *Release) stem(p v1.Platform) string {
	return fmt.Sprintf("%s-%s.%s-%s%s", Name, r.Version, p.OS, p.Architecture, p.Variant)
}

// file is one file of the release.
type file struct {
	name    string
	content []byte
}

// Write writes all files into the directory, which exists, and at last their checksums: those of files that are there already too.
func (r *Release) Write(dir string) error {
	if len(r.Programs) == 0 || r.Version == "" || strings.ContainsAny(r.Version, "/ ") {
		return fmt.Errorf("a release of %d programs with the version %q", len(r.Programs), r.Version)
	}
	slices.SortFunc(r.Programs, func(a, b Program) int { return cmp.Compare(r.stem(a.Platform), r.stem(b.Platform)) })
	for _, made := range []func() ([]file, error){r.archives, r.sboms, r.image, r.manifests} {
		files, err := made()
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(dir, f.name), f.content, 0o644); err != nil {
				return err
			}
		}
	}
	return writeSums(dir)
}
