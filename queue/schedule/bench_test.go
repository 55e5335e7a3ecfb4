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
// Take, Concluded, Take) while 20,000 sites hold 500,000 waiting recipients,
// a fifth of them in lanes that wait for a budget.
func BenchmarkSteadyState(b *testing.B) {
	w := newWorld(b, Options{MaxConnections: 100_000})
	busyMachine(w)
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("d%d.example", i*20)
	}
	m, now := w.m, w.now.Add(time.Minute)
	var r Ready
	m.Take(now, &r)
	q := Queued{Class: 1, Item: Item{Due: now, Queued: now}}
	done := Concluded{Usable: true}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		now = now.Add(time.Millisecond)
		q.Domain, q.Item.ID = names[i%1000], ID{uint64(1e9 + i), 0}
		q.Item.Due, q.Item.Queued = now, now
		m.Step(now, &q)
		m.Take(now, &r)
		for _, d := range r.Dial {
			m.Step(now, &ConnUp{Conn: d.Conn})
			done.Conn = d.Conn
			m.Step(now, &done)
		}
		for _, s := range r.Send {
			done.Conn = s.Conn
			m.Step(now, &done)
		}
		for _, c := range r.Close {
			m.Step(now, &ConnDown{Conn: c})
		}
	}
}

// busyMachine fills 20,000 sites: in each, counted mail that is due tomorrow, and
// in every fifth mail that waits for a spent budget now.
func busyMachine(w *world) {
	w.step(DefineSource{Name: "w1"})
	w.step(DefineSource{Name: "a1", Budgeted: true})
	w.step(DefinePool{Name: "warm", Members: []Member{{"w1", 1}}})
	w.step(DefinePool{Name: "cold", Members: []Member{{"a1", 1}}})
	for id := range ClassID(4) {
		w.step(DefineClass{ID: id + 1, Class: Class{Pool: []string{"warm", "warm", "cold", "cold"}[id], Tier: "active", Rank: int(id), Weight: 1}})
	}
	day := w.now
	w.step(Cap{
		Key: BudgetKey{Source: "a1", Provider: Other}, Day: w.day(), Start: day, End: day.Add(24 * time.Hour), Allowed: 10_000, Pace: true,
	})
	for i := range 20_000 {
		d := fmt.Sprintf("d%d.example", i)
		w.step(Counted{Domain: d, Class: 2, Count: 20, Head: w.now.Add(24 * time.Hour)})
		if i%5 == 0 {
			for j := range 25 {
				w.queue(d, ClassID(3+j%2), Item{ID: ID{uint64(i + 1), uint32(j)}, Due: w.now, Queued: w.now})
			}
		}
	}
	w.deliver()
}

// BenchmarkBudgetedSend is a recipient that spends a token at once: pace releases
// one a millisecond, and ten thousand lanes wait in line.
func BenchmarkBudgetedSend(b *testing.B) {
	w := newWorld(b, Options{MaxConnections: 100_000})
	busyMachine(w)
	m, now := w.m, w.now
	key := BudgetKey{Source: "a1", Provider: Other}
	c := *w.caps[key]
	c.Allowed = 80_000_000
	m.Step(now, c)
	m.Step(now, Leased{Key: key, Day: c.Day, Total: 80_000_000})
	var r Ready
	done := Concluded{Usable: true}
	q := Queued{Class: 3}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		now = now.Add(2 * time.Millisecond)
		m.Take(now, &r)
		for i := range r.Dial {
			requeue(m, now, &q, &r.Dial[i].Transaction)
			m.Step(now, &ConnUp{Conn: r.Dial[i].Conn})
			done.Conn = r.Dial[i].Conn
			m.Step(now, &done)
		}
		for i := range r.Send {
			requeue(m, now, &q, &r.Send[i].Transaction)
			done.Conn = r.Send[i].Conn
			m.Step(now, &done)
		}
		for _, id := range r.Close {
			m.Step(now, &ConnDown{Conn: id})
		}
	}
}

func requeue(m *Machine, now time.Time, q *Queued, t *Transaction) {
	q.Domain, q.Class, q.Item = t.Domain, t.Class, t.Items[0]
	q.Item.Due = now.Add(time.Hour)
	m.Step(now, q)
}
