// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// loadLive makes segments live: it reads what the store holds of them, and
// builds small bases at once.
func (d *DB) loadLive(o *Options) error {
	d.stats.flows = map[dayKey]*dayFlow{}
	if err := d.loadSegments(o.Segments); err != nil {
		return err
	}
	for _, s := range d.Segments() {
		if s.Error != "" {
			d.log.Error("segment has no members, its rule does not compile", slog.String("segment", s.Name), slog.String("error", s.Error))
		}
	}
	if err := d.loadStatistics(); err != nil {
		return err
	}
	if err := d.loadWheel(); err != nil {
		return err
	}
	l := &d.live
	var err error
	if l.verifier.cursor, err = d.store.Verified(); err != nil {
		return err
	}
	l.spreading, l.stored = true, d.now()
	if o.private.buildLater || l.next == nil || d.mem.contacts() > buildAtOnce {
		return nil
	}
	for more := true; more; {
		if more, err = d.buildStep(context.Background()); err != nil {
			return fmt.Errorf("building segments: %w", err)
		}
	}
	return nil
}

// plan is what the segments of a ruleset and the deadlines in the wheel are
// computed from.
func (d *DB) plan(rs *ruleset) [16]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%+v", d.tiers)
	for i := range rs.list {
		c := &rs.list[i]
		fmt.Fprintf(h, "%q%x", c.def.Name, c.identity)
	}
	if rs.ranked {
		fmt.Fprint(h, "ranked")
	}
	return [16]byte(h.Sum(nil))
}

// loadSegments finds which of the configured segments have their members in the
// store, and what is to be built.
func (d *DB) loadSegments(defs []Definition) error {
	l := &d.live
	var err error
	if l.next, err = d.compileAll(defs); err != nil {
		return err
	}
	if l.checkpoint, err = d.store.Checkpoint(); err != nil {
		return err
	}
	old, err := d.store.Segments()
	if err != nil {
		return err
	}
	kept, err := d.store.Kept()
	if err != nil {
		return err
	}
	l.keep(kept)
	defer l.refeed()
	if l.current, err = d.restore(old); err != nil {
		return err
	}
	if err := d.loadTallies(); err != nil {
		return err
	}
	if err := d.loadRanks(); err != nil {
		return err
	}
	if err := d.countAgain(); err != nil {
		return err
	}
	build, found, err := d.store.Building()
	if err != nil {
		return err
	}
	judged, err := d.store.Judged()
	if err != nil {
		return err
	}
	plan := d.plan(l.next)
	if !found && judged == plan && l.next.lacking(l.feeds.kept) == nil && l.adopt() {
		return d.loadMembers()
	}
	if !found || build.Plan != plan {
		build.Plan, build.Cursor = plan, 0
		build.Generation++
		for i := range old {
			build.Generation = max(build.Generation, old[i].Generation+1)
		}
	}
	l.build = build
	if err := d.prepareBuild(old); err != nil {
		return err
	}
	return d.loadMembers()
}

// restore compiles the segments whose members are in the store, as they were
// defined then, in the order that is configured now.
func (d *DB) restore(old []store.Segment) (*ruleset, error) {
	next := d.live.next
	old = slices.Clone(old)
	slices.SortStableFunc(old, func(a, b store.Segment) int { return cmp.Compare(next.find(a.Name), next.find(b.Name)) })
	defs := make([]Definition, 0, len(old))
	for i := range old {
		x := &old[i]
		def := Definition{Name: x.Name, Version: x.Version, Where: x.Where, Include: x.Include, Exclude: x.Exclude, Stage: x.Stage}
		if at := next.find(x.Name); at >= 0 {
			def.Order = next.list[at].def.Order
		}
		defs = append(defs, def)
	}
	rs, err := d.compileAll(defs)
	if err != nil {
		return nil, err
	}
	var what rule.Change
	for i := range rs.list {
		c := &rs.list[i]
		for j := range old {
			if x := &old[j]; x.Name == c.def.Name {
				if c.rule != nil && c.identity != x.Identity && slices.Contains(c.rule.Reads(), "stage") {
					what.Segments = append(what.Segments, i)
				}
				c.roster = newRoster(x.ID, x.Generation)
				c.roster.since = x.Since
				c.identity = x.Identity
			}
		}
		at := next.find(c.def.Name)
		c.removed = at < 0
		switch {
		case c.removed:
		case next.list[at].err != nil: // what does not compile has no members, at once
			c.rule, c.err = nil, next.list[at].err
		case c.err != nil: // the old rule reads what is no longer declared
			c.frozen, c.err = true, nil
		}
	}
	rs.freezeStaged(what)
	d.live.freeze(rs)
	return rs, nil
}

