// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/store"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// hours is a window from times of day such as "08:00-20:00".
func hours(t testing.TB, text string) Window {
	t.Helper()
	from, until, _ := strings.Cut(text, "-")
	var w Window
	for s, d := range map[string]*time.Duration{from: &w.From, until: &w.Until} {
		at, err := time.Parse("15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		*d = at.Sub(at.Truncate(24 * time.Hour))
	}
	return w
}

func TestWindowOpensByTheClockOnTheWall(t *testing.T) {
	for _, x := range []struct{ window, zone, at, opens string }{
		{"08:00-20:00", "Europe/Berlin", "2026-01-10T06:59:59Z", "2026-01-10T07:00:00Z"},
		{"08:00-20:00", "Europe/Berlin", "2026-01-10T07:00:00Z", "2026-01-10T07:00:00Z"},
		{"08:00-20:00", "Europe/Berlin", "2026-01-10T18:59:59Z", "2026-01-10T18:59:59Z"},
		{"08:00-20:00", "Europe/Berlin", "2026-01-10T19:00:00Z", "2026-01-11T07:00:00Z"},
		{"08:00-20:00", "America/New_York", "2026-01-10T07:00:00Z", "2026-01-10T13:00:00Z"},
		{"08:00-20:00", "Asia/Kathmandu", "2026-01-10T00:00:00Z", "2026-01-10T02:15:00Z"},
		// Over midnight.
		{"20:00-02:00", "UTC", "2026-01-10T19:59:00Z", "2026-01-10T20:00:00Z"},
		{"20:00-02:00", "UTC", "2026-01-10T23:59:59Z", "2026-01-10T23:59:59Z"},
		{"20:00-02:00", "UTC", "2026-01-11T01:59:59Z", "2026-01-11T01:59:59Z"},
		{"20:00-02:00", "UTC", "2026-01-11T02:00:00Z", "2026-01-11T20:00:00Z"},
		// Berlin goes from 02:00 to 03:00 on 29 March 2026 at 01:00 UTC.
		{"08:00-20:00", "Europe/Berlin", "2026-03-28T20:00:00Z", "2026-03-29T06:00:00Z"}, // eleven hours later, not twelve
		{"02:15-08:00", "Europe/Berlin", "2026-03-28T23:30:00Z", "2026-03-29T01:00:00Z"}, // opens with the jump
		{"02:15-02:45", "Europe/Berlin", "2026-03-28T23:30:00Z", "2026-03-30T00:15:00Z"}, // is left out that day
		// And back from 03:00 to 02:00 on 25 October at 01:00 UTC: 02:30 comes twice.
		{"08:00-20:00", "Europe/Berlin", "2026-10-24T18:00:00Z", "2026-10-25T07:00:00Z"}, // thirteen hours later
		{"02:30-08:00", "Europe/Berlin", "2026-10-24T23:00:00Z", "2026-10-25T00:30:00Z"},
		{"02:30-08:00", "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-25T01:30:00Z"}, // the wall shows 02:10 again
		{"01:00-02:30", "Europe/Berlin", "2026-10-25T00:45:00Z", "2026-10-25T01:00:00Z"}, // and is open again
		// Samoa had no 30 December 2011.
		{"08:00-20:00", "Pacific/Apia", "2011-12-30T07:00:00Z", "2011-12-30T18:00:00Z"},
	} {
		at, err := time.Parse(time.RFC3339, x.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := hours(t, x.window).Opens(at, zone(t, x.zone)).UTC().Format(time.RFC3339); got != x.opens {
			t.Errorf("%s in %s at %s opens at %s, not %s", x.window, x.zone, x.at, got, x.opens)
		}
	}
	now := time.Now()
	if got := (Window{}).Opens(now, time.UTC); !got.Equal(now) {
		t.Errorf("the whole day opens at %v", got)
	}
}

// bound runs a test with a queue whose marketing mail has a policy, in simulated
// time from midnight UTC on.
func bound(t *testing.T, policy Policy, f func(t testing.TB, w *world, r *running)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := startWith(t, vfs.NewMem(), w, func(o *Options) {
			o.Policy = func(store.Class) Policy { return policy }
			o.ContactSpan, o.AccountSpan = policy.ContactCap.Per, policy.AccountCap.Per
		})
		f(t, w, r)
		synctest.Wait()
		r.verify()
		r.stop()
	})
}

