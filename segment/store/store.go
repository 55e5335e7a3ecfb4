// SPDX-License-Identifier: Apache-2.0

// Package store is the contacts store on disk: what a contact, an account, a
// suppression, a flip and a cursor look like as Pebble keys and values, and
// typed reads and batched writes of them. keys.go is the format document.
//
// Start with [Open]. The package decides nothing: no tier, no rule, no merge of
// two values; that is package segment, its only user, which also makes sure
// that there is one writer at a time. Reads are safe for concurrent use.
package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/kv"
)

// ErrSecret says that the store was made with another suppression key: every
// suppression in it would be invisible.
var ErrSecret = errors.New("suppression key does not match the contacts store")

// memTableSize is half of kv's default: contacts are written far less than mail.
const memTableSize = 32 << 20

// Options say where the store is.
type Options struct {
	Dir    string
	FS     vfs.FS    // nil = disk
	Cache  *kv.Cache // nil = its own
	Secret []byte    // 32 bytes; key of the suppression hashes
	Logger *slog.Logger

	// NoSync commits without waiting for the disk. It exists for the control of
	// the crash tests, which must fail with it, and for nothing else.
	NoSync bool
}

// Store is an open contacts store.
type Store struct {
	kv    *kv.DB
	db    *pebble.DB
	from  pebble.Reader // what is read: db, or a snapshot of it
	write *pebble.WriteOptions

	records *recordCache
	bypass  bool // read what is stored, not what records say
}

// Open opens or creates the store. It returns an error wrapping [ErrSecret] if
// the suppression key is not the one the store was made with, and a
// *kv.FormatError if the directory holds something else.
func Open(o Options) (*Store, error) {
	if len(o.Secret) != 32 {
		return nil, fmt.Errorf("opening contacts store: the suppression key has %d bytes instead of 32", len(o.Secret))
	}
	d, err := kv.Open(kv.Options{
		Dir: o.Dir, FS: o.FS, Cache: o.Cache, Logger: o.Logger,
		Format: formatName, Version: formatVersion, MemTableSize: memTableSize,
	})
	if err != nil {
		return nil, err
	}
	s := &Store{kv: d, db: d.Pebble(), from: d.Pebble(), write: pebble.Sync, records: &recordCache{}}
	if o.NoSync {
		s.write = pebble.NoSync
	}
	if err := s.checkSecret(o.Dir, o.Secret); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return s, nil
}

func (s *Store) checkSecret(dir string, secret []byte) error {
	h := HashAddress(secret, "segue suppression key fingerprint")
	have, err := s.get(key(prefixMeta, metaSecret))
	switch {
	case err != nil:
		return fmt.Errorf("reading the key fingerprint: %w", err)
	case have == nil:
		if err := s.db.Set(key(prefixMeta, metaSecret), h[:16], pebble.Sync); err != nil {
			return fmt.Errorf("writing the key fingerprint: %w", err)
		}
		return nil
	case !bytes.Equal(have, h[:16]):
		return fmt.Errorf("%w in %s: restore the key that belongs to it (secrets_dir), else nobody suppressed is recognised", ErrSecret, dir)
	}
	return nil
}

// Close closes the store.
func (s *Store) Close() error { return s.kv.Close() }

// Epoch names this store; see [kv.DB.Epoch].
func (s *Store) Epoch() uint64 { return s.kv.Epoch() }

// CleanShutdown reports how the store was closed the last time.
func (s *Store) CleanShutdown() bool { return s.kv.CleanShutdown() }

// Trouble is why the store cannot write its tables; see [kv.DB.Trouble].
func (s *Store) Trouble() string { return s.kv.Trouble() }

// Disk is how the disk under the store has behaved.
func (s *Store) Disk() kv.Disk { return s.kv.Disk() }

// get returns a copy of a value, nil where there is none.
func (s *Store) get(k []byte) ([]byte, error) {
	v, closer, err := s.from.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(v)), v...)
	return out, closer.Close()
}

