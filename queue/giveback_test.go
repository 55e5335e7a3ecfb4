// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

// A decision of the machine could not be carried out, for the disk could not be read, and its
// mail goes back to its lane after a moment. Who moves it in that moment must not find it
// in both lanes afterwards.
func TestWhatGoesBackToItsLaneIsMovedOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t testing.TB, w *world, r *running) {
		r.Pause("a1", "", time.Now().Add(time.Hour))
		id := r.send("a")
		synctest.Wait()
		rec := r.record(id)
		e := store.Entry{ID: id, Recipient: rec}
		failed := fmt.Errorf("%w: %w", errUnread, errors.New("the disk is gone"))
		r.answered("a test", rec.Address.Domain, schedule.ClassID(rec.Class), item(&e))(failed)
		if err := r.Do(t.Context(), id, Moving("other")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		r.Pause("a1", "", time.Time{})
		time.Sleep(time.Minute)
		if n, left := w.times(id), r.Total(); n != 1 || left != (Count{}) {
			t.Errorf("the mail was sent %d times, and %+v are left in the counts", n, left)
		}
	})
}
