// SPDX-License-Identifier: Apache-2.0

package schedule

import "slices"

// stride is the virtual time that one recipient costs a lane of weight 1.
const stride = 1 << 20

func (m *Machine) lane(key laneKey) *lane {
	l := m.lanes[key]
	if l != nil {
		return l
	}
	if n := len(m.spareLane); n > 0 {
		l = m.spareLane[n-1]
		m.spareLane = m.spareLane[:n-1]
	} else {
		l = &lane{}
	}
	m.seq++
	l.key, l.seq = key, m.seq
	l.index = len(m.laneList)
	m.laneList = append(m.laneList, l)
	l.at = len(key.site.lanes)
	key.site.lanes = append(key.site.lanes, l)
	m.lanes[key] = l
	m.makeClaims(l)
	return l
}

// makeClaims gives a lane one claim per source it may use.
func (m *Machine) makeClaims(l *lane) {
	cl, s := l.key.class, l.key.site
	for i := range cl.pool.members {
		d := &cl.pool.members[i]
		if d.weight <= 0 || l.key.pin != nil && d.source != l.key.pin {
			continue
		}
		l.claims = append(l.claims, claim{lane: l, member: d, path: m.path(s, d.source)})
	}
	for i := range l.claims {
		m.makePurses(&l.claims[i])
	}
}

// dropLane forgets a lane without mail.
func (m *Machine) dropLane(l *lane) {
	for i := range l.claims {
		c := &l.claims[i]
		m.revoke(c)
		if b := c.waiting; b != nil {
			b.waiters = slices.DeleteFunc(b.waiters, func(o *claim) bool { return o == c })
		}
	}
	s := l.key.site
	if l.slot != 0 {
		s.ready.remove(l.slot)
	}
	delete(m.lanes, l.key)
	last := len(m.laneList) - 1
	m.laneList[l.index] = m.laneList[last]
	m.laneList[l.index].index = l.index
	m.laneList[last] = nil
	m.laneList = m.laneList[:last]
	last = len(s.lanes) - 1
	s.lanes[l.at] = s.lanes[last]
	s.lanes[l.at].at = l.at
	s.lanes[last] = nil
	s.lanes = s.lanes[:last]
	if !l.queued {
		clear(l.claims)
		*l = lane{claims: l.claims[:0], ready: l.ready[:0]}
		m.spareLane = append(m.spareLane, l)
	}
	m.dropSite(s)
}

func (m *Machine) markLane(l *lane) {
	if !l.dirty {
		l.dirty = true
		m.dirtyLanes.push(l)
	}
}

func (l *lane) transactional() bool { return l.key.class.def.Transactional }

// before orders the lanes of a site: transactional first, then virtual time.
func (l *lane) before(o *lane) bool {
	if a, b := l.transactional(), o.transactional(); a != b {
		return a
	}
	if l.pass != o.pass {
		return l.pass < o.pass
	}
	return l.seq < o.seq
}

func (l *lane) place(slot int) { l.slot = slot }

// updateLane brings a lane to the present: its age, its claims, its place
// among the lanes of its site.
func (m *Machine) updateLane(l *lane) {
	if l.queues == 0 {
		m.dropLane(l)
		return
	}
	l.free = nil
	if len(l.ready) > 0 {
		it := l.ready[0].at(0)
		l.age, l.id = it.Queued, it.ID
		l.free = m.freeClaim(l, it)
	}
	l.open = 0
	for i := range l.claims {
		c := &l.claims[i]
		m.updateClaim(c)
		if c.state == claimOpen || c.state == claimHolding {
			l.open++
		}
	}
	m.placeLane(l)
}

// placeLane puts a lane among those of its site that may send, or takes it out.
func (m *Machine) placeLane(l *lane) {
	s := l.key.site
	may := len(l.ready) > 0 && (l.open > 0 || l.free != nil)
	switch {
	case may && l.slot == 0:
		l.pass = max(l.pass, s.vtime[l.kind()])
		s.ready.push(l)
		m.markSite(s)
	case !may && l.slot != 0:
		s.ready.remove(l.slot)
	case may:
		m.markSite(s)
	}
}

// kind is the index of a lane's virtual clock.
func (l *lane) kind() int {
	if l.transactional() {
		return 0
	}
	return 1
}

// advance charges a lane's virtual time for recipients sent.
func (l *lane) advance(n int) {
	s := l.key.site
	t := &s.vtime[l.kind()]
	*t = max(*t, l.pass)
	l.pass += int64(n) * stride / int64(l.key.class.def.Weight)
	if l.slot != 0 {
		s.ready.fix(l.slot)
	}
}

// freeClaim is the source that already counted the recipient today.
func (m *Machine) freeClaim(l *lane, it *Item) *claim {
	if it.Charged.Source == "" {
		return nil
	}
	for i := range l.claims {
		c := &l.claims[i]
		if c.path.usable && m.isFree(c, it) {
			return c
		}
	}
	return nil
}
