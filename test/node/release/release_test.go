package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const source = "../../.."

func program(platform, content string) Program {
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		panic(err)
	}
	return Program{*p, []byte(content), &buildinfo.BuildInfo{
		GoVersion: "go1.26.8", Main: debug.Module{Path: "example.com/p"},
		Deps: []*debug.Module{
			{Path: "example.com/m", Version: "v1.0.0+incompatible", Sum: "h1:" + "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="},
			{Path: "example.com/old", Version: "v1.0.0", Replace: &debug.Module{
				Path: "example.com/new", Version: "v2.0.0", Sum: "h1:" + "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
			}},
		},
	}}
}

// example is a release of two programs, given in the order of the numbers.
func example(at time.Time, order ...int) *Release {
	r := &Release{Version: "v1.2.3", Revision: "0123456789ab", Time: at, Source: source}
	for _, i := range order {
		r.Programs = append(r.Programs, []Program{program("linux/amd64", "for amd64"), program("linux/arm/v7", "for arm")}[i])
	}
	return r
}

func written(t *testing.T, r *Release) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

var commit = time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)

// TestEqual: the order of the programs, the time zone and the user's mask change no byte; the time of the commit does.
func TestEqual(t *testing.T) {
	first := written(t, example(commit, 0, 1))
	defer syscall.Umask(syscall.Umask(0o077))
	second := written(t, example(commit.In(time.FixedZone("elsewhere", 7200)), 1, 0))
	for name := range first {
		if !bytes.Equal(first[name], second[name]) {
			t.Errorf("%s is another one", name)
		}
	}
	if len(first) != len(second) {
		t.Errorf("%d files and %d", len(first), len(second))
	}
	later := written(t, example(commit.Add(time.Hour), 0, 1))
	for _, name := range []string{"pullwatch-v1.2.3.linux-amd64.tar.gz", "pullwatch-v1.2.3.linux-amd64.cdx.json", "pullwatch-v1.2.3.oci.tar", Sums} {
		if bytes.Equal(first[name], later[name]) {
			t.Errorf("%s does not have the time of the commit", name)
		}
	}
}

func TestFiles(t *testing.T) {
	files := written(t, example(commit, 0, 1))
	var names []string
	sums := make(map[string]string)
	for name, content := range files {
		names = append(names, name)
		if name != Sums {
			sums[name] = fmt.Sprintf("%x", sha256.Sum256(content))
		}
	}
	slices.Sort(names)
	want := []string{
		Sums, "dashboard-fleet.json", "dashboard-node.json", "kubectl-pullwatch", "optional-prometheusrule.yaml", "optional-rules.yaml", "prometheusrule.yaml",
		"pullwatch-v1.2.3.linux-amd64.cdx.json", "pullwatch-v1.2.3.linux-amd64.tar.gz", "pullwatch-v1.2.3.linux-armv7.cdx.json",
		"pullwatch-v1.2.3.linux-armv7.tar.gz", "pullwatch-v1.2.3.manifests.tar.gz", "pullwatch-v1.2.3.oci.tar", "rules.yaml",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	said := make(map[string]string)
	for line := range strings.Lines(string(files[Sums])) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		said[name] = sum
	}
	if diff := cmp.Diff(sums, said); diff != "" {
		t.Errorf("checksums: %s", diff)
	}
	const stem = "pullwatch-v1.2.3.linux-armv7/"
	wantList := []string{"-rwxr-xr-x " + stem + "pullwatch", "-rw-r--r-- " + stem + "LICENSE", "-rw-r--r-- " + stem + "README.md", "-rw-r--r-- " + stem + "CHANGELOG.md"}
	list, contents := untar(t, gunzip(t, files["pullwatch-v1.2.3.linux-armv7.tar.gz"]))
	if diff := cmp.Diff(wantList, list); diff != "" || contents[stem+"pullwatch"] != "for arm" {
		t.Errorf("archive: %s, program %q", diff, contents[stem+"pullwatch"])
	}
	list, contents = untar(t, gunzip(t, files["pullwatch-v1.2.3.manifests.tar.gz"]))
	if !strings.Contains(contents["pullwatch-v1.2.3.manifests/base/daemonset.yaml"], "image: "+Repository+":v1.2.3\n") {
		t.Error("the DaemonSet does not have the image of the release")
	}
	for _, want := range []string{
		"-rw-r--r-- pullwatch-v1.2.3.manifests/base/kustomization.yaml", "-rw-r--r-- pullwatch-v1.2.3.manifests/chart/values/k3s.yaml",
		"-rwxr-xr-x pullwatch-v1.2.3.manifests/kubectl-pullwatch",
	} {
		if !slices.Contains(list, want) {
			t.Errorf("no %s in %q", want, list)
		}
	}
}

