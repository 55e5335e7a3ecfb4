// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"math/bits"
	"slices"
	"time"
)

// tierNew is the tier for which a part of a budget can be reserved.
const tierNew = "new"

// budget is what one key allows today. What is in flight counts as used.
type budget struct {
	key     BudgetKey
	known   bool // a Cap has come
	must    bool // without a Cap there are no tokens (a source at a provider)
	cap     Cap
	used    int
	usedNew int
	leased  int
	asked   int // total of the Lease request that is out; 0 = none
	main    purse
	fresh   purse    // tier "new": the reserve, and then what is for all
	waiters []*claim // for the lease that is out
	timer   timer
}

func (m *Machine) budget(k BudgetKey, level int) *budget {
	b := m.budgets[k]
	if b == nil {
		b = &budget{key: k, must: level == levelSource}
		b.timer = timer{kind: timerBudget, owner: b}
		b.main = purse{b: b, level: level}
		b.fresh = purse{b: b, level: level, fresh: true}
		m.budgets[k] = b
		m.budgetList = append(m.budgetList, b)
	}
	return b
}

func (k BudgetKey) level() int {
	switch {
	case k.Domain != "" && k.Provider == Total:
		return levelDomainAll
	case k.Domain != "":
		return levelDomain
	case k.Source == "" && k.Provider == Total:
		return levelLaneAll
	case k.Source == "":
		return levelLane
	case k.Provider == Total:
		return levelTotal
	}
	return levelSource
}

// valid reports whether the cap is today's.
func (b *budget) valid(now time.Time) bool {
	return b.known && !now.Before(b.cap.Start) && now.Before(b.cap.End)
}

// binds reports whether the budget limits anything: the plan of a lane or of a
// domain and a source's total do so only when they have a Cap.
func (b *budget) binds() bool { return b.known || b.must }

// inWindow reports whether the budget gives anything out at this hour.
func (b *budget) inWindow(now time.Time) bool {
	return !now.Before(b.cap.Open) && now.Before(b.cap.Close)
}

// share is the part of n that a paced window has given out by now.
func (b *budget) share(now time.Time, n int) int {
	c := &b.cap
	switch {
	case n <= 0 || !b.inWindow(now):
		return 0
	case !c.Pace:
		return n
	}
	return int(muldiv(int64(n), int64(now.Sub(c.Open)), int64(c.Close.Sub(c.Open))))
}

// released is how much of the day has been given out by now: the first
// token when the window opens, the last one n-th part of it before it closes.
func (b *budget) released(now time.Time) int {
	if !b.inWindow(now) {
		return 0
	}
	return min(b.cap.Allowed, b.share(now, b.cap.Allowed)+1)
}

// ceiling is how many recipients may have been charged by now: what the
// window released, and never so many that 24 hours see more than 1.25 x the day.
func (b *budget) ceiling(now time.Time) int {
	return min(b.released(now), b.rolling(now))
}

func (b *budget) rolling(now time.Time) int {
	n := b.cap.Allowed + b.cap.Allowed/4
	first := int(now.Sub(b.cap.Start) / time.Hour)
	for i := max(0, first); i < len(b.cap.Hours); i++ {
		n -= b.cap.Hours[i]
	}
	return n
}

// reserve is the part of the ceiling that only tier "new" may use. In the last
// tenth of the window nothing is reserved any more: what new contacts did not use by
// then would be lost.
func (b *budget) reserve(now time.Time) int {
	if b.cap.Reserved == 0 || !now.Before(b.lastTenth()) {
		return 0
	}
	return max(0, b.share(now, b.cap.Reserved)-b.usedNew)
}

func (b *budget) lastTenth() time.Time {
	return b.cap.Close.Add(-b.cap.Close.Sub(b.cap.Open) / 10)
}

// avail is how many tokens a purse holds now. That they are leased is a matter
// of milliseconds and asked when one is spent: a lane that waits for the disk
// keeps its claim, as one does that waits for a connection.
func (p *purse) avail(now time.Time) int {
	b := p.b
	if !b.valid(now) {
		return 0
	}
	left := b.ceiling(now) - b.used
	held := b.reserve(now)
	if p.fresh {
		left = min(held, left)
	} else {
		left -= held
	}
	return left
}

// spent reports whether the day has nothing more for a tier, ever: not merely
// paced, claimed by others, or outside the window.
func (b *budget) spent(now time.Time, tier string) bool {
	if !b.valid(now) {
		return false
	}
	left := b.cap.Allowed - b.used
	if tier != tierNew && now.Before(b.lastTenth()) {
		left -= max(0, b.cap.Reserved-b.usedNew)
	}
	return left <= 0
}

func (b *budget) admits(tier string) bool {
	return len(b.cap.Admit) == 0 || slices.Contains(b.cap.Admit, tier)
}

// change is when tokens can next appear, or the day ends.
func (b *budget) change(now time.Time) time.Time {
	c := &b.cap
	if !b.known || !now.Before(c.End) {
		return time.Time{}
	}
	next := c.End
	consider := func(t time.Time) {
		if t.After(now) && t.Before(next) {
			next = t
		}
	}
	consider(c.Start)
	consider(c.Open)
	if c.Reserved > 0 {
		consider(b.lastTenth())
	}
	if c.Pace && !now.Before(c.Open) && now.Before(c.Close) {
		consider(b.releaseTime(b.released(now) + 1))
		if c.Reserved > 0 {
			consider(b.shareTime(b.share(now, c.Reserved)+1, c.Reserved))
		}
	}
	for i, n := range c.Hours {
		if n > 0 {
			consider(c.Start.Add(time.Duration(i+1) * time.Hour)) // that hour leaves the last 24
		}
	}
	return next
}

