package disk

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

const configHead = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"

// write puts files into a directory, and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// told is the settings as text, one a line: name, value, source without its directory.
func told(s Settings, layout Layout, dir string) []string {
	from := func(s Source) string { return strings.TrimPrefix(s.String(), dir+"/") }
	lines := []string{
		fmt.Sprintf("high %d %s", s.HighPercent.Value, from(s.HighPercent.Source)), fmt.Sprintf("low %d %s", s.LowPercent.Value, from(s.LowPercent.Source)),
		fmt.Sprintf("minimum %s %s", s.MinimumAge.Value, from(s.MinimumAge.Source)), fmt.Sprintf("maximum %s %s", s.MaximumAge.Value, from(s.MaximumAge.Source)),
	}
	for _, t := range s.InForce(layout) {
		line := fmt.Sprintf("%s %s %s", t.Signal, t.Amount.Text, from(t.Source))
		if t.Soft {
			line += fmt.Sprintf(" soft %s", t.Grace)
		}
		if t.MinimumReclaim.Text != "" {
			line += " reclaim " + t.MinimumReclaim.Text
		}
		lines = append(lines, line)
	}
	return lines
}

var defaultGC = []string{"high 85 default", "low 80 default", "minimum 2m0s default", "maximum 0s default"}

// TestReadFiles: what a kubelet makes of its files.
func TestReadFiles(t *testing.T) {
	thresholds := func(more ...string) []string { return append(slices.Clone(defaultGC), more...) }
	defaults := thresholds(
		"imagefs.available 15% default", "imagefs.inodesFree 5% default", "nodefs.available 10% default", "nodefs.inodesFree 5% default")
	for _, test := range []struct {
		name    string
		main    string
		dropIns map[string]string // nil is no directory
		version string
		layout  Layout
		want    []string
	}{
		{name: "nothing set", main: configHead, want: defaults},
		{name: "in JSON", main: `{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","imageGCHighThresholdPercent":70,"imageGCLowThresholdPercent":60}`,
			want: append([]string{"high 70 main", "low 60 main"}, defaults[2:]...)},
		{name: "no inodes of images before 1.30", main: configHead, version: "v1.29.6", want: slices.Delete(slices.Clone(defaults), 5, 6)},
		{name: "a set evictionHard drops the other defaults", main: configHead + "evictionHard: {imagefs.available: 5Gi}\n", want: thresholds("imagefs.available 5Gi main")},
		{name: "unless they are merged", main: configHead + "evictionHard: {imagefs.available: 5Gi}\nmergeDefaultEvictionSettings: true\n",
			want: thresholds("imagefs.available 5Gi main", "imagefs.inodesFree 5% default", "nodefs.available 10% default", "nodefs.inodesFree 5% default")},
		{name: "which no kubelet before 1.33 does", version: "v1.32.9", main: configHead + "evictionHard: {imagefs.available: 5Gi}\nmergeDefaultEvictionSettings: true\n",
			want: thresholds("imagefs.available 5Gi main")},
		{name: "0% and 100% switch a signal off", main: configHead + "evictionHard: {imagefs.available: 0%, nodefs.available: 100%, nodefs.inodesFree: 7%}\n",
			want: thresholds("nodefs.inodesFree 7% main")},
		{name: "an empty evictionHard is none", main: configHead + "evictionHard: {}\n", want: thresholds()},
		{name: "a null one is the defaults", main: configHead + "evictionHard: null\n", want: defaults},
		{name: "ages, where 0 is the default", main: configHead + "imageMinimumGCAge: 0s\nimageMaximumGCAge: 12h\n",
			want: append([]string{"high 85 default", "low 80 default", "minimum 2m0s default", "maximum 12h0m0s main"}, defaults[4:]...)},
		{name: "an age that no old kubelet knows", version: "v1.28.15", main: configHead + "imageMaximumGCAge: 12h\n", want: slices.Delete(slices.Clone(defaults), 5, 6)},
		{name: "soft, with grace and reclaim",
			main: configHead + "evictionHard: {nodefs.available: 10%}\nevictionSoft: {imagefs.available: 20%}\n" +
				"evictionSoftGracePeriod: {imagefs.available: 1m30s}\nevictionMinimumReclaim: {imagefs.available: 2Gi, nodefs.available: 1%}\n",
			want: thresholds("imagefs.available 20% main soft 1m30s reclaim 2Gi", "nodefs.available 10% main reclaim 1%")},

		{name: "a drop-in keeps the default thresholds", main: configHead, dropIns: map[string]string{"10.conf": configHead + "evictionHard: {imagefs.available: 5Gi}\n"},
			want: thresholds("imagefs.available 5Gi d/10.conf", "imagefs.inodesFree 5% default", "nodefs.available 10% default", "nodefs.inodesFree 5% default")},
		{name: "the last drop-in wins, key by key", main: configHead + "imageGCHighThresholdPercent: 90\nevictionHard: {imagefs.available: 5Gi, nodefs.available: 1Gi}\n",
			dropIns: map[string]string{
				"20.conf": configHead + "evictionHard: {imagefs.available: 20%}\n", "10.conf": configHead + "evictionHard: {imagefs.available: 10%}\nimageGCLowThresholdPercent: 50\n",
				"30.yaml": "not read", "sub/05.conf": configHead + "imageGCHighThresholdPercent: 91\n", "40.conf/ignored": "a directory",
			},
			want: append([]string{"high 91 d/sub/05.conf", "low 50 d/10.conf"}, "minimum 2m0s default", "maximum 0s default", "imagefs.available 20% d/20.conf", "nodefs.available 1Gi main")},
		{name: "null in a drop-in takes a key out", main: configHead + "imageGCHighThresholdPercent: 95\nevictionHard: {imagefs.available: 5Gi, nodefs.available: 1Gi}\n",
			dropIns: map[string]string{"a.conf": configHead + "imageGCHighThresholdPercent: null\nevictionHard: {nodefs.available: null}\n"},
			want:    thresholds("imagefs.available 5Gi main")},
		{name: "merging is the main file's", main: configHead + "evictionHard: {imagefs.available: 5Gi}\n",
			dropIns: map[string]string{"a.conf": configHead + "mergeDefaultEvictionSettings: true\n"}, want: thresholds("imagefs.available 5Gi main")},
		{name: "an empty directory of drop-ins", main: configHead, dropIns: map[string]string{}, want: defaults},

		{name: "containers on the one filesystem", layout: LayoutSingle, main: configHead + "evictionHard: {nodefs.available: 10%, imagefs.available: 15%, containerfs.available: 33%}\n",
			want: thresholds("imagefs.available 15% main", "containerfs.available 10% main", "nodefs.available 10% main")},
		{name: "containers with images", layout: LayoutDedicated, main: configHead + "evictionHard: {nodefs.available: 10%, imagefs.available: 15%}\n",
			want: thresholds("imagefs.available 15% main", "containerfs.available 15% main", "nodefs.available 10% main")},
		{name: "containers with the node", layout: LayoutSplit, main: configHead + "evictionHard: {nodefs.inodesFree: 10%, imagefs.available: 15%}\n",
			want: thresholds("imagefs.available 15% main", "containerfs.inodesFree 10% main", "nodefs.inodesFree 10% main")},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := map[string]string{"main": test.main, "d/.keep": ""}
			for name, text := range test.dropIns {
				files["d/"+name] = text
			}
			dir := write(t, files)
			dropIns := ""
			if test.dropIns != nil {
				dropIns = filepath.Join(dir, "d")
			}
			s, err := ReadFiles(filepath.Join(dir, "main"), dropIns, cmp.Or(test.version, "v1.34.4"))
			if err != nil || len(s.Findings) != 0 && test.version == "" {
				t.Fatalf("%v %+v", err, s.Findings)
			}
			if diff := gocmp.Diff(test.want, told(s, test.layout, dir)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if s.Assumed() {
				t.Error("it is assumed")
			}
		})
	}
}

