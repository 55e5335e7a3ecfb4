// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/store"
)

func at(local string) rfc5321.Address { return rfc5321.Address{Local: local, Domain: "example.com"} }

// laned is a message whose lane a segment decided, due in an hour.
func (r *running) laned(local, segment string) store.ID {
	r.t.Helper()
	s := r.message(local, "active")
	s.Recipients[0].Class.Segment, s.Recipients[0].Version = segment, 3
	s.Recipients[0].Due = r.w.clock.now().Add(time.Hour)
	return store.ID{Message: r.enqueue(s)}
}

// leaving runs a test with a queue whose segments say what becomes of mail: each
// by its name, "keep", "relane" and "drop".
func leaving(t *testing.T, f func(t testing.TB, w *world, r *running)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := startWith(t, vfs.NewMem(), w, func(o *Options) {
			o.Policy = func(c store.Class) Policy { return Policy{OnLeave: Leaving(c.Segment)} }
		})
		f(t, w, r)
		synctest.Wait()
		r.verify()
		r.stop()
	})
}

func (r *running) leave(local, segment string) {
	r.t.Helper()
	if err := r.Leave(r.t.Context(), at(local), segment); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

func TestLeavingASegmentKeepsRelanesOrDropsWhatItLaned(t *testing.T) {
	leaving(t, func(t testing.TB, w *world, r *running) {
		w.segments["ann"] = []string{"other"}
		keep, relane, drop, other := r.laned("ann", "keep"), r.laned("ann", "relane"), r.laned("ann", "drop"), r.laned("ann", "other")
		transactional := r.message("ann", "active")
		transactional.Recipients[0].Class.Segment, transactional.Recipients[0].Class.Stream = "drop", "transactional"
		transactional.Recipients[0].Due = hour(time.Hour)
		receipt, bob := store.ID{Message: r.enqueue(transactional)}, r.laned("bob", "drop")
		held := r.laned("ann", "drop")
		if err := r.Do(t.Context(), held, Holding("review")); err != nil {
			t.Fatal(err)
		}
		for range 2 { // a second time changes nothing
			for _, segment := range []string{"keep", "relane", "drop"} {
				r.leave("ann", segment)
			}
		}
		for id, want := range map[store.ID]string{
			keep: "accepted ", relane: "accepted relaned ", drop: "accepted dropped ", other: "accepted ", receipt: "accepted ", bob: "accepted ", held: "accepted held dropped ",
		} {
			if got := r.kinds(id); got != want {
				t.Errorf("%s has the events %s, not %s", id, got, want)
			}
		}
		if e := r.last(relane); e.Segment != "other" || e.SegmentVersion != 7 || e.Reason != "left segment relane" {
			t.Errorf("relaned to %q, version %d: %s", e.Segment, e.SegmentVersion, e.Reason)
		}
		if e := r.last(drop); e.Reason != "left segment drop" {
			t.Errorf("dropped: %s", e.Reason)
		}
		if rec := r.record(relane); r.st.Class(rec.Class).Segment != "other" || rec.Version != 7 || !rec.Due.Equal(hour(time.Hour)) {
			t.Errorf("relaned: %+v", rec)
		}
	})
}

// Who is back in the segment when the news is read has not left it.
func TestLeavingAndComingBackChangesNothing(t *testing.T) {
	leaving(t, func(t testing.TB, w *world, r *running) {
		w.segments["ann"] = []string{"other", "drop"}
		id := r.laned("ann", "drop")
		r.leave("ann", "drop")
		if got := r.kinds(id); got != "accepted " {
			t.Errorf("events: %s", got)
		}
	})
}

// In flight, the policy applies to what the attempt leaves behind.
func TestLeavingInFlightWaitsForTheConclusion(t *testing.T) {
	for _, end := range []Kind{Delivered, Deferred} {
		leaving(t, func(t testing.TB, w *world, r *running) {
			gate := make(chan struct{})
			w.pause = func(context.Context) { <-gate }
			w.answer = func(*store.Entry) Outcome { return Outcome{Kind: end} }
			s := r.message("ann", "active")
			s.Recipients[0].Class.Segment = "drop"
			id := store.ID{Message: r.enqueue(s)}
			synctest.Wait()
			r.leave("ann", "drop")
			if got := r.kinds(id); got != "accepted " {
				t.Errorf("in flight: %s", got)
			}
			close(gate)
			synctest.Wait() // an act under way is counted nowhere
			r.until(0)
			want := "accepted delivered "
			if end == Deferred {
				want = "accepted deferred dropped "
			}
			if got := r.kinds(id); got != want {
				t.Errorf("events: %s", got)
			}
		})
	}
}

// A changed rule names nobody: all mail that the segment laned is looked at.
func TestLeavingByAChangedRuleReachesEverybody(t *testing.T) {
	leaving(t, func(t testing.TB, w *world, r *running) {
		n := page + 20
		for i := range n {
			if i%10 == 0 {
				w.segments[name(i)] = []string{"drop"}
			}
			r.laned(name(i), "drop")
		}
		stays := r.laned("ann", "keep")
		if err := r.LeaveAll(t.Context(), "drop"); err != nil {
			t.Fatal(err)
		}
		if err := r.LeaveAll(t.Context(), "keep"); err != nil {
			t.Fatal(err)
		}
		r.until(n/10 + 1)
		if got := r.kinds(stays); got != "accepted " {
			t.Errorf("events: %s", got)
		}
	})
}

// News of a contact reads that contact's mail and no other, however much waits.
func TestRelaneReadsOnlyTheContactsMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := start(t, vfs.NewMem(), w)
		for i := range 2000 {
			r.laned(name(i), "trial")
		}
		mine := []store.ID{r.laned("ann", "trial"), r.laned("ann", ""), r.laned("ann", "trial")}
		w.suppressed["ann"] = "complaint (all)"
		if err := r.Recheck(t.Context(), at("ann")); err != nil {
			t.Fatal(err)
		}
		if w.asked != len(mine) {
			t.Errorf("%d recipients were looked at, %d are the contact's", w.asked, len(mine))
		}
		for _, id := range mine {
			if got := r.kinds(id); got != "accepted suppressed " {
				t.Errorf("events: %s", got)
			}
		}
		r.until(2000)
		r.verify()
		r.stop()
	})
}

