package web

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/internal/say"
	"github.com/pullwatch/pullwatch/pkg/cause"
)

// level is how something is. It is the name of a class, which gives colour and mark.
type level string

const (
	fine    level = "ok"
	warn    level = "warn"
	bad     level = "bad"
	unknown level = "none"
)

// verdict answers the three questions of somebody who was woken: is it this node, what is it, what is there to do.
type verdict struct {
	Level  level
	Answer string // is it this node?
	Line   string // in one sentence
	Items  []item // what, and what to do
	More   int    // items that are shown further below only
	Notes  []string
}

type item struct{ What, Do, Who string }

// mostItems is how many things to do somebody can take in at once.
const mostItems = 3

// rootFirst is the order in which one condition follows from another: without a runtime nothing is pulled, nor without registries, nor onto a disk that is full.
var rootFirst = []health.Type{health.ContainerRuntimeUnavailable, health.RegistryUnreachable, health.ImageFilesystemPressure, health.ImagePullFailing}

// judge says how the node is. Whether it is to blame is only ever what internal/health says.
func judge(s *State, groups []group) (v verdict) {
	waiting := len(s.Failures.List)
	missing := unreached(s.Registries.List)
	for _, t := range rootFirst {
		for _, c := range s.Conditions.Judged {
			if c.Type == t && c.True {
				v.add(atFault(c))
			}
		}
	}
	if len(v.Items) > 0 {
		v.Level, v.Answer, v.Line = bad, "Yes, it is this node", "This node cannot pull images as it should."
	} else {
		for _, c := range s.Conditions.Coming {
			if c.True {
				i := atFault(c.Verdict)
				i.What += fmt.Sprintf(" This was first seen %s ago, and counts as this node's fault from %s UTC on, if it stays so.",
					say.Age(s.Now.Sub(c.Since)), clock(c.Turns, s.Now))
				v.add(i)
			}
		}
		if len(v.Items) > 0 {
			v.Level, v.Answer, v.Line = warn, "It may be this node", "Something is wrong here that has not lasted yet."
		}
	}
	blamed := len(v.Items) > 0
	for _, g := range groups {
		if blamed {
			break // the conditions have said it, and what is not theirs is below
		}
		v.add(item{fmt.Sprintf("%s: %s (%s).", counted(g.Count, "container waits", "containers wait"), g.Title, g.Cause), g.Do, g.Who})
	}
	if waiting == 0 && !blamed {
		for _, r := range missing {
			v.add(item{What: r.Registry.Registry + " is " + say.Reached(r.Registry) + ".", Do: say.Advice(r.Registry)})
		}
	}
	v.note(s)
	switch {
	case blamed:
	case waiting > 0 || len(missing) > 0:
		v.Level, v.Answer = warn, "No, it is not this node"
		if !judged(s, health.ImagePullFailing) || len(missing) > 0 && !judged(s, health.RegistryUnreachable) {
			v.Answer = "Not known yet whether it is this node"
		}
	case !s.Runtime.Skipped && (!s.Runtime.fresh() || !s.Runtime.Up), !s.Failures.Skipped && !s.Failures.fresh(), s.Runtime.Skipped && s.Failures.Skipped:
		v.Level, v.Answer, v.Line = unknown, "Not known", "What this takes cannot be seen."
	case s.Failures.Skipped:
		v.Level, v.Answer, v.Line = fine, "Nothing is wrong that can be seen", "The runtime answers. Which pods wait is not looked at."
	case s.Runtime.Skipped:
		v.Level, v.Answer, v.Line = fine, "Nothing is wrong that can be seen", "No container waits for an image. The container runtime is not asked."
	default:
		v.Level, v.Answer, v.Line = fine, "Nothing is wrong", "The runtime answers, and no container waits for an image."
	}
	if waiting > 0 {
		v.Line = counted(waiting, "container waits for an image that cannot be pulled.", "containers wait for images that cannot be pulled.")
	} else if !blamed && len(missing) > 0 {
		v.Line = counted(len(missing), "registry is not reached.", "registries are not reached.")
	}
	return v
}

// note tells what else there is to know, and what could not be seen.
func (v *verdict) note(s *State) {
	for _, c := range s.Conditions.OnNode {
		if strings.HasSuffix(c.Type, "Pressure") && c.Status == "True" {
			v.Notes = append(v.Notes, fmt.Sprintf("The kubelet reports %s for %s.", c.Type, say.Age(s.Now.Sub(c.Since))))
		}
	}
	for _, part := range parts(s) {
		if part.Error != "" {
			v.Notes = append(v.Notes, part.Name+": "+part.State)
		}
	}
	if r := s.Runtime; r.Error == "" && !r.At.IsZero() && !r.Up {
		v.Notes = append(v.Notes, "The container runtime does not answer: "+r.Reason)
	}
}

func (v *verdict) add(i item) {
	if len(v.Items) == mostItems {
		v.More++
		return
	}
	v.Items = append(v.Items, i)
}

// atFault is a condition that is True, as a thing to do. Some messages end with what to do, which is then said once.
func atFault(c health.Verdict) item {
	do := health.Advice(c.Type, c.Reason)
	message := c.Message
	if i := strings.LastIndex(message, ": "); i >= 0 && strings.EqualFold(message[i+2:]+".", do) {
		message = message[:i]
	}
	return item{What: fmt.Sprintf("%s (%s: %s)", sentence(message), c.Type, c.Reason), Do: do, Who: say.Who(cause.ScopeNode)}
}

func judged(s *State, t health.Type) bool {
	for _, c := range s.Conditions.Judged {
		if c.Type == t {
			return true
		}
	}
	return false
}

// unreached are the established registries that cannot be pulled from.
func unreached(all []Registry) (missing []*Registry) {
	for i := range all {
		if ok := all[i].reached(); all[i].Established && ok != nil && !*ok {
			missing = append(missing, &all[i])
		}
	}
	return missing
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func sentence(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + strings.TrimSuffix(text[size:], ".") + "."
}

// clock is a time of day in UTC as a log has it, with the date where it is not today's. HTML takes it as a time as it stands.
func clock(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.Format(time.DateOnly) != now.Format(time.DateOnly) {
		return t.Format(time.DateTime)
	}
	return t.Format(time.TimeOnly)
}