func TestSBOM(t *testing.T) {
	var bom cdx.BOM
	content := written(t, example(commit, 0))["pullwatch-v1.2.3.linux-amd64.cdx.json"]
	if err := cdx.NewBOMDecoder(bytes.NewReader(content), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	main := bom.Metadata.Component
	if want := fmt.Sprintf("%x", sha256.Sum256([]byte("for amd64"))); (*main.Hashes)[0].Value != want || main.PackageURL != "pkg:golang/example.com/p@v1.2.3" {
		t.Errorf("program %s %+v, want %s", main.PackageURL, *main.Hashes, want)
	}
	var have []string
	for _, c := range *bom.Components {
		line := c.PackageURL
		if c.Hashes != nil {
			line += " " + (*c.Hashes)[0].Value
		}
		have = append(have, line)
	}
	const sum = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	want := []string{"pkg:golang/std@1.26.8", "pkg:golang/example.com/m@v1.0.0%2Bincompatible " + sum, "pkg:golang/example.com/new@v2.0.0 " + sum}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
	r := example(commit, 0)
	r.Programs[0].Info.Deps[0].Sum = ""
	if _, err := r.sboms(); err == nil || !strings.Contains(err.Error(), "example.com/m") {
		t.Errorf("a module from a directory: %v", err)
	}
}

// TestImage reads the layout as any tool does, and holds the image to the Dockerfile.
func TestImage(t *testing.T) {
	dir := t.TempDir()
	_, contents := untar(t, written(t, example(commit, 1, 0))["pullwatch-v1.2.3.oci.tar"])
	for name, content := range contents {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	top, err := outer.IndexManifest()
	if err != nil || len(top.Manifests) != 1 || top.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "v1.2.3" {
		t.Fatalf("%+v, %v", top, err)
	}
	index, err := outer.ImageIndex(top.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, d := range manifest.Manifests {
		platforms = append(platforms, d.Platform.String())
		img, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if is := config.Platform(); !is.Equals(*d.Platform) {
			t.Errorf("an image for %s stands under %s", is, d.Platform)
		}
		if diff := cmp.Diff(dockerfile(t), instructions(config.Config)); diff != "" {
			t.Errorf("not what the Dockerfile says: %s", diff)
		}
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm/v7"}, platforms); diff != "" {
		t.Error(diff)
	}
}

// instructions are what a Dockerfile says of a configuration.
func instructions(c v1.Config) map[string]string {
	said := map[string]string{"USER": c.User, "ENTRYPOINT": fmt.Sprintf("%q", c.Entrypoint), "CMD": fmt.Sprintf("%q", c.Cmd)}
	for key, value := range c.Labels {
		said["LABEL "+key] = value
	}
	return said
}

// dockerfile are the instructions of the image's last stage.
func dockerfile(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(source + "/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, last, ok := strings.Cut(string(text), "FROM ${BASE}")
	if !ok {
		t.Fatal("the Dockerfile has no stage FROM ${BASE}")
	}
	said := make(map[string]string)
	for line := range strings.Lines(strings.ReplaceAll(last, "\\\n", "\nLABEL ")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		value = strings.TrimSpace(value)
		switch name {
		case "LABEL":
			key, value, _ := strings.Cut(value, "=")
			said["LABEL "+key] = strings.NewReplacer(`"`, "", "${VERSION}", "v1.2.3", "${REVISION}", "0123456789ab").Replace(value)
		case "USER", "ENTRYPOINT", "CMD":
			said[name] = value
		}
	}
	return said
}

// TestCheck: a program of another making is not released.
func TestCheck(t *testing.T) {
	good := []debug.BuildSetting{
		{Key: "-buildmode", Value: "exe"}, {Key: "-compiler", Value: "gc"}, {Key: "-trimpath", Value: "true"}, {Key: "CGO_ENABLED", Value: "0"},
		{Key: "GOOS", Value: "linux"}, {Key: "GOARCH", Value: "amd64"}, {Key: "GOAMD64", Value: "v1"},
	}
	for name, c := range map[string]struct {
		change debug.BuildSetting // with an empty value: left out
		want   string
	}{
		"as releases are":    {debug.BuildSetting{}, ""},
		"another platform":   {debug.BuildSetting{Key: "GOARCH", Value: "arm64"}, "built for arm64, want amd64"},
		"newer instructions": {debug.BuildSetting{Key: "GOAMD64", Value: "v3"}, "GOAMD64=v3"},
		"with tags":          {debug.BuildSetting{Key: "-tags", Value: "netgo"}, "-tags=netgo"},
		"with paths":         {debug.BuildSetting{Key: "-trimpath"}, "without -trimpath=true"},
		"with C":             {debug.BuildSetting{Key: "CGO_ENABLED", Value: "1"}, "CGO_ENABLED=1"},
		"stamped":            {debug.BuildSetting{Key: "vcs.modified", Value: "false"}, "vcs.modified"},
	} {
		p := program("linux/amd64", "")
		p.Info.Settings = slices.DeleteFunc(slices.Clone(good), func(s debug.BuildSetting) bool { return s.Key == c.change.Key })
		if c.change.Value != "" {
			p.Info.Settings = append(p.Info.Settings, c.change)
		}
		err := p.check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func gunzip(t *testing.T, content []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// untar lists an archive, as mode and name, and reads it.
func untar(t *testing.T, content []byte) (list []string, contents map[string]string) {
	t.Helper()
	contents = make(map[string]string)
	for r := tar.NewReader(bytes.NewReader(content)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(commit) || h.Uid != 0 || h.Uname != "" {
			t.Errorf("%s is of %s, user %d %q", h.Name, h.ModTime, h.Uid, h.Uname)
		}
		list = append(list, h.FileInfo().Mode().String()+" "+h.Name)
		contents[h.Name] = string(all)
	}
}
