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
	"github.com/seguemta/segue/segment/store"
	"github.com/seguemta/segue/segment/tier"
)

// wheelEntries is how many entries the wheel holds ahead of its place.
func wheelEntries(tb testing.TB, d *DB) (n int) {
	tb.Helper()
	if err := d.store.Wheel(store.Due{}, 1<<32-1, func(store.Due) error { n++; return nil }); err != nil {
		tb.Fatal(err)
	}
	return n
}

func TestWheelEntersAndLeaves(t *testing.T) {
	h := &hand{t0()}
	d := open(t, liveOptions(t, vfs.NewMem(), h))
	defer d.Close()
	importRow(t, d, "1.csv", "email,contact.signed_up\na@example.com,2026-05-30T12:00:00Z\n")
	apply(t, d, log(event.Event{Kind: event.Engaged, Address: "b@example.com", Time: h.now}))
	last := d.LastFlip()
	h.turn(5*tier.Day - time.Second)
	settle(t, d)
	expect(t, d, last)
	h.turn(time.Second) // 7 days after a signed up
	settle(t, d)
	expect(t, d, last, "left fresh a@example.com (time)")
	last = d.LastFlip()
	h.turn(23 * tier.Day) // 30 days after it, and 28 after b answered
	settle(t, d)
	expect(t, d, last, "entered silent a@example.com (time)")
	last = d.LastFlip()
	h.turn(2*tier.Day + time.Second)
	settle(t, d)
	expect(t, d, last, "left engaged b@example.com (time)", "active to warm b@example.com (time)")
}

// TestWheelJudgesWhatFallsTogetherAtOnce holds that two conditions which change
// at one instant do not make a contact flap.
func TestWheelJudgesWhatFallsTogetherAtOnce(t *testing.T) {
	h := &hand{t0()}
	o := liveOptions(t, vfs.NewMem(), h)
	o.Segments = []Definition{
		{Name: "never", Where: `now - contact.signed_up < days(7) && contact.signed_up <= now - days(7)`},
		{Name: "always", Where: `now - contact.signed_up < days(7) || contact.signed_up <= now - days(7)`},
	}
	d := open(t, o)
	defer d.Close()
	importRow(t, d, "1.csv", "email,contact.signed_up\na@example.com,2026-05-30T12:00:00Z\n")
	last := d.LastFlip()
	h.turn(5 * tier.Day)
	settle(t, d)
	expect(t, d, last)
}

// TestWheelHoldsOneEntry holds that a contact has one entry however often it is
// written, that the wheel turns in bounded steps, and that it goes on where it
// was after a power cut.
func TestWheelHoldsOneEntry(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewCrashableMem()
	d := open(t, liveOptions(t, fs, h))
	const n = 3 * sweepBatch
	text := "email,contact.signed_up\n"
	for i := range n {
		text += fmt.Sprintf("u%d@example.com,2026-05-30T12:00:00Z\n", i)
	}
	importRow(t, d, "1.csv", text)
	var events []event.Event
	for i := range 500 {
		events = append(events, event.Event{Kind: event.Engaged, Address: fmt.Sprintf("u%d@example.com", i%n), Time: h.now})
	}
	apply(t, d, log(events...))
	if got := wheelEntries(t, d); got != n {
		t.Fatalf("%d entries of %d contacts", got, n)
	}
	h.turn(5 * tier.Day)
	for range 2 {
		if more, err := d.sweep(); err != nil || !more {
			t.Fatalf("more %v, %v", more, err)
		}
	}
	left := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, liveOptions(t, left, h))
	defer d.Close()
	before := len(flow(t, d, 0))
	settle(t, d)
	if got := len(flow(t, d, 0)) - before; got != sweepBatch {
		t.Fatalf("%d left after the restart, want the last %d", got, sweepBatch)
	}
	if got := wheelEntries(t, d); got != n {
		t.Fatalf("%d entries of %d contacts, each of them has 30 days to come", got, n)
	}
	expect(t, d, d.LastFlip())
}

