// SPDX-License-Identifier: Apache-2.0

package schedule

import "time"

// limited is what a [Limit] says of a source at a provider. It lies at the source and
// at those of its gates that it concerns; where nothing is limited there is none.
type limited struct {
	def  Limit
	step time.Duration // between recipients; 0 = the provider's
}

// limit takes what holds for a source at a provider from now on.
func (m *Machine) limit(f *Limit) {
	s, name := m.source(f.Source), siteProvider(f.Provider)
	var l *limited
	if f.Suspended || f.Rate > 0 || f.Connections > 0 || f.PerConnection > 0 {
		l = &limited{def: *f, step: interval(f.Rate)}
		if s.limits == nil {
			s.limits = map[string]*limited{}
		}
		s.limits[name] = l
	} else {
		delete(s.limits, name)
	}
	if p := m.providers[name]; p != nil && p.scope != nil {
		for _, g := range p.scope.gates { // those of sites that are gone, too: they are used again
			if g.source == s {
				m.relimit(g, l)
			}
		}
	}
	if name == "" {
		for _, p := range s.paths {
			if p.site.key.provider == "" {
				m.relimit(p.gate, l)
			}
		}
	}
	m.refreshSource(s)
}

// siteProvider is a provider's name as sites carry it.
func siteProvider(name string) string {
	if name == Other {
		return ""
	}
	return name
}

// relimit puts a limit into force at a gate, or takes it away. Its paths must be
// refreshed after it: they may wait for what is free now.
func (m *Machine) relimit(g *gate, l *limited) {
	old := g.interval()
	g.lim = l
	g.paceAnew(m.now, old)
	m.closeCrowd(g)
}

// paceAnew follows a new rate. A lower one binds at once: the next recipient comes a
// whole interval from now, whatever the old rate had saved up. Where it is higher, those that
// have passed are waited for no longer than it asks.
func (g *gate) paceAnew(now time.Time, old time.Duration) {
	step := g.interval()
	switch {
	case step == old || step == 0:
	case step > old:
		if first := now.Add(step); g.tat.Before(first) || old == 0 {
			g.tat = first
		}
	case g.tat.After(now):
		g.tat = now.Add(time.Duration(float64(g.tat.Sub(now)) * float64(step) / float64(old)))
	}
}

// closeCrowd closes the idle connections of a gate that it has no room for any
// more, longest idle first, and those that have carried enough.
func (m *Machine) closeCrowd(g *gate) {
	for c := g.scope.idle.first; c != nil; {
		next := c.next[1]
		if c.path.gate == g && (g.crowded(&m.o) || c.sent >= g.perConnection(&m.o)) {
			m.closeConn(c)
		}
		c = next
	}
}

// crowded reports whether a gate has more connections than it may. Those that
// are closing count no more.
func (g *gate) crowded(o *Options) bool { return g.open-g.closing > g.limit(o) }

func (g *gate) limit(o *Options) int {
	if g.lim != nil && g.lim.def.Connections > 0 {
		return g.lim.def.Connections
	}
	if n := g.scope.prov.def.Connections; n > 0 {
		return n
	}
	return o.Connections
}

func (g *gate) perConnection(o *Options) int {
	if g.lim != nil && g.lim.def.PerConnection > 0 {
		return g.lim.def.PerConnection
	}
	if n := g.scope.prov.def.PerConnection; n > 0 {
		return n
	}
	return o.PerConnection
}

// interval is the time between recipients; 0 = no limit.
func (g *gate) interval() time.Duration {
	if g.lim != nil && g.lim.step > 0 {
		return g.lim.step
	}
	return interval(g.scope.prov.def.Rate)
}

func (g *gate) rate() float64 {
	if g.lim != nil && g.lim.step > 0 {
		return g.lim.def.Rate
	}
	return g.scope.prov.def.Rate
}

// interval is the time between recipients at a rate; 0 = no limit.
func interval(rate float64) time.Duration {
	if !(rate > 0) {
		return 0
	}
	return time.Duration(min(float64(time.Second)/rate, float64(longestInterval)))
}

// longestInterval keeps a rate that is nearly zero from overflowing.
const longestInterval = 24 * time.Hour

// suspends reports whether a limit keeps its source from being used.
func (l *limited) suspends(now time.Time) bool {
	return l != nil && l.def.Suspended && (l.def.Until.IsZero() || l.def.Until.After(now))
}

// rest is why a source is not used at a provider.
type rest struct {
	until     time.Time // zero = until told otherwise
	suspended bool      // by a limit; otherwise an operator paused it
}

// resting reports whether a source may not be used at a provider: it is paused,
// or a limit suspends it. Where both hold, the one that ends last counts.
func (s *source) resting(now time.Time, provider string, l *limited) (rest, bool) {
	until, paused := s.paused(now, provider)
	if !l.suspends(now) || paused && !l.def.Until.IsZero() && l.def.Until.Before(until) {
		return rest{until: until}, paused
	}
	return rest{until: l.def.Until, suspended: true}, true
}

// before reports whether a rest ends before a time.
func (r rest) before(t time.Time) bool { return !r.until.IsZero() && r.until.Before(t) }

// timeRest sets the timer for the next end of a pause or a suspension.
func (m *Machine) timeRest(s *source) {
	var next time.Time
	note := func(until time.Time) {
		if until.After(m.now) && (next.IsZero() || until.Before(next)) {
			next = until
		}
	}
	for _, p := range s.pauses {
		note(p.until)
	}
	for _, l := range s.limits {
		if l.def.Suspended {
			note(l.def.Until)
		}
	}
	m.set(&s.timer, next)
}
