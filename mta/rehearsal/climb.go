// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"time"

	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/reputation/evidence"
	"github.com/seguemta/segue/reputation/warmup"
)

// climb is the warm-up of the source: the states of its plan, what was charged, and the evidence.
type climb struct {
	plan   warmup.Plan
	limits evidence.Limits
	gates  bool
	keys   []string // providers, other, total
	states map[string]warmup.State
	caps   map[string]schedule.Cap // of today
	used   map[string]*spent
	book   *evidence.Book
	lost   int
}

// spent is what was charged to a budget on a day.
type spent struct {
	n     int
	hours [24]int
}

func newClimb(o *Options, a Arm) *climb {
	c := &climb{
		plan: o.Plan, limits: o.Limits, gates: a.Gates, keys: append([]string{warmup.Total, warmup.Other}, named()...),
		states: make(map[string]warmup.State), caps: make(map[string]schedule.Cap), used: make(map[string]*spent), book: evidence.NewBook(),
	}
	if !a.Tiers { // stages admit everybody
		c.plan.Stages = nil
		for _, s := range o.Plan.Stages {
			c.plan.Stages = append(c.plan.Stages, warmup.Stage{PerDay: s.PerDay})
		}
	}
	for _, k := range c.keys {
		c.used[k] = &spent{}
	}
	return c
}

// unlimited is the allowance of what is warm.
const unlimited = 1 << 30

// midnight judges the day that ended and returns the budgets of the one that begins.
func (c *climb) midnight(now time.Time) []schedule.Fact {
	today := warmup.DayOf(now, time.UTC)
	for _, k := range c.keys {
		if c.plan.Own(k) && len(c.caps) > 0 {
			c.judge(k, today-1)
		}
	}
	start, end := warmup.DayBounds(today, time.UTC)
	clear(c.caps)
	var list []schedule.Fact
	for _, k := range c.keys {
		yesterday := c.used[k].hours
		c.used[k] = &spent{}
		s := c.state(k)
		a := c.plan.Allowance(s, k)
		if !a.Limited && !s.Done {
			continue // no such limit
		}
		cp := schedule.Cap{
			Key: schedule.BudgetKey{Source: source, Provider: k}, Day: schedule.Day(today), Start: start, End: end,
			Pace: c.plan.Pace && a.Limited, Allowed: a.Allowed, Reserved: a.Reserved, Admit: a.Admit, Hours: yesterday,
		}
		if !a.Limited {
			cp.Allowed, cp.Hours = unlimited, [24]int{}
		}
		cp.Open, cp.Close = c.plan.Window.Bounds(today, time.UTC)
		c.caps[k] = cp
		list = append(list, cp)
	}
	return list
}

// judge ends a day of a key. A day is lost for each stage that the source would be
// further on, had the evidence not spoken.
func (c *climb) judge(key string, day warmup.Day) {
	ended := warmup.Ended{Day: day, Provider: key, Used: c.used[key].n, Allowed: c.caps[key].Allowed}
	s := c.states[key]
	without, _ := c.plan.Advance(s, ended, warmup.Evidence{})
	next := without
	if c.gates {
		next, _ = c.plan.Advance(s, ended, c.book.Judge(&c.limits, day, s.Since, c.asked(key)...))
	}
	c.lost += c.plan.Position(without) - c.plan.Position(next)
	c.states[key] = next
}

// asked is the evidence about a key: the total speaks for the providers that
// have no state of their own.
func (c *climb) asked(key string) []evidence.Asked {
	var list []evidence.Asked
	for _, p := range c.keys {
		if p == warmup.Total || p != key && (key != warmup.Total || c.plan.Own(p)) {
			continue
		}
		list = append(list, evidence.Asked{Scope: evidence.Source, Name: source, Provider: p, Reports: reports(p)})
	}
	return list
}

// state is where a key stands: where the plan says nothing about it, where the total stands.
func (c *climb) state(key string) warmup.State {
	if !c.plan.Own(key) {
		key = warmup.Total
	}
	return c.states[key]
}

// stage is where the total stands, from 1.
func (c *climb) stage() int { return c.plan.Position(c.state(warmup.Total)) + 1 }

// charge counts a recipient against the budgets of its transaction.
func (c *climb) charge(t *schedule.Transaction, now time.Time) {
	for _, k := range t.Charges {
		u := c.used[k.Provider]
		u.n++
		u.hours[now.Hour()]++
	}
}

// count adds evidence about a provider on the day of delivery.
func (c *climb) count(provider string, day warmup.Day, n evidence.Counts) {
	if provider == "" {
		provider = warmup.Other
	}
	k := evidence.Key{Scope: evidence.Source, Name: source, Provider: provider, Day: day}
	sum := c.book.Counts(k)
	sum.Add(n)
	c.book.Set(k, sum)
}
