// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"time"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/score"
	"github.com/seguemta/segue/segment/store"
)

// subject is a contact as rules see it at one instant: once for each of its
// accounts, at least once.
type subject struct {
	id     uint64
	pairs  []*rule.Values
	edges  []uint64 // by pair
	from   source   // that it was read from
	spare  []*rule.Values
	set    *rule.Set // that the values are of
	scored bool      // rules of the set read scores
	asks   *rule.Evaluator
	in     rule.Bits // by segment, what was found
	ranked bool      // that of the account, and it is known
	fading bool      // some rule must see how it fades

	total     rule.Decay     // what it scores, once rated
	standings [][]rule.Decay // by pair, what the scores of its accounts are made of; see ranks.go
}

// subject hands out a subject for reuse.
func (d *DB) subject(rs *ruleset) *subject {
	s, ok := d.subjects.Get().(*subject)
	if !ok {
		s = &subject{}
	}
	s.fit(rs)
	return s
}

// fit makes the values those of a ruleset.
func (s *subject) fit(rs *ruleset) {
	s.scored, s.ranked, s.fading = rs.scored, rs.ranks != nil && rs.ranks.built, rs.others
	if s.set != rs.set {
		s.set, s.spare, s.edges, s.asks = rs.set, []*rule.Values{rs.set.NewValues()}, []uint64{0}, rs.set.NewEvaluator()
	}
}

// source is where the records of a subject come from.
type source interface {
	contact(id uint64) (*store.Contact, error)
	knownAccount(id uint64) (*knownAccount, error)
	series(id uint64) ([]store.Series, error)
	peek(id uint64) store.State
	behaviour(id uint64) (*score.State, error)
	standing(account uint64) ([]rule.Decay, error) // see ranks.go
	tallied(x *tally, account uint64) rule.Count
	holds(x *tally, edge, account uint64, in bool) // what was found now
}

// read makes the subject the contact with an id, 0 for one nobody knows. It
// returns the record and the primary account, if there are any.
func (s *subject) read(d *DB, from source, id uint64, now time.Time) (*store.Contact, *store.Account, error) {
	c, a, err := s.records(d, from, id, now)
	if err == nil {
		err = s.recall(from, id)
	}
	if err == nil && c != nil && s.scored && d.scores != nil {
		err = s.rate(d, from)
	}
	return c, a, err
}

// readFor is read for some rules: for those that see no more of a contact than its
// tier and its series, nothing else is read.
func (s *subject) readFor(x *asked, d *DB, from source, id uint64, now time.Time) error {
	if x.whole {
		_, _, err := s.read(d, from, id, now)
		return err
	}
	s.begin(d, from, id, now)
	return s.recall(from, id)
}

// begin makes the subject the contact with an id, of which only the tier is known.
func (s *subject) begin(d *DB, from source, id uint64, now time.Time) {
	s.id, s.from, s.standings = id, from, s.standings[:0]
	v := s.pair(0)
	v.Clear()
	v.Now, v.Contact = now, id
	st := store.State{}
	if id != 0 {
		st = from.peek(id)
	}
	v.SetTier(d.tiers.Of(history(&st), now).String())
}

// records reads what is stored of the contact and of its accounts.
func (s *subject) records(d *DB, from source, id uint64, now time.Time) (*store.Contact, *store.Account, error) {
	s.begin(d, from, id, now)
	v := s.pairs[0]
	if id == 0 {
		return nil, nil, nil
	}
	c, err := from.contact(id)
	if err != nil {
		return nil, nil, err
	}
	if err := d.schema.Decode(c.Attributes, v.Slots); err != nil {
		return c, nil, fmt.Errorf("reading attributes of contact %d: %w", id, err)
	}
	builtIn(v.Slots, c)
	for n := len(c.Edges) - 1; n > 0; n-- {
		if _, err := s.join(from, c, n); err != nil {
			return c, nil, err
		}
	}
	if len(c.Edges) == 0 {
		return c, nil, nil
	}
	a, err := s.join(from, c, 0)
	return c, a, err
}

// pair returns the values of the nth account, and makes the subject that long.
func (s *subject) pair(n int) *rule.Values {
	for len(s.spare) <= n {
		s.spare, s.edges = append(s.spare, s.set.NewValues()), append(s.edges, 0)
	}
	s.pairs = s.spare[:n+1]
	return s.spare[n]
}

// join sets the values of a contact's nth account, beside its own. The first
// comes last: its values are those that the others begin with.
func (s *subject) join(from source, c *store.Contact, n int) (*store.Account, error) {
	e := &c.Edges[n]
	a, err := from.knownAccount(e.Account)
	if err != nil {
		return nil, err
	}
	if len(s.pairs) <= n {
		s.pair(n)
	}
	v := s.spare[n]
	if own := s.spare[0]; v != own {
		v.Clear()
		copy(v.Slots, own.Slots)
		v.Now, v.Contact = own.Now, own.Contact
	}
	v.Account, s.edges[n] = e.Account, e.ID
	if e.Role != "" {
		v.Slots[rule.SlotRole] = rule.TextValue(e.Role)
	}
	for i := range a.values {
		v.Slots[a.values[i].slot] = a.values[i].value
	}
	return &a.record, nil
}

// builtIn sets the built-in names that a contact's record knows.
func builtIn(slots []rule.Value, c *store.Contact) {
	text := func(slot int, s string) {
		if s != "" {
			slots[slot] = rule.TextValue(s)
		}
	}
	text(rule.SlotLanguage, c.Language)
	text(rule.SlotTimeZone, c.Zone)
	text(rule.SlotSource, c.Source)
	text(rule.SlotImportBatch, c.Batch)
	if len(c.Tags) > 0 {
		slots[rule.SlotTags] = rule.ListValue(c.Tags...)
	}
	if len(c.Lists) > 0 {
		slots[rule.SlotLists] = rule.ListValue(c.Lists...)
	}
	slots[rule.SlotConsentAt], slots[rule.SlotCreatedAt] = rule.TimeValue(c.Consent), rule.TimeValue(c.Created)
}
