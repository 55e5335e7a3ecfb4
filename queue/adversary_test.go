// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/store"
)

// The tests of this file are the ways in which mail was once lost, repeated or
// left without an owner.

// blockWrites stops the committer before its next operation until the returned
// function is called.
func (r *running) blockWrites() (release func()) {
	gate, held := make(chan struct{}), make(chan struct{})
	r.st.Submit(func(*store.Tx) error { close(held); <-gate; return nil }, func(error) {})
	<-held
	return func() { close(gate) }
}

// blockAnswers lets the committer write and sync, but stops it before it tells
// anybody, from the next operation on.
func (r *running) blockAnswers() (release func()) {
	gate := make(chan struct{})
	r.st.Submit(func(*store.Tx) error { return nil }, func(error) { <-gate })
	return func() { close(gate) }
}

// blockRoutes makes lookups wait until the returned function is called.
func (w *world) blockRoutes() (release func()) {
	gate := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lookup = func(ctx context.Context) {
		select {
		case <-gate:
		case <-ctx.Done():
		}
	}
	return func() { close(gate) }
}

func (w *world) total() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.received)
}

func (w *world) times(id store.ID) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.received[id]
}

// idle asserts that nothing is counted anywhere.
func (r *running) idle() {
	r.t.Helper()
	synctest.Wait()
	if n := r.Total(); n != (Count{}) {
		r.t.Errorf("the queue is empty, but counts %+v", n)
	}
}

func (r *running) enqueue(s *Submission) uint64 {
	r.t.Helper()
	mid, err := r.Enqueue(context.Background(), s)
	if err != nil {
		r.t.Fatal(err)
	}
	return mid
}

// transactional is a message of the stream that may go to several at once.
func (r *running) transactional(locals ...string) *Submission {
	s := r.message("", "active")
	s.Recipients = nil
	for _, local := range locals {
		s.Recipients = append(s.Recipients, Recipient{
			Address: rfc5321.Address{Local: local, Domain: "example.com"},
			Class:   store.Class{Stream: "transactional", Tier: "active", Pool: "main"}, Expires: r.w.clock.now().Add(24 * time.Hour),
		})
	}
	return s
}

// A store that can no longer write cannot record outcomes: what is sent from
// then on is sent again after the restart. Only what is in flight may go on.
func TestAFailedStoreStopsSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		gate := make(chan struct{})
		w.pause = func(context.Context) { <-gate }
		r := start(t, vfs.NewMem(), w)
		for i := range 200 {
			r.send(name(i))
		}
		synctest.Wait()
		flying := r.Total().InFlight
		err := r.st.Commit(t.Context(), func(tx *store.Tx) error {
			tx.PutState("half", nil)
			return errors.New("broken in the middle")
		})
		if err == nil || r.st.Err() == nil {
			t.Fatal("the store did not fail")
		}
		close(gate)
		select {
		case <-r.ended:
		case <-time.After(time.Hour):
			t.Error("the queue goes on without a store")
		}
		if n := w.total(); n == 0 || n > flying {
			t.Errorf("%d were sent after the store failed, %d were in flight", n, flying)
		}
		if _, err := r.Enqueue(t.Context(), r.message("late", "active")); err == nil {
			t.Error("mail was accepted by a failed store")
		}
		r.stop()
	})
}

// Waiting for contact state must not move a recipient to where the window does
// not find it again.
func TestALongBacklogSurvivesLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.lagging = true
		r := start(t, vfs.NewMem(), w)
		const n = 500
		for i := range n {
			r.send(name(i))
		}
		time.Sleep(2*time.Minute + time.Second)
		if w.total() != 0 {
			t.Errorf("%d were sent while contact state lagged", w.total())
		}
		s, err := r.Why(t.Context(), store.ID{Message: 1})
		if err != nil || s.Why.Code != WhyContacts {
			t.Errorf("why: %+v, %v", s.Why, err)
		}
		w.mu.Lock()
		w.lagging = false
		w.mu.Unlock()
		time.Sleep(time.Minute)
		if w.total() != n {
			t.Errorf("%d of %d were delivered after the lag", w.total(), n)
		}
		r.idle()
		r.stop()
	})
}

