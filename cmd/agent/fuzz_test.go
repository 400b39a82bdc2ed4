package main

import (
	"testing"

	"github.com/pullwatch/pullwatch/internal/say"
)

// FuzzTextFailures: what people paste is anything.
func FuzzTextFailures(f *testing.F) {
	f.Add("Name: x\nContainers:\n  a:\n    State:  Waiting\n      Reason:  ErrImagePull\n      Message:  x: not found\nEvents:\n  Warning  Failed  3s (x2 over 9s)  kubelet  Error: ErrImagePull\n")
	f.Add("Failed to pull image \"a\": toomanyrequests")
	f.Fuzz(func(t *testing.T, text string) {
		for _, found := range textFailures(text) {
			if found.Cause.String() == "" {
				t.Errorf("a failure without a cause in %q", text)
			}
		}
	})
}

// FuzzOutput: nothing that could move a cursor gets through, and JSON stays the same data.
func FuzzOutput(f *testing.F) {
	f.Add("a\u009b31m\u202e\x1b[2J\ufeff\U000e0001\xff")
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range clean(text) {
			if say.Unsafe(r) {
				t.Errorf("%q leaves %U", text, r)
			}
		}
		for _, r := range string(escaped([]byte(text))) {
			if r >= 0x7f && say.Unsafe(r) && r != '\uFFFD' {
				t.Errorf("%q leaves %U in JSON", text, r)
			}
		}
	})
}
