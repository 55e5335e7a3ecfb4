// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"slices"
	"time"
)

// purse is a stock of tokens with those who wait for them and those who hold
// a claim on them. A budget has two: what is for all, and the reserve of tier "new".
type purse struct {
	b      *budget
	level  int
	fresh  bool
	dirty  bool
	groups []group       // holders by rank, best first
	parked heap[parkRef] // in the order in which they are served
	barred []*claim      // tier not admitted; in the main purse only
}

// group is the holders of one rank.
type group struct {
	rank    int
	demand  int
	holders heap[holdRef]
}

// parkRef is a claim in a parked heap; i is 0 in the main purse, 1 in the fresh one.
type parkRef struct {
	c *claim
	i int
}

func (r parkRef) before(o parkRef) bool { return r.c.first(o.c) }
func (r parkRef) place(slot int)        { r.c.slot[r.i] = slot }

// holdRef is a claim among the holders at a level.
type holdRef struct {
	c     *claim
	level int
}

func (r holdRef) before(o holdRef) bool { return r.c.first(o.c) }
func (r holdRef) place(slot int)        { r.c.held[r.level] = slot }

func (p *purse) group(rank int) *group {
	i, ok := slices.BinarySearchFunc(p.groups, rank, func(g group, r int) int { return g.rank - r })
	if !ok {
		p.groups = slices.Insert(p.groups, i, group{rank: rank})
	}
	return &p.groups[i]
}

func (m *Machine) markPurse(p *purse) {
	if !p.dirty && len(p.parked)+len(p.barred) > 0 {
		p.dirty = true
		m.dirtyPurse[p.level].push(p)
	}
}

// permitted is the rule of scarce budget, the one predicate behind granting,
// sending and Why: a claim may take a token if tokens are left after what better ranks could
// use; where they do not suffice for its own rank, only the oldest may.
func (m *Machine) permitted(p *purse, c *claim, level int) bool {
	left := p.avail(m.now)
	for i := range p.groups {
		g := &p.groups[i]
		switch {
		case left <= 0:
			return false
		case g.rank < c.rank():
			left -= g.demand
			continue
		case g.rank > c.rank():
			return true
		}
		demand := g.demand
		if c.via[level] != p {
			demand += c.lane.due
		}
		return demand <= left || len(g.holders) == 0 || !g.holders[0].c.first(c)
	}
	return left > 0
}

// grant gives tokens to those in line, lower levels first, and reports
// whether it did anything. It runs before any connection is given away.
func (m *Machine) grant() bool {
	for level := range m.dirtyPurse {
		if p, ok := m.dirtyPurse[level].pop(); ok {
			p.dirty = false
			m.grantPurse(p)
			return true
		}
	}
	return false
}

func (m *Machine) grantPurse(p *purse) {
	for len(p.parked) > 0 {
		c := p.parked[0].c
		if p.b.known && !p.b.admits(c.tier()) {
			m.bar(c, p.b)
			continue
		}
		if !m.permitted(p, c, p.level) {
			m.set(&p.b.timer, p.b.change(m.now))
			m.wantLease(p.b)
			m.noteSpent(p)
			return
		}
		m.unpark(c)
		m.pass(c, p)
	}
	if other := p.b.other(p); len(other.parked) == 0 {
		m.set(&p.b.timer, time.Time{}) // nobody waits
	}
}

func (b *budget) other(p *purse) *purse {
	if p.fresh {
		return &b.main
	}
	return &b.fresh
}

// pass lets a claim go on from a purse that has a token for it: to the next
// level, or to hold.
func (m *Machine) pass(c *claim, p *purse) {
	if level := m.refusedAt(c, p.level); level < p.level {
		m.park(c, level, false)
		return
	}
	if next := c.nextLevel(p.level); next < levels {
		m.park(c, next, true)
		return
	}
	for i := c.nextLevel(-1); i < levels; i = c.nextLevel(i) {
		c.via[i] = m.purseFor(c, i)
	}
	m.holdTokens(c)
}

// bar sets a claim aside whose tier the stage does not admit.
func (m *Machine) bar(c *claim, b *budget) {
	if c.state == claimParked {
		m.unpark(c)
	}
	c.state, c.parked = claimBarred, &b.main
	b.main.barred = append(b.main.barred, c)
	m.noteExcess(c.lane)
}

func (p *purse) unbar(c *claim) {
	if i := slices.Index(p.barred, c); i >= 0 {
		last := len(p.barred) - 1
		p.barred[i] = p.barred[last]
		p.barred[last] = nil
		p.barred = p.barred[:last]
	}
}

// unbar lets the barred try again under a new cap.
func (m *Machine) unbar(p *purse) {
	for len(p.barred) > 0 {
		c := p.barred[len(p.barred)-1]
		p.unbar(c)
		c.state, c.parked = claimOff, nil
		m.park(c, m.firstLevel(c), true)
	}
}

// noteSpent tells the lanes that wait for a spent budget, so that their pools'
// policy for excess can act.
func (m *Machine) noteSpent(p *purse) {
	level := 0
	if p.b.spent(m.now, "") {
		level++
	}
	if p.b.spent(m.now, tierNew) {
		level++
	}
	if level <= p.b.noted {
		return
	}
	p.b.noted = level
	for _, ref := range p.b.main.parked {
		m.noteExcess(ref.c.lane)
	}
}

// isFree reports whether the claim's source already counted the recipient today.
func (m *Machine) isFree(c *claim, it *Item) bool {
	b := c.budgets[levelSource]
	return b != nil && b.valid(m.now) && it.Charged.Source == c.path.source.name && it.Charged.Day == b.cap.Day
}

// tokens is how many recipients the claim's budgets have now, ranks aside: what
// transactional mail may take.
func (m *Machine) tokens(c *claim) int {
	n := int(^uint(0) >> 1)
	for i := c.nextLevel(-1); i < levels; i = c.nextLevel(i) {
		b := c.budgets[i]
		left := b.main.avail(m.now)
		if c.tier() == tierNew {
			left += max(0, b.fresh.avail(m.now))
		}
		n = min(n, left)
	}
	return n
}

// leasePending reports whether a claim only lacks the durable lease that is
// on its way, and lets its site know when it is there.
func (m *Machine) leasePending(c *claim) bool {
	for i := c.nextLevel(-1); i < levels; i = c.nextLevel(i) {
		b := c.budgets[i]
		if !b.valid(m.now) || b.ceiling(m.now)-b.reserve(m.now)-b.used <= 0 {
			return false
		}
	}
	for i := c.nextLevel(-1); i < levels; i = c.nextLevel(i) {
		b := c.budgets[i]
		m.wantLease(b)
		if b.leased <= b.used && b.asked != 0 {
			if !slices.Contains(b.waiters, c.path.site) {
				b.waiters = append(b.waiters, c.path.site)
			}
			return true
		}
	}
	return false
}
