// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// EraseStage is what is left to be done of an erasure.
type EraseStage byte

// The stages, as they are stored.
const (
	EraseMail  EraseStage = 1 // its queued mail is to be concluded
	EraseFiles EraseStage = 2 // its bytes are to be taken out of the files
	EraseDone  EraseStage = 3
)

// Erasure is an entry of the ledger of erasures: of an address, or of a user id.
// Its key is a keyed hash, see [Hasher]; what names the person
// is in it while something is left to be done, and no longer.
type Erasure struct {
	Hash   Hash
	At     time.Time
	Lifted time.Time // when the person was let in again; zero = it was not
	Done   time.Time // when nothing was left to be done
	Stage  EraseStage

	Users  []Hash   // the user ids that were erased with it
	Counts []uint64 // what was erased; package segment knows of what
	Left   [][]byte // prefixes of keys that name the person, until it is done
	Name   string   // address key, until its mail is concluded; "" = of none
}

// Append appends the record's binary form.
func (x *Erasure) Append(b []byte) []byte {
	b = append(b, layout, byte(x.Stage))
	for _, t := range []time.Time{x.At, x.Lifted, x.Done} {
		b = appendTime(b, t)
	}
	b = appendString(b, x.Name)
	b = binary.AppendUvarint(b, uint64(len(x.Users)))
	for i := range x.Users {
		b = appendBytes(b, x.Users[i][:])
	}
	b = binary.AppendUvarint(b, uint64(len(x.Counts)))
	for _, n := range x.Counts {
		b = binary.AppendUvarint(b, n)
	}
	b = binary.AppendUvarint(b, uint64(len(x.Left)))
	for _, p := range x.Left {
		b = appendBytes(b, p)
	}
	return b
}

// DecodeErasure reads what [Erasure.Append] wrote. Errors wrap [ErrCorrupt].
func DecodeErasure(h Hash, value []byte) (Erasure, error) {
	r := newReader(value)
	x := Erasure{Hash: h, Stage: EraseStage(r.byte()), At: r.time(), Lifted: r.time(), Done: r.time(), Name: r.string()}
	for range r.count() {
		one := r.bytes()
		if len(one) != len(h) {
			r.fail()
			break
		}
		x.Users = append(x.Users, Hash(one))
	}
	for range r.count() {
		x.Counts = append(x.Counts, r.uvarint())
	}
	for range r.count() {
		x.Left = append(x.Left, append([]byte{}, r.bytes()...))
	}
	return x, r.done("erasure")
}

// Erasures yields the whole ledger.
func (s *Store) Erasures(fn func(Erasure) error) error {
	p := []byte(prefixErasure)
	for e, err := range s.scan(p, after(p)) {
		if err != nil {
			return fmt.Errorf("reading erasures: %w", err)
		}
		if len(e.key) != len(p)+len(Hash{}) {
			return fmt.Errorf("%w: key of an erasure", ErrCorrupt)
		}
		x, err := DecodeErasure(Hash(e.key[len(p):]), e.value)
		if err != nil {
			return err
		}
		if err := fn(x); err != nil {
			return err
		}
	}
	return nil
}

// ErasureOf returns an entry of the ledger; a zero one where there is none.
func (s *Store) ErasureOf(h Hash) (Erasure, error) {
	v, err := s.get(append([]byte(prefixErasure), h[:]...))
	if v == nil || err != nil {
		return Erasure{Hash: h}, err
	}
	return DecodeErasure(h, v)
}

// Erasure writes an entry of the ledger.
func (b *Batch) Erasure(x *Erasure) {
	b.buf = x.Append(b.buf[:0])
	b.set(append([]byte(prefixErasure), x.Hash[:]...), b.buf)
}

// Kind is what of a person keys are about.
type Kind int

// The kinds of what an erasure counts.
const (
	KindContact Kind = iota
	KindVisitor
	KindState
	KindID
	KindEvent
	KindScore
	KindHit
	KindSeries
	KindEntered // when it came to be in a segment
	KindSoft    // run of soft bounces
)

// EraseOwned removes every key that begins with a contact's or visitor's id, calls
// count for each, and returns the prefixes of those that name the person. What else
// leads to it the caller removes: addresses, ids, accounts, members, the wheel.
func (b *Batch) EraseOwned(id uint64, count func(Kind)) [][]byte {
	var left [][]byte
	for _, x := range []struct {
		prefix string
		kind   Kind
	}{
		{prefixContact, KindContact},
		{prefixVisitor, KindVisitor},
		{prefixState, KindState},
		{prefixIDs, KindID},
		{prefixEvent, KindEvent},
		{prefixBehaviour, KindScore},
		{prefixHeld, KindHit},
		{prefixSeries, KindSeries},
		{prefixEntered, KindEntered},
		{prefixSoft, KindSoft},
	} {
		p := keyID(x.prefix, id)
		left = append(left, p)
		for e, err := range b.s.scan(p, after(p)) {
			if err != nil {
				b.fail(fmt.Errorf("reading what is known of contact %d: %w", id, err))
				return nil
			}
			b.delete(append([]byte{}, e.key...))
			count(x.kind)
			if x.prefix == prefixHeld {
				b.eraseDue(e)
			}
		}
	}
	return left
}

// eraseDue removes when held opens and clicks are looked at again.
func (b *Batch) eraseDue(e entry) {
	k, ok := decodeHeldKey(e.key[len(prefixHeld):])
	h, err := DecodeHeld(e.value)
	if err != nil || !ok {
		b.fail(fmt.Errorf("held opens and clicks: %w", ErrCorrupt))
		return
	}
	b.DeleteHeldDue(HeldDue{h.Due, k})
}

// KeysOfAddress are the keys of an address: where it leads, and its suppressions.
func KeysOfAddress(addressKey string, h Hash) [][]byte {
	return [][]byte{key(prefixByAddress, addressKey), keySuppression(h, "")}
}

// KeyOfID is the key of an id that leads to a person.
func KeyOfID(p PersonID) []byte { return p.key() }

// ForgetInFlips takes an address out of the flips that are kept: they say what
// happened, and of whom no more.
func (b *Batch) ForgetInFlips(addressKey string) {
	p := []byte(prefixFlip)
	for e, err := range b.s.scan(p, after(p)) {
		if err != nil {
			b.fail(fmt.Errorf("reading flips: %w", err))
			return
		}
		f, err := decodeFlip(e.value)
		if err != nil {
			b.fail(err)
			return
		}
		if f.Address == addressKey {
			f.Address = ""
			b.buf = f.append(b.buf[:0])
			b.set(append([]byte{}, e.key...), b.buf)
		}
	}
}

// Scrub takes what was deleted under prefixes of keys, and of the flips and the
// ledger, out of the files; see [kv.DB.Scrub].
func (s *Store) Scrub(ctx context.Context, prefixes [][]byte) error {
	return s.kv.Scrub(ctx, append(slices.Clip(prefixes), []byte(prefixFlip), []byte(prefixErasure)))
}
