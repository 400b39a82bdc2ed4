package main

import (
	"runtime/debug"
	"testing"
)

func TestIdentify(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	clone := []debug.BuildSetting{{Key: "vcs.revision", Value: commit}, {Key: "vcs.time", Value: "2026-11-01T10:00:00Z"}, {Key: "vcs.modified", Value: "false"}}
	dirty := []debug.BuildSetting{{Key: "vcs.revision", Value: commit}, {Key: "vcs.modified", Value: "true"}}
	for name, c := range map[string]struct {
		version, revision string // of the linker
		main              string
		settings          []debug.BuildSetting
		want              origin
	}{
		"the linker knows":    {"v1.2.3", "abc", "v9.9.9", clone, origin{"v1.2.3", "abc", "2026-11-01T10:00:00Z"}},
		"go install @version": {"", "", "v1.2.3", nil, origin{"v1.2.3", "", ""}},
		"go build in a clone": {"", "", "v1.2.4-0.20261101100000-0123456789ab", clone, origin{"v1.2.4-0.20261101100000-0123456789ab", "0123456789ab", "2026-11-01T10:00:00Z"}},
		"with changes":        {"", "", "(devel)", dirty, origin{"0.0.0-dev", "0123456789ab-dirty", ""}},
		"nothing known":       {"", "", "(devel)", nil, origin{"0.0.0-dev", "", ""}},
		"a short commit":      {"", "", "", []debug.BuildSetting{{Key: "vcs.revision", Value: "7"}}, origin{"0.0.0-dev", "7", ""}},
	} {
		read := func() (*debug.BuildInfo, bool) {
			return &debug.BuildInfo{Main: debug.Module{Version: c.main}, Settings: c.settings}, true
		}
		if is := identify(c.version, c.revision, read); is != c.want {
			t.Errorf("%s: %+v, want %+v", name, is, c.want)
		}
	}
	if is := identify("", "", func() (*debug.BuildInfo, bool) { return nil, false }); is != (origin{version: "0.0.0-dev"}) {
		t.Errorf("without build info: %+v", is)
	}
}
