// SPDX-License-Identifier: Apache-2.0

package schedule

import "time"

type claimState uint8

const (
	claimOff     claimState = iota // nothing due, or the path cannot be used
	claimOpen                      // no budget in the way
	claimParked                    // waits for tokens
	claimBarred                    // the stage does not admit the tier
	claimHolding                   // may take tokens, waits for a connection at most
)

// claim is a lane's use of one source. It passes the purses of its budgets in
// order of level; having passed all it holds, and what it could use counts as
// demand in each of them until it is sent or taken back.
type claim struct {
	lane    *lane
	member  *member
	path    *path
	state   claimState
	budgets [levels]*budget // nil where the level does not apply
	parked  *purse          // of the budget it waits for
	slot    int             // in its parked heap
	via     [levels]*purse  // holding: the purse of each budget
	demand  [levels]int
	held    [levels]int // holding: slot in the group's heap
	waiting *budget     // whose lease it waits for
	age     time.Time
	id      ID
}

// makePurses finds the budgets of a claim: those of a source in warm-up, and
// those of the lane's own plan and of its sending domain's, whatever source it uses.
// Transactional mail obeys neither of the two.
func (m *Machine) makePurses(c *claim) {
	src, d, prov := c.path.source, &c.lane.key.class.def, c.path.site.key.provider
	if prov == "" {
		prov = Other
	}
	if src.budgeted {
		c.budgets[levelSource] = m.budget(BudgetKey{Source: src.name, Provider: prov}, levelSource)
		c.budgets[levelTotal] = m.budget(BudgetKey{Source: src.name, Provider: Total}, levelTotal)
	}
	if d.Domain != "" && !d.Transactional {
		c.budgets[levelDomain] = m.budget(BudgetKey{Domain: d.Domain, Provider: prov}, levelDomain)
		c.budgets[levelDomainAll] = m.budget(BudgetKey{Domain: d.Domain, Provider: Total}, levelDomainAll)
	}
	if d.Plan != "" && !d.Transactional {
		k := BudgetKey{Plan: d.Plan, Segment: d.Segment, Tier: d.Tier, Provider: prov}
		c.budgets[levelLane] = m.budget(k, levelLane)
		k.Provider = Total
		c.budgets[levelLaneAll] = m.budget(k, levelLaneAll)
	}
}

func (c *claim) rank() int    { return c.lane.key.class.def.Rank }
func (c *claim) tier() string { return c.lane.key.class.def.Tier }

// first orders claims: rank, age, id; the source decides between claims of one lane.
func (c *claim) first(o *claim) bool {
	if a, b := c.rank(), o.rank(); a != b {
		return a < b
	}
	if c.lane != o.lane {
		if !c.age.Equal(o.age) || c.id != o.id {
			return older(c.age, c.id, o.age, o.id)
		}
		return c.lane.seq < o.lane.seq
	}
	return c.path.source.index < o.path.source.index
}

// updateClaim follows a change of its lane or path.
func (m *Machine) updateClaim(c *claim) {
	l := c.lane
	want := l.due > 0 && c.path.usable
	switch {
	case !want:
		m.revoke(c)
		c.state = claimOff
	case l.transactional() || !c.limited():
		c.state = claimOpen
	case c.state == claimOff, c.state == claimOpen:
		c.age, c.id = l.age, l.id
		m.park(c, c.firstLevel(), true)
	case c.state == claimParked:
		if !c.age.Equal(l.age) || c.id != l.id {
			m.reparked(c)
		}
		if c.parked.b.spent(m.now, c.tier()) {
			m.noteExcess(l)
		}
	case c.state == claimHolding:
		m.renew(c)
	case c.state == claimBarred:
		c.age, c.id = l.age, l.id
		m.noteExcess(l)
	}
}

// limited reports whether any budget stands before a claim.
func (c *claim) limited() bool { return c.nextLevel(-1) < levels }

// firstLevel is the first budget that can stop a claim.
func (c *claim) firstLevel() int { return c.nextLevel(-1) }

func (c *claim) nextLevel(after int) int {
	for i := after + 1; i < levels; i++ {
		if b := c.budgets[i]; b != nil && b.binds() {
			return i
		}
	}
	return levels
}

