// SPDX-License-Identifier: Apache-2.0

package schedule

import "time"

func (m *Machine) site(key siteKey) *site {
	s := m.sites[key]
	if s == nil {
		s = &site{key: key, prov: m.provider(key.provider)}
		if s.scope = s.prov.scope; s.scope == nil {
			s.scope = newScope(s.prov)
		}
		m.sites[key] = s
	}
	return s
}

func (m *Machine) joinSite(d *domain, key siteKey) {
	if d.site != nil && d.site.key == key {
		return
	}
	for _, b := range d.backlogs {
		m.detachAll(b)
	}
	m.leaveSite(d)
	d.site = m.site(key)
	d.site.users++
	for _, b := range d.backlogs {
		b.heldAt = m.isHeldAt(b)
	}
}

func (m *Machine) leaveSite(d *domain) {
	s := d.site
	if s == nil {
		return
	}
	d.site = nil
	s.users--
	m.dropSite(s)
}

// dropSite forgets a site that nobody uses and nobody is connected to.
func (m *Machine) dropSite(s *site) {
	if s.users > 0 || s.queues > 0 || len(s.lanes) > 0 || m.sites[s.key] != s {
		return
	}
	for _, p := range s.paths {
		if p.open > 0 {
			return
		}
	}
	for _, p := range s.paths {
		m.dropPath(p)
	}
	s.paths = nil
	delete(m.sites, s.key)
}

func (m *Machine) dropPath(p *path) {
	p.dead = true
	m.set(&p.timer, time.Time{})
	list := p.source.paths
	last := len(list) - 1
	list[p.index] = list[last]
	list[p.index].index = p.index
	list[last] = nil
	p.source.paths = list[:last]
	if p.site.prov.scope == nil {
		m.set(&p.gate.timer, time.Time{})
	}
}

// pathOf is the way from a source to a site; nil where nobody has asked for it yet.
func (s *site) pathOf(src *source) *path {
	for _, p := range s.paths {
		if p.source == src {
			return p
		}
	}
	return nil
}

// path finds the way from a source to a site.
func (m *Machine) path(s *site, src *source) *path {
	if p := s.pathOf(src); p != nil {
		return p
	}
	p := &path{site: s, source: src, index: len(src.paths)}
	p.timer = timer{kind: timerPath, owner: p}
	src.paths = append(src.paths, p)
	s.paths = append(s.paths, p)
	for _, g := range s.scope.gates {
		if g.source == src {
			p.gate = g
		}
	}
	if p.gate == nil {
		g := &gate{source: src, scope: s.scope, lim: src.limits[s.key.provider]}
		g.timer = timer{kind: timerGate, owner: g}
		g.connWait = waitq{kind: waitConn, gate: g}
		g.rateWait = waitq{kind: waitRate, gate: g}
		s.scope.gates = append(s.scope.gates, g)
		p.gate = g
	}
	p.usable = m.pathUsable(p)
	return p
}

// pathUsable is the predicate behind every decision about a source at a site,
// and behind Why: may it be used at all, connections aside?
func (m *Machine) pathUsable(p *path) bool {
	if !p.source.defined {
		return false
	}
	if _, rests := p.resting(m.now); rests {
		return false
	}
	return p.open > 0 || !p.until.After(m.now)
}

func (p *path) resting(now time.Time) (rest, bool) {
	return p.source.resting(now, p.site.key.provider, p.gate.lim)
}

// refreshPath follows a change of what a path's use depends on.
func (m *Machine) refreshPath(p *path) {
	if p.dead {
		return
	}
	m.markSite(p.site)
	m.timeBackoff(p)
	if u := m.pathUsable(p); u != p.usable {
		p.usable = u
		for _, l := range p.site.lanes {
			m.markLane(l)
		}
	}
	if !p.usable {
		if r, rests := p.resting(m.now); rests { // also one that was backing off before
			if t := &p.source.timer; !r.until.IsZero() && (t.slot == 0 || r.until.Before(t.at)) {
				m.set(t, r.until)
			}
			m.rested(p)
		} else if p.shut(m.now) {
			m.rested(p)
		}
	}
}

// shut reports whether a source failed to connect to a site twice in a row and backs off.
// Mail is not kept to it meanwhile: it might leave from another source, and while much of
// it waits in memory none is read that would.
func (p *path) shut(now time.Time) bool { return p.failures > 1 && p.open == 0 && p.until.After(now) }

// timeBackoff sets the timer for the end of a back-off. It is asked wherever a back-off
// is in the way (and a rest is timed where it is), for one that was over may not be over
// any more: the clock steps back a little without a word.
func (m *Machine) timeBackoff(p *path) {
	if p.until.After(m.now) {
		m.set(&p.timer, p.until)
	}
}

// rested frees the mail that is kept to a source which must rest now or is shut out, and lets
// lanes see whether anybody else may send their mail today.
func (m *Machine) rested(p *path) {
	for _, l := range p.site.lanes { // lanes are only marked here: none is dropped
		m.markLane(l)
		if l.key.pin != p.source {
			continue
		}
		for len(l.ready) > 0 {
			q := l.ready[0]
			m.settle(q)
			if q.lane == l {
				break // its pin holds: the pause is elsewhere
			}
		}
	}
}

