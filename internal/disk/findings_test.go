package disk

import (
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// fromFile are the settings of a configuration.
func fromFile(t *testing.T, more string) *Settings {
	t.Helper()
	s, err := ReadFiles(write(t, map[string]string{"main": configHead + more})+"/main", "", "v1.34.4")
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

// node is one filesystem of 100 GiB and 1,000,000 inodes for everything.
func node(available, inodesFree int64) *Found {
	return &Found{Layout: LayoutSingle, Filesystems: []Filesystem{{
		Roles: []Role{ImageFS, ContainerFS, NodeFS}, Mountpoint: "/", Type: "ext4", SizeBytes: 100 * gib, AvailableBytes: available, Inodes: 1e6, InodesFree: inodesFree,
	}}}
}

func TestFindings(t *testing.T) {
	no, yes := false, true
	assumed := Defaults("v1.34.4")
	for _, test := range []struct {
		name   string
		config string
		found  *Found
		unused Unused
		change func(*View)
		want   []Code
		text   string
	}{
		{name: "the kubelet's defaults", found: node(50*gib, 9e5), want: []Code{GCMeetsEviction}, text: "85% of use on, looked at every 5 minutes, and pods are evicted where imagefs.available is below 15%"},
		{name: "defaults that are assumed", found: node(50*gib, 9e5), change: func(v *View) { v.Settings = &assumed }},
		{name: "collected well before", config: "imageGCHighThresholdPercent: 82\n", found: node(50*gib, 9e5)},
		{name: "evicted before", config: "evictionHard: {nodefs.available: 30Gi}\n", found: node(50*gib, 9e5), want: []Code{GCMeetsEviction}, text: "nodefs.available is below 30Gi"},
		{name: "a soft threshold is not meant", config: "evictionHard: {nodefs.available: 5%}\nevictionSoft: {nodefs.available: 30%}\nevictionSoftGracePeriod: {nodefs.available: 1m}\n", found: node(50*gib, 9e5)},
		{name: "collection off", config: "imageGCHighThresholdPercent: 100\n", found: node(50*gib, 9e5), want: []Code{GCDisabled}},
		{name: "off but for age", config: "imageGCHighThresholdPercent: 100\nimageMaximumGCAge: 24h\nevictionHard: {}\n", found: node(50*gib, 9e5)},
		{name: "all too young", config: "evictionHard: {}\n", found: node(10*gib, 9e5), unused: Unused{Young: 3, YoungBytes: 4 * gib}, want: []Code{GCAllTooYoung}, text: "3 images of 4.0 GiB, while 10.0 GiB are wanted"},
		{name: "young, and nothing is wanted", config: "evictionHard: {}\n", found: node(30*gib, 9e5), unused: Unused{Young: 3, YoungBytes: 4 * gib}},
		{name: "inodes first", config: "evictionHard: {}\n", found: node(60*gib, 2e5), want: []Code{InodesFirst}, text: "20% of its inodes are free and 60% of its bytes"},
		{name: "inodes about as bytes", config: "evictionHard: {}\n", found: node(30*gib, 2e5)},
		{name: "many inodes of an empty disk", config: "evictionHard: {}\n", found: node(90*gib, 6e5)},
		{name: "churn", config: "evictionHard: {}\n", found: node(60*gib, 9e5), unused: Unused{Repulled: 3}, want: []Code{ImageChurn}},
		{name: "pulled again once", config: "evictionHard: {}\n", found: node(60*gib, 9e5), unused: Unused{Repulled: 1}},
		{name: "an image too large", config: "evictionHard: {imagefs.available: 20Gi}\nimageGCHighThresholdPercent: 70\nimageGCLowThresholdPercent: 60\n", found: node(60*gib, 9e5),
			change: func(v *View) { v.LargestBytes = 81 * gib }, want: []Code{FilesystemTooSmall}, text: "needs about 81.0 GiB, and were / empty, only 80.0 GiB"},
		{name: "an image just not too large", config: "evictionHard: {imagefs.available: 20Gi}\nimageGCHighThresholdPercent: 70\nimageGCLowThresholdPercent: 60\n", found: node(60*gib, 9e5),
			change: func(v *View) { v.LargestBytes = 80 * gib }},
		{name: "sandbox image missing", config: "evictionHard: {}\n", found: node(60*gib, 9e5), change: func(v *View) { v.Sandbox = &Sandbox{Image: "pause:1", Present: &no} }, want: []Code{SandboxMissing}},
		{name: "sandbox image not pinned", config: "evictionHard: {}\n", found: node(60*gib, 9e5), change: func(v *View) { v.Sandbox = &Sandbox{Image: "pause:1", Present: &yes, Pinned: &no} }, want: []Code{SandboxNotPinned}},
		{name: "sandbox image not known", config: "evictionHard: {}\n", found: node(60*gib, 9e5), change: func(v *View) { v.Sandbox = &Sandbox{} }},
		{name: "in a file", config: "nope: 1\nevictionHard: {}\n", found: node(60*gib, 9e5), want: []Code{ConfigUnknownField}},
		{name: "nothing seen", change: func(v *View) { *v = View{} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := View{Found: test.found, Settings: fromFile(t, test.config), Unused: &test.unused}
			if v.Found != nil {
				gc := NewGC(v.Found.Of(ImageFS), v.Settings, v.Unused)
				v.GC, v.Standings = &gc, Standings(v.Found, v.Settings)
			}
			if test.change != nil {
				test.change(&v)
			}
			var got []Code
			text := ""
			for _, f := range v.Findings() {
				got, text = append(got, f.Code), text+f.Text
				if f.Text == "" || f.Do == "" {
					t.Errorf("something is missing: %+v", f)
				}
			}
			if diff := gocmp.Diff(test.want, got); diff != "" || !strings.Contains(text, test.text) {
				t.Errorf("%q, want %q; -want +got:\n%s", text, test.text, diff)
			}
		})
	}
}

func TestSandbox(t *testing.T) {
	const digest = "sha256:8968d79d46c91913a16a72bd56ca6ff15f3d07e13b0b64b3dc8c9d3c0f14b920"
	images := []*runtimeapi.Image{
		image("sha256:app", 1, "docker.io/library/app:1"), image("sha256:pause", 1, "registry.k8s.io/pause:3.10", "registry.k8s.io/pause@"+digest, "pinned"),
		image("sha256:old", 1, "docker.io/library/pause:3.8"),
	}
	for _, test := range []struct {
		name, info, configured string
		image                  string
		id                     string
		present, pinned        string
		code                   Code
	}{
		{"containerd 1.7", `{"registry":{"configs":{"r":{"auth":{"password":"s3cret"}}}},"sandboxImage":"registry.k8s.io/pause:3.10"}`, "", "registry.k8s.io/pause:3.10", "sha256:pause", "true", "true", ""},
		{"CRI-O", `{"sandboxImage":"registry.k8s.io/pause@` + digest + `"}`, "", "registry.k8s.io/pause@" + digest, "sha256:pause", "true", "true", ""},
		{"a mirror's name with the digest", `{"sandboxImage":"mirror.example/pause@` + digest + `"}`, "", "mirror.example/pause@" + digest, "sha256:pause", "true", "true", ""},
		{"containerd 2, from its file", `{"containerdRootDir":"/x"}`, "pause:3.8", "pause:3.8", "sha256:old", "true", "false", SandboxNotPinned},
		{"not there", `{"sandboxImage":"registry.k8s.io/pause:3.9"}`, "", "registry.k8s.io/pause:3.9", "", "false", "unknown", SandboxMissing},
		{"not told", `{"containerdRootDir":"/x"}`, "", "", "", "unknown", "unknown", ""},
		{"nonsense", `s3cret`, "", "", "", "unknown", "unknown", ""},
		{"no status", "", "", "", "", "unknown", "unknown", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			info := map[string]string{"config": test.info}
			if test.info == "" {
				info = nil
			}
			name, err := SandboxImage(info, test.configured)
			if name != test.image || (err == nil) != (name != "") || err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Fatalf("%q, %v", name, err)
			}
			s := FindSandbox(name, images)
			says := func(b *bool) string {
				if b == nil {
					return "unknown"
				}
				return map[bool]string{true: "true", false: "false"}[*b]
			}
			f, wrong := s.Finding()
			if s.ID != test.id || says(s.Present) != test.present || says(s.Pinned) != test.pinned || f.Code != test.code || wrong != (test.code != "") {
				t.Errorf("%+v, present %s, pinned %s, %s", s, says(s.Present), says(s.Pinned), f.Code)
			}
		})
	}
}

