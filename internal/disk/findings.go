package disk

import (
	"strings"
	"unicode"
)

// Code names a kind of finding. It is a metric's label and never changes.
type Code string

// Finding is something worth knowing that is no fault of the moment: information, and no verdict.
type Finding struct {
	Code Code
	Text string // a sentence with the figures
	Do   string // one thing to do
}

// The codes of findings.
const (
	ConfigRefused      Code = "kubelet_config_refused"
	ConfigUnknownField Code = "kubelet_config_unknown_field"
)

// longestText is how much of a text of others is shown, in bytes.
const longestText = 200

// clean is a text of others as a message may hold it: short, and without what a terminal would act on.
func clean(text string) string {
	if len(text) > longestText {
		text = strings.ToValidUTF8(text[:longestText], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
