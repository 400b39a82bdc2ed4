package disk

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

const mib, gib = int64(1) << 20, int64(1) << 30

// TestForecast: made series of what is free, one sample in 30 s, and where they lead. The threshold is 15 GiB of 100.
func TestForecast(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 11))
	noise := func(most int64) int64 { return random.Int64N(2*most) - most }
	minutes := func(i int) float64 { return float64(i) / 2 }
	for _, test := range []struct {
		name   string
		length time.Duration
		free   func(i int) int64
		want   Outlook
		from   time.Duration // of going: between which times it is reached
		to     time.Duration
	}{
		{"flat", time.Hour, func(int) int64 { return 40 * gib }, OutlookNotGoing, 0, 0},
		{"too short", 9 * time.Minute, func(i int) int64 { return 40*gib - int64(minutes(i)*float64(gib)) }, OutlookUnknown, 0, 0},
		// 1 GiB a minute: after 20 minutes 20 GiB are left, 5 above.
		{"growth", 20 * time.Minute, func(i int) int64 { return 40*gib - int64(minutes(i)*float64(gib)) }, OutlookGoing, 5 * time.Minute, 5 * time.Minute},
		{"growth with noise", 20 * time.Minute, func(i int) int64 { return 40*gib - int64(minutes(i)*float64(gib)) + noise(gib/2) }, OutlookGoing, 4 * time.Minute, 6 * time.Minute},
		{"growth too slow to matter", time.Hour, func(i int) int64 { return 90*gib - int64(minutes(i)*float64(mib)) }, OutlookNotGoing, 0, 0},
		{"growth in bursts, every 2 minutes", 20 * time.Minute, func(i int) int64 { return 40*gib - int64(i/4)*2*gib }, OutlookGoing, 4 * time.Minute, 8 * time.Minute},
		{"noise", time.Hour, func(int) int64 { return 40*gib + noise(2*gib) }, OutlookNotGoing, 0, 0},
		{"noise just above", time.Hour, func(int) int64 { return 17*gib + noise(2*gib) }, OutlookNotGoing, 0, 0},
		{"one pull in the middle", 30 * time.Minute, func(i int) int64 { return 40*gib - int64(min(max(i-30, 0), 6))*3*gib }, OutlookNotGoing, 0, 0},
		{"one pull at the end", 30 * time.Minute, func(i int) int64 { return 40*gib - int64(min(max(i-54, 0), 6))*3*gib }, OutlookNotGoing, 0, 0},
		{"one pull at the end of a short time", 10 * time.Minute, func(i int) int64 { return 40*gib - int64(max(i-12, 0))*3*gib }, OutlookNotGoing, 0, 0},
		{"one pull and noise", 30 * time.Minute, func(i int) int64 { return 40*gib - int64(min(max(i-30, 0), 6))*3*gib + noise(gib/4) }, OutlookNotGoing, 0, 0},
		{"a pull, and growth of 100 MiB a minute", 30 * time.Minute, func(i int) int64 {
			return 40*gib - int64(min(max(i-30, 0), 6))*3*gib - int64(minutes(i)*float64(100*mib))
		}, OutlookGoing, 35 * time.Minute, 45 * time.Minute}, // 19.07 GiB are left
		{"a sawtooth of 10 minutes", time.Hour, func(i int) int64 { return 40*gib - int64(i%20)*gib }, OutlookNotGoing, 0, 0},
		{"a sawtooth of 4 minutes", time.Hour, func(i int) int64 { return 30*gib - int64(i%8)*gib }, OutlookNotGoing, 0, 0},
		{"a sawtooth that rises", 30 * time.Minute, func(i int) int64 { return 60*gib - int64(i%6)*gib/2 - int64(minutes(i)*float64(gib)) }, OutlookGoing, 12 * time.Minute, 17 * time.Minute},
		{"emptied", time.Hour, func(i int) int64 { return 20*gib + int64(i)*gib/4 }, OutlookNotGoing, 0, 0},
		{"growth, then emptied", 30 * time.Minute, func(i int) int64 { return 40*gib - int64(min(i, 45))*gib/4 + int64(max(i-45, 0))*gib }, OutlookNotGoing, 0, 0},
		{"reached", time.Minute, func(int) int64 { return 15*gib - 1 }, OutlookReached, 0, 0},
		{"at the threshold", time.Hour, func(int) int64 { return 15 * gib }, OutlookNotGoing, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s Series
			for i := range int(test.length/(30*time.Second)) + 1 {
				s.Add(begin.Add(time.Duration(i)*30*time.Second), test.free(i))
			}
			f := s.Below(15 * gib)
			if f.Outlook != test.want || f.In < test.from || f.In > test.to || (f.PerHour > 0) != (f.Outlook == OutlookGoing) {
				t.Errorf("%+v, want %q in %s to %s", f, test.want, test.from, test.to)
			}
		})
	}
}

