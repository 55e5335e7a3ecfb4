// SPDX-License-Identifier: Apache-2.0

package schedule

// serve starts at most one transaction at a site, and comes back if it did.
func (m *Machine) serve(s *site, r *Ready) {
	if len(s.ready) == 0 {
		return
	}
	blocked, served, gone := m.scratch[:0], false, false
	m.skipped = false
	for len(s.ready) > 0 {
		l := s.ready[0]
		done, sent := m.dispatch(l, r)
		if sent {
			served = true
			break
		}
		if done {
			gone = true
			continue // the lane left the heap
		}
		s.ready.remove(l.slot)
		blocked = append(blocked, l)
	}
	for _, l := range blocked {
		s.ready.push(l)
	}
	clear(blocked)
	m.scratch = blocked[:0]
	// Who was passed over for a better lane gets another chance once that lane has
	// sent or left. Where it merely waits for a connection, both do.
	if served || m.skipped && gone {
		m.markSite(s)
	}
}

// dispatch starts the lane's first transaction, if a source can take it now.
// left says that the lane is no longer among those that may send.
func (m *Machine) dispatch(l *lane, r *Ready) (left, sent bool) {
	q := m.head(l)
	if q == nil {
		if l.slot != 0 {
			l.key.site.ready.remove(l.slot)
		}
		return true, false
	}
	if l.free != nil && !m.isFree(l.free, q.at(0)) {
		l.free = nil // the day has ended, or the one for whom it was free has expired
		m.markLane(l)
	}
	c, over := m.choose(l, q.at(0))
	if c == nil {
		if l.slot == 0 {
			return true, false
		}
		return false, false
	}
	m.send(q, c, over, r)
	return false, true
}

// head is the queue whose first item a lane sends next. It clears away what
// must not be sent: expired items, and domains whose answer is too old.
func (m *Machine) head(l *lane) *queue {
	for len(l.ready) > 0 {
		q := l.ready[0]
		if !m.domainReady(q.b.domain) {
			m.settleDomain(q.b.domain)
			continue
		}
		if q.pin != nil && m.pinOf(q.b, q.at(0)) == nil {
			m.settle(q)
			continue
		}
		if !q.at(0).expired(m) {
			return q
		}
		m.setAside(q, flightExpired)
	}
	return nil
}

func (it *Item) expired(m *Machine) bool {
	return !it.Expires.IsZero() && !it.Expires.After(m.now)
}

// setAside takes the first item out of a queue while it stays on disk.
func (m *Machine) setAside(q *queue, state flightState) {
	it := *q.at(0)
	m.drop(q, 0)
	m.fly(q.b, it.ID, state).item = it
	m.settle(q)
}

// choose picks the source for a lane's first item by smooth weighted round
// robin among those that can take it now. over says that it goes without a budget.
func (m *Machine) choose(l *lane, it *Item) (best *claim, over bool) {
	if l.transactional() {
		return m.chooseTransactional(l, it)
	}
	return m.robin(l, func(c *claim) bool {
		return c.state == claimOpen || c == l.free || c.state == claimHolding && m.stillGranted(c)
	}), false
}

// robin picks among the claims that are wanted, have a connection and, where they
// spend a budget, a lease. Only where none has a connection do their paths stand in line:
// to make room for one could close the connection of another.
func (m *Machine) robin(l *lane, wanted func(*claim) bool) *claim {
	list, sum := m.candidate[:0], 0
	for i := range l.claims {
		c := &l.claims[i]
		if c.path.usable && wanted(c) && m.connected(c.path, false) && (c.state != claimHolding || c == l.free || m.leased(c)) {
			list = append(list, c)
			sum += c.member.weight
		}
	}
	m.candidate = list[:0]
	var best *claim
	for _, c := range list {
		c.member.current += c.member.weight
		if best == nil || c.member.current > best.member.current {
			best = c
		}
	}
	if best != nil {
		best.member.current -= sum
		return best
	}
	for i := range l.claims {
		if c := &l.claims[i]; c.path.usable && wanted(c) {
			m.connected(c.path, true)
		}
	}
	return nil
}

// connected reports whether a path has a connection, or may open one, right
// now; where not, the path stands in line if wait is set.
func (m *Machine) connected(p *path, wait bool) bool {
	return m.rateReady(p, wait) && (len(p.idle) > 0 || m.canDial(p, wait))
}

// chooseTransactional takes a warm source if there is one, else a budgeted one
// with tokens, else any: transactional mail never waits for a budget.
func (m *Machine) chooseTransactional(l *lane, it *Item) (best *claim, over bool) {
	warm := false
	for i := range l.claims {
		c := &l.claims[i]
		warm = warm || c.path.usable && !c.path.source.budgeted
	}
	if warm {
		return m.robin(l, func(c *claim) bool { return !c.path.source.budgeted }), false
	}
	if c := m.robin(l, func(c *claim) bool { return m.isFree(c, it) || m.tokens(c) > 0 }); c != nil {
		return c, false
	}
	for i := range l.claims {
		if c := &l.claims[i]; c.path.usable && m.leasePending(c) {
			return nil, false
		}
	}
	return m.robin(l, func(c *claim) bool { return !m.isFree(c, it) && m.tokens(c) <= 0 }), true
}

// send starts a transaction with the first item of a queue.
func (m *Machine) send(q *queue, c *claim, over bool, r *Ready) {
	b, p, l := q.b, c.path, q.lane
	var co *conn
	if n := len(p.idle); n > 0 {
		co = p.idle[n-1]
		m.unrest(co)
		co.state = connBusy
	} else {
		co = m.dial(p)
	}
	fresh := co.state == connDialling
	co.sent++
	co.transmitting = true
	most := 1
	if l.transactional() {
		most = m.o.BatchRecipients
	}
	m.fill(co, q, c, over, most)
	n := len(co.items)
	p.gate.spendRate(m.now, n)
	l.advance(n)
	t := Transaction{
		Domain: b.key.domain, Class: b.key.class, Items: co.items, Source: p.source.name,
		Provider: p.site.key.provider, Site: p.site.key.name, Day: co.day, Charges: co.keys, Overdraft: over,
	}
	if fresh {
		r.Dial = append(r.Dial, Dial{Conn: co.id, Transaction: t})
	} else {
		r.Send = append(r.Send, Send{Conn: co.id, Transaction: t})
	}
	m.settle(q)
}

// fill moves items from the queue into the transaction and charges them.
func (m *Machine) fill(co *conn, q *queue, c *claim, over bool, most int) {
	co.items, co.keys, co.charged, co.n, co.day = co.items[:0], co.keys[:0], co.charged[:0], 0, 0
	charge := !over && c.limited()
	if charge {
		m.openCharge(co, c)
	}
	msg := q.at(0).ID.Message
	for len(co.items) < most && q.due > 0 {
		it := q.at(0)
		if it.ID.Message != msg || it.expired(m) {
			break
		}
		if charge && !m.isFree(c, it) {
			if len(co.items) > 0 && m.tokens(c) <= 0 {
				break
			}
			m.charge(co)
		}
		co.items = append(co.items, *it)
		id := it.ID
		m.drop(q, 0)
		m.fly(q.b, id, flightSending).conn = co
	}
	if co.n == 0 {
		clear(co.charged)
		co.charged, co.keys, co.day = co.charged[:0], co.keys[:0], 0
	}
}
