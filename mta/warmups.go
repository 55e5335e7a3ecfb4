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
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/evidence"
	"github.com/seguemta/segue/reputation/warmup"
)

// unlimited is the allowance of what is warm: more than a machine can send.
const unlimited = 1 << 30

// statePrefix begins the names of warm-up states in the queue's store.
const statePrefix = "warmup/"

// oldestJudged bounds how far back a start looks for days that ended while the
// engine was down.
const oldestJudged = 14

// warmups are the warm-up budgets: a state per source x provider, per sending domain with a
// plan and per lane with one, each with its plan. It is the queue's Budgets.
type warmups struct {
	zone      *time.Location
	plans     map[string]*ramp
	list      []budgetOf
	providers []string // that a budget can be for, without the total
	evidence  *evidences

	mu     sync.Mutex
	states map[schedule.BudgetKey]warmup.State
}

// ramp is a plan with the limits of its gate.
type ramp struct {
	warmup.Plan
	limits evidence.Limits
}

// budgetOf is one budget and the plan it follows.
type budgetOf struct {
	key  schedule.BudgetKey
	plan string
}

// newWarmups reads the stored states.
func newWarmups(c *config.Config, mail *store.Store, known *evidences) (*warmups, error) {
	w := &warmups{
		zone: c.BudgetZone.Std(), plans: make(map[string]*ramp), evidence: known,
		states: make(map[schedule.BudgetKey]warmup.State), providers: []string{schedule.Other},
	}
	for i := range c.Plans {
		w.plans[c.Plans[i].Name] = convertPlan(&c.Plans[i])
	}
	for _, p := range c.Providers {
		w.providers = append(w.providers, p.Name)
	}
	for _, s := range c.Sources {
		w.add(schedule.BudgetKey{Source: s.Name}, s.Plan)
	}
	for _, d := range c.Domains {
		w.add(schedule.BudgetKey{Domain: d.Name}, d.Plan)
	}
	for _, s := range c.Segments {
		for _, a := range s.Assign {
			w.add(schedule.BudgetKey{Plan: a.Plan, Segment: s.Name, Tier: a.Tier}, a.Plan)
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

// add makes the budgets of a plan: at each provider, at other, and in total.
func (w *warmups) add(k schedule.BudgetKey, plan string) {
	if plan == "" {
		return
	}
	for _, p := range append([]string{schedule.Total}, w.providers...) {
		k.Provider = p
		w.list = append(w.list, budgetOf{k, plan})
	}
}

// stateName is where a state is stored. A domain is written only where there is
// one: the others keep the names they have had.
func stateName(k schedule.BudgetKey) string {
	parts := []string{k.Source, k.Plan, k.Segment, k.Tier, k.Provider}
	if k.Domain != "" {
		parts = append(parts, k.Domain)
	}
	return statePrefix + strings.Join(parts, "/")
}

// Plan is a configured plan as the scheduler's budgets come from it.
func Plan(p *config.Plan) warmup.Plan { return convertPlan(p).Plan }

// Limits is a configured gate as evidence is judged by it.
func Limits(g *config.Gate) evidence.Limits {
	return evidence.Limits{Deferred: g.MaxDeferred, Bounced: g.MaxBounced, Complained: g.MaxComplained, Unsubscribed: g.MaxUnsubscribed, StepBack: g.StepBack}
}

func convertPlan(p *config.Plan) *ramp {
	g := &p.Gate
	out := &ramp{
		Plan: warmup.Plan{
			Name: p.Name, Pace: p.Pace, Window: warmup.Window{Open: p.Window.From, Close: p.Window.Until},
			Gate: warmup.Gate{Used: g.Used},
		},
		limits: Limits(g),
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

// followers are the providers about which a plan says nothing.
func (w *warmups) followers(p *ramp) []string {
	var list []string
	for _, name := range w.providers {
		if !p.Own(name) {
			list = append(list, name)
		}
	}
	return list
}

// state is where a key stands: where its plan says nothing about it, where the
// total stands.
func (w *warmups) state(b *budgetOf) warmup.State {
	k := b.key
	if !w.plans[b.plan].Own(k.Provider) {
		k.Provider = schedule.Total
	}
	return w.states[k]
}

// counters reads the durable counter of a budget on a day.
type counters = func(schedule.BudgetKey, schedule.Day) store.Counter

// Roll implements queue.Budgets: every day that ended and was not judged yet is
// judged now, in order.
func (w *warmups) Roll(now time.Time, used func(schedule.BudgetKey, schedule.Day) store.Counter) []queue.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	today := warmup.DayOf(now, w.zone)
	var changes []queue.Change
	for i := range w.list {
		b := &w.list[i]
		if !w.plans[b.plan].Own(b.key.Provider) {
			continue
		}
		before := w.states[b.key]
		s, tell := w.judge(b, today, used)
		if s != before {
			changes = append(changes, w.change(b, s, tell))
		}
	}
	return changes
}

// judge judges the days of a key that ended before today.
func (w *warmups) judge(b *budgetOf, today warmup.Day, used counters) (warmup.State, []event.Event) {
	s, p := w.states[b.key], w.plans[b.plan]
	var tell []event.Event
	for d := max(s.Day+1, today-oldestJudged); d < today; d++ {
		c := used(b.key, schedule.Day(d))
		if c.Allowed == 0 && p.Position(s) == 0 {
			continue // it did not begin yet, or the engine was down: there is nothing to forget
		}
		var e warmup.Evidence
		if followers := w.followers(p); b.key.Provider != schedule.Total || len(followers) > 0 {
			e = w.evidence.judge(b.key, p.limits, d, s.Since, followers)
		}
		from := p.Position(s)
		var why string
		s, why = p.Advance(s, warmup.Ended{Day: d, Provider: b.key.Provider, Used: c.Used, Allowed: c.Allowed}, e)
		x := stageEvidence{Used: c.Used, Allowed: c.Allowed, From: from + 1, To: p.Position(s) + 1, Stages: len(p.Stages)}
		switch {
		case x.To > x.From:
			tell = append(tell, w.told(b, event.StageAdvanced, why, d, &x))
		case x.To < x.From:
			x.Against = e.StepBack
			tell = append(tell, w.told(b, event.StageBack, why, d, &x))
		case e.Hold != "" && c.Used > 0 && !s.Done:
			x.Against = e.Hold
			tell = append(tell, w.told(b, event.StageHeld, why, d, &x))
		}
	}
	return s, tell
}

// change takes a new state and says what is to be stored of it.
func (w *warmups) change(b *budgetOf, s warmup.State, tell []event.Event) queue.Change {
	w.states[b.key] = s
	value, _ := json.Marshal(s) //nolint:errchkjson // a struct of numbers and text always marshals
	return queue.Change{Name: stateName(b.key), Value: value, Events: tell}
}

// told is the event that a day was judged by: it moved a warm-up, or it speaks against
// moving it. A hold by evidence ends by itself, or by going on whatever speaks against it.
func (w *warmups) told(b *budgetOf, kind event.Kind, why string, d warmup.Day, x *stageEvidence) event.Event {
	s := w.evidence.pooled(b.key, d, w.followers(w.plans[b.plan]))
	x.Day, x.Sample = d.String(), &s.Counts
	act, undo := actAdvanced, warmup.StepBack
	if kind == event.StageBack {
		act, undo = actBack, warmup.Forward
	}
	if kind == event.StageHeld {
		act, undo = actHeld, warmup.Forward
	}
	return acted(of(b.key, kind, why), act, x, stageUndo(b.key, undo))
}

// of is an event about a budget.
func of(k schedule.BudgetKey, kind event.Kind, why string) event.Event {
	return event.Event{Kind: kind, Source: k.Source, SendingDomain: k.Domain, Plan: k.Plan, Segment: k.Segment, Tier: k.Tier, Provider: k.Provider, Reason: why}
}

// Caps implements queue.Budgets.
func (w *warmups) Caps(now time.Time, used func(schedule.BudgetKey, schedule.Day) store.Counter) []schedule.Cap {
	w.mu.Lock()
	defer w.mu.Unlock()
	today := warmup.DayOf(now, w.zone)
	start, end := warmup.DayBounds(today, w.zone)
	list := make([]schedule.Cap, 0, len(w.list))
	for i := range w.list {
		b := &w.list[i]
		plan, s := w.plans[b.plan], w.state(b)
		a := plan.Allowance(s, b.key.Provider)
		if !a.Limited && !s.Done {
			continue // no such limit
		}
		c := used(b.key, schedule.Day(today))
		cp := schedule.Cap{
			Key: b.key, Day: schedule.Day(today), Start: start, End: end, Pace: plan.Pace && a.Limited,
			Allowed: a.Allowed, Reserved: a.Reserved, Admit: a.Admit, Used: c.Used, UsedNew: c.UsedNew, Leased: c.Leased,
		}
		if !a.Limited {
			cp.Allowed = unlimited // what is warm is counted too: what is not used is forgotten
		} else {
			cp.Hours = used(b.key, schedule.Day(today-1)).Hours
		}
		cp.Open, cp.Close = plan.Window.Bounds(today, w.zone)
		list = append(list, cp)
	}
	return list
}

// stage is the stage of a budget, from 1.
func (w *warmups) stage(k schedule.BudgetKey) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.list, func(b budgetOf) bool { return b.key == k })
	if i < 0 {
		return 0
	}
	p := w.plans[w.list[i].plan]
	return min(p.Position(w.state(&w.list[i]))+1, len(p.Stages))
}

// standing is where a budget stands, for operators.
type standing struct {
	stage, stages int // from 1
	plan          string
	state         string          // climbing | held | warm | follows
	reason        string          // one line
	sample        evidence.Sample // of the last seven days
	against       string          // what of it speaks against going on
}

// standing says where a budget stands and why.
func (w *warmups) standing(k schedule.BudgetKey, today warmup.Day) standing {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.list, func(b budgetOf) bool { return b.key == k })
	if i < 0 {
		return standing{}
	}
	b := &w.list[i]
	p, s := w.plans[b.plan], w.state(b)
	followers := w.followers(p)
	out := standing{
		stage: min(s.Stage+1, len(p.Stages)), stages: len(p.Stages), plan: p.Name, state: "climbing", reason: p.Reason(s),
		sample: w.evidence.pooled(k, today, followers), against: w.evidence.judge(k, p.limits, today, s.Since, followers).Hold,
	}
	switch {
	case !p.Own(k.Provider):
		out.state, out.reason = "follows", "follows the total: "+out.reason
	case s.Held != "":
		out.state = "held"
	case s.Done:
		out.state = "warm"
	}
	return out
}