func TestFit(t *testing.T) {
	settings := fromFile(t, "evictionHard: {imagefs.available: 10Gi}\n")
	assumed := Defaults("v1.34.4")
	layers := func(gibs ...int64) (all []Layer) {
		for i, n := range gibs {
			all = append(all, Layer{Digest: string(rune('a' + i)), Bytes: n * gib})
		}
		return all
	}
	for _, test := range []struct {
		name   string
		in     FitInput
		want   Answer
		needed int64
		text   string
	}{
		// Containerd keeps both: 1 GiB is 3.8 where 2.8 is usual, 2 at least, 5 at most.
		{"fits", FitInput{Layers: layers(1), Images: &node(16*gib, 1).Filesystems[0]}, Yes, 4080218931, "at most 5.0 GiB, and what may be used before the kubelet evicts (imagefs.available below 10Gi) is 6.0 GiB"},
		{"perhaps", FitInput{Layers: layers(1), Images: &node(14*gib, 1).Filesystems[0]}, NotKnown, 4080218931, "between 2.0 GiB and 5.0 GiB"},
		{"does not", FitInput{Layers: layers(1), Images: &node(11*gib, 1).Filesystems[0]}, No, 4080218931, "at least 2.0 GiB"},
		{"evicts already", FitInput{Layers: layers(1), Images: &node(9*gib, 1).Filesystems[0]}, No, 4080218931, "is -1.0 GiB"},
		{"by the node's own factor", FitInput{Layers: layers(1), Runtime: "containerd", ImagesBytes: 10 * gib, SnapshotBytes: 20 * gib, Images: &node(14*gib, 1).Filesystems[0]}, Yes, 3 * gib, "at most 4.0 GiB"},
		{"CRI-O keeps one", FitInput{Layers: layers(1), Runtime: "cri-o", Images: &node(14*gib, 1).Filesystems[0]}, Yes, 3006477107, "at most 4.0 GiB"},
		{"present layers", FitInput{Layers: layers(90, 1), Present: map[string]bool{"a": true}, Images: &node(16*gib, 1).Filesystems[0]}, Yes, 4080218931, ""},
		{"all present", FitInput{Layers: layers(90), Present: map[string]bool{"a": true}, Images: &node(1, 1).Filesystems[0]}, Yes, 0, "All of it is here"},
		{"not seen", FitInput{Layers: layers(1)}, NotKnown, 4080218931, "not seen"},
		{"assumed thresholds count for nothing", FitInput{Layers: layers(1), Settings: &assumed, Images: &node(6*gib, 1).Filesystems[0]}, Yes, 4080218931, "what is available is 6.0 GiB"},
		{"layers that are no number together", FitInput{Layers: []Layer{{"a", 1 << 62}, {"b", 1 << 62}, {"c", 1 << 62}}, Images: &node(16*gib, 1).Filesystems[0]}, No, 1<<63 - 1, "at least 8.0 EiB"},
		{"a layer that is none unpacked", FitInput{Layers: []Layer{{"a", 1 << 62}}, Images: &node(16*gib, 1).Filesystems[0]}, No, 1<<63 - 1, "at least 8.0 EiB"},
		{"a factor beyond all measure", FitInput{Layers: layers(1), Runtime: "containerd", ImagesBytes: 1, SnapshotBytes: 1<<63 - 1, Images: &node(16*gib, 1).Filesystems[0]}, No, 1<<63 - 1, ""},
		{"a layer of no size", FitInput{Layers: []Layer{{"a", 0}, {"b", 1}}, Images: &node(16*gib, 1).Filesystems[0]}, NotKnown, 3, "does not tell how large"},
		{"nothing but layers of no size", FitInput{Layers: layers(0), Images: &node(9*gib, 1).Filesystems[0]}, NotKnown, 0, "does not tell how large"},
		{"one of no size, and others too large", FitInput{Layers: layers(0, 90), Images: &node(16*gib, 1).Filesystems[0]}, No, 367219703808, "at least 180 GiB"},
		{"a layer of a hostile manifest", FitInput{Layers: []Layer{{"a", -1 << 62}, {"b", gib}}, Images: &node(16*gib, 1).Filesystems[0]}, Yes, 4080218931, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.in.Settings == nil {
				test.in.Settings = settings
			}
			if test.in.Images != nil {
				found := &Found{Layout: LayoutSingle, Filesystems: []Filesystem{*test.in.Images}}
				test.in.Images = &found.Filesystems[0]
				test.in.Standings = Standings(found, test.in.Settings)
			}
			f := WillFit(test.in)
			if f.Answer != test.want || f.NeededBytes != test.needed || !strings.Contains(f.Text, test.text) || f.FactorBasis == "" {
				t.Errorf("%+v, want %s, %d, %q", f, test.want, test.needed, test.text)
			}
			if told := f.UntilGCBytes != nil; told != (test.in.Images != nil && !test.in.Settings.Assumed()) || told != (f.UntilEvictionBytes != nil) {
				t.Errorf("until GC %v, until eviction %v", f.UntilGCBytes, f.UntilEvictionBytes)
			}
		})
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536 * mib: "1.5 GiB", 200 * gib: "200 GiB", -gib: "-1.0 GiB", 1<<63 - 1: "8.0 EiB", -1 << 63: "-4.0 EiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestPressure(t *testing.T) {
	const text = "some avg10=1.67 avg60=0.33 avg300=0.20 total=9759801\nfull avg10=100.00 avg60=0.21 avg300=0.08 total=4898020\n"
	p, err := parsePressure(text)
	want := Pressure{&Stall{.0167, .0033, .002, 9759801 * time.Microsecond}, &Stall{1, .0021, .0008, 4898020 * time.Microsecond}}
	if diff := gocmp.Diff(want, p); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if p, err := parsePressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=0 later=x\n"); err != nil || p.Full != nil || p.Some.Avg10 != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"", "full avg10=0.00\n", "some avg10=x\n", "some avg10=NaN\n", "some avg10=101\n", "some avg60=-1\n", "some total=1e9\n"} {
		if _, err := parsePressure(bad); err == nil {
			t.Errorf("%q is a pressure", bad)
		}
	}

	dir := write(t, map[string]string{"cpu": text, "io": "nonsense"})
	l := ReadLoad(t.Context(), dir)
	if l.CPU == nil || l.Memory != nil || l.IO != nil || l.Err == nil || strings.Contains(l.Err.Error(), "memory") {
		t.Errorf("%+v", l)
	}
	if l.Average == nil || l.MemoryBytes == nil || *l.MemoryBytes < *l.MemoryAvailableBytes || *l.MemoryAvailableBytes <= 0 {
		t.Errorf("%+v", l)
	}
	if l := ReadLoad(t.Context(), dir+"/none"); l.Err != nil || l.CPU != nil {
		t.Errorf("a kernel without PSI: %+v", l)
	}
}

