// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// world is a driver without a disk or a network: it answers what the machine
// asks, at once or when a test says so, and writes down what happened.
type world struct {
	*bounds
	t     testing.TB
	m     *Machine
	now   time.Time
	start time.Time
	r     Ready
	out   strings.Builder
	pages []Loaded // read, not yet told
	load  func(Load)
	left  func(backlogKey, ID)
	back  time.Duration // by which the clock was set back: what was due stays due

	disk  map[backlogKey][]Item
	trans map[Conn]Transaction
	up    map[Conn]bool
	sites map[string]Resolved

	flying map[ID]bool
	sent   []Transaction // delivered, in order
	moved  map[ID]string
	failed map[ID]bool
	charge map[BudgetKey]int
	caps   map[BudgetKey]*Cap
	leases map[BudgetKey]int
}

func newWorld(t testing.TB, o Options) *world {
	start := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	w := &world{
		bounds: newBounds(), t: t, m: New(o), now: start, start: start,
		disk: map[backlogKey][]Item{}, trans: map[Conn]Transaction{}, up: map[Conn]bool{},
		sites: map[string]Resolved{}, flying: map[ID]bool{}, moved: map[ID]string{},
		failed: map[ID]bool{}, charge: map[BudgetKey]int{}, caps: map[BudgetKey]*Cap{}, leases: map[BudgetKey]int{},
	}
	w.load, w.left = func(l Load) { w.step(w.page(l)) }, func(backlogKey, ID) {}
	return w
}

func (w *world) step(f Fact) {
	if c, ok := f.(Cap); ok {
		if old := w.caps[c.Key]; old == nil || old.Day != c.Day {
			w.charge[c.Key], w.leases[c.Key] = c.Used, c.Leased
		}
		w.caps[c.Key] = &c
	}
	w.bounds.step(w.now, f)
	w.m.Step(w.now, f)
}

// queue writes an item to the disk and announces it.
func (w *world) queue(dom string, cl ClassID, it Item) {
	w.store(dom, cl, it)
	w.step(&Queued{Domain: dom, Class: cl, Item: it})
}

func (w *world) store(dom string, cl ClassID, it Item) {
	k := backlogKey{dom, cl}
	i, _ := slices.BinarySearchFunc(w.disk[k], it, compareItems)
	w.disk[k] = slices.Insert(w.disk[k], i, it)
}

func compareItems(a, b Item) int {
	switch {
	case position(&a).before(position(&b)):
		return -1
	case position(&b).before(position(&a)):
		return 1
	}
	return 0
}

func (w *world) erase(dom string, cl ClassID, it Item) {
	k := backlogKey{dom, cl}
	i, ok := slices.BinarySearchFunc(w.disk[k], it, compareItems)
	if !ok {
		w.t.Fatalf("erasing %v of %v: not on disk", it.ID, k)
	}
	w.disk[k] = slices.Delete(w.disk[k], i, i+1)
	w.left(k, it.ID)
	if len(w.disk[k]) == 0 {
		delete(w.disk, k)
	}
}

func (w *world) page(l Load) Loaded {
	list := w.disk[backlogKey{l.Domain, l.Class}]
	i := 0
	for i < len(list) && !l.After.isZero() && !l.After.before(position(&list[i])) {
		i++
	}
	list = list[i:]
	n := min(l.Limit, len(list))
	return Loaded{Domain: l.Domain, Class: l.Class, Items: slices.Clone(list[:n]), More: n < len(list)}
}

// begin takes note of a transaction and checks what must hold for every one.
func (w *world) begin(c Conn, t Transaction) {
	t.Items, t.Charges = slices.Clone(t.Items), slices.Clone(t.Charges)
	if _, ok := w.trans[c]; ok {
		w.t.Fatalf("connection %d has two transactions", c)
	}
	w.trans[c] = t
	if len(t.Items) == 0 {
		w.t.Fatalf("connection %d: a transaction without recipients", c)
	}
	w.checkBounds(c, t)
	for _, it := range t.Items {
		if w.flying[it.ID] {
			w.t.Fatalf("%v is in flight twice", it.ID)
		}
		w.flying[it.ID] = true
		if it.Due.After(w.now.Add(w.back)) {
			w.t.Fatalf("%v leaves before it is due", it.ID)
		}
		if !it.Expires.IsZero() && !it.Expires.After(w.now) {
			w.t.Fatalf("%v leaves after it expired", it.ID)
		}
		if it.Charged == (Charge{t.Source, t.Day}) {
			continue
		}
		for _, k := range t.Charges {
			w.charge[k]++
			w.checkBudget(k)
		}
	}
}

