// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/score"
	"github.com/seguemta/segue/segment/signal"
	"github.com/seguemta/segue/segment/store"
	"github.com/seguemta/segue/segment/tier"
)

// idBlock hands out ids that are durably reserved, so that none is ever given
// twice: a block of ids is synced before its first id is used.
type idBlock struct {
	next, end uint64
	save      func(*store.Batch, uint64)
}

const blockSize = 10_000

func (b *idBlock) take(s *store.Store) (uint64, error) {
	if b.next == b.end {
		batch := s.Batch()
		b.save(batch, b.end+blockSize)
		if err := batch.Commit(); err != nil {
			return 0, fmt.Errorf("reserving ids: %w", err)
		}
		b.end += blockSize
	}
	id := b.next
	b.next++
	return id, nil
}

// tx is one write: it collects changes, shows them to its own reads, commits
// them in one synced batch and then to memory. The caller holds d.write.
type tx struct {
	d          *DB
	b          *store.Batch
	states     map[uint64]*store.State
	addresses  map[string]uint64                   // addresses given (id) or given up (0) in this tx
	records    map[uint64]*store.Contact           // contacts written
	visitors   map[uint64]*store.Contact           // visitors written; nil = it is none any more
	seen       map[uint64]*store.Contact           // contacts read, as they are stored
	draft      store.Contact                       // room for the record that a call may change
	persons    map[store.PersonID]uint64           // where ids given in this tx lead
	owned      map[uint64][]store.PersonID         // the same, by where they lead
	accounts   map[uint64]*store.Account           // accounts written
	names      map[string]uint64                   // account names of this tx; 0 = given up
	domains    map[string]uint64                   // account domains of this tx
	groups     map[string]uint64                   // group ids of this tx
	edges      map[edgeKey]edgeChange              // contacts that joined or left an account, or changed their role
	events     map[uint64][]rule.Event             // events of contacts, those of a visitor who became one included
	visits     map[uint64][]rule.Event             // events of visitors
	taken      map[store.MessageHash]store.Verdict // message ids of this tx
	marks      map[markKey]standing                // suppressions of this tx
	suppress   []store.Suppression
	lifts      []markKey
	readmitted []store.Erasure // who was erased and is let in again
	flips      []store.Flip
	outcomes   map[dayKey]*store.Results // what it adds to the results of segments
	doubts     map[uint64]Doubt          // by sequence of the event
	epoch      uint64                    // of the queue's log whose events it applies
	judging

	scores   map[uint64]*score.State
	ranking  ranking
	pending  map[uint64][]rule.Event // opens and clicks that are held
	held     map[store.HeldKey]*holding
	soft     map[uint64]*store.SoftBounces // runs of this tx; nil = it ended
	gateways map[string]*signal.Domain     // by recipient domain

	dry   bool   // it will not be committed: nothing may be reserved for it
	given uint64 // how many ids it handed out
}

// dryID is above every id that is ever handed out: where those of a write begin that
// is not committed.
const dryID = 1 << 62

// newID hands out an id.
func (t *tx) newID(from *idBlock) (uint64, error) {
	t.given++
	if t.dry {
		return dryID + t.given, nil
	}
	return from.take(t.d.store)
}

// edgeKey names the edge between a contact and an account.
type edgeKey struct{ contact, account uint64 }

// edgeChange is what a tx did to an edge.
type edgeChange struct {
	id   uint64
	gone bool
}

type markKey struct {
	hash  store.Hash
	scope string
}

// begin starts a write. It must end with commit, or with close.
func (d *DB) begin() *tx {
	return &tx{
		d: d, b: d.store.Batch(), states: map[uint64]*store.State{}, addresses: map[string]uint64{},
		records: map[uint64]*store.Contact{}, visitors: map[uint64]*store.Contact{}, seen: map[uint64]*store.Contact{}, marks: map[markKey]standing{},
		persons: map[store.PersonID]uint64{}, owned: map[uint64][]store.PersonID{},
		accounts: map[uint64]*store.Account{}, names: map[string]uint64{}, domains: map[string]uint64{}, groups: map[string]uint64{},
		edges: map[edgeKey]edgeChange{}, events: map[uint64][]rule.Event{}, visits: map[uint64][]rule.Event{},
		taken:  map[store.MessageHash]store.Verdict{},
		scores: map[uint64]*score.State{}, soft: map[uint64]*store.SoftBounces{},
		pending: map[uint64][]rule.Event{}, held: map[store.HeldKey]*holding{}, gateways: map[string]*signal.Domain{},
		judging: judging{
			causes: map[uint64]string{}, again: map[uint64]bool{}, told: map[uint64]tier.Tier{},
			due: map[uint64]struct{}{}, verdicts: map[uint64]*verdict{}, fed: map[uint64]*fed{},
		},
	}
}

func (t *tx) close() { t.b.Close() }

// create makes a contact nobody knew.
func (t *tx) create(addr rfc5321.Address, c store.Contact) (uint64, error) {
	id, err := t.newID(&t.d.write.contacts)
	if err != nil {
		return 0, err
	}
	k := addr.Key()
	c.Address = addr.String()
	t.addresses[k] = id
	t.b.ByAddress(k, id)
	t.record(id, &c)
	t.states[id] = &store.State{Address: store.AddressSum(k)}
	return id, nil
}

