// SPDX-License-Identifier: Apache-2.0

package warmup

import (
	"errors"
	"fmt"
)

// How long receivers remember, in days.
const (
	Memory = 30 // after so many idle days a state is at its beginning again
	Grace  = 7  // so many idle days change nothing
)

// Ended is a day that is over, as it is judged.
type Ended struct {
	Day      Day
	Provider string // of the key: a provider, [Other] or [Total]
	Used     int    // recipients charged on that day
	Allowed  int    // what was allowed on it, at its end; 0 = nothing was sent
}

// Evidence is what speaks against going on, from whoever watches deferrals,
// bounces and complaints. The zero Evidence says that nothing does.
type Evidence struct {
	Hold     string // why the stage must be kept, a sentence; "" = nothing is known against it
	StepBack string // why it must be left for the one before; "" = nothing is that bad
}

// Position is how far a state is: the index of its stage, or the number of
// stages when it is done.
func (p *Plan) Position(s State) int {
	if s.Done {
		return len(p.Stages)
	}
	return p.stage(s)
}

// move puts a state at a position.
func (p *Plan) move(s *State, to int) {
	s.Stage, s.Done = min(to, len(p.Stages)-1), to == len(p.Stages)
}

// at says where a state is.
func (p *Plan) at(s State) string {
	if s.Done {
		return "warm"
	}
	return fmt.Sprintf("stage %d of %d", p.stage(s)+1, len(p.Stages))
}

// Advance judges a day that has ended and gives the state for the next one,
// with the reason as a sentence for the operator, which the state keeps. A day is judged
// once: a second time, or a day before the last one judged, changes nothing.
func (p *Plan) Advance(s State, d Ended, e Evidence) (State, string) {
	switch {
	case len(p.Stages) == 0:
		return s, "the plan has no stage"
	case s.Day != 0 && d.Day <= s.Day:
		return s, fmt.Sprintf("%s was judged before", d.Day)
	}
	s.Day = d.Day
	if !s.Done {
		s.Stage = p.stage(s)
	}
	if s.Kept == 0 || p.keeps(s, d) {
		s.Kept, s.Peak = d.Day, p.Position(s)
	}
	switch {
	case e.StepBack != "":
		p.stepBack(&s, d.Day, e.StepBack)
	case p.Position(s) > p.remembered(s):
		p.move(&s, p.remembered(s))
		s.Why = fmt.Sprintf("steps back to %s: idle, its volume was last used on %s, and receivers forget within %d days", p.at(s), s.Kept, Memory)
	case s.Done:
		s.Why = "warm: the last stage was used up"
	default:
		p.climb(&s, d, e)
	}
	return s, s.Why
}

// keeps reports whether a day kept the stage: half of its volume was used.
func (p *Plan) keeps(s State, d Ended) bool {
	st := &p.Stages[min(p.Position(s), len(p.Stages)-1)]
	n, ok := st.perDay(d.Provider)
	return !ok || 2*d.Used >= n
}

// remembered is how far receivers still remember a state on its last judged day.
func (p *Plan) remembered(s State) int {
	idle := int(s.Day - s.Kept)
	if idle <= Grace {
		return len(p.Stages)
	}
	left := max(0, Memory-idle)
	return (s.Peak*left + Memory - Grace - 1) / (Memory - Grace)
}

// stepBack follows evidence that is worse than a hold.
func (p *Plan) stepBack(s *State, day Day, why string) {
	s.Since = day + 1
	if p.Position(*s) == 0 {
		s.Why = fmt.Sprintf("stays at %s, the first: %s", p.at(*s), why)
		return
	}
	p.move(s, p.Position(*s)-1)
	s.Kept, s.Peak = day, p.Position(*s)
	s.Why = fmt.Sprintf("steps back to %s: %s", p.at(*s), why)
}