// TestBadFiles: what is wrong is said with file and line, and what the kubelet does.
func TestBadFiles(t *testing.T) {
	for _, test := range []struct {
		name    string
		main    string
		dropIn  string
		version string
		code    Code
		at      string // file:line
		want    string
		refused bool
	}{
		{"not YAML", configHead + "evictionHard: {\n", "", "", ConfigRefused, "main:3", "not YAML or JSON", true},
		{"a tab", configHead + "a:\n\tb: 1\n", "", "", ConfigRefused, "main:4", "not YAML or JSON", true},
		{"a list", "- a\n", "", "", ConfigRefused, "main", "not a KubeletConfiguration", true},
		{"empty", "", "", "", ConfigRefused, "main", "empty", true},
		{"of another kind", "apiVersion: v1\nkind: Pod\n", "", "", ConfigRefused, "main:1", "apiVersion and kind", true},
		{"low above high", configHead + "imageGCHighThresholdPercent: 80\nimageGCLowThresholdPercent: 90\n", "", "", LowNotBelowHigh, "main:4", "90 is not below imageGCHighThresholdPercent 80", true},
		{"low is high", configHead + "imageGCHighThresholdPercent: 80\n", "", "", LowNotBelowHigh, "main:3", "80 is not below", true},
		{"low above high by a drop-in", configHead, configHead + "# low\nimageGCLowThresholdPercent: 85\n", "", LowNotBelowHigh, "drop/a.conf:4", "85 is not below", true},
		{"out of range", configHead + "imageGCHighThresholdPercent: 101\n", "", "", ConfigRefused, "main:3", "101 is not between 0 and 100", true},
		{"of the wrong type", configHead + "imageGCHighThresholdPercent: ninety\n", "", "", ConfigRefused, "main:3", "imageGCHighThresholdPercent is of type string", true},
		{"a number for a signal", configHead + "evictionHard:\n  imagefs.available: 10\n", "", "", ConfigRefused, "main:", "is of type number", true},
		{"evictionHard is a list", configHead + "evictionHard: [a]\n", "", "", ConfigRefused, "main:3", "evictionHard is of type array", true},
		{"no such signal", configHead + "evictionHard:\n  imagefs.free: 10%\n", "", "", ConfigRefused, "main:4", `no eviction signal "imagefs.free"`, true},
		{"more than all", configHead + "evictionHard:\n  nodefs.available: 10%\n  imagefs.available: 101%\n", "", "", ConfigRefused, "main:5", "not between 0% and 100%", true},
		{"less than nothing", configHead + "evictionHard: {imagefs.available: -1Gi}\n", "", "", ConfigRefused, "main:3", "not above zero", true},
		{"no amount", configHead + "evictionHard: {imagefs.available: lots}\n", "", "", ConfigRefused, "main:3", "neither a percentage nor a quantity", true},
		{"no number", configHead + "evictionHard: {imagefs.available: NaN%}\n", "", "", ConfigRefused, "main:3", "not between", true},
		{"soft without grace", configHead + "evictionSoft: {imagefs.available: 10%}\n", "", "", ConfigRefused, "main:3", "evictionSoftGracePeriod", true},
		{"grace below zero", configHead + "evictionSoftGracePeriod: {imagefs.available: -1s}\n", "", "", ConfigRefused, "main:3", "below zero", true},
		{"nothing to reclaim", configHead + "evictionMinimumReclaim: {imagefs.available: 0%}\n", "", "", ConfigRefused, "main:3", "not above 0%", true},
		{"an age that is none", configHead + "imageMinimumGCAge: soon\n", "", "", ConfigRefused, "main:3", "no duration", true},
		{"an age of null", configHead + "imageMinimumGCAge: null\n", "", "", ConfigRefused, "main:3", "null", true},
		{"a wrong type that a drop-in would mend", configHead + "evictionHard: {nodefs.available: 1}\n", configHead + "evictionHard: {nodefs.available: 1%}\n",
			"", ConfigRefused, "main:3", "is of type number", true},
		{"ages that cross", configHead + "imageMinimumGCAge: 1h\nimageMaximumGCAge: 30m\n", "", "", ConfigRefused, "main:4", "not above imageMinimumGCAge", true},
		{"an age without its gate", configHead + "imageMaximumGCAge: 30m\n", "", "v1.29.6", ConfigRefused, "main:3", "feature gate", true},
		{"a field twice in a drop-in", configHead, configHead + "evictionHard: {}\nevictionHard: {}\n", "", ConfigRefused, "drop/a.conf:4", "already set", true},
		{"a drop-in without a kind", configHead, "imageGCLowThresholdPercent: 1\n", "", ConfigRefused, "drop/a.conf", "apiVersion and kind", true},
		{"a field of no version", configHead + "\nimageGCTreshold: 1\n", "", "", ConfigUnknownField, "main:4", "logs that and goes on", false},
		{"a field of a later version", configHead + "somethingNew: 1\n", "", "v1.99.0", "", "", "", false},
		{"a field in lower case", configHead + "evictionhard: {}\n", "", "v1.99.0", ConfigUnknownField, "main:3", "evictionHard", false},
		{"a field of no version in a drop-in", configHead, configHead + "nope: 1\n", "", ConfigUnknownField, "drop/a.conf:3", "does not say so", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := map[string]string{"main": test.main}
			if test.dropIn != "" {
				files["drop/a.conf"] = test.dropIn
			}
			dir := write(t, files)
			k := Kubelet{File: filepath.Join(dir, "main"), Version: cmp.Or(test.version, "v1.34.4")}
			if test.dropIn != "" {
				k.DropIns = filepath.Join(dir, "drop")
			}
			s := k.Settings(t.Context())
			if s.Assumed() != test.refused || (len(s.Failed) > 0) != test.refused {
				t.Errorf("assumed: %t, failed: %v", s.Assumed(), s.Failed)
			}
			if test.refused && Hint(s.Failed[0]) == "" {
				t.Errorf("%v has no hint", s.Failed[0])
			}
			if test.code == "" {
				if len(s.Findings) != 0 {
					t.Errorf("%+v", s.Findings)
				}
				return
			}
			if len(s.Findings) != 1 {
				t.Fatalf("%d findings: %+v", len(s.Findings), s.Findings)
			}
			f := s.Findings[0]
			if f.Code != test.code || !strings.Contains(f.Text+f.Do, test.want) || !strings.Contains(f.Text, filepath.Join(dir, test.at)) || f.Do == "" {
				t.Errorf("%+v, want %s at %s: %q", f, test.code, test.at, test.want)
			}
		})
	}
}

