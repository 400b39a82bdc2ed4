package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// Where a setting may come from.
const (
	FromConfigz = "configz" // the kubelet itself
	FromFile    = "file"
	FromDefault = "default" // the kubelet's own, where nothing sets it
)

// Source is where a setting comes from.
type Source struct {
	From string
	File string // of FromFile
	// Assumed is set where nothing of the kubelet could be read, so that its defaults stand for what may be set otherwise. No verdict may follow.
	Assumed bool
}

func (s Source) String() string {
	switch {
	case s.Assumed:
		return "assumed default"
	case s.From == FromFile:
		return s.File
	}
	return s.From
}

// Setting is a value and where it comes from.
type Setting[T any] struct {
	Value  T
	Source Source
}

// Settings are those of the kubelet that decide about images and disks.
type Settings struct {
	// At HighPercent of use the kubelet collects images, down to LowPercent. HighPercent 100 with MaximumAge 0 is off.
	HighPercent, LowPercent Setting[int]
	// MinimumAge is how long an image is left alone after it was first seen; one unused for MaximumAge goes whatever the use, 0 is never.
	MinimumAge, MaximumAge Setting[time.Duration]
	// Thresholds are those of disks, as they are set; InForce has what the kubelet makes of them.
	Thresholds []Threshold
	// Findings is what is wrong with the configuration itself.
	Findings []Finding
	// Failed is what was tried in vain before these settings were found. Each may have a hint; see [Hint].
	Failed []error
	// Version is the kubelet's, as v1.34.4; it may be empty.
	Version string
	// Read is where all this was read, also what is at its default there.
	Read Source
}

// Assumed tells that the settings are a guess.
func (s *Settings) Assumed() bool { return s.HighPercent.Source.Assumed }

// GCOff tells that the kubelet never collects images by itself (StartGarbageCollection in pkg/kubelet/kubelet.go). Evictions still delete
// unused ones.
func (s *Settings) GCOff() bool { return s.HighPercent.Value == 100 && s.MaximumAge.Value == 0 }

// Kubelet says where its settings may be read.
type Kubelet struct {
	Configz *Configz // nil is not to be asked
	// File is its configuration file and DropIns the directory of --config-dir; empty is none. A flag of the kubelet's is stronger than both
	// and is not seen there.
	File, DropIns string
	Version       string // v1.34.4
}

// Settings reads the settings from the best place that can be read: the kubelet itself, its files, or else its defaults, which are assumed.
// A file that the kubelet would not start with says nothing of the one that runs.
func (k *Kubelet) Settings(ctx context.Context) Settings {
	var failed []error
	if k.Configz != nil {
		s, err := k.Configz.Read(ctx, k.Version)
		if err == nil {
			s.Read = Source{From: FromConfigz}
			return s
		}
		failed = append(failed, err)
	}
	var findings []Finding
	if k.File != "" || k.DropIns != "" {
		s, err := ReadFiles(k.File, k.DropIns, k.Version)
		if err == nil {
			s.Failed, s.Read = failed, Source{From: FromFile, File: cmp.Or(k.File, k.DropIns)}
			return s
		}
		failed, findings = append(failed, err), s.Findings
	}
	s := Defaults(k.Version)
	s.Failed, s.Findings, s.Read = failed, findings, s.HighPercent.Source
	return s
}

// document is what is read of a KubeletConfiguration (kubelet.config.k8s.io/v1beta1). It has secrets beside that, which are not decoded.
type document struct {
	High        *int32            `json:"imageGCHighThresholdPercent"`
	Low         *int32            `json:"imageGCLowThresholdPercent"`
	MinimumAge  *string           `json:"imageMinimumGCAge"`
	MaximumAge  *string           `json:"imageMaximumGCAge"`
	Hard        map[string]string `json:"evictionHard"`
	Soft        map[string]string `json:"evictionSoft"`
	SoftGrace   map[string]string `json:"evictionSoftGracePeriod"`
	Reclaim     map[string]string `json:"evictionMinimumReclaim"`
	MergeHard   *bool             `json:"mergeDefaultEvictionSettings"`
	FeatureGate map[string]bool   `json:"featureGates"`
}

// settings fills in the defaults, and says what the kubelet would refuse to start with (pkg/kubelet/apis/config/validation/validation.go).
// source is asked for what the document sets.
func (d *document) settings(version string, source func(path string) Source) (Settings, []problem) {
	s := Settings{Version: version}
	var problems []problem
	refuse := func(path, format string, args ...any) {
		problems = append(problems, problem{path: path, text: fmt.Sprintf(format, args...)})
	}
	missing := source("")
	missing.From, missing.File = FromDefault, ""
	percent := func(path string, set *int32, otherwise int) Setting[int] {
		if set == nil {
			return Setting[int]{otherwise, missing}
		}
		if *set < 0 || *set > 100 {
			refuse(path, "%d is not between 0 and 100", *set)
		}
		return Setting[int]{int(*set), source(path)}
	}
	age := func(path string, set *string, otherwise time.Duration) Setting[time.Duration] {
		if set == nil {
			return Setting[time.Duration]{otherwise, missing}
		}
		d, err := time.ParseDuration(*set)
		if err != nil {
			refuse(path, "%q is no duration", *set)
		}
		if d == 0 { // the kubelet cannot tell it from one that is not set
			return Setting[time.Duration]{otherwise, missing}
		}
		return Setting[time.Duration]{d, source(path)}
	}
	const high, low, minimum, maximum = "imageGCHighThresholdPercent", "imageGCLowThresholdPercent", "imageMinimumGCAge", "imageMaximumGCAge"
	s.HighPercent, s.LowPercent = percent(high, d.High, defaultHighPercent), percent(low, d.Low, defaultLowPercent)
	s.MinimumAge, s.MaximumAge = age(minimum, d.MinimumAge, defaultMinimumAge), age(maximum, d.MaximumAge, 0)
	if s.LowPercent.Value >= s.HighPercent.Value {
		path := low
		if d.Low == nil {
			path = high
		}
		refuse(path, "imageGCLowThresholdPercent %d is not below imageGCHighThresholdPercent %d", s.LowPercent.Value, s.HighPercent.Value)
		problems[len(problems)-1].lowNotBelowHigh = true
	}
	minor, known := minorOf(version)
	switch oldest := s.MaximumAge.Value; {
	case known && minor < 29: // it knows no such field
		s.MaximumAge = Setting[time.Duration]{0, missing}
	case oldest < 0:
		refuse(maximum, "%s is below zero", oldest)
	case oldest > 0 && oldest <= s.MinimumAge.Value:
		refuse(maximum, "%s is not above imageMinimumGCAge %s", oldest, s.MinimumAge.Value)
	case oldest > 0 && !d.maximumAgeGate(version):
		refuse(maximum, "it needs the feature gate ImageMaximumGCAge, which this kubelet has off")
	}
	e := eviction{d.Hard, d.Soft, d.SoftGrace, d.Reclaim}
	thresholds, more := e.thresholds(source)
	s.Thresholds = thresholds
	return s, append(problems, more...)
}

// maximumAgeGate tells whether the kubelet takes imageMaximumGCAge: the gate came in 1.29, is on from 1.30 and fixed from 1.35.
func (d *document) maximumAgeGate(version string) bool {
	set, said := d.FeatureGate["ImageMaximumGCAge"]
	minor, ok := minorOf(version)
	return said && set || !said && (!ok || minor >= 30)
}

// errRefused is for settings that no kubelet runs with.
var errRefused = errors.New("the kubelet does not start with it")
