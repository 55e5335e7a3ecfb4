// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
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

// BenchmarkSteadyState is one recipient's way through the machine (Queued,
// Take, Concluded, Take) while 20,000 sites hold 500,000 waiting recipients, some
// of them, at every fifth site, in lanes that wait for a budget.
func BenchmarkSteadyState(b *testing.B) { benchmark(b, steadyState(b, 20_000)) }

// BenchmarkBudgetedSend is a recipient that spends a token at once: pace releases
// one every two milliseconds, and eight thousand lanes wait in line.
func BenchmarkBudgetedSend(b *testing.B) { benchmark(b, budgetedSend(b, 20_000)) }

// BenchmarkDeepSend is a recipient out of a backlog that the disk holds, with
// its share of the pages, while 20,000 sites hold such backlogs.
func BenchmarkDeepSend(b *testing.B) { benchmark(b, deepSend(b, 20_000)) }

func benchmark(b *testing.B, turn func()) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		turn()
	}
}

// drill drives a machine without the bookkeeping of a world, which allocates.
type drill struct {
	m     *Machine
	now   time.Time
	r     Ready
	busy  fifo[Send] // transactions under way, oldest first
	keep  int        // how many of them stay under way
	again func(t *Transaction)

	// The facts of a turn: the machine keeps none of them.
	ended Send
	up    ConnUp
	down  ConnDown
	done  Concluded
	site  Resolved
	pages Loaded
}

// take carries out what the machine decides, and concludes the oldest transactions.
func (d *drill) take() {
	d.m.Take(d.now, &d.r)
	for i := range d.r.Dial {
		d.up.Conn = d.r.Dial[i].Conn
		d.m.Step(d.now, &d.up)
		d.busy.push(Send(d.r.Dial[i]))
	}
	for i := range d.r.Send {
		d.busy.push(d.r.Send[i])
	}
	for _, c := range d.r.Close {
		d.down.Conn = c
		d.m.Step(d.now, &d.down)
	}
	for d.busy.len() > d.keep {
		d.ended, _ = d.busy.pop()
		if d.again != nil {
			d.again(&d.ended.Transaction)
		}
		d.done = Concluded{Conn: d.ended.Conn, Usable: true}
		d.m.Step(d.now, &d.done)
	}
}

// steadyState is one recipient that comes in and leaves.
func steadyState(t testing.TB, sites int) (turn func()) {
	w := newWorld(t, Options{MaxConnections: 100_000})
	busyMachine(w, sites)
	names := make([]string, 200) // few enough for a cache, so that what grows is the machine's
	for i := range names {
		names[i] = fmt.Sprintf("d%d.example", i*(sites/len(names)))
	}
	d := &drill{m: w.m, now: w.now.Add(time.Minute)}
	d.take()
	q, i := Queued{Class: 1}, 0
	return func() {
		i++
		d.now = d.now.Add(time.Millisecond)
		q.Domain, q.Item.ID = names[i%len(names)], ID{uint64(1e9 + i), 0}
		q.Item.Due, q.Item.Queued = d.now, d.now
		d.m.Step(d.now, &q)
		d.take()
	}
}

// busyMachine fills sites: in each, counted mail that is due tomorrow, and
// in every fifth mail that waits for a spent budget now.
func busyMachine(w *world, sites int) {
	w.step(DefineSource{Name: "w1"})
	w.step(DefineSource{Name: "a1", Budgeted: true})
	w.step(DefinePool{Name: "warm", Members: []Member{{"w1", 1}}})
	w.step(DefinePool{Name: "cold", Members: []Member{{"a1", 1}}})
	for id := range ClassID(4) {
		w.step(DefineClass{ID: id + 1, Class: Class{Pool: []string{"warm", "warm", "cold", "cold"}[id], Tier: "active", Rank: int(id), Weight: 1}})
	}
	day := w.now
	w.step(Cap{
		Key: BudgetKey{Source: "a1", Provider: Other}, Day: w.day(), Start: day, End: day.Add(24 * time.Hour), Allowed: sites / 2, Pace: true,
	})
	for i := range sites {
		d := fmt.Sprintf("d%d.example", i)
		w.step(Counted{Domain: d, Class: 2, Count: 24, Head: w.now.Add(24 * time.Hour)})
		if i%5 == 0 {
			for j := range 5 {
				w.queue(d, ClassID(3+j%2), Item{ID: ID{uint64(j*sites + i + 1), 0}, Due: w.now, Queued: w.now})
			}
		}
	}
	w.deliver()
}

// budgetedSend is one recipient that waited for its token, and waits again.
func budgetedSend(t testing.TB, sites int) (turn func()) {
	const step, aDay = 2 * time.Millisecond, int(24 * time.Hour / (2 * time.Millisecond))
	w := newWorld(t, Options{MaxConnections: 100_000})
	busyMachine(w, sites)
	key := BudgetKey{Source: "a1", Provider: Other}
	c := *w.caps[key]
	c.Allowed = aDay
	w.m.Step(w.now, c)
	w.m.Step(w.now, Leased{Key: key, Day: c.Day, Total: aDay})
	q := Queued{Class: 3}
	d := &drill{m: w.m, now: w.now}
	d.again = func(t *Transaction) { requeue(d.m, d.now, &q, t) }
	return func() {
		d.now = d.now.Add(step)
		d.take()
	}
}

// deepSend is one recipient of a backlog that never ends: each site's disk holds
// a thousand that are due, their windows are read page by page, and few
// connections serve them all.
func deepSend(t testing.TB, sites int) (turn func()) {
	const connections = 64
	w := newWorld(t, Options{MaxConnections: connections})
	w.step(DefineSource{Name: "w1"})
	w.step(DefinePool{Name: "warm", Members: []Member{{"w1", 1}}})
	w.step(DefineClass{ID: 1, Class: Class{Pool: "warm", Weight: 1}})
	for i := range sites {
		w.step(Counted{Domain: fmt.Sprintf("d%d.example", i), Class: 1, Count: 1000, Head: w.now})
	}
	d := &drill{m: w.m, now: w.now, keep: connections - 1}
	page, id := make([]Item, w.m.o.Window), uint64(0)
	read := func() (busy bool) {
		for _, name := range d.r.Resolve {
			d.site = Resolved{Domain: name, Site: name}
			d.m.Step(d.now, &d.site)
		}
		for _, l := range d.r.Load {
			for i := range page[:l.Limit] {
				id++
				page[i] = Item{ID: ID{id, 0}, Due: d.now, Queued: d.now}
			}
			d.pages = Loaded{Domain: l.Domain, Class: l.Class, Items: page[:l.Limit], More: true}
			d.m.Step(d.now, &d.pages)
		}
		return len(d.r.Resolve)+len(d.r.Load) > 0
	}
	turn = func() {
		d.now = d.now.Add(time.Millisecond)
		d.take()
		read()
	}
	for d.take(); read(); d.take() {
		d.now = d.now.Add(time.Millisecond) // until every window is full
	}
	return turn
}

func requeue(m *Machine, now time.Time, q *Queued, t *Transaction) {
	q.Domain, q.Class, q.Item = t.Domain, t.Class, t.Items[0]
	q.Item.Due, q.Item.Queued = now, now
	m.Step(now, q)
}
