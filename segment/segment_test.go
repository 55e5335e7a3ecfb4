// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

const epoch = 77

func t0() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

func testOptions(tb testing.TB, fs vfs.FS) Options {
	tb.Helper()
	schema, err := rule.NewSchema([]rule.Attribute{
		{Name: "contact.status", Type: rule.Text},
		{Name: "contact.score", Type: rule.Number},
		{Name: "contact.tags", Type: rule.List},
		{Name: "contact.signed_up", Type: rule.Time},
		{Name: "account.employees", Type: rule.Number},
		{Name: "account.plan", Type: rule.Text},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return Options{
		Dir: "contacts", FS: fs, SuppressionKey: []byte(strings.Repeat("k", 32)), Schema: schema,
		Segments: []Definition{
			{Name: "trial", Order: 10, Where: `contact.status == "trial" && account.employees > 50`},
			{Name: "broken", Order: 1, Where: `contact.nothing == 1`},
			{Name: "not-paying", Order: 20, Where: `account.plan != "paid"`},
			{Name: "engaged", Order: 5, Where: `tier == "active"`},
		},
		Now: func() time.Time { return t0() },
	}
}

func open(tb testing.TB, o Options) *DB {
	tb.Helper()
	d, err := Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func mem(tb testing.TB) *DB {
	tb.Helper()
	d := open(tb, testOptions(tb, vfs.NewMem()))
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Error(err)
		}
	})
	return d
}