// climb goes on to the next stage where the day's volume was used and nothing
// is against it.
func (p *Plan) climb(s *State, d Ended, e Evidence) {
	need := p.used()
	at, used := p.at(*s), fmt.Sprintf("%d of %d used on %s", d.Used, d.Allowed, d.Day)
	switch {
	case d.Allowed <= 0:
		s.Why = fmt.Sprintf("stays at %s: nothing was sent on %s", at, d.Day)
	case e.Hold != "":
		s.Why = fmt.Sprintf("stays at %s: %s, but %s", at, used, e.Hold)
	case float64(d.Used)+tiny < need*float64(d.Allowed):
		s.Why = fmt.Sprintf("stays at %s: %s, %.0f%% needed", at, used, need*100)
	case s.Held != "":
		s.Why = fmt.Sprintf("stays at %s: %s, but it is held by %s", at, used, s.Held)
	case s.Stage == len(p.Stages)-1:
		s.Why = fmt.Sprintf("warm: %s, %s", used, at)
		p.arrive(s, d.Day, len(p.Stages))
	default:
		p.arrive(s, d.Day, s.Stage+1)
		s.Why = fmt.Sprintf("advances to %s: %s", p.at(*s), used)
	}
}

// arrive moves a state on a day; it is remembered there from then on.
func (p *Plan) arrive(s *State, day Day, to int) {
	p.move(s, to)
	s.Kept, s.Peak = day, to
}

// used is the part of the day's volume that a stage asks for.
func (p *Plan) used() float64 {
	if p.Gate.Used == 0 {
		return DefaultUsed
	}
	return p.Gate.Used
}

// Act is what an operator does to a state by hand.
type Act string

// Acts of operators.
const (
	Hold     Act = "hold"      // no stage is left upwards until released
	Release  Act = "release"   // ends a hold
	Forward  Act = "advance"   // one stage on, whatever was used and whatever speaks against it
	StepBack Act = "step-back" // one stage back
)

// ErrAct is wrapped by acts that a state does not allow.
var ErrAct = errors.New("not possible")

// Steer carries out an act on a day. by says who and why, for the state's line.
func (p *Plan) Steer(s State, act Act, day Day, by string) (State, error) {
	if len(p.Stages) == 0 {
		return s, fmt.Errorf("%w: the plan has no stage", ErrAct)
	}
	at := p.Position(s)
	switch act {
	case Hold:
		if s.Held != "" {
			return s, fmt.Errorf("%w: it is held already, by %s", ErrAct, s.Held)
		}
		s.Held = by
	case Release:
		if s.Held == "" {
			return s, fmt.Errorf("%w: it is not held", ErrAct)
		}
		s.Held, s.Why = "", fmt.Sprintf("released at %s by %s", p.at(s), by)
	case Forward:
		if s.Done {
			return s, fmt.Errorf("%w: it is warm, there is no next stage", ErrAct)
		}
		p.arrive(&s, day, at+1)
		s.Why = fmt.Sprintf("advanced to %s by %s", p.at(s), by)
	case StepBack:
		if at == 0 {
			return s, fmt.Errorf("%w: it is at its first stage", ErrAct)
		}
		p.arrive(&s, day, at-1)
		s.Why = fmt.Sprintf("stepped back to %s by %s", p.at(s), by)
	default:
		return s, fmt.Errorf("%w: there is no act %q, only hold, release, advance and step-back", ErrAct, act)
	}
	return s, nil
}

// Reason is the one line that says why a state is where it is.
func (p *Plan) Reason(s State) string {
	switch {
	case s.Held != "":
		return fmt.Sprintf("held at %s by %s", p.at(s), s.Held)
	case s.Why != "":
		return s.Why
	case s.Done:
		return "warm: the last stage was used up"
	case len(p.Stages) == 0:
		return "the plan has no stage"
	}
	return fmt.Sprintf("%s: advances when %.0f%% of a day's volume was used and nothing speaks against it", p.at(s), p.used()*100)
}

// Own reports whether a plan says anything about a key itself: a provider that
// it neither names nor covers by [Default] has no state of its own and follows the
// total.
func (p *Plan) Own(provider string) bool {
	for i := range p.Stages {
		if _, ok := p.Stages[i].PerDay[provider]; ok {
			return true
		}
		if _, ok := p.Stages[i].PerDay[Default]; ok && provider != Total {
			return true
		}
	}
	return len(p.Stages) == 0
}