// record is get for a record that is kept in memory.
func (s *Store) record(k []byte) ([]byte, error) {
	at, kept := cacheKeyOf(k)
	if s.bypass || !kept {
		return s.get(k)
	}
	v, known, writes := s.records.get(at)
	if known {
		return v, nil
	}
	v, err := s.get(k)
	if err == nil {
		s.records.put(at, v, writes)
	}
	return v, err
}

// Uncached is the store as it is read from disk: for who checks what others read.
func (s *Store) Uncached() *Store {
	view := *s
	view.bypass = true
	return &view
}

// DropCache forgets the records in memory: they are read again.
func (s *Store) DropCache() { s.records.clear() }

// id reads an 8-byte number; 0 where there is none.
func (s *Store) id(k []byte) (uint64, error) {
	v, closer, err := s.from.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	if len(v) != 8 {
		return 0, fmt.Errorf("%w: id of %d bytes", ErrCorrupt, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

// ByAddress returns the contact with an address key, 0 if there is none.
func (s *Store) ByAddress(addressKey string) (uint64, error) {
	return s.id(key(prefixByAddress, addressKey))
}

// AccountByName returns the account with a name in lower case, 0 if there is none.
func (s *Store) AccountByName(name string) (uint64, error) { return s.id(key(prefixByName, name)) }

// AccountByDomain returns the account with a domain, 0 if there is none.
func (s *Store) AccountByDomain(domain string) (uint64, error) {
	return s.id(key(prefixByDomain, domain))
}

// AccountByGroup returns the account with a group id, 0 if there is none.
func (s *Store) AccountByGroup(group string) (uint64, error) {
	return s.id(key(prefixByGroup, group))
}

// Contact returns a contact; false if there is none with that id.
func (s *Store) Contact(id uint64) (Contact, bool, error) {
	v, err := s.record(keyID(prefixContact, id))
	if v == nil || err != nil {
		return Contact{}, false, err
	}
	c, err := DecodeContact(v)
	return c, err == nil, err
}

// Account returns an account; false if there is none with that id.
func (s *Store) Account(id uint64) (Account, bool, error) {
	v, err := s.get(keyID(prefixAccount, id))
	if v == nil || err != nil {
		return Account{}, false, err
	}
	a, err := DecodeAccount(v)
	return a, err == nil, err
}

// Cursor returns the place of a named consumer; zero if it has none.
func (s *Store) Cursor(consumer string) (Cursor, error) {
	v, err := s.get(key(prefixCursor, consumer))
	if v == nil || err != nil {
		return Cursor{}, err
	}
	return decodeCursor(v)
}

// Guard returns what whoever judges hard bounces remembered; nil = nothing.
func (s *Store) Guard() ([]byte, error) { return s.get(key(prefixMeta, metaGuard)) }

// Import returns the progress of an import; false if none is known.
func (s *Store) Import(id [16]byte) (Progress, bool, error) {
	v, err := s.get(key(prefixImport, string(id[:])))
	if v == nil || err != nil {
		return Progress{}, false, err
	}
	p, err := decodeProgress(v)
	return p, err == nil, err
}

// Counters are the numbers handed out so far.
type Counters struct {
	Contacts uint64 // first contact id not handed out, from 1
	Accounts uint64 // first account id not handed out, from 1
	Edges    uint64 // first edge id not handed out, from 1
	Numbered bool   // every edge has an id
	Flips    uint64 // last flip written; 0 = none
}

// Counters returns the counters as last written.
func (s *Store) Counters() (Counters, error) {
	contacts, e1 := s.id(key(prefixMeta, metaContacts))
	accounts, e2 := s.id(key(prefixMeta, metaAccounts))
	edges, e4 := s.id(key(prefixMeta, metaEdges))
	numbered, e5 := s.get(key(prefixMeta, metaNumbered))
	flips, e3 := s.id(key(prefixMeta, metaFlips))
	return Counters{
		Contacts: max(contacts, 1), Accounts: max(accounts, 1), Edges: max(edges, 1), Numbered: numbered != nil, Flips: flips,
	}, errors.Join(e1, e2, e3, e4, e5)
}
