// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"testing"
	"time"
)

// The connection of one source was closed to make room for one of the other source of the
// pool, while the first was about to use it: it dialled anew, above the limit.
func TestRoomForOneSourceIsNotTakenFromTheOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{MaxConnections: 1})
	w.step(DefineSource{Name: "a1"})
	w.step(DefineSource{Name: "a2"})
	w.step(DefinePool{Name: "p", Members: []Member{{Source: "a1", Weight: 1}, {Source: "a2", Weight: 1}}})
	w.step(DefineClass{ID: 1, Class: Class{Pool: "p", Weight: 1}})
	w.sites["a.test"] = Resolved{Domain: "a.test", Site: "mx.a.test"}
	for n := range uint64(10) {
		w.queue("a.test", 1, Item{ID: ID{Message: n}, Due: w.now, Queued: w.now})
		if w.take(); w.m.open > 1 {
			t.Fatalf("%d connections are open, 1 is allowed", w.m.open)
		}
		w.answer()
		w.deliver()
		for c := range w.trans {
			w.step(&ConnUp{Conn: c})
			w.conclude(c, Concluded{Usable: true}, time.Time{}, false)
		}
	}
	if len(w.sent) != 10 {
		t.Errorf("%d of 10 were sent", len(w.sent))
	}
}