func TestTransactionalMailObeysSuppressionWhileContactsLag(t *testing.T) {
	bubble(t, func(t testing.TB, w *world, r *running) {
		w.lagging = true
		w.suppressed["gone"] = "hard_bounce (all)"
		mid := r.enqueue(r.transactional("gone", "here"))
		r.until(0)
		if got := r.kinds(store.ID{Message: mid}); got != "accepted suppressed " {
			t.Errorf("the suppressed one: %s", got)
		}
		if got := r.kinds(store.ID{Message: mid, Recipient: 1}); got != "accepted delivered " {
			t.Errorf("the other one: %s", got)
		}
		r.idle()
	})
}

// A page of which everything left while it was read says nothing about what is
// behind it.
func TestAPageThatWasOvertakenIsNotTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		w := newWorld()
		release := w.blockRoutes()
		r := start(t, fs, w)
		const n, held = 300, 64
		var ids []store.ID
		for i := range n {
			ids = append(ids, r.send(name(i)))
		}
		synctest.Wait()
		r.stop()
		release()
		release = w.blockRoutes()
		r = start(t, fs, w)
		synctest.Wait()
		unblock := r.blockWrites()
		for _, id := range ids[:held] {
			r.apply(id, &act{kind: event.Held, hold: "review"}, func(error) {})
		}
		synctest.Wait()
		release()
		synctest.Wait()
		unblock()
		time.Sleep(time.Hour)
		if w.total() != n-held {
			t.Errorf("%d of %d were delivered", w.total(), n-held)
		}
		if c := r.Total(); c != (Count{Held: held}) {
			t.Errorf("counts %+v", c)
		}
		r.stop()
	})
}

// One recipient that somebody else changed must not take the outcome of the
// others with it: they were received and would be sent again.
func TestAStaleRecipientDoesNotRepeatTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		w := newWorld()
		gate := make(chan struct{})
		w.pause = func(context.Context) { <-gate }
		r := start(t, fs, w)
		mid := r.enqueue(r.transactional("a", "b", "c"))
		synctest.Wait()
		b := store.ID{Message: mid, Recipient: 1}
		err := r.st.Commit(t.Context(), func(tx *store.Tx) error {
			old, err := tx.Recipient(b)
			if err != nil {
				return err
			}
			tx.Put(b, old, old)
			tx.Event(&event.Event{Kind: event.Relaned, Message: mid, Recipient: 1})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		close(gate)
		time.Sleep(time.Minute)
		r.verify()
		r.stop()
		w.pause = nil
		r = start(t, fs, w)
		time.Sleep(time.Minute)
		for n, id := range []store.ID{{Message: mid}, b, {Message: mid, Recipient: 2}} {
			if got := w.times(id); got < 1 || got > 1 && n != 1 {
				t.Errorf("recipient %d was received %d times", n, got)
			}
		}
		r.idle()
		r.verify()
		r.stop()
	})
}

// Mail that is synced but of which the machine has not heard yet belongs to
// nobody but its own fact.
func TestARecheckThatOvertakesTheMailKeepsTheCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := start(t, vfs.NewMem(), w)
		synctest.Wait()
		w.mu.Lock()
		w.suppressed["a"] = "complaint (all)"
		w.mu.Unlock()
		release := r.blockAnswers()
		var wg sync.WaitGroup
		wg.Go(func() { r.send("a") })
		synctest.Wait()
		wg.Go(func() {
			if err := r.Recheck(t.Context(), rfc5321.Address{Local: "a", Domain: "example.com"}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		release()
		wg.Wait()
		if w.total() != 0 {
			t.Error("it was sent")
		}
		r.idle()
		r.stop()
	})
}

func TestAPageThatOvertakesTheMailKeepsTheCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		w := newWorld()
		release := w.blockRoutes()
		r := start(t, fs, w)
		r.send("old")
		r.stop()
		release()
		release = w.blockRoutes()
		r = start(t, fs, w)
		synctest.Wait()
		unblock := r.blockWrites()
		answer := r.blockAnswers()
		var wg sync.WaitGroup
		wg.Go(func() { r.send("new") })
		synctest.Wait()
		unblock()
		synctest.Wait()
		release()
		synctest.Wait()
		answer()
		wg.Wait()
		time.Sleep(time.Minute)
		if w.total() != 2 {
			t.Errorf("%d of 2 were received", w.total())
		}
		r.idle()
		r.stop()
	})
}

