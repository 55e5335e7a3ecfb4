// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

func figures(tb testing.TB, d *DB, name string) Figures {
	tb.Helper()
	f, ok, err := d.Figures(context.Background(), name)
	if err != nil || !ok {
		tb.Fatal(ok, err)
	}
	return f
}

// sizes is the days of the segment trial, as "2026-06-01 3 +3 -0".
func sizes(tb testing.TB, d *DB) (list []string) {
	tb.Helper()
	for _, x := range figures(tb, d, "trial").Days {
		list = append(list, fmt.Sprintf("%s %d +%d -%d", x.Date, x.Size, x.Entered, x.Left))
	}
	return list
}

// statuses is a file of contacts of a status.
func statuses(status string, who ...string) string {
	return "email,contact.status\n" + strings.Join(who, "@example.com,"+status+"\n") + "@example.com," + status + "\n"
}

// TestStatisticsFlow holds that the size of each day is kept, also of days on
// which nothing happens and across a restart or a crash, and that the last 24
// hours end.
func TestStatisticsFlow(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash=%v", crash), func(t *testing.T) {
			h := &hand{t0()}
			fs := vfs.NewCrashableMem()
			d := open(t, liveOptions(t, fs, h))
			reopen := func() {
				t.Helper()
				if crash {
					fs = fs.CrashClone(vfs.CrashCloneCfg{})
				} else if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				d = open(t, liveOptions(t, fs, h))
			}
			importRow(t, d, "1.csv", statuses("trial", "a", "b", "c"))
			settle(t, d)
			reopen()
			importRow(t, d, "2.csv", statuses("paying", "a"))
			if f := figures(t, d, "trial"); f.Entered != 3 || f.Left != 1 || f.Members != 2 {
				t.Errorf("entered %d, left %d, members %d", f.Entered, f.Left, f.Members)
			}
			reopen()
			h.turn(3 * 24 * time.Hour)
			importRow(t, d, "3.csv", statuses("trial", "d"))
			reopen()
			h.turn(23 * time.Hour)
			if f := figures(t, d, "trial"); f.Entered != 1 || f.Left != 0 {
				t.Errorf("after 23 hours: entered %d, left %d", f.Entered, f.Left)
			}
			h.turn(time.Hour)
			if f := figures(t, d, "trial"); f.Entered != 0 {
				t.Errorf("after a day: entered %d", f.Entered)
			}
			want := []string{"2026-06-01 2 +3 -1", "2026-06-02 2 +0 -0", "2026-06-03 2 +0 -0", "2026-06-04 3 +1 -0", "2026-06-05 3 +0 -0"}
			if got := sizes(t, d); !slices.Equal(got, want) {
				t.Errorf("days %q\nwant %q", got, want)
			}
			if _, err := d.TrimEvents(context.Background(), h.now.Add((keptDays-1)*aDay)); err != nil {
				t.Fatal(err)
			}
			if got := sizes(t, d); len(got) != 2 {
				t.Errorf("after the others ended: %q", got)
			}
			if err := d.Close(); err != nil && !crash {
				t.Error(err)
			}
		})
	}
}

// TestStatisticsOfARebuild holds that a changed rule counts all at once.
func TestStatisticsOfARebuild(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	trials(t, fs, h, 40)
	h.turn(24 * time.Hour)
	d := open(t, laterOptions(t, fs, h, Definition{Name: "trial", Where: `contact.score >= 10`}))
	settle(t, d)
	want := []string{"2026-06-01 20 +20 -0", "2026-06-02 30 +20 -10"}
	if got := sizes(t, d); !slices.Equal(got, want) {
		t.Errorf("days %q\nwant %q", got, want)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, laterOptions(t, fs, h, Definition{Name: "trial", Where: `contact.score >= 10`}))
	defer d.Close()
	if got := sizes(t, d); !slices.Equal(got, want) {
		t.Errorf("after a restart: %q\nwant %q", got, want)
	}
}

