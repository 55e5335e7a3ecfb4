// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/store"
)

// set makes the wall clock step, as the engine does when it believes it.
func (r *running) set(by time.Duration) {
	r.t.Helper()
	from, to := r.w.clock.set(by)
	if err := r.ClockSet(context.Background(), from, to); err != nil {
		r.t.Fatal(err)
	}
}

// answers makes peers answer so.
func (w *world) answers(f func(*store.Entry) Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

func (r *running) record(id store.ID) store.Recipient {
	r.t.Helper()
	rec, err := r.st.Recipient(id)
	if err != nil {
		r.t.Fatal(err)
	}
	return rec
}

// waitingMail is one of each kind that a step back meets: a retry, mail
// that was due when the clock was wrong, a date that a submitter asked for, held mail.
type waitingMail struct{ retry, due, date, held store.ID }

func (r *running) waitingMail() waitingMail {
	r.w.answers(func(*store.Entry) Outcome { return deferred("later") })
	var m waitingMail
	m.retry, m.held = r.send("retry"), r.send("held")
	r.until(2)
	if err := r.Do(context.Background(), m.held, Holding("review")); err != nil {
		r.t.Fatal(err)
	}
	dated := r.message("date", "active")
	dated.Recipients[0].Due = r.w.clock.now().Add(time.Hour)
	m.date = store.ID{Message: r.enqueue(dated)}
	r.Pause("a1", "", time.Now().Add(100*time.Hour)) // nothing leaves any more
	m.due = r.send("due")
	r.until(4)
	return m
}

func TestClockSetBackProlongsNoWait(t *testing.T) {
	t.Parallel()
	bubble(t, func(t testing.TB, w *world, r *running) {
		m := r.waitingMail()
		before := map[store.ID]store.Recipient{}
		for _, id := range []store.ID{m.retry, m.due, m.date, m.held} {
			before[id] = r.record(id)
		}
		r.set(-5 * time.Hour)
		now := w.clock.now()
		if got := r.record(m.retry); got.Due.Sub(now) > 5*time.Minute || got.Due.Sub(before[m.retry].Due) != -5*time.Hour {
			t.Errorf("a retry in five minutes is due in %v", got.Due.Sub(now))
		}
		if got := r.record(m.retry); got.Pin != "a1" || got.PinUntil.Sub(now) > 4*time.Hour {
			t.Errorf("it keeps source %q for %v", got.Pin, got.PinUntil.Sub(now))
		}
		if got := r.record(m.due); got.Due.After(now) {
			t.Errorf("what was due is due in %v", got.Due.Sub(now))
		}
		for _, id := range []store.ID{m.date, m.held} {
			if got := r.record(id); got.Generation != before[id].Generation {
				t.Errorf("%s was touched: due %v, was %v", id, got.Due, before[id].Due)
			}
		}
		if got := r.kinds(m.retry); got != "accepted deferred released " {
			t.Errorf("events: %s", got)
		}
		if e := r.last(m.retry); e.Reason != "the clock was set back by 5h0m0s" {
			t.Errorf("reason: %s", e.Reason)
		}
		r.Pause("a1", "", time.Time{})
		w.answers(nil)
		time.Sleep(6 * time.Minute)
		if w.times(m.retry) != 1 || w.times(m.due) != 1 || w.times(m.date) != 0 {
			t.Errorf("after six minutes: %v", w.received)
		}
		time.Sleep(6 * time.Hour)
		if w.times(m.date) != 1 {
			t.Error("the dated one was not sent at its date")
		}
	})
}

// The control: a queue that is not told keeps its mail for the hours of the step.
func TestClockControlNobodyTellsTheQueue(t *testing.T) {
	t.Parallel()
	bubble(t, func(t testing.TB, w *world, r *running) {
		m := r.waitingMail()
		w.clock.set(-5 * time.Hour)
		r.Pause("a1", "", time.Time{})
		w.answers(nil)
		time.Sleep(6 * time.Minute)
		if w.times(m.retry) != 0 {
			t.Error("the retry was sent in time although nobody brought it forward: the tests beside this show nothing")
		}
	})
}

// A power cut at any moment of the step back: the next start goes on with it, and
// nothing is moved twice.
func TestClockSetBackSurvivesPowerCuts(t *testing.T) {
	t.Parallel()
	half := 0
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 5))
			mem := vfs.NewCrashableMem()
			w := newWorld()
			r := start(t, mem, w)
			w.answers(func(*store.Entry) Outcome { return deferred("later") })
			const n = page + 200
			var ids []store.ID
			for range n / 50 {
				locals := make([]string, 50)
				mid := r.enqueue(r.transactional(locals...))
				for i := range locals {
					ids = append(ids, store.ID{Message: mid, Recipient: uint32(i)})
				}
			}
			r.deferredAll(ids)
			r.Pause("a1", "", time.Now().Add(100*time.Hour))
			from, to := w.clock.set(-5 * time.Hour)
			durable, _ := r.st.Durable()
			cut := make(chan *vfs.MemFS)
			at := durable + uint64(rng.IntN(n+1))
			go func() {
				for {
					now, changed := r.st.Durable()
					if now >= at {
						cut <- mem.CrashClone(vfs.CrashCloneCfg{RNG: rng, UnsyncedDataPercent: rng.IntN(101)})
						return
					}
					<-changed
				}
			}()
			if err := r.ClockSet(t.Context(), from, to); err != nil {
				t.Fatal(err)
			}
			left := <-cut
			r.stop()

			moved := movedOn(t, left)
			if moved > 0 && moved < n {
				half++
			}
			r = start(t, left, w)
			r.Pause("a1", "", time.Now().Add(100*time.Hour))
			synctest.Wait()
			wrong := map[string]int{}
			kinds := r.allKinds()
			for _, id := range ids {
				got := kinds[id]
				if moved == 0 && got == "accepted deferred " {
					continue // the cut may have come before the step was written down
				}
				if due := r.record(id).Due.Sub(w.clock.now()); got != "accepted deferred released " || due > 5*time.Minute {
					wrong[fmt.Sprint(got, "due in ", due)]++
				}
			}
			if len(wrong) > 0 {
				t.Errorf("seed %d: %d had been moved at the cut, then %v", seed, moved, wrong)
			}
			r.verify()
			r.stop()
		})
	}
	if half == 0 {
		t.Error("no cut fell into the middle of a step back")
	}
}

