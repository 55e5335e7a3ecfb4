// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"encoding/binary"
	"errors"

	"github.com/seguemta/segue/segment/store"
)

// takenFilter knows in memory which message ids a day may have: nearly every call
// is new, and asking the store for each of the days costs more than all else
// that a call needs. It may say yes for nothing, never no for nothing. Who uses it
// holds d.write.
//
// The first call after a start reads takenRead ids of each day. The rest is read by
// [DB.Run], takenStep at a time; until then each id may be one of that day.
type takenFilter struct {
	days map[uint32]*takenDay
}

// takenDay is Bloom filters, each 16 times the size of the one before, of which the
// last takes what is added. The bits of one id lie in one cache line.
type takenDay struct {
	layers [][]uint64
	n      int               // ids in the last layer
	all    bool              // not all that the store has are read: each may be there
	read   store.MessageHash // the last that was, in the order of the store
}

const (
	takenLine  = 8       // words of a cache line: one bit of each
	takenFirst = 1 << 13 // words of the first layer: 64 KiB
	takenLast  = 1 << 21 // of the last: 16 MiB; with 8,000,000 ids one in 1,000 is looked up for nothing
	takenShare = 4       // ids for each word
	takenRead  = 20_000  // ids of a day that the first call waits for
	takenStep  = 5_000   // ids that are read in one go after that: other writers wait for it
)

// places yields the words of an id in a layer, and its bit in each.
func places(layer []uint64, h store.MessageHash) func(yield func(word *uint64, bit uint64) bool) {
	line := binary.LittleEndian.Uint64(h[:]) % uint64(len(layer)/takenLine) * takenLine
	which := binary.LittleEndian.Uint64(h[8:])
	return func(yield func(word *uint64, bit uint64) bool) {
		for n := range uint64(takenLine) {
			if !yield(&layer[line+n], 1<<(which>>(6*n)&63)) {
				return
			}
		}
	}
}

func (t *takenDay) add(h store.MessageHash) {
	size := takenFirst
	if n := len(t.layers); n > 0 {
		size = len(t.layers[n-1])
		if t.n == size*takenShare && size < takenLast {
			size, t.n = size*16, 0
		}
	}
	if t.n == 0 {
		t.layers = append(t.layers, make([]uint64, size))
	}
	for word, bit := range places(t.layers[len(t.layers)-1], h) {
		*word |= bit
	}
	t.n++
}

func (t *takenDay) has(h store.MessageHash) bool {
	for _, layer := range t.layers {
		found := true
		for word, bit := range places(layer, h) {
			if found = *word&bit != 0; !found {
				break
			}
		}
		if found {
			return true
		}
	}
	return t.all
}

// day returns the filter of a day; the first time it reads what the store has.
func (f *takenFilter) day(s *store.Store, day uint32) (*takenDay, error) {
	if t, ok := f.days[day]; ok {
		return t, nil
	}
	t := &takenDay{}
	if err := t.fill(s, day, takenRead); err != nil {
		return nil, err
	}
	for old := range f.days {
		if old+takenDays < day {
			delete(f.days, old)
		}
	}
	if f.days == nil {
		f.days = map[uint32]*takenDay{}
	}
	f.days[day] = t
	return t, nil
}

// fill adds up to limit of the ids that the store has. Fewer are the last: those that
// came since are in the filter.
func (t *takenDay) fill(s *store.Store, day uint32, limit int) error {
	n := 0
	err := s.TakenOn(day, t.read, func(h store.MessageHash) error {
		t.add(h)
		t.read = h
		if n++; n == limit {
			return errEnough
		}
		return nil
	})
	if t.all = errors.Is(err, errEnough); t.all {
		return nil
	}
	return err
}

// fillTaken reads the next message ids into the filter of a day that lacks some,
// and reports whether there may be more.
func (d *DB) fillTaken() (bool, error) {
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return false, errClosed
	}
	for day, of := range d.taken.days {
		if !of.all {
			continue
		}
		if err := of.fill(d.store, day, takenStep); err != nil {
			return false, err
		}
		return true, nil
	}
	return false, nil
}
