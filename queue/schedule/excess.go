// SPDX-License-Identifier: Apache-2.0

package schedule

// noteExcess asks for a lane to be looked at: perhaps nobody in its pool can
// send it today.
func (m *Machine) noteExcess(l *lane) {
	if l.queued || l.key.pin != nil || l.key.class.pool.excess == ExcessHold || l.transactional() {
		return
	}
	l.queued = true
	m.excess.push(l)
}

// couldToday is the predicate behind excess and Why: may the source still send
// this lane's mail today?
func (m *Machine) couldToday(c *claim) bool {
	src := c.path.source
	if !src.defined {
		return false
	}
	r, rests := c.path.resting(m.now)
	if !c.limited() {
		return true
	}
	overflows := c.lane.key.class.pool.excess == ExcessOverflow
	for i := c.nextLevel(-1); i < levels; i = c.nextLevel(i) {
		b := c.budgets[i]
		switch {
		case overflows && b.key.Domain != "":
			continue // it would wait for the same budget in any other pool
		case !b.valid(m.now):
			return true // its cap is still to come
		case !b.admits(c.tier()) || b.spent(m.now, c.tier()):
			return false
		case rests && !r.before(b.cap.End):
			return false
		}
	}
	return true
}

// excessive reports whether no source of the pool can send the lane's mail today.
func (m *Machine) excessive(l *lane) bool {
	if l.key.class.pool.excess == ExcessHold || l.queues == 0 || len(l.claims) == 0 {
		return false
	}
	for i := range l.claims {
		if m.couldToday(&l.claims[i]) {
			return false
		}
	}
	return true
}

// excessMoves asks for mail to be moved or refused under its pool's policy, so
// much in one Take. It reports whether there is more to decide now.
func (m *Machine) excessMoves(r *Ready) bool {
	if len(r.Move) >= m.o.MaxMoves {
		return false
	}
	l, ok := m.excess.pop()
	if !ok {
		return false
	}
	l.queued = false
	if m.lanes[l.key] != l || !m.excessive(l) {
		return true
	}
	for len(r.Move) < m.o.MaxMoves {
		q := m.head(l)
		if q == nil {
			return true
		}
		it := *q.at(0)
		if m.freeClaim(l, &it) != nil {
			return true
		}
		mv := Move{Domain: q.b.key.domain, Class: q.b.key.class, Item: it}
		if p := l.key.class.pool; p.excess == ExcessOverflow {
			mv.Pool = p.overflow
		}
		r.Move = append(r.Move, mv)
		m.setAside(q, flightAsked)
	}
	m.noteExcess(l)
	return true
}

// failMoves asks for the due mail of a domain that takes none to be bounced.
func (m *Machine) failMoves(r *Ready) bool {
	if len(r.Fail) >= m.o.MaxMoves {
		return false
	}
	b, ok := m.failing.pop()
	if !ok {
		return false
	}
	b.failing = false
	for i := -1; i < len(b.pins) && b.live && b.domain.state == domainPermanent && !b.held; i++ {
		q := &b.main
		if i >= 0 {
			q = b.pins[i]
		}
		for q.due > 0 && len(r.Fail) < m.o.MaxMoves {
			it := *q.at(0)
			r.Fail = append(r.Fail, Fail{Domain: b.key.domain, Class: b.key.class, Item: it})
			m.drop(q, 0)
			m.fly(b, it.ID, flightAsked)
		}
	}
	m.settleAll(b)
	return true
}
