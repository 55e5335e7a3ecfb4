// SPDX-License-Identifier: Apache-2.0

package throttle

import (
	"slices"
	"time"
)

// Tick does what is due: suspensions that end, steps upward. It returns what
// changed; calling it more often than [Policy.Next] says changes nothing.
func (p *Policy) Tick(s *State, now time.Time) []Act {
	s.use(p)
	if at := now.UnixMilli(); at >= s.due {
		return p.advance(s, at)
	}
	return nil
}

// Next is when Tick has something to do; the zero time = not by itself.
func (p *Policy) Next(s *State) time.Time {
	s.use(p)
	if s.due == never {
		return time.Time{}
	}
	return instant(s.due)
}

// advance does what is due, each thing at its own time and not at the time at
// which it is noticed, so that it does not matter who asks when.
func (p *Policy) advance(s *State, at int64) []Act {
	var acts []Act
	for s.due <= at {
		due := s.due
		acts = append(acts, p.step(s, due)...)
		s.plan(p)
	}
	return acts
}

// plan finds when something is due.
func (s *State) plan(p *Policy) {
	s.due = never
	see := func(t time.Time) { s.due = min(s.due, t.UnixMilli()) }
	suspension := func(x *Suspension) {
		if x.Running {
			see(x.Until)
		} else {
			see(x.Until.Add(p.damping.Memory))
		}
	}
	if s.Suspended != nil {
		suspension(s.Suspended)
	}
	for i := range s.Lanes {
		suspension(&s.Lanes[i])
	}
	if s.Slowed != nil && !s.suspended() {
		see(s.raise(p))
	}
}

func (s *State) suspended() bool { return s.Suspended != nil && s.Suspended.Running }

// raise is when the next step upward is: steps are at least [Damping.Up] apart.
func (s *State) raise(p *Policy) time.Time {
	t := s.Slowed.Until
	if s.Up != 0 {
		if after := instant(s.Up).Add(p.damping.Up); after.After(t) {
			t = after
		}
	}
	return t
}

// step does what is due at a time.
func (p *Policy) step(s *State, at int64) []Act {
	var acts []Act
	if s.Slowed != nil && !s.suspended() && s.raise(p).UnixMilli() <= at {
		acts = append(acts, p.up(s, at))
	}
	if x := s.Suspended; x != nil {
		switch {
		case x.Running && x.Until.UnixMilli() <= at:
			acts = append(acts, p.resume(s, at))
		case !x.Running && x.Until.Add(p.damping.Memory).UnixMilli() <= at:
			s.Suspended = nil
		}
	}
	s.Lanes = slices.DeleteFunc(s.Lanes, func(x Suspension) bool {
		return !x.Running && x.Until.Add(p.damping.Memory).UnixMilli() <= at
	})
	for i := range s.Lanes {
		if x := &s.Lanes[i]; x.Running && x.Until.UnixMilli() <= at {
			x.Running = false
			acts = append(acts, s.act(at, Act{Kind: Resume, Target: x.Target, Name: x.Name, Rule: x.Rule, Strikes: x.Strikes}))
		}
	}
	return acts
}

// act fills in what each act has.
func (s *State) act(at int64, a Act) Act {
	a.Time, a.Source, a.Provider = instant(at), s.Source, s.provider()
	return a
}

// resume ends the source's suspension: it begins again slowly.
func (p *Policy) resume(s *State, at int64) Act {
	x := s.Suspended
	x.Running = false
	w := s.Slowed
	if w == nil {
		w = &Slowed{Rule: x.Rule}
		s.Slowed = w
	}
	w.Rate = stricter(w.Rate, max(p.normal.Rate*p.damping.Restart, p.damping.LeastRate))
	w.Connections = 1
	w.Until = instant(at).Add(p.damping.Up)
	s.Up = at
	a := Act{Kind: Resume, Target: TargetSource, Rule: x.Rule, Strikes: x.Strikes}
	a.limits(w)
	return s.act(at, a)
}

