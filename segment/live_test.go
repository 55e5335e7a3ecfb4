// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/store"
	"github.com/seguemta/segue/segment/tier"
)

// hand is a clock that is turned by hand.
type hand struct{ now time.Time }

func (h *hand) Now() time.Time { return h.now }

func (h *hand) turn(d time.Duration) { h.now = h.now.Add(d) }

// liveOptions has segments of every kind of cause.
func liveOptions(tb testing.TB, fs vfs.FS, h *hand) Options {
	tb.Helper()
	o := testOptions(tb, fs)
	o.Segments = []Definition{
		{Name: "engaged", Where: `tier == "active"`},
		{Name: "fresh", Where: `now - contact.signed_up < days(7)`},
		{Name: "paid", Where: `account.plan == "paid"`},
		{Name: "silent", Where: `contact.signed_up <= now - days(30)`},
		{Name: "trial", Where: `contact.status == "trial"`},
	}
	o.Now = h.Now
	return o
}

// flow is every flip of membership behind one, as "entered trial a@example.com (import)".
func flow(tb testing.TB, d *DB, behind uint64) []string {
	tb.Helper()
	flips, err := d.ReadFlips(behind, 1<<30)
	if err != nil {
		tb.Fatal(err)
	}
	var list []string
	for _, f := range flips {
		switch f.Kind {
		case FlipEntered, FlipLeft:
			list = append(list, fmt.Sprintf("%s %s %s (%s)", f.Kind, f.Segment, f.Address, f.Cause))
		case FlipTier:
			list = append(list, fmt.Sprintf("%s to %s %s (%s)", f.From, f.To, f.Address, f.Cause))
		case FlipRebuilt:
			list = append(list, fmt.Sprintf("rebuilt %s +%d -%d", f.Segment, f.Entered, f.Left))
		}
	}
	return list
}

// expect compares the flow since a flip with what should have come, and the
// verifier's opinion.
func expect(tb testing.TB, d *DB, behind uint64, want ...string) {
	tb.Helper()
	got := flow(tb, d, behind)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		tb.Errorf("flow:\n got %s\nwant %s", strings.Join(got, "; "), strings.Join(want, "; "))
	}
	agrees(tb, d)
}

// agrees asks the verifier about everybody.
func agrees(tb testing.TB, d *DB) {
	tb.Helper()
	for id := uint64(1); id < d.write.contacts.next; id++ {
		if wrong, err := d.disagrees(id, d.settled()); err != nil || wrong != "" {
			tb.Errorf("contact %d: %s, %v", id, wrong, err)
		}
	}
	if n := testutil.ToFloat64(d.metrics.disagreements); n != 0 {
		tb.Errorf("%v disagreements", n)
	}
}

// settle lets the database do all that it has to do at this moment.
func settle(tb testing.TB, d *DB) {
	tb.Helper()
	for more := true; more; {
		var err error
		if more, err = d.Tend(context.Background()); err != nil {
			tb.Fatal(err)
		}
	}
}

func importRow(tb testing.TB, d *DB, name, text string) {
	tb.Helper()
	if _, _, err := load(tb, d, name, text); err != nil {
		tb.Fatal(err)
	}
}

func TestLiveFollowsAttributesAndEvents(t *testing.T) {
	h := &hand{t0()}
	d := open(t, liveOptions(t, vfs.NewMem(), h))
	defer d.Close()
	importRow(t, d, "1.csv", "email,contact.status,contact.signed_up\na@example.com,trial,2026-05-30\nb@example.com,paying,2026-01-01\n")
	expect(t, d, 0, "entered trial a@example.com (import)", "entered fresh a@example.com (import)", "entered silent b@example.com (import)")
	last := d.LastFlip()
	importRow(t, d, "2.csv", "email,contact.status\na@example.com,paying\nb@example.com,trial\n")
	expect(t, d, last, "left trial a@example.com (import)", "entered trial b@example.com (import)")
	last = d.LastFlip()
	apply(t, d, log(
		event.Event{Kind: event.Engaged, Address: "a@example.com", Time: h.now},
		event.Event{Kind: event.Delivered, Address: "b@example.com", Time: h.now},
		event.Event{Kind: event.Accepted, Address: "c@example.com", Time: h.now},
	))
	expect(t, d, last, "new to active a@example.com (engaged)", "entered engaged a@example.com (engaged)")
	if m := members(t, d); !slices.Contains(m, "member of engaged a@example.com") || len(m) != 4 {
		t.Errorf("members %v", m)
	}
}

