package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart/loader"
)

// TestPack: Helm reads the package, it installs the version that was asked for, and all in it is of one time.
func TestPack(t *testing.T) {
	const dir = "../../../../manifests/chart"
	at, out := time.Unix(1e9, 0), t.TempDir()
	if err := pack(dir, "1.2.3", "v1.2.3", at, out); err != nil {
		t.Fatal(err)
	}
	packed, err := os.ReadFile(filepath.Join(out, "pullwatch-1.2.3.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	is, err := loader.LoadArchive(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	want, err := loader.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if m := is.Metadata; m.Version != "1.2.3" || m.AppVersion != "v1.2.3" || m.Name != want.Name() {
		t.Errorf("%+v", m)
	}
	if len(is.Templates) != len(want.Templates) || len(is.Templates) == 0 {
		t.Errorf("%d templates, want %d", len(is.Templates), len(want.Templates))
	}
	for i := range is.Templates {
		if !bytes.Equal(is.Templates[i].Data, want.Templates[i].Data) {
			t.Errorf("%s is not that of the directory", is.Templates[i].Name)
		}
	}
	unzip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(unzip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(at) {
			t.Errorf("%s is of %s, want %s", h.Name, h.ModTime, at)
		}
	}
}
