package web

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/internal/say"
	"github.com/pullwatch/pullwatch/pkg/cause"
)

// group is the failures of one cause, as the prompt tells them.
type group struct {
	Cause                   cause.Cause
	Scope                   cause.Scope
	Title, Who, Do, Runbook string
	Count, More             int // in all, and of them not shown
	Rows                    []row
}

type row struct {
	*pulls.Failure
	What, Held, Tried, Next string
	Secrets                 []string
}

// urgency orders causes by how many others they may hit: a typo of one pod stands last, however many make one.
var urgency = []cause.Scope{cause.ScopeNode, cause.ScopeNetwork, cause.ScopeRegistry, cause.ScopeCredentials, cause.ScopeUnknown, cause.ScopeWorkload}

func groupsOf(s *State) (groups []group, unlisted int) {
	for i := range s.Failures.List {
		f := &s.Failures.List[i]
		at := slices.IndexFunc(groups, func(g group) bool { return g.Cause == f.Cause && g.Scope == f.Scope })
		if at < 0 {
			at = len(groups)
			groups = append(groups, group{
				Cause: f.Cause, Scope: f.Scope, Title: f.Cause.Title(), Who: say.Who(f.Scope), Do: f.Cause.Advice(), Runbook: f.Cause.Runbook(),
			})
		}
		g := &groups[at]
		g.Count++
		r := row{Failure: f, What: say.Container(f), Held: say.Since(f, s.Now), Tried: say.Tries(f), Next: say.NextTry(f, s.Now)}
		for _, o := range s.Failures.Logins[i] {
			r.Secrets = append(r.Secrets, say.Login(&o, f.Registry, s.Now))
		}
		g.Rows = append(g.Rows, r)
	}
	slices.SortFunc(groups, func(a, b group) int {
		return cmp.Or(cmp.Compare(slices.Index(urgency, a.Scope), slices.Index(urgency, b.Scope)), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Cause, b.Cause))
	})
	room := mostRows
	for i := range groups {
		g := &groups[i]
		g.Rows = g.Rows[:min(len(g.Rows), mostOfCause, room)]
		room -= len(g.Rows)
		g.More = g.Count - len(g.Rows)
		unlisted += g.More
	}
	return groups, unlisted
}

// host is a registry with the ladder of each of its endpoints.
type host struct {
	*Registry
	Name      string
	Level     level
	Reached   string // in the prompt's words
	Rest      string // when, and what else is known
	Endpoints []endpoint
	Do        string
	Open      bool // somebody should look
}

type endpoint struct {
	URL      string
	Same     bool // as the one before, in every respect
	Serves   bool
	Ladder   []phase
	Error    string // of one that shows no phases
	Warnings []string
}

func hostOf(r *Registry, now time.Time) host {
	h := host{Registry: r, Name: r.Registry.Registry, Level: unknown, Reached: say.Reached(r.Registry), Rest: "asked " + say.Age(now.Sub(r.At)) + " ago"}
	switch ok := r.reached(); {
	case ok == nil:
	case *ok:
		h.Level = fine
	default:
		h.Level = bad
	}
	if r.OK != nil && !*r.OK {
		h.Do = say.Advice(r.Registry)
		switch {
		case r.Pulled:
			h.Rest += ", but an image was pulled from it " + say.Age(now.Sub(r.LastPull)) + " ago"
		case !r.LastSuccess.IsZero():
			h.Rest += ", reached last " + say.Age(now.Sub(r.LastSuccess)) + " ago"
		default:
			h.Rest += ", not reached since the agent runs"
		}
	}
	if !r.Established {
		h.Rest += ", named by pods only"
	}
	warned := len(r.Warnings)+len(r.Findings) > 0
	for i, e := range r.Registry.Endpoints {
		of := endpoint{URL: e.URL, Same: i > 0 && say.Again(e, r.Registry.Endpoints[i-1]), Serves: e.URL == r.Serving && e.OK != nil && *e.OK}
		if !of.Same {
			of.Ladder, of.Warnings = laddersOf(e), e.Warnings
			if len(of.Ladder) == 0 && e.OK != nil && !*e.OK {
				of.Error = fmt.Sprintf("%s (%s)", e.Cause.Title(), e.Cause)
			}
		}
		warned = warned || len(e.Warnings) > 0
		h.Endpoints = append(h.Endpoints, of)
	}
	if h.Level == fine && warned {
		h.Level = warn
	}
	h.Open = h.Level == bad || h.Level == warn
	return h
}

