// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Results is what became of the mail that went by a segment, on one day.
type Results struct {
	Sent, Delivered, Bounced, Complained, Unsubscribed uint64
	Opened, OpenedByMachine                            uint64 // messages, however often
	Clicked, ClickedByMachine                          uint64
}

// counters is every number of the results, in the order of their stored form.
func (r *Results) counters() []*uint64 {
	return []*uint64{
		&r.Sent, &r.Delivered, &r.Bounced, &r.Complained, &r.Unsubscribed,
		&r.Opened, &r.OpenedByMachine, &r.Clicked, &r.ClickedByMachine,
	}
}

// Add adds the results of another day, or of another write.
func (r *Results) Add(x Results) {
	from := x.counters()
	for i, n := range r.counters() {
		*n += *from[i]
	}
}

// Flow is the size of a segment at the end of a day, UTC, and who came and went
// in each of its hours.
type Flow struct {
	Size          uint64
	Entered, Left [24]uint64
}

// Entered is when and why a contact came to be in a segment.
type Entered struct {
	Time       time.Time
	Generation uint32 // of the members that it came to: another one says nothing about today's
	Cause      string
}

// Life is what is known of a segment beyond the days that are kept.
type Life struct {
	Since time.Time // first known
	Used  time.Time // when mail last went by it; zero = never
}

func (r *Results) append(b []byte) []byte {
	b = append(b, layout)
	for _, n := range r.counters() {
		b = binary.AppendUvarint(b, *n)
	}
	return b
}

func decodeResults(value []byte) (Results, error) {
	r := newReader(value)
	var x Results
	for _, n := range x.counters() {
		*n = r.uvarint()
	}
	return x, r.done("results of a segment")
}

func (f *Flow) append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, layout), f.Size)
	for h := range f.Entered {
		b = binary.AppendUvarint(binary.AppendUvarint(b, f.Entered[h]), f.Left[h])
	}
	return b
}

func decodeFlow(value []byte) (Flow, error) {
	r := newReader(value)
	f := Flow{Size: r.uvarint()}
	for h := range f.Entered {
		f.Entered[h], f.Left[h] = r.uvarint(), r.uvarint()
	}
	return f, r.done("size of a segment")
}

func (e *Entered) append(b []byte) []byte {
	b = appendTime(append(b, layout), e.Time)
	return appendString(binary.AppendUvarint(b, uint64(e.Generation)), e.Cause)
}

func decodeEntered(value []byte) (Entered, error) {
	r := newReader(value)
	e := Entered{Time: r.time(), Generation: r.uint32(), Cause: r.string()}
	return e, r.done("beginning of a membership")
}

func decodeLife(value []byte) (Life, error) {
	r := newReader(value)
	l := Life{Since: r.time(), Used: r.time()}
	return l, r.done("life of a segment")
}

// keyNamed is a key that begins with the name of a segment. A 0 ends the name, so
// that none is the beginning of another.
func keyNamed(prefix, name string) []byte { return append(key(prefix, name), 0) }

func keyDay(prefix, name string, day uint32) []byte {
	return binary.BigEndian.AppendUint32(keyNamed(prefix, name), day)
}

func keyEntered(contact uint64, name string) []byte {
	return append(keyID(prefixEntered, contact), name...)
}

// Results returns the results of a segment on a day since 1970; none where
// nothing is known.
func (s *Store) Results(name string, day uint32) (Results, error) {
	v, err := s.get(keyDay(prefixResults, name, day))
	if v == nil || err != nil {
		return Results{}, err
	}
	return decodeResults(v)
}

// ResultsSince yields the results of a segment from a day on, oldest first.
func (s *Store) ResultsSince(name string, day uint32, fn func(day uint32, r Results)) error {
	return s.days(prefixResults, name, day, func(day uint32, value []byte) error {
		r, err := decodeResults(value)
		fn(day, r)
		return err
	})
}