// up takes one step towards the normal limits.
func (p *Policy) up(s *State, at int64) Act {
	w, d, n := s.Slowed, &p.damping, &p.normal
	w.Rate = higher(w.Rate, d.Factor, n.Rate)
	w.Connections = int(higher(float64(w.Connections), d.Factor, float64(n.Connections)))
	w.PerConnection = int(higher(float64(w.PerConnection), d.Factor, float64(n.PerConnection)))
	s.Up = at
	a := Act{Kind: Raise, Target: TargetSource, Rule: w.Rule}
	if w.Rate == 0 && w.Connections == 0 && w.PerConnection == 0 {
		s.Slowed = nil
		a.Kind = Recovered
		return s.act(at, a)
	}
	w.Until = instant(at).Add(d.Up)
	a.limits(w)
	return s.act(at, a)
}

// higher is a limit one step up; 0 where that is the normal one.
func higher(limit, factor, normal float64) float64 {
	if limit *= factor; limit >= normal {
		return 0
	}
	return limit
}

// Limits is what is in force of a source at a provider.
type Limits struct {
	Suspended     bool
	Until         time.Time // of the suspension; zero = until an operator says so
	Rate          float64   // recipients a second; 0 = the normal rate
	Connections   int       // 0 = the normal number
	PerConnection int       // transactions; 0 = the normal number
	Rule          string    // that set it; "pin" for an operator's
	Lanes         []Suspension
}

// Limits is what is in force at a time. The state stays as it is.
func (p *Policy) Limits(s *State, now time.Time) Limits {
	s = s.clone()
	p.Tick(s, now)
	var l Limits
	for _, x := range s.Lanes {
		if x.Running {
			l.Lanes = append(l.Lanes, x)
		}
	}
	if pin := s.Pinned; pin != nil {
		l.Suspended, l.Rate, l.Connections, l.PerConnection, l.Rule = pin.Suspended, pin.Rate, pin.Connections, pin.PerConnection, "pin"
		return l
	}
	if w := s.Slowed; w != nil {
		l.Rate, l.Connections, l.PerConnection, l.Rule = w.Rate, w.Connections, w.PerConnection, w.Rule
	}
	if s.suspended() {
		l.Suspended, l.Until, l.Rule = true, s.Suspended.Until, s.Suspended.Rule
	}
	return l
}

// Pin holds a fixed value until [Policy.Unpin].
func (p *Policy) Pin(s *State, now time.Time, pin Pin) []Act {
	acts := p.Tick(s, now)
	pin.At = instant(now.UnixMilli())
	s.Pinned = &pin
	a := Act{Kind: Pinned, Target: TargetSource, Rate: pin.Rate, Connections: pin.Connections, PerConnection: pin.PerConnection, Held: pin.Suspended}
	a.Note = by(pin.By, pin.Reason)
	return append(acts, s.act(pin.At.UnixMilli(), a))
}

// Unpin gives the value back to the rules: what they have in force holds again.
func (p *Policy) Unpin(s *State, now time.Time, who string) []Act {
	acts := p.Tick(s, now)
	if s.Pinned == nil {
		return acts
	}
	s.Pinned = nil
	return append(acts, s.act(now.UnixMilli(), Act{Kind: Unpinned, Target: TargetSource, Note: by(who, "")}))
}

// Cancel ends what rules have done: all of it for [TargetSource], otherwise the
// suspension of one lane or segment. What was counted is forgotten, and so are suspensions
// in a row: the same evidence does not act again.
func (p *Policy) Cancel(s *State, now time.Time, target Target, name, who string) []Act {
	acts := p.Tick(s, now)
	cancelled := false
	if target == TargetSource {
		cancelled = s.Slowed != nil || s.suspended()
		s.Slowed, s.Suspended, s.Down = nil, nil, 0
	}
	s.Lanes = slices.DeleteFunc(s.Lanes, func(x Suspension) bool {
		gone := target == TargetSource || x.Target == target && x.Name == name
		cancelled = cancelled || gone && x.Running
		return gone
	})
	s.Counters = slices.DeleteFunc(s.Counters, func(c counter) bool {
		return target == TargetSource || c.Name == string(target)+" "+name
	})
	if target == TargetSource {
		for i := range s.Rings {
			s.Rings[i] = ring{Rule: s.Rings[i].Rule}
		}
	}
	s.plan(p)
	if !cancelled {
		return acts
	}
	return append(acts, s.act(now.UnixMilli(), Act{Kind: Cancelled, Target: target, Name: name, Note: by(who, "")}))
}

func by(who, reason string) string {
	if reason == "" {
		return "by " + who
	}
	return "by " + who + ": " + reason
}