// sentBy is events of mail of a segment to somebody, in order.
func sentBy(segment, who string, message uint64, kinds ...event.Kind) (list []event.Event) {
	for _, k := range kinds {
		list = append(list, event.Event{Kind: k, Address: who, Segment: segment, SegmentVersion: 1, Stream: "marketing", Message: message})
	}
	return list
}

// TestStatisticsResults holds that mail counts for the segment that it was sent
// by, on its day, once, and with a denominator.
func TestStatisticsResults(t *testing.T) {
	h := &hand{t0()}
	d := open(t, liveOptions(t, vfs.NewMem(), h))
	defer d.Close()
	importRow(t, d, "1.csv", statuses("trial", "a", "b"))
	events := log(slices.Concat(
		sentBy("trial", "a@example.com", 46, event.Accepted, event.Delivered, event.Complained),
		sentBy("trial", "b@example.com", 47, event.Accepted, event.Bounced),
		sentBy("silent", "b@example.com", 48, event.Accepted, event.Delivered, event.Unsubscribed, event.DSN),
		sentBy("", "b@example.com", 49, event.Accepted, event.Delivered),
	)...)
	apply(t, d, events[:4])
	apply(t, d, events)                               // one call tells some of it again
	apply(t, d, events[2:])                           // and another one
	importRow(t, d, "2.csv", statuses("paying", "a")) // who leaves takes nothing along
	for name, want := range map[string]Results{
		"trial":  {Sent: 2, Delivered: 1, Bounced: 1, Complained: 1},
		"silent": {Sent: 1, Delivered: 1, Bounced: 1, Unsubscribed: 1},
		"paid":   {},
	} {
		if f := figures(t, d, name); f.Results != want || f.Days[len(f.Days)-1].Results != want {
			t.Errorf("%s: %+v", name, f.Results)
		}
	}
	r := figures(t, d, "trial").Rates
	if x := r[2]; x.What != "complained" || x.Of != "delivered" || x.Rate.Of != 1 || x.Hits != 1 || x.Low > 0.21 || x.High != 1 {
		t.Errorf("complaints %+v", x)
	}
	h.turn(40 * 24 * time.Hour)
	if f := figures(t, d, "trial"); f.Results != (Results{}) || f.Days[0].Results.Sent != 2 {
		t.Errorf("after 40 days: %+v, then %+v", f.Results, f.Days[0])
	}
}