// releaseTime is when the n-th token of the day is given out.
func (b *budget) releaseTime(n int) time.Time { return b.shareTime(n-1, b.cap.Allowed) }

// shareTime is when a paced window has given out n of a part.
func (b *budget) shareTime(n, of int) time.Time {
	c := &b.cap
	if of <= 0 || n <= 0 || n > of || !c.Pace {
		return c.Open
	}
	width := int64(c.Close.Sub(c.Open))
	at := muldiv(int64(n), width, int64(of))
	if muldiv(at, int64(of), width) < int64(n) {
		at++
	}
	return c.Open.Add(time.Duration(at))
}

// muldiv is a*b/c without overflow, for numbers that are not negative, with a <= c or b <= c.
func muldiv(a, b, c int64) int64 {
	if a <= 0 || b <= 0 || c <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	q, _ := bits.Div64(hi, lo, uint64(c))
	return int64(q) //nolint:gosec // not above the larger of a and b
}

// capFact takes what a budget allows today. Within a day the machine's own
// count stays; a new day starts from the fact's.
func (m *Machine) capFact(f *Cap) {
	b := m.budget(f.Key, f.Key.level())
	if !b.known && !b.must {
		m.bind(b)
	}
	if b.known && b.cap.Day == f.Day {
		b.leased = max(b.leased, f.Leased)
	} else {
		b.used, b.usedNew, b.leased, b.asked = f.Used, f.UsedNew, max(f.Leased, f.Used), 0
	}
	b.cap, b.known, b.main.noted, b.fresh.noted = *f, true, false, false
	if !b.cap.Open.Before(b.cap.Close) {
		b.cap.Open, b.cap.Close = b.cap.Start, b.cap.End
	}
	m.unbar(&b.main)
	m.budgetMoved(b)
	m.wantLease(b)
}

// bind makes lanes that went without a budget look again: from its first cap
// on it limits them.
func (m *Machine) bind(b *budget) {
	for _, l := range m.laneList {
		for i := range l.claims {
			if l.claims[i].budgets[b.main.level] == b {
				m.markLane(l)
			}
		}
	}
}

func (m *Machine) leasedFact(f *Leased) {
	b := m.budgets[f.Key]
	if b == nil || !b.known || b.cap.Day != f.Day {
		return
	}
	b.leased, b.asked = max(b.leased, f.Total), 0
	m.budgetMoved(b)
}

// budgetMoved follows whatever may have made tokens appear.
func (m *Machine) budgetMoved(b *budget) {
	m.markBudget(b)
	slices.SortFunc(b.waiters, func(x, y *claim) int {
		if x.first(y) {
			return -1
		}
		return 1
	})
	for _, c := range b.waiters {
		c.waiting = nil
		m.markSite(c.path.site)
	}
	clear(b.waiters)
	b.waiters = b.waiters[:0]
}

// wantLease asks for the durable lease to run ahead of what is used: in steps
// of a hundredth of the day, as soon as less than half a step is left.
func (m *Machine) wantLease(b *budget) {
	step := b.step()
	if b.asked != 0 || !b.valid(m.now) || b.leased >= b.cap.Allowed || 2*(b.leased-b.used) >= step {
		return
	}
	b.asked = min(b.cap.Allowed, max(b.leased, b.used)+step)
	m.leases.push(b)
}

// maxStep bounds a lease for caps that no machine reaches: it lasts for a second
// of the fastest sending, and a crash counts no more than this as used.
const maxStep = 10_000

// step is by how much a lease is raised, and so what a crash can cost.
func (b *budget) step() int { return min(max(1, b.cap.Allowed/100), maxStep) }

func (m *Machine) emitLease(b *budget, r *Ready) {
	if b.asked != 0 {
		r.Lease = append(r.Lease, Lease{Key: b.key, Day: b.cap.Day, Total: b.asked})
	}
}

// openCharge notes which budgets a transaction is charged to.
func (m *Machine) openCharge(co *conn, c *claim) {
	co.fresh = c.lane.key.class.def.Tier == tierNew
	for _, b := range c.budgets {
		if b == nil || !b.valid(m.now) {
			continue
		}
		co.charged = append(co.charged, b)
		co.keys = append(co.keys, b.key)
		co.day = b.cap.Day
	}
}

// charge takes one token from each budget of the transaction.
func (m *Machine) charge(co *conn) {
	co.n++
	for _, b := range co.charged {
		b.used++
		if co.fresh {
			b.usedNew++
		}
		m.markBudget(b)
		m.wantLease(b)
	}
}

// refund gives tokens back to the day they were leased for, if that is still today.
func (m *Machine) refund(co *conn, n int) {
	n = min(n, co.n)
	for _, b := range co.charged {
		if n > 0 && b.cap.Day == co.day {
			b.used -= n
			if co.fresh {
				b.usedNew -= n
			}
			b.main.noted, b.fresh.noted = false, false
			m.budgetMoved(b)
		}
	}
	clear(co.charged)
	co.charged, co.keys, co.n = co.charged[:0], co.keys[:0], 0
}