// why is the reason that operators are told.
func (r *running) why(id store.ID) string {
	r.t.Helper()
	s, err := r.Why(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return s.Why.Text
}

// hour is a time of the first simulated day.
func hour(since time.Duration) time.Time {
	return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(since)
}

func (r *running) deliveredAt(id store.ID, want time.Time) {
	r.t.Helper()
	e := r.last(id)
	if e.Kind != "delivered" || e.Time.Before(want) || e.Time.After(want.Add(time.Second)) {
		r.t.Errorf("%s: %s at %v, wanted a delivery at %v", id, e.Kind, e.Time, want)
	}
}

func TestWindowHoldsMailUntilItOpensWhereTheRecipientLives(t *testing.T) {
	t.Parallel()
	bound(t, Policy{Window: hours(t, "08:00-20:00")}, func(t testing.TB, w *world, r *running) {
		w.people["ann"] = Person{Zone: zone(t, "America/New_York")}
		ann, bob := r.send("ann"), r.send("bob")
		synctest.Wait()
		if got := r.kinds(ann); got != "accepted delivered " { // 19:00 in New York
			t.Errorf("ann: %s", got)
		}
		if got := r.why(bob); got != "waits for its send window, opens at 08:00 UTC on 2000-01-01 (open 08:00-20:00)" {
			t.Errorf("bob waits: %s", got)
		}
		time.Sleep(2 * time.Hour) // 21:00 in New York
		late := r.send("ann")
		time.Sleep(13 * time.Hour)
		r.until(0)
		r.deliveredAt(bob, hour(8*time.Hour))
		r.deliveredAt(late, hour(13*time.Hour))
		if got := r.kinds(bob); got != "accepted delayed delivered " {
			t.Errorf("events: %s", got)
		}
	})
}

func TestWindowHoldsForRetriesAndIsAskedAgainWhenTheZoneChanges(t *testing.T) {
	t.Parallel()
	bound(t, Policy{Window: hours(t, "02:00-00:30")}, func(t testing.TB, w *world, r *running) {
		time.Sleep(29 * time.Minute)
		w.answers(func(*store.Entry) Outcome { return deferred("later") })
		id := r.send("ann")
		synctest.Wait()
		if e := r.last(id); e.Kind != "deferred" || !e.Next.Equal(hour(2*time.Hour)) {
			t.Errorf("%s, next at %v", e.Kind, e.Next)
		}
		if got := r.why(id); !strings.HasPrefix(got, "waits for its send window, opens at 02:00 UTC on 2000-01-01") {
			t.Errorf("waits: %s", got)
		}
		w.answers(nil)
		w.mu.Lock()
		w.people["ann"] = Person{Zone: zone(t, "Atlantic/Azores")} // she moves, an hour west
		w.mu.Unlock()
		time.Sleep(2 * time.Hour)
		if got := r.why(id); !strings.HasPrefix(got, "waits for its send window, opens at 02:00 Atlantic/Azores on 2000-01-01") {
			t.Errorf("waits: %s", got)
		}
		time.Sleep(time.Hour)
		r.deliveredAt(id, hour(3*time.Hour))
		if got := r.kinds(id); got != "accepted deferred delayed delivered " {
			t.Errorf("events: %s", got)
		}
	})
}

func TestWindowDoesNotKeepMailFromExpiring(t *testing.T) {
	t.Parallel()
	bound(t, Policy{Window: hours(t, "02:00-20:00")}, func(t testing.TB, w *world, r *running) {
		s := r.message("ann", "active")
		s.Recipients[0].Expires = hour(time.Hour)
		id := store.ID{Message: r.enqueue(s)}
		time.Sleep(3 * time.Hour)
		if e := r.last(id); e.Kind != "expired" || e.Reason != "unsent" || len(w.received) != 0 {
			t.Errorf("ended %s %q, %d were sent", e.Kind, e.Reason, len(w.received))
		}
	})
}

func TestWindowAndFrequencyAreNotForTransactionalMail(t *testing.T) {
	t.Parallel()
	policy := Policy{Window: hours(t, "01:00-23:00"), ContactCap: Cap{Count: 1, Per: 24 * time.Hour}}
	bound(t, policy, func(t testing.TB, _ *world, r *running) {
		for range 3 {
			s := r.message("ann", "active")
			s.Recipients[0].Class.Stream = "transactional"
			r.enqueue(s)
		}
		synctest.Wait()
		r.until(0)
		time.Sleep(2 * time.Hour)
		id := r.send("ann") // they did not count either
		synctest.Wait()
		if got := r.kinds(id); got != "accepted delivered " {
			t.Errorf("events: %s", got)
		}
	})
}

// A move to another segment asks the window of that one; a not-before that the
// submitter asked for stays.
func TestWindowEndsWithTheLane(t *testing.T) {
	t.Parallel()
	window := hours(t, "08:00-20:00")
	policy := func(c store.Class) Policy {
		if c.Segment == "trial" {
			return Policy{Window: window, OnLeave: LeavingRelane}
		}
		return Policy{}
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := startWith(t, vfs.NewMem(), w, func(o *Options) { o.Policy = policy })
		now, dated := r.message("ann", "active"), r.message("ann", "active")
		now.Recipients[0].Class.Segment, dated.Recipients[0].Class.Segment = "trial", "trial"
		d := &dated.Recipients[0]
		d.Base, d.Due, d.Wait = hour(3*time.Hour), hour(8*time.Hour), "waits for its send window"
		first, second := store.ID{Message: r.enqueue(now)}, store.ID{Message: r.enqueue(dated)}
		time.Sleep(time.Hour)
		if err := r.Leave(t.Context(), rfc5321.Address{Local: "ann", Domain: "example.com"}, "trial"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Hour)
		r.deliveredAt(first, hour(time.Hour))
		r.deliveredAt(second, hour(3*time.Hour))
		r.verify()
		r.stop()
	})
}
