// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
)

// doubter doubts every hard bounce at google and counts the events that are durable.
type doubter struct {
	seen     int
	restored string
	err      error
}

func (g *doubter) Restore(note []byte) error {
	g.restored = string(note)
	g.seen, _ = strconv.Atoi(g.restored)
	return nil
}

func (g *doubter) Watch(events []event.Event) (map[uint64]Doubt, []byte, func(), error) {
	doubts := map[uint64]Doubt{}
	for _, e := range events {
		if e.Provider == "google" {
			doubts[e.Sequence] = Doubt{Until: e.Time.Add(time.Hour), Evidence: "google is down"}
		}
	}
	next := g.seen + len(events)
	return doubts, fmt.Appendf(nil, "%d", next), func() { g.seen = next }, g.err
}

// hardBounce is the nth event: somebody's mailbox does not exist, n minutes after noon.
func hardBounce(n uint64, address, provider string) event.Event {
	return event.Event{
		Sequence: n, Time: noon().Add(time.Duration(n) * time.Minute), Kind: event.Bounced, Address: address, Provider: provider,
		Verdict: "suppress", Code: 550, Enhanced: "5.1.1", Reply: "no such user",
	}
}

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func (d *DB) listed(t *testing.T) map[string]Suppression {
	t.Helper()
	list, _, err := d.Suppressions(Query{})
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]Suppression{}
	for _, s := range list {
		m[s.Address+" "+s.Reason] = s
	}
	return m
}