// purse is where a claim of a tier stands in line.
func (b *budget) purse(tier string) *purse {
	if tier == tierNew {
		return &b.fresh
	}
	return &b.main
}

// park makes a claim wait at a budget. look asks for the budget to be looked
// at, where it has not just refused.
func (m *Machine) park(c *claim, level int, look bool) {
	b := c.budgets[level]
	c.state, c.parked = claimParked, b.purse(c.tier())
	c.parked.parked.push(parkRef{c})
	m.lineChanged(c.parked)
	if look || !b.admits(c.tier()) {
		m.markPurse(c.parked)
	} else {
		m.set(&b.timer, b.change(m.now))
	}
	if b.spent(m.now, c.tier()) {
		m.noteExcess(c.lane)
	}
}

// unpark takes a claim out of the line.
func (m *Machine) unpark(c *claim) {
	c.parked.parked.remove(c.slot)
	m.lineChanged(c.parked)
	c.state, c.parked = claimOff, nil
}

// reparked moves a waiting claim to the place of its new age.
func (m *Machine) reparked(c *claim) {
	c.age, c.id = c.lane.age, c.lane.id
	c.parked.parked.fix(c.slot)
	m.lineChanged(c.parked)
	m.markPurse(c.parked)
}

// revoke takes a claim out of every purse.
func (m *Machine) revoke(c *claim) {
	switch c.state {
	case claimParked:
		m.unpark(c)
	case claimBarred:
		c.parked.unbar(c)
	case claimHolding:
		m.letGo(c)
	case claimOff, claimOpen:
	}
	c.state, c.parked = claimOff, nil
}

// holdTokens makes a claim that passed every purse a holder, with what it could use as its demand.
func (m *Machine) holdTokens(c *claim) {
	c.state = claimHolding
	c.age, c.id = c.lane.age, c.lane.id
	m.setDemand(c)
	for i, p := range c.via {
		if p != nil {
			g := p.group(c.rank())
			g.demand += c.demand[i]
			g.holders.push(holdRef{c, i})
		}
	}
	c.lane.open++
	m.placeLane(c.lane)
}

// setDemand computes how much of each budget a claim could use: what is due,
// as far as its other budgets allow.
func (m *Machine) setDemand(c *claim) {
	for i, p := range c.via {
		if c.demand[i] = 0; p != nil {
			c.demand[i] = m.wants(c, i)
		}
	}
}

// wants is what a claim could use at a level.
func (m *Machine) wants(c *claim, level int) int {
	n := c.lane.due
	for i := c.nextLevel(-1); i < levels; i = c.nextLevel(i) {
		if i != level {
			n = min(n, max(0, m.left(c, i)))
		}
	}
	return n
}

// renew renews a holder's demand and age.
func (m *Machine) renew(c *claim) {
	old := c.demand
	m.setDemand(c)
	c.age, c.id = c.lane.age, c.lane.id
	for i, p := range c.via {
		if p != nil {
			g := p.group(c.rank())
			g.demand += c.demand[i] - old[i]
			g.holders.fix(c.held[i])
			m.markBudget(p.b)
		}
	}
}

// letGo takes a holder's demand back.
func (m *Machine) letGo(c *claim) {
	for i, p := range c.via {
		if p != nil {
			g := p.group(c.rank())
			g.demand -= c.demand[i]
			g.holders.remove(c.held[i])
			m.markBudget(p.b)
		}
		c.via[i], c.demand[i] = nil, 0
	}
	c.state = claimOff
}

// stillGranted asks every purse again at the moment of sending. A claim that
// is refused goes back in line there.
func (m *Machine) stillGranted(c *claim) bool {
	level := m.refusedAt(c)
	if level == levels {
		return true
	}
	m.letGo(c)
	c.lane.open--
	m.park(c, level, true)
	m.placeLane(c.lane)
	return false
}

// refusedAt is the first level whose budget gives the claim no token now;
// levels where all do.
func (m *Machine) refusedAt(c *claim) int {
	for i := c.nextLevel(-1); i < levels; i = c.nextLevel(i) {
		b := c.budgets[i]
		if !b.admits(c.tier()) || !m.permitted(b, c) {
			return i
		}
	}
	return levels
}
