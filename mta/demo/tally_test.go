// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
)

// logOf is an engine that has nothing but a log.
type logOf struct {
	api.Methods
	list []event.Event
}

func (l *logOf) Events(_ context.Context, after uint64, limit int) ([]event.Event, error) {
	list := l.list[min(int(after), len(l.list)):]
	return list[:min(limit, len(list))], nil
}

// story is a log of four recipients: delivered after a deferral and a new lane, bounced,
// suppressed, waiting.
func story() *logOf {
	l := &logOf{}
	add := func(m uint64, k event.Kind, pool, source string) {
		e := event.Event{Sequence: uint64(len(l.list) + 1), Kind: k, Message: m, Stream: "marketing", Segment: "s", Tier: "active", Pool: pool, Source: source, Domain: "a.test"}
		if source != "" {
			e.Provider = "google"
		}
		l.list = append(l.list, e)
	}
	for m := range uint64(4) {
		add(m, event.Accepted, "prime", "")
	}
	add(0, event.Relaned, "standard", "")
	add(0, event.Deferred, "standard", "w1")
	add(0, event.Delivered, "standard", "w1")
	add(0, event.DSN, "", "")
	add(1, event.Bounced, "prime", "c1")
	add(2, event.Suppressed, "prime", "")
	return l
}

func runOf(t *testing.T, l *logOf) *run {
	t.Helper()
	r := &run{tally: newTally(l, nil, func(string) string { return "google" })}
	if err := r.tally.read(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	r.report.Submitted, r.report.Totals = 4, r.tally.totals()
	r.report.Sink.Received, r.report.Sink.Returned, r.report.Feedback.Bounces = 1, 1, r.tally.kinds[event.DSN]
	r.tellLanes()
	return r
}

func TestTally(t *testing.T) {
	t.Parallel()
	r := runOf(t, story())
	if want := (Totals{Accepted: 4, Delivered: 1, Bounced: 1, Suppressed: 1, Deferred: 1}); r.report.Totals != want {
		t.Errorf("got %+v, want %+v", r.report.Totals, want)
	}
	var delivered *LaneTotals
	for i := range r.report.Lanes {
		if r.report.Lanes[i].Delivered > 0 {
			delivered = &r.report.Lanes[i]
		}
	}
	if want := (Lane{"marketing", "s", "active", "standard", "w1", "google"}); delivered == nil || delivered.Lane != want {
		t.Errorf("delivered in %+v, want lane %+v", delivered, want)
	}
	if r.tally.retries != 1 || r.tally.open() != 1 {
		t.Errorf("%d retries, %d open; want 1 and 1", r.tally.retries, r.tally.open())
	}
}

func TestImbalance(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name, want string
		spoil      func(*run, *api.QueueSummary)
	}{
		{"good", "", func(*run, *api.QueueSummary) {}},
		{"lost at submission", "submitted = accepted", func(r *run, _ *api.QueueSummary) { r.report.Submitted = 5 }},
		{"lost in the sum", "accepted = delivered + bounced", func(r *run, _ *api.QueueSummary) { r.report.Bounced = 0 }},
		{"delivered to nobody", "delivered = received by the sink", func(r *run, _ *api.QueueSummary) { r.report.Sink.Received = 0 }},
		{"forgotten in the queue", "deferred = waiting", func(_ *run, q *api.QueueSummary) { q.Waiting = 0 }},
		{"parked", "held = parked", func(_ *run, q *api.QueueSummary) { q.Held = 1 }},
		{"bad signature", "bad signature", func(r *run, _ *api.QueueSummary) { r.report.Sink.Unverified = 1 }},
		{"bounce not understood", "bounces understood", func(r *run, _ *api.QueueSummary) { r.report.Sink.Returned = 2 }},
		{"lanes", "lanes do not sum", func(r *run, _ *api.QueueSummary) { r.report.Lanes = r.report.Lanes[1:] }},
		{"over budget", "used <= allowed", func(r *run, _ *api.QueueSummary) {
			r.report.Budgets = []Budget{{Source: "c1", Provider: "google", Allowed: 1, Used: 2}}
		}},
		{"twice", "concluded twice", func(r *run, _ *api.QueueSummary) { r.tally.kinds["twice"] = 1 }},
	} {
		r, q := runOf(t, story()), &api.QueueSummary{Waiting: 1}
		x.spoil(r, q)
		if got := r.imbalance(q); x.want == "" && got != "" || !strings.Contains(got, x.want) {
			t.Errorf("%s: got %q, want %q", x.name, got, x.want)
		}
	}
}

// TestConcludedTwice: a log that concludes a recipient twice does not balance.
func TestConcludedTwice(t *testing.T) {
	t.Parallel()
	l := story()
	e := l.list[6]
	e.Sequence = uint64(len(l.list) + 1)
	l.list = append(l.list, e)
	if r := runOf(t, l); r.tally.kinds["twice"] != 1 {
		t.Error("a second delivery went unnoticed")
	}
}
