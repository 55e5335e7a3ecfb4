// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"slices"
	"time"
)

func (m *Machine) class(id ClassID) *class {
	c := m.classes[id]
	if c == nil {
		c = &class{id: id, def: Class{Weight: 1}, pool: m.pool("")}
		m.classes[id] = c
	}
	return c
}

func (m *Machine) source(name string) *source {
	s := m.sources[name]
	if s == nil {
		s = &source{name: name, index: len(m.sourceList)}
		s.timer = timer{kind: timerPause, owner: s}
		m.sources[name] = s
		m.sourceList = append(m.sourceList, s)
	}
	return s
}

func (m *Machine) pool(name string) *pool {
	p := m.pools[name]
	if p == nil {
		p = &pool{name: name, excess: ExcessHold}
		m.pools[name] = p
	}
	return p
}

func (m *Machine) provider(name string) *provider {
	p := m.providers[name]
	if p == nil {
		p = &provider{name: name}
		if name != "" {
			p.scope = newScope(p)
		}
		m.providers[name] = p
	}
	return p
}

func newScope(p *provider) *scope {
	s := &scope{prov: p}
	s.idle.slot = 1
	s.wait = waitq{kind: waitScope, scope: s}
	return s
}

// teardown takes all mail out of its lanes, before what they were built from changes.
func (m *Machine) teardown() {
	m.rebuild = true
	if len(m.laneList) == 0 {
		return
	}
	for _, b := range m.backlogList {
		m.detachAll(b)
	}
	for l, ok := m.dirtyLanes.pop(); ok; l, ok = m.dirtyLanes.pop() {
		l.dirty = false
		m.updateLane(l)
	}
}

func (m *Machine) defineClass(f *DefineClass) {
	m.teardown()
	c := m.class(f.ID)
	c.def, c.defined = f.Class, true
	c.def.Weight = max(1, c.def.Weight)
	c.pool = m.pool(f.Class.Pool)
}

func (m *Machine) defineSource(f *DefineSource) {
	m.teardown()
	s := m.source(f.Name)
	s.budgeted, s.defined = f.Budgeted, true
}

func (m *Machine) definePool(f *DefinePool) {
	m.teardown()
	p := m.pool(f.Name)
	p.excess, p.overflow = f.Excess, f.Overflow
	if p.excess == "" || p.excess == ExcessOverflow && (p.overflow == "" || p.overflow == p.name) {
		p.excess = ExcessHold
	}
	p.members = p.members[:0]
	for _, d := range f.Members {
		p.members = append(p.members, member{source: m.source(d.Source), weight: d.Weight})
	}
}

func (m *Machine) defineProvider(f *DefineProvider) {
	m.teardown()
	m.provider(siteProvider(f.Name)).def = *f
}

// rebuildLanes follows a new configuration: every queue finds its lane again.
// It is the one place that visits everything.
func (m *Machine) rebuildLanes() {
	m.teardown()
	m.rebuild = false
	for _, s := range m.sourceList {
		m.refreshSource(s)
	}
	for _, b := range slices.Clone(m.backlogList) {
		if b.live {
			b.heldAt = m.isHeldAt(b)
			m.repin(b)
			m.settleAll(b)
		}
	}
}

// paused reports whether an operator lets a source rest at a provider, and until when.
func (s *source) paused(now time.Time, provider string) (time.Time, bool) {
	if provider == "" {
		provider = Other
	}
	var until time.Time
	for _, p := range s.pauses {
		if (p.provider == "" || p.provider == provider) && p.until.After(until) {
			until = p.until
		}
	}
	return until, until.After(now)
}

func (m *Machine) paused(f *Paused) {
	s := m.source(f.Source)
	keep := s.pauses[:0]
	for _, p := range s.pauses {
		if p.provider != f.Provider && p.until.After(m.now) {
			keep = append(keep, p)
		}
	}
	if f.Until.After(m.now) {
		keep = append(keep, pause{provider: f.Provider, until: f.Until})
	}
	s.pauses = keep
	m.refreshSource(s)
}

// refreshSource looks again at every site a source is used at; it follows the
// beginning of a pause, and the end of one or of a suspension.
func (m *Machine) refreshSource(s *source) {
	m.timeRest(s)
	for _, p := range s.paths {
		m.refreshPath(p)
	}
}
