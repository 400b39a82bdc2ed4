package disk

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Signal is what an eviction threshold watches, in the kubelet's words.
type Signal string

// The signals of disks: below a threshold of one of them the kubelet reports DiskPressure (pkg/kubelet/eviction/helpers.go).
const (
	NodeFSAvailable       Signal = "nodefs.available"
	NodeFSInodesFree      Signal = "nodefs.inodesFree"
	ImageFSAvailable      Signal = "imagefs.available"
	ImageFSInodesFree     Signal = "imagefs.inodesFree"
	ContainerFSAvailable  Signal = "containerfs.available"
	ContainerFSInodesFree Signal = "containerfs.inodesFree"
)

// Signals lists those of disks, in the order in which they are shown.
var Signals = []Signal{ImageFSAvailable, ImageFSInodesFree, ContainerFSAvailable, ContainerFSInodesFree, NodeFSAvailable, NodeFSInodesFree}

// otherSignals are those that the kubelet knows too. Any other name makes it refuse to start.
var otherSignals = []Signal{"memory.available", "allocatableMemory.available", "pid.available"}

// Role is the filesystem that a signal is about.
func (s Signal) Role() Role {
	role, _, _ := strings.Cut(string(s), ".")
	return Role(role)
}

// Copied tells a signal whose threshold is always a copy of another filesystem's (Settings.InForce): where both would be shown, one is enough.
func (s Signal) Copied() bool { return s.Role() == ContainerFS }

// Inodes tells a signal of inodes from one of bytes.
func (s Signal) Inodes() bool { return strings.HasSuffix(string(s), ".inodesFree") }

// Amount is a quantity, or a share of a filesystem's capacity.
type Amount struct {
	Text string // as it was written: 15%, 10Gi
	// Share is the share of the capacity, where it is one: 0.15. It is a float32 since the kubelet's is, and is as far off.
	Share float32
	// Quantity is the amount in bytes or inodes where Share is 0.
	Quantity int64
}

// Of is the amount on a filesystem of this capacity, as the kubelet rounds it (GetThresholdQuantity in pkg/kubelet/eviction/api/types.go).
func (a Amount) Of(capacity int64) int64 {
	if a.Share != 0 {
		return int64(float64(capacity) * float64(a.Share))
	}
	return a.Quantity
}

// Threshold is one eviction threshold in force.
type Threshold struct {
	Signal Signal
	Amount Amount
	// Soft thresholds evict only after Grace below them.
	Soft  bool
	Grace time.Duration
	// MinimumReclaim is what the kubelet frees beyond the threshold once it evicts; its Text is empty where there is none.
	MinimumReclaim Amount
	Source         Source
}

// Below tells that the kubelet takes the threshold for met.
func (t *Threshold) Below(available, capacity int64) bool { return t.Amount.Of(capacity) > available }

// Standing is where a filesystem stands towards a threshold.
type Standing struct {
	Threshold
	Filesystem *Filesystem
	// Available and Capacity are what the signal counts: bytes or inodes. At is the amount below which the threshold is met.
	Available, Capacity, At int64
	Met                     bool
}

// Standings compares filesystems with thresholds. What was not seen, and inodes where none are counted, is left out.
func Standings(found *Found, settings *Settings) (standings []Standing) {
	for _, t := range settings.InForce(found.Layout) {
		fsys := found.Of(t.Signal.Role())
		if fsys == nil {
			continue
		}
		s := Standing{Threshold: t, Filesystem: fsys, Available: fsys.AvailableBytes, Capacity: fsys.SizeBytes}
		if t.Signal.Inodes() {
			s.Available, s.Capacity = fsys.InodesFree, fsys.Inodes
		}
		if s.Capacity == 0 {
			continue
		}
		s.At, s.Met = t.Amount.Of(s.Capacity), t.Below(s.Available, s.Capacity)
		standings = append(standings, s)
	}
	return standings
}

// InForce is the thresholds as the kubelet applies them to a layout. What was set for the containerfs is always overwritten: by that of the
// imagefs where containers lie there and nowhere else, else by that of the nodefs (UpdateContainerFsThresholds in
// pkg/kubelet/eviction/helpers.go). Where the layout is not known, neither are those.
func (s *Settings) InForce(layout Layout) []Threshold {
	all := slices.DeleteFunc(slices.Clone(s.Thresholds), func(t Threshold) bool { return t.Signal.Copied() })
	from := NodeFS
	switch layout {
	case "":
		return all
	case LayoutDedicated:
		from = ImageFS
	}
	for _, t := range slices.Clone(all) {
		if t.Signal.Role() == from {
			t.Signal = Signal(strings.Replace(string(t.Signal), string(from), string(ContainerFS), 1))
			all = append(all, t)
		}
	}
	slices.SortStableFunc(all, func(a, b Threshold) int { return slices.Index(Signals, a.Signal) - slices.Index(Signals, b.Signal) })
	return all
}

