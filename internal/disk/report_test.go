package disk

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// knownNode is a node with images on a disk of their own, 90 GiB of 100 used.
func knownNode(at time.Time) *Known {
	const gib = 1 << 30
	images := Filesystem{Roles: []Role{ImageFS, ContainerFS}, Path: "/var/lib/containerd/x", Mountpoint: "/var/lib/containerd", Type: "xfs", Device: "/dev/sdb",
		SizeBytes: 100 * gib, AvailableBytes: 10 * gib, Inodes: 1000, InodesFree: 900, At: at, number: "8:16"}
	node := Filesystem{Roles: []Role{NodeFS}, Path: "/var/lib/kubelet", Mountpoint: "/", Type: "ext4", Device: "/dev/sda1", SizeBytes: 50 * gib, AvailableBytes: 40 * gib, At: at, number: "8:1"}
	settings, err := parseConfigz([]byte(`{"kubeletconfig": {"imageGCHighThresholdPercent": 85, "imageGCLowThresholdPercent": 80, "imageMinimumGCAge": "2m",
		"evictionHard": {"imagefs.available": "15%", "nodefs.available": "1Gi"}, "evictionSoft": {"imagefs.inodesFree": "10%"}, "evictionSoftGracePeriod": {"imagefs.inodesFree": "1m"}}}`), "v1.34.4")
	if err != nil {
		panic(err)
	}
	settings.Read = Source{From: FromConfigz}
	return &Known{
		Found:    Found{Filesystems: []Filesystem{images, node}, Layout: LayoutDedicated},
		Settings: settings, History: &History{}, RuntimeName: "containerd", SnapshotBytes: 60 * gib,
		Unused: &Unused{Candidates: []Image{{ID: "a"}}, Bytes: gib, Young: 2, YoungBytes: gib, Used: 10, UsedBytes: 28 * gib, LargestUsed: 4 * gib},
	}
}

func TestReport(t *testing.T) {
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	k := knownNode(at)
	k.History.Add(&k.Found)
	r := NewReport(k, at)
	if r.Settings.Source != "configz" || r.Settings.Assumed || len(r.Filesystems) != 2 || r.Filesystems[0].UsedPercent != 90 {
		t.Errorf("%+v", r)
	}
	g := r.GC
	if g == nil || !g.Collects || !g.Fails || g.WantedBytes != 10<<30 || g.Reclaimable != 1<<30 || g.Candidates != 1 || g.Young != 2 || g.EstimateBytes == nil || *g.EstimateBytes != 3<<30 {
		t.Errorf("%+v", g)
	}
	var met []string
	for _, f := range r.Filesystems {
		for _, th := range f.Thresholds {
			if th.Met {
				met = append(met, string(th.Signal)+" "+th.Kind)
			}
		}
	}
	if got := strings.Join(met, ", "); got != "imagefs.available hard, containerfs.available hard" {
		t.Errorf("met are %s", got)
	}
	// What is reached comes first, whatever was seen of the past.
	if len(r.Forecast) == 0 || r.Forecast[0].Outlook != OutlookReached || r.Forecast[len(r.Forecast)-1].Outlook == OutlookReached {
		t.Errorf("%+v", r.Forecast)
	}
	text, err := json.Marshal(r)
	for _, want := range []string{`"name":"imagefs"`, `"roles":["imagefs","containerfs"]`, `"signal":"imagefs.available","kind":"hard","value":"15%"`, `"graceSeconds":60`,
		`"highPercent":85`, `"wantedBytes":10737418240`, `"reclaimableBytes":1073741824`, `"source":"configz"`, `"code":"gc_meets_eviction"`} {
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s (%v)", want, text, err)
		}
	}
}

// TestReportUnseen: what was not seen is told with what to do, and makes nothing up.
func TestReportUnseen(t *testing.T) {
	at := time.Now()
	r := NewReport(&Known{History: &History{}, Settings: Defaults("v1.34.4"), Found: Found{Unseen: []Unseen{{ImageFS, "/x", &hinted{errors.New("not mounted"), "Mount it."}}}}}, at)
	if r.GC != nil || len(r.Filesystems) != 0 || len(r.Unseen) != 1 || r.Unseen[0].Do != "Mount it." || !r.Settings.Assumed {
		t.Errorf("%+v", r)
	}
	if text, err := json.Marshal(r); err != nil || !strings.Contains(string(text), `"filesystems":[]`) || !strings.Contains(string(text), `"forecast":[]`) {
		t.Errorf("%s %v", text, err)
	}
	if fit := r.Fit([]Layer{{"a", 100}}, nil); fit.Answer != NotKnown {
		t.Errorf("%+v", fit)
	}
}

func TestReportFit(t *testing.T) {
	at := time.Now()
	k := knownNode(at)
	k.Found.Filesystems[0].AvailableBytes = 40 << 30
	r := NewReport(k, at)
	for _, test := range []struct {
		bytes int64
		want  Answer
	}{{1 << 30, Yes}, {20 << 30, No}} {
		if fit := r.Fit([]Layer{{"a", test.bytes}}, nil); fit.Answer != test.want || fit.FactorBasis != "mean of the images on this node" || fit.UntilEvictionBytes == nil {
			t.Errorf("%d: %+v", test.bytes, fit)
		}
	}
	if fit := r.Fit([]Layer{{"a", 20 << 30}}, map[string]bool{"a": true}); fit.Answer != Yes || fit.DownloadBytes != 0 {
		t.Errorf("%+v", fit)
	}
}

// TestHistory: each filesystem has a past of its own, of bytes and of inodes.
func TestHistory(t *testing.T) {
	var h History
	start := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for i := range 60 {
		at := start.Add(time.Duration(i) * 30 * time.Second)
		h.Add(&Found{Filesystems: []Filesystem{
			{Roles: []Role{ImageFS}, AvailableBytes: 100e9 - int64(i)*1e9, InodesFree: 1000, At: at},
			{Roles: []Role{NodeFS}, AvailableBytes: 50e9, InodesFree: int64(1000 - i), At: at},
		}})
	}
	for _, test := range []struct {
		role   Role
		inodes bool
		below  int64
		want   Outlook
	}{{ImageFS, false, 20e9, OutlookGoing}, {ImageFS, true, 500, OutlookNotGoing}, {NodeFS, false, 1e9, OutlookNotGoing}, {NodeFS, true, 500, OutlookGoing}, {ContainerFS, false, 1, OutlookUnknown}} {
		if got := h.below(test.role, test.inodes, test.below); got.Outlook != test.want {
			t.Errorf("%s inodes %v: %+v, want %s", test.role, test.inodes, got, test.want)
		}
	}
}
