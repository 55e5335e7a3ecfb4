// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Series is what a contact's events of one kind left behind. The kind is known
// by its key; the data is a series of package rule, which this package does not
// open.
type Series struct {
	Key  [16]byte
	Data []byte
}

// Compare is the order of series in a record.
func (s Series) Compare(key [16]byte) int { return bytes.Compare(s.Key[:], key[:]) }

// AppendSeries appends the record of a contact's series, which are in the order
// of their keys.
func AppendSeries(b []byte, list []Series) []byte {
	b = binary.AppendUvarint(append(b, layout), uint64(len(list)))
	for i := range list {
		b = append(b, list[i].Key[:]...)
		b = appendBytes(b, list[i].Data)
	}
	return b
}

// DecodeSeries reads what [AppendSeries] wrote. Data is a part of value, not a copy.
func DecodeSeries(value []byte) ([]Series, error) {
	r := newReader(value)
	n := r.count()
	list := make([]Series, 0, min(n, len(r.rest)/len(Series{}.Key)))
	for range n {
		var s Series
		if len(r.rest) < len(s.Key) {
			r.fail()
			break
		}
		r.rest = r.rest[copy(s.Key[:], r.rest):]
		s.Data = r.bytes()
		if k := len(list); k > 0 && list[k-1].Compare(s.Key) >= 0 {
			r.fail()
			break
		}
		list = append(list, s)
	}
	if err := r.done("series"); err != nil {
		return nil, err
	}
	return list, nil
}

// SeriesOf returns the series of a contact, in the order of their keys.
func (s *Store) SeriesOf(contact uint64) ([]Series, error) {
	v, err := s.record(keyID(prefixSeries, contact))
	if v == nil || err != nil {
		return nil, err
	}
	list, err := DecodeSeries(v)
	if err != nil {
		return nil, fmt.Errorf("contact %d: %w", contact, err)
	}
	return list, nil
}

// Series writes the series of a contact, which are in the order of their keys.
func (b *Batch) Series(contact uint64, list []Series) {
	if len(list) == 0 {
		b.delete(keyID(prefixSeries, contact))
		return
	}
	b.buf = AppendSeries(b.buf[:0], list)
	b.set(keyID(prefixSeries, contact), b.buf)
}

// DropSeries removes the series of all contacts.
func (b *Batch) DropSeries() {
	p := []byte(prefixSeries)
	b.err = errors.Join(b.err, b.b.DeleteRange(p, after(p), nil))
}

// Kept writes the keys of the series that are complete in every record.
func (b *Batch) Kept(keys [][16]byte) { b.set(key(prefixMeta, metaKept), slices.Concat(flat(keys)...)) }

func flat(keys [][16]byte) (list [][]byte) {
	for i := range keys {
		list = append(list, keys[i][:])
	}
	return list
}

// Kept returns the keys of the series that are complete in every record.
func (s *Store) Kept() ([][16]byte, error) {
	v, err := s.get(key(prefixMeta, metaKept))
	if err != nil {
		return nil, err
	}
	if len(v)%16 != 0 {
		return nil, fmt.Errorf("%w: keys of series", ErrCorrupt)
	}
	var keys [][16]byte
	for k := range slices.Chunk(v, 16) {
		keys = append(keys, [16]byte(k))
	}
	return keys, nil
}
