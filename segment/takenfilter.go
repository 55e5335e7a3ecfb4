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
type takenFilter struct {
	days map[uint32]*takenDay
}

// takenDay is Bloom filters, each 16 times the size of the one before, of which the
// last takes what is added. The bits of one id lie in one cache line.
type takenDay struct {
	layers [][]uint64
	n      int  // ids in the last layer
	all    bool // the store had too many at the start: each may be there
}

const (
	takenLine  = 8       // words of a cache line: one bit of each
	takenFirst = 1 << 13 // words of the first layer: 64 KiB
	takenLast  = 1 << 21 // of the last: 16 MiB; with 8,000,000 ids one in 1,000 is looked up for nothing
	takenShare = 4       // ids for each word
	takenRead  = 200_000 // ids of a day that are read at the start
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
	t, n := &takenDay{}, 0
	err := s.TakenOn(day, func(h store.MessageHash) error {
		if n++; n > takenRead {
			return errEnough
		}
		t.add(h)
		return nil
	})
	if t.all = errors.Is(err, errEnough); err != nil && !t.all {
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