// TestStatisticsOpens holds that opens and clicks count for the segment of the
// message that they name, once for people and once for machines, and for none
// where they name nothing.
func TestStatisticsOpens(t *testing.T) {
	h := &hand{t0()}
	d := open(t, liveOptions(t, vfs.NewMem(), h))
	defer d.Close()
	apply(t, d, log(sentBy("trial", "a@example.com", 46, event.Accepted, event.Delivered)...))
	n := 0
	happens := func(name, ref string, machine bool) {
		t.Helper()
		n++
		h.turn(10 * time.Minute)
		c := Call{Kind: CallTrack, MessageID: fmt.Sprint(n), Event: name, Time: h.now, Email: "a@example.com"}
		c.Properties = map[string]any{"machine": machine}
		c.Context.UserAgent = browser
		if ref != "" {
			c.Properties["email_id"] = ref
		}
		for _, err := range ingest(t, d, []Call{c, c}) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	happens(EventEmailOpened, "1A", true)
	happens(EventEmailOpened, "1a.0", false)
	happens(EventEmailOpened, "1A", false)
	happens(EventEmailLinkClicked, "1A", false)
	happens(EventEmailLinkClicked, "", false)
	happens(EventEmailLinkClicked, "ZZ", false)
	if got := figures(t, d, "trial").Results; got != (Results{Sent: 1, Delivered: 1, OpenedByMachine: 1}) {
		t.Errorf("while they are held: %+v", got)
	}
	h.turn(time.Minute)
	settle(t, d)
	want := Results{Sent: 1, Delivered: 1, Opened: 1, OpenedByMachine: 1, Clicked: 1}
	if got := figures(t, d, "trial").Results; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if n := testutil.ToFloat64(d.metrics.unattributed); n != 2 {
		t.Errorf("%v of no segment", n)
	}
}

// TestStatisticsOpensOfTheBusy holds that the open of somebody who does a lot every day
// counts like that of others.
func TestStatisticsOpensOfTheBusy(t *testing.T) {
	h := &hand{t0()}
	d := open(t, liveOptions(t, vfs.NewMem(), h))
	defer d.Close()
	importRow(t, d, "1.csv", "email\na@example.com\n")
	var calls []Call
	for i := range openedLook + 1 {
		at := h.now.Add(-time.Duration(i+1) * time.Minute)
		calls = append(calls, Call{Kind: CallTrack, MessageID: fmt.Sprint(i), Event: "Report Run", Time: at, Email: "a@example.com"})
	}
	ingest(t, d, calls)
	apply(t, d, log(sentBy("trial", "a@example.com", 46, event.Accepted, event.Delivered)...))
	h.turn(10 * time.Minute)
	ingest(t, d, []Call{{
		Kind: CallTrack, MessageID: "open", Event: EventEmailOpened, Time: h.now, Email: "a@example.com",
		Context: CallContext{UserAgent: browser}, Properties: map[string]any{"email_id": "1A"},
	}})
	h.turn(time.Minute)
	settle(t, d)
	if got, want := figures(t, d, "trial").Results, (Results{Sent: 1, Delivered: 1, Opened: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestStatisticsOverlap holds that the largest overlaps come first.
func TestStatisticsOverlap(t *testing.T) {
	h := &hand{t0()}
	o := liveOptions(t, vfs.NewMem(), h)
	o.Segments = []Definition{
		{Name: "few", Where: `contact.score >= 90`},
		{Name: "half", Where: `contact.score >= 50`},
		{Name: "low", Where: `contact.score < 50`},
		{Name: "most", Where: `contact.score >= 20`},
		{Name: "another", Where: `contact.score < 60`},
	}
	d := open(t, o)
	defer d.Close()
	text := "email,contact.score\n"
	for i := range 100 {
		text += fmt.Sprintf("u%d@example.com,%d\n", i, i)
	}
	importRow(t, d, "1.csv", text)
	var got []string
	for _, x := range figures(t, d, "half").Overlaps {
		got = append(got, fmt.Sprintf("%s %d %.3f %.2f", x.With, x.Both, x.Jaccard, x.Smaller))
	}
	if want := []string{"most 50 0.625 1.00", "few 10 0.200 1.00", "another 10 0.100 0.20"}; !slices.Equal(got, want) {
		t.Errorf("overlaps %q, want %q", got, want)
	}
}

// TestStatisticsTry holds that a trial counts who would be in a segment, and
// changes nothing.
func TestStatisticsTry(t *testing.T) {
	h := &hand{t0()}
	d := open(t, liveOptions(t, vfs.NewMem(), h))
	defer d.Close()
	importRow(t, d, "1.csv", statuses("trial", "a", "b", "c"))
	try := func(where string) Trial {
		t.Helper()
		x, err := d.Try(context.Background(), Definition{Where: where})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	if x := try(`contact.status == "trial" && segment("trial")`); x.Members != 3 || x.Looked != 3 || x.Low != 3 || len(x.Some) != 3 || x.Some[0].Address != "a@example.com" {
		t.Errorf("trial %+v", x)
	}
	ingest(t, d, []Call{{Kind: CallTrack, MessageID: "1", Event: "Seen", Time: h.now, Email: "b@example.com"}})
	before, last := dump(t, d), d.LastFlip()
	if x := try(`events("Seen").count() == 1`); x.Members != 1 || len(x.Some) != 1 || x.Some[0].Address != "b@example.com" {
		t.Errorf("trial of events %+v", x)
	}
	if x := try(`contact.status != "trial"`); x.Members != 0 || x.Faults != nil {
		t.Errorf("trial %+v", x)
	}
	x := try(`contact.stats == "trial"`)
	if len(x.Faults) != 1 || x.Faults[0].Line != 1 || x.Faults[0].Column == 0 || !strings.Contains(x.Faults[0].Hint, "contact.status") {
		t.Errorf("faults %+v", x.Faults)
	}
	if dump(t, d) != before || d.LastFlip() != last || len(d.Segments()) != 5 {
		t.Error("a trial changed something")
	}
}

// TestStatisticsSample holds that a sample is about as large as asked for, spread
// over all, and the same each time.
func TestStatisticsSample(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	trials(t, fs, h, 3000)
	d := open(t, laterOptions(t, fs, h))
	defer d.Close()
	take := func() (list []uint64) {
		if err := d.sample(context.Background(), 200, func(id uint64, _ *store.Contact) error {
			list = append(list, id)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return list
	}
	a := take()
	half, _ := slices.BinarySearch(a, 1500)
	if len(a) < 120 || len(a) > 200 || half < len(a)/3 || half > 2*len(a)/3 || !slices.IsSorted(a) || !slices.Equal(a, take()) {
		t.Errorf("%d contacts, %d of the first half: %v", len(a), half, a)
	}
}

// TestStatisticsExplain holds that an explanation names each condition for each
// account, since when and until when.
func TestStatisticsExplain(t *testing.T) {
	h := &hand{t0()}
	o := liveOptions(t, vfs.NewMem(), h)
	o.Segments = append(o.Segments, Definition{Name: "new-paid", Where: `account.plan == "paid" && now - contact.signed_up < days(7)`})
	d := open(t, o)
	defer d.Close()
	importRow(t, d, "1.csv", "email,contact.signed_up,account,account.plan\na@example.com,2026-05-31T12:00:00Z,acme,paid\n")
	h.turn(time.Hour)
	x, err := d.Explain("new-paid", addr(t, "a@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	if !x.Member || !x.Since.Equal(t0()) || x.Cause != causeImport || x.Until.Sub(t0()) != 6*24*time.Hour || x.UntilSays {
		t.Errorf("explained %+v", x)
	}
	if len(x.Pairs) != 1 || x.Pairs[0].Account != "acme" || !x.Pairs[0].Holds || len(x.Pairs[0].Conditions) != 2 {
		t.Fatalf("pairs %+v", x.Pairs)
	}
	if r := x.Pairs[0].Conditions[0].Reads; len(r) != 1 || r[0].Name != "account.plan" || !r[0].Value.Equal(rule.TextValue("paid")) {
		t.Errorf("read %+v", r)
	}
	for name, want := range map[string]error{"nothing": ErrNoSegment, "trial": nil} {
		if _, err := d.Explain(name, addr(t, "a@example.com")); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.Explain("trial", addr(t, "b@example.com")); !errors.Is(err, ErrUnknown) {
		t.Errorf("a stranger: %v", err)
	}
}

// TestStatisticsRebuildOnRequest holds that a segment is built anew beside its
// members, survives a restart half way, and changes nobody.
func TestStatisticsRebuildOnRequest(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	trials(t, fs, h, 40)
	defs := []Definition{{Name: "trial", Where: `contact.status == "trial"`}, {Name: "bad", Where: `contact.x == 1`}}
	d := open(t, laterOptions(t, fs, h, defs...))
	settle(t, d)
	was, last := figures(t, d, "trial").Generation, d.LastFlip()
	for name, want := range map[string]error{"bad": ErrUnasked, "nothing": ErrNoSegment, "trial": nil} {
		if err := d.Rebuild(name); !errors.Is(err, want) {
			t.Errorf("rebuild of %s: %v", name, err)
		}
	}
	if _, err := d.buildStep(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := d.Rebuild("trial"); err != nil {
		t.Errorf("a second request: %v", err)
	}
	if got := infos(d); got[0] != "trial building 0% 20" {
		t.Errorf("segments %q", got)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, laterOptions(t, fs, h, defs...))
	defer d.Close()
	if got := infos(d); !strings.HasPrefix(got[0], "trial building") {
		t.Errorf("after a restart: %q", got)
	}
	settle(t, d)
	expect(t, d, last)
	if f := figures(t, d, "trial"); f.State != StateLive || f.Generation <= was || f.Members != 20 {
		t.Errorf("built %+v", f.Info)
	}
}
