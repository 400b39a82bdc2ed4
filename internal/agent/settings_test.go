package agent

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/internal/disk"
)

// TestSettingsLast: what the kubelet said counts for a while, and what it was too busy to say does not.
func TestSettingsLast(t *testing.T) {
	hung := &disk.ConfigzError{Err: &url.Error{Op: "Get", URL: "https://192.0.2.1:10250/configz", Err: context.DeadlineExceeded}}
	for name, test := range map[string]struct {
		watch *diskWatch
		want  bool
	}{
		"never read":   {&diskWatch{address: "a"}, false},
		"read":         {&diskWatch{address: "a", read: scheduleStart}, true},
		"long ago":     {&diskWatch{address: "a", read: scheduleStart.Add(-settingsLast)}, false},
		"of another":   {&diskWatch{address: "b", read: scheduleStart}, false},
		"refused":      {&diskWatch{address: "a", read: scheduleStart, settings: disk.Settings{Failed: []error{&disk.ConfigzError{Status: 403, Err: errors.New("no")}}}}, true},
		"did not say":  {&diskWatch{address: "a", read: scheduleStart, settings: disk.Settings{Failed: []error{hung}}}, false},
		"nor the file": {&diskWatch{address: "a", read: scheduleStart, settings: disk.Settings{Failed: []error{hung, errors.New("no file")}}}, false},
	} {
		if got := test.watch.last("a", scheduleStart.Add(time.Second)); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