func FuzzPressure(f *testing.F) {
	f.Add("some avg10=1.67 avg60=0.33 avg300=0.20 total=9759801\nfull avg10=1 avg60=0 avg300=0 total=4898020\n")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := parsePressure(text); err == nil && (p.Some == nil || !(p.Some.Avg10 >= 0 && p.Some.Avg10 <= 1)) {
			t.Errorf("%+v", p)
		}
	})
}

func TestHandlers(t *testing.T) {
	const arm64 = "7f454c460201010000000000000000000200b700"
	entry := func(flags, magic string) string {
		return "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: " + flags + "\noffset 0\nmagic " + magic + "\nmask fffffffffffffffc00fffffffffffffffeffffff\n"
	}
	dir := write(t, map[string]string{
		"register": "", "status": "enabled\n",
		"qemu-aarch64": entry("POCF", arm64), "qemu-s390x": strings.Replace(entry("OC", "7f454c4602020100000000000000000000020016"), "enabled", "disabled", 1),
		"jar": "enabled\ninterpreter /usr/bin/jexec\nflags: \noffset 0\nmagic 504b0304\n", "python3.11": "enabled\nextension .pyc\n", "bad": "magic xyz", "mach": entry("F", "cafebabe0201010000000000000000000200b700"),
	})
	got, err := Handlers(dir)
	want := []Handler{
		{"qemu-aarch64", "/usr/libexec/qemu-binfmt/aarch64-binfmt-P", "arm64", true, true},
		{"qemu-s390x", "/usr/libexec/qemu-binfmt/aarch64-binfmt-P", "s390x", false, false},
	}
	if diff := gocmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if again, err := Handlers(t.TempDir(), dir); err != nil || len(again) != len(want) {
		t.Errorf("mounted at the second place: %+v, %v", again, err)
	}
	off := write(t, map[string]string{"status": "disabled\n", "qemu-aarch64": entry("F", arm64)})
	if all, err := Handlers(off); err != nil || len(all) != 1 || all[0].Enabled {
		t.Errorf("all switched off: %+v, %v", all, err)
	}
	if _, err := Handlers(t.TempDir()); err == nil || !strings.Contains(Hint(err), "read-only, at /host/") {
		t.Errorf("not mounted: %v, %s", err, Hint(err))
	}
}

func FuzzHandler(f *testing.F) {
	f.Add("qemu-aarch64", "enabled\ninterpreter /usr/bin/qemu\nflags: F\nmagic 7f454c460201010000000000000000000200b700\n")
	f.Fuzz(func(t *testing.T, name, text string) {
		if h, ok := parseHandler(name, text); ok && h.Architecture == "" {
			t.Errorf("%+v", h)
		}
	})
}
