// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seguemta/segue/mta/codec"
	"github.com/seguemta/segue/mta/rfc5321"
)

// Who is counted under caps on how often somebody is written to: a contact or an
// account, as it stands in keys.
type Who string

// ContactWho is a contact, by its address.
func ContactWho(a rfc5321.Address) Who {
	sum := sha256.Sum256([]byte(a.Key()))
	return Who("c" + string(sum[:16]))
}

// AccountWho is all contacts of an account.
func AccountWho(id uint64) Who {
	return Who(binary.BigEndian.AppendUint64([]byte("a"), id))
}

// Reservation is a recipient's place under the caps of everybody it counts for,
// from before it is sent until its outcome is durable. After a crash nobody knows
// whether it was sent: it keeps its place until it is known.
type Reservation struct {
	Time time.Time
	Who  []Who
}

const (
	reservationVersion = 1
	// usageBucket is the span of time whose entries share a key prefix, and are
	// removed at once.
	usageBucket = 7 * 24 * time.Hour
)

func (r *Reservation) append(b []byte) []byte {
	b = append(b, reservationVersion)
	b = codec.AppendTime(b, r.Time)
	list := make([]string, len(r.Who))
	for i, w := range r.Who {
		list[i] = string(w)
	}
	return codec.AppendStrings(b, list)
}

func decodeReservation(v []byte) (Reservation, error) {
	r, err := open("reservation", v, reservationVersion)
	if err != nil {
		return Reservation{}, err
	}
	res := Reservation{Time: r.Time()}
	for _, w := range r.Strings() {
		res.Who = append(res.Who, Who(w))
	}
	return res, closed("reservation", r)
}

// usage is what the committer knows of who is being written to: reservations
// only, which are bounded by what is in flight. What was sent is on disk.
type usage struct {
	reserved map[ID]Reservation
	holding  map[Who]int // reservations
}

func (u *usage) init() {
	u.reserved = make(map[ID]Reservation)
	u.holding = make(map[Who]int)
}

func (u *usage) add(id ID, r Reservation) {
	u.reserved[id] = r
	for _, w := range r.Who {
		u.holding[w]++
	}
}

func (u *usage) remove(id ID) {
	for _, w := range u.reserved[id].Who {
		if u.holding[w]--; u.holding[w] == 0 {
			delete(u.holding, w)
		}
	}
	delete(u.reserved, id)
}

// others is how many reservations of somebody belong to other recipients.
func (u *usage) others(id ID, w Who) int {
	n := u.holding[w]
	if slices.Contains(u.reserved[id].Who, w) {
		n--
	}
	return n
}

func (s *Store) loadReservations() error {
	s.state.usage.init()
	return s.scan([]byte{prefixReserved}, nil, func(k, v []byte) error {
		id, ok := cutID(k)
		if !ok {
			return fmt.Errorf("reading the reservations: key %x is not one", k)
		}
		r, err := decodeReservation(v)
		if err == nil {
			s.state.usage.add(id, r)
		}
		return err
	})
}

// Reserve takes a place for a recipient under the caps of everybody it counts for.
// One it has from before a crash is replaced.
func (tx *Tx) Reserve(id ID, who []Who) {
	r := Reservation{Time: tx.now, Who: who}
	tx.s.state.usage.remove(id)
	tx.s.state.usage.add(id, r)
	tx.buf = r.append(tx.buf[:0])
	tx.set(reservedKey(id), tx.buf)
}

// Return gives a recipient's place back: it was not sent.
func (tx *Tx) Return(id ID) {
	if _, ok := tx.s.state.usage.reserved[id]; ok {
		tx.s.state.usage.remove(id)
		tx.del(reservedKey(id))
	}
}

// Use says that a recipient was sent, now, or may have been: it counts from here
// until its span is over. A recipient without a place is not counted.
func (tx *Tx) Use(id ID) {
	r, ok := tx.s.state.usage.reserved[id]
	if !ok {
		return
	}
	tx.Return(id)
	at := ceilMilli(tx.now)
	for _, w := range r.Who {
		tx.set(usedKey(w, at, id), nil)
		if tx.used == nil {
			tx.used = make(map[Who]int)
		}
		tx.used[w]++
	}
}

// Room says how many messages count for somebody in the span that ends now, a
// recipient's own place left out, and from when on there are fewer than limit: now
// or earlier where there is room. The time is zero where what is in flight takes
// all of it: nobody knows when that ends. It counts no further than limit.
func (tx *Tx) Room(id ID, w Who, limit int, span time.Duration) (used int, from time.Time, err error) {
	held := tx.s.state.usage.others(id, w)
	if held >= limit {
		return held, time.Time{}, nil
	}
	// What this group has used is not in the store yet, and is the newest.
	sent := make([]time.Time, min(tx.used[w], limit-held))
	for i := range sent {
		sent[i] = ceilMilli(tx.now)
	}
	stored, err := tx.s.Used(w, tx.now, span, limit-held-len(sent))
	if err != nil {
		return 0, time.Time{}, err
	}
	sent = append(sent, stored...)
	if used = held + len(sent); used < limit {
		return used, tx.now, nil
	}
	return used, sent[len(sent)-1].Add(span), nil
}

