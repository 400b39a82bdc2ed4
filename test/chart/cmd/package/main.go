// Command package makes the chart's package, as `helm package` does, but for the times in it: all are the one that is given, so that equal
// charts make equal files.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
)

func main() {
	chart := flag.String("chart", "../../manifests/chart", "directory of the chart")
	version := flag.String("version", "", "of the chart, semantic")
	appVersion := flag.String("app-version", "", "the tag of the image that the chart installs")
	epoch := flag.Int64("epoch", 0, "time of the files, seconds since 1970")
	out := flag.String("out", ".", "directory to write into")
	flag.Parse()
	if err := pack(*chart, *version, *appVersion, time.Unix(*epoch, 0), *out); err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(1)
	}
}

func pack(dir, version, appVersion string, at time.Time, out string) error {
	c, err := loader.Load(dir)
	if err != nil {
		return err
	}
	c.Metadata.Version, c.Metadata.AppVersion = version, appVersion
	scratch, err := os.MkdirTemp("", "chart")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }() // what is left there harms nobody
	saved, err := chartutil.Save(c, scratch)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(saved)
	if err != nil {
		return err
	}
	if content, err = retime(content, at); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, filepath.Base(saved)), content, 0o644)
}

// retime gives each file of a package the time.
func retime(content []byte, at time.Time) ([]byte, error) {
	unzip, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	zip := gzip.NewWriter(&buf)
	zip.Header = unzip.Header // Helm knows its packages by it
	zip.ModTime = time.Time{}
	from, to := tar.NewReader(unzip), tar.NewWriter(zip)
	for {
		header, err := from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		header.ModTime = at.UTC()
		if err := to.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := io.Copy(to, from); err != nil {
			return nil, err
		}
	}
	if err := to.Close(); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
