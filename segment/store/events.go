// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Event is one thing that a contact or visitor did, or that happened to it.
type Event struct {
	Time       int64 // microseconds since 1970
	Name       string
	Message    string // messageId
	Account    uint64 // the account that it is about; 0 = none
	Properties []byte // a record of package rule; this package does not open it
}

func (e *Event) append(b []byte) []byte {
	b = append(b, layout)
	b = appendString(b, e.Name)
	b = appendString(b, e.Message)
	b = binary.AppendUvarint(b, e.Account)
	return appendBytes(b, e.Properties)
}

func decodeEvent(value []byte) (Event, error) {
	r := newReader(value)
	e := Event{Name: r.string(), Message: r.string(), Account: r.uvarint()}
	e.Properties = r.bytes()
	return e, r.done("event")
}

// EventKey is the place of an event.
type EventKey struct {
	Contact uint64
	Time    int64
	Hash    uint32 // of the message id: what tells events of one instant apart
}

const eventKeySize = len(prefixEvent) + 8 + 8 + 4

// sortable turns the sign, so that times before 1970 come first.
func sortable(micro int64) uint64 { return uint64(micro) ^ 1<<63 } //nolint:gosec // the bits

func (k EventKey) append(b []byte) []byte {
	b = append(b, prefixEvent...)
	b = binary.BigEndian.AppendUint64(b, k.Contact)
	b = binary.BigEndian.AppendUint64(b, sortable(k.Time))
	return binary.BigEndian.AppendUint32(b, k.Hash)
}

func decodeEventKey(k []byte) (EventKey, error) {
	if len(k) != eventKeySize {
		return EventKey{}, fmt.Errorf("%w: event key of %d bytes", ErrCorrupt, len(k))
	}
	k = k[len(prefixEvent):]
	return EventKey{
		Contact: binary.BigEndian.Uint64(k),
		Time:    int64(binary.BigEndian.Uint64(k[8:]) ^ 1<<63), //nolint:gosec // the bits
		Hash:    binary.BigEndian.Uint32(k[16:]),
	}, nil
}

// Events yields the events of a contact or visitor that are not before a time,
// oldest first. Their properties are valid until fn returns.
func (s *Store) Events(contact uint64, from int64, fn func(e Event) error) error {
	lower := EventKey{Contact: contact, Time: from}.append(nil)
	for kv, err := range s.scan(lower, after(keyID(prefixEvent, contact))) {
		if err != nil {
			return fmt.Errorf("reading events of contact %d: %w", contact, err)
		}
		e, err := eventAt(contact, kv)
		if err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// NewestEvents is Events, newest first.
func (s *Store) NewestEvents(contact uint64, from int64, fn func(e Event) error) error {
	lower := EventKey{Contact: contact, Time: from}.append(nil)
	it, err := s.from.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: after(keyID(prefixEvent, contact))})
	if err != nil {
		return fmt.Errorf("reading events of contact %d: %w", contact, err)
	}
	defer it.Close()
	for ok := it.Last(); ok; ok = it.Prev() {
		v, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("reading events of contact %d: %w", contact, err)
		}
		e, err := eventAt(contact, entry{it.Key(), v})
		if err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("reading events of contact %d: %w", contact, err)
	}
	return nil
}

func eventAt(contact uint64, kv entry) (Event, error) {
	k, err := decodeEventKey(kv.key)
	if err != nil {
		return Event{}, err
	}
	e, err := decodeEvent(kv.value)
	if err != nil {
		return e, fmt.Errorf("event of contact %d: %w", contact, err)
	}
	e.Time = k.Time
	return e, nil
}

// Event returns one event; false where there is none.
func (s *Store) Event(k EventKey) (Event, bool, error) {
	v, err := s.get(k.append(nil))
	if v == nil || err != nil {
		return Event{}, false, err
	}
	e, err := decodeEvent(v)
	if err != nil {
		return e, false, fmt.Errorf("event of contact %d: %w", k.Contact, err)
	}
	e.Time = k.Time
	return e, true, nil
}

