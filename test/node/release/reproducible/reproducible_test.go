// Package reproducible builds a release twice and compares. It takes minutes, since the second build may reuse nothing of the first:
// `make reproducible` runs it.
package reproducible

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var platforms = flag.String("platforms", "", "platforms to build for, parted by spaces; all where empty")

// elsewhere is an environment that may not matter.
var elsewhere = []string{"GOFLAGS=-tags=elsewhere", "GOEXPERIMENT=greenteagc", "TZ=Pacific/Auckland", "LC_ALL=C", "USER=somebody", "SOURCE_DATE_EPOCH="}

// TestRelease makes the release of the commit in two clones: in directories of other lengths, with another umask, time zone and settings of Go,
// and for the second with nothing compiled before.
func TestRelease(t *testing.T) {
	cache := t.TempDir()
	root := t.TempDir()
	first := released(t, filepath.Join(root, "a"), "022")
	far := filepath.Join(root, "another", "directory", "with a space")
	second := released(t, far, "077", append(elsewhere, "GOCACHE="+cache)...)
	if len(first) < 10 {
		t.Errorf("a release of %d files", len(first))
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the two differ:\n%s", diff)
	}
	asDockerfile(t, far, cache)
}

// released clones the repository, makes the release there, and gives the checksums of its files.
func released(t *testing.T, dir, umask string, env ...string) map[string]string {
	t.Helper()
	command(t, "", nil, "git", "clone", "--quiet", "--no-local", "../../../..", dir)
	line := "umask " + umask + " && make --no-print-directory release"
	if *platforms != "" {
		line += " PLATFORMS='" + *platforms + "'"
	}
	command(t, dir, env, "sh", "-c", line)
	sums := make(map[string]string)
	err := filepath.WalkDir(filepath.Join(dir, "dist"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		sums[d.Name()] = fmt.Sprintf("%x", sha256.Sum256(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

// asDockerfile compiles with the Dockerfile's own line, from the files that a builder gets, and finds the program that is in the archive.
func asDockerfile(t *testing.T, clone, cache string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(clone, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	run := regexp.MustCompile(`(?s)RUN (CGO_ENABLED=0 .*?)\n\n`).FindSubmatch(text)
	if run == nil {
		t.Fatal("the Dockerfile has no line that compiles")
	}
	context := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "cmd", "internal", "pkg"} {
		command(t, clone, nil, "cp", "-r", name, context)
	}
	program := filepath.Join(context, "out")
	env := []string{
		"GOCACHE=" + cache, "GOFLAGS=", "GOEXPERIMENT=", "TARGETOS=linux", "TARGETARCH=amd64", "TARGETVARIANT=",
		"VERSION=" + command(t, clone, nil, "git", "describe", "--tags", "--always", "--abbrev=12"),
		"REVISION=" + command(t, clone, nil, "git", "rev-parse", "--short=12", "HEAD"),
	}
	command(t, context, env, "sh", "-c", strings.ReplaceAll(string(run[1]), "/out/pullwatch", program))
	built, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	archives, err := filepath.Glob(filepath.Join(clone, "dist", "*.linux-amd64.tar.gz"))
	if err != nil || len(archives) != 1 {
		t.Fatalf("archives %q (%v)", archives, err)
	}
	if !bytes.Equal(built, firstIn(t, archives[0])) {
		t.Error("the Dockerfile compiles another program than is in the archive")
	}
}

// firstIn is the first file of an archive.
func firstIn(t *testing.T, archive string) []byte {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unzip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(unzip)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// command runs a program and gives what it prints. What make passes on to its children is none of theirs.
func command(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "MAKE") && !strings.HasPrefix(v, "MFLAGS") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, stderr.Bytes())
	}
	return strings.TrimSpace(string(out))
}
