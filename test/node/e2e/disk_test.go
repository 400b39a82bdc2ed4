package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pullwatch/pullwatch/internal/disk"
	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/test/node"
)

// TestDisk fills the disk of images of a real node and clears it again: df, the metrics and the condition follow, and the kubelet's own DiskPressure
// is shown beside them. test/node/filled has the figures.
func TestDisk(t *testing.T) {
	t.Parallel()
	n := startNode(t, node.Options{
		Containerd: node.Containerd24, Kubelet: node.Kubelet134, NodeName: "disk-node",
		KubeletConfig: map[string]any{
			"evictionHard": map[string]string{"imagefs.available": "40%"}, "evictionPressureTransitionPeriod": "10s",
			"localStorageCapacityIsolation": true, // without, the kubelet has no figures of filesystems
		},
	})
	a := startAgent(t, n)
	ctx := t.Context()

	eventually(t, time.Minute, "there is room", func() error {
		return errOf(a.df(t, 0), func(r *disk.Report) bool { return len(r.Filesystems) == 2 && !r.Settings.Assumed && r.Kubelet != nil })
	})
	eventually(t, 2*time.Minute, "the condition says so", is(ctx, n, health.ImageFilesystemPressure, corev1.ConditionFalse))

	file := filepath.Join(n.Dir, "containerd", "somebody-elses-file")
	must(t, exec.CommandContext(ctx, "fallocate", "-l", "38M", file).Run()) // of 64
	begin := time.Now()
	eventually(t, 2*time.Minute, "df says that the threshold is met, and that the kubelet sees it too", func() error {
		return errOf(a.df(t, 1), func(r *disk.Report) bool {
			return r.Filesystems[0].Thresholds[0].Met && r.Kubelet.DiskPressure == "True"
		})
	})
	eventually(t, 5*time.Minute, "the condition follows", is(ctx, n, health.ImageFilesystemPressure, corev1.ConditionTrue))
	t.Logf("the condition is True after %s", time.Since(begin).Round(time.Second))
	if c, err := condition(ctx, n, string(health.ImageFilesystemPressure)); err != nil || c.Reason != "EvictionThresholdPassed" {
		t.Errorf("%+v, %v", c, err)
	}
	m, err := a.metrics()
	must(t, err)
	available, _ := m.Sum("pullwatch_filesystem_available_bytes", `filesystem="imagefs"`)
	threshold, _ := m.Sum("pullwatch_eviction_threshold_bytes", `signal="imagefs.available"`)
	if available == 0 || available >= threshold {
		t.Errorf("%v bytes available, threshold %v", available, threshold)
	}

	must(t, os.Remove(file))
	begin = time.Now()
	eventually(t, 2*time.Minute, "df says that there is room again", func() error {
		return errOf(a.df(t, 0), func(r *disk.Report) bool {
			return !r.Filesystems[0].Thresholds[0].Met && r.Kubelet.DiskPressure == "False"
		})
	})
	eventually(t, 8*time.Minute, "the condition follows", is(ctx, n, health.ImageFilesystemPressure, corev1.ConditionFalse))
	t.Logf("the condition is False after %s", time.Since(begin).Round(time.Second))
}

// df is what the command prints from the agent's snapshot; nil where its exit code is another.
func (a *agent) df(t *testing.T, exitCode int) *disk.Report {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), a.bin, "df", "-o", "json", "--socket", a.socket)
	out, _ := cmd.Output()
	var r disk.Report
	if cmd.ProcessState.ExitCode() != exitCode || json.Unmarshal(out, &r) != nil {
		return nil
	}
	return &r
}

func errOf(r *disk.Report, is func(*disk.Report) bool) error {
	switch {
	case r == nil:
		return fmt.Errorf("another exit code")
	case !is(r):
		return fmt.Errorf("%+v %+v", r.Filesystems, r.Kubelet)
	}
	return nil
}
