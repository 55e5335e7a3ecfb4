// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"fmt"
)

// IDKind says what kind of id leads to a person.
type IDKind byte

// The kinds of ids, as they stand in keys.
const (
	UserID      IDKind = 'u'
	AnonymousID IDKind = 'o'
)

// PersonID is an id that leads to a contact or a visitor.
type PersonID struct {
	Kind IDKind
	Name string
}

func (p PersonID) key() []byte {
	if p.Kind == AnonymousID {
		return key(prefixByAnonymous, p.Name)
	}
	return key(prefixByUser, p.Name)
}

func keyOwned(id uint64, p PersonID) []byte {
	return append(append(keyID(prefixIDs, id), byte(p.Kind)), p.Name...)
}

// Person returns the contact or visitor that an id leads to, 0 if there is none.
func (s *Store) Person(p PersonID) (uint64, error) { return s.id(p.key()) }

// IDsOf returns the ids that lead to a contact or visitor. User ids that were
// given before there was such a list stand in the record alone.
func (s *Store) IDsOf(id uint64) ([]PersonID, error) {
	var list []PersonID
	p := keyID(prefixIDs, id)
	for e, err := range s.scan(p, after(p)) {
		if err != nil {
			return nil, fmt.Errorf("reading the ids of contact %d: %w", id, err)
		}
		if len(e.key) <= len(p) {
			return nil, fmt.Errorf("%w: id of contact %d", ErrCorrupt, id)
		}
		list = append(list, PersonID{IDKind(e.key[len(p)]), string(e.key[len(p)+1:])})
	}
	return list, nil
}

// Visitor returns the record of a visitor; false if there is none with that id.
func (s *Store) Visitor(id uint64) (Contact, bool, error) {
	v, err := s.record(keyID(prefixVisitor, id))
	if v == nil || err != nil {
		return Contact{}, false, err
	}
	c, err := DecodeContact(v)
	return c, err == nil, err
}

// Visitors yields every visitor from an id on, in the order of ids.
func (s *Store) Visitors(from uint64, fn func(id uint64, c Contact) error) error {
	return walk(s, shelf{prefixVisitor, "visitor", "visitors"}, from, DecodeContact, fn)
}

// ContactsOf yields the contacts of an account, and the ids of their edges, in
// the order of contact ids.
func (s *Store) ContactsOf(account uint64, fn func(contact, edge uint64) error) error {
	p := keyID(prefixEdge, account)
	for e, err := range s.scan(p, after(p)) {
		if err != nil {
			return fmt.Errorf("reading the contacts of account %d: %w", account, err)
		}
		contact, err := idOf(p, e.key)
		if err != nil {
			return err
		}
		if len(e.value) != 8 {
			return fmt.Errorf("%w: edge of account %d", ErrCorrupt, account)
		}
		if err := fn(contact, binary.BigEndian.Uint64(e.value)); err != nil {
			return err
		}
	}
	return nil
}

// Visitor writes the record of a visitor.
func (b *Batch) Visitor(id uint64, c *Contact) {
	b.buf = c.Append(b.buf[:0])
	b.set(keyID(prefixVisitor, id), b.buf)
}

// DeleteVisitor removes the record of a visitor.
func (b *Batch) DeleteVisitor(id uint64) { b.delete(keyID(prefixVisitor, id)) }

// Person makes an id lead to a contact or a visitor, or nowhere (0).
func (b *Batch) Person(p PersonID, id uint64) {
	if id == 0 {
		b.delete(p.key())
		return
	}
	b.setID(p.key(), id)
	b.set(keyOwned(id, p), nil)
}

// Disown removes an id from the list of those that lead to one person. Where it
// leads stays as it is.
func (b *Batch) Disown(p PersonID, id uint64) { b.delete(keyOwned(id, p)) }

// Edge writes that an account has a contact.
func (b *Batch) Edge(account, contact, edge uint64) {
	b.setID(keyPair(prefixEdge, account, contact), edge)
}

// DeleteEdge removes that an account has a contact.
func (b *Batch) DeleteEdge(account, contact uint64) {
	b.delete(keyPair(prefixEdge, account, contact))
}