func (m *Machine) markSite(s *site) {
	if !s.dirty {
		s.dirty = true
		m.dirtySites.push(s)
	}
}

// canDial reports whether a new connection may be opened on a path now. Where
// another connection must go first, the path waits for it if wait is set.
func (m *Machine) canDial(p *path, wait bool) bool {
	g := p.gate
	switch {
	case p.until.After(m.now), p.failures > 0 && p.dialling > 0:
		if wait {
			m.timeBackoff(p)
		}
		return false // the path's timer or the probe's end wakes the site
	case g.open >= g.limit(&m.o):
		m.waitFor(&g.connWait, p, wait)
	case g.scope.full():
		m.waitFor(&g.scope.wait, p, wait)
	case m.open >= m.o.MaxConnections:
		m.waitFor(&m.connWait, p, wait)
	default:
		return true
	}
	return false
}

func (s *scope) full() bool {
	n := s.prov.def.TotalConnections
	return n > 0 && s.open >= n
}

// rateReady reports whether the rate of a source at a provider lets a recipient pass now.
func (m *Machine) rateReady(p *path, wait bool) bool {
	at := p.gate.rateAt()
	if !at.After(m.now) {
		return true
	}
	if wait {
		m.waitFor(&p.gate.rateWait, p, true)
		m.set(&p.gate.timer, at)
	}
	return false
}

// rateAt is when the next recipient may pass. Up to a tenth of a second's worth may
// pass at once, so that high rates do not need a timer per recipient.
func (g *gate) rateAt() time.Time {
	step := g.interval()
	if step == 0 {
		return time.Time{}
	}
	return g.tat.Add(-max(0, 100*time.Millisecond-step))
}

func (g *gate) spendRate(now time.Time, n int) {
	step := g.interval()
	if step == 0 {
		return
	}
	if g.tat.Before(now) {
		g.tat = now
	}
	g.tat = g.tat.Add(time.Duration(n) * step)
}

// waitFor puts a path in line for room. If an idle connection of
// another site takes that room, it is asked to close.
func (m *Machine) waitFor(w *waitq, p *path, wait bool) {
	if !wait || p.waiting[w.kind] {
		return
	}
	p.waiting[w.kind] = true
	w.q.push(p)
	m.makeRoom(w)
}

// makeRoom asks the connection that is idle longest to close, if one of those
// that take the room is idle.
func (m *Machine) makeRoom(w *waitq) {
	var victim *conn
	switch w.kind {
	case waitConn:
		for c := w.gate.scope.idle.first; c != nil; c = c.next[1] {
			if c.path.gate == w.gate {
				victim = c
				break
			}
		}
	case waitScope:
		victim = w.scope.idle.first
	case waitGlobal:
		victim = m.idle.first
	case waitRate, waitKinds:
	}
	if victim != nil {
		m.closeConn(victim)
	}
}

// inNeed reports whether anybody in line still needs a connection. Those in front
// who do not, because their site was served meanwhile, leave the line.
func (m *Machine) inNeed(w *waitq) bool {
	for w.q.len() > 0 {
		p := w.q.items[w.q.head]
		if !p.dead && p.usable && len(p.site.ready) > 0 && len(p.idle) == 0 && !p.until.After(m.now) {
			return true
		}
		w.q.pop()
		p.waiting[w.kind] = false
		if !p.dead {
			m.timeBackoff(p)
		}
	}
	return false
}

// noteIdle says that a connection came to rest: those who wait in line may have its
// room if its own site needs it no more.
func (m *Machine) noteIdle(g *gate) {
	m.noteRoom(&g.connWait)
	m.noteRoom(&g.scope.wait)
	m.noteRoom(&m.connWait)
}

// noteRoom says that those who wait in line may try again.
func (m *Machine) noteRoom(w *waitq) {
	if !w.noted && w.q.len() > 0 {
		w.noted = true
		m.freed.push(w)
	}
}

func (m *Machine) hasRoom(w *waitq) bool {
	switch w.kind {
	case waitConn:
		return w.gate.open < w.gate.limit(&m.o)
	case waitRate:
		return !w.gate.rateAt().After(m.now)
	case waitScope:
		return !w.scope.full()
	case waitGlobal, waitKinds:
	}
	return m.open < m.o.MaxConnections
}

// wakeWaiter wakes the first in a line that has room.
func (m *Machine) wakeWaiter() bool {
	for {
		w, ok := m.freed.pop()
		if !ok {
			return false
		}
		w.noted = false
		if !m.hasRoom(w) {
			switch {
			case w.kind != waitRate && m.inNeed(w):
				m.makeRoom(w)
			case w.kind == waitRate && w.q.len() > 0:
				m.set(&w.gate.timer, w.gate.rateAt())
			}
			continue
		}
		p, ok := w.q.pop()
		if !ok {
			continue
		}
		p.waiting[w.kind] = false
		m.noteRoom(w)
		if !p.dead {
			m.markSite(p.site)
			return true
		}
	}
}
