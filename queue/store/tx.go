// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seguemta/segue/mta/event"
)

// Tx is what an [Op] reads and writes through. It is valid only inside the Op.
// Write errors are remembered and fail the operation; a write to a batch in
// memory fails only where the batch itself is broken.
type Tx struct {
	s        *Store
	batch    *pebble.Batch
	now      time.Time
	rcpts    map[ID]*Recipient // written in this group; nil = removed
	messages map[uint64]*Message
	sent     map[ID]*Sent // written in this group
	used     map[Who]int  // messages that count under caps, of this group
	writes   int
	err      error
	buf      []byte
}

// Now is the time of this group, in UTC: the time of its events.
func (tx *Tx) Now() time.Time { return tx.now }

func (tx *Tx) set(key, value []byte) {
	tx.writes++
	if err := tx.batch.Set(key, value, nil); err != nil && tx.err == nil {
		tx.err = fmt.Errorf("writing to the batch: %w", err)
	}
}

func (tx *Tx) del(key []byte) {
	tx.writes++
	if err := tx.batch.Delete(key, nil); err != nil && tx.err == nil {
		tx.err = fmt.Errorf("writing to the batch: %w", err)
	}
}

// NewMessage takes the next message id.
func (tx *Tx) NewMessage() uint64 {
	st := &tx.s.state
	if st.nextMessage >= st.idLimit {
		st.idLimit = st.nextMessage + tx.s.block
		tx.set([]byte(nameNextMessage), binary.BigEndian.AppendUint64(nil, st.idLimit))
	}
	mid := st.nextMessage
	st.nextMessage++
	if day := uint32(max(tx.now.Unix()/86400, 0)); day > st.day { //nolint:gosec // days since 1970 fit
		st.day = day
		tx.set(dayKey(day), binary.BigEndian.AppendUint64(nil, mid))
	}
	return mid
}

// Class interns c. The second result is true where c is new.
func (tx *Tx) Class(c Class) (ClassID, bool) {
	st := &tx.s.state
	if id, ok := st.classIDs[c]; ok {
		return id, false
	}
	id := st.nextClass
	st.nextClass++
	st.classIDs[c] = id
	tx.set(classKey(id), c.append(nil))
	tx.s.mu.Lock()
	tx.s.mu.classes[id] = c
	tx.s.mu.Unlock()
	return id, true
}

// AddMessage writes the header of a message and, where body is not nil, the
// body that [Store.WriteBody] has not already written.
func (tx *Tx) AddMessage(mid uint64, m *Message, body []byte) {
	if body == nil {
		tx.del(key64(prefixOrphan, mid))
	}
	for part := uint32(0); len(body) > 0; part++ {
		n := min(len(body), BodyPart)
		tx.set(bodyKey(mid, part), body[:n])
		body = body[n:]
	}
	tx.putMessage(mid, m)
}

func (tx *Tx) putMessage(mid uint64, m *Message) {
	tx.buf = m.append(tx.buf[:0])
	tx.set(messageKey(mid), tx.buf)
	tx.messages[mid] = m
}

// Message reads a message header. ErrStale where it is gone.
func (tx *Tx) Message(mid uint64) (*Message, error) {
	if m, ok := tx.messages[mid]; ok {
		if m == nil {
			return nil, ErrStale
		}
		return m, nil
	}
	m, err := tx.s.Message(mid)
	if err != nil {
		return nil, err
	}
	return &m, nil
}

// Owned reads a recipient for the holder of a generation: ErrStale where the
// recipient has changed since or is gone.
func (tx *Tx) Owned(id ID, generation uint64) (Recipient, error) {
	r, err := tx.Recipient(id)
	if err != nil {
		return Recipient{}, err
	}
	if r.Generation != generation {
		return Recipient{}, ErrStale
	}
	return r, nil
}

// Recipient reads a recipient as of this point of the group. ErrStale where it is gone.
func (tx *Tx) Recipient(id ID) (Recipient, error) {
	if r, ok := tx.rcpts[id]; ok {
		if r == nil {
			return Recipient{}, ErrStale
		}
		return *r, nil
	}
	return tx.s.Recipient(id)
}

// Add writes a new recipient with its indexes and returns it as it is stored.
func (tx *Tx) Add(id ID, r Recipient) Recipient {
	r.Generation = 1
	tx.set(expiryKey(r.Expires, id), nil)
	tx.set(addressKey(r.Address, id), nil)
	tx.place(id, &r)
	return r
}

// Put replaces a recipient: the entry of its old owner goes, the entry of its new
// one (schedule, or hold where Hold is set) comes, the generation rises. It
// returns the recipient as it is stored.
func (tx *Tx) Put(id ID, old, next Recipient) Recipient {
	tx.displace(id, &old)
	next.Generation = old.Generation + 1
	if !next.Expires.Equal(old.Expires) {
		tx.del(expiryKey(old.Expires, id))
		tx.set(expiryKey(next.Expires, id), nil)
	}
	tx.place(id, &next)
	return next
}

