// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"slices"
	"time"
)

func (q *queue) len() int       { return len(q.items) - q.head }
func (q *queue) at(i int) *Item { return &q.items[q.head+i] }
func (q *queue) window() []Item { return q.items[q.head:] }

// before orders the queues of a lane by the age of their first item.
func (q *queue) before(o *queue) bool {
	a, b := q.at(0), o.at(0)
	return older(a.Queued, a.ID, b.Queued, b.ID)
}

func (q *queue) place(slot int) { q.slot = slot }

// mem is how many items of the backlog are in memory.
func (b *backlog) mem() int {
	n := b.main.len()
	for _, q := range b.pins {
		n += q.len()
	}
	return n
}

// dueMem is how many items in memory are due: what waits for a later time must
// not keep the rest of the disk from being read.
func (b *backlog) dueMem() int {
	n := b.main.due
	for _, q := range b.pins {
		n += q.due
	}
	return n
}

// rest is how many recipients wait on disk behind the window.
func (b *backlog) rest() int {
	if b.complete {
		return 0
	}
	return max(0, b.count-b.mem()-b.out-b.pend)
}

func (m *Machine) backlog(dom string, cl ClassID) *backlog {
	key := backlogKey{dom, cl}
	b := m.backlogs[key]
	if b != nil {
		return b
	}
	if n := len(m.spareBacklog); n > 0 {
		b = m.spareBacklog[n-1]
		m.spareBacklog = m.spareBacklog[:n-1]
	} else {
		b = &backlog{}
		b.main.b = b
		b.main.timer = timer{kind: timerQueue, owner: &b.main}
	}
	b.key, b.class, b.complete, b.live = key, m.class(cl), true, true
	b.domain = m.domain(dom)
	b.domain.backlogs = append(b.domain.backlogs, b)
	b.held, b.heldAt = m.isHeld(key), m.isHeldAt(b)
	b.index = len(m.backlogList)
	m.backlogList = append(m.backlogList, b)
	m.backlogs[key] = b
	return b
}

// release forgets a backlog that holds nothing.
func (m *Machine) release(b *backlog) {
	if !b.live || b.rest() > 0 || b.loading || b.wanted || b.failing || b.out+b.pend+b.mem() > 0 {
		return
	}
	m.detachAll(b)
	m.set(&b.main.timer, time.Time{})
	delete(m.backlogs, b.key)
	last := len(m.backlogList) - 1
	m.backlogList[b.index] = m.backlogList[last]
	m.backlogList[b.index].index = b.index
	m.backlogList[last] = nil
	m.backlogList = m.backlogList[:last]
	d := b.domain
	d.backlogs = slices.DeleteFunc(d.backlogs, func(o *backlog) bool { return o == b })
	if len(d.backlogs) == 0 {
		m.restDomain(d)
	}
	items := b.main.items[:0]
	if cap(items) > 8 {
		items = nil // keep small windows, give large ones back
	}
	t := b.main.timer
	*b = backlog{ended: b.ended[:0], pins: b.pins[:0]}
	b.main = queue{b: b, items: items, timer: t}
	m.spareBacklog = append(m.spareBacklog, b)
}

// queued takes durably scheduled mail.
func (m *Machine) queued(f *Queued) {
	if fl := m.flights[f.Item.ID]; fl != nil {
		b := m.backlog(f.Domain, f.Class)
		if fl.state == flightSending || fl.b != b {
			m.keepAside(fl, b, &f.Item)
			return
		}
		m.land(f.Item.ID, fl) // the Move or Fail was not carried out
		m.put(b, &f.Item)
		return
	}
	b := m.backlog(f.Domain, f.Class)
	if !m.take(b, f.Item.ID) {
		b.count++
	}
	m.put(b, &f.Item)
}

// keepAside holds a retry until its transaction is concluded.
func (m *Machine) keepAside(fl *flight, b *backlog, it *Item) {
	if fl.to != nil {
		fl.to.pend--
		fl.to.count--
	}
	fl.to, fl.item = b, *it
	b.pend++
	b.count++
}

// land ends a flight without a trace on the counts of the disk.
func (m *Machine) land(id ID, fl *flight) {
	fl.b.out--
	delete(m.flights, id)
	*fl = flight{}
	m.spareFlight = append(m.spareFlight, fl)
}

// fly takes an item out of the window while it stays on disk.
func (m *Machine) fly(b *backlog, id ID, state flightState) *flight {
	var fl *flight
	if n := len(m.spareFlight); n > 0 {
		fl = m.spareFlight[n-1]
		m.spareFlight = m.spareFlight[:n-1]
	} else {
		fl = &flight{}
	}
	fl.state, fl.b = state, b
	b.out++
	m.flights[id] = fl
	return fl
}

// leave ends a flight whose recipient is no longer on disk where it was, and puts its retry in place.
func (m *Machine) leave(id ID, fl *flight) {
	b, to := fl.b, fl.to
	b.count--
	m.noteEnded(b, id)
	if to != nil {
		it := fl.item
		m.land(id, fl)
		to.pend--
		m.put(to, &it)
	} else {
		m.land(id, fl)
	}
	if to != b {
		m.settle(&b.main)
	}
}

func (m *Machine) noteEnded(b *backlog, id ID) {
	if b.loading {
		b.ended = append(b.ended, id)
	}
}

