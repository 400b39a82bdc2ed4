package disk

import (
	"math"
	"slices"
	"time"
)

// What a Series keeps and asks for.
const (
	// DefaultSpan is the least time that samples must span before anything is said. It is twice what the pull of a large image takes.
	DefaultSpan = 10 * time.Minute
	// windowSpans is how many spans it looks back: half an hour. What the next half hour brings is told from the last one; a longer time would
	// see a disk that begins to fill too late.
	windowSpans = 3
	// perSpan is how many samples of a span are kept: one in 30 s.
	perSpan = 20
	// fewestSamples are needed too.
	fewestSamples = parts + 1
	// mostAhead is how many times the span a forecast may look ahead. What is further away is not seen coming.
	mostAhead = 48
	// parts is how many pieces the span is cut into. A pull that falls into fewer than half of them is no trend.
	parts = 10
)

// Series is the recent past of one number: the bytes or inodes that are free. The zero Series is empty. It is not safe for concurrent use.
type Series struct {
	// Span is the least time before anything is said; 0 is DefaultSpan. What is kept is in proportion to it.
	Span time.Duration

	samples []sample // oldest first
	slopes  []float64
}

type sample struct {
	at   time.Time
	free int64
}

// Add takes what is free now. Of samples in less than 30 s the last is kept, and after a clock that was set back nothing older.
func (s *Series) Add(at time.Time, free int64) {
	if n := len(s.samples); n > 0 && at.Before(s.samples[n-1].at) {
		s.samples = s.samples[:0] // the clock was set: the past is of no use
	}
	if n := len(s.samples); n > 1 && at.Sub(s.samples[n-2].at) < s.every() {
		s.samples[n-1] = sample{at, free}
		return
	}
	s.samples = append(s.samples, sample{at, free})
	old := 0
	for old < len(s.samples)-1 && at.Sub(s.samples[old].at) > s.window() {
		old++
	}
	s.samples = slices.Delete(s.samples, 0, old)
}

func (s *Series) span() time.Duration {
	if s.Span > 0 {
		return s.Span
	}
	return DefaultSpan
}

func (s *Series) window() time.Duration { return windowSpans * s.span() }
func (s *Series) every() time.Duration  { return s.span() / perSpan }

// Outlook is what a forecast says.
type Outlook string

// The outlooks.
const (
	OutlookUnknown  Outlook = ""          // too little was seen
	OutlookNotGoing Outlook = "not_going" // nothing leads there, or not as far as can be seen
	OutlookGoing    Outlook = "going"
	OutlookReached  Outlook = "reached"
)

// Forecast is when a number will have fallen below a threshold.
type Forecast struct {
	Outlook Outlook
	In      time.Duration // of OutlookGoing: from the last sample
	// PerHour is what is used up in an hour, and Span what it was seen over. Both are 0 where nothing leads there.
	PerHour int64
	Span    time.Duration
}

// Below forecasts when what is free falls below a threshold. What leads there has to do so in three ways: the rates in most of ten parts of the
// time, which one pull does not move whatever its size; the slope through all samples (Theil and Sen); and nothing that made up for half of
// the fall, since a disk that is emptied again and again is not filling up. The slower of the two rates counts.
func (s *Series) Below(threshold int64) Forecast {
	n := len(s.samples)
	if n == 0 {
		return Forecast{}
	}
	last := s.samples[n-1]
	span := last.at.Sub(s.samples[0].at)
	switch {
	case last.free < threshold:
		return Forecast{Outlook: OutlookReached}
	case n < fewestSamples || span < s.span():
		return Forecast{}
	}
	perSecond := max(s.usual(), s.slope()) // below zero where free falls
	if s.emptied() || perSecond >= 0 || -perSecond*span.Seconds() <= 2*s.noise(perSecond) {
		return Forecast{Outlook: OutlookNotGoing}
	}
	ahead := float64(last.free-threshold) / -perSecond
	if ahead > mostAhead*span.Seconds() {
		return Forecast{Outlook: OutlookNotGoing}
	}
	return Forecast{OutlookGoing, time.Duration(ahead * float64(time.Second)).Round(time.Second), int64(-perSecond * 3600), span}
}

// usual is the rate of change, a second, that free falls faster than in at most half of the parts of the time.
func (s *Series) usual() float64 {
	n := len(s.samples)
	rates := make([]float64, parts)
	for i := range rates {
		rates[i] = rate(s.samples[i*(n-1)/parts], s.samples[(i+1)*(n-1)/parts])
	}
	slices.Sort(rates)
	return rates[parts/2]
}

// emptied tells that the largest rise from any sample to a later one is at least half of the largest fall.
func (s *Series) emptied() bool {
	var fall, rise int64
	low, high := s.samples[0].free, s.samples[0].free
	for _, at := range s.samples {
		low, high = min(low, at.free), max(high, at.free)
		fall, rise = max(fall, high-at.free), max(rise, at.free-low)
	}
	return rise >= fall-fall/2
}

// slope is the median of the rates between all pairs of samples, a second.
func (s *Series) slope() float64 {
	s.slopes = s.slopes[:0]
	for i, a := range s.samples {
		for _, b := range s.samples[i+1:] {
			s.slopes = append(s.slopes, rate(a, b))
		}
	}
	return median(s.slopes)
}

// noise is how far samples lie from a line of this slope: the median of the distances from the median.
func (s *Series) noise(perSecond float64) float64 {
	off := make([]float64, len(s.samples))
	for i, at := range s.samples {
		off[i] = float64(at.free) - perSecond*at.at.Sub(s.samples[0].at).Seconds()
	}
	middle := median(off)
	for i := range off {
		off[i] = math.Abs(off[i] - middle)
	}
	return median(off)
}

func rate(a, b sample) float64 {
	seconds := b.at.Sub(a.at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return float64(b.free-a.free) / seconds
}

// median sorts what it is given.
func median(all []float64) float64 {
	slices.Sort(all)
	n := len(all)
	if n%2 == 1 {
		return all[n/2]
	}
	return (all[n/2-1] + all[n/2]) / 2
}
