// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/score"
	"github.com/seguemta/segue/segment/store"
)

// live is who is in which segment, and what keeps that true: the segments that
// mail goes by, those under construction, and the time wheel's place.
//
// Members change in [tx.commit] alone, together with what changed them. Who
// writes holds d.write and then mu; who reads holds mu.
type live struct {
	mu      sync.RWMutex
	current *ruleset // what mail goes by
	next    *ruleset // what is built beside it; nil = nothing

	build  store.Build         // how far next is; what is behind its cursor is done
	window uint64              // contacts up to this one are read by the pass at this moment
	missed map[uint64]struct{} // of those, written since

	checkpoint uint64    // last flip that the stored members include
	unstored   uint64    // first flip of membership that they may lack, 0 = none: an open needs it
	wanted     uint64    // flips up to this one may go as far as the consumers are concerned
	turned     store.Due // entry up to which the wheel has been turned
	feeds      feeds     // which events rules read
	spreading  bool      // there may be accounts whose contacts are still to be judged
	stored     time.Time // when the members were last stored
	verifier   verifier
	counts     tallies
	ranks      *ranks // nil = no rule reads the score of an account
}

// ruleset is a set of segments that were compiled together. Only the members
// change.
type ruleset struct {
	list   []compiled // in order; their numbers are those of the set
	set    *rule.Set
	every  []int // all, referred-to ones first
	byTier []int // of those, the ones that read the tier
	scored bool  // one of them reads a score
	ranked bool  // that of the account

	scores *score.Model
	levels []float64 // that the score of an account is compared with
	others bool      // it is compared with something else, too
	ranks  *ranks    // nil: nobody is ranked, and no rule that reads the score of an account is asked

	tallies []*tally         // by number of the conditions about contacts; nil: nobody counts, and no rule that reads it is asked
	top     int              // the highest level of a rule
	upTo    []rule.Selection // by level, from rankLevel on: the rules that can be asked there
	served  rule.Bits        // segments that are not removed
	frozen  []int            // of those, the ones whose members stand as they are
	sight   sight
}

// compiled is a segment ready to be asked. Without a rule it has no members.
type compiled struct {
	rule     *rule.Rule // nil where err is set
	referred bool       // other rules refer to it
	def      Definition
	err      error
	identity [16]byte
	removed  bool    // no longer configured: it goes with the next swap
	frozen   bool    // its rule cannot be asked any more: the members stand until the next swap
	roster   *roster // nil: never built, no members
}

// in reports whether a subject is in the segment.
func (c *compiled) in(s *subject) bool {
	if c.rule.Match(s.pairs[0]) {
		return true
	}
	return len(s.pairs) > 1 && c.rule.Paired() && slices.ContainsFunc(s.pairs[1:], c.rule.Match)
}

// rules is what mail goes by.
func (d *DB) rules() *ruleset {
	d.live.mu.RLock()
	defer d.live.mu.RUnlock()
	return d.live.current
}

// compileAll orders and compiles segments. A rule that does not compile is kept
// with its error; a name that stands there twice is refused.
func (d *DB) compileAll(defs []Definition) (*ruleset, error) {
	defs = slices.Clone(defs)
	slices.SortStableFunc(defs, func(a, b Definition) int {
		return cmp.Compare(a.Order, b.Order)
	})
	rules := make([]rule.Definition, 0, len(defs))
	seen := map[string]bool{}
	for i := range defs {
		def := &defs[i]
		if def.Name == "" || seen[def.Name] {
			return nil, fmt.Errorf("segment %q is defined twice or has no name", def.Name)
		}
		seen[def.Name] = true
		if def.Version == 0 {
			def.Version = RuleVersion(def.Where)
		}
		rules = append(rules, rule.Definition{Name: def.Name, Where: def.Where, Include: def.Include, Exclude: def.Exclude, Stage: def.Stage})
	}
	rs := &ruleset{set: d.schema.CompileSet(rules)}
	rs.every = rs.set.Order()
	rs.byTier = rs.affected(rule.Change{Slots: []int{rule.SlotTier}})
	rs.tallies, rs.top = make([]*tally, len(rs.set.Counted())), rs.highest()
	rs.scored = rs.reads("score", "fit", "behaviour", "account_score")
	rs.scores, rs.ranked = d.scores, d.scores != nil && rs.reads("account_score")
	rs.levels, rs.others = rs.set.Levels("account_score")
	for i := range defs {
		c := compiled{def: defs[i], rule: rs.set.Rule(i), referred: rs.set.Referred(i), err: rs.set.Err(i)}
		c.identity = d.identify(&c, rs.set.Key(i))
		rs.list = append(rs.list, c)
	}
	rs.choose()
	rs.see(d)
	return rs, nil
}

