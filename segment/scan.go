// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/score"
	"github.com/seguemta/segue/segment/store"
	"github.com/seguemta/segue/segment/tier"
)

// A pass reads every contact, and so no more of each than its rules read: most of
// the time of reading a record goes into taking it apart.

// sight is what the rules of a set read of a contact.
type sight struct {
	slots    []int // all of them
	fields   store.Fields
	pairs    bool // they see the contact as a member of accounts,
	accounts bool // and attributes of those
}

// see computes what the rules of a set read.
func (rs *ruleset) see(d *DB) {
	x := &rs.sight
	x.pairs = len(rs.set.Counted()) > 0
	names := map[string]bool{}
	add := func(list []string) {
		for _, name := range list {
			names[name] = true
			x.accounts = x.accounts || strings.HasPrefix(name, "account.")
		}
	}
	for i := range rs.set.Len() {
		if r := rs.set.Rule(i); r != nil {
			add(r.Reads())
			x.pairs = x.pairs || r.Paired()
		}
	}
	for i := range rs.set.Counted() {
		add(rs.set.Counted()[i].Reads())
	}
	if rs.scored && d.scores != nil {
		add(d.scores.Reads())
	}
	x.pairs = x.pairs || x.accounts || rs.ranked
	for slot := range d.schema.Len() {
		if names[d.schema.Name(slot)] {
			x.slots = append(x.slots, slot)
			x.fields |= fieldOf(slot)
		}
	}
	if x.pairs {
		x.fields |= store.FieldEdges
	}
}

// fieldOf is the part of a record that a built-in name comes from, 0 for none.
func fieldOf(slot int) store.Fields {
	switch slot {
	case rule.SlotTags:
		return store.FieldTags
	case rule.SlotLists:
		return store.FieldLists
	case rule.SlotLanguage:
		return store.FieldLanguage
	case rule.SlotTimeZone:
		return store.FieldZone
	case rule.SlotSource:
		return store.FieldSource
	case rule.SlotImportBatch:
		return store.FieldBatch
	case rule.SlotConsentAt:
		return store.FieldConsent
	case rule.SlotCreatedAt:
		return store.FieldCreated
	default:
		return 0
	}
}

// scan reads the contacts from one id up to another for the rules of a set. It is
// the source of its subject.
type scan struct {
	stored
	rs      *ruleset
	now     time.Time
	trail   *store.Trail
	decoder *rule.Decoder
	values  []rule.Value // room for the attributes of an account
	s       subject
	made    []record        // contacts whose series were made
	traced  func(id uint64) // told of each contact that has series

	states [256]store.State // a piece of those in memory, so that they are not locked for each
	first  uint64           // contact of the first of them
	filled int

	tiers [tier.Count]rule.Value
	at    store.State // the last state of which the tier was computed
	tier  tier.Tier
	until time.Time // when time alone changes it; zero = never
}

// scan is for contacts from one id up to and including another. It must be closed.
func (d *DB) scan(rs *ruleset, first, last uint64, now time.Time) *scan {
	w := &scan{
		stored: *d.stored(), rs: rs, now: now, trail: d.store.Trail(first, last), decoder: d.schema.NewDecoder(rs.sight.slots),
		values: make([]rule.Value, d.schema.Len()), first: first,
	}
	w.accounts = map[uint64]*knownAccount{}
	for t := range w.tiers {
		w.tiers[t] = rule.TextValue(tier.Tier(t).String())
	}
	w.s.fit(rs)
	w.s.from = w
	return w
}

func (w *scan) close() error { return w.trail.Close() }

// contacts yields each contact as the subject w.s.
func (w *scan) contacts(fn func(id uint64) error) error {
	return w.trail.Contacts(w.rs.sight.fields, func(id uint64, c *store.Contact) error {
		if err := w.read(id, c); err != nil {
			return err
		}
		return fn(id)
	})
}

// read is what [subject.read] does.
func (w *scan) read(id uint64, c *store.Contact) error {
	s, x := &w.s, &w.rs.sight
	w.have = c
	w.retier(w.state(id))
	s.id, s.standings = id, s.standings[:0]
	v := s.pair(0)
	v.ClearSlots(x.slots)
	v.Now, v.Contact = w.now, id
	v.Slots[rule.SlotTier] = w.tiers[w.tier]
	if err := w.decoder.Decode(c.Attributes, v.Slots); err != nil {
		return fmt.Errorf("reading attributes of contact %d: %w", id, err)
	}
	if x.fields&^store.FieldEdges != 0 {
		builtIn(v.Slots, c)
	}
	if x.pairs {
		for n := range slices.Backward(c.Edges) { // the primary one last; see join
			if _, err := s.join(w, c, n); err != nil {
				return err
			}
		}
	}
	if err := s.recall(w, id); err != nil {
		return err
	}
	if s.scored && w.d.scores != nil {
		return s.rate(w.d, w)
	}
	return nil
}

// state is [memory.state] for ids that rise.
func (w *scan) state(id uint64) store.State {
	if id >= w.first+uint64(w.filled) { //nolint:gosec // a small number
		w.first, w.filled = id, w.d.mem.statesFrom(id, w.states[:])
	}
	return w.states[id-w.first]
}

// retier computes the tier, unless the last contact had the same history.
func (w *scan) retier(at store.State) {
	at.Address, at.SoftBounces, at.Complaints = 1, 0, 0
	if at == w.at {
		return
	}
	h := history(&at)
	w.at, w.tier, w.until = at, w.d.tiers.Of(h, w.now), time.Time{}
	if next, _, ok := w.d.tiers.NextChange(h, w.now); ok {
		w.until = next
	}
}

func (w *scan) series(id uint64) ([]store.Series, error) {
	list, err := w.d.live.feeds.traced(w.trail, id, &w.made)
	if len(list) > 0 && w.traced != nil {
		w.traced(id)
	}
	return list, err
}

func (w *scan) behaviour(id uint64) (*score.State, error) {
	x, ok, err := w.trail.Behaviour(id)
	return w.d.folded(id, x, ok, err)
}

func (w *scan) knownAccount(id uint64) (*knownAccount, error) {
	if a, ok := w.accounts[id]; ok {
		return a, nil
	}
	a := &knownAccount{}
	if w.rs.sight.accounts {
		record, ok, err := w.trail.Account(id)
		if err != nil || !ok {
			return nil, fmt.Errorf("reading account %d: %w", id, orCorrupt(err))
		}
		if a.values, err = w.attributes(id, &record); err != nil {
			return nil, err
		}
	}
	if len(w.accounts) >= walkAccounts {
		clear(w.accounts)
	}
	w.accounts[id] = a
	return a, nil
}

// attributes are those of an account that rules read.
func (w *scan) attributes(id uint64, a *store.Account) (list []attribute, err error) {
	for _, slot := range w.rs.sight.slots {
		w.values[slot] = rule.Value{}
	}
	if err := w.decoder.Decode(a.Attributes, w.values); err != nil {
		return nil, fmt.Errorf("reading attributes of account %d: %w", id, err)
	}
	for _, slot := range w.rs.sight.slots {
		if v := w.values[slot]; v.Type() != rule.Missing {
			list = append(list, attribute{slot, v})
		}
	}
	return list, nil
}