// eviction is the kubelet's configuration of it, as it stands in a file.
type eviction struct{ hard, soft, grace, reclaim map[string]string }

// problem is why a kubelet does not start with a setting.
type problem struct {
	path string // evictionHard/imagefs.available
	text string
	// lowNotBelowHigh is set for the one that has a name of its own.
	lowNotBelowHigh bool
}

// thresholds reads them by the kubelet's rules, those of disks alone, and says what it would refuse to start with (ParseThresholdConfig in
// pkg/kubelet/eviction/helpers.go).
func (e *eviction) thresholds(source func(path string) Source) (all []Threshold, problems []problem) {
	refuse := func(field, signal string, err error) {
		problems = append(problems, problem{path: field + "/" + signal, text: err.Error()})
	}
	graces := make(map[string]time.Duration)
	for _, signal := range slices.Sorted(maps.Keys(e.grace)) {
		grace, err := time.ParseDuration(e.grace[signal])
		if err == nil && grace < 0 {
			err = fmt.Errorf("%q is below zero", e.grace[signal])
		}
		if err = errors.Join(known(signal), err); err != nil {
			refuse("evictionSoftGracePeriod", signal, err)
		}
		graces[signal] = grace
	}
	reclaims := make(map[string]Amount)
	for _, signal := range slices.Sorted(maps.Keys(e.reclaim)) {
		amount, err := parseAmount(e.reclaim[signal], false)
		if err = errors.Join(known(signal), err); err != nil {
			refuse("evictionMinimumReclaim", signal, err)
		}
		reclaims[signal] = amount
	}
	for _, set := range []struct {
		field string
		of    map[string]string
		soft  bool
	}{{"evictionHard", e.hard, false}, {"evictionSoft", e.soft, true}} {
		for _, signal := range slices.Sorted(maps.Keys(set.of)) {
			text := set.of[signal]
			if err := known(signal); err != nil {
				refuse(set.field, signal, err)
				continue
			}
			if text == "0%" || text == "100%" {
				continue // the kubelet ignores the signal
			}
			amount, err := parseAmount(text, true)
			grace, graced := graces[signal]
			if err == nil && set.soft && !graced {
				err = errors.New("a soft threshold needs its evictionSoftGracePeriod")
			}
			if err != nil {
				refuse(set.field, signal, err)
				continue
			}
			t := Threshold{Signal: Signal(signal), Amount: amount, Soft: set.soft, MinimumReclaim: reclaims[signal], Source: source(set.field + "/" + signal)}
			if set.soft {
				t.Grace = grace
			}
			if slices.Contains(Signals, t.Signal) {
				all = append(all, t)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Threshold) int { return slices.Index(Signals, a.Signal) - slices.Index(Signals, b.Signal) })
	return all, problems
}

func known(signal string) error {
	if s := Signal(signal); !slices.Contains(Signals, s) && !slices.Contains(otherSignals, s) {
		return fmt.Errorf("there is no eviction signal %q", signal)
	}
	return nil
}

// parseAmount reads what the kubelet takes: a percentage or a quantity. A threshold is positive as a quantity; what is reclaimed at least is
// positive as a percentage.
func parseAmount(text string, threshold bool) (Amount, error) {
	if strings.HasSuffix(text, "%") {
		percent, err := strconv.ParseFloat(strings.TrimRight(text, "%"), 32)
		switch share := float32(percent) / 100; {
		case err != nil:
			return Amount{}, fmt.Errorf("%q is no percentage", text)
		case threshold && !(share >= 0 && share <= 1):
			return Amount{}, fmt.Errorf("%q is not between 0%% and 100%%", text)
		case !threshold && !(share > 0):
			return Amount{}, fmt.Errorf("%q is not above 0%%", text)
		default:
			return Amount{Text: text, Share: share}, nil
		}
	}
	quantity, err := resource.ParseQuantity(text)
	switch {
	case err != nil:
		return Amount{}, fmt.Errorf("%q is neither a percentage nor a quantity", text)
	case quantity.Sign() < 0 || threshold && quantity.IsZero():
		return Amount{}, fmt.Errorf("%q is not above zero", text)
	}
	// Rounded up, whole numbers compare with it as with the quantity itself.
	return Amount{Text: text, Quantity: quantity.Value()}, nil
}