// deferredAll waits until every recipient was tried and put off, well before the first retry.
func (r *running) deferredAll(ids []store.ID) {
	r.t.Helper()
	for range 60 {
		time.Sleep(time.Second)
		r.until(len(ids))
		kinds, tried := r.allKinds(), 0
		for _, id := range ids {
			if kinds[id] == "accepted deferred " {
				tried++
			}
		}
		if tried == len(ids) {
			return
		}
	}
	r.t.Fatal("mail that is due was not tried within a minute")
}

// allKinds are the kinds of every recipient's events, in order.
func (r *running) allKinds() map[store.ID]string {
	r.t.Helper()
	m := map[store.ID]string{}
	for last, durable := uint64(0), uint64(1); last < durable; {
		durable, _ = r.st.Durable()
		list, err := r.st.Events(last, 5000)
		if err != nil {
			r.t.Fatal(err)
		}
		for i := range list {
			last = list[i].Sequence
			m[store.ID{Message: list[i].Message, Recipient: list[i].Recipient}] += string(list[i].Kind) + " "
		}
		if len(list) == 0 {
			break
		}
	}
	return m
}

// movedOn is how many recipients a step back had moved on a disk.
func movedOn(t testing.TB, fs vfs.FS) int {
	t.Helper()
	st, err := store.Open(store.Options{Dir: "queue", FS: fs, MemTableSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	last, _ := st.Durable()
	list, err := st.Events(0, int(last))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range list {
		if list[i].Kind == event.Released {
			n++
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}

// While the clock is in doubt nothing ends by its date; what is measured in
// minutes goes on.
func TestClockInDoubtEndsNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t testing.TB, w *world, r *running) {
		w.answers(func(*store.Entry) Outcome { return deferred("later") })
		s := r.message("short", "active")
		s.Recipients[0].Expires = time.Now().Add(time.Minute)
		short := store.ID{Message: r.enqueue(s)}
		long := r.send("long")
		r.until(2)
		w.clock.freeze()
		time.Sleep(9 * time.Minute)
		if got := r.kinds(short); got != "accepted deferred " {
			t.Errorf("expiry did not stand still: %s", got)
		}
		if got := r.kinds(long); got != "accepted deferred deferred " {
			t.Errorf("retries did not go on: %s", got)
		}
		r.set(0)
		time.Sleep(time.Minute + expireEvery)
		if e := r.last(short); e.Kind != "expired" {
			t.Errorf("after the doubt: %s", e.Kind)
		}
	})
}

// The day does not end while the clock is in doubt: no new budget is begun, and
// the old one is over, so sources in warm-up wait.
func TestClockInDoubtBeginsNoDay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.caps = dayCap(3)
		newBooks(w, time.UTC)
		w.clock.set(24*time.Hour - 5*time.Minute) // the bubble begins at midnight
		r := start(t, vfs.NewMem(), w)
		for i := range 10 {
			r.send(name(i))
		}
		time.Sleep(2 * time.Minute)
		w.clock.freeze()
		time.Sleep(9 * time.Minute)
		if n := w.total(); n != 3 {
			t.Errorf("%d were sent around a midnight in doubt; 3 a day", n)
		}
		r.set(0)
		time.Sleep(time.Hour)
		if n := w.total(); n <= 3 {
			t.Errorf("%d were sent when the day had begun", n)
		}
		r.verify()
		r.stop()
	})
}