// TestWheelStandsWhileTheClockIsInDoubt holds that nobody enters or leaves by
// time while settled stands still, and that a clock that was set back and is
// believed has everybody judged again.
func TestWheelStandsWhileTheClockIsInDoubt(t *testing.T) {
	h := &hand{t0()}
	o := liveOptions(t, vfs.NewMem(), h)
	settled := &hand{t0()}
	o.Settled = settled.Now
	d := open(t, o)
	defer d.Close()
	importRow(t, d, "1.csv", "email,contact.signed_up\na@example.com,2026-05-30T12:00:00Z\n")
	last := d.LastFlip()
	h.turn(100 * tier.Day)
	settle(t, d)
	expect(t, d, last)
	settled.now = h.now
	settle(t, d)
	expect(t, d, last, "left fresh a@example.com (time)", "entered silent a@example.com (time)")
	last = d.LastFlip()
	h.turn(-99 * tier.Day)
	settled.now = h.now
	settle(t, d)
	expect(t, d, last, "entered fresh a@example.com (verifier)", "left silent a@example.com (verifier)")
	last = d.LastFlip()
	h.turn(10 * tier.Day)
	settled.now = h.now
	settle(t, d)
	expect(t, d, last, "left fresh a@example.com (time)")
}

// TestWheelAfterAClockThatWasAhead holds that who was judged by a clock that was ahead
// is judged again once it is set right, also where nobody's deadline came meanwhile, and
// where segments are being built.
func TestWheelAfterAClockThatWasAhead(t *testing.T) {
	for _, window := range []uint64{0, verifyBatch, 8} { // 0: nothing is being built
		building := window > 0
		t.Run(fmt.Sprint("built by ", window), func(t *testing.T) {
			h := &hand{t0().Add(50 * tier.Day)}
			o := liveOptions(t, vfs.NewMem(), h)
			all := o.Segments
			if building {
				o.Segments = nil
			}
			d := open(t, o)
			rows := "email,contact.signed_up\n"
			const contacts = 300
			for i := range contacts {
				rows += fmt.Sprintf("c%d@example.com,2026-05-30T12:00:00Z\n", i)
			}
			importRow(t, d, "1.csv", rows)
			settle(t, d)
			if building {
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				o.Segments = all
				o.private.buildLater, o.private.window = true, window
				d = open(t, o)
				for range contacts / window / 2 {
					if _, err := d.sweep(); err != nil {
						t.Fatal(err)
					}
					if _, err := d.buildStep(context.Background()); err != nil {
						t.Fatal(err)
					}
				}
			}
			defer d.Close()
			h.turn(-50 * tier.Day)
			settle(t, d)
			tiers, err := d.MemberTiers(context.Background(), "fresh")
			if err != nil || tiers["new"] != contacts {
				t.Errorf("fresh are %v, %v", tiers, err)
			}
			agrees(t, d)
		})
	}
}

// TestWheelSetBackSurvivesRestarts holds that deadlines are kept when the database is
// opened anew before everybody was judged again after the clock was set back.
func TestWheelSetBackSurvivesRestarts(t *testing.T) {
	h := &hand{t0()}
	o := liveOptions(t, vfs.NewMem(), h)
	d := open(t, o)
	defer func() { d.Close() }()
	importRow(t, d, "1.csv", "email,contact.signed_up\na@example.com,2026-05-30T12:00:00Z\n")
	h.turn(50 * tier.Day)
	settle(t, d)
	h.turn(-50 * tier.Day)
	sweep := func() {
		t.Helper()
		if _, err := d.sweep(); err != nil {
			t.Fatal(err)
		}
	}
	sweep()
	importRow(t, d, "2.csv", "email,contact.signed_up\nb@example.com,2026-05-28T12:00:00Z\n")
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		d = open(t, o)
		sweep()
		h.turn(3 * tier.Day)
		sweep()
	}
	if list := members(t, d); slices.Contains(list, "member of fresh b@example.com") {
		t.Errorf("b is still fresh: %v", list)
	}
	settle(t, d)
	agrees(t, d)
	if list := members(t, d); len(list) != 0 {
		t.Errorf("%v", list)
	}
}

// TestWheelRuns holds that Run turns the wheel, and ends with its context.
func TestWheelRuns(t *testing.T) {
	d := open(t, liveOptions(t, vfs.NewMem(), &hand{t0()}))
	defer d.Close()
	importRow(t, d, "1.csv", "email,contact.signed_up\na@example.com,2026-05-25T12:00:01Z\n")
	d.settled = func() time.Time { return t0().Add(time.Second) }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { d.Run(ctx); close(done) }()
	for d.LastFlip() < 2 {
		<-d.Flips()
	}
	cancel()
	<-done
	expect(t, d, 1, "left fresh a@example.com (time)")
}