// Used reads when somebody was sent something in the span that ends now, newest
// first, up to limit of them. Reservations are not in it.
func (s *Store) Used(w Who, now time.Time, span time.Duration, limit int) (list []time.Time, err error) {
	if limit <= 0 {
		return nil, nil
	}
	it, err := s.db.Pebble().NewIter(&pebble.IterOptions{LowerBound: []byte{prefixUsed}, UpperBound: []byte{prefixUsed + 1}})
	if err != nil {
		return nil, fmt.Errorf("reading the queue store: %w", err)
	}
	defer func() {
		if e := it.Close(); err == nil && e != nil {
			err = fmt.Errorf("reading the queue store: %w", e)
		}
	}()
	after := now.Add(-span)
	// A clock that was set back may have written a little of the future.
	for b := bucket(now) + 1; b >= bucket(after) && len(list) < limit; b-- {
		prefix := usedPrefix(b, w)
		for ok := it.SeekLT(upper(prefix)); ok && bytes.HasPrefix(it.Key(), prefix) && len(list) < limit; ok = it.Prev() {
			_, at, _, ok := cutUsed(it.Key())
			if !ok {
				return nil, fmt.Errorf("reading what was used of a cap: key %x is not one", it.Key())
			}
			if !at.After(after) {
				return list, nil
			}
			list = append(list, at)
		}
		if b == 0 {
			break
		}
	}
	return list, it.Error()
}

// DropUsed forgets what was sent longer ago than keep, and what a clock that was
// set back has dated far ahead.
func (tx *Tx) DropUsed(keep time.Duration) {
	tx.dropStored([]byte{prefixUsed}, binary.BigEndian.AppendUint32([]byte{prefixUsed}, bucket(tx.now.Add(-keep))))
	tx.dropStored(binary.BigEndian.AppendUint32([]byte{prefixUsed}, bucket(tx.now)+2), []byte{prefixUsed + 1})
}

// dropStored deletes a range if the store has anything in it. It is asked every
// minute: Pebble sorts all range deletions of a memtable again for each new one, so
// that those of nothing took time with their square.
func (tx *Tx) dropStored(from, to []byte) {
	it, err := tx.s.db.Pebble().NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err == nil {
		if it.First() {
			tx.delRange(from, to)
		}
		err = it.Close()
	}
	if err != nil && tx.err == nil {
		tx.err = fmt.Errorf("reading the queue store: %w", err)
	}
}

// Reserved is how many recipients hold a place under caps.
func (tx *Tx) Reserved() int { return len(tx.s.state.usage.reserved) }

// usages checks that every place belongs to a recipient that is not concluded, and
// that whatever was used can be read and stands where it is looked for.
func (v *verifier) usages() error {
	err := v.s.scan([]byte{prefixReserved}, nil, func(k, val []byte) error {
		id, ok := cutID(k)
		if !ok {
			v.add("reservation", "key %x is not one", k)
			return nil
		}
		r, err := decodeReservation(val)
		if err != nil {
			return err
		}
		if len(r.Who) == 0 {
			v.add(id.String(), "reservation counts for nobody")
		}
		if have, ok := v.s.state.usage.reserved[id]; !ok || !slices.Equal(have.Who, r.Who) {
			v.add(id.String(), "reservation on disk is not the one in memory")
		}
		return v.owner(k, "reservation")
	})
	if err != nil {
		return err
	}
	return v.s.scan([]byte{prefixUsed}, nil, func(k, _ []byte) error {
		if b, at, w, ok := cutUsed(k); !ok || bucket(at) != b || w[0] != 'c' && w[0] != 'a' {
			v.add("caps", "key %x is not one of a cap", k)
		}
		return nil
	})
}

// ceilMilli is a time as keys keep it, never earlier: what was sent must not leave
// its span too soon.
func ceilMilli(t time.Time) time.Time {
	return time.UnixMilli(t.Add(time.Millisecond - 1).UnixMilli()).UTC()
}

func bucket(t time.Time) uint32 {
	return uint32(max(t.UnixMilli(), 0) / usageBucket.Milliseconds()) //nolint:gosec // weeks since 1970 fit
}

func reservedKey(id ID) []byte { return appendID([]byte{prefixReserved}, id) }

func usedPrefix(b uint32, w Who) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{prefixUsed}, b), w...)
}

func usedKey(w Who, at time.Time, id ID) []byte {
	return appendID(binary.BigEndian.AppendUint64(usedPrefix(bucket(at), w), milli(at)), id)
}

// cutUsed reads a key of usedKey back.
func cutUsed(key []byte) (b uint32, at time.Time, w Who, ok bool) {
	const tail = 8 + 12
	if len(key) < 1+4+1+tail {
		return 0, time.Time{}, "", false
	}
	rest := key[len(key)-tail:]
	ms := int64(binary.BigEndian.Uint64(rest)) //nolint:gosec // written by milli
	return binary.BigEndian.Uint32(key[1:]), time.UnixMilli(ms).UTC(), Who(key[5 : len(key)-tail]), true
}