// The disk orders by milliseconds and the machine by what it is told: both must
// be the same, or a window skips what lies between.
func TestDueTimesAreThoseOfTheDisk(t *testing.T) {
	bubble(t, func(t testing.TB, w *world, r *running) {
		w.answer = func(*store.Entry) Outcome { return deferred("later") }
		s := r.message("a", "active")
		s.Recipients[0].Due = time.Now().Add(time.Hour + 345*time.Microsecond)
		id := store.ID{Message: r.enqueue(s)}
		whole := func() {
			t.Helper()
			rec, err := r.st.Recipient(id)
			if err != nil {
				t.Fatal(err)
			}
			if !rec.Due.Equal(rec.Due.Truncate(time.Millisecond)) {
				t.Errorf("due at %v", rec.Due)
			}
		}
		whole()
		time.Sleep(123456 * time.Nanosecond)
		if err := r.Do(t.Context(), id, Releasing()); err != nil {
			t.Fatal(err)
		}
		whole()
	})
}

func TestARecheckReachesAllMailOfAContact(t *testing.T) {
	t.Parallel()
	bubble(t, func(t testing.TB, w *world, r *running) {
		s := r.message("a", "cooling")
		s.Recipients[0].Due = time.Now().Add(time.Hour)
		const n = page + 100
		for len(s.Recipients) < n {
			s.Recipients = append(s.Recipients, s.Recipients[0])
		}
		mid := r.enqueue(s)
		w.mu.Lock()
		w.tiers["a"] = "active"
		w.mu.Unlock()
		if err := r.Recheck(t.Context(), s.Recipients[0].Address); err != nil {
			t.Fatal(err)
		}
		list, err := r.st.Timeline(mid)
		if err != nil {
			t.Fatal(err)
		}
		moved := 0
		for _, e := range list {
			if e.Kind == event.Relaned && e.Tier == "active" {
				moved++
			}
		}
		if moved != n {
			t.Errorf("%d of %d were moved", moved, n)
		}
	})
}

// More than a page of expired mail in flight must neither spin nor hide the
// expired mail behind it.
func TestExpiryPassesOverMailInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		gate := make(chan struct{})
		w.pause = func(context.Context) { <-gate }
		w.answer = func(*store.Entry) Outcome { return deferred("later") }
		r := start(t, vfs.NewMem(), w)
		locals := make([]string, 50)
		for i := range locals {
			locals[i] = name(i)
		}
		for i := range (page + 100) / len(locals) {
			s := r.transactional(locals...)
			for n := range s.Recipients {
				s.Recipients[n].Address.Domain = fmt.Sprintf("d%d.example", i)
				s.Recipients[n].Expires = time.Now().Add(time.Hour)
			}
			r.enqueue(s)
		}
		synctest.Wait()
		if n := r.Total().InFlight; n < page {
			t.Fatalf("only %d are in flight", n)
		}
		s := r.message("behind", "active")
		s.Recipients[0].Expires = time.Now().Add(time.Hour + time.Second)
		s.Recipients[0].Due = time.Now().Add(2 * time.Hour)
		id := store.ID{Message: r.enqueue(s)}
		time.Sleep(time.Hour + 5*time.Minute)
		if e := r.last(id); e.Kind != event.Expired {
			t.Errorf("what is behind the mail in flight: %s", e.Kind)
		}
		close(gate)
		time.Sleep(time.Minute)
		r.idle()
		r.verify()
		r.stop()
	})
}

func TestMailThatExpiredBeforeItWasQueuedExpires(t *testing.T) {
	bubble(t, func(t testing.TB, w *world, r *running) {
		w.lagging = true
		time.Sleep(time.Hour) // the expiry cursor is far ahead
		s := r.message("a", "active")
		s.Recipients[0].Expires = time.Now().Add(-10 * time.Minute)
		id := store.ID{Message: r.enqueue(s)}
		time.Sleep(5 * time.Minute)
		if e := r.last(id); e.Kind != event.Expired || e.Reason != "unsent" {
			t.Errorf("it ended %s %q", e.Kind, e.Reason)
		}
		r.idle()
	})
}