// contact returns a contact's record as this tx sees it. It must not be changed
// but through record.
func (t *tx) contact(id uint64) (*store.Contact, error) {
	if c, ok := t.records[id]; ok {
		return c, nil
	}
	c, err := t.read(id)
	if err != nil || c == nil {
		return nil, fmt.Errorf("reading contact %d: %w", id, orCorrupt(err))
	}
	return c, nil
}

// lookup finds a name in what this tx wrote, then in the store; 0 for none.
func (t *tx) lookup(written map[string]uint64, name string, stored func(string) (uint64, error)) (uint64, error) {
	if name == "" {
		return 0, nil
	}
	if id, ok := written[name]; ok {
		return id, nil
	}
	id, err := stored(name)
	if err != nil {
		return 0, fmt.Errorf("looking up an account: %w", err)
	}
	return id, nil
}

// record writes a contact's record at commit.
func (t *tx) record(id uint64, c *store.Contact) { t.records[id] = c }

// peek returns a contact's state as this tx sees it.
func (t *tx) peek(id uint64) store.State {
	if st, ok := t.states[id]; ok {
		return *st
	}
	st, _ := t.d.mem.state(id)
	return st
}

// state returns a contact's state to be changed.
func (t *tx) state(id uint64) *store.State {
	if st, ok := t.states[id]; ok {
		return st
	}
	st, _ := t.d.mem.state(id)
	t.states[id] = &st
	return &st
}

// flip appends to the flip log.
func (t *tx) flip(f store.Flip) {
	f.Sequence = t.d.write.flips + uint64(len(t.flips)) + 1
	t.flips = append(t.flips, f)
}

// addSuppression adds a suppression unless one of the same scope already holds
// longer, or as long for a reason that weighs as much. It reports whether anything changed.
func (t *tx) addSuppression(x store.Suppression, contact uint64, at time.Time) bool {
	s, ok := splitScope(x.Scope)
	if !ok {
		return false
	}
	if t.d.erased.bars(x.Hash) {
		x.Address, x.Evidence = "", evidenceErased
	}
	k := markKey{x.Hash, x.Scope}
	have, ok := t.marks[k]
	if !ok {
		have, ok = t.d.mem.standing(&x.Hash, s)
	}
	expires := seconds(x.Expires)
	if ok && have.covers(expires, x.Reason) {
		return false
	}
	t.marks[k] = standing{expires, x.Reason}
	t.suppress = append(t.suppress, x)
	t.flip(store.Flip{Time: at, Contact: contact, Address: x.Address, Kind: FlipSuppressed, Scope: x.Scope, Cause: x.Reason})
	return true
}

// commit makes everything durable, then visible.
func (t *tx) commit() error {
	if err := t.judge(); err != nil {
		return err
	}
	t.since()
	if err := t.stageResults(); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(t.states)) {
		t.b.State(id, t.states[id])
	}
	for _, id := range slices.Sorted(maps.Keys(t.records)) {
		t.b.Contact(id, t.records[id])
	}
	t.stage()
	t.stageScores()
	t.stageCounts()
	t.stageRanks()
	t.stageHits()
	t.stageSoft()
	for i := range t.suppress {
		t.b.Suppress(&t.suppress[i])
	}
	for _, k := range t.lifts {
		t.b.Lift(k.hash, k.scope)
	}
	for i := range t.flips {
		t.b.Flip(&t.flips[i])
	}
	if err := t.b.Commit(); err != nil {
		t.d.log.Error("contacts store refused a write", slog.Any("error", err))
		return err
	}
	t.publish()
	return nil
}

// stage writes people, accounts and events to the batch: what there is most of in the
// order of its keys, for the way to the place of a key in a memtable is then nearly
// that to the one before.
func (t *tx) stage() {
	for id, c := range t.visitors {
		if c == nil {
			t.b.DeleteVisitor(id)
		} else {
			t.b.Visitor(id, c)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(t.fed)) {
		t.putSeries(id, t.fed[id].list)
	}
	for p, id := range t.persons {
		t.b.Person(p, id)
	}
	for id, a := range t.accounts {
		t.b.Account(id, a)
	}
	for k, e := range t.edges {
		if e.gone {
			t.b.DeleteEdge(k.account, k.contact)
		} else {
			t.b.Edge(k.account, k.contact, e.id)
		}
	}
	for _, m := range []map[uint64][]rule.Event{t.events, t.visits} {
		for _, id := range slices.Sorted(maps.Keys(m)) {
			for i := range m[id] {
				t.b.Event(id, t.d.storedEvent(&m[id][i]))
			}
		}
	}
}

func (t *tx) publish() {
	t.d.accounts.forget(t.accounts)
	t.d.standings.forget(t.ranking.accounts)
	m := &t.d.mem
	m.mu.Lock()
	for id, st := range t.states {
		if m.set(id, *st) && t.fed[id] == nil {
			m.untraceOne(id)
		}
	}
	for _, a := range t.arms {
		m.arm(a)
	}
	for i := range t.suppress {
		m.suppress(&t.suppress[i])
	}
	for _, k := range t.lifts {
		m.lift(k.hash, k.scope)
	}
	t.showSoft()
	m.mu.Unlock()
	for i := range t.readmitted {
		t.d.erased.add(&t.readmitted[i])
	}
	t.show()
	for i := range t.suppress {
		t.d.metrics.suppressed(t.suppress[i].Reason)
	}
	t.d.write.flips += uint64(len(t.flips))
	if len(t.flips) > 0 {
		select {
		case t.d.flipped <- struct{}{}:
		default:
		}
	}
}
