// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"errors"
	"math/bits"
	"runtime"
	"sync"
	"time"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// A segment whose definition is new has its members made by one pass over all
// contacts, beside those that mail goes by. The pass makes the members of all
// such segments at once. It reads a window of contacts without the lock, on
// every core, and takes in what it found under the lock; what was written
// meanwhile is judged again. Behind its cursor, writes keep both generations
// true. When it is through, all segments are swapped in one commit. Before that
// pass there is one for each level of new conditions about contacts, which counts
// them; see countsload.go.

const (
	// buildWindow is the contacts of one step: a quarter of a chunk. It is a power
	// of 2, as is buildKept: at its multiples a pass goes on after a restart.
	buildWindow = 1 << 14
	buildKept   = 1 << 16
	// buildAtOnce is up to how many contacts are judged while the store is
	// opened, so that small bases never see a segment that is not there yet.
	buildAtOnce = 20_000
)

// buildStep takes the pass one window on, and swaps at its end. It reports
// whether there is more to do.
func (d *DB) buildStep(ctx context.Context) (bool, error) {
	from, to, err := d.openWindow()
	switch {
	case err != nil || from == 0:
		return false, err
	case to < from:
		return d.endPass()
	}
	parts, err := d.judgeWindow(ctx, from, to)
	if err != nil {
		return false, err
	}
	return true, d.takeWindow(from, to, parts)
}

// openWindow says which contacts come next: from is 0 where nothing is built, and
// to is below it where all are done.
func (d *DB) openWindow() (from, to uint64, err error) {
	d.write.Lock()
	defer d.write.Unlock()
	l := &d.live
	if d.write.closed {
		return 0, 0, errClosed
	}
	if l.next == nil {
		return 0, 0, nil
	}
	size := d.window
	if l.feeds.fresh {
		size = min(size, backfillWindow)
	}
	from = l.build.Cursor + 1
	to = min(from|(size-1), d.write.contacts.next-1)
	l.window, l.missed = to, map[uint64]struct{}{}
	return from, to, nil
}

// found is what one worker found in a part of a window.
type found struct {
	first   uint64
	members []rule.Bits // by segment, from first on; nil for one that is not built
	answers []answer    // where the pass counts contacts
	arms    []armed
	series  []record  // contacts whose series were made
	traced  rule.Bits // from first on, those that have series; nil = nobody looked
	last    uint64
	ranks   []foundRank
}

// ids lists the members of a segment that were found.
func (f *found) ids(i int, to []uint32) []uint32 {
	if f.members == nil {
		return to
	}
	for n, word := range f.members[i] {
		for ; word != 0; word &= word - 1 {
			to = append(to, bit(f.first)+uint32(64*n+bits.TrailingZeros64(word))) //nolint:gosec // see bit
		}
	}
	return to
}

// judgeWindow judges a window of contacts as they are stored, on every core.
func (d *DB) judgeWindow(ctx context.Context, from, to uint64) ([]found, error) {
	workers := uint64(max(runtime.GOMAXPROCS(0), 1))
	parts, errs := make([]found, workers), make([]error, workers)
	now := d.settled()
	size := (to - from + workers) / workers
	var group sync.WaitGroup
	for w := range workers {
		first := from + w*size
		last := min(first+size-1, to)
		if first <= last {
			group.Go(func() { errs[w] = d.judgeRange(ctx, first, last, now, &parts[w]) })
		}
	}
	group.Wait()
	return parts, errors.Join(errs...)
}

func (d *DB) judgeRange(ctx context.Context, first, last uint64, now time.Time, out *found) error {
	rs, generation := d.live.next, d.live.build.Generation
	level, members := d.live.phase()
	out.first, out.last, out.members = first, last, make([]rule.Bits, len(rs.list))
	for _, i := range rs.every {
		if members && rs.list[i].roster.generation == generation {
			out.members[i] = make(rule.Bits, (last-first)/64+1)
		}
	}
	w := d.scan(rs, first, last, now)
	if len(rs.set.Series()) > 0 {
		out.traced = make(rule.Bits, (last-first)/64+1)
		w.traced = func(id uint64) { out.traced.Set(int(id-first), true) } //nolint:gosec // within a window
	}
	w.answers = func(a answer) {
		if !a.x.built {
			out.answers = append(out.answers, a)
		}
	}
	err := w.contacts(func(id uint64) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := out.rank(d, &w.s, w, level); err != nil {
			return err
		}
		next := sooner(w.until, rs.judgeUpTo(&w.s, level))
		if !next.IsZero() {
			out.arms = append(out.arms, armed{id: id, second: deadline(next)})
		}
		out.add(int(id-first), w.s.in) //nolint:gosec // within a window
		return nil
	})
	out.series = w.made
	return errors.Join(err, w.close())
}

