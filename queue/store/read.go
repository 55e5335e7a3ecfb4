// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seguemta/segue/mta/event"
)

// get copies a value; ErrNotFound where there is none.
func (s *Store) get(key []byte) ([]byte, error) {
	v, closer, err := s.db.Pebble().Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("reading the queue store: %w", err)
	}
	out := append([]byte{}, v...)
	return out, closer.Close()
}

func (s *Store) number(name string) (uint64, error) {
	v, err := s.get([]byte(name))
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("reading the queue store: %q holds %d bytes, not 8", name, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

// errStop ends a scan early.
var errStop = errors.New("stop")

// scan calls f for every key behind prefix, from the key from on where it is
// not nil. Key and value are valid only inside f.
func (s *Store) scan(prefix, from []byte, f func(k, v []byte) error) (err error) {
	if from == nil {
		from = prefix
	}
	it, err := s.db.Pebble().NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: upper(prefix)})
	if err != nil {
		return fmt.Errorf("reading the queue store: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("reading the queue store: %w", err)
		}
		if err := f(it.Key(), v); err != nil {
			if errors.Is(err, errStop) {
				return nil
			}
			return err
		}
	}
	return it.Error()
}

func (s *Store) lastEvent() (last uint64, err error) {
	it, err := s.db.Pebble().NewIter(&pebble.IterOptions{LowerBound: []byte{prefixEvent}, UpperBound: []byte{prefixEvent + 1}})
	if err != nil {
		return 0, fmt.Errorf("reading the queue store: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if it.Last() {
		last = binary.BigEndian.Uint64(it.Key()[1:])
	}
	truncated, err := s.number(nameLastEvent)
	return max(last, truncated), errors.Join(err, it.Error())
}

// Message reads a message header; ErrStale where the message is gone.
func (s *Store) Message(mid uint64) (Message, error) {
	v, err := s.get(messageKey(mid))
	if errors.Is(err, ErrNotFound) {
		return Message{}, ErrStale
	}
	if err != nil {
		return Message{}, err
	}
	return decodeMessage(v)
}

// Recipient reads a recipient; ErrStale where it is concluded.
func (s *Store) Recipient(id ID) (Recipient, error) {
	v, err := s.get(rcptKey(id))
	if errors.Is(err, ErrNotFound) {
		return Recipient{}, ErrStale
	}
	if err != nil {
		return Recipient{}, err
	}
	return decodeRecipient(v)
}

// Body reads a message's body of size bytes.
func (s *Store) Body(mid uint64, size int64) ([]byte, error) {
	body := make([]byte, 0, size)
	for part := range bodyParts(size) {
		v, closer, err := s.db.Pebble().Get(bodyKey(mid, part))
		if errors.Is(err, pebble.ErrNotFound) {
			return nil, ErrStale
		}
		if err != nil {
			return nil, fmt.Errorf("reading a body: %w", err)
		}
		body = append(body, v...)
		if err := closer.Close(); err != nil {
			return nil, fmt.Errorf("reading a body: %w", err)
		}
	}
	if int64(len(body)) != size {
		return nil, fmt.Errorf("reading body of %s: %d bytes stored, %d expected", FormatMessage(mid), len(body), size)
	}
	return body, nil
}

// FirstMessage is the first message id of the first day at or after day
// (days since 1970, UTC) that has one, with that day; 0 where there is none.
func (s *Store) FirstMessage(day uint32) (first uint64, at uint32, err error) {
	err = s.scan([]byte{prefixDay}, dayKey(day), func(k, v []byte) error {
		if len(k) == 5 && len(v) == 8 {
			at, first = binary.BigEndian.Uint32(k[1:]), binary.BigEndian.Uint64(v)
		}
		return errStop
	})
	return first, at, err
}

// State reads what PutState wrote; ErrNotFound where there is nothing.
func (s *Store) State(name string) ([]byte, error) { return s.get(textKey(prefixState, name)) }

// States calls f for every state whose name begins with prefix.
func (s *Store) States(prefix string, f func(name string, value []byte) error) error {
	return s.scan(textKey(prefixState, prefix), nil, func(k, v []byte) error { return f(string(k[1:]), v) })
}

// Cursor reads a consumer's cursor; the zero Cursor where it has none.
func (s *Store) Cursor(name string) (event.Cursor, error) {
	v, err := s.get(textKey(prefixCursor, name))
	if errors.Is(err, ErrNotFound) {
		return event.Cursor{}, nil
	}
	if err != nil {
		return event.Cursor{}, err
	}
	if len(v) != 16 {
		return event.Cursor{}, fmt.Errorf("reading cursor %s: %d bytes, not 16", name, len(v))
	}
	return event.Cursor{Epoch: binary.BigEndian.Uint64(v), Sequence: binary.BigEndian.Uint64(v[8:])}, nil
}

// Events reads up to max durable events after a sequence, in order.
func (s *Store) Events(after uint64, limit int) ([]event.Event, error) {
	durable, _ := s.Durable()
	if after >= durable {
		return nil, nil
	}
	limit = min(limit, int(durable-after)) //nolint:gosec // bounded by limit
	return s.events(eventKey(after+1), durable, limit)
}

// Head reads the oldest events of the log, durable or not.
func (s *Store) Head(limit int) ([]event.Event, error) {
	return s.events(nil, math.MaxUint64, limit)
}

// events reads up to limit events from a key on, up to and including a sequence.
func (s *Store) events(from []byte, last uint64, limit int) ([]event.Event, error) {
	list := make([]event.Event, 0, limit)
	err := s.scan([]byte{prefixEvent}, from, func(k, v []byte) error {
		seq := binary.BigEndian.Uint64(k[1:])
		if seq > last || len(list) == limit {
			return errStop
		}
		e, err := event.Decode(seq, v)
		list = append(list, e)
		return err
	})
	return list, err
}

// Timeline reads the events of one message, in order.
func (s *Store) Timeline(mid uint64) ([]event.Event, error) {
	var list []event.Event
	err := s.scan(key64(prefixTimeline, mid), nil, func(k, _ []byte) error {
		seq := binary.BigEndian.Uint64(k[9:])
		v, err := s.get(eventKey(seq))
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		e, err := event.Decode(seq, v)
		list = append(list, e)
		return err
	})
	return list, err
}

// Position is a place in the schedule of a (domain, class).
type Position struct {
	Due time.Time
	ID  ID
}

// Entry is a scheduled recipient.
type Entry struct {
	ID ID
	Recipient
}

// Schedule reads up to limit recipients of a (domain, class) behind a position
// (exclusive; the zero Position is the head), and whether there are more. Who moves
// while it reads is left out: a page holds nobody who does not stand between its ends.
func (s *Store) Schedule(domain string, class ClassID, after Position, limit int) (list []Entry, more bool, err error) {
	prefix := schedulePrefix(domain, class)
	from := prefix
	if !after.Due.IsZero() {
		from = binary.BigEndian.AppendUint64(append([]byte{}, prefix...), milli(after.Due))
		from = append(appendID(from, after.ID), 0)
	}
	err = s.scan(prefix, from, func(k, _ []byte) error {
		if len(list) == limit {
			more = true
			return errStop
		}
		e, ok, err := s.entryOf(k)
		if err != nil || !ok {
			return err
		}
		if e.Hold != "" || !bytes.Equal(k, scheduleKey(&e.Recipient, e.ID)) {
			return nil // it has moved since: where it is now would be taken for the end of the page
		}
		list = append(list, e)
		return nil
	})
	return list, more, err
}

// entryOf reads the recipient whose id ends a key of an index; false = it is concluded
// since the scan began.
func (s *Store) entryOf(k []byte) (Entry, bool, error) {
	id, ok := cutID(k)
	if !ok {
		return Entry{}, false, fmt.Errorf("reading the queue store: key %x ends with no recipient", k)
	}
	r, err := s.Recipient(id)
	if errors.Is(err, ErrStale) {
		return Entry{}, false, nil
	}
	return Entry{ID: id, Recipient: r}, err == nil, err
}

// Backlog is what the schedule holds for one (domain, class).
type Backlog struct {
	Domain string
	Class  ClassID
	Count  int
	Head   time.Time
}

// Backlogs scans the whole schedule once, as is done at start.
func (s *Store) Backlogs(f func(Backlog) error) error {
	var cur Backlog
	err := s.scan([]byte{prefixSchedule}, nil, func(k, _ []byte) error {
		domain, class, due, _, ok := cutSchedule(k)
		if !ok {
			return fmt.Errorf("reading the schedule: key %x is not one", k)
		}
		if domain == cur.Domain && class == cur.Class {
			cur.Count++
			return nil
		}
		if cur.Count > 0 {
			if err := f(cur); err != nil {
				return err
			}
		}
		cur = Backlog{Domain: domain, Class: class, Count: 1, Head: due}
		return nil
	})
	if err == nil && cur.Count > 0 {
		err = f(cur)
	}
	return err
}

// OfAddress reads up to limit queued recipients of an address key, behind an id.
func (s *Store) OfAddress(key string, after ID, limit int) ([]Entry, error) {
	prefix := addressPrefix(key)
	from := prefix
	if after != (ID{}) {
		from = append(appendID(append([]byte{}, prefix...), after), 0)
	}
	return s.entries(prefix, from, limit, func(e *Entry) bool { return e.Address.Key() == key })
}

// Expired reads up to limit recipients whose expiry lies in a finished minute,
// behind one of an earlier page (nil = from the cursor on).
func (s *Store) Expired(now time.Time, after *Entry, limit int) ([]Entry, error) {
	cursor, err := s.number(nameExpiry)
	if err != nil {
		return nil, err
	}
	from := binary.BigEndian.AppendUint32([]byte{prefixExpiry}, uint32(cursor)) //nolint:gosec // written from uint32
	if after != nil {
		from = append(expiryKey(after.Expires, after.ID), 0)
	}
	var list []Entry
	err = s.scan([]byte{prefixExpiry}, from, func(k, _ []byte) error {
		if binary.BigEndian.Uint32(k[1:]) > minute(now) || len(list) == limit {
			return errStop
		}
		e, ok, err := s.entryOf(k)
		if ok {
			list = append(list, e)
		}
		return err
	})
	return list, err
}

// Recipients calls f for every recipient that is not concluded, from an id on.
func (s *Store) Recipients(from ID, f func(Entry) error) error {
	return s.scan([]byte{prefixRcpt}, rcptKey(from), func(k, v []byte) error {
		id, _ := cutID(k)
		r, err := decodeRecipient(v)
		if err != nil {
			return fmt.Errorf("recipient %s: %w", id, err)
		}
		return f(Entry{ID: id, Recipient: r})
	})
}

func (s *Store) entries(prefix, from []byte, limit int, keep func(*Entry) bool) ([]Entry, error) {
	var list []Entry
	err := s.scan(prefix, from, func(k, _ []byte) error {
		if len(list) == limit {
			return errStop
		}
		if e, ok, err := s.entryOf(k); err != nil || !ok {
			return err
		} else if keep(&e) {
			list = append(list, e)
		}
		return nil
	})
	return list, err
}
