// SPDX-License-Identifier: Apache-2.0

package schedule

import "slices"

// wantLoadOf puts a backlog in line for a page from disk, if its window runs low.
func (m *Machine) wantLoadOf(b *backlog) {
	low := max(1, m.o.Window/2)
	if m.loaded >= m.o.MaxWindow {
		low = 1
	}
	if b.loading || b.wanted || b.main.len() >= low || b.dueMem() >= 4*m.o.Window {
		return
	}
	b.wanted = true
	m.wantLoad.push(b)
}

func (m *Machine) emitLoad(b *backlog, r *Ready) {
	b.wanted = false
	limit := m.o.Window - b.main.len()
	if m.loaded >= m.o.MaxWindow {
		limit = 4 - b.main.len()
	}
	if b.rest() == 0 || b.held || limit <= 0 {
		m.settle(&b.main)
		return
	}
	b.loading, b.after, b.cut = true, b.last, Position{}
	b.ended = b.ended[:0]
	m.loads++
	r.Load = append(r.Load, Load{Domain: b.key.domain, Class: b.key.class, After: b.last, Limit: limit})
}

// loadedFact merges a page from disk with what arrived since it was asked for.
func (m *Machine) loadedFact(f *Loaded) {
	b := m.backlogs[backlogKey{f.Domain, f.Class}]
	if b == nil || !b.loading {
		return
	}
	b.loading = false
	m.loads--
	for i := range f.Items {
		it := &f.Items[i]
		if m.flights[it.ID] == nil && !b.knows(it.ID) && !slices.Contains(b.ended, it.ID) {
			m.insert(b, it)
		}
	}
	more := f.More && len(f.Items) > 0
	b.complete = !more
	if more {
		b.last = position(&f.Items[len(f.Items)-1])
		b.next = b.last.Due
		m.cutBehind(b, b.last, true)
	}
	if !b.cut.isZero() && (b.complete || b.cut.before(b.last)) {
		m.cutBehind(b, b.cut, false)
		b.last, b.complete = b.after, false
		if n := b.main.len(); n > 0 {
			b.last = position(b.main.at(n - 1))
		}
		b.next = b.cut.Due
	}
	b.ended = b.ended[:0]
	if b.complete {
		b.count = b.mem() + b.out + b.pend
	} else {
		b.count = max(b.count, b.mem()+b.out+b.pend+1)
	}
	m.settleAll(b)
}

// knows reports whether an item is in the window. What was heard from Queued
// is newer than what a page says.
func (b *backlog) knows(id ID) bool {
	has := func(it Item) bool { return it.ID == id }
	if slices.ContainsFunc(b.main.window(), has) {
		return true
	}
	for _, q := range b.pins {
		if slices.ContainsFunc(q.window(), has) {
			return true
		}
	}
	return false
}

// cutBehind drops from the window what lies behind a position (at it, too, unless
// keep): retries that keep their source would otherwise gather there.
func (m *Machine) cutBehind(b *backlog, p Position, keep bool) {
	next := b.next
	for i := range len(b.pins) + 1 {
		q := &b.main
		if i > 0 {
			q = b.pins[i-1]
		}
		n := q.len()
		for n > 0 {
			at := position(q.at(n - 1))
			if at.before(p) || keep && !p.before(at) {
				break
			}
			n--
		}
		m.cutTail(q, n)
	}
	b.next = next
}
