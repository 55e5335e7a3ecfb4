// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/bounce"
	"github.com/seguemta/segue/reputation/throttle"
)

// answers says what a provider answered to each recipient of one transaction from a1.
func (l *lab) answers(message uint64, list ...event.Event) {
	l.t.Helper()
	s := saying{pause: time.Minute}
	for i, e := range list {
		e.Message, e.Recipient, e.Source, e.Provider, e.Site, e.Stream = message, uint32(i), "a1", "yahoo", "site", "marketing"
		s.events = append(s.events, e)
	}
	l.say(&s)
}

func busyNow() event.Event {
	return event.Event{Kind: event.Deferred, Code: 421, Reply: "busy now", Verdict: string(bounce.Reputation)}
}

// did takes what is in the log and says what was done so far.
func (l *lab) did() string {
	l.t.Helper()
	for l.turn() {
	}
	var acts []string
	for _, a := range l.acts[pair{"a1", "yahoo"}] {
		acts = append(acts, string(a.Kind))
	}
	return strings.Join(acts, " ")
}

// One reply for all recipients of a transaction is one match, another reply is another, and what
// a program of ours says is none.
func TestAutomationCountsATransactionOnce(t *testing.T) {
	l := newLab(t, vfs.NewMem())
	l.answers(1, busyNow(), busyNow(), busyNow(), event.Event{Kind: event.Delivered}, busyNow())
	l.answers(2, event.Event{Kind: event.Deferred, Reply: "busy: no connection"})
	if got := l.did(); got != "" {
		t.Errorf("one transaction: %q", got)
	}
	l.answers(1, busyNow())
	if got := l.did(); got != "slow" {
		t.Errorf("its second attempt: %q", got)
	}
}

// Acts are about no recipient and quote replies: nobody's address stays in them, and replies that
// differ in nothing else are one.
func TestAutomationQuotesNobody(t *testing.T) {
	l := newLab(t, vfs.NewMem())
	to := func(address, said string) event.Event {
		e := busyNow()
		e.Address, e.Reply = address, "busy now, <"+said+"> waits, "+said
		return e
	}
	l.answers(1, to("ann@x.example", "Ann@X.example"), to("bob@x.example", "bob@x.example"))
	if got := l.did(); got != "" {
		t.Errorf("one transaction: %q", got)
	}
	l.answers(2, to("äöü@x.example", "äöü@x.example"))
	if got := l.did(); got != "slow" {
		t.Fatalf("another: %q", got)
	}
	if a := l.acts[pair{"a1", "yahoo"}][0]; a.Reply != "421 busy now, <...> waits, ..." {
		t.Errorf("it quotes %q", a.Reply)
	}
}

// With a suspension go the figures that the source begins with after it: the queue ends it by
// itself, and nothing may leave at the normal rate before the next act.
func TestAutomationSaysWhatComesAfter(t *testing.T) {
	l := newLab(t, vfs.NewMem())
	for i := range uint64(4) {
		l.answers(i, busyNow())
	}
	if got := l.did(); got != "slow suspend" {
		t.Fatalf("%q", got)
	}
	until := l.clock().Add(time.Hour)
	want := schedule.Limit{Source: "a1", Provider: "yahoo", Suspended: true, Until: until, Rate: 1. / 60, Connections: 1}
	if got := l.limits[pair{"a1", "yahoo"}]; got != want {
		t.Errorf("the queue was told %+v, want %+v", got, want)
	}
	l.now.Store(until.UnixMilli())
	want.Suspended, want.Until = false, time.Time{}
	if got := l.did(); got != "slow suspend resume" || l.limits[pair{"a1", "yahoo"}] != want {
		t.Errorf("%q, %+v", got, l.limits)
	}
}

// A complaint is that of the source and provider that delivered, each report counts once, and
// only where the provider reports them.
func TestAutomationCountsComplaints(t *testing.T) {
	l := newLab(t, vfs.NewMem())
	for i := range uint64(20) {
		l.answers(i+1, event.Event{Kind: event.Delivered})
	}
	complain := func(n ...uint64) {
		for _, message := range n {
			l.say(&saying{pause: time.Minute, events: []event.Event{{Kind: event.Complained, Message: message}}})
		}
	}
	complain(1, 1, 1, 1, 1, 1, 2, 2, 2, 99)
	if got := l.did(); got != "" {
		t.Errorf("two complaints, some of them often: %q", got)
	}
	complain(3, 4, 5, 6)
	if got := l.did(); got != "suspend" {
		t.Errorf("six complaints of 20: %q", got)
	}
}

// What was said before anybody watched is no reason to act; what came while the engine was down
// is.
func TestAutomationBeginsAtTheEnd(t *testing.T) {
	l := newLab(t, vfs.NewMem())
	err := l.store.Commit(t.Context(), func(tx *store.Tx) error { tx.PutCursor(throttleCursor, event.Cursor{}); return nil })
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(4) {
		l.answers(i, busyNow())
	}
	l.start(eventPage)
	if got := l.did(); got != "" {
		t.Errorf("the first start: %q", got)
	}
	for i := range uint64(4) {
		l.answers(i, busyNow())
	}
	l.start(eventPage)
	if got := l.did(); got != "slow suspend" {
		t.Errorf("another one: %q", got)
	}
}

// An order comes after everything that happened before it, and one that changes nothing
// forgets nothing.
func TestAutomationOrdersComeAfter(t *testing.T) {
	l := newLab(t, vfs.NewMem())
	m := methods{&Engine{c: l.c, throttles: l.throttles, log: slog.New(slog.DiscardHandler)}}
	l.answers(1, busyNow())
	if _, err := m.CancelLimits(t.Context(), api.LimitCancel{Provider: "yahoo"}); err == nil {
		t.Error("there was nothing to cancel")
	}
	l.answers(2, busyNow()) // the second, which it takes to act
	x, err := m.CancelLimits(t.Context(), api.LimitCancel{Provider: "yahoo", Source: "a1", By: "ann"})
	if err != nil || len(x.Acts) != 1 || x.Acts[0].Act != string(throttle.Cancelled) {
		t.Errorf("%+v, %v", x, err)
	}
	if got := l.did(); got != "slow cancelled" || len(l.limits) != 0 {
		t.Errorf("%q, the queue was told %v", got, fmt.Sprint(l.limits))
	}
}

// What could not be stored did not happen: it is read again and done again.
func TestAutomationBeginsAgainAfterAFailure(t *testing.T) {
	l := newLab(t, vfs.NewMem())
	l.answers(1, busyNow())
	if got := l.did(); got != "" {
		t.Fatal(got)
	}
	l.answers(2, busyNow())
	l.states[pair{"a1", "yahoo"}].Pinned = &throttle.Pin{Rate: math.Inf(1)} // no JSON has it
	if _, _, err := l.step(t.Context()); err == nil {
		t.Fatal("it was stored")
	}
	if got := l.did(); got != "slow" || l.limits[pair{"a1", "yahoo"}].Rate != 1./60 {
		t.Errorf("%q, %+v", got, l.limits)
	}
}
