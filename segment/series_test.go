// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
	"github.com/seguemta/segue/segment/tier"
)

// doer is a database whose contacts do something.
type doer struct {
	testing.TB
	d *DB
	h *hand
	n int
}

// doing opens a database with segments.
func doing(tb testing.TB, fs vfs.FS, h *hand, segments ...Definition) *doer {
	tb.Helper()
	o := liveOptions(tb, fs, h)
	o.Segments, o.Engaging = segments, []string{"Nothing"}
	return &doer{TB: tb, d: open(tb, o), h: h}
}

// did has a contact do something, some time ago.
func (x *doer) did(who, name string, ago time.Duration) Call {
	x.Helper()
	x.n++
	c := Call{Kind: CallTrack, MessageID: fmt.Sprintf("m%d", x.n), Email: who, Event: name, Time: x.h.now.Add(-ago)}
	x.call(c)
	return c
}

func (x *doer) call(calls ...Call) {
	x.Helper()
	errs, err := x.d.Ingest(context.Background(), calls)
	if err != nil {
		x.Fatal(err)
	}
	for _, err := range errs {
		if err != nil {
			x.Fatal(err)
		}
	}
}

// turn lets time pass, and returns what flowed.
func (x *doer) turn(by time.Duration) []string {
	x.Helper()
	last := x.d.LastFlip()
	x.h.turn(by)
	settle(x.TB, x.d)
	return flow(x.TB, x.d, last)
}

// expect compares what flowed since a flip, as the function of that name.
func (x *doer) expect(behind uint64, want ...string) {
	x.Helper()
	expect(x.TB, x.d, behind, want...)
}

func TestLiveFollowsEvents(t *testing.T) {
	x := doing(t, vfs.NewMem(), &hand{t0()},
		Definition{Name: "eager", Where: `events("Order").within(days(30)).count() >= 3`},
		Definition{Name: "rich", Where: `events("Order").where(property.currency == "EUR").sum("total") > 100`},
		Definition{Name: "read", Where: `events("Email Delivered").count() >= 2`},
		Definition{Name: "both", Where: `segment("eager") && segment("rich")`},
	)
	defer x.d.Close()
	x.did("a@example.com", "Order", 0)
	x.did("a@example.com", "Order", 10*tier.Day)
	last := x.d.LastFlip()
	x.expect(0)
	x.did("a@example.com", "Order", 29*tier.Day)
	x.expect(last, "entered eager a@example.com (tracking)")
	last = x.d.LastFlip()
	order := func(total float64, currency string) Call {
		c := Call{Kind: CallTrack, Email: "a@example.com", Event: "Order", Time: x.h.now, Properties: map[string]any{"total": total, "currency": currency}}
		c.MessageID = fmt.Sprint(total, currency)
		return c
	}
	x.call(order(500, "USD"), order(60, "EUR"))
	x.expect(last)
	x.call(order(41, "EUR"))
	x.expect(last, "entered rich a@example.com (tracking)", "entered both a@example.com (tracking)")
	last = x.d.LastFlip()
	apply(t, x.d, log(
		event.Event{Kind: event.Delivered, Address: "a@example.com", Time: x.h.now},
		event.Event{Kind: event.Delivered, Address: "a@example.com", Time: x.h.now},
	))
	x.expect(last, "entered read a@example.com (delivered)")
	if v := look(t, x.d, "a@example.com"); len(v.Segments) != 4 {
		t.Errorf("admission sees %v", v.Segments)
	}
}

// TestLiveLateEventsChangeNothing holds that an event that comes again, and one
// that is older than the window, make nobody enter or leave.
func TestLiveLateEventsChangeNothing(t *testing.T) {
	x := doing(t, vfs.NewMem(), &hand{t0()},
		Definition{Name: "eager", Where: `events("Order").within(days(30)).count() >= 2`},
		Definition{Name: "quiet", Where: `events("Order").within(days(7)).count() == 0`},
	)
	defer x.d.Close()
	first := x.did("a@example.com", "Order", 8*tier.Day)
	x.expect(0, "entered quiet a@example.com (tracking)")
	last := x.d.LastFlip()
	x.call(first)
	x.did("a@example.com", "Order", 30*tier.Day)
	x.did("a@example.com", "Order", 400*tier.Day)
	importRow(t, x.d, "1.csv", "email,event,time,message_id\na@example.com,Order,"+first.Time.Format(time.RFC3339Nano)+",m1\n")
	x.expect(last)
	x.did("a@example.com", "Order", 30*tier.Day-time.Microsecond)
	x.expect(last, "entered eager a@example.com (tracking)")
	last = x.d.LastFlip()
	if got := x.turn(time.Second); !slices.Equal(got, []string{"left eager a@example.com (time)"}) {
		t.Errorf("flow %v", got)
	}
	x.did("a@example.com", "Order", 0)
	x.expect(last, "left eager a@example.com (time)", "entered eager a@example.com (tracking)", "left quiet a@example.com (tracking)")
}

