// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"fmt"
)

// Counted is a condition about the contacts of accounts, of which the store holds
// the edges that it holds for.
type Counted struct {
	Identity [16]byte // of everything that decides which these are
	ID       uint32   // in keys
	Built    bool     // all edges were asked
}

// Edge chunks and changes of edges are keyed as those of the members of a
// segment are, without a generation: a condition that is another one has
// another id.
func keyEdges(id uint32, number uint16) []byte {
	k := append(make([]byte, 0, len(prefixCountedEdges)+6), prefixCountedEdges...)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(k, id), number)
}

// Counted returns every condition about contacts that the store knows.
func (s *Store) Counted() ([]Counted, error) {
	var list []Counted
	p := []byte(prefixCounted)
	for e, err := range s.scan(p, after(p)) {
		if err != nil {
			return nil, fmt.Errorf("reading conditions about contacts: %w", err)
		}
		k := e.key[len(p):]
		if len(k) != 16 {
			return nil, fmt.Errorf("%w: condition about contacts", ErrCorrupt)
		}
		r := newReader(e.value)
		x := Counted{Identity: [16]byte(k), ID: r.uint32(), Built: r.byte() == 1}
		if err := r.done("condition about contacts"); err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	return list, nil
}

// CountedEdges yields the stored edges of every condition. The value is valid
// until fn returns.
func (s *Store) CountedEdges(fn func(id uint32, number uint16, value []byte) error) error {
	p := []byte(prefixCountedEdges)
	for e, err := range s.scan(p, after(p)) {
		if err != nil {
			return fmt.Errorf("reading the edges of conditions: %w", err)
		}
		k := e.key[len(p):]
		if len(k) != 6 || len(e.value) < 1 || e.value[0] != layout {
			return fmt.Errorf("%w: edges of a condition", ErrCorrupt)
		}
		if err := fn(binary.BigEndian.Uint32(k), binary.BigEndian.Uint16(k[4:]), e.value[1:]); err != nil {
			return err
		}
	}
	return nil
}

// CountedChanges yields what changed since the edges were stored.
func (s *Store) CountedChanges(fn func(id uint32, edge uint64, in bool) error) error {
	return s.changes(shelf{prefixCountedChange, "change of a condition", "changes of conditions"}, fn)
}

// Edges yields every edge, account by account.
func (s *Store) Edges(fn func(account, edge uint64) error) error {
	p := []byte(prefixEdge)
	for e, err := range s.scan(p, after(p)) {
		if err != nil {
			return fmt.Errorf("reading the contacts of accounts: %w", err)
		}
		k := e.key[len(p):]
		if len(k) != 16 || len(e.value) != 8 {
			return fmt.Errorf("%w: contact of an account", ErrCorrupt)
		}
		if err := fn(binary.BigEndian.Uint64(k), binary.BigEndian.Uint64(e.value)); err != nil {
			return err
		}
	}
	return nil
}

// Counted writes a condition about contacts.
func (b *Batch) Counted(x Counted) {
	built := byte(0)
	if x.Built {
		built = 1
	}
	v := binary.AppendUvarint([]byte{layout}, uint64(x.ID))
	b.set(key(prefixCounted, string(x.Identity[:])), append(v, built))
}

// DeleteCounted forgets a condition. What is left of its edges goes at the next
// open, when nobody knows their id.
func (b *Batch) DeleteCounted(identity [16]byte) { b.delete(key(prefixCounted, string(identity[:]))) }

// CountedEdges writes a chunk of edges; a nil value says that there are none.
func (b *Batch) CountedEdges(id uint32, number uint16, value []byte) {
	if value == nil {
		b.delete(keyEdges(id, number))
		return
	}
	b.buf = append(append(b.buf[:0], layout), value...)
	b.set(keyEdges(id, number), b.buf)
}

// CountedChange writes that a condition came to hold for an edge, or no longer does.
func (b *Batch) CountedChange(id uint32, edge uint64, in bool) {
	b.change(prefixCountedChange, id, edge, in)
}

// DeleteCountedChange forgets a change that the stored edges include.
func (b *Batch) DeleteCountedChange(id uint32, edge uint64) {
	b.delete(keyChange(prefixCountedChange, id, edge))
}
