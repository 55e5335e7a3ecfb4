// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Trail reads contacts in the order of their ids, and what belongs to them, much
// faster than one by one. Each kind of record is opened when it is first asked for, as
// it is at that moment. What is returned is valid until the next call.
type Trail struct {
	s        *Store
	from, to uint64
	key      []byte

	series, events, behaviour, accounts column
}

// column is the records of one kind.
type column struct {
	it    *pebble.Iterator // nil = not opened
	ended bool             // there is nothing behind where it stands
}

// Trail is for contacts from one id up to and including another. It must be closed.
func (s *Store) Trail(from, to uint64) *Trail { return &Trail{s: s, from: from, to: to} }

// Close ends the reading.
func (t *Trail) Close() error {
	var errs []error
	for _, c := range []*column{&t.series, &t.events, &t.behaviour, &t.accounts} {
		if c.it != nil {
			errs = append(errs, c.it.Close())
			c.it = nil
		}
	}
	return errors.Join(errs...)
}

// reach moves a column to the first record of a contact, or behind it where there
// is none, and reports whether it is there.
func (t *Trail) reach(c *column, prefix string, id uint64) (bool, error) {
	if c.it == nil {
		if err := t.open(c, keyID(prefix, t.from), keyID(prefix, t.to+1)); err != nil {
			return false, err
		}
	}
	t.key = binary.BigEndian.AppendUint64(append(t.key[:0], prefix...), id)
	if at := c.it.Valid() && bytes.Compare(c.it.Key(), t.key) >= 0; !at && !c.ended {
		// Most often, it is the next one.
		c.ended = (!c.it.Valid() || !c.it.Next() || bytes.Compare(c.it.Key(), t.key) < 0) && !c.it.SeekGE(t.key)
	}
	return !c.ended && bytes.HasPrefix(c.it.Key(), t.key), c.it.Error()
}

func (t *Trail) open(c *column, lower, upper []byte) error {
	var err error
	if c.it, err = t.s.from.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper}); err != nil {
		return fmt.Errorf("reading what belongs to contacts: %w", err)
	}
	return nil
}

// value is that of a contact's only record in a column, nil where there is none.
func (t *Trail) value(c *column, prefix string, id uint64) ([]byte, error) {
	if there, err := t.reach(c, prefix, id); !there || err != nil {
		return nil, err
	}
	return c.it.ValueAndErr()
}

// Series returns the series of a contact.
func (t *Trail) Series(contact uint64) ([]Series, error) {
	v, err := t.value(&t.series, prefixSeries, contact)
	if v == nil || err != nil {
		return nil, err
	}
	list, err := DecodeSeries(v)
	if err != nil {
		return nil, fmt.Errorf("contact %d: %w", contact, err)
	}
	return list, nil
}

// Behaviour is [Store.Behaviour].
func (t *Trail) Behaviour(contact uint64) (Behaviour, bool, error) {
	v, err := t.value(&t.behaviour, prefixBehaviour, contact)
	return behaviour(v, contact, err)
}

// Events yields the events of a contact, oldest first.
func (t *Trail) Events(contact uint64, fn func(e Event) error) error {
	there, err := t.reach(&t.events, prefixEvent, contact)
	if err != nil {
		return err
	}
	p := bytes.Clone(t.key)
	for it := t.events.it; there; there = it.Next() && bytes.HasPrefix(it.Key(), p) {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		k, err := decodeEventKey(it.Key())
		if err != nil {
			return err
		}
		e, err := decodeEvent(v)
		if err != nil {
			return fmt.Errorf("event of contact %d: %w", contact, err)
		}
		e.Time = k.Time
		if err := fn(e); err != nil {
			return err
		}
	}
	return t.events.it.Error()
}

// Account returns an account; false if there is none. Contacts name accounts in any
// order; where they name neighbours, as an import makes them, that is used.
func (t *Trail) Account(id uint64) (Account, bool, error) {
	c := &t.accounts
	if c.it == nil {
		p := []byte(prefixAccount)
		if err := t.open(c, p, after(p)); err != nil {
			return Account{}, false, err
		}
	}
	t.key = binary.BigEndian.AppendUint64(append(t.key[:0], prefixAccount...), id)
	is := func() bool { return c.it.Valid() && bytes.Equal(c.it.Key(), t.key) }
	there := is() || c.it.Valid() && c.it.Next() && is() || c.it.SeekGE(t.key) && is()
	if !there {
		return Account{}, false, c.it.Error()
	}
	v, err := c.it.ValueAndErr()
	if err != nil {
		return Account{}, false, err
	}
	a, err := DecodeAccount(v)
	return a, err == nil, err
}
