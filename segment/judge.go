// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"maps"
	"slices"
	"time"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
	"github.com/seguemta/segue/segment/tier"
)

// Causes of a [Flip] of membership or tier beside the kinds of events.
const (
	causeImport     = "import"
	causeTracking   = "tracking" // a call of the tracking API
	causeTime       = "time"
	causeAccount    = "account"    // an account of the contact changed
	causeDefinition = "definition" // the segment was defined anew
	causeVerifier   = "verifier"   // it had been wrong; see verify.go
	causeWrite      = "write"
)

// moved is one change of members that becomes visible with its commit.
type moved struct {
	r  *roster
	id uint64
	in bool
}

// armed is the next deadline of a contact, and the tier that it was judged to
// have, which become visible with their commit.
type armed struct {
	id     uint64
	second uint32
	tier   tier.Tier
}

// judging is what a write learns about the contacts that it touched.
type judging struct {
	cause  string            // of what no event caused
	causes map[uint64]string // by contact
	again  map[uint64]bool   // contacts to judge although nothing of theirs was written; true: their deadline anew
	told   map[uint64]tier.Tier

	spreads bool // more contacts are to be judged after this write
	moves   []moved
	arms    []armed

	fed map[uint64]*fed // contacts whose series changed
}

// judge evaluates every contact that this write touched, once, against the live
// segments and those under construction, and notes the changes: members, flips,
// deadlines.
func (t *tx) judge() error {
	if t.d.live.current == nil {
		return nil // the store is being opened: what is written then changes no answer
	}
	if err := t.spread(); err != nil {
		return err
	}
	if err := t.feed(); err != nil {
		return err
	}
	ids := make(map[uint64]struct{}, len(t.states)+len(t.records)+len(t.again))
	for id := range t.fed {
		ids[id] = struct{}{}
	}
	for id := range t.states {
		ids[id] = struct{}{}
	}
	for id := range t.records {
		ids[id] = struct{}{}
	}
	for id := range t.again {
		ids[id] = struct{}{}
	}
	if len(ids) == 0 {
		return nil
	}
	now := t.d.settled()
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if err := t.judgeOne(id, now); err != nil {
			return err
		}
	}
	return nil
}

// judgeOne evaluates one contact. One of which only the state changed, and not
// so that its tier did, is not read at all: no rule can see the difference.
func (t *tx) judgeOne(id uint64, now time.Time) error {
	st := t.peek(id)
	if st.Address == 0 {
		return nil
	}
	h := history(&st)
	have, known := t.d.mem.armed(id)
	a := armed{id: id, second: have.second, tier: t.d.tiers.Of(h, now)}
	before, flipped := t.told[id]
	if !flipped {
		before = have.tier
	}
	fresh, forced := t.again[id]
	_, written := t.records[id]
	written = written || forced || !known
	changed := have.tier != a.tier && known
	var next time.Time
	if at, _, ok := t.d.tiers.NextChange(h, now); ok {
		next = at
	}
	var s *subject
	if which := t.affected(id, written, changed); written || len(which) > 0 || t.d.live.next != nil && (changed || t.fed[id] != nil) {
		var err error
		if s, err = t.judgeRules(id, now, which, &next); err != nil {
			return err
		}
		defer t.d.subjects.Put(s)
	}
	if known && before != a.tier {
		if err := t.tierByTime(id, now, s, before, a.tier); err != nil {
			return err
		}
	}
	t.arm(&a, next, fresh)
	if a.second != have.second || a.tier != have.tier || !known {
		t.arms = append(t.arms, a)
	}
	return nil
}

// affected is the rules that may answer differently for a contact, nil for none:
// all where its record was written, else those that read what changed.
func (t *tx) affected(id uint64, written, tier bool) []int {
	rs := t.d.live.current
	f := t.fed[id]
	switch {
	case written:
		return rs.every
	case f == nil || len(f.current) == 0:
		if tier && len(rs.byTier) > 0 {
			return rs.byTier
		}
		return nil
	}
	what := rule.Change{Series: f.current}
	if tier {
		what.Slots = []int{rule.SlotTier}
	}
	return rs.set.Affected(what)
}