// condition is a line of the node's conditions.
type condition struct {
	Type, Status, Reason, Message string
	Since                         time.Time
	Ours                          bool
	Level                         level
	Coming                        string // what is about to become of it
}

// conditionsOf lists ours first, as they are judged now: what stands on the node has their text with the heartbeat only.
func conditionsOf(s *State) (all []condition) {
	ours := make(map[string]bool)
	for _, v := range s.Conditions.Judged {
		c := condition{Type: string(v.Type), Status: "False", Reason: v.Reason, Message: v.Message, Since: v.Since, Ours: true, Level: fine}
		if v.True {
			c.Status, c.Level = "True", bad
		}
		all = append(all, c)
		ours[c.Type] = true
	}
	for _, t := range health.Types {
		c := condition{Type: string(t), Status: "not known", Message: "not everything that it takes was seen", Ours: true, Level: unknown}
		if slices.Contains(s.Conditions.Unjudged, t) {
			c.Status, c.Message = "not checked", "the agent was told to do without what it takes"
		}
		if !ours[c.Type] && (len(s.Conditions.Judged) > 0 || len(s.Conditions.Coming) > 0) {
			all = append(all, c)
			ours[c.Type] = true
		}
	}
	for i := range all {
		for _, next := range s.Conditions.Coming {
			if string(next.Type) == all[i].Type {
				all[i].Coming = fmt.Sprintf("%s at %s UTC, if it stays so: %s", status(next.True), clock(next.Turns, s.Now), next.Message)
				if next.True {
					all[i].Level = warn
				}
			}
		}
	}
	for _, c := range s.Conditions.OnNode[:min(len(s.Conditions.OnNode), mostConditions)] {
		if !ours[c.Type] {
			all = append(all, condition{Type: c.Type, Status: c.Status, Reason: c.Reason, Message: c.Message, Since: c.Since, Level: kubelets(c.Type, c.Status)})
		}
	}
	return all
}

// kubelets is how a condition of the kubelet is. What others write they may mean either way.
func kubelets(name, status string) level {
	abnormal := strings.HasSuffix(name, "Pressure") || name == "NetworkUnavailable"
	switch {
	case abnormal && status == "False", name == "Ready" && status == "True":
		return fine
	case abnormal && status == "True", name == "Ready":
		return bad
	}
	return unknown
}

func status(is bool) string {
	if is {
		return "True"
	}
	return "False"
}

// bar is a filesystem.
type bar struct {
	*Filesystem
	Level level
	Used  string // percent, as an attribute
	Text  string // what the bar shows
	Keeps string
	Lines []line
}

// line is a threshold's place in the bar.
type line struct{ At, Text string }

func barsOf(d *Disk) (bars []bar) {
	if d == nil {
		return nil
	}
	for i := range d.Filesystems {
		f := &d.Filesystems[i]
		b := bar{
			Filesystem: f, Level: fine, Used: percent(f.UsedPercent), Keeps: strings.Join(f.Roles, ", "),
			Text: fmt.Sprintf("%s used, %s of %s free", percent(f.UsedPercent), say.Size(f.AvailableBytes), say.Size(f.SizeBytes)),
		}
		if f.InodesPercent > 0 {
			b.Text += ", " + percent(f.InodesPercent) + " of the inodes used"
		}
		for _, t := range f.Thresholds {
			text := fmt.Sprintf("%s at %s used (%s)", t.What, percent(t.UsedPercent), t.Source)
			if f.UsedPercent >= t.UsedPercent {
				b.Level = bad
				text += ": reached"
			}
			b.Lines = append(b.Lines, line{percent(t.UsedPercent), text})
		}
		bars = append(bars, b)
	}
	return bars
}

func percent(p float64) string { return fmt.Sprintf("%.0f%%", min(max(p, 0), 100)) }