// TestLiveEventsOfAccounts holds that what was done for an account counts for it
// alone, where a rule speaks of accounts, and always where it does not.
func TestLiveEventsOfAccounts(t *testing.T) {
	x := doing(t, vfs.NewMem(), &hand{t0()},
		Definition{Name: "any", Where: `events("Order").count() >= 2`},
		Definition{Name: "paying", Where: `account.plan == "paid" && events("Order").count() >= 2`},
	)
	defer x.d.Close()
	for _, group := range []string{"acme", "globex"} {
		plan := map[string]string{"acme": "free", "globex": "paid"}[group]
		x.call(Call{Kind: CallGroup, MessageID: group, Email: "a@example.com", GroupID: group, Time: x.h.now, Traits: map[string]any{"name": group, "plan": plan}})
	}
	of := func(message, group string) {
		c := Call{Kind: CallTrack, MessageID: message, Email: "a@example.com", Event: "Order", Time: x.h.now}
		c.Context.GroupID = group
		x.call(c)
	}
	of("m1", "acme")
	of("m2", "acme")
	x.expect(0, "entered any a@example.com (tracking)")
	last := x.d.LastFlip()
	of("m3", "globex")
	x.expect(last)
	of("m4", "")
	x.expect(last, "entered paying a@example.com (tracking)")
}

// TestLiveVisitorsBringTheirEvents holds that what somebody did before the address
// was known counts from then on.
func TestLiveVisitorsBringTheirEvents(t *testing.T) {
	x := doing(t, vfs.NewMem(), &hand{t0()}, Definition{Name: "curious", Where: `events("Visit").count() >= 2`})
	defer x.d.Close()
	for i, who := range []string{"anon1", "anon1", "anon2", "anon2"} {
		x.call(Call{Kind: CallTrack, MessageID: fmt.Sprint("m", i), Anonymous: who, Event: "Visit", Time: x.h.now.Add(time.Duration(i) - time.Hour)})
	}
	x.did("b@example.com", "Visit", 0)
	x.expect(0)
	x.call(Call{Kind: CallIdentify, MessageID: "i1", Anonymous: "anon1", Email: "a@example.com", Time: x.h.now})
	x.call(Call{Kind: CallIdentify, MessageID: "i2", Anonymous: "anon2", Email: "b@example.com", Time: x.h.now})
	x.expect(0, "entered curious a@example.com (tracking)", "entered curious b@example.com (tracking)")
}

// TestLiveEventsOfNoRuleReadNothing holds that an event which no rule asks for
// costs no read of the contact's series, nor does one that a filter keeps out.
func TestLiveEventsOfNoRuleReadNothing(t *testing.T) {
	x := doing(t, vfs.NewMem(), &hand{t0()}, Definition{Name: "rich", Where: `events("Order").where(property.total > 100).count() > 0`})
	defer x.d.Close()
	x.did("a@example.com", "Order", 0)
	b := x.d.store.Batch()
	b.Series(1, []store.Series{{Key: x.d.live.current.keys()[0], Data: []byte{99}}}) // whoever reads it now fails
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	x.d.mem.trace(1)
	x.did("a@example.com", "Order", 0)
	x.did("a@example.com", "Visit", 0)
	c := Call{Kind: CallTrack, MessageID: "last", Email: "a@example.com", Event: "Order", Time: x.h.now, Properties: map[string]any{"total": 101.0}}
	if _, err := x.d.Ingest(context.Background(), []Call{c}); err == nil {
		t.Error("an event that a rule asks for did not read the series: the test proves nothing")
	}
}

