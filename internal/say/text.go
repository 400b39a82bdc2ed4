// Package say puts what was found into the words that people read. The prompt and the page both ask it, so that they cannot disagree.
//
// It promises: no markup, no judgement of its own, and nothing from outside that could move a cursor or reverse the reading order once it
// went through Clean.
package say

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Unsafe tells characters that could move a cursor or reverse the reading order, and those that are no text.
func Unsafe(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar
}

// Clean makes text from outside safe to show: control and format characters, which could move the cursor or reverse the reading order, show
// as their code.
func Clean(text string) string {
	if strings.IndexFunc(text, Unsafe) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || r == '\t':
			b.WriteByte(' ')
		case Unsafe(r):
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Shorten cuts a long text in its middle: the subject is in front and the root at the end.
func Shorten(text string, most int) string {
	text = strings.TrimSpace(text)
	if len(text) <= most {
		return text // no more characters than bytes
	}
	r := []rune(text)
	if len(r) <= most {
		return text
	}
	return string(r[:most/2]) + " … " + string(r[len(r)-most/2:])
}

// Age is a duration as people say it: 42s, 7m, 3h12m, 5d.
func Age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// Size is a number of bytes as crictl writes it: powers of ten, three digits.
func Size(n uint64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%dB", n)
	}
	value, unit := float64(n)/1000, 0
	for value >= 1000 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	return fmt.Sprintf("%.3g%cB", value, units[unit])
}

// Took is the seconds that something took: 1.3ms, 45ms, 5.0s. What took none is empty.
func Took(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d == 0:
		return ""
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", float64(d.Microseconds())/1000)
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}
