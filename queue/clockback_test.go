// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
)

// A retry that is being written while the clock is set back was reckoned by the
// old clock, although it reaches the disk after the step was told.
func TestClockSetBackBringsForwardWhatIsBeingWritten(t *testing.T) {
	t.Parallel()
	bubble(t, func(t testing.TB, w *world, r *running) {
		w.answers(func(*store.Entry) Outcome { return deferred("later") })
		id := r.send("a")
		r.deferredAll([]store.ID{id})
		set := make(chan error, 1)
		err := r.st.Commit(t.Context(), func(tx *store.Tx) error {
			rec, err := tx.Recipient(id)
			if err != nil {
				return err
			}
			from, to := w.clock.set(-5 * time.Hour)
			go func() { set <- r.ClockSet(context.Background(), from, to) }()
			synctest.Wait() // it waits for the committer
			next := rec
			next.Due = tx.Now().Add(5 * time.Minute)
			tx.Put(id, rec, next)
			tx.Event(&event.Event{Kind: event.Deferred, Message: id.Message, Recipient: id.Recipient})
			return nil
		})
		if err := errors.Join(err, <-set); err != nil {
			t.Fatal(err)
		}
		if wait := r.record(id).Due.Sub(w.clock.now()); wait > 5*time.Minute {
			t.Errorf("a retry in five minutes is due in %v", wait)
		}
	})
}

// Events of a clock that was a year ahead do not keep the log from being cut for a year.
func TestClockSetBackDoesNotStopTheCutOfTheLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const year = 365 * 24 * time.Hour
		r := startWith(t, vfs.NewMem(), newWorld(), func(o *Options) {
			o.EventRetention = time.Hour
			o.Consumed = func() uint64 { return math.MaxUint64 }
		})
		r.send("a")
		r.set(year)
		r.send("b")
		r.until(0)
		r.set(-year)
		r.send("c")
		r.until(0)
		time.Sleep(30 * time.Minute)
		if list, err := r.st.Head(100); err != nil || len(list) != 6 {
			t.Errorf("half of the retention later %d of 6 events are there, %v", len(list), err)
		}
		r.set(-20 * year)
		time.Sleep(10 * time.Minute)
		if list, err := r.st.Head(100); err != nil || len(list) != 6 {
			t.Errorf("with a clock far behind %d of 6 events are there, %v", len(list), err)
		}
		r.set(20 * year)
		time.Sleep(time.Hour)
		if list, err := r.st.Head(100); err != nil || len(list) != 0 {
			t.Errorf("after the retention: %d events, %v", len(list), err)
		}
		r.verify()
		r.stop()
	})
}

// A retry that is written by the new clock while what waits is brought forward is not
// brought forward itself.
func TestClockSetBackLeavesWhatTheNewClockWrote(t *testing.T) {
	t.Parallel()
	bubble(t, func(t testing.TB, w *world, r *running) {
		w.answers(func(*store.Entry) Outcome { return deferred("later") })
		id := r.send("a")
		r.deferredAll([]store.ID{id})
		old := r.record(id)
		w.clock.set(-5 * time.Hour)
		last, _ := r.st.Durable()
		back := setBack{From: w.clock.now().Add(5 * time.Hour), By: 5 * time.Hour, Sequence: last}
		if !back.moves(&old, w.clock.now()) {
			t.Fatal("the retry would not be brought forward")
		}
		due := w.clock.now().Add(10 * time.Minute)
		err := r.st.Commit(t.Context(), func(tx *store.Tx) error {
			next := old
			next.Due = due
			tx.Put(id, old, next)
			tx.Event(&event.Event{Kind: event.Deferred, Message: id.Message, Recipient: id.Recipient})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		r.apply(id, &act{kind: event.Released, back: &back}, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if wait := r.record(id).Due.Sub(due); wait != 0 {
			t.Errorf("the retry was moved by %v", wait)
		}
	})
}
