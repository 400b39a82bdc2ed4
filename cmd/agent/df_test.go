package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/pullwatch/pullwatch/internal/disk"
	"github.com/pullwatch/pullwatch/pkg/probe"
)

// TestWhatDFSays of thresholds that are met: a soft one has its grace, and what rests on assumed ones says so and is no verdict.
func TestWhatDFSays(t *testing.T) {
	const hard, soft = "imagefs.available below 15%: ", "imagefs.available below 20%: "
	for _, test := range []struct {
		name    string
		assumed bool
		kind    string
		grace   float64
		gc      disk.GCReport
		want    []string
		outcome error
	}{
		{"a hard one", false, "hard", 0, disk.GCReport{}, []string{hard + "MET: the kubelet evicts pods\n"}, errNotFine},
		{"a soft one", false, "soft", 3600, disk.GCReport{}, []string{soft + "MET: the kubelet evicts pods after its grace of 60m\n"}, errNotFine},
		{"a soft one without grace", false, "soft", 0, disk.GCReport{}, []string{soft + "MET: the kubelet evicts pods\n"}, errNotFine},
		{"an assumed one", true, "hard", 0, disk.GCReport{}, []string{hard + "if the kubelet's defaults hold, MET: the kubelet evicts pods\n"}, nil},
		{"collection fails", false, "", 0, disk.GCReport{Collects: true, Fails: true}, []string{"image collection at 85%: COLLECTS NOW AND FAILS: it wants"}, errNotFine},
		{"collection fails, assumed", true, "", 0, disk.GCReport{Collects: true, Fails: true},
			[]string{"image collection at 85%: if the kubelet's defaults hold, COLLECTS NOW AND FAILS: it wants"}, nil},
		{"collection, assumed", true, "", 0, disk.GCReport{Collects: true}, []string{"image collection at 85%: if the kubelet's defaults hold, collects now, wants"}, nil},
		{"not enough, assumed", true, "", 0, disk.GCReport{UsedPercent: 80, WantedAtTrigger: 1}, []string{"     if the kubelet's defaults hold, NOT ENOUGH: it will want 1 B when it begins\n"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.gc.HighPercent = 85
			f := disk.FilesystemReport{Name: disk.ImageFS, Roles: disk.Roles{disk.ImageFS}, SizeBytes: 1000, AvailableBytes: 100}
			switch test.kind {
			case "hard":
				f.Thresholds = []disk.ThresholdReport{{Signal: disk.ImageFSAvailable, Kind: "hard", Value: "15%", At: 150, Available: 100, Met: true}}
			case "soft":
				f.Thresholds = []disk.ThresholdReport{{Signal: disk.ImageFSAvailable, Kind: "soft", Value: "20%", At: 200, Available: 100, GraceSeconds: test.grace, Met: true}}
			}
			a := &dfAnswer{Report: &disk.Report{Filesystems: []disk.FilesystemReport{f}, GC: &test.gc, Settings: disk.SettingsReport{Assumed: test.assumed}}}
			said := labels{}
			said.filesystem(a, &a.Filesystems[0])
			for _, want := range test.want {
				if !strings.Contains(said.String(), want) {
					t.Errorf("it does not say %q:\n%s", want, said.String())
				}
			}
			if got := a.outcome(); !errors.Is(got, test.outcome) {
				t.Errorf("the outcome is %v, want %v", got, test.outcome)
			}
		})
	}
}

// TestLayersThatAreHere: a layer whose size the manifest does not tell is not taken to be.
func TestLayersThatAreHere(t *testing.T) {
	for _, test := range []struct {
		here  int64
		sizes []int64
		want  string
	}{
		{0, []int64{10, 20}, ""}, {10, []int64{10, 20}, "a"}, {30, []int64{10, 20}, "ab"}, {0, []int64{0, 0}, ""}, {10, []int64{0, 10, 0}, "b"},
	} {
		a := &imageAnswer{Image: &probe.Image{}, PresentBytes: &test.here}
		for i, size := range test.sizes {
			a.Layers = append(a.Layers, probe.Layer{Digest: string(rune('a' + i)), SizeBytes: size})
		}
		all, present := a.layers()
		got := ""
		for _, layer := range all {
			if present[layer.Digest] {
				got += layer.Digest
			}
		}
		if got != test.want || len(all) != len(test.sizes) {
			t.Errorf("%+v: %q", test, got)
		}
	}
}
