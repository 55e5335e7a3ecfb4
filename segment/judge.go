// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"iter"
	"maps"
	"slices"
	"time"

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

	due      map[uint64]struct{} // those to judge next
	verdicts map[uint64]*verdict
	recount  recount

	spreads bool // more contacts are to be judged after this write
	moves   []moved
	arms    []armed

	fed map[uint64]*fed // contacts whose series changed
}

// verdict is what was found out about a contact, the last time it was judged.
type verdict struct {
	armed armed
	next  time.Time
	moves []move
	ahead []move // in what is built
}

// move is a segment that a contact enters or leaves.
type move struct {
	c  *compiled
	in bool
}

// judge evaluates every contact that this write touched, against the live
// segments and those under construction, and notes the changes: members, flips,
// deadlines. Where that changes what colleagues are asked about, they are judged
// in another round; rules cannot refer to themselves, so the rounds end.
func (t *tx) judge() error {
	if t.d.live.current == nil {
		return nil // the store is being opened: what is written then changes no answer
	}
	room, err := t.spread()
	if err != nil {
		return err
	}
	if err := t.feed(); err != nil {
		return err
	}
	for _, ids := range []iter.Seq[uint64]{maps.Keys(t.states), maps.Keys(t.records), maps.Keys(t.again), maps.Keys(t.fed)} {
		for id := range ids {
			t.due[id] = struct{}{}
		}
	}
	t.countEdges()
	now := t.d.settled()
	for more := true; more; more = len(t.due) > 0 {
		ids := slices.Sorted(maps.Keys(t.due))
		clear(t.due)
		if err := t.rankAll(ids, now); err != nil {
			return err
		}
		for _, id := range ids {
			if err := t.judgeOne(id, now); err != nil {
				return err
			}
		}
		if err := t.colleagues(&room, now); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(t.verdicts)) {
		if err := t.pronounce(id, t.verdicts[id], now); err != nil {
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
	v := &verdict{armed: armed{id: id, second: have.second, tier: t.d.tiers.Of(h, now)}}
	t.verdicts[id] = v
	_, forced := t.again[id]
	_, written := t.records[id]
	written = written || forced || !known
	changed := have.tier != v.armed.tier && known
	if at, _, ok := t.d.tiers.NextChange(h, now); ok {
		v.next = at
	}
	if x := t.affected(id, written, changed); written || len(x.which) > 0 || t.d.live.next != nil && (changed || t.fed[id] != nil) {
		return t.judgeRules(id, now, x, v)
	}
	return nil
}

// affected is the rules that may answer differently for a contact: all where its
// record was written, else those that read what changed.
func (t *tx) affected(id uint64, written, tier bool) *asked {
	rs := t.d.live.current
	if written {
		return rs.all
	}
	var series []int
	if f := t.fed[id]; f != nil {
		series = f.current
	}
	return rs.askedAfter(series, tier)
}

// judgeRules asks some of the rules about a contact.
func (t *tx) judgeRules(id uint64, now time.Time, x *asked, v *verdict) error {
	l := &t.d.live
	s := t.d.subject(l.current)
	defer t.d.subjects.Put(s)
	if err := s.readFor(x, t.d, t, id, now); err != nil {
		return err
	}
	v.next = sooner(v.next, l.current.judge(s, x))
	for _, i := range x.which {
		c := &l.current.list[i]
		if c.roster != nil && !c.frozen && s.in.Has(i) != c.roster.has(id) {
			v.moves = append(v.moves, move{c, s.in.Has(i)})
		}
	}
	return t.judgeNext(id, now, v)
}

// judgeNext keeps true what the pass over all contacts has already done.
func (t *tx) judgeNext(id uint64, now time.Time, v *verdict) error {
	l := &t.d.live
	level, members := l.done(id)
	if level < 0 {
		return nil
	}
	s := t.d.subject(l.next)
	defer t.d.subjects.Put(s)
	if _, _, err := s.read(t.d, t, id, now); err != nil {
		return err
	}
	v.next = sooner(v.next, l.next.judgeUpTo(s, level))
	if !members {
		return nil
	}
	for _, i := range l.next.every {
		c := &l.next.list[i]
		if c.roster.generation == l.build.Generation && s.in.Has(i) != c.roster.has(id) {
			v.ahead = append(v.ahead, move{c, s.in.Has(i)})
		}
	}
	return nil
}

// pronounce notes what came of judging a contact.
func (t *tx) pronounce(id uint64, v *verdict, now time.Time) error {
	have, known := t.d.mem.armed(id)
	if len(v.moves) > 0 {
		key, err := t.keyOf(id)
		if err != nil {
			return err
		}
		for _, m := range v.moves {
			t.moves = append(t.moves, moved{m.c.roster, id, m.in})
			t.membership(m.c, id, key, m.in, now)
		}
	}
	for _, m := range v.ahead {
		t.moves = append(t.moves, moved{m.c.roster, id, m.in})
		t.b.Delta(m.c.roster.id, id, m.in)
	}
	before, flipped := t.told[id]
	if !flipped {
		before = have.tier
	}
	a := v.armed
	if known && before != a.tier {
		if err := t.tierByTime(id, now, before, a.tier); err != nil {
			return err
		}
	}
	t.arm(&a, v.next, t.again[id])
	if a.second != have.second || a.tier != have.tier || !known {
		t.arms = append(t.arms, a)
	}
	return nil
}

// keyOf is the address key of a contact.
func (t *tx) keyOf(id uint64) (string, error) {
	c, err := t.contact(id)
	if err != nil {
		return "", err
	}
	return addressKey(c.Address), nil
}

// membership notes that a contact, of which the key is that of its address, entered
// or left a segment.
func (t *tx) membership(c *compiled, id uint64, key string, in bool, now time.Time) {
	kind := FlipLeft
	if in {
		kind = FlipEntered
	}
	t.flip(store.Flip{
		Time: now, Contact: id, Address: key, Kind: kind, Cause: t.why(id),
		Segment: c.def.Name, Version: c.def.Version,
	})
}

// tierByTime notes a change of tier that no event has told of.
func (t *tx) tierByTime(id uint64, now time.Time, from, to tier.Tier) error {
	key, err := t.keyOf(id)
	if err != nil {
		return err
	}
	t.flip(store.Flip{
		Time: now, Contact: id, Address: key, Kind: FlipTier,
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
	if len(t.moves)+len(t.flips)+len(t.recount.bits)+len(t.recount.edges) > 0 {
		l.mu.Lock()
		t.flowed()
		for _, m := range t.moves {
			m.r.put(m.id, m.in)
		}
		t.showCounts()
		l.mu.Unlock()
	}
	if l.next == nil || l.window <= l.build.Cursor {
		return
	}
	for _, ids := range []iter.Seq[uint64]{maps.Keys(t.states), maps.Keys(t.records), maps.Keys(t.again), maps.Keys(t.events), maps.Keys(t.fed)} {
		for id := range ids {
			if id > l.build.Cursor && id <= l.window {
				l.missed[id] = struct{}{}
			}
		}
	}
}