// gone takes mail away that was not sent.
func (m *Machine) gone(f *Gone) {
	b := m.backlogs[backlogKey{f.Domain, f.Class}]
	if b == nil {
		return
	}
	if fl := m.flights[f.ID]; fl != nil {
		switch {
		case fl.to == b:
			b.pend--
			b.count--
			fl.to = nil
			m.settle(&b.main)
			return
		case fl.b == b && fl.state != flightSending:
			m.leave(f.ID, fl)
			return
		case fl.b == b:
			return // its Concluded says so too
		}
	}
	m.take(b, f.ID)
	b.count = max(b.count-1, b.out+b.pend+b.mem())
	m.noteEnded(b, f.ID)
	m.settleAll(b)
}

// counted learns at start what is on disk.
func (m *Machine) counted(f *Counted) {
	if f.Count <= 0 {
		return
	}
	b := m.backlog(f.Domain, f.Class)
	b.count = f.Count + b.out + b.pend
	b.complete, b.last, b.next = false, Position{}, f.Head
	m.settle(&b.main)
}

// put places an item in the window, or leaves it to the disk. The count is the caller's.
func (m *Machine) put(b *backlog, it *Item) {
	q := m.place(b, it)
	if q == nil {
		m.settle(&b.main)
		return
	}
	m.settle(q)
	m.trim(b)
}

// place inserts an item, unless it stands behind the window: nil = it is left to the disk.
func (m *Machine) place(b *backlog, it *Item) *queue {
	pos := position(it)
	switch {
	case b.complete || !b.last.before(pos): // at the place itself, too: pages begin behind it
	case b.loading && b.main.len() < 4*m.o.Window:
	default:
		if b.loading && (b.cut.isZero() || pos.before(b.cut)) {
			b.cut = pos
		}
		if it.Due.Before(b.next) {
			b.next = it.Due
		}
		return nil
	}
	return m.insert(b, it)
}

// insert puts an item into the queue where it belongs.
func (m *Machine) insert(b *backlog, it *Item) *queue {
	q := m.queueFor(b, it)
	m.loaded++
	if q.head > 16 && q.head*2 > len(q.items) || q.head > 0 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	pos := position(it)
	i := len(q.items)
	if i > q.head && pos.before(position(&q.items[i-1])) {
		i, _ = slices.BinarySearchFunc(q.items[q.head:], pos, func(o Item, p Position) int {
			if position(&o).before(p) {
				return -1
			}
			return 1
		})
		i += q.head
	}
	if q.slot != 0 && i == q.head { // the key of the lane's heap is about to change
		q.lane.ready.remove(q.slot)
	}
	q.items = slices.Insert(q.items, i, *it)
	if i-q.head < q.due {
		q.due++
	}
	return q
}

// trim gives the tail of an overgrown window back to the disk.
func (m *Machine) trim(b *backlog) {
	q := &b.main
	most := 2 * m.o.Window
	if m.loaded > m.o.MaxWindow {
		most = 4
	}
	if b.loading {
		return
	}
	keep := max(1, most/2)
	if q.len() > most {
		m.cutTail(q, keep)
		b.last, b.complete = position(q.at(keep-1)), false
		m.settle(q)
	}
	for _, q := range b.pins {
		if q.len()-q.due > most {
			m.trimBehind(b, position(q.at(q.due+keep-1)))
			return
		}
	}
}

// trimBehind gives everything behind a position, which is not due yet, back to the disk.
func (m *Machine) trimBehind(b *backlog, p Position) {
	if b.complete || p.Due.Before(b.next) {
		b.next = p.Due
	}
	if b.complete || p.before(b.last) {
		b.last = p
	}
	b.complete = false
	m.cutBehind(b, p, true)
	m.settleAll(b)
}

// cutTail drops all but the first items of a queue.
func (m *Machine) cutTail(q *queue, keep int) {
	if n := q.len(); keep < n {
		q.b.next = q.at(keep).Due
		m.loaded -= n - keep
		clear(q.items[q.head+keep:])
		if keep == 0 && q.slot != 0 {
			q.lane.ready.remove(q.slot)
		}
		q.items = q.items[:q.head+keep]
		q.due = min(q.due, keep)
	}
}

// take removes an item from the window and reports whether it was there.
func (m *Machine) take(b *backlog, id ID) bool {
	if m.takeFrom(&b.main, id) {
		return true
	}
	for _, q := range b.pins {
		if m.takeFrom(q, id) {
			return true
		}
	}
	return false
}

func (m *Machine) takeFrom(q *queue, id ID) bool {
	for i := range q.len() {
		if q.at(i).ID == id {
			m.drop(q, i)
			return true
		}
	}
	return false
}

// drop removes the i-th item of a queue. The caller settles it.
func (m *Machine) drop(q *queue, i int) {
	if i == 0 && q.slot != 0 {
		q.lane.ready.remove(q.slot)
	}
	if i < q.due {
		q.due--
	}
	m.loaded--
	if i == 0 {
		q.items[q.head] = Item{}
		q.head++
		if q.head == len(q.items) {
			q.items, q.head = q.items[:0], 0
		}
		return
	}
	q.items = slices.Delete(q.items, q.head+i, q.head+i+1)
}
