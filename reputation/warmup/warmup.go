// SPDX-License-Identifier: Apache-2.0

// Package warmup is the arithmetic of warm-up: what a plan allows on a day, and
// when it goes on to its next stage. It is pure: plans, states and days are
// values, time zones and counts are arguments. Who counts, who stores the states and who turns an
// allowance into a budget of the scheduler is reputation's and the queue's business.
//
// Begin with [Plan.Allowance]: what a state's stage allows at a provider today. When a
// day has ended, [Plan.Advance] judges it. [DayOf], [DayBounds] and [Window.Bounds] say
// what a day is.
//
// # Keys
//
// A state belongs to a source at a provider; to a source at "other", which is all
// sites that belong to no named provider, together; or to a source's "total". Each of them
// climbs the same stages at its own pace, because each is used at its own pace: a total
// that providers do not fill stays where it is until it binds. A lane that ramps itself
// (a plan on a segment's assignment) has states of its own, one per provider, by the same code.
//
// # Stages
//
// A stage is left when its volume was used, never because time passed: a day on which
// the engine was down or had nothing to send changes nothing. When the last stage has been used up, the state is
// done: the source is warm there and has no cap any more. Published schedules disagree by
// two orders of magnitude, so there is none in this package: they are data.
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
	Tiers    []string       // admitted; empty = all
	NewShare float64        // part of the day reserved for tier "new", 0 to 1
	PerDay   map[string]int // recipients a day by provider, [Default], [Other] or [Total]
}

// Gate is what must hold for a stage to be left.
type Gate struct {
	Used float64 // part of the allowance that must have been used; 0 = [DefaultUsed]
}

// State is where a key stands in its plan. The zero State is the beginning.
type State struct {
	Stage int  `json:"stage"`          // index of the stage
	Day   Day  `json:"day,omitempty"`  // the last day that was judged; 0 = none
	Done  bool `json:"done,omitempty"` // the last stage was used up: no cap
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

// Ended is a day that is over, as it is judged.
type Ended struct {
	Day     Day
	Used    int // recipients charged on that day
	Allowed int // what was allowed on it, at its end
}

// Evidence is what speaks against going on, from whoever watches deferrals,
// bounces and complaints. The zero Evidence says that nothing does.
type Evidence struct {
	Hold string // why the stage must be kept, a sentence; "" = nothing is known against it
}

// Advance judges a day that has ended and gives the state for the next one,
// with the reason as a sentence for the operator. A day is judged once: a second time, or a
// day before the last one judged, changes nothing. A day that is not judged, because the
// engine was down, does not count.
func (p *Plan) Advance(s State, d Ended, e Evidence) (State, string) {
	switch {
	case s.Done:
		return s, "warm: the last stage was used up"
	case len(p.Stages) == 0:
		return s, "the plan has no stage"
	case s.Day != 0 && d.Day <= s.Day:
		return s, fmt.Sprintf("%s was judged before", d.Day)
	}
	s.Stage, s.Day = p.stage(s), d.Day
	need := p.Gate.Used
	if need == 0 {
		need = DefaultUsed
	}
	at := fmt.Sprintf("stage %d of %d", s.Stage+1, len(p.Stages))
	used := fmt.Sprintf("%d of %d used on %s", d.Used, d.Allowed, d.Day)
	switch {
	case d.Allowed <= 0:
		return s, fmt.Sprintf("stays at %s: nothing was allowed on %s", at, d.Day)
	case float64(d.Used)+tiny < need*float64(d.Allowed):
		return s, fmt.Sprintf("stays at %s: %s, %.0f%% needed", at, used, need*100)
	case e.Hold != "":
		return s, fmt.Sprintf("stays at %s: %s, but %s", at, used, e.Hold)
	case s.Stage == len(p.Stages)-1:
		s.Done = true
		return s, fmt.Sprintf("warm: %s, %s", used, at)
	}
	s.Stage++
	return s, fmt.Sprintf("advances to stage %d of %d: %s", s.Stage+1, len(p.Stages), used)
}
