package filled

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullwatch/pullwatch/internal/disk"
	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/test/node"
)

// agentPart is the agent's name among the node's processes.
const agentPart = "agent"

func (l *lab) socket() string { return filepath.Join(l.Dir, "pullwatch.sock") }

// startAgent starts Pullwatch anew, once the kubelet runs: it is to know the images as long as the kubelet does, and its settings.
func (l *lab) startAgent() error {
	token := filepath.Join(l.Dir, "token")
	if err := os.WriteFile(token, []byte(l.AgentToken), 0o600); err != nil {
		return err
	}
	return l.Spawn(agentPart, []string{
		l.bin, "run", "--node-name", l.NodeName, "--kubeconfig", l.AgentKubeconfig(), "-r", l.CRISocket(), "--listen-address", l.Addr(agentPart), "--page-address=",
		"--socket", l.socket(), "--nodefs-path", l.kubeletDir, "--kubelet-token-file", token, "--kubelet-ca-file", l.asks.certificate(), "--kubelet-config", "",
		"--probe-interval", "0", "--image-probe-interval", "0",
	})
}

// df is what `pullwatch df` prints.
func (l *lab) df(ctx context.Context) (*disk.Report, error) {
	cmd := exec.CommandContext(ctx, l.bin, "df", "-o", "json", "--socket", l.socket(), "-r", l.CRISocket(), "--no-kube")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return nil, fmt.Errorf("pullwatch df: %w: %s", err, &stderr)
	}
	var answer struct {
		Schema string
		disk.Report
		NotKnown []string
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("pullwatch df: %w: %s", err, out)
	}
	switch {
	case answer.Schema != "pullwatch.df/v1":
		return nil, fmt.Errorf("pullwatch df: schema %q", answer.Schema)
	case answer.NotKnown != nil:
		return nil, fmt.Errorf("pullwatch df has not asked the agent: %q", answer.NotKnown)
	}
	return &answer.Report, nil
}

// The agent looks at disks every 30 s and at images every minute, with some jitter.
const (
	disksLookedAt  = 50 * time.Second
	imagesLookedAt = 80 * time.Second
)

// said is what Pullwatch says of the disk once it has looked at it after that time, by the names that the kubelet's figures have.
func (l *lab) said(ctx context.Context, after time.Time) (figures, error) {
	for {
		report, err := l.df(ctx)
		switch {
		case err == nil && report.At.After(after):
			return l.figures(report)
		case time.Since(after) > disksLookedAt:
			return nil, errors.Join(errors.New("the agent has not looked at the disk"), err)
		}
		if err := node.Sleep(ctx, 500*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

func (l *lab) figures(r *disk.Report) (figures, error) {
	if r.Settings.Source != disk.FromConfigz {
		return nil, fmt.Errorf("the kubelet's settings are from %s: %q", r.Settings.Source, r.Settings.Failed)
	}
	f := figures{}
	for i := range r.Filesystems {
		fs := &r.Filesystems[i]
		if slices.Contains(fs.Roles, disk.ImageFS) {
			f["sizeBytes"], f["availableBytes"], f["inodes"], f["inodesFree"] = fs.SizeBytes, fs.AvailableBytes, fs.Inodes, fs.InodesFree
			f["usedPercent"] = int64(fs.UsedPercent)
		}
		if slices.Contains(fs.Roles, disk.Role(l.fs)) {
			f[l.fs+".available"+capacity], f[l.fs+".available"] = fs.SizeBytes, fs.AvailableBytes
			f[l.fs+".inodesFree"+capacity], f[l.fs+".inodesFree"] = fs.Inodes, fs.InodesFree
		}
		for _, t := range fs.Thresholds {
			f[string(t.Signal)+below] = t.At
		}
	}
	if g := r.GC; g != nil {
		f["highPercent"], f["lowPercent"] = int64(g.HighPercent), int64(g.LowPercent)
		f["wantedBytes"], f["reclaimableBytes"] = g.WantedBytes, g.Reclaimable
	}
	return f, nil
}

// condition is the node's condition ImageFilesystemPressure where it is true; nil is not.
func (l *lab) condition(ctx context.Context) (*corev1.NodeCondition, error) {
	n, err := l.Client().CoreV1().Nodes().Get(ctx, l.NodeName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	for i := range n.Status.Conditions {
		c := &n.Status.Conditions[i]
		if string(c.Type) == string(health.ImageFilesystemPressure) && c.Status == corev1.ConditionTrue {
			return c, nil
		}
	}
	return nil, nil
}

// waitAgent returns when the agent has read the kubelet's settings from the kubelet itself.
func (l *lab) waitAgent(ctx context.Context) error {
	for deadline := time.Now().Add(disksLookedAt); ; {
		report, err := l.df(ctx)
		if err == nil {
			_, err = l.figures(report)
		}
		if err == nil || time.Now().After(deadline) {
			return err
		}
		if err := node.Sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}
