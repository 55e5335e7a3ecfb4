// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"slices"
	"time"
)

// settleAll settles every queue of a backlog.
func (m *Machine) settleAll(b *backlog) {
	for _, q := range slices.Backward(b.pins) { // settle may drop the one it is given
		m.settle(q)
	}
	m.settle(&b.main)
}

// settle brings a queue to the present: what is due, which lane it stands in,
// when to look again. It is idempotent and follows every change of a queue.
func (m *Machine) settle(q *queue) {
	b := q.b
	if !b.live || q.pin != nil && !m.settlePin(q) {
		return
	}
	for q.due < q.len() && !q.at(q.due).Due.After(m.now) {
		q.due++
	}
	share, next := q.due, time.Time{}
	if q.due < q.len() {
		next = q.at(q.due).Due
	}
	rest := 0
	if q.pin == nil && q.due == q.len() {
		if rest = b.rest(); rest > 0 && b.next.After(m.now) {
			rest, next = 0, b.next
		}
		share += rest
	}
	if q.pin != nil && q.due > 0 {
		if end := q.at(0).PinUntil; next.IsZero() || end.Before(next) {
			next = end
		}
	}
	m.set(&q.timer, next)
	switch {
	case share == 0:
		m.detach(q)
		m.release(b)
		return
	case b.held:
		m.detach(q)
		return
	case m.domainReady(b.domain):
		if b.heldAt {
			m.detach(q)
			return
		}
		m.attach(q, share)
	default:
		m.detach(q)
		if b.domain.state != domainPermanent {
			return
		}
		if q.due > 0 && !b.failing {
			b.failing = true
			m.failing.push(b)
		}
	}
	if rest > 0 {
		m.wantLoadOf(b)
	}
}

// attach puts a queue into its lane, or tells the lane what changed.
func (m *Machine) attach(q *queue, share int) {
	if q.lane == nil {
		q.lane = m.lane(laneKey{q.b.domain.site, q.b.class, q.pin})
		q.lane.queues++
		q.lane.key.site.queues++
	}
	l := q.lane
	l.due += share - q.share
	q.share = share
	switch {
	case q.due > 0 && q.slot == 0:
		l.ready.push(q)
	case q.due == 0 && q.slot != 0:
		l.ready.remove(q.slot)
	case q.slot != 0:
		l.ready.fix(q.slot)
	}
	m.markLane(l)
}

func (m *Machine) detach(q *queue) {
	l := q.lane
	if l == nil {
		return
	}
	if q.slot != 0 {
		l.ready.remove(q.slot)
	}
	l.due -= q.share
	l.queues--
	l.key.site.queues--
	q.share, q.lane = 0, nil
	m.markLane(l)
}

func (m *Machine) detachAll(b *backlog) {
	m.detach(&b.main)
	for _, q := range b.pins {
		m.detach(q)
	}
}

// queueFor finds the queue of an item: the one of its pin while that holds.
func (m *Machine) queueFor(b *backlog, it *Item) *queue {
	s := m.pinOf(b, it)
	if s == nil {
		return &b.main
	}
	for _, q := range b.pins {
		if q.pin == s {
			return q
		}
	}
	q := &queue{b: b, pin: s}
	q.timer = timer{kind: timerQueue, owner: q}
	b.pins = append(b.pins, q)
	return q
}

// pinOf is the source an item keeps, or nil: the pin has ended, or its source is gone
// from the pool, must rest, or does not get through to the site.
func (m *Machine) pinOf(b *backlog, it *Item) *source {
	if it.Pin == "" || !it.PinUntil.After(m.now) || !it.PinUntil.After(it.Due) {
		return nil
	}
	s := m.sources[it.Pin]
	if s == nil || !s.defined || !b.class.pool.has(s) {
		return nil
	}
	if site := b.domain.site; site != nil {
		if _, rests := s.resting(m.now, site.key.provider, s.limits[site.key.provider]); rests {
			return nil
		}
		if p := site.pathOf(s); p != nil && p.shut(m.now) {
			return nil
		}
	}
	return s
}

func (p *pool) has(s *source) bool {
	for i := range p.members {
		if p.members[i].source == s && p.members[i].weight > 0 {
			return true
		}
	}
	return false
}

// settlePin sends items whose pin ended back to the main queue and drops the
// queue when it is empty. It reports whether the queue still exists.
func (m *Machine) settlePin(q *queue) bool {
	b, moved := q.b, false
	for q.len() > 0 && m.pinOf(b, q.at(0)) == nil {
		it := *q.at(0)
		m.drop(q, 0)
		it.Pin, it.PinUntil = "", time.Time{}
		m.place(b, &it) // behind the window's end it would hide what was not read from disk
		moved = true
	}
	if moved {
		defer m.settle(&b.main)
	}
	if q.len() > 0 {
		return true
	}
	m.detach(q)
	m.set(&q.timer, time.Time{})
	b.pins = slices.DeleteFunc(b.pins, func(o *queue) bool { return o == q })
	if !moved {
		m.settle(&b.main)
	}
	return false
}

// repin looks at every pin again after the configuration changed.
func (m *Machine) repin(b *backlog) {
	for _, q := range slices.Clone(b.pins) {
		m.settlePin(q)
	}
}
