// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"testing"
	"time"
)

func TestDeliversEverything(t *testing.T) {
	w := newWorld(t, Options{})
	w.step(DefineSource{Name: "s1"})
	w.step(DefinePool{Name: "p", Members: []Member{{"s1", 1}}})
	w.step(DefineClass{ID: 1, Class: Class{Pool: "p", Weight: 1}})
	for i := range 1000 {
		w.queue(string(rune('a'+i%26))+".example", 1, Item{ID: ID{uint64(i + 1), 0}, Due: w.now, Queued: w.now})
	}
	w.deliver()
	if len(w.sent) != 1000 {
		t.Fatalf("sent %d of 1000", len(w.sent))
	}
	w.now = w.now.Add(time.Minute)
	w.deliver()
	if n := len(w.m.backlogs) + len(w.m.lanes) + len(w.m.conns) + len(w.m.flights); n != 0 {
		t.Fatalf("%d objects left behind", n)
	}
}
