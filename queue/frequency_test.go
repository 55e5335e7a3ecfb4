// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/queue/store"
)

// capped is at most n messages in two hours to a contact.
func capped(n int) Policy {
	return Policy{ContactCap: Cap{Count: n, Per: 2 * time.Hour, Text: fmt.Sprintf("%d/2h", n)}, CappedWait: 48 * time.Hour}
}

func TestFrequencyCapMakesMailWaitForRoom(t *testing.T) {
	t.Parallel()
	bound(t, capped(2), func(t testing.TB, _ *world, r *running) {
		first := r.send("ann")
		time.Sleep(time.Hour)
		second, third := r.send("ann"), r.send("ann")
		synctest.Wait()
		if r.kinds(second) == "accepted delayed " {
			second, third = third, second
		}
		r.deliveredAt(first, hour(0))
		r.deliveredAt(second, hour(time.Hour))
		want := "waits for room under contact_cap 2/2h of segment : 2 used, until 2000-01-01 02:00 UTC; dropped at 2000-01-03 01:00 UTC"
		if got := r.why(third); got != want {
			t.Errorf("waits: %s", got)
		}
		if e := r.last(third); e.Kind != "delayed" || !e.Next.Equal(hour(2*time.Hour)) || e.Reason != want {
			t.Errorf("event %s, next %v, %q", e.Kind, e.Next, e.Reason)
		}
		bob := r.send("bob")
		time.Sleep(2 * time.Hour)
		r.deliveredAt(bob, hour(time.Hour))
		r.deliveredAt(third, hour(2*time.Hour))
	})
}

// Two messages to one contact at a time, on connections of their own: one reserves,
// the other waits for its outcome. If that fails the room is the other's.
func TestFrequencyCapHoldsForWhatIsInFlight(t *testing.T) {
	t.Parallel()
	for _, end := range []Kind{Delivered, Deferred, Bounced} {
		bound(t, capped(1), func(t testing.TB, w *world, r *running) {
			gate := make(chan struct{})
			w.pause = func(context.Context) { <-gate }
			sent := 0
			w.mail = func(*Job) { w.mu.Lock(); sent++; w.mu.Unlock() }
			var first store.ID
			w.answer = func(e *store.Entry) Outcome {
				if first == (store.ID{}) {
					first = e.ID
					return Outcome{Kind: end}
				}
				return Outcome{Kind: Delivered}
			}
			ids := []store.ID{r.send("ann"), r.send("ann")}
			synctest.Wait()
			if w.mu.Lock(); sent != 1 {
				t.Errorf("%d are in flight under a cap of 1", sent)
			}
			w.mu.Unlock()
			close(gate)
			time.Sleep(roomWait)
			synctest.Wait()
			second := ids[0]
			if second == first {
				second = ids[1]
			}
			want := "accepted delayed delivered "
			if end == Delivered {
				want = "accepted delayed delayed "
			}
			if got := r.kinds(second); got != want {
				t.Errorf("after %v the other one has the events %s", end, got)
			}
			if end == Delivered && !strings.Contains(r.why(second), "until 2000-01-01 02:00 UTC") {
				t.Errorf("waits: %s", r.why(second))
			}
		})
	}
}

// What took long counts from its end: a span never holds more than the cap,
// however late an outcome comes.
func TestFrequencyCountsFromTheOutcome(t *testing.T) {
	t.Parallel()
	bound(t, capped(1), func(t testing.TB, w *world, r *running) {
		w.pause = func(context.Context) { time.Sleep(10 * time.Minute) }
		first := r.send("ann")
		time.Sleep(time.Hour)
		synctest.Wait() // sleeping alone orders nothing
		w.pause = nil
		second := r.send("ann")
		time.Sleep(2 * time.Hour)
		r.deliveredAt(first, hour(10*time.Minute))
		r.deliveredAt(second, hour(130*time.Minute))
	})
}

func TestFrequencyCapOfAnAccountCountsAllItsContacts(t *testing.T) {
	t.Parallel()
	policy := Policy{AccountCap: Cap{Count: 2, Per: time.Hour, Text: "2/1h"}, CappedWait: 48 * time.Hour}
	bound(t, policy, func(t testing.TB, w *world, r *running) {
		w.people["ann"] = Person{Accounts: []uint64{7}}
		w.people["bob"] = Person{Accounts: []uint64{7, 8}}
		w.people["eve"] = Person{Accounts: []uint64{8}}
		r.deliver("ann", "bob")
		eve, cid := r.send("eve"), r.send("cid") // of account 8, and of none
		ann := r.send("ann")
		synctest.Wait()
		if r.kinds(eve) != "accepted delivered " || r.kinds(cid) != "accepted delivered " {
			t.Errorf("eve: %s, cid: %s", r.kinds(eve), r.kinds(cid))
		}
		if got := r.why(ann); !strings.HasPrefix(got, "waits for room under account_cap 2/1h of segment : 2 used") {
			t.Errorf("ann waits: %s", got)
		}
		again := r.send("eve")
		synctest.Wait()
		if got := r.why(again); !strings.HasPrefix(got, "waits for room under account_cap 2/1h of segment : 2 used") { // bob's and hers
			t.Errorf("eve waits: %s", got)
		}
		time.Sleep(2*time.Hour + time.Minute)
		r.until(0)
	})
}

