// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bytes"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/seguemta/segue/segment/store"
)

// maxSet bounds the stored form of a set: of 2^32 contacts it is no longer.
const maxSet = 1 << 30

// Set is some contacts, by their ids: an eighth of an octet each where they are many, two
// octets where they are few. The zero Set is empty. It is not to be changed while others read it.
type Set struct{ bits *roaring.Bitmap }

// MemberSet is who is in a segment now; nobody is in one that there is not.
func (d *DB) MemberSet(name string) Set {
	d.live.mu.RLock()
	defer d.live.mu.RUnlock()
	at := d.live.current.find(name)
	if at < 0 || d.live.current.list[at].roster == nil {
		return Set{}
	}
	return Set{d.live.current.list[at].roster.bits.Clone()}
}

// Has reports whether a contact is one of them.
func (s Set) Has(contact uint64) bool {
	return s.bits != nil && s.bits.Contains(bit(contact))
}

// Len is how many they are.
func (s Set) Len() int {
	if s.bits == nil {
		return 0
	}
	return int(s.bits.GetCardinality()) //nolint:gosec // at most 2^32
}

// With is s and some more.
func (s Set) With(contacts []uint64) Set {
	next := Set{roaring.New()}
	if s.bits != nil {
		next.bits = s.bits.Clone()
	}
	for _, id := range contacts {
		next.bits.Add(bit(id))
	}
	return next
}

// AppendTo adds them to a list, in order.
func (s Set) AppendTo(list []uint64) []uint64 {
	if s.bits == nil {
		return list
	}
	for it := s.bits.Iterator(); it.HasNext(); {
		list = append(list, uint64(it.Next()))
	}
	return list
}

// Encode is the stored form.
func (s Set) Encode() ([]byte, error) {
	bits := s.bits
	if bits == nil {
		bits = roaring.New()
	}
	b, err := bits.ToBytes()
	if err != nil {
		return nil, fmt.Errorf("storing a set of contacts: %w", err)
	}
	return b, nil
}

// DecodeSet reads the stored form.
func DecodeSet(b []byte) (Set, error) {
	bits := roaring.New()
	err := func() error {
		if len(b) > maxSet {
			return fmt.Errorf("%d octets, at most %d", len(b), maxSet)
		}
		n, err := bits.ReadFrom(bytes.NewReader(b))
		switch {
		case err != nil:
			return err
		case n != int64(len(b)):
			return fmt.Errorf("%d octets behind it", int64(len(b))-n)
		}
		return inOrder(bits, false)
	}()
	if err != nil {
		return Set{}, fmt.Errorf("%w: a set of contacts: %w", store.ErrCorrupt, err)
	}
	return Set{bits}, nil
}
