// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seguemta/segue/mta/event"
)

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
	if len(told(t, d)) != 0 {
		t.Fatal("a new contact is no flip but of its segments")
	}
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
	flips := told(t, d)
	if len(flips) != 2 {
		t.Fatalf("flips %+v", flips)
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
		got, _, err := d.Check(1, a, Mail{Stream: "marketing", Domain: "example.com"}, t0().Add(after))
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

// TestMailAdmittedByAnOldTierIsTold holds that queued mail hears of a tier that its
// contact got after admission had looked, however the two met: here an import made
// the contact of whom the event of the mail had not come yet.
func TestMailAdmittedByAnOldTierIsTold(t *testing.T) {
	d := open(t, testOptions(t, vfs.NewMem()))
	defer d.Close()
	importRow(t, d, "1.csv", "email,first_sent_at,last_engaged_at\na@example.com,2026-05-31,2026-05-31\n")
	if flips := told(t, d); len(flips) != 0 {
		t.Fatalf("the import of somebody new: %v", flips)
	}
	apply(t, d, log(
		event.Event{Kind: event.Accepted, Address: "a@example.com", Tier: "new"},
		event.Event{Kind: event.Accepted, Address: "a@example.com", Tier: "active"},
		event.Event{Kind: event.Accepted, Address: "a@example.com"}, // of mail that obeys no tiers
		event.Event{Kind: event.Accepted, Address: "b@example.com", Tier: "new"},
	))
	flips := told(t, d)
	if len(flips) != 1 {
		t.Fatalf("%d flips: %v", len(flips), flips)
	}
	if f := flips[0]; f.Kind != FlipTier || f.Address != "a@example.com" || f.From != "new" || f.To != "active" || f.Cause != "accepted" {
		t.Errorf("%+v", f)
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
			if got, _, err := d.Check(id, addr(t, a), Mail{Stream: "marketing", Domain: "example.com"}, t0()); err != nil || got != want {
				t.Errorf("%s with id %d: %q, %v, want %q", a, id, got, err, want)
			}
		}
	}
}

func TestLag(t *testing.T) {
	d := mem(t)
	at := t0()
	happened := map[uint64]time.Time{1: at, 3: at.Add(time.Hour)} // by the sequence that they are behind, and one
	reads := 0
	lag := func(log, head uint64, now time.Time) time.Duration {
		t.Helper()
		lag, err := d.Lag(event.Cursor{Epoch: log, Sequence: head}, now, func(behind uint64) (time.Time, error) {
			reads++
			return happened[behind+1], nil
		})
		if err != nil {
			t.Error(err)
		}
		return lag
	}
	check := func(what string, got, want time.Duration) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	check("empty log", lag(epoch, 0, at), 0)
	check("a minute behind", lag(epoch, 2, at.Add(time.Minute)), time.Minute)
	apply(t, d, log(event.Event{Kind: event.Accepted, Address: "a@example.com"}, event.Event{Kind: event.Held}))
	check("5 s behind after an hour in which nobody asked", lag(epoch, 3, at.Add(time.Hour+5*time.Second)), 5*time.Second)
	check("caught up", lag(epoch, 2, at.Add(time.Hour)), 0)
	check("still behind", lag(epoch, 4, at.Add(2*time.Hour)), time.Hour)
	if reads != 2 {
		t.Errorf("the log was read %d times for two places", reads)
	}
	check("another log", lag(epoch+1, 1, at.Add(2*time.Hour)), 2*time.Hour)
	check("the clock was set back", lag(epoch, 3, at.Add(-5*time.Hour)), 0)
	check("a minute behind after the clock was set back", lag(epoch, 3, at.Add(-5*time.Hour+time.Minute)), time.Minute)
	unreadable := errors.New("unreadable")
	if _, err := d.Lag(event.Cursor{Epoch: epoch + 2, Sequence: 1}, at, func(uint64) (time.Time, error) { return at, unreadable }); !errors.Is(err, unreadable) {
		t.Errorf("a log that cannot be read: %v", err)
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
	_, e2 := d.Lift(addr(t, "a@example.com"), "", Because{Stated: true})
	for _, err := range []error{e1, e2, d.Apply(context.Background(), 1, nil), d.TruncateFlips(1)} {
		if !errors.Is(err, errClosed) {
			t.Errorf("error %v", err)
		}
	}
}