// deliver sends one after another.
func (r *running) deliver(locals ...string) {
	r.t.Helper()
	for _, local := range locals {
		id := r.send(local)
		synctest.Wait()
		if got := r.kinds(id); got != "accepted delivered " {
			r.t.Errorf("%s: %s", local, got)
		}
	}
}

func TestFrequencyCapDropsAtOnceOrAfterItsWait(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		drop   bool
		per    time.Duration
		window string
		at     time.Duration
		reason string
	}{
		{true, 2 * time.Hour, "", 0, "contact_cap 1/2h of segment  is full: 1 used"},
		{false, 3 * time.Hour, "", 2 * time.Hour, "no room under a cap within 2h0m0s: contact_cap 1/2h of segment , 1 used"},
		// Its wait ends while the window is closed.
		{false, 3 * time.Hour, "03:00-01:00", 2 * time.Hour, "no room under a cap within 2h0m0s: contact_cap 1/2h of segment , 1 used"},
		{false, 3 * time.Hour, "04:00-00:30", 2 * time.Hour, "no room under a cap within 2h0m0s: contact_cap 1/2h of segment , 1 used"},
		// There is room when the window is closed: it waits for the window alone.
		{false, 90 * time.Minute, "03:00-01:00", 3 * time.Hour, ""},
	} {
		policy := capped(1)
		policy.ContactCap.Per = x.per
		policy.DropCapped, policy.CappedWait = x.drop, 2*time.Hour
		if x.window != "" {
			policy.Window = hours(t, x.window)
		}
		bound(t, policy, func(t testing.TB, _ *world, r *running) {
			r.deliver("ann")
			id := r.send("ann")
			time.Sleep(x.at + time.Hour)
			if x.reason == "" {
				r.deliveredAt(id, hour(x.at))
				return
			}
			if e := r.last(id); e.Kind != "dropped" || e.Reason != x.reason || e.Time.Before(hour(x.at)) || e.Time.After(hour(x.at+time.Minute)) {
				t.Errorf("ended %s at %v: %q", e.Kind, e.Time, e.Reason)
			}
		})
	}
}

// The segment that decides the lane decides the cap; what others send counts.
func TestFrequencyCountsMailOfEverySegment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startWith(t, vfs.NewMem(), newWorld(), func(o *Options) {
			o.ContactSpan = 2 * time.Hour
			o.Policy = func(c store.Class) Policy {
				if c.Segment == "capped" {
					return capped(2)
				}
				return Policy{}
			}
		})
		r.deliver("ann", "ann", "ann")
		s := r.message("ann", "active")
		s.Recipients[0].Class.Segment = "capped"
		id := store.ID{Message: r.enqueue(s)}
		synctest.Wait()
		if got := r.why(id); !strings.HasPrefix(got, "waits for room under contact_cap 2/2h of segment capped: 2 used, until 2000-01-01 02:00") {
			t.Errorf("waits: %s", got)
		}
		r.verify()
		r.stop()
	})
}

// tally is when each contact was sent which message, as its peers saw it.
type tally struct {
	sent map[string]map[store.ID]time.Time // the last reception of each message
}

func (c *tally) received(e *store.Entry) {
	if c.sent[e.Address.Local] == nil {
		c.sent[e.Address.Local] = map[store.ID]time.Time{}
	}
	c.sent[e.Address.Local][e.ID] = time.Now()
}

// most is the largest number of messages that a contact got in a span.
func (c *tally) most(span time.Duration) (most int) {
	for _, list := range c.sent {
		for _, end := range list {
			n := 0
			for _, at := range list {
				if !at.After(end) && at.After(end.Add(-span)) {
					n++
				}
			}
			most = max(most, n)
		}
	}
	return most
}

// Many messages to few contacts over many connections, some of which fail: no
// span ever holds more than the cap, and everything ends.
func TestFrequencyCapHoldsUnderLoad(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		policy := Policy{ContactCap: Cap{Count: 3, Per: 10 * time.Minute, Text: "3/10m"}, CappedWait: 2 * time.Hour}
		bound(t, policy, func(t testing.TB, w *world, r *running) {
			roll := dice(rand.New(rand.NewPCG(seed, 3)))
			c := tally{sent: map[string]map[store.ID]time.Time{}}
			w.pause = func(context.Context) { time.Sleep(time.Duration(roll(60)) * time.Second) }
			w.answer = func(e *store.Entry) Outcome {
				switch roll(6) {
				case 0:
					return deferred("later")
				case 1:
					return Outcome{Kind: Bounced}
				}
				c.received(e)
				return Outcome{Kind: Delivered}
			}
			for i := range 50 {
				s := r.message(name(i%4), "active")
				s.Recipients[0].Address.Domain = fmt.Sprintf("d%d.example", i%4)
				r.enqueue(s)
				time.Sleep(time.Duration(roll(15)) * time.Second)
			}
			time.Sleep(3 * time.Hour)
			r.until(0)
			if most := c.most(10 * time.Minute); most != 3 {
				t.Errorf("seed %d: %d in a span, 3 are allowed", seed, most)
			}
		})
	}
}
