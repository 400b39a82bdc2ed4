package metrics

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestDiskAssumed: what rests on assumed settings is no series that an alert could take for a fact.
func TestDiskAssumed(t *testing.T) {
	m := newMetrics()
	m.SetDisk(&Disk{
		Filesystems: []Filesystem{{Name: "imagefs", SizeBytes: 100, AvailableBytes: 1}}, Assumed: true, GC: &ImageGC{HighPercent: 85, UsedPercent: 99, WantedBytes: 19},
		Thresholds: []EvictionThreshold{{Signal: "imagefs.available", Kind: "hard", At: 15}}, Forecasts: []Forecast{{"imagefs", "eviction_hard", time.Now()}},
	})
	all := samples(t, m)
	for series := range all {
		for _, never := range []string{"pullwatch_eviction", "_forecast_", "_gc_high", "_gc_low", "_gc_wanted"} {
			if strings.Contains(series, never) {
				t.Errorf("%s", series)
			}
		}
	}
	if len(having(all, "pullwatch_image_filesystem_usage_ratio")) != 1 || len(having(all, `pullwatch_kubelet_settings_info{source="assumed"}`)) != 1 || len(having(all, "pullwatch_image_gc_reclaimable_bytes")) != 1 {
		t.Errorf("facts are missing: %v", having(all, "pullwatch_"))
	}
}

// TestDiskSoonest: of bytes and inodes that are going to one threshold, the first counts; no two series are the same.
func TestDiskSoonest(t *testing.T) {
	m := newMetrics()
	m.SetDisk(&Disk{SettingsSource: "configz", Forecasts: []Forecast{
		{"imagefs", "eviction_hard", noon.Add(time.Hour)}, {"imagefs", "eviction_hard", noon}, {"nodefs", "eviction_hard", noon.Add(2 * time.Hour)},
	}})
	if got := having(samples(t, m), "pullwatch_filesystem_forecast", `filesystem="imagefs"`); len(got) != 1 {
		t.Errorf("%v", got)
	} else {
		for _, value := range got {
			if seconds, err := strconv.ParseFloat(value, 64); err != nil || int64(seconds) != noon.Unix() {
				t.Errorf("%v", got)
			}
		}
	}
}
