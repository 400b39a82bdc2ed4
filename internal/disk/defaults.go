package disk

import (
	"strconv"
	"strings"
	"time"
)

// The kubelet's defaults (pkg/kubelet/apis/config/v1beta1/defaults.go).
const (
	defaultHighPercent = 85
	defaultLowPercent  = 80
	defaultMinimumAge  = 2 * time.Minute
)

// defaultEvictionHard is what applies where a kubelet's configuration file sets no evictionHard at all
// (pkg/kubelet/eviction/defaults_linux.go). A kubelet without any file has no hard thresholds but those of its flags
// (cmd/kubelet/app/server.go, loadConfigFile).
func defaultEvictionHard(version string) map[string]string {
	hard := map[string]string{"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%"}
	if minor, ok := minorOf(version); !ok || minor >= 30 {
		hard["imagefs.inodesFree"] = "5%"
	}
	return hard
}

// Defaults are what a kubelet of this version does whose configuration nobody has changed. They are assumed: no verdict may follow from them.
func Defaults(version string) Settings {
	s, _ := (&document{}).settings(version, func(string) Source { return Source{From: FromDefault, Assumed: true} })
	e := eviction{hard: defaultEvictionHard(version)}
	s.Thresholds, _ = e.thresholds(func(string) Source { return Source{From: FromDefault, Assumed: true} })
	return s
}

// minorOf reads the minor number of a version such as v1.34.4 or v1.27.3-gke.100.
func minorOf(version string) (int, bool) {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(version, "v"), "1.")
	if !ok {
		return 0, false
	}
	digits := rest
	if end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		digits = rest[:end]
	}
	minor, err := strconv.Atoi(digits)
	return minor, err == nil
}
