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

// bubble runs a test in simulated time.
func bubble(t *testing.T, f func(t testing.TB, w *world, r *running)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := start(t, vfs.NewMem(), w)
		f(t, w, r)
		synctest.Wait()
		r.verify()
		r.stop()
	})
}

func TestAThousandMessagesAreDeliveredOnce(t *testing.T) {
	w := newWorld()
	r := start(t, vfs.NewMem(), w)
	for i := range 1000 {
		r.send(name(i))
	}
	r.until(0)
	if len(w.received) != 1000 {
		t.Errorf("%d of 1000 were received", len(w.received))
	}
	for id, n := range w.received {
		if n != 1 {
			t.Errorf("%s was received %d times", id, n)
		}
	}
	r.verify()
}

func TestADeferralIsRetriedWithItsSource(t *testing.T) {
	t.Parallel()
	bubble(t, func(t testing.TB, w *world, r *running) {
		tries := 0
		w.answer = func(*store.Entry) Outcome {
			if tries++; tries < 3 {
				return deferred("greylisted")
			}
			return Outcome{Kind: Delivered, Reply: rfc5321.Reply{Code: 250}}
		}
		began := time.Now()
		id := r.send("a")
		r.until(0)
		if got := r.kinds(id); got != "accepted deferred deferred delivered " {
			t.Errorf("events: %s", got)
		}
		if took := time.Since(began); took < 20*time.Minute || took > 21*time.Minute {
			t.Errorf("two retries took %v, not 5 + 15 minutes", took)
		}
	})
}

func TestAHardBounceConcludes(t *testing.T) {
	bubble(t, func(t testing.TB, w *world, r *running) {
		w.answer = func(*store.Entry) Outcome {
			return Outcome{Kind: Bounced, Reply: rfc5321.Reply{Code: 550, Text: "no such user"}, Class: "InvalidRecipient", Verdict: "suppress"}
		}
		id := r.send("a")
		r.until(0)
		if e := r.last(id); e.Kind != "bounced" || e.Verdict != "suppress" || e.Code != 550 {
			t.Errorf("last event %+v", e)
		}
	})
}