// TestLiveFirstEventsReadNothing holds that memory knows of whom the store has no
// series: of who is new, of whom the pass found none, and, after a restart, of whom
// the verifier found none; and of nobody who has some.
func TestLiveFirstEventsReadNothing(t *testing.T) {
	fs, rich := vfs.NewMem(), Definition{Name: "rich", Where: `events("Order").count() > 1`}
	x := doing(t, fs, &hand{t0()}, rich)
	reopen := func(segments ...Definition) {
		t.Helper()
		if err := x.d.Close(); err != nil {
			t.Fatal(err)
		}
		x = doing(t, fs, x.h, segments...)
	}
	expect := func(when, want string) {
		t.Helper()
		got := ""
		for id := uint64(1); id <= 4; id++ {
			got += map[bool]string{true: "-", false: "s"}[x.d.mem.traceless(id)]
		}
		if got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	importRow(t, x.d, "1.csv", "email\na@example.com\nb@example.com\n")
	x.did("c@example.com", "Visit", 0)
	x.did("d@example.com", "Order", 0)
	expect("new", "---s")
	x.did("a@example.com", "Order", 0)
	expect("after the first order", "s--s")
	reopen(rich)
	expect("after a restart", "ssss")
	for range 2 {
		x.turn(24 * time.Hour)
	}
	expect("after the verifier", "s--s")
	reopen(rich, Definition{Name: "seen", Where: `events("Visit").count() > 0`})
	expect("after a pass", "s-ss")
	last := x.d.LastFlip()
	x.n = 10
	x.did("a@example.com", "Order", 0)
	x.did("b@example.com", "Order", 0)
	x.did("b@example.com", "Order", 0)
	x.expect(last, "entered rich a@example.com (tracking)", "entered rich b@example.com (tracking)")
	expect("in the end", "ssss")
	if err := x.d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLiveHeldOpensDoNotCount holds that an open counts once it is judged, whether
// the segment is there before it or is built between.
func TestLiveHeldOpensDoNotCount(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	human := Definition{Name: "human", Where: `events("Email Opened").where(property.machine == false).count() > 0`}
	opened := Definition{Name: "opened", Where: `events("Email Opened").count() > 0`}
	x := doing(t, fs, h, human)
	x.did("a@example.com", "Visit", 0)
	x.did("a@example.com", "Email Opened", time.Hour)
	x.expect(0)
	if err := x.d.Close(); err != nil {
		t.Fatal(err)
	}
	x = doing(t, fs, h, human, opened)
	defer x.d.Close()
	x.expect(0)
	x.h.turn(3 * time.Hour)
	last := x.d.LastFlip()
	settle(t, x.d)
	got := members(t, x.d)
	if len(got) == 0 || len(flow(t, x.d, last)) != len(got) || !slices.Contains(got, "member of opened a@example.com") {
		t.Errorf("members %v, flow %v", got, flow(t, x.d, last))
	}
	x.expect(x.d.LastFlip())
}

func TestWheelFollowsWindows(t *testing.T) {
	x := doing(t, vfs.NewMem(), &hand{t0()},
		Definition{Name: "eager", Where: `events("Order").within(days(30)).count() >= 3`},
		Definition{Name: "quiet", Where: `events("Order").count() > 0 && events("Order").within(days(60)).count() == 0`},
		Definition{Name: "was", Where: `events("Order").between(days(40), days(35)).count() > 0`},
	)
	defer x.d.Close()
	for _, ago := range []time.Duration{0, 5 * tier.Day, 9 * tier.Day} {
		x.did("a@example.com", "Order", ago)
	}
	x.expect(0, "entered eager a@example.com (tracking)")
	for _, step := range []struct {
		by   time.Duration
		want []string
	}{
		{21*tier.Day - time.Second, nil},
		{time.Second, []string{"left eager a@example.com (time)"}}, // the oldest is 30 days old
		{5*tier.Day - time.Second, nil},
		{time.Second, []string{"entered was a@example.com (time)"}}, // it is 35 days old
		{14*tier.Day - time.Second, nil},                            // one of them always is, until the newest is 40 days old
		{time.Second, []string{"left was a@example.com (time)"}},
		{20*tier.Day - time.Second, nil},
		{time.Second, []string{"entered quiet a@example.com (time)"}},
		{400 * tier.Day, nil},
	} {
		if got := x.turn(step.by); !slices.Equal(got, step.want) {
			t.Errorf("at %v: %v, want %v", x.h.now, got, step.want)
		}
		x.expect(x.d.LastFlip())
	}
}

// TestLiveFullSeriesCountsOnce holds that an event that is older than all that a
// series keeps one by one counts once.
func TestLiveFullSeriesCountsOnce(t *testing.T) {
	x := doing(t, vfs.NewMem(), &hand{t0()}, Definition{Name: "all", Where: fmt.Sprintf(`events("Order").count() > %d`, rule.MaxEntries+1)})
	defer x.d.Close()
	var calls []Call
	for i := range rule.MaxEntries {
		calls = append(calls, Call{Kind: CallTrack, MessageID: fmt.Sprint("o", i), Email: "a@example.com", Event: "Order", Time: x.h.now.Add(-time.Duration(i) * time.Second)})
	}
	x.call(calls...)
	old := x.did("a@example.com", "Order", 10*tier.Day)
	x.h.turn(5 * tier.Day) // its message id is forgotten
	x.call(old)
	x.expect(0)
	x.did("a@example.com", "Order", 50*tier.Day)
	x.expect(0, "entered all a@example.com (tracking)")
}
