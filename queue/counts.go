// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"sync"
	"time"

	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

// counts are how many recipients are where: kept by the machine's goroutine,
// read by metrics and operators.
type counts struct {
	mu        sync.Mutex
	lanes     map[countKey]*Count
	providers map[string]string // of a domain with a named provider, once resolved
	sweep     int               // size of providers at which domains without mail are forgotten
	caps      map[schedule.BudgetKey]*Budget
	order     []schedule.BudgetKey
	day       schedule.Day
	dayStart  time.Time
	inFlight  int
}

type countKey struct {
	domain string
	class  store.ClassID
}

// Count is how many recipients of a (domain, class) are where.
type Count struct {
	Waiting, Held, InFlight int
}

// Budget is a budget of today and what was used of it.
type Budget struct {
	schedule.Cap
}

func (c *counts) init() {
	c.lanes = make(map[countKey]*Count)
	c.providers = make(map[string]string)
	c.sweep = minSweep
	c.caps = make(map[schedule.BudgetKey]*Budget)
}

func (c *counts) change(domain string, class store.ClassID, f func(*Count)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := countKey{domain, class}
	n := c.lanes[key]
	if n == nil {
		n = &Count{}
		c.lanes[key] = n
	}
	f(n)
	if *n == (Count{}) {
		delete(c.lanes, key)
	}
}

func (c *counts) add(domain string, class store.ClassID, n int) {
	c.change(domain, class, func(t *Count) { t.Waiting += n })
}

func (c *counts) park(domain string, class store.ClassID, n int) {
	c.change(domain, class, func(t *Count) { t.Held += n })
}

func (c *counts) fly(domain string, class store.ClassID, n int) {
	c.change(domain, class, func(t *Count) {
		t.InFlight += n
		c.inFlight += n
	})
}

func (c *counts) flying() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inFlight
}

// place notes a domain's provider, for labels.
func (c *counts) place(domain, provider string) {
	c.mu.Lock()
	defer c.mu.Unlock()
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

// minSweep is far more domains than the machine remembers without mail: one that
// is forgotten here is looked up again, and named again, before it sends.
const minSweep = 50_000

func (c *counts) setCaps(list []schedule.Cap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.caps)
	c.order = c.order[:0]
	for _, cp := range list {
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
	type key struct {
		class    store.ClassID
		provider string
	}
	sums := make(map[key]*Lane)
	var list []*Lane
	for k, n := range q.counts.lanes {
		at := key{k.class, q.counts.providers[k.domain]}
		l := sums[at]
		if l == nil {
			l = &Lane{Class: classes[k.class], Provider: at.provider}
			sums[at] = l
			list = append(list, l)
		}
		l.Waiting += n.Waiting
		l.Held += n.Held
		l.InFlight += n.InFlight
	}
	out := make([]Lane, len(list))
	for i, l := range list {
		out[i] = *l
	}
	return out
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
	var t Count
	for _, n := range q.counts.lanes {
		t.Waiting += n.Waiting
		t.Held += n.Held
		t.InFlight += n.InFlight
	}
	return t
}
