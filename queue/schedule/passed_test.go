// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"testing"
	"time"
)

// TestPassedOverWhileConnectionIsBusy: a lane that was passed over for a better
// one, which only waits for the connection, must wait too. It once had the site looked
// at again for ever.
func TestPassedOverWhileConnectionIsBusy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.step(DefineSource{Name: "c1", Budgeted: true})
	w.step(DefinePool{Name: "p", Members: []Member{{Source: "c1", Weight: 1}}})
	w.step(DefineProvider{Name: "google", Connections: 1, PerConnection: 100})
	w.step(Cap{
		Key: BudgetKey{Source: "c1", Provider: "google"}, Start: w.start, End: w.start.Add(24 * time.Hour), Allowed: 300,
	})
	w.sites["a.test"] = Resolved{Domain: "a.test", Site: "mx.google.test", Provider: "google"}
	for class, rank := range map[ClassID]int{1: 0, 2: 1} {
		w.step(DefineClass{ID: class, Class: Class{Pool: "p", Rank: rank, Weight: 1}})
		for i := range 10 {
			w.queue("a.test", class, Item{ID: ID{Message: uint64(class)*100 + uint64(i)}, Due: w.now, Queued: w.now})
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 50 {
			w.take() // a transaction is started and stays under way
			w.answer()
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Take does not return")
	}
	if len(w.trans) != 1 {
		t.Errorf("%d transactions are under way on one connection", len(w.trans))
	}
}
