// SPDX-License-Identifier: Apache-2.0

// Package schedule decides which waiting recipient leaves next, from which
// source, over which connection, and says of every other what it waits for. It is a pure
// state machine: it has no clock, no goroutine and does no I/O. The driver
// (package queue) owns all of those.
//
// Start with [New], tell the machine what happened with [Machine.Step], and ask
// what is to be done with [Machine.Take], which answers a [Ready] and the time
// at which it must be asked again. [Machine.Why] explains one recipient with the
// predicates that the decision itself uses. Given the same options and the same
// facts at the same times, the answers are the same, byte for byte.
//
// # The model
//
// The disk holds mail by (domain, class), ordered by due time and id; of each such
// backlog the machine knows how many recipients it holds and keeps a bounded window of the
// first. A domain is resolved to a site when its first mail is due, and never
// earlier. A lane is a class at a site: it orders its backlogs by the age of
// their first due item. Contention is resolved where the limit binds:
//
//   - Connections and rate belong to a source at a provider (at a site, where the
//     site has no named provider). A site shares what it has among its lanes by weight, in
//     virtual time: a lane that had nothing to send banks nothing, and no
//     lane with budget starves. Transactional lanes come first.
//   - A day's budget goes by rank, then by age of a lane's first recipient, within a site and
//     across all sites that spend it. A lane that may take a token but waits for a
//     connection keeps its claim; what is claimed by better lanes cannot be
//     taken by worse ones. A lane without a token waits, and waiting is no attempt.
//
// Within a domain and class mail leaves in the order of the disk.
//
// A provider's figures hold for every source. A [Limit] replaces them for one, or
// suspends it there, which is an obstacle beside an operator's [Paused] and not the same. A
// [Hold] belongs to the mail and not to the source; at a provider it holds what goes
// there now. The machine stores none of them: who knows them gives them anew at
// start, before the first Take.
//
// # What the driver promises
//
// Facts are durable before they are stepped. An in-flight recipient that goes on
// waiting comes back as a Queued fact before the Concluded of its transaction; the machine
// keeps it aside until then, so that one recipient is never in flight twice. Items of a
// Transaction are valid until that transaction is Concluded. Every Move and Fail is
// answered by a Gone of the old place (the Queued of the new place may come before or after), or by
// a Queued in the same place, which cancels it. After a Close comes a ConnDown.
//
// A Machine is not safe for concurrent use.
package schedule

import (
	"fmt"
	"time"
)

// Machine is the scheduler. Create it with [New].
type Machine struct {
	o   Options
	now time.Time
	seq uint64

	classes   map[ClassID]*class
	sources   map[string]*source
	pools     map[string]*pool
	providers map[string]*provider
	domains   map[string]*domain
	sites     map[siteKey]*site
	lanes     map[laneKey]*lane
	backlogs  map[backlogKey]*backlog
	budgets   map[BudgetKey]*budget
	conns     map[Conn]*conn
	flights   map[ID]*flight
	holds     map[holdKey]struct{}
	holdsAt   map[holdKey]struct{}

	sourceList  []*source
	backlogList []*backlog
	laneList    []*lane
	budgetList  []*budget

	timers     heap[*timer]
	dirtyLanes fifo[*lane]
	dirtySites fifo[*site]
	dirtyPurse heap[*purse] // whose first in line may have become permitted
	freed      fifo[*waitq]
	excess     fifo[*lane]
	failing    fifo[*backlog]
	wantLoad   fifo[*backlog]
	leases     fifo[*budget]
	resolves   fifo[*domain]
	closing    fifo[*conn]
	resting    fifo[*domain]
	reheld     []holdKey // came or went since the last Take

	idle      connList // idle connections, longest idle first
	idleTimer timer
	connWait  waitq // paths that wait for a connection under MaxConnections
	open      int   // connections in all
	nextConn  Conn
	loaded    int // items in windows
	loads     int // Load requests out
	rebuild   bool
	skipped   bool // serve passed over a lane for a better one
	scratch   []*lane
	candidate []*claim

	spareFlight  []*flight
	spareConn    []*conn
	spareBacklog []*backlog
	spareLane    []*lane
}

// New returns a machine that knows nothing yet.
func New(o Options) *Machine {
	m := &Machine{
		o:         o.withDefaults(),
		classes:   map[ClassID]*class{},
		sources:   map[string]*source{},
		pools:     map[string]*pool{},
		providers: map[string]*provider{},
		domains:   map[string]*domain{},
		sites:     map[siteKey]*site{},
		lanes:     map[laneKey]*lane{},
		backlogs:  map[backlogKey]*backlog{},
		budgets:   map[BudgetKey]*budget{},
		conns:     map[Conn]*conn{},
		flights:   map[ID]*flight{},
		holds:     map[holdKey]struct{}{},
		holdsAt:   map[holdKey]struct{}{},
	}
	m.idleTimer = timer{kind: timerIdle}
	m.connWait = waitq{kind: waitGlobal}
	return m
}

