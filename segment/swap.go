// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"log/slog"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/seguemta/segue/segment/store"
)

// swapListed is the most memberships that a swap tells one by one.
const swapListed = 1000

// swap makes the new generation what mail goes by, in one commit. It reports
// whether the pass has to go on instead, because somebody came in.
func (d *DB) swap() (bool, error) {
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return false, errClosed
	}
	l := &d.live
	if l.build.Cursor+1 < d.write.contacts.next {
		return true, nil
	}
	t := d.begin()
	defer t.close()
	t.cause = causeDefinition
	list, err := l.save(t.b)
	if err != nil {
		return false, err
	}
	if err := t.swap(d.settled()); err != nil {
		return false, err
	}
	if err := t.commit(); err != nil {
		return false, err
	}
	for _, x := range list {
		x.stored()
	}
	l.mu.Lock()
	l.current, l.next, l.window = l.next, nil, 0
	l.ranks = l.current.ranks
	l.counts.list = slices.DeleteFunc(l.counts.list, func(x *tally) bool { return !slices.Contains(l.current.tallies, x) })
	l.mu.Unlock()
	if l.verifier.hurry > 0 { // those whom it has looked at were judged by what mail went by before
		l.verifier.cursor = 0
	}
	l.keep(l.current.keys())
	l.refeed()
	for i := range l.current.list {
		if c := &l.current.list[i]; c.roster.generation == l.build.Generation && c.err == nil {
			d.log.Info("segment is live with its rule", slog.String("segment", c.def.Name), slog.Int("members", c.roster.size()))
		}
	}
	return false, nil
}

// swap writes everything that a swap changes.
func (t *tx) swap(now time.Time) error {
	d, l := t.d, &t.d.live
	chunks := uint16(d.write.contacts.next >> 16) //nolint:gosec // ids are below 2^32
	var changes []change
	last := uint32(0)
	for i := range l.next.list {
		c := &l.next.list[i]
		last = max(last, c.roster.id)
		if c.roster.generation != l.build.Generation {
			continue
		}
		x := change{c: c, entered: c.roster.bits, left: roaring.New()}
		if at := l.current.find(c.def.Name); at >= 0 {
			old := l.current.list[at].roster
			x.entered, x.left = roaring.AndNot(c.roster.bits, old.bits), roaring.AndNot(old.bits, c.roster.bits)
			t.b.DeleteMembers(old.id, old.generation, chunks)
		}
		changes = append(changes, x)
		if !x.entered.IsEmpty() || !x.left.IsEmpty() {
			t.flip(store.Flip{
				Time: now, Kind: FlipRebuilt, Cause: causeDefinition, Segment: c.def.Name, Version: c.def.Version,
				Entered: x.entered.GetCardinality(), Left: x.left.GetCardinality(),
			})
		}
	}
	if err := t.list(changes, now); err != nil {
		return err
	}
	since := d.write.flips + uint64(len(t.flips))
	t.b.LastFlip(since)
	for i := range changes {
		c := changes[i].c
		c.roster.since = since
		x := storedSegment(c)
		t.b.Segment(&x)
	}
	for i := range l.current.list {
		if c := &l.current.list[i]; c.removed {
			t.b.DeleteSegment(c.def.Name)
			t.b.DeleteMembers(c.roster.id, c.roster.generation, chunks)
		}
	}
	for _, x := range l.counts.list {
		if !slices.Contains(l.next.tallies, x) {
			t.b.DeleteCounted(x.identity)
		}
	}
	if l.ranks != nil && l.next.ranks == nil {
		t.b.Ranking(store.Ranking{Identity: l.ranks.identity}) // nobody keeps them from now on
	}
	t.b.SegmentIDs(last)
	t.b.DeleteBuild()
	t.b.Kept(l.next.keys())
	t.b.Judged(l.build.Plan)
	return nil
}

// storedSegment is a segment as the store keeps it.
func storedSegment(c *compiled) store.Segment {
	return store.Segment{
		Name: c.def.Name, ID: c.roster.id, Generation: c.roster.generation, Since: c.roster.since, Version: c.def.Version,
		Identity: c.identity, Where: c.def.Where, Include: c.def.Include, Exclude: c.def.Exclude, Stage: c.def.Stage,
	}
}

// change is what a swap does to the members of one segment.
type change struct {
	c             *compiled
	entered, left *roaring.Bitmap
}

// list notes every membership that a swap changes, if they are few: a million
// flips in one commit would hold up everything else, and who follows a segment
// reads its members faster than a million flips.
func (t *tx) list(changes []change, now time.Time) error {
	n := uint64(0)
	for _, x := range changes {
		n += x.entered.GetCardinality() + x.left.GetCardinality()
	}
	if n > swapListed {
		return nil
	}
	for _, x := range changes {
		for _, side := range []struct {
			bits *roaring.Bitmap
			in   bool
		}{{x.entered, true}, {x.left, false}} {
			for _, id := range side.bits.ToArray() {
				c, err := t.contact(uint64(id))
				if err != nil {
					return err
				}
				t.membership(x.c, uint64(id), addressKey(c.Address), side.in, now)
			}
		}
	}
	return nil
}
