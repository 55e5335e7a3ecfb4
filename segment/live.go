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
	swept      uint32    // second of the last look at it, since the store was opened
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
	every  []int              // all, referred-to ones first
	all    *asked             // the same
	asked  map[changed]*asked // what was asked lately, by what had changed; d.write guards it
	scored bool               // one of them reads a score
	ranked bool               // that of the account

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
	match    Match // what admission is told of who is in it
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
	rs.all = &asked{which: rs.every, whole: true}
	rs.tallies, rs.top = make([]*tally, len(rs.set.Counted())), rs.highest()
	rs.scored = rs.reads("score", "fit", "behaviour", "account_score")
	rs.scores, rs.ranked = d.scores, d.scores != nil && rs.reads("account_score")
	rs.levels, rs.others = rs.set.Levels("account_score")
	for i := range defs {
		c := compiled{def: defs[i], match: Match{defs[i].Name, defs[i].Version}, rule: rs.set.Rule(i), referred: rs.set.Referred(i), err: rs.set.Err(i)}
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

// choose notes which rules can be asked at each level, and which members count.
func (rs *ruleset) choose() {
	rs.served, rs.frozen, rs.asked = make(rule.Bits, len(rs.list)/64+1), rs.frozen[:0], map[changed]*asked{}
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
func (rs *ruleset) ask(s *subject, x *asked) {
	if len(x.which) == len(rs.every) {
		rs.askUpTo(s, rs.top)
		return
	}
	for i := range rs.list {
		if rs.list[i].referred {
			rs.set.Refer(s.pairs, i, rs.list[i].roster.has(s.id))
		}
	}
	s.in = s.asks.Ask(s.pairs, x.choice, func(k int) { rs.count(s, k) })
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
func (rs *ruleset) judge(s *subject, x *asked) time.Time {
	if len(x.which) == len(rs.every) {
		return rs.judgeUpTo(s, rs.top)
	}
	rs.ask(s, x)
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