// identify computes what decides who is in a segment: its definition with all
// that it refers to, the types of what it reads, and how tiers are judged. Where
// that is another, the members may be others.
func (d *DB) identify(c *compiled, key [16]byte) [16]byte {
	h := sha256.New()
	text := func(s string) {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	h.Write(key[:])
	text(fmt.Sprintf("%q %d %q %q %v %+v", c.def.Where, c.def.Version, c.def.Include, c.def.Exclude, c.err != nil, d.tiers))
	if c.def.Stage != "" { // what rules that read the stage see of it
		text(c.def.Stage)
	}
	if d.scores != nil {
		model := d.scores.Identity()
		h.Write(model[:])
	}
	if c.rule != nil {
		for _, name := range c.rule.Reads() {
			_, kind, _ := d.schema.Slot(name)
			text(name + " " + kind.String())
		}
	}
	return [16]byte(h.Sum(nil))
}

// find returns the place of a segment, -1 if there is none.
func (rs *ruleset) find(name string) int {
	return slices.IndexFunc(rs.list, func(c compiled) bool { return c.def.Name == name && !c.removed })
}

// subject is a contact as rules see it at one instant: once for each of its
// accounts, at least once.
type subject struct {
	id      uint64
	address string // as it was written
	pairs   []*rule.Values
	edges   []uint64 // by pair
	from    source   // that it was read from
	spare   []*rule.Values
	set     *rule.Set // that the values are of
	scored  bool      // rules of the set read scores
	asks    *rule.Evaluator
	in      rule.Bits // by segment, what was found
	ranked  bool      // that of the account, and it is known
	fading  bool      // some rule must see how it fades

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

// records reads what is stored of the contact and of its accounts.
func (s *subject) records(d *DB, from source, id uint64, now time.Time) (*store.Contact, *store.Account, error) {
	s.id, s.address, s.from, s.standings = id, "", from, s.standings[:0]
	v := s.pair(0)
	v.Clear()
	v.Now, v.Contact = now, id
	st := store.State{}
	if id != 0 {
		st = from.peek(id)
	}
	v.SetTier(d.tiers.Of(history(&st), now).String())
	if id == 0 {
		return nil, nil, nil
	}
	c, err := from.contact(id)
	if err != nil {
		return nil, nil, err
	}
	s.address = c.Address
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

// choose notes which rules can be asked at each level, and which members count.
func (rs *ruleset) choose() {
	rs.served, rs.frozen = make(rule.Bits, len(rs.list)/64+1), rs.frozen[:0]
	for i := range rs.list {
		c := &rs.list[i]
		rs.served.Set(i, !c.removed)
		if c.frozen && !c.removed {
			rs.frozen = append(rs.frozen, i)
		}
	}
	rs.upTo = rs.upTo[:0]
	for level := rankLevel; level <= rs.top; level++ {
		rs.upTo = append(rs.upTo, rs.choice(slices.DeleteFunc(slices.Clone(rs.every), func(i int) bool { return rs.set.Level(i) > level })))
	}
}

// choice is those of some rules that can be asked: they compile, and are not frozen.
func (rs *ruleset) choice(which []int) rule.Selection {
	return rs.set.Select(slices.DeleteFunc(slices.Clone(which), func(i int) bool { return rs.list[i].rule == nil }))
}

// ask asks some rules about a subject; s.in has their answers. What the others
// say comes from the members, and what is asked of contacts from what was counted:
// the caller holds d.write, unless all are asked.
func (rs *ruleset) ask(s *subject, which []int) {
	if len(which) == len(rs.every) {
		rs.askUpTo(s, rs.top)
		return
	}
	for i := range rs.list {
		if rs.list[i].referred {
			rs.set.Refer(s.pairs, i, rs.list[i].roster.has(s.id))
		}
	}
	s.in = s.asks.Ask(s.pairs, rs.choice(which), func(k int) { rs.count(s, k) })
}

// askUpTo asks all rules up to a level, and the conditions about contacts that
// can be asked there.
func (rs *ruleset) askUpTo(s *subject, level int) {
	s.in = s.asks.Ask(s.pairs, rs.upTo[level-rankLevel], func(k int) {
		if rs.set.CountedLevel(k) <= level {
			rs.countedBy(s, k)
		}
	})
}

// judge is ask, and returns the first instant after which time alone may change
// one of the answers, zero for never.
func (rs *ruleset) judge(s *subject, which []int) time.Time {
	if len(which) == len(rs.every) {
		return rs.judgeUpTo(s, rs.top)
	}
	rs.ask(s, which)
	next, _ := s.asks.NextChange()
	return sooner(next, rs.turn(s))
}

// judgeUpTo is judge for askUpTo.
func (rs *ruleset) judgeUpTo(s *subject, level int) time.Time {
	rs.askUpTo(s, level)
	next, _ := s.asks.NextChange()
	return sooner(sooner(next, rs.turn(s)), rs.nextCounted(s, level))
}

// sooner is the earlier of two instants, of which zero means never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