// TestGuard: what the guard doubts ends, its note is that of the last write that is
// durable, and a write that it refuses does nothing.
func TestGuard(t *testing.T) {
	g := &doubter{}
	o := testOptions(t, vfs.NewMem())
	o.Guard = g
	d := open(t, o)
	events := []event.Event{hardBounce(1, "a@g.example", "google"), hardBounce(2, "b@y.example", "yahoo")}
	if err := d.Apply(t.Context(), 1, events); err != nil {
		t.Fatal(err)
	}
	have := d.listed(t)
	a, b := have["a@g.example hard_bounce"], have["b@y.example hard_bounce"]
	if !a.Expires.Equal(events[0].Time.Add(time.Hour)) || a.Evidence != "provisional, google is down; bounced, message 0.0: 550 5.1.1 no such user" {
		t.Errorf("in doubt: %+v", a)
	}
	if !b.Expires.IsZero() || b.Evidence != "bounced, message 0.0: 550 5.1.1 no such user" {
		t.Errorf("not in doubt: %+v", b)
	}
	g.err = errors.New("no")
	if err := d.Apply(t.Context(), 1, []event.Event{hardBounce(3, "c@g.example", "google")}); !errors.Is(err, g.err) || d.Cursor().Sequence != 2 || g.seen != 2 {
		t.Errorf("a write that the guard refuses: %v, at %d, %d seen", err, d.Cursor().Sequence, g.seen)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	again := &doubter{}
	o.Guard = again
	d = open(t, o)
	defer d.Close()
	if again.restored != "2" {
		t.Errorf("restored %q", again.restored)
	}
}

// TestUndo: of a span, only the hard bounces of its provider and time go, and for good; what
// people or operators said stays.
func TestUndo(t *testing.T) {
	o := testOptions(t, vfs.NewMem())
	d := open(t, o)
	events := []event.Event{
		hardBounce(1, "a@g.example", "google"), hardBounce(2, "b@g.example", "google"), hardBounce(3, "d@y.example", "yahoo"),
		hardBounce(4, "e@g.example", "google"), hardBounce(5, "c@g.example", "google"), hardBounce(6, "f@g.example", "google"),
	}
	events[3].Kind = event.Complained
	if err := d.Apply(t.Context(), 1, events); err != nil {
		t.Fatal(err)
	}
	for _, x := range []Suppression{{Reason: ReasonManual}, {Reason: ReasonHardBounce}} { // one that an operator brought
		if _, err := d.Suppress(addr(t, x.Reason+"@g.example"), Suppression{Reason: x.Reason, Created: events[1].Time}); err != nil {
			t.Fatal(err)
		}
	}
	span := Span{Provider: "google", Since: events[1].Time, Until: events[5].Time}
	doubt := Doubt{Until: events[5].Time.Add(24 * time.Hour), Evidence: "google is down"}
	for range 2 { // once more changes nothing
		if _, err := d.Provisional(t.Context(), span, doubt); err != nil {
			t.Fatal(err)
		}
	}
	for who, s := range d.listed(t) {
		doubted := who == "b@g.example hard_bounce" || who == "c@g.example hard_bounce"
		if s.Expires.IsZero() == doubted {
			t.Errorf("provisional: %+v", s)
		}
	}
	if s := d.listed(t)["b@g.example hard_bounce"]; s.Evidence != "provisional, google is down; bounced, message 0.0: 550 5.1.1 no such user" {
		t.Errorf("%s", s.Evidence)
	}
	if n, err := d.Undo(t.Context(), span, "undone", true); n != 2 || err != nil || len(d.listed(t)) != 8 {
		t.Errorf("a dry run: %d, %v", n, err)
	}
	if n, err := d.Undo(t.Context(), span, "undone", false); n != 2 || err != nil || len(d.listed(t)) != 6 {
		t.Errorf("undone: %d, %v, left %+v", n, err, d.listed(t))
	}
	if n, err := d.Undo(t.Context(), Span{Since: span.Since, Until: span.Until}, "undone", false); n != 0 || err != nil {
		t.Errorf("what nobody's server said: %d, %v", n, err)
	}
	for who, suppressed := range map[string]bool{"a@g.example": true, "b@g.example": false, "c@g.example": false, "d@y.example": true, "f@g.example": true} {
		_, s, err := d.Check(0, addr(t, who), Mail{Stream: "marketing", Domain: "example.com"}, events[4].Time)
		if err != nil || (s != nil) != suppressed {
			t.Errorf("%s: %+v, %v", who, s, err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, o)
	defer d.Close()
	if n := len(d.listed(t)); n != 6 {
		t.Errorf("%d after a restart", n)
	}
}

// TestUndoLeavesWhatWasSaidBefore: a hard bounce takes the place of nothing that somebody
// said, or undoing it would let mail out to them.
func TestUndoLeavesWhatWasSaidBefore(t *testing.T) {
	d := mem(t)
	first := hardBounce(1, "", "google").Time
	for i, reason := range []string{ReasonManual, ReasonUnsubscribe, ReasonComplaint, ReasonSoftBounce} {
		if _, err := d.Suppress(addr(t, reason+"@g.example"), Suppression{Reason: reason, Created: first.Add(-time.Hour)}); err != nil {
			t.Fatal(err)
		}
		apply(t, d, []event.Event{hardBounce(uint64(i+1), reason+"@g.example", "google")})
	}
	span := Span{Provider: "google", Since: first, Until: first.Add(time.Hour)}
	if n, err := d.Undo(t.Context(), span, "undone", false); n != 1 || err != nil {
		t.Errorf("%d undone, %v; want that of the one who only kept failing", n, err)
	}
	for _, reason := range []string{ReasonManual, ReasonUnsubscribe, ReasonComplaint} {
		if _, ok := d.listed(t)[reason+"@g.example "+reason]; !ok {
			t.Errorf("%s is gone: %+v", reason, d.listed(t))
		}
	}
}

// TestUndoOfMany: more than one write takes.
func TestUndoOfMany(t *testing.T) {
	d := mem(t)
	var events []event.Event
	for n := range 2*spanStep + 7 {
		events = append(events, hardBounce(uint64(n+1), fmt.Sprintf("a%d@g.example", n), "google"))
	}
	if err := d.Apply(t.Context(), 1, events); err != nil {
		t.Fatal(err)
	}
	span := Span{Provider: "google", Since: noon(), Until: noon().AddDate(1, 0, 0)}
	if n, err := d.Undo(t.Context(), span, "undone", false); n != len(events) || err != nil {
		t.Errorf("%d of %d, %v", n, len(events), err)
	}
}
