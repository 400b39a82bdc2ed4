package history

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var begin = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

func at(n int) time.Time { return begin.Add(time.Duration(n) * time.Second) }

func texts(r *Ring) string {
	var all []string
	for _, e := range r.Entries() {
		all = append(all, fmt.Sprintf("%s %s x%d", e.Subject, e.Text, e.Count))
	}
	return strings.Join(all, "; ")
}

// TestAgain: the same again is one entry with a count, and comes anew after something else.
func TestAgain(t *testing.T) {
	var r Ring
	for i, text := range []string{"up", "up", "down", "up", "up", "up"} {
		r.Add(Entry{Of: OfRegistry, Subject: "a", Text: text, Failed: text == "down"}, at(2*i), false)
		r.Add(Entry{Of: OfRegistry, Subject: "b", Text: "up"}, at(2*i+1), false)
	}
	if got, want := texts(&r), "b up x6; a up x3; a down x1; a up x2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if e := r.Entries()[1]; !e.First.Equal(at(6)) || !e.Last.Equal(at(10)) {
		t.Errorf("from %s to %s, want from %s to %s", e.First, e.Last, at(6), at(10))
	}
}

// TestFailuresStay: a failure outlives any number of later results that are fine, and failures leave room for what became of them.
func TestFailuresStay(t *testing.T) {
	var r Ring
	r.Add(Entry{Subject: "old", Text: "down", Failed: true}, at(0), false)
	for i := range 1000 {
		r.Add(Entry{Subject: fmt.Sprint(i), Text: "up"}, at(1+i), false)
	}
	if got := texts(&r); !strings.Contains(got, "old down") {
		t.Errorf("the failure is gone: %s", got)
	}
	for i := range 1000 {
		r.Add(Entry{Subject: fmt.Sprint(i), Text: "down", Failed: true}, at(2000+i), false)
	}
	entries, fine := r.Entries(), 0
	for _, e := range entries {
		if !e.Failed {
			fine++
		}
	}
	if len(entries) != mostEntries || fine != mostEntries-mostFailing {
		t.Errorf("%d entries, %d of them fine; want %d and %d", len(entries), fine, mostEntries, mostEntries-mostFailing)
	}
}

// TestTenants: what tenants make happen displaces nothing else, and takes no more than its bytes.
func TestTenants(t *testing.T) {
	var r Ring
	r.Add(Entry{Of: OfRegistry, Subject: "ours", Text: "up"}, at(0), false)
	for i := range 5000 {
		r.Add(Entry{Of: OfPull, Subject: fmt.Sprint(i) + strings.Repeat("x", 2000), Text: strings.Repeat("ä", 2000), Failed: i%2 == 0}, at(1+i), true)
	}
	bytes, kept := 0, false
	for _, e := range r.Entries() {
		bytes += len(e.Subject) + len(e.Text)
		kept = kept || e.Subject == "ours"
	}
	if !kept || bytes > mostBytes+100 {
		t.Errorf("ours is kept: %t; %d bytes", kept, bytes)
	}
}