// TestNoFiles: what cannot be read is a guess, from which nothing follows.
func TestNoFiles(t *testing.T) {
	s := (&Kubelet{Version: "v1.34.4"}).Settings(t.Context())
	if !s.Assumed() || len(s.Failed) != 0 || len(s.Thresholds) != 4 || !s.Thresholds[0].Source.Assumed || s.HighPercent.Value != 85 || s.MinimumAge.Value != 2*time.Minute {
		t.Errorf("%+v", s)
	}
	s = (&Kubelet{File: "/no/such/file"}).Settings(t.Context())
	if !s.Assumed() || len(s.Failed) != 1 || !errors.Is(s.Failed[0], fs.ErrNotExist) || Hint(s.Failed[0]) == "" || len(s.Findings) != 0 {
		t.Errorf("%+v", s)
	}
	dir := write(t, map[string]string{"large": configHead + strings.Repeat("# long\n", mostConfigBytes/7)})
	if _, err := ReadFiles(filepath.Join(dir, "large"), "", ""); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Error(err)
	}
	if _, err := ReadFiles("/dev/zero", "", ""); err == nil {
		t.Error("a device was read")
	}
	if _, err := ReadFiles("", filepath.Join(dir, "none"), ""); err == nil {
		t.Error("a directory is not there")
	}
}