func (w *world) checkBudget(k BudgetKey) {
	c, n := w.caps[k], w.charge[k]
	switch {
	case c == nil:
		w.t.Fatalf("%+v was charged without a cap", k)
	case n > c.Allowed:
		w.t.Fatalf("%+v: %d used of %d allowed", k, n, c.Allowed)
	case n > w.leases[k]:
		w.t.Fatalf("%+v: %d used of %d leased", k, n, w.leases[k])
	}
}

// conclude ends a transaction; retry is when its recipients come back, zero if they do not.
func (w *world) conclude(c Conn, f Concluded, retry time.Time, pin bool) {
	t, ok := w.trans[c]
	if !ok {
		w.t.Fatalf("connection %d has no transaction", c)
	}
	delete(w.trans, c)
	for i, it := range t.Items {
		delete(w.flying, it.ID)
		w.erase(t.Domain, t.Class, it)
		if retry.IsZero() {
			continue
		}
		it.Attempts++
		it.Due = retry
		if pin {
			it.Pin, it.PinUntil = t.Source, w.now.Add(4*time.Hour)
		}
		if t.Day != 0 && i >= f.Refunded {
			it.Charged = Charge{t.Source, t.Day}
		}
		w.queue(t.Domain, t.Class, it)
	}
	for _, k := range t.Charges {
		if cp := w.caps[k]; cp != nil && cp.Day == t.Day {
			w.charge[k] -= f.Refunded
		}
	}
	if retry.IsZero() {
		w.sent = append(w.sent, t)
	}
	f.Conn = c
	w.step(&f)
}

// take asks the machine and writes down its answer.
func (w *world) take() { w.m.Take(w.now, &w.r) }

// answer does what the last Take asked for: pages, leases, lookups, moves and closes at once.
func (w *world) answer() (busy bool) {
	r := w.r
	for _, l := range r.Load {
		w.load(l)
	}
	for _, l := range r.Lease {
		w.leases[l.Key] = l.Total
		w.step(Leased(l))
	}
	for _, d := range r.Resolve {
		if f, ok := w.sites[d]; ok {
			w.step(f)
		} else {
			w.step(Resolved{Domain: d, Site: "mx." + d})
		}
	}
	for _, mv := range r.Move {
		w.erase(mv.Domain, mv.Class, mv.Item)
		w.moved[mv.Item.ID] = mv.Pool
		w.step(Gone{Domain: mv.Domain, Class: mv.Class, ID: mv.Item.ID})
	}
	for _, f := range r.Fail {
		w.erase(f.Domain, f.Class, f.Item)
		w.failed[f.Item.ID] = true
		w.step(Gone{Domain: f.Domain, Class: f.Class, ID: f.Item.ID})
	}
	for _, c := range r.Close {
		w.step(&ConnDown{Conn: c})
	}
	for _, d := range r.Dial {
		w.begin(d.Conn, d.Transaction)
	}
	for _, s := range r.Send {
		w.begin(s.Conn, s.Transaction)
	}
	return len(r.Load)+len(r.Lease)+len(r.Resolve)+len(r.Move)+len(r.Fail)+len(r.Close)+len(r.Dial)+len(r.Send) > 0
}

// deliver runs until nothing more can leave now; every transaction succeeds at once.
func (w *world) deliver() {
	for range 1_000_000 {
		w.take()
		busy := w.answer()
		for _, d := range w.r.Dial {
			w.step(&ConnUp{Conn: d.Conn})
			w.conclude(d.Conn, Concluded{Usable: true}, time.Time{}, false)
		}
		for _, s := range w.r.Send {
			w.conclude(s.Conn, Concluded{Usable: true}, time.Time{}, false)
		}
		if !busy {
			return
		}
	}
	w.t.Fatal("the machine does not come to rest")
}

// at prints a time as the offset within the test's days.
func (w *world) at(t time.Time) string {
	switch {
	case t.IsZero():
		return "-"
	case t.Before(w.start) || t.Sub(w.start) > 1000*time.Hour:
		return t.UTC().Format(time.RFC3339)
	}
	d := t.Sub(w.start)
	day := ""
	if n := d / (24 * time.Hour); n > 0 {
		day = fmt.Sprintf("day%d+", n)
		d %= 24 * time.Hour
	}
	s := fmt.Sprintf("%s%02d:%02d:%02d", day, int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60)
	if ns := d % time.Second; ns != 0 {
		s += strings.TrimRight(fmt.Sprintf(".%09d", int(ns)), "0")
	}
	return s
}
