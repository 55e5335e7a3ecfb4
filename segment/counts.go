// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// Rules may ask about the contacts of an account: any_contact(...), contacts(...)
// >= 3. For each such condition there is a tally: for which edges (a contact in
// an account) it holds, as a bitmap, and how often for each account. When a
// contact is judged, its edges in the tallies are set first; where that changes
// a count so that a rule can tell, all contacts of the account are judged again.
//
// The bitmaps are stored as members are, with each change since beside them, in
// the commit of what caused it. How often is counted at open.

// tally is one condition about the contacts of accounts. live.mu guards it.
type tally struct {
	identity [16]byte
	*roster                  // the edges that the condition holds for; its id is that of the condition
	built    bool            // every edge was asked
	number   []uint32        // by account: how many of its edges it holds for
	changed  *roaring.Bitmap // edges of which the store holds a change beside their chunk
}

// tallies is all of them, and what they have in common.
type tallies struct {
	list  []*tally
	edges *roaring.Bitmap // all there are
	of    []uint32        // by account: how many edges it has
}

func newTally(identity [16]byte, id uint32, built bool) *tally {
	return &tally{identity: identity, roster: newRoster(id, 0), built: built, changed: roaring.New()}
}

// add changes a number that is kept by account.
func add(list *[]uint32, account uint64, up bool) {
	if n := int(account); n >= len(*list) { //nolint:gosec // ids of accounts are handed out one by one
		*list = append(*list, make([]uint32, n+1-len(*list)+n/4)...)
	}
	if up {
		(*list)[account]++
	} else {
		(*list)[account]--
	}
}

func of(list []uint32, account uint64) uint64 {
	if account >= uint64(len(list)) {
		return 0
	}
	return uint64(list[account])
}

// set puts an edge in or takes it out.
func (x *tally) set(edge, account uint64, in bool) {
	if x.has(edge) == in {
		return
	}
	x.put(edge, in)
	add(&x.number, account, in)
}

// save writes the changed chunks, and forgets the changes that they include.
func (x *tally) save(b *store.Batch, limit int) ([]saved, error) {
	var list []saved
	for n := range x.dirty {
		if len(list) == limit {
			break
		}
		value, err := x.chunk(n)
		if err != nil {
			return list, fmt.Errorf("storing a condition about contacts: %w", err)
		}
		b.CountedEdges(x.id, n, value)
		for _, edge := range x.changesIn(n) {
			b.DeleteCountedChange(x.id, uint64(edge))
		}
		list = append(list, saved{r: x.roster, n: n, x: x})
	}
	return list, nil
}

// changesIn is the changes in a chunk that the store holds one by one.
func (x *tally) changesIn(n uint16) []uint32 {
	part := roaring.New()
	part.AddRange(uint64(n)<<16, (uint64(n)+1)<<16)
	part.And(x.changed)
	return part.ToArray()
}

// stored notes that a chunk is in the store.
func (x saved) stored() {
	delete(x.r.dirty, x.n)
	if x.x != nil {
		x.x.changed.RemoveRange(uint64(x.n)<<16, (uint64(x.n)+1)<<16)
	}
}

// committed is how often a condition holds for an account, and of how many.
func (l *live) committed(x *tally, account uint64) rule.Count {
	return rule.Count{True: of(x.number, account), Of: of(l.counts.of, account)}
}

// highest is the highest level of a rule.
func (rs *ruleset) highest() int {
	top := 0
	for i := range rs.set.Len() {
		top = max(top, rs.set.Level(i))
	}
	return top
}

// countedBy asks one condition of each pair of a subject, and gives the rules the
// count that follows.
func (rs *ruleset) countedBy(s *subject, k int) {
	x, c := rs.tallies[k], &rs.set.Counted()[k]
	if x == nil {
		return
	}
	for n, v := range s.pairs {
		if v.Account != 0 {
			s.from.holds(x, s.edges[n], v.Account, c.Match(v))
		}
	}
	rs.count(s, k)
}

// nextCounted is when time alone may change what conditions about contacts say of
// a subject.
func (rs *ruleset) nextCounted(s *subject, level int) time.Time {
	var next time.Time
	for k := range rs.tallies {
		if rs.tallies[k] == nil || rs.set.CountedLevel(k) > level {
			continue
		}
		for _, v := range s.pairs {
			if at, ok := rs.set.Counted()[k].NextChange(v); ok && v.Account != 0 {
				next = sooner(next, at)
			}
		}
	}
	return next
}

// count gives the rules the count of one condition.
func (rs *ruleset) count(s *subject, k int) {
	x := rs.tallies[k]
	if x == nil {
		return
	}
	for _, v := range s.pairs {
		if v.Account != 0 {
			v.Counts[k] = s.from.tallied(x, v.Account)
		}
	}
}

// tallied is the count that was committed last.
func (r *stored) tallied(x *tally, account uint64) rule.Count {
	r.d.live.mu.RLock()
	defer r.d.live.mu.RUnlock()
	return r.d.live.committed(x, account)
}

func (r *stored) holds(x *tally, edge, account uint64, in bool) {
	if r.answers != nil {
		r.answers(answer{x, edge, account, in})
	}
}

// answer is whether a condition holds for an edge.
type answer struct {
	x             *tally
	edge, account uint64
	in            bool
}