func TestRelaneOfAnErasedContactDropsAllItsMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		gate := make(chan struct{})
		w.pause = func(context.Context) { <-gate }
		w.answer = func(*store.Entry) Outcome { return deferred("later") }
		r := start(t, vfs.NewMem(), w)
		waits, held, other := r.laned("ann", "trial"), r.laned("ann", ""), r.laned("bob", "")
		if err := r.Do(t.Context(), held, Holding("review")); err != nil {
			t.Fatal(err)
		}
		flies := r.send("ann")
		synctest.Wait()
		erased := make(chan int, 1)
		go func() {
			n, err := r.Erase(context.Background(), rfc5321.Address{Local: "ANN", Domain: "example.com"})
			if err != nil {
				t.Error(err)
			}
			erased <- n
		}()
		synctest.Wait()
		select {
		case n := <-erased:
			t.Error("the contact is erased while its mail is in flight")
			erased <- n
		default:
		}
		close(gate)
		if n := <-erased; n != 3 {
			t.Errorf("%d were erased", n)
		}
		for id, want := range map[store.ID]string{
			waits: "accepted dropped ", held: "accepted held dropped ", flies: "accepted deferred dropped ", other: "accepted ",
		} {
			if got := r.kinds(id); got != want {
				t.Errorf("%s has the events %s", id, got)
			}
		}
		if e := r.last(held); e.Reason != "erased" {
			t.Errorf("dropped: %s", e.Reason)
		}
		if n, err := r.Erase(t.Context(), at("ann")); n != 0 || err != nil {
			t.Errorf("a second time: %d, %v", n, err)
		}
		r.verify()
		r.stop()
	})
}

// Who is held back is accepted and concluded at once, with an event.
func TestHoldbackConcludesWhatItAccepts(t *testing.T) {
	bubble(t, func(t testing.TB, w *world, r *running) {
		s := r.message("ann", "active")
		s.Recipients[0].Dropped = "holdback"
		id := store.ID{Message: r.enqueue(s)}
		both := r.message("bob", "active")
		both.Recipients = append(both.Recipients, s.Recipients[0])
		second := r.enqueue(both)
		r.until(0)
		for _, id := range []store.ID{id, {Message: second, Recipient: 1}} {
			if got := r.kinds(id); got != "accepted dropped " {
				t.Errorf("events: %s", got)
			}
		}
		if e := r.last(id); e.Reason != "holdback" {
			t.Errorf("dropped: %s", e.Reason)
		}
		if len(w.received) != 1 {
			t.Errorf("%d were sent", len(w.received))
		}
	})
}