// freezeStaged leaves the members of segments as they are that read the stage,
// where it would follow from segments in another order than their members do. What
// can be asked is chosen afterwards.
func (rs *ruleset) freezeStaged(what rule.Change) {
	for _, i := range append(what.Segments, rs.set.Affected(what)...) {
		if c := &rs.list[i]; c.rule != nil {
			c.rule, c.frozen = nil, true
		}
	}
}

// adopt makes the configured segments those that mail goes by, if the members of
// all of them are stored.
func (l *live) adopt() bool {
	if _, counted := l.phase(); !counted {
		return false
	}
	for i := range l.next.list {
		at := l.current.find(l.next.list[i].def.Name)
		if at < 0 {
			return false
		}
		l.next.list[i].roster = l.current.list[at].roster
	}
	l.current, l.next = l.next, nil
	return true
}

// prepareBuild gives each segment that is to be built a set of members to fill, under
// the id that its name has.
func (d *DB) prepareBuild(old []store.Segment) error {
	l := &d.live
	last, err := d.store.SegmentIDs()
	if err != nil {
		return err
	}
	b := d.store.Batch()
	defer b.Close()
	for i := range l.next.list {
		c := &l.next.list[i]
		c.roster = nil
		id := uint32(0)
		for j := range old {
			if old[j].Name != c.def.Name {
				continue
			}
			id = old[j].ID
			was := &l.current.list[l.current.find(c.def.Name)]
			if was.rule == nil { // nobody keeps its members true from now on
				old[j].Identity = [16]byte{}
				b.Segment(&old[j])
			}
			if old[j].Identity == c.identity {
				c.roster = was.roster
			}
		}
		if id == 0 {
			last++
			id = last
		}
		if c.roster == nil {
			c.roster = newRoster(id, l.build.Generation)
		}
	}
	l.prune(b)
	b.Build(l.build)
	return b.Settle()
}

// loadMembers reads the stored members, and forgets those of no segment.
func (d *DB) loadMembers() error {
	l := &d.live
	type place struct{ segment, generation uint32 }
	rosters := map[place]*roster{}
	building := map[uint32]*roster{}
	for _, rs := range []*ruleset{l.current, l.next} {
		if rs == nil {
			continue
		}
		for i := range rs.list {
			if r := rs.list[i].roster; r != nil {
				rosters[place{r.id, r.generation}] = r
				if r.generation == l.build.Generation {
					building[r.id] = r
				}
			}
		}
	}
	b := d.store.Batch()
	defer b.Close()
	err := d.store.Chunks(func(c store.Chunk, value []byte) error {
		r := rosters[place{c.Segment, c.Generation}]
		if r == nil {
			b.Members(c, nil)
			return nil
		}
		return r.load(value)
	})
	if err != nil {
		return err
	}
	// A change behind the cursor is younger than the stored members; the pass
	// comes yet to what lies before it, and must not meet an old one there.
	err = d.store.Deltas(func(segment uint32, contact uint64, in bool) error {
		r := building[segment]
		if l.next == nil || r == nil || contact > l.build.Cursor {
			b.DeleteDelta(segment, contact)
			return nil
		}
		r.put(contact, in)
		return nil
	})
	if err != nil {
		return err
	}
	if err := b.Settle(); err != nil {
		return err
	}
	return d.replay()
}