// Step takes one fact. It accepts a value or, for the facts about mail and connections, a
// pointer, which saves the caller an allocation; the machine does not keep it.
// A small step back in time only delays what is due; a large one is a [SetBack].
func (m *Machine) Step(now time.Time, f Fact) {
	m.now = now.Round(0)
	switch f := f.(type) {
	case *Queued:
		m.queued(f)
	case Queued:
		m.queued(&f)
	case *Concluded:
		m.concluded(f)
	case Concluded:
		m.concluded(&f)
	case *Loaded:
		m.loadedFact(f)
	case Loaded:
		m.loadedFact(&f)
	case *Gone:
		m.gone(f)
	case Gone:
		m.gone(&f)
	case *ConnUp:
		m.connUp(f.Conn)
	case ConnUp:
		m.connUp(f.Conn)
	case *ConnDown:
		m.connDown(f)
	case ConnDown:
		m.connDown(&f)
	case *Resolved:
		m.resolved(f)
	case Resolved:
		m.resolved(&f)
	case Leased:
		m.leasedFact(&f)
	default:
		m.stepRare(f)
	}
}

// stepRare takes the facts that come at start, at midnight and from operators.
func (m *Machine) stepRare(f Fact) {
	switch f := f.(type) {
	case Counted:
		m.counted(&f)
	case Cap:
		m.capFact(&f)
	case Paused:
		m.paused(&f)
	case Limit:
		m.limit(&f)
	case Hold:
		m.hold(&f)
	case SetBack:
		m.setBack(&f)
	case DefineClass:
		m.defineClass(&f)
	case DefineSource:
		m.defineSource(&f)
	case DefinePool:
		m.definePool(&f)
	case DefineProvider:
		m.defineProvider(&f)
	default:
		panic(fmt.Sprintf("schedule: unknown fact %T", f))
	}
}

// Take fills r with what is to be done now. The slices of r are reused.
func (m *Machine) Take(now time.Time, r *Ready) {
	m.now = now.Round(0)
	r.reset()
	if m.rebuild {
		m.rebuildLanes()
	}
	m.followHolds()
	m.fire()
	m.closeIdle()
	m.work(r)
	m.closeIdle()
	m.emit(r)
	r.Wake = time.Time{}
	if len(m.timers) > 0 {
		r.Wake = m.timers[0].at
	}
	if m.excess.len()+m.failing.len() > 0 {
		r.Wake = m.now // the rest at once
	}
}

func (r *Ready) reset() {
	r.Load, r.Resolve, r.Dial, r.Send = r.Load[:0], r.Resolve[:0], r.Dial[:0], r.Send[:0]
	r.Close, r.Lease, r.Move, r.Fail = r.Close[:0], r.Lease[:0], r.Move[:0], r.Fail[:0]
}

// work runs until nothing is left to decide. Claims on budgets are settled
// before any connection is given away, and again after every transaction.
func (m *Machine) work(r *Ready) {
	for {
		if l, ok := m.dirtyLanes.pop(); ok {
			l.dirty = false
			m.updateLane(l)
			continue
		}
		if m.grant() {
			continue
		}
		if s, ok := m.dirtySites.pop(); ok {
			s.dirty = false
			m.serve(s, r)
			continue
		}
		if m.wakeWaiter() {
			continue
		}
		if m.excessMoves(r) || m.failMoves(r) {
			continue
		}
		return
	}
}

// emit asks for what deciding found missing.
func (m *Machine) emit(r *Ready) {
	for m.loads < m.o.MaxLoads {
		b, ok := m.wantLoad.pop()
		if !ok {
			break
		}
		m.emitLoad(b, r)
	}
	for d, ok := m.resolves.pop(); ok; d, ok = m.resolves.pop() {
		r.Resolve = append(r.Resolve, d.name)
	}
	for b, ok := m.leases.pop(); ok; b, ok = m.leases.pop() {
		m.emitLease(b, r)
	}
	for c, ok := m.closing.pop(); ok; c, ok = m.closing.pop() {
		r.Close = append(r.Close, c.id)
	}
}

// fire runs the timers that are due.
func (m *Machine) fire() {
	for len(m.timers) > 0 && !m.timers[0].at.After(m.now) {
		t := m.timers.pop()
		switch o := t.owner.(type) {
		case *queue:
			m.settle(o)
		case *domain:
			m.settleDomain(o)
		case *path:
			m.refreshPath(o)
		case *gate:
			m.noteRoom(&o.rateWait)
		case *source:
			m.refreshSource(o)
		case *budget:
			m.budgetMoved(o)
		}
	}
}