// TestStandings: the kubelet's comparison: below is met, equal is not, and its float32 is as far off as its own.
func TestStandings(t *testing.T) {
	settings := Defaults("v1.34.4")
	node := func(available, inodesFree int64) *Found {
		return &Found{Layout: LayoutSingle, Filesystems: []Filesystem{{
			Roles: []Role{ImageFS, ContainerFS, NodeFS}, SizeBytes: 1 << 40, AvailableBytes: available, Inodes: 1000, InodesFree: inodesFree,
		}}}
	}
	const fifteen = 164926750720 // int64(float64(1<<40) * float64(float32(15)/100)), where a float64 would make 164926744166
	for _, test := range []struct {
		available, inodesFree int64
		met                   []Signal
	}{
		{1 << 39, 500, nil},
		{fifteen, 500, nil},
		{fifteen - 1, 500, []Signal{ImageFSAvailable}},
		{1 << 39, 49, []Signal{ImageFSInodesFree, ContainerFSInodesFree, NodeFSInodesFree}},
		{1, 500, []Signal{ImageFSAvailable, ContainerFSAvailable, NodeFSAvailable}},
	} {
		var met []Signal
		for _, s := range Standings(node(test.available, test.inodesFree), &settings) {
			if s.Met {
				met = append(met, s.Signal)
			}
		}
		if diff := gocmp.Diff(test.met, met); diff != "" {
			t.Errorf("%d bytes, %d inodes (-want +got):\n%s", test.available, test.inodesFree, diff)
		}
	}
	// Nothing is said of inodes where none are counted, nor of filesystems that were not seen.
	found := &Found{Filesystems: []Filesystem{{Roles: []Role{NodeFS}, SizeBytes: 100, AvailableBytes: 1}}}
	if s := Standings(found, &settings); len(s) != 1 || s[0].Signal != NodeFSAvailable || !s[0].Met || s[0].At != 10 {
		t.Errorf("%+v", s)
	}
}

func FuzzConfigFile(f *testing.F) {
	f.Add(configHead+"evictionHard: {imagefs.available: 5Gi}\n", configHead+"evictionHard: null\n")
	f.Add(configHead+"evictionSoft: {a: 1%}\nimageMinimumGCAge: 3s\n", `{"kind": "KubeletConfiguration"}`)
	f.Fuzz(func(t *testing.T, main, dropIn string) {
		dir := write(t, map[string]string{"main": main, "d/a.conf": dropIn})
		s, err := ReadFiles(filepath.Join(dir, "main"), filepath.Join(dir, "d"), "v1.34.4")
		if err != nil {
			return
		}
		if s.LowPercent.Value < 0 || s.LowPercent.Value >= s.HighPercent.Value || s.HighPercent.Value > 100 {
			t.Errorf("low %d, high %d", s.LowPercent.Value, s.HighPercent.Value)
		}
		for _, threshold := range s.InForce(LayoutSingle) {
			if at := threshold.Amount.Of(1 << 40); at < 0 {
				t.Errorf("%+v is at %d", threshold, at)
			}
		}
	})
}
