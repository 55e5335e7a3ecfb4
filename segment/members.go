// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/seguemta/segue/segment/store"
)

// roster is the members of one segment under one definition. live.mu guards it.
type roster struct {
	id, generation uint32
	since          uint64 // the flip with which it came to be what mail goes by
	bits           *roaring.Bitmap
	dirty          map[uint16]struct{} // chunks changed since they were stored
}

func newRoster(id, generation uint32) *roster {
	return &roster{id: id, generation: generation, bits: roaring.New(), dirty: map[uint16]struct{}{}}
}

// bit is a contact in a bitmap. Ids are handed out one by one from 1, and a
// contact takes 40 bytes of memory: 2^32 of them fit in no machine.
func bit(id uint64) uint32 { return uint32(id) } //nolint:gosec // see above

// has reports whether a contact is a member; nobody is in a nil roster.
func (r *roster) has(id uint64) bool { return r != nil && r.bits.Contains(bit(id)) }

func (r *roster) put(id uint64, in bool) {
	if in {
		r.bits.Add(bit(id))
	} else {
		r.bits.Remove(bit(id))
	}
	r.dirty[uint16(bit(id)>>16)] = struct{}{}
}

func (r *roster) size() int {
	if r == nil {
		return 0
	}
	return int(r.bits.GetCardinality()) //nolint:gosec // at most 2^32
}

// chunk returns the stored form of a chunk, nil where it has no member.
func (r *roster) chunk(n uint16) ([]byte, error) {
	part := roaring.New()
	part.AddRange(uint64(n)<<16, (uint64(n)+1)<<16)
	part.And(r.bits)
	if part.IsEmpty() {
		return nil, nil
	}
	part.RunOptimize()
	return part.ToBytes()
}

// load takes in a stored chunk.
func (r *roster) load(value []byte) error {
	part := roaring.New()
	if _, err := part.ReadFrom(bytes.NewReader(value)); err != nil {
		return fmt.Errorf("%w: members of segment %d: %w", store.ErrCorrupt, r.id, err)
	}
	if err := inOrder(part, true); err != nil {
		return fmt.Errorf("%w: members of segment %d: %w", store.ErrCorrupt, r.id, err)
	}
	r.bits.Or(part)
	return nil
}

// errOrder says that the members of a chunk are not in order.
var errOrder = errors.New("its runs overlap, are out of order, or leave the chunk")

// inOrder checks members that were read, of one chunk or of many. Validate compares
// each run with every other: a chunk of scattered members has a thousand, and takes
// longer to check than to make anew.
func inOrder(part *roaring.Bitmap, chunk bool) error {
	switch {
	case part.IsEmpty():
		return nil
	case !part.HasRunCompression():
		return part.Validate()
	}
	var page [256]uint32
	last := int64(-1)
	for it := part.ManyIterator(); ; {
		n := it.NextMany(page[:])
		if n == 0 {
			return nil
		}
		for _, id := range page[:n] {
			if int64(id) <= last || chunk && last >= 0 && id>>16 != uint32(last)>>16 {
				return errOrder
			}
			last = int64(id)
		}
	}
}

// saved is a chunk of a roster that a batch stores.
type saved struct {
	r *roster
	n uint16
	x *tally // nil where it is a segment's
}

// save writes up to limit changed chunks.
func (r *roster) save(b *store.Batch, limit int) ([]saved, error) {
	var list []saved
	for n := range r.dirty {
		if len(list) == limit {
			break
		}
		value, err := r.chunk(n)
		if err != nil {
			return list, fmt.Errorf("storing members: %w", err)
		}
		b.Members(store.Chunk{Segment: r.id, Generation: r.generation, Number: n}, value)
		list = append(list, saved{r: r, n: n})
	}
	return list, nil
}

// checkpointChunks bounds the chunks of one batch of a checkpoint: a chunk has
// up to 8 KiB and takes some 10 us.
const checkpointChunks = 256