// Remove concludes a recipient: the record and every index go, and with the last
// recipient the message and its body. It reports how many recipients remain.
func (tx *Tx) Remove(id ID, old Recipient) (remaining uint32, err error) {
	m, err := tx.Message(id.Message)
	if err != nil {
		return 0, fmt.Errorf("concluding %s: reading its message: %w", id, err)
	}
	tx.Use(id) // a place that is left is one from before a crash: it may have been sent
	tx.displace(id, &old)
	tx.del(rcptKey(id))
	tx.del(expiryKey(old.Expires, id))
	tx.del(addressKey(old.Address, id))
	tx.rcpts[id] = nil
	next := *m
	next.Remaining--
	if next.Remaining > 0 {
		tx.putMessage(id.Message, &next)
		return next.Remaining, nil
	}
	tx.del(messageKey(id.Message))
	tx.messages[id.Message] = nil
	for part := range bodyParts(m.Size) {
		tx.del(bodyKey(id.Message, part))
	}
	return 0, nil
}

func bodyParts(size int64) uint32 {
	return uint32((size + BodyPart - 1) / BodyPart) //nolint:gosec // a message has fewer parts than 2^32
}

// place writes a record and its owner's entry. Every transition has an event,
// which is written after the record: Sequence is the number it will get. The due
// time is made what its key says, so that nobody orders by more than the disk does.
func (tx *Tx) place(id ID, r *Recipient) {
	r.Sequence = tx.s.state.nextEvent
	r.Due = time.UnixMilli(int64(milli(r.Due))).UTC() //nolint:gosec // milli gives what fits
	if r.Hold != "" {
		tx.set(parkedKey(r.Hold, id), nil)
	} else {
		tx.set(scheduleKey(r, id), nil)
	}
	tx.buf = r.append(tx.buf[:0])
	tx.set(rcptKey(id), tx.buf)
	cp := *r
	tx.rcpts[id] = &cp
}

func (tx *Tx) displace(id ID, r *Recipient) {
	if r.Hold != "" {
		tx.del(parkedKey(r.Hold, id))
	} else {
		tx.del(scheduleKey(r, id))
	}
}

// Event numbers e, stamps it and writes it to the log, to its message's timeline and, where
// it is an act, to the index of those.
func (tx *Tx) Event(e *event.Event) {
	st := &tx.s.state
	e.Sequence, e.Time = st.nextEvent, tx.now
	st.lastEvent = st.nextEvent
	st.nextEvent++
	tx.buf = e.Append(tx.buf[:0])
	tx.set(eventKey(e.Sequence), tx.buf)
	if e.Message != 0 {
		tx.set(timelineKey(e.Message, e.Sequence), nil)
	}
	if e.Act != "" {
		tx.set(actKey(e.Sequence), nil)
	}
}

// Counter returns a budget's counter for reading; the zero Counter where there is none.
func (tx *Tx) Counter(name string) Counter {
	if c := tx.s.state.counters[name]; c != nil {
		return *c
	}
	return Counter{}
}

// PutCounter writes a budget's counter.
func (tx *Tx) PutCounter(name string, c Counter) { tx.putCounter(name, &c) }

func (tx *Tx) putCounter(name string, c *Counter) {
	tx.s.state.counters[name] = c
	tx.buf = c.append(tx.buf[:0])
	tx.set(textKey(prefixBudget, name), tx.buf)
}

// DropCounter forgets a budget's counter of a day long past.
func (tx *Tx) DropCounter(name string) {
	delete(tx.s.state.counters, name)
	tx.del(textKey(prefixBudget, name))
}

// Counters calls f for every counter.
func (tx *Tx) Counters(f func(name string, c Counter)) {
	for name, c := range tx.s.state.counters {
		f(name, *c)
	}
}

// PutState writes the state of another package under a name of its own.
func (tx *Tx) PutState(name string, value []byte) { tx.set(textKey(prefixState, name), value) }

// DropState forgets a state.
func (tx *Tx) DropState(name string) { tx.del(textKey(prefixState, name)) }

// PutCursor writes a consumer's cursor.
func (tx *Tx) PutCursor(name string, c event.Cursor) {
	b := binary.BigEndian.AppendUint64(nil, c.Epoch)
	tx.set(textKey(prefixCursor, name), binary.BigEndian.AppendUint64(b, c.Sequence))
}

// PutExpiryCursor records up to which time expiry has been scanned: every
// entry of an earlier minute was acted on.
func (tx *Tx) PutExpiryCursor(at time.Time) {
	tx.set([]byte(nameExpiry), binary.BigEndian.AppendUint64(nil, uint64(minute(at))))
}

// TruncateEvents removes events up to and including a sequence, with their
// places in the timelines of messages and in the index of acts.
func (tx *Tx) TruncateEvents(from, to uint64, messages []event.Event) {
	for i := range messages {
		if messages[i].Message != 0 {
			tx.del(timelineKey(messages[i].Message, messages[i].Sequence))
		}
	}
	tx.set([]byte(nameLastEvent), binary.BigEndian.AppendUint64(nil, to))
	tx.delRange(eventKey(from), eventKey(to+1))
	tx.delRange(actKey(from), actKey(to+1))
}

func (tx *Tx) delRange(from, to []byte) {
	tx.writes++
	if err := tx.batch.DeleteRange(from, to, nil); err != nil && tx.err == nil {
		tx.err = fmt.Errorf("writing to the batch: %w", err)
	}
}

// ErrNotFound says that nothing is stored under a name or id.
var ErrNotFound = errors.New("not found")