// judgeRules asks some of the rules about a contact.
func (t *tx) judgeRules(id uint64, now time.Time, which []int, next *time.Time) (*subject, error) {
	l := &t.d.live
	s := t.d.subject(l.current)
	if _, _, err := s.read(t.d, t, id, now); err != nil {
		return s, err
	}
	*next = sooner(*next, l.current.judge(s, which))
	for _, i := range which {
		c := &l.current.list[i]
		if c.roster != nil && !c.frozen && s.in[i] != c.roster.has(id) {
			t.moves = append(t.moves, moved{c.roster, id, s.in[i]})
			t.membership(c, s, s.in[i], now)
		}
	}
	if l.next != nil && id <= l.build.Cursor {
		return s, t.judgeNext(s, id, now, next)
	}
	return s, nil
}

// judgeNext keeps true what the pass over all contacts has already done.
func (t *tx) judgeNext(live *subject, id uint64, now time.Time, next *time.Time) error {
	l := &t.d.live
	s := t.d.subject(l.next)
	defer t.d.subjects.Put(s)
	if _, _, err := s.read(t.d, t, id, now); err != nil {
		return err
	}
	live.address = s.address
	*next = sooner(*next, l.next.judge(s, l.next.every))
	for _, i := range l.next.every {
		c := &l.next.list[i]
		if c.roster.generation == l.build.Generation && s.in[i] != c.roster.has(id) {
			t.moves = append(t.moves, moved{c.roster, id, s.in[i]})
			t.b.Delta(c.roster.id, id, s.in[i])
		}
	}
	return nil
}

// membership notes that a contact entered or left a segment.
func (t *tx) membership(c *compiled, s *subject, in bool, now time.Time) {
	kind := FlipLeft
	if in {
		kind = FlipEntered
	}
	t.flip(store.Flip{
		Time: now, Contact: s.id, Address: addressKey(s.address), Kind: kind, Cause: t.why(s.id),
		Segment: c.def.Name, Version: c.def.Version,
	})
}

// tierByTime notes a change of tier that no event has told of.
func (t *tx) tierByTime(id uint64, now time.Time, s *subject, from, to tier.Tier) error {
	address := ""
	if s != nil {
		address = s.address
	} else {
		c, err := t.contact(id)
		if err != nil {
			return err
		}
		address = c.Address
	}
	t.flip(store.Flip{
		Time: now, Contact: id, Address: addressKey(address), Kind: FlipTier,
		From: from.String(), To: to.String(), Cause: causeTime,
	})
	return nil
}

// why is what a contact's changes in this write are put down to.
func (t *tx) why(id uint64) string {
	if cause, ok := t.causes[id]; ok {
		return cause
	}
	return orElse(t.cause, causeWrite)
}

// arm sets a contact's deadline: the only entry that it has in the wheel. One
// that is sooner than needed stays where it is: most events put the deadline off, and
// would write the wheel each time. fresh says that next is all there is.
func (t *tx) arm(a *armed, next time.Time, fresh bool) {
	second := deadline(next)
	if second != 0 {
		second = max(second, t.d.live.turned.Second+1)
	}
	if !fresh && a.second != 0 && (second == 0 || second >= a.second) {
		return
	}
	if second == a.second {
		return
	}
	if a.second != 0 {
		t.b.DeleteDue(store.Due{Second: a.second, Contact: a.id})
	}
	if second != 0 {
		t.b.Due(store.Due{Second: second, Contact: a.id})
	}
	a.second = second
}

// deadline is the first whole second at which an instant has come; 0 for never.
func deadline(at time.Time) uint32 {
	if at.IsZero() {
		return 0
	}
	if at.Nanosecond() > 0 {
		at = at.Add(time.Second)
	}
	return seconds(at)
}

// show makes what was judged visible, after its commit.
func (t *tx) show() {
	l := &t.d.live
	l.spreading = l.spreading || t.spreads
	for i := range t.flips {
		if l.unstored == 0 && membership(&t.flips[i]) {
			l.unstored = t.flips[i].Sequence
		}
	}
	if len(t.moves)+len(t.flips) > 0 {
		l.mu.Lock()
		t.flowed()
		for _, m := range t.moves {
			m.r.put(m.id, m.in)
		}
		l.mu.Unlock()
	}
	if l.next == nil || l.window <= l.build.Cursor {
		return
	}
	for _, ids := range []func(func(uint64) bool){maps.Keys(t.states), maps.Keys(t.records), maps.Keys(t.again), maps.Keys(t.events), maps.Keys(t.fed)} {
		for id := range ids {
			if id > l.build.Cursor && id <= l.window {
				l.missed[id] = struct{}{}
			}
		}
	}
}
