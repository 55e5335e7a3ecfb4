// SPDX-License-Identifier: Apache-2.0

// Package warmup is the arithmetic of warm-up: what a plan allows on a day, and
// when it goes on to its next stage, or back. It is pure: plans, states and days are
// values, time zones and counts are arguments. Who counts, who stores the states and who turns an
// allowance into a budget of the scheduler is reputation's and the queue's business.
//
// Begin with [Plan.Allowance]: what a state's stage allows at a provider today. When a
// day has ended, [Plan.Advance] judges it; [Plan.Steer] is what an operator may do by hand.
// [DayOf], [DayBounds] and [Window.Bounds] say what a day is.
//
// # Keys
//
// A state belongs to a source at a provider; to a source at "other", which is all
// sites that belong to no named provider, together; or to a source's "total". Each of them
// climbs the same stages at its own pace, because each is used at its own pace: a total
// that providers do not fill stays where it is until it binds. A provider about which a plan
// says nothing has no state of its own: it follows the total ([Plan.Own]), as published
// schedules per address want it. A sending domain with a plan, and a lane that ramps itself (a plan
// on a segment's assignment), have states of their own, one per provider, by the same code.
//
// # Stages
//
// A stage is left when its volume was used and nothing speaks against it ([Evidence]),
// never because time passed: a day on which the engine was down or had nothing to send
// brings nobody forward. When the last stage has been used up, the state is
// done: the source is warm there and has no cap any more. Published schedules disagree by
// two orders of magnitude, so there is none in this package: they are data.
//
// # Back
//
// Evidence above a second limit leads one stage back. So does forgetting: receivers remember
// an address for about [Memory] days. A stage is kept by a day on which half of its volume was
// used; [Grace] days without one, so that a weekly newsletter keeps its place, and
// it goes back evenly, to the beginning by the end of that memory; a done state too. An
// operator may hold a state, release it, and move it a stage either way.
package warmup

import (
	"errors"
	"fmt"
	"slices"
)

// Names in [Stage.PerDay] that are no provider.
const (
	Default = "default" // each named provider without an entry of its own
	Other   = "other"   // all sites without a named provider, together
	Total   = "total"   // all providers, together
)

// TierNew is the tier for which [Stage.NewShare] is reserved.
const TierNew = "new"

// DefaultUsed is the part of a day's allowance that must have been used for a
// stage to be left, where the gate sets none.
const DefaultUsed = 0.9

// Plan is a warm-up schedule.
type Plan struct {
	Name   string
	Window Window // part of the day in which mail leaves; zero = the whole day
	Pace   bool   // released evenly over the window rather than at its beginning
	Stages []Stage
	Gate   Gate
}

// Stage is one step of a plan.
type Stage struct {
	Tiers    []string       `json:"tiers"`     // admitted; empty = all
	NewShare float64        `json:"new_share"` // part of the day reserved for tier "new", 0 to 1
	PerDay   map[string]int `json:"per_day"`   // recipients a day by provider, [Default], [Other] or [Total]
}

// Gate is what must hold for a stage to be left.
type Gate struct {
	Used float64 // part of the allowance that must have been used; 0 = [DefaultUsed]
}

// State is where a key stands in its plan. The zero State is the beginning.
type State struct {
	Stage int    `json:"stage"`           // index of the stage
	Day   Day    `json:"day,omitempty"`   // the last day that was judged; 0 = none
	Done  bool   `json:"done,omitempty"`  // the last stage was used up: no cap
	Held  string `json:"held,omitempty"`  // by hand: who and why; "" = not
	Kept  Day    `json:"kept,omitempty"`  // the last day whose volume kept the stage; 0 = none yet
	Peak  int    `json:"peak,omitempty"`  // how far it was on that day, see [Plan.Position]
	Since Day    `json:"since,omitempty"` // first day whose evidence no step back has answered yet
	Why   string `json:"why,omitempty"`   // what was last decided, a sentence
}

// Allowance is what a plan allows at a provider on a day of a state.
type Allowance struct {
	Limited  bool     // false: no cap (the state is done, or the stage sets none for this key)
	Allowed  int      // recipients a day
	Reserved int      // of them, for tier "new"
	Admit    []string // tiers admitted; empty = all. Shared with the plan: do not change
}

// Errors that [Plan.Validate] wraps.
var (
	ErrNoStage = errors.New("a plan needs at least one stage")
	ErrStage   = errors.New("bad stage")
	ErrGate    = errors.New("bad gate")
)

// Validate reports everything that is wrong with a plan.
func (p *Plan) Validate() error {
	var errs []error
	if len(p.Stages) == 0 {
		errs = append(errs, ErrNoStage)
	}
	if g := p.Gate.Used; g < 0 || g > 1 {
		errs = append(errs, fmt.Errorf("%w: used = %g is not between 0 and 1", ErrGate, g))
	}
	if err := p.Window.Validate(); err != nil {
		errs = append(errs, err)
	}
	for i := range p.Stages {
		s := &p.Stages[i]
		if s.NewShare < 0 || s.NewShare > 1 {
			errs = append(errs, fmt.Errorf("%w %d: new_share = %g is not between 0 and 1", ErrStage, i+1, s.NewShare))
		}
		if len(s.PerDay) == 0 {
			errs = append(errs, fmt.Errorf("%w %d: per_day is empty, so nothing could ever be sent", ErrStage, i+1))
		}
		for _, k := range sortedKeys(s.PerDay) {
			if s.PerDay[k] < 0 {
				errs = append(errs, fmt.Errorf("%w %d: per_day.%s = %d is negative", ErrStage, i+1, k, s.PerDay[k]))
			}
		}
	}
	return errors.Join(errs...)
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Allowance is what the plan allows for a key on a day of its state. provider
// is a named provider, [Other] or [Total].
//
// A named provider takes its own entry of the stage, else [Default], else [Total]; [Other] takes its
// own, else [Default], else [Total]; [Total] takes its own or is not limited, and
// admits every tier: which tiers go where is for each provider's own stage to
// say. A plan without stages allows nothing.
func (p *Plan) Allowance(s State, provider string) Allowance {
	if s.Done {
		return Allowance{}
	}
	if len(p.Stages) == 0 {
		return Allowance{Limited: provider != Total}
	}
	st := &p.Stages[p.stage(s)]
	n, ok := st.perDay(provider)
	if !ok {
		return Allowance{Limited: provider != Total}
	}
	a := Allowance{Limited: true, Allowed: n}
	if provider != Total {
		a.Admit = st.Tiers
	}
	if len(st.Tiers) == 0 || slices.Contains(st.Tiers, TierNew) {
		a.Reserved = int(float64(n)*st.NewShare + tiny)
	}
	return a
}

// tiny keeps products such as 0.9 x 70 on the right side of a whole number.
const tiny = 1e-9

// stage is the index of a state's stage; a plan that became shorter ends at
// its last.
func (p *Plan) stage(s State) int { return min(max(0, s.Stage), len(p.Stages)-1) }

func (s *Stage) perDay(provider string) (int, bool) {
	names := [...]string{provider, Default, Total}
	list := names[:]
	if provider == Total {
		list = names[:1]
	}
	for _, k := range list {
		if n, ok := s.PerDay[k]; ok {
			return n, true
		}
	}
	return 0, false
}
