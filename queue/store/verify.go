// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Violation is one broken invariant of a store.
type Violation struct {
	Key  string // what it is about
	Text string // what is wrong
}

// String is the violation on one line.
func (v Violation) String() string { return v.Key + ": " + v.Text }

// maxViolations bounds the list: a store that is broken in more places is
// described well enough by these.
const maxViolations = 1000

type verifier struct {
	s    *Store
	list []Violation
}

func (v *verifier) add(key, format string, args ...any) {
	if len(v.list) < maxViolations {
		v.list = append(v.list, Violation{Key: key, Text: fmt.Sprintf(format, args...)})
	}
}

// Verify checks the invariants of a store that nobody writes to: every recipient
// has exactly one owner and its indexes, every index entry has its recipient,
// every message the recipients it counts and its whole body, no body is without
// a message, no budget is used beyond its lease, every place under a cap belongs to a
// recipient that waits, and the event log has no gap and an index of its acts. An error
// says that the store could not be read.
func Verify(s *Store) ([]Violation, error) {
	v := &verifier{s: s}
	counts := make(map[uint64]uint32)
	err := errors.Join(
		v.recipients(counts), v.messages(counts), v.bodies(),
		v.index(prefixSchedule, "schedule", func(k []byte, r *Recipient, id ID) bool {
			return r.Hold == "" && string(k) == string(scheduleKey(r, id))
		}),
		v.index(prefixParked, "parked", func(k []byte, r *Recipient, id ID) bool {
			return r.Hold != "" && string(k) == string(parkedKey(r.Hold, id))
		}),
		v.index(prefixExpiry, "expiry", func(k []byte, r *Recipient, id ID) bool { return string(k) == string(expiryKey(r.Expires, id)) }),
		v.index(prefixAddress, "address", func(k []byte, r *Recipient, id ID) bool { return string(k) == string(addressKey(r.Address, id)) }),
		v.events(), v.acts(), v.budgets(), v.usages(),
	)
	return v.list, err
}

func (v *verifier) recipients(counts map[uint64]uint32) error {
	return v.s.Recipients(ID{}, func(e Entry) error {
		counts[e.ID.Message]++
		owner := scheduleKey(&e.Recipient, e.ID)
		if e.Hold != "" {
			owner = parkedKey(e.Hold, e.ID)
		}
		for what, key := range map[string][]byte{"owner": owner, "expiry": expiryKey(e.Expires, e.ID), "address": addressKey(e.Address, e.ID)} {
			if _, err := v.s.get(key); errors.Is(err, ErrNotFound) {
				v.add(e.ID.String(), "recipient has no %s entry", what)
			} else if err != nil {
				return err
			}
		}
		if v.s.Class(e.Class) == (Class{}) {
			v.add(e.ID.String(), "class %d is not known", e.Class)
		}
		return nil
	})
}

func (v *verifier) messages(counts map[uint64]uint32) error {
	err := v.s.scan([]byte{prefixMessage}, nil, func(k, val []byte) error {
		mid := binary.BigEndian.Uint64(k[1:])
		m, err := decodeMessage(val)
		if err != nil {
			return err
		}
		if counts[mid] != m.Remaining || m.Remaining == 0 {
			v.add(FormatMessage(mid), "message counts %d remaining recipients, the store holds %d", m.Remaining, counts[mid])
		}
		delete(counts, mid)
		if _, err := v.s.Body(mid, m.Size); err != nil {
			v.add(FormatMessage(mid), "body: %v", err)
		}
		if mid >= v.s.state.idLimit {
			v.add(FormatMessage(mid), "message id is beyond the reserved ids: it would be used again")
		}
		return nil
	})
	for mid, n := range counts {
		v.add(FormatMessage(mid), "%d recipients have no message", n)
	}
	return err
}

func (v *verifier) bodies() error {
	return v.s.scan([]byte{prefixBody}, nil, func(k, _ []byte) error {
		mid := binary.BigEndian.Uint64(k[1:])
		if _, err := v.s.get(messageKey(mid)); errors.Is(err, ErrNotFound) {
			if _, err := v.s.get(key64(prefixOrphan, mid)); errors.Is(err, ErrNotFound) {
				v.add(FormatMessage(mid), "body has no message")
			}
		} else if err != nil {
			return err
		}
		return nil
	})
}

func (v *verifier) index(prefix byte, what string, fits func(k []byte, r *Recipient, id ID) bool) error {
	return v.s.scan([]byte{prefix}, nil, func(k, _ []byte) error {
		id, ok := cutID(k)
		if !ok {
			v.add(what, "key %x is not one", k)
			return nil
		}
		r, err := v.s.Recipient(id)
		switch {
		case errors.Is(err, ErrStale):
			v.add(id.String(), "%s entry has no recipient", what)
		case err != nil:
			return err
		case !fits(k, &r, id):
			v.add(id.String(), "%s entry %x is not the recipient's own", what, k)
		}
		return nil
	})
}

// owner checks that the recipient that a key ends with is not concluded.
func (v *verifier) owner(key []byte, what string) error {
	id, _ := cutID(key)
	_, err := v.s.get(rcptKey(id))
	if errors.Is(err, ErrNotFound) {
		v.add(id.String(), "%s has no recipient", what)
		return nil
	}
	return err
}

func (v *verifier) events() error {
	var last uint64
	return v.s.scan([]byte{prefixEvent}, nil, func(k, _ []byte) error {
		seq := binary.BigEndian.Uint64(k[1:])
		if last != 0 && seq != last+1 && seq <= last+eventGap {
			v.add("events", "event %d follows event %d", seq, last)
		}
		last = seq
		return nil
	})
}

func (v *verifier) budgets() error {
	return v.s.scan([]byte{prefixBudget}, nil, func(k, val []byte) error {
		c, err := decodeCounter(val)
		if err != nil {
			return err
		}
		if c.Used > c.Leased {
			v.add(string(k[1:]), "%d recipients used of %d leased", c.Used, c.Leased)
		}
		return nil
	})
}