// Ahead over midnight and back again: a day's budget is the same budget however
// often the day comes.
func TestClockBackToYesterdayGivesNoSecondBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.caps = dayCap(6)
		b := newBooks(w, time.UTC)
		r := start(t, vfs.NewMem(), w)
		for i := range 40 {
			s := r.message(name(i), "active")
			s.Recipients[0].Expires = time.Now().Add(1000 * time.Hour)
			r.enqueue(s)
		}
		time.Sleep(time.Minute)
		if n := w.total(); n != 6 {
			t.Errorf("%d were sent on the first day", n)
		}
		r.set(20 * time.Hour)
		time.Sleep(time.Hour)
		r.set(5 * time.Hour)
		time.Sleep(time.Hour)
		r.set(-25 * time.Hour)
		time.Sleep(time.Hour)
		r.set(25 * time.Hour)
		time.Sleep(time.Hour)
		days := b.perDay()
		for day, n := range days {
			if n > 6 {
				t.Errorf("%d were sent on day %d; 6 are allowed", n, day)
			}
		}
		if len(days) != 2 {
			t.Errorf("mail was sent on %d days, not on two: %v", len(days), days)
		}
		r.verify()
		r.stop()
	})
}

// Back on a day that has budget left, mail does not wait for the day after.
func TestClockBackToYesterdaySpendsWhatWasLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.caps = dayCap(6)
		r := start(t, vfs.NewMem(), w)
		for i, by := range []time.Duration{0, 25 * time.Hour, -25 * time.Hour} {
			r.set(by)
			r.send(name(2 * i))
			r.send(name(2*i + 1))
			time.Sleep(time.Minute)
			if n := w.total(); n != 2*i+2 {
				t.Errorf("%d of %d were sent after a step of %v", n, 2*i+2, by)
			}
		}
		for day, c := range r.charged() {
			if want := 4; day == 10957 && c.Used != want || day != 10957 && c.Used != 2 {
				t.Errorf("day %d: %d charged", day, c.Used)
			}
		}
		r.verify()
		r.stop()
	})
}

// Five hours ahead by mistake for as long as nobody believes it: nothing fires,
// nothing is lost. The engine's clock has not moved at all; when it then steps for good,
// what became due meanwhile leaves as after a downtime, each once.
func TestClockSetAheadSendsEachRetryOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t testing.TB, w *world, r *running) {
		w.answers(func(*store.Entry) Outcome { return deferred("later") })
		const n = 100
		for i := range n {
			r.send(name(i))
		}
		r.until(n)
		w.answers(nil)
		r.set(5 * time.Hour)
		r.until(0)
		if len(w.received) != n {
			t.Errorf("%d of %d were received", len(w.received), n)
		}
		for id, times := range w.received {
			if times != 1 {
				t.Errorf("%s was received %d times", id, times)
			}
		}
	})
}

// An operator's order that waits for mail in flight is not replaced by the step.
func TestClockSetBackKeepsOrdersOnMailInFlight(t *testing.T) {
	t.Parallel()
	bubble(t, func(t testing.TB, w *world, r *running) {
		gate := make(chan struct{})
		w.pause = func(context.Context) { <-gate }
		w.answers(func(*store.Entry) Outcome { return Outcome{Kind: Deferred, Reply: rfc5321.Reply{Code: 451}} })
		id := r.send("a")
		synctest.Wait()
		held := make(chan error, 1)
		go func() { held <- r.Do(context.Background(), id, Holding("review")) }()
		synctest.Wait()
		r.set(-5 * time.Hour)
		close(gate)
		if err := <-held; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got := r.kinds(id); got != "accepted deferred held " {
			t.Errorf("events: %s", got)
		}
	})
}
