package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// entry is one file in an archive.
type entry struct {
	name       string
	content    []byte
	executable bool
}

// archive is a tar of the entries in their order: owned by nobody in particular, all of one time.
func archive(at time.Time, entries []entry) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		mode := int64(0o644)
		if e.executable {
			mode = 0o755
		}
		// Whole seconds in UTC: the USTAR format holds no more, and a reader in any zone sees the same.
		header := &tar.Header{Name: e.name, Size: int64(len(e.content)), Mode: mode, ModTime: at.UTC().Truncate(time.Second), Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// compress is gzip without a name or a time in its header.
func compress(content []byte) ([]byte, error) {
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func (r *Release) tarball(name string, entries []entry) (file, error) {
	content, err := archive(r.Time, entries)
	if err == nil {
		content, err = compress(content)
	}
	return file{name + ".tar.gz", content}, err
}

// archives are one tar.gz for each platform, with a directory of the same name in it.
func (r *Release) archives() (files []file, err error) {
	var papers []entry
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md"} {
		content, err := os.ReadFile(filepath.Join(r.Source, name))
		if err != nil {
			return nil, err
		}
		papers = append(papers, entry{name, content, false})
	}
	for _, p := range r.Programs {
		stem := r.stem(p.Platform)
		entries := []entry{{stem + "/" + Name, p.Content, true}}
		for _, paper := range papers {
			entries = append(entries, entry{stem + "/" + paper.name, paper.content, false})
		}
		f, err := r.tarball(stem, entries)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// asFiles are those of manifests that somebody takes alone: what Prometheus and Grafana load, and the kubectl plugin.
var asFiles = map[string]string{
	"monitoring/rules.yaml": "rules.yaml", "monitoring/optional-rules.yaml": "optional-rules.yaml",
	"monitoring/prometheusrule.yaml": "prometheusrule.yaml", "monitoring/optional-prometheusrule.yaml": "optional-prometheusrule.yaml",
	"monitoring/dashboards/fleet.json": "dashboard-fleet.json", "monitoring/dashboards/node.json": "dashboard-node.json",
	"kubectl-pullwatch": "kubectl-pullwatch",
}

// manifests are the directory manifests as one archive, and some of its files alone. The chart has a package of its own, which Helm makes.
func (r *Release) manifests() (files []file, err error) {
	root := filepath.Join(r.Source, "manifests")
	stem := Name + "-" + r.Version + ".manifests"
	var entries []entry
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() {
			if name == "monitoring/tests" {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasPrefix(name, "chart/") && !strings.HasPrefix(name, "chart/values/") { // a package has the defaults alone
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if name == "base/daemonset.yaml" {
			content = bytes.ReplaceAll(content, []byte(Repository+":latest"), []byte(Repository+":"+r.Version))
		}
		if alone := asFiles[name]; alone != "" {
			files = append(files, file{alone, content})
		}
		// The mode of the checkout depends on the umask; that git keeps is what a file is for.
		entries = append(entries, entry{stem + "/" + name, content, strings.HasPrefix(string(content), "#!")})
		return nil
	})
	if err != nil {
		return nil, err
	}
	all, err := r.tarball(stem, entries)
	return append(files, all), err
}
