// SPDX-License-Identifier: Apache-2.0

package store

import "fmt"

// Behaviour is what a contact's events were folded into, and the identity of the
// model that did. This package does not open the state.
type Behaviour struct {
	Model [16]byte
	State []byte
}

// Append appends the record's binary form.
func (x *Behaviour) Append(b []byte) []byte {
	b = append(append(b, layout), x.Model[:]...)
	return appendBytes(b, x.State)
}

// DecodeBehaviour reads what [Behaviour.Append] wrote. The state is a part of
// value, not a copy. Errors wrap [ErrCorrupt].
func DecodeBehaviour(value []byte) (Behaviour, error) {
	r := newReader(value)
	var x Behaviour
	for i := range x.Model {
		x.Model[i] = r.byte()
	}
	x.State = r.bytes()
	return x, r.done("behaviour")
}

// Behaviour returns the behaviour of a contact; false where nothing was folded.
func (s *Store) Behaviour(contact uint64) (Behaviour, bool, error) {
	v, err := s.record(keyID(prefixBehaviour, contact))
	return behaviour(v, contact, err)
}

// behaviour is what was read of a contact.
func behaviour(v []byte, contact uint64, err error) (Behaviour, bool, error) {
	if v == nil || err != nil {
		return Behaviour{}, false, err
	}
	x, err := DecodeBehaviour(v)
	if err != nil {
		return x, false, fmt.Errorf("contact %d: %w", contact, err)
	}
	return x, true, nil
}

// Behaviour writes the behaviour of a contact.
func (b *Batch) Behaviour(contact uint64, x *Behaviour) {
	b.buf = x.Append(b.buf[:0])
	b.set(keyID(prefixBehaviour, contact), b.buf)
}

// DeleteBehaviour removes it.
func (b *Batch) DeleteBehaviour(contact uint64) { b.delete(keyID(prefixBehaviour, contact)) }
