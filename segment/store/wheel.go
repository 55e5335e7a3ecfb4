// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"fmt"
)

// Due is an entry of the wheel: at that second a contact is looked at again.
type Due struct {
	Second  uint32
	Contact uint64
}

func (d Due) append(k []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(k, d.Second), d.Contact)
}

func decodeDue(k []byte) (Due, bool) {
	if len(k) != 12 {
		return Due{}, false
	}
	return Due{binary.BigEndian.Uint32(k), binary.BigEndian.Uint64(k[4:])}, true
}

func keyDue(d Due) []byte {
	return d.append(append(make([]byte, 0, len(prefixWheel)+12), prefixWheel...))
}

// Wheel yields every entry behind one, up to and including a second, in order.
func (s *Store) Wheel(behind Due, through uint32, fn func(Due) error) error {
	p := []byte(prefixWheel)
	upper := after(p)
	if through < 1<<32-1 {
		upper = keyDue(Due{Second: through + 1})
	}
	for e, err := range s.scan(append(keyDue(behind), 0), upper) {
		if err != nil {
			return fmt.Errorf("reading the time wheel: %w", err)
		}
		d, ok := decodeDue(e.key[len(p):])
		if !ok {
			return fmt.Errorf("%w: entry of the time wheel", ErrCorrupt)
		}
		if err := fn(d); err != nil {
			return err
		}
	}
	return nil
}

// Due writes an entry of the wheel.
func (b *Batch) Due(d Due) { b.set(keyDue(d), nil) }

// DeleteDue removes an entry of the wheel.
func (b *Batch) DeleteDue(d Due) { b.delete(keyDue(d)) }

// Turned writes the entry up to which the wheel has been turned.
func (b *Batch) Turned(d Due) { b.set(key(prefixMeta, metaWheel), d.append(nil)) }

// Turned returns the entry up to which the wheel has been turned.
func (s *Store) Turned() (Due, error) {
	v, err := s.get(key(prefixMeta, metaWheel))
	if v == nil || err != nil {
		return Due{}, err
	}
	d, ok := decodeDue(v)
	if !ok {
		return Due{}, fmt.Errorf("%w: place in the time wheel", ErrCorrupt)
	}
	return d, nil
}