// add notes the segments that the nth contact is in.
func (f *found) add(n int, in rule.Bits) {
	for k, word := range in {
		for ; word != 0; word &= word - 1 {
			if members := f.members[k<<6+bits.TrailingZeros64(word)]; members != nil {
				members.Set(n, true)
			}
		}
	}
}

// deadlineOf judges a subject and returns when time alone may change its tier or
// one of the answers.
func (d *DB) deadlineOf(rs *ruleset, s *subject, st *store.State, now time.Time, level int) time.Time {
	next := rs.judgeUpTo(s, level)
	if at, _, ok := d.tiers.NextChange(history(st), now); ok {
		next = sooner(next, at)
	}
	return next
}

// takeWindow takes in what was found, and judges again what was written
// meanwhile.
func (d *DB) takeWindow(from, to uint64, parts []found) error {
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return errClosed
	}
	l := &d.live
	t := d.begin()
	defer t.close()
	t.cause = causeDefinition
	gone := map[uint64]struct{}{}
	for id := range l.missed {
		t.again[id] = false
		if _, known := d.mem.state(id); !known {
			gone[id] = struct{}{}
			continue
		}
		if err := t.backfill(id); err != nil {
			return err
		}
	}
	for _, p := range parts {
		t.armAll(p.arms)
		t.keepAll(p.series)
		if err := t.rankFound(p.ranks); err != nil {
			return err
		}
	}
	l.take(from, to, parts, gone)
	var list []saved
	if to&(d.kept-1) == d.kept-1 { // a chunk is complete
		var err error
		if list, err = l.save(t.b); err != nil {
			return err
		}
	}
	if err := t.commit(); err != nil {
		l.build.Cursor = from - 1
		return err
	}
	for _, x := range list {
		x.stored()
	}
	for k := range parts {
		if p := &parts[k]; p.traced != nil {
			d.mem.untraceBut(p.first, p.last, p.traced, l.missed)
		}
	}
	return nil
}

// armAll sets deadlines that the pass found, where they are sooner.
func (t *tx) armAll(arms []armed) {
	for _, x := range arms {
		have, known := t.d.mem.armed(x.id)
		if !known {
			continue
		}
		a := have
		t.arm(&a, instant(x.second), false)
		if a.second != have.second {
			t.arms = append(t.arms, a)
		}
	}
}

// take replaces the members of a window in what is built. Who is gone was erased
// since they were read.
func (l *live) take(from, to uint64, parts []found, gone map[uint64]struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []uint32
	l.takeAnswers(parts)
	_, members := l.phase()
	for i := range l.next.list {
		r := l.next.list[i].roster
		if !members || r.generation != l.build.Generation {
			continue
		}
		r.bits.RemoveRange(from, to+1)
		for k := range parts {
			ids = parts[k].ids(i, ids[:0])
			r.bits.AddMany(ids)
		}
		for id := range gone {
			r.bits.Remove(bit(id))
		}
		r.dirty[uint16(to>>16)] = struct{}{} //nolint:gosec // ids are below 2^32
	}
	l.build.Cursor, l.window = to, 0
}

// save writes the changed chunks of what is built, and how far it is. The caller
// holds d.write.
func (l *live) save(b *store.Batch) ([]saved, error) {
	var list []saved
	for i := range l.next.list {
		r := l.next.list[i].roster
		if r.generation != l.build.Generation {
			continue
		}
		some, err := r.save(b, 1<<30)
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
	}
	for _, x := range l.counts.list {
		if x.built {
			continue
		}
		some, err := x.save(b, 1<<30)
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
	}
	b.Build(l.build)
	return list, nil
}
