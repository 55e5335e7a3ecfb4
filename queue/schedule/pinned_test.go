// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"testing"
	"time"
)

// A provider that defers all mail, which comes no faster than it is tried: the
// retries keep their source, and wait on disk, not in memory.
func TestRetriesThatKeepTheirSourceStayOnDisk(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, f := range []Fact{
		DefineSource{Name: "a"},
		DefinePool{Name: "p", Members: []Member{{Source: "a", Weight: 1}}},
		DefineClass{ID: 1, Class: Class{Pool: "p", Weight: 1}},
	} {
		m.Step(now, f)
	}
	const n = 5000
	for i := range n {
		m.Step(now, Queued{Domain: "a.test", Class: 1, Item: Item{
			ID: ID{Message: uint64(i + 1)}, Due: now.Add(time.Hour + time.Duration(i)*time.Second), Queued: now,
			Attempts: 1, Pin: "a", PinUntil: now.Add(4 * time.Hour),
		}})
	}
	b := m.backlogs[backlogKey{"a.test", 1}]
	if most := 4 * m.o.Window; b.mem() > most || m.loaded != b.mem() {
		t.Errorf("%d of %d retries are in memory, %d counted", b.mem(), n, m.loaded)
	}
	if b.mem()+b.rest() != n || b.complete || b.next.IsZero() || b.next.After(now.Add(2*time.Hour)) {
		t.Errorf("%d in memory, %d on disk, complete %v, next %v", b.mem(), b.rest(), b.complete, b.next)
	}
}

// Mail that kept a source waits behind the window's end. When it loses its source, it joins the others in memory, but what
// stands between is still on disk and must be read.
func TestMailThatLosesItsSourceHidesNobody(t *testing.T) {
	t.Parallel()
	w := twoSources(t)
	w.sites["a.test"] = Resolved{Domain: "a.test", Site: "mx", Until: w.now.Add(24 * time.Hour)}
	n := uint64(0)
	queue := func(due time.Duration, pin string) Item {
		n++
		it := Item{ID: ID{Message: n}, Due: w.now.Add(due), Queued: w.now, Pin: pin, PinUntil: w.now.Add(4 * time.Hour)}
		w.queue("a.test", 1, it)
		return it
	}
	queue(0, "") // the domain is looked up
	w.deliver()
	for i := range 4 {
		queue(time.Hour+time.Duration(i)*time.Second, "a")
	}
	var first []Item
	for i := range 5 {
		first = append(first, queue(time.Minute+time.Duration(i)*time.Second, ""))
	}
	w.step(Paused{Source: "a", Until: w.now.Add(24 * time.Hour)})
	for _, it := range first[:2] { // the whole window
		w.erase("a.test", 1, it)
		w.step(&Gone{Domain: "a.test", Class: 1, ID: it.ID})
	}
	queue(time.Second, "")
	for range 20 {
		w.now = w.now.Add(10 * time.Minute)
		w.deliver()
	}
	if len(w.sent) != int(n)-2 || len(w.disk) > 0 {
		t.Errorf("%d of %d left, on disk are %v", len(w.sent), n-2, w.disk)
	}
}

// Many retries are kept to a source that does not get through any more. They leave from the other one,
// and so does what stands behind them on disk: long before their pins end.
func TestRetriesOfASourceThatIsShutOutHoldUpNobody(t *testing.T) {
	t.Parallel()
	w := twoSources(t)
	const pinned, others = 40, 20
	for i := range uint64(pinned + others) {
		it := Item{ID: ID{Message: i + 1}, Due: w.now.Add(time.Duration(i) * time.Millisecond), Queued: w.now}
		if i < pinned {
			it.Pin, it.PinUntil = "a", w.now.Add(4*time.Hour)
		}
		w.queue("a.test", 1, it)
	}
	end := w.now.Add(30 * time.Minute)
	for w.now = w.now.Add(time.Second); w.now.Before(end); w.now = w.now.Add(10 * time.Second) {
		for busy := true; busy; {
			w.take()
			busy = w.answer()
			for _, d := range w.r.Dial {
				if d.Source == "a" {
					w.conclude(d.Conn, Concluded{}, w.now, true)
					w.step(&ConnDown{Conn: d.Conn, Failed: true})
					continue
				}
				w.step(&ConnUp{Conn: d.Conn})
				w.conclude(d.Conn, Concluded{Usable: true}, time.Time{}, false)
			}
			for _, s := range w.r.Send {
				w.conclude(s.Conn, Concluded{Usable: true}, time.Time{}, false)
			}
		}
	}
	if len(w.sent) != pinned+others {
		t.Errorf("%d of %d left within half an hour", len(w.sent), pinned+others)
	}
}

// twoSources is a world with a small window, and one class whose pool is the sources a and b.
func twoSources(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, Options{Window: 2})
	for _, f := range []Fact{
		DefineSource{Name: "a"},
		DefineSource{Name: "b"},
		DefinePool{Name: "p", Members: []Member{{Source: "a", Weight: 1}, {Source: "b", Weight: 1}}},
		DefineClass{ID: 1, Class: Class{Pool: "p", Weight: 1}},
	} {
		w.step(f)
	}
	return w
}
