// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

// An operator's order that was acknowledged survives kill -9, so it is
// acknowledged when it is on disk and not before.
func TestAnOrderOnMailInFlightIsAnsweredWhenItIsDurable(t *testing.T) {
	for _, end := range []string{"delivered", "dropped"} {
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
			done := make(chan error, 2)
			go func() { done <- r.Do(t.Context(), id, Holding("review")) }()
			synctest.Wait()
			go func() { done <- r.Do(t.Context(), id, Dropping("not wanted")) }()
			synctest.Wait()
			select {
			case err := <-done:
				if !errors.Is(err, ErrSuperseded) {
					t.Errorf("answered while the mail is in flight: %v", err)
				}
			default:
				t.Error("the hold that a drop overtook is not answered")
			}
			close(gate)
			err := <-done
			if want := map[string]error{"delivered": ErrNotFound, "dropped": nil}[end]; !errors.Is(err, want) {
				t.Errorf("the drop of mail that was %s gave %v", end, err)
			}
			if e := r.last(id); string(e.Kind) != end {
				t.Errorf("ended %s, not %s", e.Kind, end)
			}
			r.idle()
		})
	}
}

// An order on many does not wait for those whose servers keep them: it applies to
// them when their attempts end.
func TestAnOrderOnManyDoesNotWaitForMailInFlight(t *testing.T) {
	bubble(t, func(t testing.TB, w *world, r *running) {
		gate := make(chan struct{})
		w.pause = func(context.Context) { <-gate }
		w.answer = func(*store.Entry) Outcome { return deferred("later") }
		var all []store.ID
		for range 50 {
			all = append(all, r.send("a"))
		}
		synctest.Wait()
		held := func() (n int) {
			for _, id := range all {
				if r.record(id).Hold != "" {
					n++
				}
			}
			return n
		}
		n, err := r.DoAll(t.Context(), append(all, store.ID{Message: 1 << 40}), Holding("review"))
		if n != len(all) || err != nil {
			t.Errorf("the hold reached %d of %d, %v", n, len(all), err)
		}
		if n := held(); n == 0 || n == len(all) {
			t.Errorf("%d of %d are held while some are in flight", n, len(all))
		}
		close(gate)
		synctest.Wait()
		if n := held(); n != len(all) {
			t.Errorf("%d of %d are held at the end", n, len(all))
		}
	})
}

// A backlog of many domains must not start a lookup for each at once.
func TestLookupsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		release := w.blockRoutes()
		r := start(t, vfs.NewMem(), w)
		const n = 3 * maxLookups
		for i := range n {
			s := r.message("a", "active")
			s.Recipients[0].Address.Domain = fmt.Sprintf("d%d.example", i)
			r.enqueue(s)
		}
		synctest.Wait()
		w.mu.Lock()
		if w.lookups != maxLookups {
			t.Errorf("%d lookups at a time", w.lookups)
		}
		w.mu.Unlock()
		release()
		r.until(0)
		if w.total() != n {
			t.Errorf("%d of %d were received", w.total(), n)
		}
		r.stop()
	})
}

func TestQuestionsAfterTheEndAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.answer = func(*store.Entry) Outcome { return deferred("later") }
		r := start(t, vfs.NewMem(), w)
		id := r.send("a")
		r.until(1)
		r.quit()
		if _, err := r.Why(t.Context(), id); !errors.Is(err, ErrStopping) {
			t.Errorf("why after the end: %v", err)
		}
		if err := r.Do(t.Context(), id, Dropping("late")); !errors.Is(err, ErrStopping) {
			t.Errorf("drop after the end: %v", err)
		}
		r.stop()
	})
}

// A stop does not wait for name servers that do not answer.
func TestAStopDoesNotWaitForLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		release := w.blockRoutes()
		defer release()
		r := start(t, vfs.NewMem(), w)
		r.send("a")
		synctest.Wait()
		began := time.Now()
		r.stop()
		if took := time.Since(began); took > time.Second {
			t.Errorf("the stop took %v", took)
		}
	})
}

// Only what was charged is given back: a same-day retry was free.
func TestARefundCountsOnlyWhatWasCharged(t *testing.T) {
	tr := schedule.Transaction{Source: "a1", Day: 7, Charges: []schedule.BudgetKey{{Source: "a1"}}, Items: []schedule.Item{
		{ID: schedule.ID{Message: 1}}, {ID: schedule.ID{Message: 1, Recipient: 1}, Charged: schedule.Charge{Source: "a1", Day: 7}},
	}}
	sent := &prepared{job: Job{Recipients: []store.Entry{{ID: store.ID{Message: 1}}}}}
	for _, c := range []struct {
		p    *prepared
		res  *Result
		want int
	}{
		{sent, &Result{MailSent: true}, 0}, // the free one was suppressed at the door
		{sent, &Result{}, 1},
		{&prepared{}, nil, 1},
	} {
		if got := refunded(&tr, c.p, c.res); got != c.want {
			t.Errorf("%d refunded, not %d", got, c.want)
		}
	}
}

// Hundreds of retries that keep their source and are due in minutes must not
// keep from the disk what is due now.
func TestDeferralsDoNotHoldBackTheRest(t *testing.T) {
	t.Parallel()
	for range 4 {
		bubble(t, func(t testing.TB, w *world, r *running) {
			w.answer = func(*store.Entry) Outcome { return deferred("later") }
			const messages, each = 24, 50
			locals := make([]string, each)
			for range messages {
				r.enqueue(r.transactional(locals...))
			}
			time.Sleep(time.Second)
			last, _ := r.st.Durable()
			list, err := r.st.Events(0, int(last))
			if err != nil {
				t.Fatal(err)
			}
			tried := 0
			for i := range list {
				if list[i].Kind == event.Deferred {
					tried++
				}
			}
			if tried != messages*each {
				t.Errorf("%d of %d were tried within a second", tried, messages*each)
			}
			w.mu.Lock()
			w.answer = nil
			w.mu.Unlock()
			time.Sleep(6 * time.Minute)
			if n := w.total(); n != messages*each {
				t.Errorf("%d of %d were delivered at the retry", n, messages*each)
			}
			r.until(0)
		})
	}
}
