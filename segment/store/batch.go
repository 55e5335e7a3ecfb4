// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Batch is a set of writes that become visible and durable together. The first
// failure is kept and returned by [Batch.Commit].
type Batch struct {
	s   *Store
	b   *pebble.Batch
	buf []byte
	err error

	flips uint64 // the last flip in it; 0 = none
}

// Batch starts a batch. It must be ended by Commit or Close.
func (s *Store) Batch() *Batch { return &Batch{s: s, b: s.db.NewBatch(), err: s.readOnly()} }

func (b *Batch) set(k, v []byte) { b.err = errors.Join(b.err, b.b.Set(k, v, nil)) }

func (b *Batch) fail(err error) { b.err = errors.Join(b.err, err) }

func (b *Batch) setID(k []byte, id uint64) {
	var v [8]byte
	binary.BigEndian.PutUint64(v[:], id)
	b.set(k, v[:])
}

func (b *Batch) delete(k []byte) { b.err = errors.Join(b.err, b.b.Delete(k, nil)) }

// Contact writes a contact's record.
func (b *Batch) Contact(id uint64, c *Contact) {
	b.buf = c.Append(b.buf[:0])
	b.set(keyID(prefixContact, id), b.buf)
}

// Account writes an account's record.
func (b *Batch) Account(id uint64, a *Account) {
	b.buf = a.Append(b.buf[:0])
	b.set(keyID(prefixAccount, id), b.buf)
}

// State writes a contact's state.
func (b *Batch) State(id uint64, st *State) {
	b.buf = st.Append(b.buf[:0])
	b.set(keyID(prefixState, id), b.buf)
}

// ByAddress makes an address key lead to a contact.
func (b *Batch) ByAddress(addressKey string, id uint64) {
	b.setID(key(prefixByAddress, addressKey), id)
}

// DeleteAddress forgets an address.
func (b *Batch) DeleteAddress(addressKey string) { b.delete(key(prefixByAddress, addressKey)) }

// AccountByName makes a name in lower case lead to an account.
func (b *Batch) AccountByName(name string, id uint64) { b.setID(key(prefixByName, name), id) }

// AccountByDomain makes a domain lead to an account.
func (b *Batch) AccountByDomain(domain string, id uint64) { b.setID(key(prefixByDomain, domain), id) }

// AccountByGroup makes a group id lead to an account.
func (b *Batch) AccountByGroup(group string, id uint64) { b.setID(key(prefixByGroup, group), id) }

// DeleteAccountName forgets the name of an account.
func (b *Batch) DeleteAccountName(name string) { b.delete(key(prefixByName, name)) }

// Suppress writes a suppression over one of the same address and scope.
func (b *Batch) Suppress(x *Suppression) {
	b.buf = x.append(b.buf[:0])
	b.set(keySuppression(x.Hash, x.Scope), b.buf)
}

// Lift removes a suppression.
func (b *Batch) Lift(h Hash, scope string) { b.delete(keySuppression(h, scope)) }

// Flip appends to the flip log. The caller numbers without gaps.
func (b *Batch) Flip(f *Flip) {
	b.buf = f.append(b.buf[:0])
	b.set(keyID(prefixFlip, f.Sequence), b.buf)
	b.flips = f.Sequence
}

// Cursor writes the place of a named consumer.
func (b *Batch) Cursor(consumer string, c Cursor) {
	b.buf = c.append(b.buf[:0])
	b.set(key(prefixCursor, consumer), b.buf)
}

// Guard writes what whoever judges hard bounces remembers.
func (b *Batch) Guard(note []byte) { b.set(key(prefixMeta, metaGuard), note) }

// Import writes the progress of an import.
func (b *Batch) Import(id [16]byte, p Progress) {
	b.buf = p.append(b.buf[:0])
	b.set(key(prefixImport, string(id[:])), b.buf)
}

// DeleteImport forgets the progress of an import.
func (b *Batch) DeleteImport(id [16]byte) { b.delete(key(prefixImport, string(id[:]))) }

// Contacts writes the first contact id not handed out.
func (b *Batch) Contacts(next uint64) { b.setID(key(prefixMeta, metaContacts), next) }

// Accounts writes the first account id not handed out.
func (b *Batch) Accounts(next uint64) { b.setID(key(prefixMeta, metaAccounts), next) }

// Edges writes the first edge id not handed out.
func (b *Batch) Edges(next uint64) { b.setID(key(prefixMeta, metaEdges), next) }

// Numbered writes that every edge has an id.
func (b *Batch) Numbered() { b.set(key(prefixMeta, metaNumbered), nil) }

// Commit writes the batch and waits until it is on disk. After an error none
// of it is.
func (b *Batch) Commit() error {
	defer b.Close()
	if b.flips != 0 {
		b.setID(key(prefixMeta, metaFlips), b.flips)
	}
	if b.err != nil {
		return b.err
	}
	repr := b.b.Reader() // a large batch is gone from b after its commit
	err := b.b.Commit(b.s.write)
	b.s.records.committed(repr, err != nil)
	if err != nil {
		return fmt.Errorf("committing to the contacts store: %w", err)
	}
	return nil
}

// Close gives up a batch that will not be committed; after Commit it does
// nothing. (Pebble pools batches: closing one twice would close a stranger's.)
func (b *Batch) Close() {
	if b.b != nil {
		b.err = errors.Join(b.err, b.b.Close())
		b.b = nil
	}
}
