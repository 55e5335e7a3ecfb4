// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/kv"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/store"
)

// Erased is what [DB.Erase] did to one person, and what is left to be done.
type Erased struct {
	Hash   string    // short form of the keyed hash that stands for the person
	At     time.Time // when it was erased
	Done   time.Time // when its bytes were out of the files; zero = not yet
	Counts EraseCounts

	// Address is whose queued mail is to be concluded, "" once [DB.MailErased] was
	// told that it is.
	Address string

	key store.Hash
}

func erasedOf(x *store.Erasure) Erased {
	e := Erased{Hash: shortOf(x.Hash), At: x.At, Done: x.Done, key: x.Hash}
	if x.Stage == store.EraseMail {
		e.Address = x.Name
	}
	for i, n := range e.Counts.fields() {
		if i < len(x.Counts) {
			*n = x.Counts[i]
		}
	}
	return e
}

// shortHashSize is how many bytes of a hash people see: enough to tell millions apart.
const shortHashSize = 8

func shortOf(h store.Hash) string { return hex.EncodeToString(h[:shortHashSize]) }

// erasedSet is who was erased, by hash, and since when that does not hold any more:
// the zero time as long as it does.
type erasedSet struct {
	mu      sync.RWMutex
	lifted  map[store.Hash]time.Time
	pending map[store.Hash]store.EraseStage
	size    atomic.Int64
}

// none reports whether nobody was: then no hash needs to be computed.
func (s *erasedSet) none() bool { return s.size.Load() == 0 }

func (s *erasedSet) add(x *store.Erasure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lifted == nil {
		s.lifted, s.pending = map[store.Hash]time.Time{}, map[store.Hash]store.EraseStage{}
	}
	s.lifted[x.Hash] = x.Lifted
	if delete(s.pending, x.Hash); x.Stage != store.EraseDone {
		s.pending[x.Hash] = x.Stage
	}
	s.size.Store(int64(len(s.lifted)))
}

// bars reports whether who was erased has not been let in again.
func (s *erasedSet) bars(h store.Hash) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	lifted, ok := s.lifted[h]
	return ok && lifted.IsZero()
}

// covers reports whether what happened at an instant is forgotten.
func (s *erasedSet) covers(h store.Hash, at time.Time) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	lifted, ok := s.lifted[h]
	return ok && (lifted.IsZero() || !at.After(lifted))
}

func (s *erasedSet) in(stage store.EraseStage) []store.Hash {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []store.Hash
	for h, at := range s.pending {
		if at == stage {
			list = append(list, h)
		}
	}
	return list
}

// loadErased reads the ledger.
func (d *DB) loadErased() error {
	return d.store.Erasures(func(x store.Erasure) error {
		d.erased.add(&x)
		return nil
	})
}

// Erasures returns those erasures whose queued mail is not known to be concluded.
func (d *DB) Erasures() ([]Erased, error) {
	var list []Erased
	for _, h := range d.erased.in(store.EraseMail) {
		x, err := d.store.ErasureOf(h)
		if err != nil {
			return nil, err
		}
		list = append(list, erasedOf(&x))
	}
	return list, nil
}

// MailErased notes that the queued mail of an erased person is concluded, and how
// many recipients that were. From here on nothing of the store names the person
// but what [DB.Scrub] needs. It returns the erasure as it is then.
func (d *DB) MailErased(e Erased, dropped int) (Erased, error) {
	err := d.update(e.key, func(x *store.Erasure) bool {
		if x.Stage != store.EraseMail {
			return false
		}
		for len(x.Counts) < len(e.Counts.fields()) {
			x.Counts = append(x.Counts, 0)
		}
		x.Counts[len(e.Counts.fields())-1] += uint64(max(dropped, 0))
		x.Stage, x.Name = store.EraseFiles, ""
		return true
	})
	if err != nil {
		return e, err
	}
	x, err := d.store.ErasureOf(e.key)
	return erasedOf(&x), err
}

// Erasure returns an erasure as it is now.
func (d *DB) Erasure(e Erased) (Erased, error) {
	x, err := d.store.ErasureOf(e.key)
	return erasedOf(&x), err
}

// update changes an entry of the ledger, where change says so.
func (d *DB) update(h store.Hash, change func(*store.Erasure) bool) error {
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return errClosed
	}
	x, err := d.store.ErasureOf(h)
	if err != nil || !change(&x) {
		return err
	}
	b := d.store.Batch()
	defer b.Close()
	b.Erasure(&x)
	if err := b.Commit(); err != nil {
		return err
	}
	d.erased.add(&x)
	return nil
}

// ErrPinned says that an export is running, which reads what was there before:
// [DB.Scrub] is to be called again.
var ErrPinned = kv.ErrPinned

// Scrub takes the bytes of everybody who was erased, and whose mail is concluded,
// out of the files of the store, and reports whether there was anybody. It writes
// tables anew that hold such bytes, which may take some seconds in a large store;
// others write meanwhile.
func (d *DB) Scrub(ctx context.Context) (bool, error) {
	var prefixes [][]byte
	list := d.erased.in(store.EraseFiles)
	if len(list) == 0 {
		return false, nil
	}
	for _, h := range list {
		x, err := d.store.ErasureOf(h)
		if err != nil {
			return false, err
		}
		prefixes = append(prefixes, x.Left...)
	}
	if err := d.store.Scrub(ctx, prefixes); err != nil {
		return false, err
	}
	// The prefixes name the person too: they go, and then out of the files.
	forget := func(x *store.Erasure) bool { x.Left = nil; return true }
	done := func(x *store.Erasure) bool {
		if x.Left != nil { // erased anew meanwhile
			return false
		}
		x.Stage, x.Done = store.EraseDone, d.now()
		return true
	}
	if err := d.updateAll(list, forget); err != nil {
		return false, err
	}
	if err := d.store.Scrub(ctx, nil); err != nil {
		return false, err
	}
	if err := d.updateAll(list, done); err != nil {
		return false, err
	}
	d.log.Info("what was erased is out of the files", slog.Int("persons", len(list)))
	return true, nil
}

func (d *DB) updateAll(list []store.Hash, change func(*store.Erasure) bool) error {
	var errs []error
	for _, h := range list {
		if err := d.update(h, change); err != nil {
			errs = append(errs, fmt.Errorf("noting how far an erasure is: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Redact takes out of an event of the queue's log what names a person who was
// erased, and reports whether it did. The log itself is never altered: whoever
// shows events calls this first. What statistics count stays.
func (d *DB) Redact(e *event.Event) bool {
	if d.erased.none() || e.Address == "" {
		return false
	}
	a, err := rfc5321.ParseAddress(e.Address)
	if err != nil || !d.forgotten(a.Key(), e.Time) {
		return false
	}
	e.Address, e.Contact, e.Metadata, e.Reply, e.Token = "", 0, "", "", ""
	e.Domain, e.Site, e.Host = "", "", "" // a person may have a domain for itself
	return true
}
