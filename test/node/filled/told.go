package filled

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// told is what the kubelet said and did in a case.
type told struct {
	events  []event
	figures figures
	removed int // images, by one collection or the first round of evictions
}

// event is the first one of its reason that the kubelet recorded.
type event struct{ Reason, Text string }

// reasons are those of events that are about disks, in the order in which they are told.
var reasons = []string{
	"FreeDiskSpaceFailed", "ImageGCFailed", "InvalidDiskCapacity", "EvictionThresholdMet", "NodeHasDiskPressure", "Evicted",
}

// What the kubelet writes into its log (pkg/kubelet/images/image_gc_manager.go and pkg/kubelet/eviction in k8s.io/kubernetes 1.34), and
// says in events.
var (
	collects = regexp.MustCompile(`"Disk usage on image filesystem is over the high threshold.*" usage=(\d+) highThreshold=(\d+) ` +
		`amountToFree=(-?\d+) lowThreshold=(\d+)`)
	removes   = regexp.MustCompile(`"Removing image to free bytes" imageID=`)
	observes  = regexp.MustCompile(`"Eviction manager:" log="observations" signal="(\w+\.\w+)" .* available="(\w+)" capacity="(\w+)"`)
	threshold = regexp.MustCompile(`log="thresholds - ignoring grace period" signal="(\w+\.\w+)" .* quantity="(\w+)" available=`)
	reclaims  = `"Eviction manager: attempting to reclaim"`

	eligible = regexp.MustCompile(`Attempted to free (\d+) bytes, but only found (\d+) bytes eligible to free`)
	evicted  = regexp.MustCompile(`low on resource: ([\w-]+)\. Threshold quantity: (\w+), available: (\w+)\.`)
)

// The names of figures. Those of a signal are its name with one of these behind it.
const (
	capacity = " of"
	below    = " below"
)

// signals are those that a resource of an Evicted event may be about.
func signal(fs, resource string) string {
	if resource == "inodes" {
		return fs + ".inodesFree"
	}
	return fs + ".available"
}

// told reads what the kubelet has said since: in its log, of which before is what was there, and in events.
func (l *lab) told(ctx context.Context, before string, since time.Time) (*told, error) {
	text, err := l.log()
	if err != nil {
		return nil, err
	}
	t := &told{figures: figures{}}
	t.readLog(strings.TrimPrefix(text, before), l.fs)
	answer, err := l.Client().CoreV1().Events(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	items := slices.DeleteFunc(answer.Items, func(e corev1.Event) bool {
		// An event's times are of whole seconds.
		return !slices.Contains(reasons, e.Reason) || e.LastTimestamp.Time.Before(since.Truncate(time.Second))
	})
	slices.SortStableFunc(items, func(a, b corev1.Event) int {
		return cmp.Or(cmp.Compare(slices.Index(reasons, a.Reason), slices.Index(reasons, b.Reason)), a.FirstTimestamp.Compare(b.FirstTimestamp.Time))
	})
	// The first of each is about what was there before the kubelet did anything: 10 s later it may evict the next pod.
	items = slices.CompactFunc(items, func(a, b corev1.Event) bool { return a.Reason == b.Reason })
	for _, e := range items {
		text, _, _ := strings.Cut(e.Message, " Container ") // what it used depends on when that was last looked at
		t.events = append(t.events, event{e.Reason, strings.TrimSpace(text)})
	}
	t.readEvents(l.fs)
	return t, nil
}

func (t *told) set(name, text string) {
	if q, err := resource.ParseQuantity(text); err == nil {
		t.figures[name] = q.Value()
	}
}

// readLog takes figures from the log; those of an eviction are from before its first act, and of the filesystem fs alone: the others are the
// machine's.
func (t *told) readLog(log, fs string) {
	for _, m := range collects.FindAllStringSubmatch(log, -1) { // the last one counts
		for i, name := range []string{"usedPercent", "highPercent", "wantedBytes", "lowPercent"} {
			t.set(name, m[i+1])
		}
	}
	saw, did, acts := strings.Cut(log, reclaims)
	if !acts {
		t.removed = len(removes.FindAllString(log, -1))
		return
	}
	did, _, _ = strings.Cut(did, reclaims)
	t.removed = len(removes.FindAllString(did, -1))
	for _, m := range observes.FindAllStringSubmatch(saw, -1) { // the last ones count
		if strings.HasPrefix(m[1], fs+".") {
			t.set(m[1], m[2])
			t.set(m[1]+capacity, m[3])
		}
	}
	for _, m := range threshold.FindAllStringSubmatch(saw, -1) {
		if strings.HasPrefix(m[1], fs+".") {
			t.set(m[1]+below, m[2])
		}
	}
}

// readEvents takes figures from the texts of events, where the log has not said them. fs is the filesystem that evictions are about.
func (t *told) readEvents(fs string) {
	for _, e := range t.events {
		if m := eligible.FindStringSubmatch(e.Text); m != nil {
			t.set("wantedBytes", m[1])
			t.set("reclaimableBytes", m[2])
		}
		if m := evicted.FindStringSubmatch(e.Text); m != nil {
			t.set(signal(fs, m[1])+below, m[2])
			t.set(signal(fs, m[1]), m[3])
		}
	}
}

// says are the reasons of the events.
func (t *told) says() (list []string) {
	for _, e := range t.events {
		list = append(list, e.Reason)
	}
	return list
}

// number is a figure with thousands set apart, as a person reads it.
func number(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
