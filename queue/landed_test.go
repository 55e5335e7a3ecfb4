// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
)

// Mail in flight was told to be held, and lands. What else came in that moment is carried out first, and
// the hold after it: it was promised.
func TestWhatWaitedForAConclusionIsNotLostToAnotherAct(t *testing.T) {
	t.Parallel()
	bubble(t, func(t testing.TB, w *world, r *running) {
		w.answers(func(*store.Entry) Outcome { return deferred("later") })
		gate := make(chan struct{})
		w.pause = func(context.Context) { <-gate }
		id := r.send("a")
		synctest.Wait()
		if n, err := r.DoAll(t.Context(), []store.ID{id}, Holding("review")); err != nil || n != 1 {
			t.Fatalf("%d are held, %v", n, err)
		}
		// The queue is busy while the mail lands and another act comes.
		r.mail.act(func(time.Time) {
			close(gate)
			synctest.Wait()
			r.apply(id, &act{kind: event.Relaned, class: store.Class{Stream: "marketing", Tier: "warm", Pool: "main"}}, func(error) {})
		})
		time.Sleep(time.Minute)
		if kinds := r.kinds(id); !strings.HasSuffix(kinds, "deferred relaned held ") {
			t.Errorf("the hold is lost: %s", kinds)
		}
	})
}
