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
	slot   int           // in Machine.dirtyPurse
	noted  bool          // the day is spent, and those in line know
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

// parkRef is a claim in a parked heap.
type parkRef struct{ c *claim }

func (r parkRef) before(o parkRef) bool { return r.c.first(o.c) }
func (r parkRef) place(slot int)        { r.c.slot = slot }

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

// before orders the purses to be looked at by who is first in line: whatever
// the budget, better and older claims are settled first, so that nobody holds what
// somebody better is about to claim.
func (p *purse) before(o *purse) bool { return p.parked[0].c.first(o.parked[0].c) }
func (p *purse) place(slot int)       { p.slot = slot }

// markPurse asks for a purse to be looked at.
func (m *Machine) markPurse(p *purse) {
	if p.slot == 0 && len(p.parked) > 0 {
		m.dirtyPurse.push(p)
	}
}

// lineChanged keeps the order of the purses to be looked at.
func (m *Machine) lineChanged(p *purse) {
	switch {
	case p.slot == 0:
	case len(p.parked) == 0:
		m.dirtyPurse.remove(p.slot)
	default:
		m.dirtyPurse.fix(p.slot)
	}
}

func (m *Machine) markBudget(b *budget) {
	m.markPurse(&b.main)
	m.markPurse(&b.fresh)
}

// permitted is the rule of scarce budget, the one predicate behind granting,
// sending and Why: a claim may take a token if one is left after what those ahead of it could
// use, that is holders of better ranks and older holders of its own. Tier "new"
// uses its reserve first and then what is for all.
//
// Whoever stands in line is not counted, and need not be: if the first in
// line is refused, so is everybody behind it.
func (m *Machine) permitted(b *budget, c *claim) bool {
	main, fresh := b.main.avail(m.now), max(0, b.fresh.avail(m.now))
	if main <= 0 && (fresh <= 0 || c.tier() != tierNew) {
		return false
	}
	for _, exact := range [...]bool{false, true} {
		others, news := b.main.ahead(c, exact), b.fresh.ahead(c, exact)
		if main-others-max(0, news-fresh) > 0 || c.tier() == tierNew && fresh-news > 0 {
			return true
		}
	}
	return false
}

// ahead is the demand of a purse's holders that come before a claim. Where it
// is not exact it counts the claim's whole rank, which is quick and too much.
func (p *purse) ahead(c *claim, exact bool) int {
	n := 0
	for i := range p.groups {
		g := &p.groups[i]
		if g.rank > c.rank() {
			break
		}
		switch {
		case g.rank < c.rank():
			n += g.demand
		case !exact:
			n += g.demand
			if c.state == claimHolding && c.via[p.level] == p {
				n -= c.demand[p.level]
			}
		default:
			for _, h := range g.holders {
				if h.c.first(c) {
					n += h.c.demand[p.level]
				}
			}
		}
	}
	return n
}

// grant settles the first claim of those in line at budgets that changed, and
// reports whether there was one. It runs before any connection is given away.
func (m *Machine) grant() bool {
	if len(m.dirtyPurse) == 0 {
		return false
	}
	p := m.dirtyPurse[0]
	c, b := p.parked[0].c, p.b
	switch {
	case b.known && !b.admits(c.tier()):
		m.unpark(c)
		m.bar(c, b)
	case !m.permitted(b, c):
		m.dirtyPurse.remove(p.slot)
		m.set(&b.timer, b.change(m.now))
		m.noteSpent(p)
		return true
	default:
		m.unpark(c)
		m.pass(c)
	}
	if len(b.main.parked)+len(b.fresh.parked) == 0 {
		m.set(&b.timer, time.Time{}) // nobody waits
	}
	return true
}

// pass lets a claim that one budget has a token for go on: to the line of one
// that has not, or to hold.
func (m *Machine) pass(c *claim) {
	if level := m.refusedAt(c); level < levels {
		m.park(c, level, false)
		return
	}
	for i := c.nextLevel(-1); i < levels; i = c.nextLevel(i) {
		c.via[i] = c.budgets[i].purse(c.tier())
	}
	m.holdTokens(c)
}

