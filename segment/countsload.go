// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// identifyCounted computes what decides for which edges a condition holds.
func (d *DB) identifyCounted(c *rule.Counted) [16]byte {
	h := sha256.New()
	key := c.Key()
	fmt.Fprintf(h, "%x %+v", key, d.tiers)
	if d.scores != nil {
		fmt.Fprintf(h, " %x", d.scores.Identity())
	}
	return [16]byte(h.Sum(nil))
}

// loadTallies finds the tallies that the rules ask for: those in the store, and
// new ones for what is to be built. It forgets all others.
func (d *DB) loadTallies() error {
	l := &d.live
	stored, err := d.store.Counted()
	if err != nil {
		return err
	}
	b := d.store.Batch()
	defer b.Close()
	last := uint32(0)
	for _, x := range stored {
		used := x.Built && d.adoptTally(l.current, x)
		if d.adoptTally(l.next, x) || used {
			last = max(last, x.ID)
		} else {
			b.DeleteCounted(x.Identity)
		}
	}
	// Before there are new ones: a number may have been that of one of which edges are left.
	if err := d.loadAnswers(b); err != nil {
		return err
	}
	for k, have := range l.next.tallies {
		if have == nil {
			last++
			x := store.Counted{Identity: d.identifyCounted(&l.next.set.Counted()[k]), ID: last}
			d.adoptTally(l.next, x)
			b.Counted(x)
		}
	}
	if err := d.loadEdges(); err != nil {
		return err
	}
	l.current.freeze()
	return b.Settle()
}

// countAgain has what an earlier build counted, and mail never went by, counted anew where
// this build begins at or below its level: nobody keeps it true for contacts that the
// pass has not come to yet.
func (d *DB) countAgain() error {
	l := &d.live
	level, members := l.phase()
	if members {
		return nil
	}
	b := d.store.Batch()
	defer b.Close()
	for k, x := range l.next.tallies {
		if x.built && l.next.set.CountedLevel(k) >= level && !slices.Contains(l.current.tallies, x) {
			x.built = false
			b.Counted(store.Counted{Identity: x.identity, ID: x.id})
		}
	}
	return b.Settle()
}

// adoptTally gives a ruleset a tally, and reports whether it needs it.
func (d *DB) adoptTally(rs *ruleset, stored store.Counted) bool {
	l := &d.live
	needed := false
	for k := range rs.tallies {
		if d.identifyCounted(&rs.set.Counted()[k]) != stored.Identity {
			continue
		}
		at := slices.IndexFunc(l.counts.list, func(x *tally) bool { return x.identity == stored.Identity })
		if at < 0 {
			at = len(l.counts.list)
			l.counts.list = append(l.counts.list, newTally(stored.Identity, stored.ID, stored.Built))
		}
		rs.tallies[k], needed = l.counts.list[at], true
	}
	return needed
}

// shareTallies gives a ruleset the tallies that are counted already.
func (d *DB) shareTallies(rs *ruleset) {
	for k := range rs.tallies {
		identity := d.identifyCounted(&rs.set.Counted()[k])
		for _, x := range d.live.counts.list {
			if x.identity == identity && x.built {
				rs.tallies[k] = x
			}
		}
	}
}

// freeze leaves the members of segments as they are whose rule reads what is not
// counted.
func (rs *ruleset) freeze() {
	var what rule.Change
	for k, x := range rs.tallies {
		if x == nil {
			what.Counted = append(what.Counted, k)
		}
	}
	for _, i := range rs.set.Affected(what) {
		if c := &rs.list[i]; c.rule != nil {
			c.rule, c.frozen = nil, true
		}
	}
	rs.choose()
}

