// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"math"
)

// SoftBounces is a run of bounces with verdict "count" of one contact. Times are
// seconds since 1970.
type SoftBounces struct {
	Score    float64 // as of Last: each bounce added 1, and decayed since
	First    uint32  // when the run began; 0 = it has no bounce yet
	Last     uint32
	Deferred uint32 // when mail was last deferred with that verdict
}

// Append appends the record's binary form.
func (s *SoftBounces) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, layout), math.Float64bits(s.Score))
	for _, v := range []uint32{s.First, s.Last, s.Deferred} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	return b
}

// DecodeSoftBounces reads what [SoftBounces.Append] wrote. Errors wrap [ErrCorrupt].
func DecodeSoftBounces(value []byte) (SoftBounces, error) {
	r := newReader(value)
	var s SoftBounces
	if len(r.rest) < 8 {
		r.fail()
	} else {
		s.Score = math.Float64frombits(binary.BigEndian.Uint64(r.rest))
		r.rest = r.rest[8:]
	}
	if math.IsNaN(s.Score) || math.IsInf(s.Score, 0) || s.Score < 0 {
		r.fail()
	}
	s.First, s.Last, s.Deferred = r.uint32(), r.uint32(), r.uint32()
	return s, r.done("soft bounces")
}

// SoftBounces writes the run of a contact; nil removes it.
func (b *Batch) SoftBounces(id uint64, s *SoftBounces) {
	if s == nil {
		b.delete(keyID(prefixSoft, id))
		return
	}
	b.buf = s.Append(b.buf[:0])
	b.set(keyID(prefixSoft, id), b.buf)
}

// EachSoftBounces yields the runs of all contacts in the order of ids.
func (s *Store) EachSoftBounces(fn func(id uint64, x SoftBounces) error) error {
	return walk(s, shelf{prefixSoft, "soft bounces of contact", "soft bounces"}, 0, DecodeSoftBounces, fn)
}
