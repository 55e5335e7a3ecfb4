// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/reputation/breaker"
	"github.com/seguemta/segue/reputation/warmup"
)

// guard is the breakers and canaries of the segments. As the engine begins, nothing is
// proven: each segment has a canary first.
type guard struct {
	arm    Arm
	policy *breaker.Policy
	states []*breaker.State
	all    breaker.Window // mail of segments that are closed, which small ones are judged with
	held   []int          // messages parked
	learnt []bool         // something was observed since the last look
	acts   []breaker.Act
}

func newGuard(a Arm) *guard {
	g := &guard{arm: a, policy: breaker.DefaultPolicy()}
	for _, name := range segments() {
		g.states = append(g.states, breaker.New(breaker.Segment, name))
	}
	g.held, g.learnt = make([]int, len(g.states)), make([]bool, len(g.states))
	return g
}

// asks says whether a message may leave. Without safeguards nobody is asked.
func (g *guard) asks(segment int, now time.Time, m *mail, c *contact) breaker.Answer {
	if !g.arm.Breaker && !g.arm.Canary {
		return breaker.Answer{Go: true}
	}
	s := g.states[segment]
	return g.policy.Asks(s, now, breaker.Contact{
		ID: uint64(m.contact), Entered: c.entered, Proven: !g.arm.Canary, Sampled: s.Sampled(m.trials), //nolint:gosec // an index
	})
}

// resize tells how much mail of a segment waits: it begins the canary.
func (g *guard) resize(segment int, now time.Time, waiting int) {
	s := g.states[segment]
	if g.arm.Canary && s.Proven.IsZero() || s.Phase == breaker.HalfOpen {
		g.acts = append(g.acts, g.policy.Resize(s, now, uint64(waiting))...) //nolint:gosec // not negative
	}
}

// admitted counts a message that is let go for the running trial, once.
func (g *guard) admitted(segment int, now time.Time, m *mail) {
	s := g.states[segment]
	if s.Sampled(m.trials) {
		return
	}
	m.trials = []string{s.TrialName()}
	g.policy.Observe(s, breaker.Observation{Sent: now, Sample: true, Counts: breaker.Counts{Admitted: 1}})
}

// seen is what an event says of a message.
type seen struct {
	event.Event
	day     warmup.Day // of its delivery
	reports bool       // its provider reports complaints
}

// observe counts an event. Without the breaker only trials are looked at.
func (g *guard) observe(segment int, m *mail, e seen) {
	counts, ok := breaker.From(&e.Event, e.reports)
	if !ok {
		return
	}
	s := g.states[segment]
	o := breaker.Observation{Sent: m.first, Day: int32(e.day), Tier: e.Tier, Sample: s.Sampled(m.trials), Counts: counts}
	if !o.Sample && s.Phase == breaker.Closed && !o.Sent.Before(s.Fresh) {
		g.all.Add(o.Day, o.Tier, o.Counts, g.policy.Days)
	}
	if g.arm.Breaker || o.Sample {
		g.policy.Observe(s, o)
		g.learnt[segment] = true
	}
}

// lost tells a trial that a message of its sample has ended without an answer.
func (g *guard) lost(segment int, now time.Time, m *mail) {
	if g.states[segment].Sampled(m.trials) {
		g.observe(segment, m, seen{event.Event{Kind: event.Expired}, warmup.DayOf(now, time.UTC), false})
	}
}

// tick lets a breaker decide and reports whether something changed. What it was judged by is
// no example for others.
func (g *guard) tick(segment int, now time.Time, waiting int) bool {
	s := g.states[segment]
	if !g.learnt[segment] && !g.policy.Due(s, now) {
		return false
	}
	g.learnt[segment] = false
	closed, window := s.Phase == breaker.Closed, s.Window
	acts := g.policy.Tick(s, now, g.all.Pools(window)...)
	g.acts = append(g.acts, acts...)
	if closed && len(window) > 0 && (s.Phase != breaker.Closed || len(s.Window) == 0) {
		g.all.Take(window)
	}
	if s.Phase == breaker.HalfOpen {
		g.resize(segment, now, waiting)
	}
	return len(acts) > 0
}

func (g *guard) park(segment int)       { g.held[segment]++ }
func (g *guard) gone(segment int)       { g.held[segment]-- }
func (g *guard) parked(segment int) int { return g.held[segment] }
