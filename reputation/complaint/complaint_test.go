// SPDX-License-Identifier: Apache-2.0

package complaint

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seguemta/segue/mta/event"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func complained() *event.Event {
	return &event.Event{
		Sequence: 42, Time: noon, Kind: event.Complained, Message: 7, Recipient: 1, Address: "ann@dest.example", Contact: 12, Stream: "marketing",
		Segment: "trial", SegmentVersion: 3, Tier: "active", Campaign: "spring", Batch: "fair", Source: "a1", Provider: "google", Reason: "abuse",
	}
}

// TestCase: a complaint says whom it is about and who answers for it; it is overdue after a
// day, and closed once, with a note.
func TestCase(t *testing.T) {
	c := Open(complained(), "deliverability")
	want := Case{
		ID: 42, Class: "abuse", Status: Opened, Owner: "deliverability", Opened: noon, Due: noon.Add(24 * time.Hour), Message: 7, Recipient: 1,
		Address: "ann@dest.example", Contact: 12, Stream: "marketing", Segment: "trial", SegmentVersion: 3, Tier: "active", Campaign: "spring",
		Batch: "fair", Source: "a1", Provider: "google",
	}
	if c != want {
		t.Errorf("case %+v\nwant %+v", c, want)
	}
	e := c.Event(event.CaseOpened, "case 42")
	back := complained()
	back.Sequence, back.Time, back.Kind, back.Reason, back.Class = 0, time.Time{}, event.CaseOpened, "case 42", "abuse"
	if fmt.Sprint(e) != fmt.Sprint(*back) {
		t.Errorf("event %+v\nwant %+v", e, *back)
	}
	if c.Overdue(c.Due) || !c.Overdue(c.Due.Add(1)) {
		t.Error("a case is overdue when its day is over")
	}
	if err := c.Close(" \n", noon); !errors.Is(err, ErrNote) {
		t.Errorf("closed without a note: %v", err)
	}
	if err := c.Close(strings.Repeat("x", maxNote+1), noon); !errors.Is(err, ErrNote) || c.Status != Opened {
		t.Errorf("closed with a book: %v", err)
	}
	if err := c.Close(" taken off the list ", noon.Add(time.Hour)); err != nil || c.Status != Closed || c.Note != "taken off the list" || c.Overdue(noon.Add(100*time.Hour)) {
		t.Errorf("closed: %+v, %v", c, err)
	}
	if err := c.Close("again", noon); !errors.Is(err, ErrClosed) || c.Note != "taken off the list" {
		t.Errorf("closed twice: %v, note %q", err, c.Note)
	}
	text, err := json.Marshal(c)
	var read Case
	if err != nil || json.Unmarshal(text, &read) != nil || read != c {
		t.Errorf("a case came back as %+v", read)
	}
}

// halves is an interval that is easy to see.
func halves(hits, of uint64) (low, high float64) {
	share := float64(hits) / float64(of)
	return share / 2, share * 2
}

// TestReport: complaints are set against what was delivered where complaints are reported;
// elsewhere they are unknown, not none.
func TestReport(t *testing.T) {
	day := func(n, complaints int, segment, provider string) Tally {
		tally := Tally{}
		for range n {
			tally.Add(&event.Event{Kind: event.Delivered, Segment: segment, Provider: provider})
		}
		for range complaints {
			tally.Add(&event.Event{Kind: event.Complained, Segment: segment, Provider: provider})
		}
		if tally.Add(&event.Event{Kind: event.Bounced, Segment: segment}) {
			t.Error("a bounce counts")
		}
		return tally
	}
	days := []Tally{
		day(100, 1, "trial", "yahoo"), day(100, 1, "trial", "yahoo"), day(1000, 0, "trial", "google"),
		day(50, 0, "customers", "yahoo"), day(10, 0, "press", "google"), day(20, 0, "press", "mailru"), day(3, 4, "old", "yahoo"), day(7, 0, "", "google"),
	}
	var got []string
	for _, l := range Report(days, func(p string) bool { return p == "mailru" }, halves) {
		got = append(got, fmt.Sprintf("%s %d/%d %d %v %.3f %.4f-%.4f", l.Segment, l.Complaints, l.Delivered, l.Elsewhere, l.Known, l.Share, l.Low, l.High))
	}
	want := []string{
		"old 4/3 0 true 1.000 0.5000-2.0000",
		"trial 2/200 1000 true 0.010 0.0050-0.0200",
		" 0/0 7 false 0.000 0.0000-1.0000",
		"customers 0/50 0 true 0.000 0.0000-0.0000",
		"press 0/20 10 true 0.000 0.0000-0.0000",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("report:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestNothingIsLost: however events are spread over days, a report adds up to all of them.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		days := make([]Tally, rapid.IntRange(1, 5).Draw(t, "days"))
		for i := range days {
			days[i] = Tally{}
		}
		delivered, complaints := uint64(0), uint64(0)
		for range rapid.IntRange(0, 200).Draw(t, "events") {
			e := &event.Event{
				Kind: rapid.SampledFrom([]event.Kind{event.Delivered, event.Complained}).Draw(t, "kind"), Segment: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "segment"),
				Provider: rapid.SampledFrom([]string{"", "google", "yahoo"}).Draw(t, "provider"),
			}
			days[rapid.IntRange(0, len(days)-1).Draw(t, "day")].Add(e)
			if e.Kind == event.Delivered {
				delivered++
			} else {
				complaints++
			}
		}
		for _, l := range Report(days, func(string) bool { return false }, halves) {
			delivered -= l.Delivered + l.Elsewhere
			complaints -= l.Complaints
		}
		if delivered != 0 || complaints != 0 {
			t.Fatalf("%d deliveries and %d complaints are in no line", delivered, complaints)
		}
	})
}