// OldEvents returns events that are older than a time, of the contacts from one
// on, and the contact to go on from; 0 when there are no more. It looks at up to
// limit contacts and returns up to limit events, so one call is short.
func (s *Store) OldEvents(from uint64, cutoff int64, limit int) (list []EventKey, next uint64, err error) {
	p := []byte(prefixEvent)
	it, err := s.from.NewIter(&pebble.IterOptions{LowerBound: keyID(prefixEvent, from), UpperBound: after(p)})
	if err != nil {
		return nil, 0, fmt.Errorf("reading old events: %w", err)
	}
	defer it.Close()
	seen := 0
	for ok := it.First(); ok; {
		k, err := decodeEventKey(it.Key())
		if err != nil {
			return nil, 0, err
		}
		if len(list) == limit || seen == limit {
			return list, k.Contact, nil
		}
		if k.Time < cutoff {
			list = append(list, k)
			ok = it.Next()
			continue
		}
		seen++
		ok = it.SeekGE(keyID(prefixEvent, k.Contact+1))
	}
	if err := it.Error(); err != nil {
		return nil, 0, fmt.Errorf("reading old events: %w", err)
	}
	return list, 0, nil
}

// MessageHash is what a message id is known by.
type MessageHash [16]byte

func keyTaken(day uint32, h MessageHash) []byte {
	k := append(make([]byte, 0, len(prefixTaken)+4+len(h)), prefixTaken...)
	return append(binary.BigEndian.AppendUint32(k, day), h[:]...)
}

// Verdict is what became of a call with a message id.
type Verdict byte

// The verdicts, as they are stored.
const (
	Unseen   Verdict = 0
	Applied  Verdict = 'a'
	Rejected Verdict = 'r'
)

// Taken returns what became of a message id on a day since 1970.
func (s *Store) Taken(day uint32, h MessageHash) (Verdict, error) {
	v, closer, err := s.db.Get(keyTaken(day, h))
	if errors.Is(err, pebble.ErrNotFound) {
		return Unseen, nil
	}
	if err != nil {
		return Unseen, err
	}
	defer closer.Close()
	if len(v) != 1 {
		return Unseen, fmt.Errorf("%w: verdict of %d bytes", ErrCorrupt, len(v))
	}
	return Verdict(v[0]), nil
}

// TakenOn yields the message ids that were taken on a day since 1970, in their
// order, those behind one.
func (s *Store) TakenOn(day uint32, behind MessageHash, fn func(h MessageHash) error) error {
	var none MessageHash
	for kv, err := range s.scan(append(keyTaken(day, behind), 0), keyTaken(day+1, none)) {
		if err != nil {
			return fmt.Errorf("reading message ids: %w", err)
		}
		if len(kv.key) != len(prefixTaken)+4+len(none) {
			return fmt.Errorf("%w: message id with a key of %d bytes", ErrCorrupt, len(kv.key))
		}
		if err := fn(MessageHash(kv.key[len(prefixTaken)+4:])); err != nil {
			return err
		}
	}
	return nil
}

// Event writes an event of a contact or visitor.
func (b *Batch) Event(contact uint64, e *Event) {
	b.buf = e.append(b.buf[:0])
	b.set(EventKeyOf(contact, e).append(make([]byte, 0, eventKeySize)), b.buf)
}

// EventKeyOf is the place of an event.
func EventKeyOf(contact uint64, e *Event) EventKey {
	return EventKey{contact, e.Time, fnv(e.Message)}
}

// DeleteEvent removes one event.
func (b *Batch) DeleteEvent(k EventKey) { b.delete(k.append(make([]byte, 0, eventKeySize))) }

// Taken writes what became of a message id on a day.
func (b *Batch) Taken(day uint32, h MessageHash, v Verdict) { b.set(keyTaken(day, h), []byte{byte(v)}) }

// DropTaken removes every message id taken before a day.
func (b *Batch) DropTaken(before uint32) {
	var none MessageHash
	lower := keyTaken(0, none)
	b.err = errors.Join(b.err, b.b.DeleteRange(lower, keyTaken(before, none), nil))
}
