package filled

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/pullwatch/pullwatch/internal/disk"
	"github.com/pullwatch/pullwatch/test/node"
)

// settled are the fields that configurations are about: what the lab sets of them is taken out.
var settled = []string{
	"imageGCHighThresholdPercent", "imageGCLowThresholdPercent", "imageMinimumGCAge", "imageMaximumGCAge", "evictionHard", "evictionSoft",
	"evictionSoftGracePeriod", "evictionMinimumReclaim", "mergeDefaultEvictionSettings",
}

func (l *lab) dropIns() string { return filepath.Join(l.Dir, "kubelet", "conf.d") }

// writeConfiguration writes the files and sets the flags of a configuration.
func (l *lab) writeConfiguration(c *Configuration) error {
	text := c.Text
	if !c.Whole {
		base := maps.Clone(l.config)
		maps.DeleteFunc(base, func(name string, _ any) bool { return slices.Contains(settled, name) })
		rendered, err := yaml.Marshal(base)
		if err != nil {
			return err
		}
		text = string(rendered) + text + "\n"
	}
	files := map[string]string{}
	if text != "" {
		files[l.configFile()] = text
	}
	for name, text := range c.DropIns {
		files[filepath.Join(l.dropIns(), name)] = text
	}
	for _, path := range []string{l.configFile(), l.dropIns()} {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	l.KubeletFlags = slices.Clone(c.Flags)
	if c.DropIns != nil {
		l.KubeletFlags = append(l.KubeletFlags, "--config-dir="+l.dropIns())
	}
	return nil
}

// failed is with which words a kubelet ends (k8s.io/component-base cli/run.go), in one line or in several.
var failed = regexp.MustCompile(`"command failed" err=(?:("(?:[^"\\]|\\.)*")|<\n((?:\t.*\n)+) >)`)

// makes is what the kubelet makes of a configuration: its settings by /configz, or why it does not start.
func (l *lab) makes(ctx context.Context) (settings, refusal string, err error) {
	before, err := l.log()
	if err != nil {
		return "", "", err
	}
	if err := l.Kill(node.PartKubelet); err != nil {
		return "", "", err
	}
	startErr := l.startKubelet(ctx)
	for startErr == nil { // one that is healthy does not serve yet, and may still end
		inForce, err := l.asks.configz(ctx)
		if err == nil {
			return tellConfigz(inForce), "", nil
		}
		if l.PID(node.PartKubelet) == 0 {
			startErr = err
		} else if err := node.Sleep(ctx, 50*time.Millisecond); err != nil {
			return "", "", err
		}
	}
	after, err := l.log()
	if err != nil {
		return "", "", err
	}
	m := failed.FindStringSubmatch(strings.TrimPrefix(after, before))
	if m == nil {
		return "", "", fmt.Errorf("the kubelet did not start and does not say why: %w", startErr)
	}
	text := strings.Join(strings.Fields(m[2]), " ")
	if m[1] != "" {
		if text, err = strconv.Unquote(m[1]); err != nil {
			return "", "", err
		}
	}
	text, _, _ = strings.Cut(text, ", path: &TypeMeta") // all of the configuration follows
	return "", l.short(text), nil
}

// short is a text without the lab's directory.
func (l *lab) short(text string) string {
	return strings.ReplaceAll(text, filepath.Join(l.Dir, "kubelet")+"/", "")
}

// reads is what Pullwatch reads out of the same files.
func (l *lab) reads(c *Configuration) (settings, refusal string, findings []disk.Finding) {
	dropIns := ""
	if c.DropIns != nil {
		dropIns = l.dropIns()
	}
	s, err := disk.ReadFiles(l.configFile(), dropIns, "v1.34.4")
	if err != nil {
		return "", l.short(err.Error()), s.Findings
	}
	return tellSettings(&s), "", s.Findings
}

// tellConfigz says in a line what /configz has of disks, as it stands there.
func tellConfigz(c map[string]any) string {
	parts := []string{fmt.Sprintf("%v/%v, age %v/%v", c["imageGCHighThresholdPercent"], c["imageGCLowThresholdPercent"], c["imageMinimumGCAge"], c["imageMaximumGCAge"])}
	for _, field := range []string{"evictionHard", "evictionSoft"} {
		set, _ := c[field].(map[string]any)
		grace, _ := c["evictionSoftGracePeriod"].(map[string]any)
		reclaim, _ := c["evictionMinimumReclaim"].(map[string]any)
		for _, signal := range slices.Sorted(maps.Keys(set)) {
			amount := set[signal]
			if !slices.Contains(disk.Signals, disk.Signal(signal)) || amount == "0%" || amount == "100%" {
				continue // pkg/kubelet/eviction/helpers.go ignores such amounts
			}
			line := fmt.Sprintf("%s %s %v", strings.ToLower(strings.TrimPrefix(field, "eviction")), signal, amount)
			if g, ok := grace[signal]; ok && field == "evictionSoft" {
				line += " for " + duration(g)
			}
			if r, ok := reclaim[signal]; ok {
				line += fmt.Sprintf(" and %v", r)
			}
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, "; ")
}

// tellSettings says the same of settings that Pullwatch has read.
func tellSettings(s *disk.Settings) string {
	parts := []string{fmt.Sprintf("%d/%d, age %s/%s", s.HighPercent.Value, s.LowPercent.Value, s.MinimumAge.Value, s.MaximumAge.Value)}
	thresholds := slices.Clone(s.Thresholds)
	slices.SortStableFunc(thresholds, func(a, b disk.Threshold) int {
		return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a.Signal, b.Signal))
	})
	for _, t := range thresholds {
		line := fmt.Sprintf("hard %s %s", t.Signal, t.Amount.Text)
		if t.Soft {
			line = fmt.Sprintf("soft %s %s for %s", t.Signal, t.Amount.Text, t.Grace)
		}
		if t.MinimumReclaim.Text != "" {
			line += " and " + t.MinimumReclaim.Text
		}
		parts = append(parts, line)
	}
	return strings.Join(parts, "; ")
}

// duration is one as Go writes it: 90s is 1m30s.
func duration(v any) string {
	if d, err := time.ParseDuration(fmt.Sprint(v)); err == nil {
		return d.String()
	}
	return fmt.Sprint(v)
}

func order(t disk.Threshold) int {
	if t.Soft {
		return 1
	}
	return 0
}