// recount is what a write changes in tallies.
type recount struct {
	bits   map[edgeOf]bool // edges whose answer is another one
	counts map[countOf]*counting
	edges  map[uint64]edgeBy // edges that came, or went
	joined map[uint64][]uint64
}

type edgeOf struct {
	x    *tally
	edge uint64
}

type countOf struct {
	x       *tally
	account uint64
}

type edgeBy struct {
	account uint64
	gone    bool
}

// counting is a count that this write changes.
type counting struct {
	now  rule.Count
	seen []rule.Count // what contacts may have been judged by since all were told
}

// seenMost bounds what is remembered of a count: beyond it all are judged again.
const seenMost = 32

func (c *counting) change(f func(*rule.Count)) {
	if len(c.seen) < seenMost && !slices.Contains(c.seen, c.now) {
		c.seen = append(c.seen, c.now)
	}
	f(&c.now)
}

// counting returns the count of an account to be changed.
func (t *tx) counting(x *tally, account uint64) *counting {
	k := countOf{x, account}
	c := t.recount.counts[k]
	if c == nil {
		c = &counting{now: t.d.live.committed(x, account)}
		if t.recount.counts == nil {
			t.recount.counts = map[countOf]*counting{}
		}
		t.recount.counts[k] = c
	}
	return c
}

// tallied is the count that this write will leave.
func (t *tx) tallied(x *tally, account uint64) rule.Count {
	if c := t.recount.counts[countOf{x, account}]; c != nil {
		return c.now
	}
	return t.d.live.committed(x, account)
}

// holds notes whether a condition holds for an edge.
func (t *tx) holds(x *tally, edge, account uint64, in bool) {
	k := edgeOf{x, edge}
	before, told := t.recount.bits[k]
	if !told {
		before = x.has(edge)
	}
	if before == in {
		return
	}
	if t.recount.bits == nil {
		t.recount.bits = map[edgeOf]bool{}
	}
	t.recount.bits[k] = in
	t.counting(x, account).change(func(c *rule.Count) {
		if in {
			c.True++
		} else {
			c.True--
		}
	})
}

// countEdges counts the edges that came and those that went.
func (t *tx) countEdges() {
	l := &t.d.live
	t.recount.joined = map[uint64][]uint64{}
	for k, e := range t.edges {
		if !e.gone {
			t.recount.joined[k.account] = append(t.recount.joined[k.account], k.contact)
		}
	}
	if len(l.counts.list) == 0 {
		return
	}
	t.recount.edges = map[uint64]edgeBy{}
	for k, e := range t.edges {
		if l.counts.edges.Contains(bit(e.id)) != e.gone {
			continue // it was there, or it is gone that never was
		}
		t.recount.edges[e.id] = edgeBy{k.account, e.gone}
		for _, x := range l.counts.list {
			if e.gone {
				t.holds(x, e.id, k.account, false)
			}
			t.counting(x, k.account).change(func(c *rule.Count) {
				if e.gone {
					c.Of--
				} else {
					c.Of++
				}
			})
		}
	}
}

// colleagues has the contacts of all accounts judged again of which a count
// or the score changed so that a rule can tell. It takes what is done here from the
// room; what exceeds it is done after this write.
func (t *tx) colleagues(room *int, now time.Time) error {
	accounts := map[uint64]struct{}{}
	for k, c := range t.recount.counts {
		if t.d.live.tells(k.x, c) {
			accounts[k.account] = struct{}{}
		}
		c.seen = c.seen[:0]
	}
	for _, account := range slices.Sorted(maps.Keys(accounts)) {
		if err := t.tellColleagues(account, room); err != nil {
			return err
		}
	}
	return t.rankedColleagues(room, now)
}

// tells reports whether a rule can tell what a count was from what it is.
func (l *live) tells(x *tally, c *counting) bool {
	if !x.built || len(c.seen) == 0 {
		return false
	}
	for _, rs := range []*ruleset{l.current, l.next} {
		if rs == nil {
			continue
		}
		k := slices.Index(rs.tallies, x)
		if k >= 0 && (len(c.seen) == seenMost || slices.ContainsFunc(c.seen, func(was rule.Count) bool { return rs.set.Tells(k, was, c.now) })) {
			return true
		}
	}
	return false
}

// stageCounts writes what changed in tallies.
func (t *tx) stageCounts() {
	for k, in := range t.recount.bits {
		if k.x.has(k.edge) != in {
			t.b.CountedChange(k.x.id, k.edge, in)
		}
	}
}

// showCounts makes it visible. The caller holds live.mu.
func (t *tx) showCounts() {
	l := &t.d.live
	for k, in := range t.recount.bits {
		if k.x.has(k.edge) != in {
			k.x.put(k.edge, in)
			k.x.changed.Add(bit(k.edge))
		}
	}
	for k, c := range t.recount.counts {
		have := l.committed(k.x, k.account)
		for ; have.True < c.now.True; have.True++ {
			add(&k.x.number, k.account, true)
		}
		for ; have.True > c.now.True; have.True-- {
			add(&k.x.number, k.account, false)
		}
	}
	for edge, e := range t.recount.edges {
		if e.gone {
			l.counts.edges.Remove(bit(edge))
		} else {
			l.counts.edges.Add(bit(edge))
		}
		add(&l.counts.of, e.account, !e.gone)
	}
}
