// SPDX-License-Identifier: Apache-2.0

package score

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/seguemta/segue/segment/rule"
)

// Never is an instant that does not come.
const Never = math.MaxInt64

// Behaviour is the behaviour of a contact for any instant, clamped.
func (m *Model) Behaviour(s *State) rule.Decay {
	return rule.Decay{Value: s.value, At: s.at, HalfLife: m.options.HalfLife, Max: m.options.BehaviourMax}
}

// Total is the score of a contact for any instant: its fit, as [Model.Fit]
// gives it, and its behaviour. It is 0 after a complaint: whatever it fits,
// nobody should call.
func (m *Model) Total(fit float64, s *State) rule.Decay {
	d := m.Behaviour(s)
	if !s.frozen {
		d.Base = fit
	}
	return d
}

// Fill puts fit, behaviour and score where rules read them.
func (m *Model) Fill(v *rule.Values, fit float64, s *State) {
	v.Slots[rule.SlotFit] = rule.NumberValue(fit)
	v.Decays[rule.DecayBehaviour] = m.Behaviour(s)
	v.Decays[rule.DecayScore] = m.Total(fit, s)
}

// Describe says in one clause what the behaviour is, for people who look at one
// contact.
func (m *Model) Describe(s *State, now int64) string {
	if s.frozen {
		return "0 for good: a complaint ended it"
	}
	d := m.Behaviour(s)
	text := fmt.Sprintf("%.1f of %g", d.ValueAt(now), d.Max)
	if s.at != 0 {
		text += fmt.Sprintf(": %.1f on %s, half of it every %s", s.value, time.UnixMicro(s.at).UTC().Format(time.DateOnly), rule.Duration(d.HalfLife))
	}
	return text
}

// fading is what of a decay is above its base, neither clamp applied.
func fading(d *rule.Decay, now int64) float64 {
	return d.Value * math.Exp2(-(float64(now)-float64(d.At))/float64(d.HalfLife.Microseconds()))
}

// when is the instant at which x fades to y, both above 0; Never where that is
// beyond all time.
func when(from int64, x, y, halfLife float64) int64 {
	at := float64(from) + halfLife*math.Log2(x/y)
	if !(at < 1<<62) {
		return Never
	}
	return int64(at)
}

// line is a score from an instant on: base + value * 2^-t/halfLife.
type line struct {
	base, value float64
}

func (l line) now() float64 { return l.base + l.value }

// better is the order of an account's contacts: by score, and of equals the one
// that fades less.
func (l line) better(o line) bool {
	return l.now() > o.now() || l.now() == o.now() && l.base > o.base
}

// AccountScore is the score of an account whose contacts have the scores of the
// list, from now on until the instant until, at which to ask again; [Never] if
// time alone makes no difference. Without contacts it is the zero Decay, which is
// missing.
func (m *Model) AccountScore(list []rule.Decay, now int64) (d rule.Decay, until int64) {
	if len(list) == 0 {
		return rule.Decay{}, Never
	}
	halfLife := float64(m.options.HalfLife.Microseconds())
	until = Never
	lines := make([]line, len(list))
	for i := range list {
		x := &list[i]
		lines[i] = line{base: x.Base}
		if f := fading(x, now); f > x.Max {
			lines[i].base += x.Max
			until = min(until, when(now, f, x.Max, halfLife))
		} else if f > 0 {
			lines[i].value = f
		}
	}
	best := m.best(lines)
	for i, l := range lines {
		if slices.Contains(best, i) {
			continue
		}
		for _, b := range best {
			if rise, gap := l.base-lines[b].base, lines[b].value-l.value; rise > 0 && gap > 0 {
				until = min(until, when(now, gap, rise, halfLife))
			}
		}
	}
	until = max(until, now+leastStep)
	if m.options.Account == AccountMax {
		return list[best[0]], until
	}
	d = rule.Decay{At: now, HalfLife: m.options.HalfLife}
	for _, b := range best {
		d.Base += lines[b].base
		d.Value += lines[b].value
	}
	d.Max = d.Value
	return d, until
}

// leastStep is for how long an answer holds at least, in microseconds: two
// contacts that cross are as good as equal for so long, and rounding might else
// ask again for the same crossing at each microsecond of it.
const leastStep = 1000

// best returns the contacts that an account's score is made of, best first.
func (m *Model) best(lines []line) []int {
	most := m.Most()
	best := make([]int, 0, most+1)
	for i, l := range lines {
		at := len(best)
		for at > 0 && l.better(lines[best[at-1]]) {
			at--
		}
		if at == most {
			continue
		}
		best = slices.Insert(best, at, i)
		best = best[:min(len(best), most)]
	}
	return best
}
