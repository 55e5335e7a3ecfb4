// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"testing"
	"time"
)

// TestWhoComesBackWhereTheWindowEndsIsSent: mail that was parked and is let go has
// the due time and the id that it had. Where that is the last place of the window, the
// next page begins behind it: it was never sent.
func TestWhoComesBackWhereTheWindowEndsIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Window: 8})
	w.step(DefineSource{Name: "a1"})
	w.step(DefinePool{Name: "p", Members: []Member{{Source: "a1", Weight: 1}}})
	w.step(DefineClass{ID: 1, Class: Class{Pool: "p", Weight: 1}})
	w.sites["a.test"] = Resolved{Domain: "a.test", Site: "mx.a.test"}
	w.step(Paused{Source: "a1", Until: w.now.Add(time.Hour)})
	const n = 40
	items := make([]Item, n)
	for i := range items {
		items[i] = Item{ID: ID{Message: uint64(i + 1)}, Due: w.now, Queued: w.now}
		w.queue("a.test", 1, items[i])
	}
	for _, it := range items {
		w.erase("a.test", 1, it)
		w.step(Gone{Domain: "a.test", Class: 1, ID: it.ID})
		w.queue("a.test", 1, it)
	}
	w.step(Paused{Source: "a1"})
	for range 10 * n {
		w.take()
		w.answer()
		for c := range w.trans {
			w.step(ConnUp{Conn: c})
			w.conclude(c, Concluded{Usable: true}, time.Time{}, false)
		}
	}
	if len(w.sent) != n {
		t.Errorf("%d of %d were sent", len(w.sent), n)
	}
}
