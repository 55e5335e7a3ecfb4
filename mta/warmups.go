// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/warmup"
)

// unlimited is the allowance of what is warm: more than a machine can send.
const unlimited = 1 << 30

// statePrefix begins the names of warm-up states in the queue's store.
const statePrefix = "warmup/"

// oldestJudged bounds how far back a start looks for days that ended while the
// engine was down.
const oldestJudged = 14

// warmups are the warm-up budgets: a state per source x provider and per lane
// with a plan of its own, each with its plan. It is the queue's Budgets.
type warmups struct {
	zone  *time.Location
	plans map[string]*warmup.Plan
	list  []budgetOf

	mu     sync.Mutex
	states map[schedule.BudgetKey]warmup.State
	reason map[schedule.BudgetKey]string
}

// budgetOf is one budget and the plan it follows.
type budgetOf struct {
	key  schedule.BudgetKey
	plan string
}

// newWarmups reads the stored states.
func newWarmups(c *config.Config, mail *store.Store) (*warmups, error) {
	w := &warmups{
		zone: c.BudgetZone.Std(), plans: make(map[string]*warmup.Plan),
		states: make(map[schedule.BudgetKey]warmup.State), reason: make(map[schedule.BudgetKey]string),
	}
	for i := range c.Plans {
		w.plans[c.Plans[i].Name] = convertPlan(&c.Plans[i])
	}
	providers := []string{schedule.Other, schedule.Total}
	for _, p := range c.Providers {
		providers = append(providers, p.Name)
	}
	for _, s := range c.Sources {
		if s.Plan == "" {
			continue
		}
		for _, p := range providers {
			w.list = append(w.list, budgetOf{schedule.BudgetKey{Source: s.Name, Provider: p}, s.Plan})
		}
	}
	for _, s := range c.Segments {
		for _, a := range s.Assign {
			if a.Plan == "" {
				continue
			}
			for _, p := range providers {
				w.list = append(w.list, budgetOf{schedule.BudgetKey{Plan: a.Plan, Segment: s.Name, Tier: a.Tier, Provider: p}, a.Plan})
			}
		}
	}
	for _, b := range w.list {
		value, err := mail.State(stateName(b.key))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading warm-up state: %w", err)
		}
		var s warmup.State
		if err := json.Unmarshal(value, &s); err != nil {
			return nil, fmt.Errorf("reading warm-up state %s: %w", stateName(b.key), err)
		}
		w.states[b.key] = s
	}
	return w, nil
}

func stateName(k schedule.BudgetKey) string {
	return statePrefix + strings.Join([]string{k.Source, k.Plan, k.Segment, k.Tier, k.Provider}, "/")
}

func convertPlan(p *config.Plan) *warmup.Plan {
	out := &warmup.Plan{
		Name: p.Name, Pace: p.Pace, Window: warmup.Window{Open: p.Window.From, Close: p.Window.Until},
		Gate: warmup.Gate{Used: p.Gate.Used},
	}
	for _, s := range p.Stages {
		st := warmup.Stage{Tiers: s.Tiers, NewShare: s.NewShare, PerDay: make(map[string]int)}
		for name, n := range s.PerDay {
			st.PerDay[name] = int(n)
		}
		out.Stages = append(out.Stages, st)
	}
	return out
}

// Roll implements queue.Budgets: every day that ended and was not judged yet is
// judged now, in order. A day without a counter had no traffic and does not count.
func (w *warmups) Roll(now time.Time, used func(schedule.BudgetKey, schedule.Day) store.Counter) []queue.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	today := warmup.DayOf(now, w.zone)
	var changes []queue.Change
	for _, b := range w.list {
		s := w.states[b.key]
		before := s
		text := ""
		for d := max(s.Day+1, today-oldestJudged); d < today; d++ {
			c := used(b.key, schedule.Day(d))
			if c.Allowed == 0 {
				continue
			}
			s, text = w.plans[b.plan].Advance(s, warmup.Ended{Day: d, Used: c.Used, Allowed: c.Allowed}, warmup.Evidence{})
			w.reason[b.key] = text
		}
		if s == before {
			continue
		}
		w.states[b.key] = s
		value, err := json.Marshal(s)
		if err != nil {
			continue // a struct of numbers always marshals
		}
		change := queue.Change{Name: stateName(b.key), Value: value, Source: b.key.Source, Provider: b.key.Provider}
		if s.Stage != before.Stage || s.Done != before.Done {
			change.Reason = text
		}
		changes = append(changes, change)
	}
	return changes
}

// Caps implements queue.Budgets.
func (w *warmups) Caps(now time.Time, used func(schedule.BudgetKey, schedule.Day) store.Counter) []schedule.Cap {
	w.mu.Lock()
	defer w.mu.Unlock()
	today := warmup.DayOf(now, w.zone)
	start, end := warmup.DayBounds(today, w.zone)
	list := make([]schedule.Cap, 0, len(w.list))
	for _, b := range w.list {
		plan := w.plans[b.plan]
		a := plan.Allowance(w.states[b.key], b.key.Provider)
		if !a.Limited && (b.key.Provider == schedule.Total || b.key.Source == "") {
			continue // no such limit
		}
		c := used(b.key, schedule.Day(today))
		cp := schedule.Cap{
			Key: b.key, Day: schedule.Day(today), Start: start, End: end, Pace: plan.Pace && a.Limited,
			Allowed: a.Allowed, Reserved: a.Reserved, Admit: a.Admit, Used: c.Used, UsedNew: c.UsedNew, Leased: c.Leased,
		}
		if !a.Limited {
			cp.Allowed = unlimited
		} else {
			cp.Hours = used(b.key, schedule.Day(today-1)).Hours
		}
		cp.Open, cp.Close = plan.Window.Bounds(today, w.zone)
		list = append(list, cp)
	}
	return list
}

// stage is where a budget stands: stage from 1, of how many, and why.
func (w *warmups) stage(k schedule.BudgetKey) (stage, stages int, plan, reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.list, func(b budgetOf) bool { return b.key == k })
	if i < 0 {
		return 0, 0, "", ""
	}
	p := w.plans[w.list[i].plan]
	s := w.states[k]
	reason = w.reason[k]
	switch {
	case s.Done:
		reason = "warm: the last stage was used up"
	case reason == "":
		reason = "advances when the day's volume was used"
	}
	return min(s.Stage+1, len(p.Stages)), len(p.Stages), p.Name, reason
}
