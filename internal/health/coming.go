package health

import (
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/pkg/cause"
)

// Coming is a status that a condition is about to take: what is judged differs from it, and has not held for long enough.
type Coming struct {
	Verdict           // as it would be said; Since is when it was first judged so
	Turns   time.Time // when it is said, if nothing changes
}

// Coming lists what is about to change, in the order of Types.
func (s State) Coming() (coming []Coming) {
	for _, t := range Types {
		c := s.conditions[t]
		if !c.pending {
			continue
		}
		verdict := Verdict{Type: t, True: c.next.bad, Reason: c.next.reason, Message: c.next.message, Since: c.from}
		coming = append(coming, Coming{verdict, c.from.Add(holds[t].of(c.next.bad))})
	}
	return coming
}

// Advice is the one thing to do about a condition that is True for this reason. It is empty where the reason is not known here.
func Advice(t Type, reason string) string {
	switch t {
	case ContainerRuntimeUnavailable:
		return cause.RuntimeUnavailable.Advice()
	case ImagePullFailing:
		for _, c := range cause.All() {
			if camel(c.String()) == reason {
				return c.Advice()
			}
		}
	case ImageFilesystemPressure:
		switch reason {
		case "ImageGCFails", "ImageGCWillFail":
			return "Remove what fills the disk beside images, or make it larger: pullwatch df shows how far it is."
		case "EvictionThresholdPassed", "EvictionNear":
			return "Free space there, or see what fills it: pullwatch df shows how far it is."
		}
	case RegistryUnreachable:
		for _, fault := range faults {
			if fault.reason == reason {
				return strings.ToUpper(fault.do[:1]) + fault.do[1:] + "."
			}
		}
	}
	return ""
}