// checkpoint stores the members that changed, a bounded number under the lock at
// a time, and then the flip that all of them include: the last before it began.
// A chunk may include later ones. That does no harm, and neither does a crash
// half way: a flip says in or out, so repeating those since leads to the same.
func (d *DB) checkpoint() error {
	d.write.Lock()
	through := d.write.flips
	d.write.Unlock()
	for {
		n, err := d.checkpointSome(checkpointChunks, 0)
		if err != nil {
			return err
		}
		if n < checkpointChunks {
			break
		}
	}
	_, err := d.checkpointSome(1<<30, through) // what changed meanwhile, little
	return err
}

// checkpointSome stores up to limit chunks, and with them the flip that all
// stored ones include, if it is given.
func (d *DB) checkpointSome(limit int, through uint64) (int, error) {
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return 0, errClosed
	}
	return d.storeMembers(limit, through)
}

// storeMembers is checkpointSome for who holds d.write.
func (d *DB) storeMembers(limit int, through uint64) (int, error) {
	d.live.mu.Lock()
	defer d.live.mu.Unlock()
	b := d.store.Batch()
	defer b.Close()
	var list []saved
	for _, rs := range []*ruleset{d.live.current, d.live.next} {
		if rs == nil {
			continue
		}
		for i := range rs.list {
			r := rs.list[i].roster
			if r == nil || rs == d.live.next && r.generation == d.live.build.Generation {
				continue // the pass stores what it builds
			}
			some, err := r.save(b, limit-len(list))
			if err != nil {
				return 0, err
			}
			list = append(list, some...)
		}
	}
	for _, y := range d.live.counts.list {
		if !y.built {
			continue // the pass stores what it builds
		}
		some, err := y.save(b, limit-len(list))
		if err != nil {
			return 0, err
		}
		list = append(list, some...)
	}
	if through != 0 {
		b.Checkpoint(through)
		b.Verified(d.live.verifier.cursor)
		d.saveFlows(b)
	}
	if err := b.Settle(); err != nil {
		return 0, err
	}
	for _, x := range list {
		x.stored()
	}
	if through != 0 {
		d.flowsSaved()
		d.live.checkpoint, d.live.unstored = through, 0
		if d.write.flips > through {
			d.live.unstored = through + 1
		}
		return len(list), d.cutFlips(d.live.wanted)
	}
	return len(list), nil
}

// cutFlips removes flips that neither a consumer nor an open of the store needs.
// The caller holds d.write.
func (d *DB) cutFlips(through uint64) error {
	through = min(through, d.write.flips)
	if d.live.unstored != 0 {
		through = min(through, d.live.unstored-1)
	}
	if through <= d.write.cut {
		return nil
	}
	if err := d.store.TruncateFlips(d.write.cut, through); err != nil {
		return err
	}
	d.write.cut = through
	return nil
}

// replay repeats the flips since the last checkpoint.
func (d *DB) replay() error {
	rosters := map[string]*roster{}
	for i := range d.live.current.list {
		if c := &d.live.current.list[i]; c.roster != nil {
			rosters[c.def.Name] = c.roster
		}
	}
	flowed, err := d.store.Flowed()
	if err != nil {
		return err
	}
	at := d.live.checkpoint
	for {
		flips, err := d.store.Flips(at, replayPage)
		if err != nil {
			return err
		}
		for i := range flips {
			f := &flips[i]
			if d.live.unstored == 0 && membership(f) {
				d.live.unstored = f.Sequence
			}
			if f.Sequence > flowed {
				d.recount(f)
			}
			r := rosters[f.Segment]
			if r == nil || f.Sequence <= r.since || !membership(f) {
				continue
			}
			r.put(f.Contact, f.Kind == FlipEntered)
		}
		if len(flips) < replayPage {
			return nil
		}
		at = flips[len(flips)-1].Sequence
	}
}

// membership reports whether a flip changed the members of a segment.
func membership(f *Flip) bool { return f.Kind == FlipEntered || f.Kind == FlipLeft }

// replayPage bounds the flips in memory at a time.
const replayPage = 10_000
