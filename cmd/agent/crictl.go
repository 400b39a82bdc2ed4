package main

// What ps, pods, inspecti, imagefsinfo and images do as crictl does, so that hands and scripts which know it need nothing new.

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"
)

// listing is what the lists of containers and of pods take alike.
type listing struct {
	output
	id, name, namespace, state string
	labels                     map[string]string
	latest                     bool
	last                       int

	names, namespaces *regexp.Regexp
}

func (l *listing) flags(f *pflag.FlagSet, what string, states []string) {
	l.output.flags(f, "print only "+what+" IDs")
	f.StringVar(&l.id, "id", "", "only the "+what+" with this ID, or the start of it")
	f.StringVar(&l.name, "name", "", "only names that match this regular expression")
	f.StringVar(&l.namespace, "namespace", "", "only pod namespaces that match this regular expression")
	f.StringVarP(&l.state, "state", "s", "", "only this state: "+strings.ToLower(strings.Join(states, ", ")))
	f.StringToStringVar(&l.labels, "label", nil, "only with this label, key=value (repeatable)")
	f.BoolVarP(&l.latest, "latest", "l", false, "only the "+what+" that was created last")
	f.IntVarP(&l.last, "last", "n", 0, "only so many of those created last; 0 is all")
	f.BoolVar(&l.noTrunc, "no-trunc", false, "show whole IDs")
}

func (l *listing) validate(states []string) (err error) {
	if err := l.output.validate(); err != nil {
		return err
	}
	if l.state != "" && !slices.ContainsFunc(states, func(s string) bool { return strings.EqualFold(s, l.state) }) {
		return &usageError{fmt.Sprintf("--state %q: no such state", l.state), "States are " + strings.ToLower(strings.Join(states, ", ")) + "."}
	}
	if l.names, err = expression("name", l.name); err != nil {
		return err
	}
	l.namespaces, err = expression("namespace", l.namespace)
	return err
}

// expression reads the regular expression of a flag. An empty one matches all.
func expression(flag, text string) (*regexp.Regexp, error) {
	e, err := regexp.Compile(text)
	if err != nil {
		return nil, &usageError{fmt.Sprintf("--%s %q: %v", flag, text, err), "Write a regular expression as Go reads them (RE2)."}
	}
	return e, nil
}

// listed is a container or a pod sandbox.
type listed interface {
	GetId() string
	GetLabels() map[string]string
	GetCreatedAt() int64 // nanoseconds since 1970
}

// listedAs is what a list filters by beside ID and labels.
type listedAs struct{ name, namespace, state string }

// keep leaves what was asked for, the newest first.
func keep[T listed](l *listing, all []T, as func(T) listedAs) []T {
	all = slices.DeleteFunc(all, func(one T) bool {
		a := as(one)
		for key, value := range l.labels {
			if have, ok := one.GetLabels()[key]; !ok || have != value {
				return true
			}
		}
		return !strings.HasPrefix(one.GetId(), l.id) || l.state != "" && !strings.EqualFold(a.state, l.state) ||
			!l.names.MatchString(a.name) || !l.namespaces.MatchString(a.namespace)
	})
	slices.SortStableFunc(all, func(a, b T) int { return cmp.Compare(b.GetCreatedAt(), a.GetCreatedAt()) })
	most := l.last
	if l.latest && most == 0 {
		most = 1
	}
	if most > 0 {
		all = all[:min(most, len(all))]
	}
	return all
}

// print writes a list: its message as JSON or YAML, else the IDs alone or the rows of the table.
func (l *listing) print(p *program, message proto.Message, ids []string, rows [][]string) error {
	switch {
	case l.format != "table":
		return l.message(p.stdout, message)
	case l.quiet:
		return lines(p.stdout, ids)
	}
	return table(p.stdout, rows)
}

// shown is an ID as the list shows it.
func (o *output) shown(id string) string {
	if o.noTrunc {
		return id
	}
	return truncated(id)
}

// truncated is an ID as crictl shows it: the first 13 hex digits.
func truncated(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(len(id), 13)]
}

// stateWord is the name of a CRI state as people read it: CONTAINER_RUNNING is Running, SANDBOX_NOTREADY is NotReady. A number that CRI
// does not know is Unknown.
func stateWord(state fmt.Stringer, states []string) string {
	_, word, _ := strings.Cut(state.String(), "_")
	for _, s := range states {
		if strings.EqualFold(s, word) {
			return s
		}
	}
	return "Unknown"
}

// ago is since when something exists, in crictl's words: in one unit, and from days on a larger one only once there are two of it.
func ago(created int64, now time.Time) string {
	const day, week, month, year = 24, 7 * 24, 30 * 24, 365 * 24 // hours
	d := now.Sub(time.Unix(0, created))
	hours := int(d.Round(time.Hour) / time.Hour)
	switch {
	case d < time.Second:
		return "Less than a second ago"
	case d < 2*time.Second:
		return "1 second ago"
	case d < time.Minute:
		return fmt.Sprintf("%d seconds ago", d/time.Second)
	case d < 2*time.Minute:
		return "About a minute ago"
	case d < time.Hour:
		return fmt.Sprintf("%d minutes ago", d/time.Minute)
	case hours == 1:
		return "About an hour ago"
	case hours < 2*day:
		return fmt.Sprintf("%d hours ago", hours)
	case hours < 2*week:
		return fmt.Sprintf("%d days ago", hours/day)
	case hours < 2*month:
		return fmt.Sprintf("%d weeks ago", hours/week)
	case hours < 2*year:
		return fmt.Sprintf("%d months ago", hours/month)
	}
	return fmt.Sprintf("%d years ago", hours/year)
}
