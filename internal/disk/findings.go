package disk

import (
	"fmt"
	"strings"
	"unicode"
)

// Code names a kind of finding. It is a metric's label and never changes.
type Code string

// Finding is something worth knowing that is no fault of the moment: information, and no verdict.
type Finding struct {
	Code Code   `json:"code"`
	Text string `json:"text"` // a sentence with the figures
	Do   string `json:"do"`   // one thing to do
}

// The codes of findings.
const (
	ConfigRefused      Code = "kubelet_config_refused"
	ConfigUnknownField Code = "kubelet_config_unknown_field"
	LowNotBelowHigh    Code = "gc_low_not_below_high"
	GCMeetsEviction    Code = "gc_meets_eviction"
	GCDisabled         Code = "gc_off"
	GCAllTooYoung      Code = "gc_all_too_young"
	InodesFirst        Code = "inodes_before_bytes"
	FilesystemTooSmall Code = "image_filesystem_too_small"
	ImageChurn         Code = "image_churn"
	SandboxMissing     Code = "sandbox_image_missing"
	SandboxNotPinned   Code = "sandbox_image_not_pinned"
)

// Codes lists all, in the order in which they are shown.
var Codes = []Code{
	ConfigRefused, ConfigUnknownField, LowNotBelowHigh, GCMeetsEviction, GCDisabled, GCAllTooYoung, InodesFirst, FilesystemTooSmall, ImageChurn,
	SandboxMissing, SandboxNotPinned,
}

// When a finding is one.
const (
	// manyRepulled is how many images have to come back. One may be a person's doing.
	manyRepulled = 3
	// inodesUsed is the least share of inodes in use that is worth a word.
	inodesUsed = 0.5
)

// View is what findings are made from. What was not seen is nil.
type View struct {
	Found     *Found
	Settings  *Settings
	Standings []Standing
	GC        *GC
	Unused    *Unused
	Sandbox   *Sandbox
	// LargestBytes is what the largest image that pods of this node use needs on the filesystem of images, unpacked and as it was downloaded;
	// 0 is not known.
	LargestBytes int64
}

// Findings says what is worth knowing. What would rest on assumed settings is left out.
func (v *View) Findings() (all []Finding) {
	add := func(code Code, do, format string, args ...any) {
		all = append(all, Finding{code, fmt.Sprintf(format, args...), do})
	}
	if v.Settings != nil {
		all = append(all, v.Settings.Findings...)
	}
	known := v.Settings != nil && !v.Settings.Assumed()
	if known && v.GC != nil {
		v.meets(add)
		if v.GC.Off {
			add(GCDisabled, "Set imageGCHighThresholdPercent below 100.",
				"The kubelet collects no images (imageGCHighThresholdPercent 100): they stay until it evicts pods for want of space, and then all unused ones go at once.")
		}
		if u := v.Unused; u != nil && v.GC.Collects && u.Bytes == 0 && u.YoungBytes > 0 {
			add(GCAllTooYoung, "Lower imageMinimumGCAge, or give images more room.",
				"All that could be deleted is younger than imageMinimumGCAge %s: %d images of %s, while %s are wanted.",
				v.Settings.MinimumAge.Value, u.Young, Bytes(u.YoungBytes), Bytes(v.GC.WantedBytes))
		}
	}
	if v.Found != nil {
		for i := range v.Found.Filesystems {
			f := &v.Found.Filesystems[i]
			if f.Inodes <= 0 || f.SizeBytes <= 0 {
				continue
			}
			inodes, bytes := float64(f.InodesFree)/float64(f.Inodes), float64(f.AvailableBytes)/float64(f.SizeBytes)
			if 1-inodes >= inodesUsed && inodes*2 <= bytes {
				add(InodesFirst, "Make the filesystem anew with more inodes (mkfs.ext4 -N or -i), or with xfs, which has no fixed number.",
					"%s (%s) runs out of inodes long before bytes: %.0f%% of its inodes are free and %.0f%% of its bytes.", clean(f.Mountpoint), f.Type, 100*inodes, 100*bytes)
			}
		}
		if f := v.Found.Of(ImageFS); f != nil && known && v.LargestBytes > 0 {
			room := f.SizeBytes
			for _, s := range v.Standings {
				if s.Filesystem == f && !s.Signal.Inodes() && !s.Soft {
					room = min(room, f.SizeBytes-s.At)
				}
			}
			if v.LargestBytes > room {
				add(FilesystemTooSmall, "Give images a larger filesystem.", "The largest image that pods here use needs about %s, and were %s empty, only %s could be used before the kubelet evicts.",
					Bytes(v.LargestBytes), clean(f.Mountpoint), Bytes(room))
			}
		}
	}
	if u := v.Unused; u != nil && u.Repulled >= manyRepulled {
		add(ImageChurn, "Give images more room, or raise the thresholds of garbage collection.",
			"%d images were deleted and pulled again since this agent started.", u.Repulled)
	}
	if v.Sandbox != nil {
		if f, wrong := v.Sandbox.Finding(); wrong {
			all = append(all, f)
		}
	}
	return all
}

// meets: eviction begins before, or within a percent of, where collection does. The kubelet looks for eviction every 10 s and for collection every
// 5 minutes, so pods go first, though it deletes unused images before it kills a pod (pkg/kubelet/eviction/eviction_manager.go).
func (v *View) meets(add func(code Code, do, format string, args ...any)) {
	for _, s := range v.Standings {
		if v.GC.Off || s.Soft || s.Signal.Inodes() || s.Signal.Copied() || !s.Filesystem.Roles.Has(ImageFS) || v.GC.TriggerBytes-s.At > s.Capacity/100 {
			continue // the thresholds of the containerfs are copies
		}
		add(GCMeetsEviction, "Set imageGCHighThresholdPercent some percent lower, so that images are collected before pods are evicted.",
			"Images are collected from %d%% of use on, looked at every 5 minutes, and pods are evicted where %s is below %s, looked at every 10 seconds: there is no room between.",
			v.GC.HighPercent, s.Signal, s.Amount.Text)
		return
	}
}

// longestText is how much of a text of others is shown, in bytes.
const longestText = 200

// clean is a text of others as a message may hold it: short, and without what a terminal would act on.
func clean(text string) string {
	if len(text) > longestText {
		text = strings.ToValidUTF8(text[:longestText], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
