// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"slices"
	"time"
)

// connList is a list of idle connections, longest idle first. A connection
// lies in two: the machine's (slot 0) and its scope's (slot 1).
type connList struct {
	first, last *conn
	slot        int
}

func (l *connList) push(c *conn) {
	c.prev[l.slot], c.next[l.slot] = l.last, nil
	if l.last != nil {
		l.last.next[l.slot] = c
	} else {
		l.first = c
	}
	l.last = c
}

func (l *connList) remove(c *conn) {
	p, n := c.prev[l.slot], c.next[l.slot]
	if p != nil {
		p.next[l.slot] = n
	} else {
		l.first = n
	}
	if n != nil {
		n.prev[l.slot] = p
	} else {
		l.last = p
	}
	c.prev[l.slot], c.next[l.slot] = nil, nil
}

// dial opens a connection on a path.
func (m *Machine) dial(p *path) *conn {
	var c *conn
	if n := len(m.spareConn); n > 0 {
		c = m.spareConn[n-1]
		m.spareConn = m.spareConn[:n-1]
	} else {
		c = &conn{}
	}
	m.nextConn++
	c.id, c.state, c.path = m.nextConn, connDialling, p
	p.open++
	p.dialling++
	p.gate.open++
	p.gate.scope.open++
	m.open++
	m.conns[c.id] = c
	return c
}

func (m *Machine) rest(c *conn) {
	c.state, c.since = connIdle, m.now
	c.path.idle = append(c.path.idle, c)
	m.idle.push(c)
	c.path.gate.scope.idle.push(c)
	m.markSite(c.path.site)
	m.noteIdle(c.path.gate)
}

func (m *Machine) unrest(c *conn) {
	m.idle.remove(c)
	c.path.gate.scope.idle.remove(c)
	i := slices.Index(c.path.idle, c)
	c.path.idle = slices.Delete(c.path.idle, i, i+1)
}

// closeConn asks for an idle connection to be closed.
func (m *Machine) closeConn(c *conn) {
	if c.state == connIdle {
		m.unrest(c)
	}
	c.state = connClosing
	c.path.gate.closing++
	m.closing.push(c)
}

// closeIdle closes what has been idle too long and sets the timer for the next.
func (m *Machine) closeIdle() {
	for c := m.idle.first; c != nil; c = m.idle.first {
		if at := c.since.Add(m.o.IdleTimeout); at.After(m.now) {
			m.set(&m.idleTimer, at)
			return
		}
		m.closeConn(c)
	}
	m.set(&m.idleTimer, time.Time{})
}

func (m *Machine) connUp(id Conn) {
	c := m.conns[id]
	if c == nil || c.state != connDialling {
		return
	}
	c.state = connBusy
	c.path.dialling--
	m.pathWorks(c.path)
}

// pathWorks forgets failures: the site answers again.
func (m *Machine) pathWorks(p *path) {
	p.failures, p.until = 0, time.Time{}
	m.set(&p.timer, time.Time{})
	m.refreshPath(p)
}

func (m *Machine) connDown(f *ConnDown) {
	c := m.conns[f.Conn]
	if c == nil || c.down {
		return
	}
	p := c.path
	switch c.state {
	case connIdle:
		m.unrest(c)
	case connDialling:
		p.dialling--
	case connClosing:
		p.gate.closing--
	case connBusy:
	}
	c.state, c.down = connClosing, true
	p.open--
	p.gate.open--
	p.gate.scope.open--
	m.open--
	if f.Failed {
		m.pathFailed(p)
	}
	m.noteRoom(&p.gate.connWait)
	m.noteRoom(&p.gate.scope.wait)
	m.noteRoom(&m.connWait)
	m.refreshPath(p)
	if !c.transmitting {
		m.forget(c)
	}
}

// pathFailed backs off. Connections that were dialled together fail
// together: one of them counts.
func (m *Machine) pathFailed(p *path) {
	if p.until.After(m.now) {
		return
	}
	steps := m.o.Backoff
	d := steps[min(p.failures, len(steps)-1)]
	if m.o.Rand != nil {
		d += time.Duration(m.o.Rand.Int64N(int64(d)/8 + 1))
	}
	p.failures++
	p.until = m.now.Add(d)
	m.set(&p.timer, p.until)
}

func (m *Machine) forget(c *conn) {
	delete(m.conns, c.id)
	s := c.path.site
	items, keys, charged := c.items[:0], c.keys[:0], c.charged[:0]
	*c = conn{items: items, keys: keys, charged: charged}
	m.spareConn = append(m.spareConn, c)
	m.dropSite(s)
}

// concluded ends a transaction: its recipients leave the disk or become retries, and the
// connection takes the next.
func (m *Machine) concluded(f *Concluded) {
	c := m.conns[f.Conn]
	if c == nil || !c.transmitting {
		return
	}
	c.transmitting = false
	m.refund(c, f.Refunded)
	for i := range c.items {
		id := c.items[i].ID
		if fl := m.flights[id]; fl != nil {
			m.leave(id, fl)
		}
	}
	clear(c.items)
	c.items = c.items[:0]
	switch {
	case c.down:
		m.forget(c)
		return
	case c.state == connDialling && f.Usable:
		m.connUp(c.id)
	}
	switch {
	case !f.Usable || c.state != connBusy:
		// Its ConnDown follows.
		m.markSite(c.path.site)
	case c.sent >= c.path.gate.perConnection(&m.o), c.path.gate.crowded(&m.o):
		m.closeConn(c)
	default:
		m.rest(c)
	}
}
