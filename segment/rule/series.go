// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// Limits of a [Series].
const (
	MaxEntries  = 2000 // the newest entries; older ones become aggregates
	MaxAccounts = 64   // accounts of which aggregates are kept
)

// Series is what one contact's events of one [SeriesSpec] left behind: the
// newest entries by time, and aggregates of older ones, by account. The zero
// Series is empty. Change it by [Series.Add] and [Series.Decode] only.
type Series struct {
	Entries []Entry
	Dropped []Aggregate

	scoped int // entries with an account
}

// Add takes in an entry. It reports false for one that is there already: same
// time, same hash. One that is older than everything in a full series goes to
// the aggregates, which cannot tell whether it was there; whoever must not count
// it twice looks at the messageId before.
func (s *Series) Add(e Entry) bool {
	if math.IsNaN(e.Value) || math.IsInf(e.Value, 0) {
		return false
	}
	at := len(s.Entries)
	if at > 0 && !s.Entries[at-1].before(&e) { // late: most are not
		var there bool
		at, there = slices.BinarySearchFunc(s.Entries, e, func(a, b Entry) int {
			switch {
			case a.before(&b):
				return -1
			case b.before(&a):
				return 1
			default:
				return 0
			}
		})
		if there {
			return false
		}
	}
	if len(s.Entries) == MaxEntries && at == 0 {
		return s.drop(&e)
	}
	s.Entries = slices.Insert(s.Entries, at, e)
	if e.Account != 0 {
		s.scoped++
	}
	if len(s.Entries) > MaxEntries {
		if s.Entries[0].Account != 0 {
			s.scoped--
		}
		s.drop(&s.Entries[0])
		s.Entries = slices.Delete(s.Entries, 0, 1)
	}
	return true
}

// drop moves an entry to the aggregate of its account. Of accounts beyond the
// limit nothing is kept: a sender of events must not make a record grow for ever.
func (s *Series) drop(e *Entry) bool {
	i, found := slices.BinarySearchFunc(s.Dropped, e.Account, func(a Aggregate, account uint64) int {
		switch {
		case a.Account < account:
			return -1
		case a.Account > account:
			return 1
		default:
			return 0
		}
	})
	if !found {
		if len(s.Dropped) == MaxAccounts {
			return false
		}
		s.Dropped = slices.Insert(s.Dropped, i, Aggregate{})
	}
	s.Dropped[i].add(e)
	return true
}

// Reset empties the series and keeps its room.
func (s *Series) Reset() { s.Entries, s.Dropped, s.scoped = s.Entries[:0], s.Dropped[:0], 0 }

// seriesVersion is the first byte of a series written by [Series.Append].
const seriesVersion = 1

// Append appends the binary form: entries by their distance in time.
func (s *Series) Append(dst []byte) []byte {
	dst = append(dst, seriesVersion)
	dst = binary.AppendUvarint(dst, uint64(len(s.Entries)))
	before := int64(0)
	for i := range s.Entries {
		e := &s.Entries[i]
		dst = binary.AppendVarint(dst, e.Time-before)
		dst = binary.LittleEndian.AppendUint32(dst, e.Hash)
		dst = binary.AppendUvarint(dst, e.Account)
		dst = appendDouble(dst, e.Value)
		before = e.Time
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Dropped)))
	for i := range s.Dropped {
		a := &s.Dropped[i]
		dst = binary.AppendUvarint(dst, a.Account)
		dst = binary.AppendUvarint(dst, a.Count)
		for _, n := range [...]float64{a.Sum, a.Min, a.Max} {
			dst = appendDouble(dst, n)
		}
		dst = binary.AppendVarint(dst, a.First)
		dst = binary.AppendVarint(dst, a.Last)
	}
	return dst
}

// appendDouble writes whole small numbers, 0 above all, in few bytes: their
// high bits are set and their low bits are not.
func appendDouble(dst []byte, n float64) []byte {
	return binary.AppendUvarint(dst, bits.ReverseBytes64(math.Float64bits(n)))
}

// Decode reads the binary form from the front of data into s, using its room,
// and returns the rest. After an error the series is empty.
func (s *Series) Decode(data []byte) ([]byte, error) {
	s.Reset()
	r := reader{in: data}
	if r.byte() != seriesVersion {
		r.bad = true
	}
	s.readEntries(&r)
	s.readDropped(&r)
	if r.bad {
		s.Reset()
		return nil, fmt.Errorf("%w: series of at most %d bytes", ErrCorrupt, len(data))
	}
	return r.in, nil
}

func (s *Series) readEntries(r *reader) {
	n := r.count(MaxEntries)
	s.Entries = slices.Grow(s.Entries, n)
	at := int64(0)
	for k := range n {
		by := r.varint()
		e := Entry{Time: at + by, Hash: r.uint32(), Account: r.uvarint(), Value: r.double()}
		overflow := by != 0 && (by > 0) != (e.Time > at)
		if r.bad || overflow || k > 0 && !s.Entries[k-1].before(&e) {
			r.bad = true
			return
		}
		at = e.Time
		if e.Account != 0 {
			s.scoped++
		}
		s.Entries = append(s.Entries, e)
	}
}

func (s *Series) readDropped(r *reader) {
	for k := range r.count(MaxAccounts) {
		a := Aggregate{Account: r.uvarint(), Count: r.uvarint(), Sum: r.double(), Min: r.double(), Max: r.double(), First: r.varint(), Last: r.varint()}
		if r.bad || a.Count == 0 || a.First > a.Last || a.Min > a.Max || k > 0 && s.Dropped[k-1].Account >= a.Account {
			r.bad = true
			return
		}
		s.Dropped = append(s.Dropped, a)
	}
}

// reader reads a series: records of events are read for every event, so it
// makes no strings. After the first fault it stays bad.
type reader struct {
	in  []byte
	bad bool
}

func (r *reader) byte() byte {
	if len(r.in) == 0 {
		r.bad = true
		return 0
	}
	b := r.in[0]
	r.in = r.in[1:]
	return b
}

func (r *reader) uvarint() uint64 {
	if len(r.in) > 0 && r.in[0] < 0x80 { // most are small
		x := r.in[0]
		r.in = r.in[1:]
		return uint64(x)
	}
	x, n := binary.Uvarint(r.in)
	if n <= 0 || n > 1 && r.in[n-1] == 0 { // none, too big, or not the shortest form
		r.bad = true
		return 0
	}
	r.in = r.in[n:]
	return x
}

func (r *reader) varint() int64 {
	zigzag := r.uvarint()
	return int64(zigzag>>1) ^ -int64(zigzag&1)
}

// count reads a number of things, of which each takes some bytes.
func (r *reader) count(most int) int {
	n := r.uvarint()
	if n > uint64(min(most, len(r.in))) { //nolint:gosec // both are small
		r.bad = true
		return 0
	}
	return int(n) //nolint:gosec // at most most
}

func (r *reader) uint32() uint32 {
	if len(r.in) < 4 {
		r.bad = true
		return 0
	}
	x := binary.LittleEndian.Uint32(r.in)
	r.in = r.in[4:]
	return x
}

// double reads a finite number.
func (r *reader) double() float64 {
	n := math.Float64frombits(bits.ReverseBytes64(r.uvarint()))
	if math.IsNaN(n) || math.IsInf(n, 0) {
		r.bad = true
		return 0
	}
	return n
}