// TestOnePullNeverThrows: wherever it falls, however long it takes up to 4 minutes, and whatever it leaves free.
func TestOnePullNeverThrows(t *testing.T) {
	for start := 0; start < 60; start += 3 {
		for length := 1; length <= 8; length *= 2 {
			var s Series
			for i := range 90 {
				s.Add(begin.Add(time.Duration(i)*30*time.Second), 80*gib-int64(min(max(i-start, 0), length))*64*gib/int64(length))
				if f := s.Below(15 * gib); f.Outlook == OutlookGoing || f.Outlook == OutlookReached {
					t.Fatalf("a pull of %d samples at %d, seen at %d: %+v", length, start, i, f)
				}
			}
		}
	}
}

// TestSeriesIsBounded: whatever is added how often.
func TestSeriesIsBounded(t *testing.T) {
	var s Series
	for i := range 100_000 {
		s.Add(begin.Add(time.Duration(i)*time.Second), 40*gib-int64(i)*mib)
	}
	if len(s.samples) > 64 || cap(s.samples) > 256 {
		t.Errorf("%d samples in %d", len(s.samples), cap(s.samples))
	}
	if last := s.samples[len(s.samples)-1]; last.free != 40*gib-99_999*mib {
		t.Errorf("the last is %+v", last)
	}
	s.Add(begin, 40*gib) // the clock was set back
	if f := s.Below(0); f.Outlook != OutlookUnknown {
		t.Errorf("after the clock was set: %+v", f)
	}
	if f := (&Series{}).Below(5); f.Outlook != OutlookUnknown {
		t.Errorf("of nothing: %+v", f)
	}
}

// TestSpan: a shorter span keeps the proportions.
func TestSpan(t *testing.T) {
	s := Series{Span: 20 * time.Second}
	for i := range 31 {
		s.Add(begin.Add(time.Duration(i)*time.Second), 40*gib-int64(i)*gib/2)
	}
	if f := s.Below(15 * gib); f.Outlook != OutlookGoing || f.In != 20*time.Second {
		t.Errorf("%+v", f)
	}
}

func BenchmarkForecast(b *testing.B) {
	var s Series
	for i := range 61 {
		s.Add(begin.Add(time.Duration(i)*30*time.Second), 40*gib-int64(i)*mib)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Below(15 * gib)
	}
}

// TestRecorded: what real filesystems said in a minute, a sample a second (the head of each file tells what happened), with a span of 20 s for
// 10 minutes. At the end 94 s are left at 6 MiB a second, and 156 s at 301 inodes.
func TestRecorded(t *testing.T) {
	for _, test := range []struct {
		file string
		want Outlook
		left time.Duration
	}{
		{"ext4-growth.txt", OutlookGoing, 94 * time.Second},
		{"ext4-inodes.txt", OutlookGoing, 157 * time.Second},
		{"xfs-pull.txt", OutlookNotGoing, 0},
		{"ext4-rotation.txt", OutlookNotGoing, 0},
	} {
		t.Run(test.file, func(t *testing.T) {
			f, err := os.Open("testdata/" + test.file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			s := Series{Span: 20 * time.Second}
			for lines := bufio.NewScanner(f); lines.Scan(); {
				if strings.HasPrefix(lines.Text(), "#") {
					continue
				}
				var at, free int64
				if _, err := fmt.Sscan(lines.Text(), &at, &free); err != nil {
					t.Fatal(err)
				}
				s.Add(begin.Add(time.Duration(at)*time.Millisecond), free)
				if got := s.Below(0); test.want == OutlookNotGoing && got.Outlook == OutlookGoing {
					t.Errorf("after %d ms: %+v", at, got)
				}
			}
			if got := s.Below(0); got.Outlook != test.want || (got.In-test.left).Abs() > 5*time.Second {
				t.Errorf("%+v, want %q in %s", got, test.want, test.left)
			}
		})
	}
}
