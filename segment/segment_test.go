// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

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
	v, err := d.Look(addr(tb, a), "marketing", "example.com", t0())
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func dump(tb testing.TB, d *DB) string {
	tb.Helper()
	var b strings.Builder
	if err := d.store.Dump(func(k, v []byte) { fmt.Fprintf(&b, "%q %q\n", k, v) }); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

// summary is the store without contact ids, which depend on how often it was
// opened after a crash.
func summary(tb testing.TB, d *DB) string {
	tb.Helper()
	var lines []string
	names := map[uint64]string{}
	e1 := d.store.Contacts(0, func(id uint64, c store.Contact) error {
		names[id] = c.Address
		a, _, err := d.store.Account(c.Account)
		lines = append(lines, fmt.Sprintf("account of %s %+v", c.Address, a))
		c.Account = 0
		lines = append(lines, fmt.Sprintf("contact %+v", c))
		return err
	})
	e2 := d.store.States(func(id uint64, st store.State) error {
		lines = append(lines, fmt.Sprintf("state %s %+v", names[id], st))
		return nil
	})
	e3 := d.store.Suppressions(store.Hash{}, "", func(x store.Suppression) error {
		lines = append(lines, fmt.Sprintf("suppression %+v", x))
		return nil
	})
	flips, e4 := d.ReadFlips(0, 1<<30)
	for _, f := range flips {
		if f.Contact != 0 && names[f.Contact] != f.Address {
			tb.Errorf("flip of contact %d names %s, not %s", f.Contact, f.Address, names[f.Contact])
		}
		f.Contact = 0
		lines = append(lines, fmt.Sprintf("flip %+v", f))
	}
	if err := errors.Join(e1, e2, e3, e4); err != nil {
		tb.Fatal(err)
	}
	slices.Sort(lines)
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

func TestAcceptedMakesAContact(t *testing.T) {
	d := mem(t)
	apply(t, d, log(
		event.Event{Kind: event.Accepted, Address: "Ann@Example.com"},
		event.Event{Kind: event.Accepted, Address: "ann@example.com"},
		event.Event{Kind: event.Accepted, Address: `"b b"@example.com`},
	))
	v := look(t, d, "ann@example.com")
	if !v.Known || v.ID != 1 || v.Address != "Ann@example.com" || d.Contacts() != 2 {
		t.Fatalf("view %+v of %d contacts", v, d.Contacts())
	}
	if d.LastFlip() != 0 {
		t.Fatal("a new contact is no flip")
	}
}

func TestABrokenSegmentHasNoMembersAndSaysWhy(t *testing.T) {
	d := mem(t)
	list := d.Segments()
	if list[0].Name != "broken" || list[0].Error == "" || list[1].Name != "engaged" || list[1].Error != "" {
		t.Fatalf("segments %+v", list)
	}
	apply(t, d, log(event.Event{Kind: event.Accepted, Address: "a@example.com"}))
	c, err := d.Counts(context.Background(), t0())
	if err != nil || c.Segments["broken"] != 0 || c.Segments["not-paying"] != 1 || c.Tiers["new"] != 1 || c.First["not-paying"] != 1 {
		t.Fatalf("counts %+v, %v", c, err)
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

func TestFeedbackSuppresses(t *testing.T) {
	cases := []struct {
		name    string
		event   event.Event
		streams map[string]string // stream -> reason
	}{
		{
			"hard bounce", event.Event{Kind: event.Bounced, Verdict: "suppress", Code: 550, Enhanced: "5.1.1", Reply: "no such user", Stream: "news"},
			map[string]string{"marketing": "hard_bounce", "transactional": "hard_bounce", "news": "hard_bounce"},
		},
		{
			"dsn", event.Event{Kind: event.DSN, Verdict: "suppress", Stream: "news"},
			map[string]string{"marketing": "hard_bounce", "transactional": "hard_bounce"},
		},
		{"soft bounce", event.Event{Kind: event.Bounced, Verdict: "count"}, map[string]string{"marketing": "", "transactional": ""}},
		{"reputation", event.Event{Kind: event.Bounced, Verdict: "reputation"}, map[string]string{"marketing": ""}},
		{
			"complaint about news", event.Event{Kind: event.Complained, Stream: "news"},
			map[string]string{"marketing": "complaint", "news": "complaint", "transactional": ""},
		},
		{
			"complaint about transactional", event.Event{Kind: event.Complained, Stream: "transactional"},
			map[string]string{"marketing": "complaint", "transactional": "complaint"},
		},
		{
			"unsubscribe", event.Event{Kind: event.Unsubscribed, Stream: "news"},
			map[string]string{"news": "unsubscribe", "marketing": "", "transactional": ""},
		},
		{"unresolved", event.Event{Kind: event.Unresolved, Stream: "news"}, map[string]string{"news": "", "marketing": ""}},
		{"operator's record", event.Event{Kind: event.SuppressAdded}, map[string]string{"marketing": ""}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := mem(t)
			a := addr(t, "a@example.com")
			c.event.Address = "A@Example.com"
			apply(t, d, log(event.Event{Kind: event.Accepted, Address: "a@example.com"}, c.event))
			for stream, want := range c.streams {
				_, s, err := d.Check(1, a, stream, "example.com", t0())
				if err != nil {
					t.Fatal(err)
				}
				if got := reasonOf(s); got != want {
					t.Errorf("stream %s: %q, want %q", stream, got, want)
				}
				v, err := d.Look(a, stream, "example.com", t0())
				if err != nil || reasonOf(v.Suppressed) != want {
					t.Errorf("stream %s: look says %q, %v, want %q", stream, reasonOf(v.Suppressed), err, want)
				}
			}
		})
	}
}

func reasonOf(s *Suppression) string {
	if s == nil {
		return ""
	}
	return s.Reason
}

func TestTierFollowsEventsAndTime(t *testing.T) {
	d := mem(t)
	a := addr(t, "a@example.com")
	events := []event.Event{{Kind: event.Accepted, Address: "a@example.com"}}
	for range 5 {
		events = append(events, event.Event{Kind: event.Delivered, Address: "a@example.com", Contact: 1})
	}
	events = append(events, event.Event{Kind: event.Engaged, Address: "a@example.com", Contact: 1})
	apply(t, d, log(events...))
	flips, err := d.ReadFlips(0, 100)
	if err != nil || len(flips) != 2 {
		t.Fatalf("flips %+v, %v", flips, err)
	}
	if f := flips[0]; f.Kind != FlipTier || f.From != "new" || f.To != "cooling" || f.Cause != "delivered" || f.Address != "a@example.com" || f.Contact != 1 {
		t.Errorf("first flip %+v", f)
	}
	if f := flips[1]; f.From != "cooling" || f.To != "active" || f.Cause != "engaged" || f.Sequence != 2 {
		t.Errorf("second flip %+v", f)
	}
	select {
	case <-d.Flips():
	default:
		t.Error("nobody was told of the flips")
	}
	if v := look(t, d, "a@example.com"); v.Tier != "active" || v.First != "engaged" {
		t.Errorf("view %+v", v)
	}
	for after, want := range map[time.Duration]string{0: "active", 31 * 24 * time.Hour: "warm", 100 * 24 * time.Hour: "cooling"} {
		got, _, err := d.Check(1, a, "marketing", "example.com", t0().Add(after))
		if err != nil || got != want {
			t.Errorf("after %s: %q, %v, want %q", after, got, err, want)
		}
	}
	c, err := d.Contact(a, t0())
	if err != nil || c.Sends != 5 || c.SendsSinceEngagement != 0 || c.FirstSent != t0().Add(time.Second) ||
		c.LastSent != t0().Add(5*time.Second) || c.TierNext != "warm" || !strings.HasPrefix(c.TierReason, "active: ") {
		t.Fatalf("contact %+v, %v", c, err)
	}
	if _, err := d.Contact(addr(t, "b@example.com"), t0()); !errors.Is(err, ErrUnknown) {
		t.Fatalf("unknown: %v", err)
	}
}

// TestAForeignIDBlamesNobody holds that a contact id from another contacts store
// (lost and made anew while mail waited) is not taken for the one that now has it.
func TestAForeignIDBlamesNobody(t *testing.T) {
	d := mem(t)
	apply(t, d, log(
		event.Event{Kind: event.Accepted, Address: "a@example.com"},
		event.Event{Kind: event.Accepted, Address: "b@example.com"},
		event.Event{Kind: event.Engaged, Address: "b@example.com", Contact: 1},
	))
	for a, want := range map[string]string{"a@example.com": "new", "b@example.com": "active", "c@example.com": "new"} {
		for _, id := range []uint64{0, 1, 2, 9999999} {
			if got, _, err := d.Check(id, addr(t, a), "marketing", "example.com", t0()); err != nil || got != want {
				t.Errorf("%s with id %d: %q, %v, want %q", a, id, got, err, want)
			}
		}
	}
}

func TestSuppressAndLift(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(t, fs)
	reg := prometheus.NewPedanticRegistry()
	o.Registerer = reg
	d := open(t, o)
	a := addr(t, "x@example.com")
	check := func(stream, domain, want string) {
		t.Helper()
		_, s, err := d.Check(0, a, stream, domain, t0())
		if err != nil || reasonOf(s) != want {
			t.Errorf("%s from %s: %q, %v, want %q", stream, domain, reasonOf(s), err, want)
		}
	}
	add := func(x Suppression, want bool) {
		t.Helper()
		if added, err := d.Suppress(a, x); err != nil || added != want {
			t.Errorf("%+v: %v, %v, want %v", x, added, err, want)
		}
	}
	add(Suppression{Scope: "domain:Shop.Example"}, true)
	check("marketing", "shop.example", "manual")
	check("marketing", "example.com", "")
	add(Suppression{Scope: "stream:news", Reason: "policy", Expires: t0().Add(time.Hour)}, true)
	add(Suppression{Scope: "stream:news", Reason: "policy", Expires: t0().Add(time.Minute)}, false)
	add(Suppression{Scope: "stream:news", Reason: "policy", Expires: t0().Add(2 * time.Hour)}, true)
	add(Suppression{Scope: "stream:old", Expires: t0()}, true)
	check("news", "example.com", "policy")
	check("old", "example.com", "")
	add(Suppression{Reason: "made up"}, true)
	add(Suppression{Scope: "all"}, false)
	check("news", "example.com", "made up")
	for _, bad := range []string{"stream:", "domain:", "domain:-x", "nonsense", "ALL"} {
		if _, err := d.Suppress(a, Suppression{Scope: bad}); !errors.Is(err, ErrScope) {
			t.Errorf("scope %q: %v", bad, err)
		}
		if _, err := d.Lift(a, bad, ""); !errors.Is(err, ErrScope) {
			t.Errorf("lifting scope %q: %v", bad, err)
		}
	}
	want := `
# HELP segue_suppressions_total Suppressions added, by reason. A jump in hard_bounce points at a bad list, one in complaint at a bad campaign.
# TYPE segue_suppressions_total counter
segue_suppressions_total{reason="complaint"} 0
segue_suppressions_total{reason="hard_bounce"} 0
segue_suppressions_total{reason="invalid"} 0
segue_suppressions_total{reason="manual"} 2
segue_suppressions_total{reason="other"} 1
segue_suppressions_total{reason="policy"} 2
segue_suppressions_total{reason="soft_bounce"} 0
segue_suppressions_total{reason="unsubscribe"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "segue_suppressions_total"); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, testOptions(t, fs))
	defer d.Close()
	check("marketing", "example.com", "made up")
	if lifted, err := d.Lift(a, "all", "asked us"); err != nil || len(lifted) != 1 {
		t.Fatalf("lifted %+v, %v", lifted, err)
	}
	check("marketing", "example.com", "")
	check("marketing", "shop.example", "manual")
	check("news", "example.com", "policy")
	if lifted, err := d.Lift(a, "", ""); err != nil || len(lifted) != 3 {
		t.Fatalf("lifted %+v, %v", lifted, err)
	}
	check("marketing", "shop.example", "")
	check("news", "shop.example", "")
	if lifted, err := d.Lift(a, "", ""); err != nil || lifted != nil {
		t.Fatalf("lifted %+v, %v", lifted, err)
	}
	if d.mem.suppressions() != 0 || len(d.mem.first) != 0 || len(d.mem.more) != 0 {
		t.Fatal("memory keeps lifted suppressions")
	}
	flips, err := d.ReadFlips(0, 100)
	if err != nil || len(flips) != 9 || flips[8].Kind != FlipLifted || flips[8].Sequence != 9 {
		t.Fatalf("flips %+v, %v", flips, err)
	}
	if err := d.TruncateFlips(7); err != nil {
		t.Fatal(err)
	}
	if flips, err := d.ReadFlips(0, 100); err != nil || len(flips) != 2 || flips[0].Sequence != 8 {
		t.Fatalf("flips %+v, %v", flips, err)
	}
}

func TestFlipNumbersSurviveTruncation(t *testing.T) {
	fs := vfs.NewMem()
	d := open(t, testOptions(t, fs))
	if _, err := d.Suppress(addr(t, "a@example.com"), Suppression{}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.TruncateFlips(1<<63), d.Close()); err != nil {
		t.Fatal(err)
	}
	d = open(t, testOptions(t, fs))
	defer d.Close()
	if _, err := d.Suppress(addr(t, "b@example.com"), Suppression{}); err != nil {
		t.Fatal(err)
	}
	if flips, err := d.ReadFlips(0, 10); err != nil || len(flips) != 1 || flips[0].Sequence != 2 {
		t.Fatalf("flips %+v, %v", flips, err)
	}
}

func TestSuppressionPages(t *testing.T) {
	d := mem(t)
	for i := range 25 {
		if _, err := d.Suppress(addr(t, fmt.Sprintf("u%d@example.com", i)), Suppression{}); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	place, pages := "", 0
	for {
		list, next, err := d.Suppressions(Query{After: place, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range list {
			seen[x.Address] = true
		}
		pages++
		if place = next; next == "" {
			break
		}
	}
	if len(seen) != 25 || pages != 3 {
		t.Fatalf("%d addresses on %d pages", len(seen), pages)
	}
	list, _, err := d.Suppressions(Query{Prefix: "U1", Scope: "all", Reason: "manual"})
	if err != nil || len(list) != 11 {
		t.Fatalf("%d with prefix u1, %v", len(list), err)
	}
	if _, _, err := d.Suppressions(Query{After: "rubbish"}); err == nil {
		t.Fatal("a bad page mark was taken")
	}
}

func TestAnotherKeyIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	if err := open(t, testOptions(t, fs)).Close(); err != nil {
		t.Fatal(err)
	}
	o := testOptions(t, fs)
	o.SuppressionKey = []byte(strings.Repeat("x", 32))
	if _, err := Open(o); !errors.Is(err, ErrSecret) {
		t.Fatalf("error %v", err)
	}
}

func TestLag(t *testing.T) {
	d := mem(t)
	head := func(seq uint64) event.Cursor { return event.Cursor{Epoch: epoch, Sequence: seq} }
	at := t0()
	if lag := d.Lag(head(0), at); lag != 0 {
		t.Errorf("empty log: %s", lag)
	}
	if lag := d.Lag(head(2), at.Add(time.Minute)); lag != time.Minute {
		t.Errorf("a minute behind: %s", lag)
	}
	apply(t, d, log(event.Event{Kind: event.Accepted, Address: "a@example.com"}, event.Event{Kind: event.Held}))
	if lag := d.Lag(head(2), at.Add(time.Hour)); lag != 0 {
		t.Errorf("caught up: %s", lag)
	}
	if lag := d.Lag(head(3), at.Add(time.Hour+5*time.Second)); lag != 5*time.Second {
		t.Errorf("5 s behind after an idle hour: %s", lag)
	}
	if lag := d.Lag(event.Cursor{Epoch: epoch + 1, Sequence: 1}, at.Add(2*time.Hour)); lag != time.Hour {
		t.Errorf("another log: %s", lag)
	}
}

func TestApplyRefusesDisorderAndSkipsTheUnusable(t *testing.T) {
	d := mem(t)
	events := log(event.Event{Kind: event.Accepted, Address: "not an address"}, event.Event{Kind: event.Accepted, Address: "a@example.com"})
	events[0].Sequence = 3
	if err := d.Apply(context.Background(), epoch, events); !errors.Is(err, ErrOrder) {
		t.Fatalf("disorder: %v", err)
	}
	if d.Contacts() != 0 || d.Cursor().Sequence != 0 {
		t.Fatal("a refused batch left something behind")
	}
	events[1].Sequence = 4
	apply(t, d, events)
	if d.Contacts() != 1 || d.Cursor() != (event.Cursor{Epoch: epoch, Sequence: 4}) || testutil.ToFloat64(d.metrics.strange) == 0 {
		t.Fatalf("%d contacts, cursor %+v", d.Contacts(), d.Cursor())
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.Apply(ctx, epoch, []event.Event{{Sequence: 5}}); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
}

func TestANewEpochStartsAnew(t *testing.T) {
	d := mem(t)
	apply(t, d, log(event.Event{Kind: event.Accepted, Address: "a@example.com"}, event.Event{Kind: event.Delivered, Address: "a@example.com"}))
	if err := d.Apply(context.Background(), epoch+1, log(event.Event{Kind: event.Delivered, Address: "a@example.com"})); err != nil {
		t.Fatal(err)
	}
	c, err := d.Contact(addr(t, "a@example.com"), t0())
	if err != nil || c.Sends != 2 || d.Cursor() != (event.Cursor{Epoch: epoch + 1, Sequence: 1}) {
		t.Fatalf("contact %+v, cursor %+v, %v", c, d.Cursor(), err)
	}
}

func TestClosedRefusesWrites(t *testing.T) {
	d := open(t, testOptions(t, vfs.NewMem()))
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	_, e1 := d.Suppress(addr(t, "a@example.com"), Suppression{})
	_, e2 := d.Lift(addr(t, "a@example.com"), "", "")
	for _, err := range []error{e1, e2, d.Apply(context.Background(), 1, nil), d.TruncateFlips(1)} {
		if !errors.Is(err, errClosed) {
			t.Errorf("error %v", err)
		}
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