// Flow returns the flow of a segment on a day; false where nothing is known.
func (s *Store) Flow(name string, day uint32) (Flow, bool, error) {
	v, err := s.get(keyDay(prefixFlow, name, day))
	if v == nil || err != nil {
		return Flow{}, false, err
	}
	f, err := decodeFlow(v)
	return f, err == nil, err
}

// FlowSince yields the flow of a segment from a day on, oldest first.
func (s *Store) FlowSince(name string, day uint32, fn func(day uint32, f Flow)) error {
	return s.days(prefixFlow, name, day, func(day uint32, value []byte) error {
		f, err := decodeFlow(value)
		fn(day, f)
		return err
	})
}

func (s *Store) days(prefix, name string, from uint32, fn func(day uint32, value []byte) error) error {
	p := keyNamed(prefix, name)
	for e, err := range s.scan(keyDay(prefix, name, from), after(p)) {
		if err != nil {
			return fmt.Errorf("reading statistics of segment %q: %w", name, err)
		}
		if len(e.key) != len(p)+4 {
			return fmt.Errorf("%w: statistics of segment %q", ErrCorrupt, name)
		}
		if err := fn(binary.BigEndian.Uint32(e.key[len(p):]), e.value); err != nil {
			return err
		}
	}
	return nil
}

// Flowed is the last flip that the stored flows include.
func (s *Store) Flowed() (uint64, error) { return s.id([]byte(prefixFlow)) }

// Entered returns when a contact came to be in a segment; false where that is not known.
func (s *Store) Entered(contact uint64, name string) (Entered, bool, error) {
	v, err := s.get(keyEntered(contact, name))
	if v == nil || err != nil {
		return Entered{}, false, err
	}
	e, err := decodeEntered(v)
	return e, err == nil, err
}

// Life returns what is known of a segment beyond its days.
func (s *Store) Life(name string) (Life, error) {
	v, err := s.get(key(prefixLife, name))
	if v == nil || err != nil {
		return Life{}, err
	}
	return decodeLife(v)
}

// OldDays yields the keys of days before one, of all segments, for [Batch.Drop].
func (s *Store) OldDays(before uint32, fn func(key []byte) error) error {
	for _, prefix := range []string{prefixResults, prefixFlow} {
		p := []byte(prefix)
		for e, err := range s.scan(append(p, 0), after(p)) {
			if err != nil {
				return fmt.Errorf("reading old statistics of segments: %w", err)
			}
			if n := len(e.key) - 4; n > len(p) && binary.BigEndian.Uint32(e.key[n:]) < before {
				if err := fn(e.key); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Drop removes a key of [Store.OldDays].
func (b *Batch) Drop(key []byte) { b.delete(key) }

// Results writes the results of a segment on a day.
func (b *Batch) Results(name string, day uint32, r *Results) {
	b.buf = r.append(b.buf[:0])
	b.set(keyDay(prefixResults, name, day), b.buf)
}

// Flow writes the flow of a segment on a day.
func (b *Batch) Flow(name string, day uint32, f *Flow) {
	b.buf = f.append(b.buf[:0])
	b.set(keyDay(prefixFlow, name, day), b.buf)
}

// Flowed writes the last flip that the stored flows include.
func (b *Batch) Flowed(sequence uint64) { b.setID([]byte(prefixFlow), sequence) }

// Entered writes when a contact came to be in a segment; nil forgets it.
func (b *Batch) Entered(contact uint64, name string, e *Entered) {
	if e == nil {
		b.delete(keyEntered(contact, name))
		return
	}
	b.buf = e.append(b.buf[:0])
	b.set(keyEntered(contact, name), b.buf)
}

// Life writes what is to be known of a segment beyond its days.
func (b *Batch) Life(name string, l Life) {
	b.buf = appendTime(appendTime(append(b.buf[:0], layout), l.Since), l.Used)
	b.set(key(prefixLife, name), b.buf)
}
