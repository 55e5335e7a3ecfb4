// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"testing"
	"time"
)

// A retry from the source that counted it today is free. It waited for a connection until the
// next day, of which it was charged without being asked for a token: the world's check of
// budgets fails then. The same befell whoever stood behind one that expired.
func TestWhoWasFreeYesterdayNeedsATokenToday(t *testing.T) {
	t.Parallel()
	for name, expires := range map[string]time.Duration{"the day ended": 0, "the free one expired": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Options{})
			w.step(DefineSource{Name: "a1", Budgeted: true})
			w.step(DefinePool{Name: "p", Members: []Member{{Source: "a1", Weight: 1}}})
			w.step(DefineClass{ID: 1, Class: Class{Pool: "p", Weight: 1}})
			w.step(DefineClass{ID: 2, Class: Class{Pool: "p", Weight: 1}})
			w.step(DefineProvider{Name: "google", Connections: 1})
			for _, d := range []string{"a.test", "b.test"} {
				w.sites[d] = Resolved{Domain: d, Site: "mx", Provider: "google"}
			}
			give := func(start time.Time, allowed int) {
				w.step(Cap{
					Key: BudgetKey{Source: "a1", Provider: "google"}, Day: Day(start.Unix() / 86400),
					Start: start, End: start.Add(24 * time.Hour), Allowed: allowed,
				})
			}
			give(w.now, 1)
			w.queue("b.test", 2, Item{ID: ID{Message: 1}, Due: w.now, Queued: w.now})
			w.dial() // and is under way for long
			free := Item{ID: ID{Message: 2}, Due: w.now, Queued: w.now, Charged: Charge{"a1", Day(w.now.Unix() / 86400)}}
			if expires > 0 {
				free.Expires = w.now.Add(expires)
				w.queue("a.test", 1, Item{ID: ID{Message: 3}, Due: w.now, Queued: w.now.Add(time.Second)})
			}
			w.queue("a.test", 1, free)
			w.take()
			w.answer() // the lookup
			w.take()
			if w.now = w.now.Add(24 * time.Hour); expires > 0 {
				w.now = w.start.Add(expires)
			} else {
				give(w.now, 0)
			}
			for c := range w.trans {
				w.step(ConnUp{Conn: c})
				w.conclude(c, Concluded{Usable: true}, time.Time{}, false)
			}
			w.deliver()
			if len(w.sent) != 1 {
				t.Errorf("%d were sent, and there was budget for 1", len(w.sent))
			}
		})
	}
}
