// SPDX-License-Identifier: Apache-2.0

package throttle

import (
	"math"
	"slices"
	"time"

	"github.com/seguemta/segue/mta/wilson"
	"github.com/seguemta/segue/reputation/bounce"
)

// never is the due time of a state in which nothing will happen by itself.
const never = math.MaxInt64

// Observe takes one outcome at a time and returns what changed, mostly nothing.
func (p *Policy) Observe(s *State, now time.Time, o Observation) []Act {
	at := now.UnixMilli()
	s.use(p)
	var acts []Act
	if at >= s.due {
		acts = p.advance(s, at)
	}
	against := p.count(s, at, &o)
	if o.Outcome == Delivered {
		return acts
	}
	running := s.Suspended != nil && s.Suspended.Running
	if running && o.Outcome != Complained {
		s.InFlight++
	}
	if running {
		return acts
	}
	if o.Reply.Code >= 400 && !o.Repeated {
		acts = p.reply(s, at, &o, acts)
	}
	return p.judge(s, at, against, acts)
}

// count adds an outcome to the rates and returns the set of those that it speaks against.
func (p *Policy) count(s *State, at int64, o *Observation) uint32 {
	if s.Suspended != nil && s.Suspended.Running && o.Outcome != Complained {
		return 0 // in flight when it began
	}
	against := uint32(0)
	for i, r := range p.rates {
		var hits, of uint32
		switch {
		case r.counts == measureComplained:
			if !p.normal.Reports {
				continue
			}
			hits, of = one(o.Outcome == Complained), one(o.Outcome == Delivered)
		case o.Outcome == Complained:
			continue
		case o.Outcome == Delivered:
			of = 1
		case r.counts == measureBounced:
			hits, of = one(o.Outcome == Bounced && o.Verdict == bounce.Suppress), 1
		default:
			hits, of = one(o.Outcome == Deferred && o.Verdict == bounce.Reputation), 1
		}
		if hits+of > 0 {
			s.Rings[i].count(at, r.slot, hits, of)
			against |= hits << i
		}
	}
	return against
}

