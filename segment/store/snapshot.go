// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

var errReadOnly = errors.New("a snapshot of the contacts store cannot be written")

// Snapshot calls fn with the store as it is at this moment: nothing that is
// written while fn runs shows in it. The view is for reads, and is not valid after
// fn returned. Long as that may take, writers do not wait for it; what they
// replace stays on disk until then.
func (s *Store) Snapshot(fn func(view *Store) error) error {
	snapshot := s.db.NewSnapshot()
	view := *s
	view.from, view.bypass = snapshot, true
	err := fn(&view)
	if cerr := snapshot.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("closing a snapshot: %w", cerr))
	}
	return err
}

// readOnly is why the store cannot be written, nil where it can.
func (s *Store) readOnly() error {
	if _, ok := s.from.(*pebble.DB); ok {
		return nil
	}
	return errReadOnly
}

// State returns the state of a contact; false if there is none with that id.
func (s *Store) State(id uint64) (State, bool, error) {
	v, err := s.get(keyID(prefixState, id))
	if v == nil || err != nil {
		return State{}, false, err
	}
	st, err := DecodeState(v)
	return st, err == nil, err
}

// Accounts yields every account in the order of ids. The record's attributes
// are valid until fn returns.
func (s *Store) Accounts(fn func(id uint64, a Account) error) error {
	return walk(s, shelf{prefixAccount, "account", "accounts"}, 0, DecodeAccount, fn)
}

// HasEvent reports whether an event is in the log.
func (s *Store) HasEvent(k EventKey) (bool, error) {
	v, err := s.get(k.append(nil))
	return v != nil, err
}