// TestLiveLateAndRepeatedChangeNothingTwice holds that an event or a row that
// comes again, and one that is older than what it could change, make no flip.
func TestLiveLateAndRepeatedChangeNothingTwice(t *testing.T) {
	h := &hand{t0()}
	d := open(t, liveOptions(t, vfs.NewMem(), h))
	defer d.Close()
	text := "email,contact.status,contact.signed_up\na@example.com,trial,2026-05-30\n"
	importRow(t, d, "1.csv", text)
	events := log(
		event.Event{Kind: event.Engaged, Address: "a@example.com", Time: h.now.Add(-100 * tier.Day)},
		event.Event{Kind: event.Engaged, Address: "a@example.com", Time: h.now},
		event.Event{Kind: event.Engaged, Address: "a@example.com", Time: h.now.Add(-40 * tier.Day)},
	)
	apply(t, d, events[:2])
	last := d.LastFlip()
	apply(t, d, events)
	apply(t, d, events)
	importRow(t, d, "2.csv", text)
	expect(t, d, last)
	if m := members(t, d); len(m) != 3 {
		t.Errorf("members %v", m)
	}
}

// TestLiveSurvivesRestart holds that members come back from what was stored and
// from the flips since, whether the database was closed or its power was cut.
func TestLiveSurvivesRestart(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewCrashableMem()
	d := open(t, liveOptions(t, fs, h))
	importRow(t, d, "1.csv", "email,contact.status\na@example.com,trial\nb@example.com,trial\nc@example.com,\n")
	if err := d.checkpoint(); err != nil {
		t.Fatal(err)
	}
	importRow(t, d, "2.csv", "email,contact.status\na@example.com,x\nc@example.com,trial\n")
	if err := d.TruncateFlips(d.LastFlip()); err != nil {
		t.Fatal(err)
	}
	want := []string{"member of trial b@example.com", "member of trial c@example.com"}
	left := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, fs := range []*vfs.MemFS{left, fs} {
		d := open(t, liveOptions(t, fs, h))
		if got := members(t, d); !slices.Equal(got, want) {
			t.Errorf("members %v", got)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLiveFlipsStayUntilStored holds that flips which an open needs are not cut
// off, and that those it does not need are.
func TestLiveFlipsStayUntilStored(t *testing.T) {
	h := &hand{t0()}
	d := open(t, liveOptions(t, vfs.NewMem(), h))
	defer d.Close()
	if _, err := d.Suppress(addr(t, "x@example.com"), Suppression{}); err != nil {
		t.Fatal(err)
	}
	importRow(t, d, "1.csv", "email,contact.status\na@example.com,trial\n")
	left := func() int {
		flips, err := d.ReadFlips(0, 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(flips)
	}
	if err := d.TruncateFlips(d.LastFlip()); err != nil || left() != 1 {
		t.Fatalf("%d flips before the members are stored, %v", left(), err)
	}
	if err := d.checkpoint(); err != nil || left() != 0 {
		t.Fatalf("%d flips after it, %v", left(), err)
	}
}

// TestLiveReadsNoMoreThanRules holds that a write costs no more reads of the
// contact than the rules need that read what it changed: the main job stays as fast
// as it was. The attributes of the contact cannot be read.
func TestLiveReadsNoMoreThanRules(t *testing.T) {
	delivered := event.Event{Sequence: 2, Kind: event.Delivered, Address: "a@example.com", Contact: 1, Time: t0()}
	engaged := event.Event{Sequence: 2, Kind: event.Engaged, Address: "a@example.com", Contact: 1, Time: t0()}
	used := []Call{{Kind: CallTrack, MessageID: "m", Email: "a@example.com", Event: "Report Run", Time: t0()}}
	mail := func(d *DB, e event.Event) error { return d.Apply(context.Background(), epoch, []event.Event{e}) }
	for _, x := range []struct {
		name, where string
		write       func(d *DB) error
		reads       bool
	}{
		{"a delivery", `contact.status == "trial"`, func(d *DB) error { return mail(d, delivered) }, false},
		{"a tier alone", `tier == "active"`, func(d *DB) error { return mail(d, engaged) }, false},
		{"a tier", `tier == "active" && contact.status == "trial"`, func(d *DB) error { return mail(d, engaged) }, true},
		{"a series alone", `events("Report Run").count() > 0`, func(d *DB) error { _, err := d.Ingest(context.Background(), used); return err }, false},
		{"a series", `events("Report Run").count() > 0 || contact.status == "trial"`, func(d *DB) error { _, err := d.Ingest(context.Background(), used); return err }, true},
		{"a series of accounts", `events("Report Run").count() > 0 && role != "x"`, func(d *DB) error { _, err := d.Ingest(context.Background(), used); return err }, true},
		{"a series beside colleagues", `events("Report Run").count() > 0 || any_contact(contact.status == "trial")`, func(d *DB) error { _, err := d.Ingest(context.Background(), used); return err }, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			o := liveOptions(t, vfs.NewMem(), &hand{t0()})
			o.Segments = []Definition{{Name: "asked", Where: x.where}}
			d := open(t, o)
			defer d.Close()
			apply(t, d, log(event.Event{Kind: event.Accepted, Address: "a@example.com", Time: t0()}))
			b := d.store.Batch()
			b.Contact(1, &store.Contact{Address: "a@example.com", Attributes: []byte{99}}) // whoever takes them apart now fails
			if err := b.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := x.write(d); (err != nil) != x.reads {
				t.Errorf("it reads the attributes: %v, want %v", err, x.reads)
			}
		})
	}
}