func addr(tb testing.TB, s string) rfc5321.Address {
	tb.Helper()
	a, err := rfc5321.ParseAddress(s)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// log numbers events from 1 and gives each its second.
func log(events ...event.Event) []event.Event {
	for i := range events {
		events[i].Sequence = uint64(i + 1)
		if events[i].Time.IsZero() {
			events[i].Time = t0().Add(time.Duration(i) * time.Second)
		}
	}
	return events
}

func apply(tb testing.TB, d *DB, events []event.Event) {
	tb.Helper()
	if err := d.Apply(context.Background(), epoch, events); err != nil {
		tb.Fatal(err)
	}
}

func look(tb testing.TB, d *DB, a string) View {
	tb.Helper()
	v, err := d.Look(addr(tb, a), Mail{Stream: "marketing", Domain: "example.com"}, t0())
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// dump is the store without what depends on when it was written: flips, the
// wheel, and the stored form of members.
func dump(tb testing.TB, d *DB) string {
	tb.Helper()
	var b strings.Builder
	when := regexp.MustCompile(`^(f|M|t|m(flips|checkpoint|wheel|verified|segments|judged))`)
	if err := d.store.Dump(func(k, v []byte) {
		if !when.Match(k) {
			fmt.Fprintf(&b, "%q %q\n", k, v)
		}
	}); err != nil {
		tb.Fatal(err)
	}
	return b.String() + strings.Join(members(tb, d), "\n")
}

// members is who is in which segment, sorted.
func members(tb testing.TB, d *DB) []string {
	tb.Helper()
	var lines []string
	for _, s := range d.Segments() {
		list, err := d.Members(context.Background(), s.Name, 0, 1<<30)
		if err != nil || len(list) != s.Members {
			tb.Fatalf("%d of %d members of %s, %v", len(list), s.Members, s.Name, err)
		}
		for _, m := range list {
			lines = append(lines, "member of "+s.Name+" "+m.Address)
		}
	}
	slices.Sort(lines)
	return lines
}

// told is the flips that do not depend on how many events one commit applies:
// all but those of membership and of time.
func told(tb testing.TB, d *DB) []Flip {
	tb.Helper()
	flips, err := d.ReadFlips(0, 1<<30)
	if err != nil {
		tb.Fatal(err)
	}
	return slices.DeleteFunc(flips, func(f Flip) bool {
		return f.Kind == FlipEntered || f.Kind == FlipLeft || f.Kind == FlipRebuilt || f.Cause == causeTime
	})
}

// summary is the store without contact ids and with its flips counted from 1:
// both numbers depend on how often it was opened after a crash.
func summary(tb testing.TB, d *DB) string {
	tb.Helper()
	var lines []string
	names := map[uint64]string{}
	e1 := d.store.Contacts(0, func(id uint64, c store.Contact) error {
		names[id] = c.Address
		var err error
		for i, e := range c.Edges {
			var a store.Account
			a, _, err = d.store.Account(e.Account)
			lines = append(lines, fmt.Sprintf("account %d of %s %+v", i, c.Address, a))
			c.Edges[i].Account, c.Edges[i].ID = 0, 0
		}
		lines = append(lines, fmt.Sprintf("contact %+v", c))
		return err
	})
	for id, name := range names {
		list, err := d.Events(id, time.Time{}, 1<<30)
		if err != nil {
			tb.Fatal(err)
		}
		for _, e := range list {
			e.Contact = 0
			lines = append(lines, fmt.Sprintf("event of %s %+v", name, e))
		}
	}
	e2 := d.store.States(func(id uint64, st store.State) error {
		lines = append(lines, fmt.Sprintf("state %s %+v", names[id], st))
		return nil
	})
	e3 := d.store.Suppressions(store.Hash{}, "", func(x store.Suppression) error {
		lines = append(lines, fmt.Sprintf("suppression %+v", x))
		return nil
	})
	flips := told(tb, d)
	var last uint64
	for i, f := range flips {
		if f.Sequence <= last {
			tb.Errorf("flip %d comes after flip %d", f.Sequence, last)
		}
		last, f.Sequence = f.Sequence, uint64(i+1)
		if f.Contact != 0 && names[f.Contact] != f.Address {
			tb.Errorf("flip of contact %d names %s, not %s", f.Contact, f.Address, names[f.Contact])
		}
		f.Contact = 0
		lines = append(lines, fmt.Sprintf("flip %+v", f))
	}
	if err := errors.Join(e1, e2, e3); err != nil {
		tb.Fatal(err)
	}
	slices.Sort(lines)
	lines = append(lines, members(tb, d)...)
	return strings.Join(append(lines, fmt.Sprintf("cursor %+v", d.Cursor())), "\n")
}

// same compares two dumps and shows the first lines that differ.
func same(tb testing.TB, what, got, want string) {
	tb.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	shown := 0
	for i := range max(len(g), len(w)) {
		var a, b string
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b && shown < 3 {
			shown++
			tb.Errorf("%s, line %d:\n got %s\nwant %s", what, i, a, b)
		}
	}
}

func TestUnknownIsNewAndOnlyRead(t *testing.T) {
	d := mem(t)
	before := dump(t, d)
	v := look(t, d, "Nobody@Example.COM")
	if v.Known || v.ID != 0 || v.Tier != "new" || v.Suppressed != nil {
		t.Fatalf("view %+v", v)
	}
	// Missing attributes: == is false, its complement true.
	if v.First != "not-paying" || len(v.Segments) != 1 || v.Segments[0].Version != RuleVersion(`account.plan != "paid"`) {
		t.Fatalf("segments %+v", v.Segments)
	}
	if dump(t, d) != before {
		t.Fatal("looking changed the store")
	}
}

func TestABrokenSegmentHasNoMembersAndSaysWhy(t *testing.T) {
	d := mem(t)
	list := d.Segments()
	if list[0].Name != "broken" || list[0].Error == "" || list[1].Name != "engaged" || list[1].Error != "" {
		t.Fatalf("segments %+v", list)
	}
	apply(t, d, log(event.Event{Kind: event.Accepted, Address: "a@example.com"}))
	tiers, err := d.MemberTiers(context.Background(), "not-paying")
	if err != nil || len(tiers) != 1 || tiers["new"] != 1 {
		t.Fatalf("tiers %v, %v", tiers, err)
	}
	if none, err := d.MemberTiers(context.Background(), "broken"); err != nil || len(none) != 0 {
		t.Fatalf("tiers of a broken segment %v, %v", none, err)
	}
	o := testOptions(t, vfs.NewMem())
	o.Segments = append(o.Segments, o.Segments[0])
	if _, err := Open(o); err == nil {
		t.Fatal("two segments of one name")
	}
	if !d.HasSegment("broken") || d.HasSegment("nothing") {
		t.Fatal("names")
	}
	m, err := d.Members(context.Background(), "not-paying", 0, 10)
	if err != nil || len(m) != 1 || m[0].Address != "a@example.com" || m[0].Tier != "new" {
		t.Fatalf("members %+v, %v", m, err)
	}
}

// randomLog makes events about few addresses, so that they meet often.
func randomLog(rng *rand.Rand, n int) []event.Event {
	kinds := []event.Event{
		{Kind: event.Accepted},
		{Kind: event.Accepted},
		{Kind: event.Delivered},
		{Kind: event.Delivered},
		{Kind: event.Delivered},
		{Kind: event.Deferred, Verdict: "infrastructure"},
		{Kind: event.Engaged},
		{Kind: event.Complained, Stream: "news"},
		{Kind: event.Unsubscribed, Stream: "marketing"},
		{Kind: event.Bounced, Verdict: "suppress", Code: 550},
		{Kind: event.Bounced, Verdict: "count", Code: 552},
		{Kind: event.DSN, Verdict: "suppress"},
		{Kind: event.Expired, Reason: "unsent"},
	}
	events := make([]event.Event, n)
	at := t0()
	for i := range events {
		e := kinds[rng.IntN(len(kinds))]
		at = at.Add(time.Duration(rng.IntN(100)) * time.Hour)
		e.Sequence, e.Time = uint64(i+1), at
		e.Address = fmt.Sprintf("u%d@example.com", rng.IntN(1+n/8))
		e.Contact = rng.Uint64N(6) // often wrong
		events[i] = e
	}
	return events
}