// bar sets a claim aside whose tier the stage does not admit.
func (m *Machine) bar(c *claim, b *budget) {
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
		m.park(c, c.firstLevel(), true)
	}
}

// noteSpent tells the lanes that wait for a spent budget, so that their pools'
// policy for excess can act.
func (m *Machine) noteSpent(p *purse) {
	if p.noted || len(p.parked) == 0 || !p.b.spent(m.now, p.parked[0].c.tier()) {
		return
	}
	p.noted = true
	for _, ref := range p.parked {
		m.noteExcess(ref.c.lane)
	}
}

// isFree reports whether the claim's source already counted the recipient today.
func (m *Machine) isFree(c *claim, it *Item) bool {
	b := c.budgets[levelSource]
	if b == nil && c.limited() {
		b = c.budgets[c.firstLevel()]
	}
	return b != nil && b.valid(m.now) && it.Charged.Source == c.path.source.name && it.Charged.Day == b.cap.Day
}

// tokens is how many recipients the claim's budgets have now, ranks aside and
// leased: what transactional mail may take.
func (m *Machine) tokens(c *claim) int {
	n := int(^uint(0) >> 1)
	for i := c.nextLevel(-1); i < levels; i = c.nextLevel(i) {
		n = min(n, m.left(c, i), c.budgets[i].leased-c.budgets[i].used)
	}
	return n
}

// left is how many tokens a budget has for the claim's tier, leased or not.
func (m *Machine) left(c *claim, level int) int {
	b := c.budgets[level]
	left := b.main.avail(m.now)
	if c.tier() == tierNew {
		left = max(0, left) + max(0, b.fresh.avail(m.now))
	}
	return left
}

// leased reports whether the durable lease covers one more recipient in every
// budget of the claim. Where it does not, the lease is asked for and the claim's site is
// told when it is there.
func (m *Machine) leased(c *claim) bool {
	b := c.unleased()
	if b == nil {
		return !m.outranked(c)
	}
	m.awaitLease(c, b)
	return false
}

// awaitLease asks for a lease and lets the claim's site know when it is there.
func (m *Machine) awaitLease(c *claim, b *budget) {
	m.wantLease(b)
	if c.waiting == nil {
		c.waiting = b
		b.waiters = append(b.waiters, c)
	}
}

// shortLease is how few leased tokens are handed out strictly in order at a site.
const shortLease = 4

// outranked reports whether the lease is short and another lane of the site
// that could use it now comes first. Whom the day's budget serves is not at stake here,
// only that the better mail leaves first.
func (m *Machine) outranked(c *claim) bool {
	short := false
	for i := c.nextLevel(-1); i < levels; i = c.nextLevel(i) {
		b := c.budgets[i]
		short = short || b.leased-b.used <= shortLease && b.leased < b.cap.Allowed
	}
	if !short {
		return false
	}
	for _, l := range c.path.site.ready {
		for i := range l.claims {
			o := &l.claims[i]
			if o.path == c.path && o.state == claimHolding && o.first(c) && o != c && o.unleased() == nil {
				m.skipped = true
				return true
			}
		}
	}
	return false
}

// unleased is the first budget whose lease is used up, or nil.
func (c *claim) unleased() *budget {
	for i := c.nextLevel(-1); i < levels; i = c.nextLevel(i) {
		if b := c.budgets[i]; b.leased <= b.used {
			return b
		}
	}
	return nil
}

// leasePending reports whether a claim has tokens in every budget and only
// lacks a lease that is on its way.
func (m *Machine) leasePending(c *claim) bool {
	for i := c.nextLevel(-1); i < levels; i = c.nextLevel(i) {
		if m.left(c, i) <= 0 {
			return false
		}
	}
	b := c.unleased()
	if b != nil {
		m.awaitLease(c, b)
	}
	return b != nil
}
