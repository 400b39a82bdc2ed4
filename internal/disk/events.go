package disk

import (
	"regexp"
	"strconv"
)

// GCFailure is what a kubelet's event says of image garbage collection that did not free what it wanted.
type GCFailure struct {
	WantedBytes int64 // -1 is not told, as by kubelets from 1.35
	FreedBytes  int64
}

// GCFailureReasons are those of the kubelet's events about its Node whose messages ParseGCFailure reads. ImageGCFailed comes from the second failure in a
// row on, and alone tells of images that could not be deleted; the other tells of too few that may be, and comes at once.
var GCFailureReasons = []string{"FreeDiskSpaceFailed", "ImageGCFailed"}

// The texts of pkg/kubelet/images/image_gc_manager.go: up to 1.25, and of errors in deletion in all versions; 1.26 to 1.34; from 1.35.
var gcFailures = []struct {
	text          *regexp.Regexp
	wanted, freed int // groups
}{
	{regexp.MustCompile(`anted to free (-?\d{1,19}) bytes, but freed (\d{1,19}) bytes`), 1, 2},
	{regexp.MustCompile(`Attempted to free (-?\d{1,19}) bytes, but only found (\d{1,19}) bytes eligible to free`), 1, 2},
	{regexp.MustCompile(`Failed to free sufficient space by deleting unused images \(freed (\d{1,19}) bytes\)`), 0, 1},
}

// ParseGCFailure reads the message of an event. A message about something else, such as images that could not be listed, is none.
func ParseGCFailure(message string) (GCFailure, bool) {
	for _, f := range gcFailures {
		found := f.text.FindStringSubmatch(message)
		if found == nil {
			continue
		}
		failure := GCFailure{WantedBytes: -1}
		freed, err := strconv.ParseInt(found[f.freed], 10, 64)
		if err != nil {
			return GCFailure{}, false
		}
		failure.FreedBytes = freed
		if f.wanted > 0 {
			if failure.WantedBytes, err = strconv.ParseInt(found[f.wanted], 10, 64); err != nil {
				return GCFailure{}, false
			}
		}
		return failure, true
	}
	return GCFailure{}, false
}
