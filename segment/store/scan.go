// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"
)

// scan yields every key and value from lower (inclusive) to upper (exclusive).
// Both slices are valid until the next step.
func (s *Store) scan(lower, upper []byte) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		it, err := s.from.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		if err != nil {
			yield(entry{}, err)
			return
		}
		defer it.Close()
		for ok := it.First(); ok; ok = it.Next() {
			v, err := it.ValueAndErr()
			if err != nil {
				yield(entry{}, err)
				return
			}
			if !yield(entry{it.Key(), v}, nil) {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(entry{}, err)
		}
	}
}

type entry struct{ key, value []byte }

// shelf is where records of one kind stand by id, and what errors call one and all.
type shelf struct{ prefix, one, all string }

// walk yields the records of a shelf from an id on, in the order of ids.
func walk[T any](s *Store, at shelf, from uint64, decode func([]byte) (T, error), fn func(uint64, T) error) error {
	p := []byte(at.prefix)
	lower := p
	if from > 0 {
		lower = keyID(at.prefix, from)
	}
	for e, err := range s.scan(lower, after(p)) {
		if err != nil {
			return fmt.Errorf("reading %s: %w", at.all, err)
		}
		id, err := idOf(p, e.key)
		if err != nil {
			return err
		}
		x, err := decode(e.value)
		if err != nil {
			return fmt.Errorf("%s %d: %w", at.one, id, err)
		}
		if err := fn(id, x); err != nil {
			return err
		}
	}
	return nil
}

// States yields the state of every contact in the order of ids.
func (s *Store) States(fn func(id uint64, st State) error) error {
	return walk(s, shelf{prefixState, "contact", "contact states"}, 0, DecodeState, fn)
}

// Contacts yields every contact from an id on, in the order of ids, as of the
// moment of the call. The record's attributes are valid until fn returns.
func (s *Store) Contacts(from uint64, fn func(id uint64, c Contact) error) error {
	return walk(s, shelf{prefixContact, "contact", "contacts"}, from, DecodeContact, fn)
}

// Suppressions yields every suppression in the order of hashes, those behind
// the given hash and scope only.
func (s *Store) Suppressions(behind Hash, scope string, fn func(Suppression) error) error {
	lower := []byte(prefixSuppression)
	if scope != "" {
		lower = append(keySuppression(behind, scope), 0)
	}
	return s.suppressions(lower, after([]byte(prefixSuppression)), fn)
}

// SuppressionsOf returns the suppressions of one address.
func (s *Store) SuppressionsOf(h Hash) ([]Suppression, error) {
	var list []Suppression
	p := append([]byte(prefixSuppression), h[:len(Head{})]...)
	err := s.suppressions(p, after(p), func(x Suppression) error {
		list = append(list, x)
		return nil
	})
	return list, err
}

func (s *Store) suppressions(lower, upper []byte, fn func(Suppression) error) error {
	for e, err := range s.scan(lower, upper) {
		if err != nil {
			return fmt.Errorf("reading suppressions: %w", err)
		}
		x, err := decodeSuppression(e.key, e.value)
		if err != nil {
			return err
		}
		if err := fn(x); err != nil {
			return err
		}
	}
	return nil
}

// Flips returns up to limit flips with a sequence above after, oldest first.
func (s *Store) Flips(behind uint64, limit int) ([]Flip, error) {
	if behind == 1<<64-1 || limit <= 0 {
		return nil, nil
	}
	var list []Flip
	p := []byte(prefixFlip)
	for e, err := range s.scan(keyID(prefixFlip, behind+1), after(p)) {
		if err != nil {
			return nil, fmt.Errorf("reading flips: %w", err)
		}
		f, err := decodeFlip(e.value)
		if err != nil {
			return nil, err
		}
		if f.Sequence, err = idOf(p, e.key); err != nil {
			return nil, err
		}
		if list = append(list, f); len(list) == limit {
			break
		}
	}
	return list, nil
}

// truncateOneByOne is how many flips are removed by their keys. A range costs more:
// until the memtable is flushed, every new iterator sorts all ranges in it,
// and ranges that overlap cost their number squared, in memory too.
const truncateOneByOne = 1000

// TruncateFlips removes every flip with a sequence above behind, up to and
// including through. What is not above behind has been removed before.
func (s *Store) TruncateFlips(behind, through uint64) error {
	through = min(through, 1<<64-2)
	if behind >= through {
		return nil
	}
	b := s.db.NewBatch()
	defer b.Close()
	var err error
	if through-behind > truncateOneByOne {
		err = b.DeleteRange(keyID(prefixFlip, behind+1), keyID(prefixFlip, through+1), nil)
	} else {
		for n := behind + 1; n <= through && err == nil; n++ {
			err = b.Delete(keyID(prefixFlip, n), nil)
		}
	}
	if err = errors.Join(err, b.Commit(s.write)); err != nil {
		return fmt.Errorf("truncating flips: %w", err)
	}
	return nil
}

// Dump calls fn for every key and value that makes up the state of the store,
// for tests and for the doctor that compare stores. Ids not handed out and what
// package kv keeps are left out.
func (s *Store) Dump(fn func(key, value []byte)) error {
	skip := map[string]bool{prefixMeta + metaContacts: true, prefixMeta + metaAccounts: true, prefixMeta + metaEdges: true}
	for e, err := range s.scan([]byte{1}, nil) {
		if err != nil {
			return fmt.Errorf("reading the store: %w", err)
		}
		if !skip[string(e.key)] {
			fn(e.key, e.value)
		}
	}
	return nil
}

func idOf(prefix, k []byte) (uint64, error) {
	if len(k) != len(prefix)+8 {
		return 0, fmt.Errorf("%w: key of %d bytes under %q", ErrCorrupt, len(k), prefix)
	}
	return binary.BigEndian.Uint64(k[len(prefix):]), nil
}
