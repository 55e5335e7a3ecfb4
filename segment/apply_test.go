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
	if lag := d.Lag(head(3), at.Add(-5*time.Hour)); lag != 0 {
		t.Errorf("the clock was set back: %s", lag)
	}
	if lag := d.Lag(head(3), at.Add(-5*time.Hour+time.Minute)); lag != time.Minute {
		t.Errorf("a minute behind after the clock was set back: %s", lag)
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
