// Package history keeps what happened on this node last.
//
// It promises: it is bounded in entries and bytes; of what it keeps, failures stay the longest; and what tenants can make happen displaces
// nothing that they cannot.
package history

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Of is what an entry is about.
type Of string

// What entries are about.
const (
	OfCondition Of = "condition"
	OfRuntime   Of = "runtime"
	OfRegistry  Of = "registry"
	OfPull      Of = "pull"
)

// Entry is something that happened, or the same thing again and again.
type Entry struct {
	First, Last time.Time
	Count       int // so often between the two
	Of          Of
	Subject     string // what it happened to
	Failed      bool   // it is not fine
	Text        string // what happened, in a sentence
}

// Bounds of each of the two rings.
const (
	mostEntries = 30
	mostFailing = 20 // of them, so that what became of a failure is kept too
	mostBytes   = 8 << 10
	longest     = 300 // bytes of a subject or a text
)

// Ring keeps entries. The zero Ring is empty and ready; it is safe for concurrent use.
type Ring struct {
	mu sync.Mutex
	// What pods name is a ring of its own: a tenant who starts failing pods all night pushes out no registry and no condition.
	ours, tenants ring
}

// Add takes what happened at a time. tenant is set for what the authors of pods can make happen. What happens to a subject again just as it did
// last is counted.
func (r *Ring) Add(e Entry, at time.Time, tenant bool) {
	e.First, e.Last, e.Count = at, at, 1
	e.Subject, e.Text = bounded(e.Subject), bounded(e.Text)
	r.mu.Lock()
	defer r.mu.Unlock()
	if tenant {
		r.tenants.add(e)
	} else {
		r.ours.add(e)
	}
}

// Entries is what is kept, the latest first.
func (r *Ring) Entries() []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Concat(r.ours.entries, r.tenants.entries)
	slices.SortStableFunc(all, func(a, b Entry) int { return b.Last.Compare(a.Last) })
	return all
}

// ring has its entries in the order of their last time.
type ring struct {
	entries        []Entry
	bytes, failing int
}

func (r *ring) add(e Entry) {
	for i := len(r.entries) - 1; i >= 0; i-- {
		old := r.entries[i]
		if old.Of != e.Of || old.Subject != e.Subject {
			continue
		}
		if old.Text == e.Text && old.Failed == e.Failed {
			e.First, e.Count = old.First, old.Count+1
			r.remove(i)
		}
		break // before that it was something else
	}
	r.entries = append(r.entries, e)
	r.bytes += e.size()
	if e.Failed {
		r.failing++
	}
	for len(r.entries) > mostEntries || r.bytes > mostBytes {
		r.remove(r.least())
	}
}

// least is the entry to do without: the oldest that did not fail, unless failures have more than their share.
func (r *ring) least() int {
	failed := r.failing > mostFailing || r.failing == len(r.entries)
	return max(0, slices.IndexFunc(r.entries, func(e Entry) bool { return e.Failed == failed }))
}

func (r *ring) remove(i int) {
	r.bytes -= r.entries[i].size()
	if r.entries[i].Failed {
		r.failing--
	}
	r.entries = slices.Delete(r.entries, i, i+1)
}

func (e *Entry) size() int { return len(e.Subject) + len(e.Text) }

// bounded cuts a text in its middle, and lets go of the longer one that it is a part of.
func bounded(text string) string {
	if len(text) <= longest {
		return strings.Clone(text)
	}
	return strings.ToValidUTF8(text[:longest/2], "") + "…" + strings.ToValidUTF8(text[len(text)-longest/2:], "")
}
