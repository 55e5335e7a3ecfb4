// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"fmt"
)

// HeldKey names what one contact did with one message, by a hash of the
// message's id.
type HeldKey struct {
	Contact uint64
	Message [16]byte
}

// HeldDue is an entry of the wheel of held opens and clicks: at that second they
// are looked at again.
type HeldDue struct {
	Second uint32
	HeldKey
}

func (k HeldKey) append(b []byte) []byte {
	return append(binary.BigEndian.AppendUint64(b, k.Contact), k.Message[:]...)
}

func decodeHeldKey(b []byte) (k HeldKey, ok bool) {
	if len(b) != 24 {
		return k, false
	}
	return HeldKey{binary.BigEndian.Uint64(b), [16]byte(b[8:])}, true
}

func keyHeld(k HeldKey) []byte { return k.append([]byte(prefixHeld)) }

func keyHeldDue(d HeldDue) []byte {
	return d.append(binary.BigEndian.AppendUint32([]byte(prefixHeldDue), d.Second))
}

// Held is what is held, and remembered, of a message, and the second at which it
// is looked at again: the only entry of the wheel that counts. This package does
// not open the hits.
type Held struct {
	Due  uint32
	Hits []byte
}

// Append appends the record's binary form.
func (h *Held) Append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, layout), uint64(h.Due))
	return appendBytes(b, h.Hits)
}

// DecodeHeld reads what [Held.Append] wrote. The hits are a part of value, not a
// copy. Errors wrap [ErrCorrupt].
func DecodeHeld(value []byte) (Held, error) {
	r := newReader(value)
	h := Held{Due: r.uint32()}
	h.Hits = r.bytes()
	return h, r.done("held opens and clicks")
}

// Held returns what is held of a message; false if nothing is.
func (s *Store) Held(k HeldKey) (Held, bool, error) {
	v, err := s.get(keyHeld(k))
	if v == nil || err != nil {
		return Held{}, false, err
	}
	h, err := DecodeHeld(v)
	if err != nil {
		return h, false, fmt.Errorf("contact %d: %w", k.Contact, err)
	}
	return h, true, nil
}

// HeldOf calls fn with every message of which something of a contact is held.
func (s *Store) HeldOf(contact uint64, fn func(HeldKey) error) error {
	p := keyID(prefixHeld, contact)
	for e, err := range s.scan(p, after(p)) {
		if err != nil {
			return fmt.Errorf("reading held opens and clicks: %w", err)
		}
		k, ok := decodeHeldKey(e.key[len(prefixHeld):])
		if !ok {
			return fmt.Errorf("%w: key of held opens and clicks", ErrCorrupt)
		}
		if err := fn(k); err != nil {
			return err
		}
	}
	return nil
}

// HeldDue calls fn with every entry of the wheel up to and including a second,
// the oldest first. What was looked at is deleted; begin at the second reached,
// so that the deleted ones are not met again.
func (s *Store) HeldDue(from, through uint32, fn func(HeldDue) error) error {
	p := []byte(prefixHeldDue)
	upper := after(p)
	if through < 1<<32-1 {
		upper = binary.BigEndian.AppendUint32([]byte(prefixHeldDue), through+1)
	}
	for e, err := range s.scan(binary.BigEndian.AppendUint32([]byte(prefixHeldDue), from), upper) {
		if err != nil {
			return fmt.Errorf("reading when held opens and clicks are due: %w", err)
		}
		rest := e.key[len(p):]
		k, ok := HeldKey{}, len(rest) > 4
		if ok {
			k, ok = decodeHeldKey(rest[4:])
		}
		if !ok {
			return fmt.Errorf("%w: key of the wheel of held opens and clicks", ErrCorrupt)
		}
		if err := fn(HeldDue{binary.BigEndian.Uint32(rest), k}); err != nil {
			return err
		}
	}
	return nil
}

// Gateway returns what is known of the gateway of a recipient domain, nil if
// nothing is.
func (s *Store) Gateway(domain string) ([]byte, error) { return s.get(key(prefixGateway, domain)) }

// Held writes what is held of a message.
func (b *Batch) Held(k HeldKey, h *Held) {
	b.buf = h.Append(b.buf[:0])
	b.set(keyHeld(k), b.buf)
}

// DeleteHeld removes it.
func (b *Batch) DeleteHeld(k HeldKey) { b.delete(keyHeld(k)) }

// HeldDue writes an entry of the wheel.
func (b *Batch) HeldDue(d HeldDue) { b.set(keyHeldDue(d), nil) }

// DeleteHeldDue removes an entry of the wheel.
func (b *Batch) DeleteHeldDue(d HeldDue) { b.delete(keyHeldDue(d)) }

// Gateway writes what is known of the gateway of a recipient domain.
func (b *Batch) Gateway(domain string, value []byte) { b.set(key(prefixGateway, domain), value) }