func one(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// match finds the rule of a reply, or nil.
func (p *Policy) match(w *bounce.Words) *replyRule {
	for _, r := range p.rules {
		if r.Matches(w) {
			return r
		}
	}
	return nil
}

// reply gives a reply to its rule.
func (p *Policy) reply(s *State, at int64, o *Observation, acts []Act) []Act {
	if s.words == nil {
		s.words = &bounce.Words{}
	}
	s.words.Read(o.Reply)
	r := p.match(s.words)
	if r == nil {
		return acts
	}
	target, name := r.scope, ""
	switch {
	case target == TargetSource:
	case o.Transactional:
		return acts
	case target == TargetSegment && o.Lane.Segment != "":
		name = o.Lane.Segment
	default:
		target, name = TargetLane, o.Lane.String()
	}
	if l := s.lane(target, name); target != TargetSource && l != nil && l.Running {
		s.InFlight++
		return acts
	}
	c := s.counter(r.name, string(target)+" "+name)
	longest := slices.MaxFunc(r.whens, func(a, b when) int { return int(a.within - b.within) }).within
	c.add(at, s.site(o), longest, s.need(&r.whens[len(r.whens)-1]))
	if c.since(at, r.whens[0].within) < s.need(&r.whens[0]) {
		c.Fired = 0
	}
	for i := len(r.whens) - 1; i >= c.Fired; i-- {
		when := r.whens[i]
		n := c.since(at, when.within)
		if n < s.need(&when) {
			continue
		}
		act, done := p.act(s, at, &when.action, Act{
			Target: target, Name: name, Rule: r.name, Pattern: r.Why(s.words), Reply: shorten(o.Reply.String()),
			Count: uint64(n), Window: when.within, Next: r.next, //nolint:gosec // at most maxMatches
		})
		if !done {
			break
		}
		s.spend(r.name, string(target)+" "+name, i+1, len(r.whens))
		acts = append(acts, act)
		break
	}
	s.plan(p)
	return acts
}

// spend marks matches as acted upon, so that the same ones do not act again.
func (s *State) spend(rule, name string, fired, of int) {
	for i := range s.Counters {
		if c := &s.Counters[i]; c.Rule == rule && c.Name == name {
			if c.Fired = fired; fired == of {
				s.Counters = slices.Delete(s.Counters, i, i+1)
			}
			return
		}
	}
}

// judge asks the rate rules that an outcome speaks against. What has acted begins to count anew: the same
// recipients are not evidence twice.
func (p *Policy) judge(s *State, at int64, against uint32, acts []Act) []Act {
	for i, r := range p.rates {
		hits, of := s.Rings[i].sum()
		if against&(1<<i) == 0 || of < r.sample {
			continue
		}
		rate := wilson.Interval(hits, of)
		t := r.high
		if t.share == 0 || rate.Low <= t.share {
			t = r.low
		}
		if t.share == 0 || rate.Low <= t.share {
			continue
		}
		act, done := p.act(s, at, &t.action, Act{
			Target: TargetSource, Rule: r.name, Pattern: r.counts.String() + " over " + wilson.Percent(t.share),
			Count: hits, Of: of, Window: r.within, Next: r.next,
		})
		if done {
			s.Rings[i] = ring{Rule: r.name}
			acts = append(acts, act)
			s.plan(p)
		}
	}
	return acts
}

// act does what a rule says, unless something was done within the last minute:
// then the evidence stays and the next reply asks again. act brings the evidence.
func (p *Policy) act(s *State, at int64, a *action, act Act) (Act, bool) {
	act.Kind = a.kind
	if s.Pinned != nil && act.Target == TargetSource && a.kind != Alert {
		act.Kind, act.Note = Alert, "pinned by "+s.Pinned.By+", so nothing changes; the rule says "+string(a.kind)
	}
	act = s.act(at, act)
	if act.Kind == Alert {
		return act, s.alert(at, act.Rule, &p.damping)
	}
	if lately(at, s.Down, p.damping.Down) {
		return Act{}, false
	}
	s.Down = at
	if a.kind == Suspend {
		p.suspend(s, at, a, &act)
	} else {
		p.slow(s, at, a, &act)
	}
	return act, true
}

// alert reports whether an alert may be raised: one of the same rule an hour,
// one of another a minute.
func (s *State) alert(at int64, rule string, d *Damping) bool {
	wait := d.Down
	if rule == s.AlertRule {
		wait = d.Up
	}
	if lately(at, s.Alerted, wait) {
		return false
	}
	s.Alerted, s.AlertRule = at, rule
	return true
}

// lately reports whether something was done within the last while. What was done after the time
// that it is now was done by a clock that was set back since: it must not keep rules quiet until that time.
func lately(at, done int64, within time.Duration) bool {
	d := within.Milliseconds()
	return done != 0 && at < done+d && at > done-d
}

// suspend begins a suspension: twice as long as the last one where that ended lately.
func (p *Policy) suspend(s *State, at int64, a *action, act *Act) {
	if act.Target != TargetSource && s.lane(act.Target, act.Name) == nil && len(s.Lanes) >= maxLanes {
		act.Note = "so many lanes are suspended that it is the source: " + string(act.Target) + " " + act.Name
		act.Target, act.Name = TargetSource, ""
	}
	var old *Suspension
	if act.Target == TargetSource {
		if s.Suspended == nil {
			s.Suspended = &Suspension{Target: TargetSource}
		}
		old = s.Suspended
		s.forget(p)
	} else {
		if s.lane(act.Target, act.Name) == nil {
			s.Lanes = append(s.Lanes, Suspension{Target: act.Target, Name: act.Name})
		}
		old = s.lane(act.Target, act.Name)
	}
	length, longest := a.length, max(a.length, p.damping.Longest)
	for range old.Strikes {
		length = min(2*length, longest)
	}
	old.Rule, old.Running, old.Strikes = act.Rule, true, min(old.Strikes+1, maxStrikes)
	old.Until = instant(at).Add(length)
	act.Strikes, act.Until = old.Strikes, old.Until
}

// forget drops what was counted of replies before a suspension of the source:
// after it, only what comes then is evidence.
func (s *State) forget(p *Policy) {
	s.Counters = nil
	for i, r := range p.rates {
		if r.counts != measureComplained {
			s.Rings[i] = ring{Rule: r.name}
		}
	}
}

// slow lowers limits: each to the stricter of what is in force and what the rule
// says, until the later of both ends.
func (p *Policy) slow(s *State, at int64, a *action, act *Act) {
	until := instant(at).Add(a.length)
	w := s.Slowed
	if w == nil {
		w = &Slowed{}
		s.Slowed = w
	}
	rate, connections := a.rate, a.connections
	if a.share > 0 {
		now := w.Rate
		if now == 0 {
			now = p.normal.Rate
		}
		rate = now * a.share
	}
	if rate > 0 {
		rate = max(rate, p.damping.LeastRate)
	}
	w.Rate = stricter(w.Rate, rate)
	w.Connections = stricter(w.Connections, connections)
	w.PerConnection = stricter(w.PerConnection, a.perConnection)
	w.Rule = act.Rule
	if until.After(w.Until) {
		w.Until = until
	}
	act.limits(w)
	act.Until = s.raise(p)
}

// stricter is the lower of two limits, of which 0 is none.
func stricter[N int | float64](a, b N) N {
	switch {
	case a == 0:
		return b
	case b == 0:
		return a
	default:
		return min(a, b)
	}
}

// instant is a time as states hold it: to the millisecond, in UTC.
func instant(at int64) time.Time { return time.UnixMilli(at).UTC() }

func shorten(s string) string {
	if len(s) > maxReply {
		s = s[:maxReply]
	}
	return s
}
