// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"maps"
	"sync"
	"time"

	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

// counts are how many recipients are where: kept by the machine's goroutine,
// read by metrics and operators. The sums are kept beside the parts, so that
// whoever reads does not stop the machine for a walk over every domain.
type counts struct {
	mu        sync.Mutex
	lanes     map[countKey]*Count
	sums      map[sumKey]*Count
	total     Count
	classes   map[store.ClassID]bool // seen so far
	providers map[string]string      // of a domain with a named provider, once resolved
	sweep     int                    // size of providers at which domains without mail are forgotten
	caps      map[schedule.BudgetKey]*Budget
	order     []schedule.BudgetKey
	day       schedule.Day
	dayStart  time.Time
}

type countKey struct {
	domain string
	class  store.ClassID
}

// sumKey is a lane as operators see it: a class at a provider.
type sumKey struct {
	class    store.ClassID
	provider string
}

// Count is how many recipients of a (domain, class) are where.
type Count struct {
	Waiting, Held, InFlight int
}

// change adds n times d.
func (c *Count) change(d Count, n int) {
	c.Waiting += n * d.Waiting
	c.Held += n * d.Held
	c.InFlight += n * d.InFlight
}

// Budget is a budget of today and what was used of it.
type Budget struct {
	schedule.Cap
}

func (c *counts) init() {
	c.lanes = make(map[countKey]*Count)
	c.sums = make(map[sumKey]*Count)
	c.classes = make(map[store.ClassID]bool)
	c.providers = make(map[string]string)
	c.sweep = minSweep
	c.caps = make(map[schedule.BudgetKey]*Budget)
}

// change adds to the counts of a (domain, class) and to the sums it is part of.
func (c *counts) change(domain string, class store.ClassID, d Count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.classes[class] = true
	bump(c.lanes, countKey{domain, class}, d, 1)
	bump(c.sums, sumKey{class, c.providers[domain]}, d, 1)
	c.total.change(d, 1)
}

// bump adds n times d to the count of a key. What counts nothing is not kept.
func bump[K comparable](m map[K]*Count, key K, d Count, n int) {
	t := m[key]
	if t == nil {
		t = &Count{}
		m[key] = t
	}
	t.change(d, n)
	if *t == (Count{}) {
		delete(m, key)
	}
}

func (c *counts) add(domain string, class store.ClassID, n int) {
	c.change(domain, class, Count{Waiting: n})
}

func (c *counts) park(domain string, class store.ClassID, n int) {
	c.change(domain, class, Count{Held: n})
}

func (c *counts) fly(domain string, class store.ClassID, n int) {
	c.change(domain, class, Count{InFlight: n})
}

func (c *counts) flying() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total.InFlight
}

// held reports whether some of a domain's mail is parked.
func (c *counts) held(domain string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for class := range c.classes {
		if n := c.lanes[countKey{domain, class}]; n != nil && n.Held > 0 {
			return true
		}
	}
	return false
}

// place notes a domain's provider, for labels.
func (c *counts) place(domain, provider string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.providers[domain]; old != provider {
		c.moveSums(domain, old, provider)
	}
	if provider == "" {
		delete(c.providers, domain)
		return
	}
	c.providers[domain] = provider
	if len(c.providers) < c.sweep {
		return
	}
	busy := make(map[string]bool)
	for k := range c.lanes {
		busy[k.domain] = true
	}
	for name := range c.providers {
		if !busy[name] {
			delete(c.providers, name)
		}
	}
	c.sweep = max(minSweep, 2*len(c.providers))
}

// moveSums counts a domain's mail at another provider.
func (c *counts) moveSums(domain, from, to string) {
	for class := range c.classes {
		if n := c.lanes[countKey{domain, class}]; n != nil {
			d := *n
			bump(c.sums, sumKey{class, from}, d, -1)
			bump(c.sums, sumKey{class, to}, d, 1)
		}
	}
}

// minSweep is far more domains than the machine remembers without mail: one that
// is forgotten here is looked up again, and named again, before it sends.
const minSweep = 50_000

func (c *counts) setCaps(list []schedule.Cap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := maps.Clone(c.caps)
	clear(c.caps)
	c.order = c.order[:0]
	for _, cp := range list {
		if b := before[cp.Key]; b != nil && b.Day == cp.Day {
			cp.Used = max(cp.Used, b.Used) // charged since the counters were read
		}
		c.caps[cp.Key] = &Budget{Cap: cp}
		c.order = append(c.order, cp.Key)
		c.day, c.dayStart = cp.Day, cp.Start
	}
}

// spend notes a charge that is part of a commit.
func (c *counts) spend(k schedule.BudgetKey, day schedule.Day) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.caps[k]; b != nil && b.Day == day {
		b.Used++
	}
}

// allowed is today's cap of a budget.
func (c *counts) allowed(k schedule.BudgetKey) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.caps[k]; b != nil {
		return b.Allowed
	}
	return 0
}

// hour is which hour of a budget day now is in. What was in flight at midnight
// is charged to the last hour of the day on which it left.
func (c *counts) hour(day schedule.Day, now time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if day < c.day {
		return 23
	}
	return min(max(int(now.Sub(c.dayStart)/time.Hour), 0), 23)
}

// Lane is how many recipients of one class at one provider are where.
type Lane struct {
	store.Class
	Provider string
	Count
}

// Lanes are the counts of the queue by class and provider ("" = other or not yet resolved).
func (q *Queue) Lanes() []Lane {
	classes := q.store.Classes()
	q.counts.mu.Lock()
	defer q.counts.mu.Unlock()
	list := make([]Lane, 0, len(q.counts.sums))
	for k, n := range q.counts.sums {
		list = append(list, Lane{Class: classes[k.class], Provider: k.provider, Count: *n})
	}
	return list
}

// BudgetsToday are the caps in force and what was charged against them.
func (q *Queue) BudgetsToday() []Budget {
	q.counts.mu.Lock()
	defer q.counts.mu.Unlock()
	list := make([]Budget, 0, len(q.counts.order))
	for _, k := range q.counts.order {
		list = append(list, *q.counts.caps[k])
	}
	return list
}

// Total is the sum over the whole queue.
func (q *Queue) Total() Count {
	q.counts.mu.Lock()
	defer q.counts.mu.Unlock()
	return q.counts.total
}