// loadAnswers reads for which edges the conditions hold. What belongs to none goes.
func (d *DB) loadAnswers(b *store.Batch) error {
	l := &d.live
	find := func(id uint32) *tally {
		at := slices.IndexFunc(l.counts.list, func(x *tally) bool { return x.id == id })
		if at < 0 {
			return nil
		}
		return l.counts.list[at]
	}
	err := d.store.CountedEdges(func(id uint32, number uint16, value []byte) error {
		if x := find(id); x != nil {
			return x.load(value)
		}
		b.CountedEdges(id, number, nil)
		return nil
	})
	if err != nil {
		return err
	}
	return d.store.CountedChanges(func(id uint32, edge uint64, in bool) error {
		if x := find(id); x != nil {
			x.put(edge, in)
			x.changed.Add(bit(edge))
			return nil
		}
		b.DeleteCountedChange(id, edge)
		return nil
	})
}

// loadEdges reads all edges, and counts by account those of which each condition holds.
func (d *DB) loadEdges() error {
	l := &d.live
	if len(l.counts.list) == 0 {
		return nil
	}
	l.counts.edges = roaring.New()
	return d.store.Edges(func(account, edge uint64) error {
		l.counts.edges.Add(bit(edge))
		add(&l.counts.of, account, true)
		for _, x := range l.counts.list {
			if x.has(edge) {
				add(&x.number, account, true)
			}
		}
		return nil
	})
}

// recounted reports whether tallies changed since they were stored.
func (l *live) recounted() bool {
	return slices.ContainsFunc(l.counts.list, func(x *tally) bool { return x.built && len(x.dirty) > 0 })
}

// phase is the level of the conditions about contacts that the pass counts now,
// or, when all are counted and it makes members, that of all rules.
func (l *live) phase() (level int, members bool) {
	if r := l.next.ranks; r != nil && !r.built {
		return rankLevel, false
	}
	level, members = l.next.top, true
	for k, x := range l.next.tallies {
		if !x.built {
			level, members = min(level, l.next.set.CountedLevel(k)), false
		}
	}
	return level, members
}

// done is up to which level what is built must be kept true for a contact, below
// 0 for not at all, and whether the members are part of it.
func (l *live) done(id uint64) (level int, members bool) {
	if l.next == nil {
		return -1, false
	}
	if level, members = l.phase(); id <= l.build.Cursor {
		return level, members
	}
	return level - 1, false
}

// takeAnswers takes in what a pass found that counts contacts. Who left an
// account meanwhile is judged again anyway. The caller holds mu.
func (l *live) takeAnswers(parts []found) {
	for _, p := range parts {
		for _, a := range p.answers {
			if l.counts.edges.Contains(bit(a.edge)) {
				a.x.set(a.edge, a.account, a.in)
			}
		}
	}
}

// endPass ends a pass: the conditions that it counted are counted, and the next
// pass begins, or what it made are the members.
func (d *DB) endPass() (bool, error) {
	d.write.Lock()
	l := &d.live
	if _, members := l.phase(); members {
		d.write.Unlock()
		return d.swap()
	}
	defer d.write.Unlock()
	if d.write.closed {
		return false, errClosed
	}
	if l.build.Cursor+1 < d.write.contacts.next {
		return true, nil // somebody came in
	}
	level, _ := l.phase()
	b := d.store.Batch()
	defer b.Close()
	done := l.build.Cursor
	l.build.Cursor = 0
	list, err := l.save(b)
	var counted []*tally
	for k, x := range l.next.tallies {
		if !x.built && l.next.set.CountedLevel(k) == level {
			counted = append(counted, x)
			b.Counted(store.Counted{Identity: x.identity, ID: x.id, Built: true})
		}
	}
	ended := l.endRanks(b, level)
	kept := append(slices.Collect(maps.Keys(l.feeds.kept)), l.next.keys()...) // this pass made the series that were new
	b.Kept(kept)
	if err == nil {
		err = b.Settle()
	}
	if err != nil {
		l.build.Cursor = done
		return false, fmt.Errorf("storing what was counted of the contacts of accounts: %w", err)
	}
	for _, x := range list {
		x.stored()
	}
	for _, x := range counted {
		x.built = true
	}
	if ended != nil {
		ended.built = true
	}
	l.keep(kept)
	l.refeed()
	return true, nil
}