func TestMailExpiresInEveryState(t *testing.T) {
	t.Parallel()
	bubble(t, func(t testing.TB, w *world, r *running) {
		w.answer = func(*store.Entry) Outcome { return deferred("later") }
		tried := r.send("tried")
		r.until(1)
		s := r.message("future", "active")
		s.Recipients[0].Due = time.Now().Add(48 * time.Hour)
		mid, err := r.Enqueue(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		held := r.send("held")
		if err := r.Do(t.Context(), held, Holding("review")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Hour)
		r.until(0)
		if e := r.last(tried); e.Kind != "expired" || e.Reason == "unsent" {
			t.Errorf("the attempted one ended %s %q", e.Kind, e.Reason)
		}
		if e := r.last(store.ID{Message: mid}); e.Kind != "expired" || e.Reason != "unsent" {
			t.Errorf("the one that was never due ended %s %q", e.Kind, e.Reason)
		}
		if e := r.last(held); e.Kind != "expired" {
			t.Errorf("the held one ended %s", e.Kind)
		}
	})
}

func TestSuppressionStopsQueuedMail(t *testing.T) {
	bubble(t, func(t testing.TB, w *world, r *running) {
		w.answer = func(*store.Entry) Outcome { return deferred("later") }
		a, b := r.send("a"), r.send("b")
		r.until(2)
		synctest.Wait()
		w.mu.Lock()
		w.suppressed["a"] = "complaint (all)"
		w.mu.Unlock()
		if err := r.Recheck(t.Context(), rfc5321.Address{Local: "a", Domain: "example.com"}); err != nil {
			t.Fatal(err)
		}
		r.until(1)
		if e := r.last(a); e.Kind != "suppressed" || e.Reason != "complaint (all)" {
			t.Errorf("last event %s %q", e.Kind, e.Reason)
		}
		if e := r.last(b); e.Kind != "deferred" {
			t.Errorf("the other one: %s", e.Kind)
		}
	})
}

// A complaint that arrives while the mail is in flight waits for its
// conclusion: a delivery stays a delivery, a deferral is not tried again.
func TestSuppressionInFlightWaitsForTheConclusion(t *testing.T) {
	for _, end := range []string{"delivered", "suppressed"} {
		bubble(t, func(t testing.TB, w *world, r *running) {
			gate := make(chan struct{})
			w.pause = func(context.Context) { <-gate }
			w.answer = func(*store.Entry) Outcome {
				if end == "delivered" {
					return Outcome{Kind: Delivered}
				}
				return deferred("later")
			}
			id := r.send("a")
			synctest.Wait()
			w.mu.Lock()
			w.suppressed["a"] = "complaint (all)"
			w.mu.Unlock()
			if err := r.Recheck(t.Context(), rfc5321.Address{Local: "a", Domain: "example.com"}); err != nil {
				t.Fatal(err)
			}
			close(gate)
			r.until(0)
			synctest.Wait()
			if e := r.last(id); string(e.Kind) != end {
				t.Errorf("ended %s, not %s", e.Kind, end)
			}
		})
	}
}

func TestSuppressedIsNotSentEvenIfNobodyRechecked(t *testing.T) {
	bubble(t, func(t testing.TB, w *world, r *running) {
		w.suppressed["a"] = "hard_bounce (all)"
		id := r.send("a")
		r.until(0)
		if got := r.kinds(id); got != "accepted suppressed " {
			t.Errorf("events: %s", got)
		}
		if len(w.received) != 0 {
			t.Error("it was sent")
		}
	})
}

func TestAChangedTierMovesTheMailAtTheDoor(t *testing.T) {
	bubble(t, func(t testing.TB, w *world, r *running) {
		w.tiers["a"] = "dormant"
		id := r.send("a")
		r.until(0)
		if got := r.kinds(id); got != "accepted relaned delivered " {
			t.Errorf("events: %s", got)
		}
		if e := r.last(id); e.Tier != "dormant" {
			t.Errorf("delivered as tier %s", e.Tier)
		}
	})
}

func TestMarketingWaitsWhileContactsLag(t *testing.T) {
	bubble(t, func(t testing.TB, w *world, r *running) {
		w.lagging = true
		id := r.send("a")
		time.Sleep(time.Minute)
		if got := r.kinds(id); got != "accepted " {
			t.Errorf("while lagging: %s", got)
		}
		w.mu.Lock()
		w.lagging = false
		w.mu.Unlock()
		r.until(0)
		if got := r.kinds(id); got != "accepted delivered " {
			t.Errorf("afterwards: %s", got)
		}
	})
}

func TestHoldReleaseDropMove(t *testing.T) {
	bubble(t, func(t testing.TB, w *world, r *running) {
		w.answer = func(*store.Entry) Outcome { return deferred("later") }
		a, b := r.send("a"), r.send("b")
		r.until(2)
		synctest.Wait()
		ctx := t.Context()
		if err := r.Do(ctx, a, Holding("review")); err != nil {
			t.Fatal(err)
		}
		r.until(2)
		if n := r.Total(); n.Held != 1 || n.Waiting != 1 {
			t.Errorf("counts %+v", n)
		}
		time.Sleep(2 * time.Hour)
		if got := r.kinds(a); got != "accepted deferred held " {
			t.Errorf("held mail was tried: %s", got)
		}
		if err := r.Do(ctx, b, Dropping("not wanted")); err != nil {
			t.Fatal(err)
		}
		if e := r.last(b); e.Kind != "dropped" || e.Reason != "not wanted" {
			t.Errorf("dropped: %s %q", e.Kind, e.Reason)
		}
		if err := r.Do(ctx, b, Dropping("again")); err != ErrNotFound { //nolint:errorlint // returned bare
			t.Errorf("a second drop: %v", err)
		}
		w.mu.Lock()
		w.answer = nil
		w.mu.Unlock()
		if err := r.Do(ctx, a, Releasing()); err != nil {
			t.Fatal(err)
		}
		r.until(0)
		if got := r.kinds(a); got != "accepted deferred held released delivered " {
			t.Errorf("events: %s", got)
		}
	})
}

func TestBudgetGoesByTierAndIsNeverExceeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.caps = dayCap(10)
		r := start(t, vfs.NewMem(), w)
		due := time.Now().Add(time.Hour) // so that all are there when the first may leave
		for i := range 28 {
			s := r.message("d"+name(i), "dormant")
			if i >= 20 {
				s = r.message("a"+name(i), "active")
			}
			s.Recipients[0].Due = due
			if _, err := r.Enqueue(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(20 * time.Hour) // the same day
		w.mu.Lock()
		sent := len(w.order)
		active := 0
		for _, local := range w.order {
			if local[0] == 'a' {
				active++
			}
		}
		w.mu.Unlock()
		if sent != 10 || active != 8 {
			t.Errorf("%d sent, of them %d active; 10 and 8 expected", sent, active)
		}
		for _, b := range r.BudgetsToday() {
			if b.Used != 10 {
				t.Errorf("budget counts %d used", b.Used)
			}
		}
		r.verify()
		r.stop()
	})
}

func TestABudgetSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		w := newWorld()
		w.caps = dayCap(10)
		r := start(t, fs, w)
		for i := range 30 {
			r.send(name(i))
		}
		r.until(20)
		r.stop()
		r = start(t, fs, w)
		time.Sleep(time.Hour)
		if n := len(w.received); n != 10 {
			t.Errorf("%d were sent on one day; 10 are allowed", n)
		}
		r.stop()
	})
}

func TestWhyNamesTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.caps = dayCap(1)
		r := start(t, vfs.NewMem(), w)
		r.send("a")
		id := r.send("b")
		r.until(1)
		synctest.Wait()
		s, err := r.Why(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if s.State != "waiting" || s.Why.Code != "budget" || s.Why.Until.IsZero() {
			t.Errorf("why: %s %+v", s.State, s.Why)
		}
		r.stop()
	})
}

func TestAStopFinishesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		w := newWorld()
		w.pause = func(ctx context.Context) {
			select {
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
			}
		}
		r := start(t, fs, w)
		for i := range 30 {
			r.send(name(i))
		}
		synctest.Wait()
		if cut := r.stop(); cut != 0 {
			t.Errorf("%d were cut although there was time", cut)
		}
		sent := len(w.received)
		w.pause = nil
		r = start(t, fs, w)
		r.until(0)
		for id, n := range w.received {
			if n != 1 {
				t.Errorf("%s was received %d times", id, n)
			}
		}
		if sent == 0 || len(w.received) != 30 {
			t.Errorf("%d were received before the stop, %d in all", sent, len(w.received))
		}
		r.stop()
	})
}
