// SPDX-License-Identifier: Apache-2.0

// Package kv opens a Pebble store the way every store of Segue needs it:
// newest table format, bloom filters, bounded caches, errors of the disk
// reported instead of swallowed, and a format key that refuses a store written
// by something else.
//
// Start with [Open]; the store packages then talk to [DB.Pebble] directly, for
// this package is a wrapper around opening and closing, not around reading and
// writing. It knows nothing about mail.
//
// # Keys
//
// Every key that begins with the byte 0x00 belongs to this package; a store
// must not write or scan there. There are five:
//
//	0x00 'f'   format: version as uvarint, then the name
//	0x00 'e'   epoch: 8 bytes, big endian, random, made with the store
//	0x00 'c'   present only while the store is closed after a clean Close
//	0x00 0x00  and 0xff 0xff: what [DB.Scrub] writes around all other keys, for a moment
package kv

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// Keys of this package. See the package comment.
const (
	keyFormat = "\x00f"
	keyEpoch  = "\x00e"
	keyClean  = "\x00c"

	keyScrubLow  = "\x00\x00"
	keyScrubHigh = "\xff\xff"
)

// FormatError says that a directory holds a store of another kind, or one
// written by another version of Segue. Nothing was changed.
type FormatError struct {
	Dir         string
	WantName    string
	WantVersion int
	HaveName    string // "" where the directory holds a Pebble store without a format key
	HaveVersion int
}

// Error says what was found, what was expected and what to do.
func (e *FormatError) Error() string {
	want := fmt.Sprintf("%q version %d", e.WantName, e.WantVersion)
	switch {
	case e.HaveName == "":
		return fmt.Sprintf("store %s was not written by segue (no format key); expected format %s: point data_dir at another directory", e.Dir, want)
	case e.HaveName != e.WantName:
		return fmt.Sprintf("store %s has format %q version %d; expected %s: directories of two stores are mixed up", e.Dir, e.HaveName, e.HaveVersion, want)
	default:
		return fmt.Sprintf("store %s has format version %d of %q; this segue reads version %d: run the segue that wrote it, or export and import", e.Dir, e.HaveVersion, e.HaveName, e.WantVersion)
	}
}

// DB is an open store. All methods are safe for concurrent use.
type DB struct {
	db        *pebble.DB
	epoch     uint64
	clean     bool
	readOnly  bool
	health    *health
	disk      *disk
	checks    io.Closer // of operations that hang; nil where the disk is not the operating system's
	closeOnce sync.Once
	closeErr  error
}

// Open opens the store in o.Dir and creates it if there is none. It returns a
// [*FormatError] where the directory holds something else. One process at a
// time can have a store open.
func Open(o Options) (*DB, error) {
	if o.Dir == "" || o.Format == "" || o.Version <= 0 {
		return nil, errors.New("opening store: Dir, Format and a Version above 0 are required")
	}
	d := &DB{readOnly: o.ReadOnly, health: o.health()}
	fs := o.FS
	if fs == nil {
		fs, d.checks = withHealthChecks(d.health)
	}
	d.disk = &disk{FS: fs, health: d.health}
	po := o.pebble(d.health, d.disk)
	if o.Cache == nil {
		defer po.Cache.Unref()
	}
	if err := d.open(o.Dir, po); err != nil {
		return nil, errors.Join(openError(o.Dir, err), d.endChecks())
	}
	d.health.opened.Store(true)
	if err := d.start(o); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// open turns the panic of Pebble at a directory that cannot be synced into an error.
func (d *DB) open(dir string, po *pebble.Options) (err error) {
	defer func() {
		if r := recover(); r != nil {
			failed, ok := r.(error)
			if !ok || !isErrno(failed) {
				panic(r)
			}
			err = failed
		}
	}()
	d.db, err = pebble.Open(dir, po)
	return err
}

func isErrno(err error) bool {
	_, ok := errors.AsType[syscall.Errno](err)
	return ok
}

// openError says what to do where it was the system that did not let a store be opened.
func openError(dir string, err error) error {
	switch {
	case errors.Is(err, syscall.EAGAIN): // how Pebble learns that its lock is taken
		return fmt.Errorf("opening store %s: another process has it open: is segue running already? (each engine needs a data_dir of its own)", dir)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("opening store %s: %w (it and all in it must belong to the user that segue runs as)", dir, err)
	case isErrno(err):
		return fmt.Errorf("opening store %s: %w (%s)", dir, err, advice(err))
	}
	return fmt.Errorf("opening store %s: %w", dir, err)
}

func (d *DB) endChecks() error {
	if d.checks == nil {
		return nil
	}
	return d.checks.Close()
}

func (d *DB) close() error { return errors.Join(d.db.Close(), d.endChecks()) }

// Trouble is why the store cannot write its tables, "" where it can. It is tried again all the
// time; meanwhile memory and log fill up, so nothing new should be taken.
func (d *DB) Trouble() string {
	trouble, _ := d.health.status()
	return trouble
}

// Disk is how the disk has behaved.
func (d *DB) Disk() Disk {
	_, disk := d.health.status()
	return disk
}

// start checks the format, reads the epoch and takes the clean marker away.
func (d *DB) start(o Options) error {
	have, err := d.get(keyFormat)
	if err != nil {
		return fmt.Errorf("reading the format of store %s: %w", o.Dir, err)
	}
	if have == nil {
		return d.create(o)
	}
	if err := checkFormat(o, have); err != nil {
		return err
	}
	epoch, err := d.get(keyEpoch)
	if err != nil {
		return fmt.Errorf("reading the epoch of store %s: %w", o.Dir, err)
	}
	if len(epoch) != 8 {
		return fmt.Errorf("store %s: epoch key has %d bytes instead of 8: restore it from a backup", o.Dir, len(epoch))
	}
	d.epoch = binary.BigEndian.Uint64(epoch)
	marker, err := d.get(keyClean)
	if err != nil {
		return fmt.Errorf("reading the clean marker of store %s: %w", o.Dir, err)
	}
	d.clean = marker != nil
	if !d.clean || d.readOnly {
		return nil
	}
	if err := d.db.Delete([]byte(keyClean), pebble.Sync); err != nil {
		return fmt.Errorf("removing the clean marker of store %s: %w", o.Dir, err)
	}
	return nil
}

// create writes format and epoch into a store that holds nothing yet.
func (d *DB) create(o Options) error {
	empty, err := d.empty()
	if err != nil {
		return fmt.Errorf("reading store %s: %w", o.Dir, err)
	}
	if !empty || d.readOnly {
		return &FormatError{Dir: o.Dir, WantName: o.Format, WantVersion: o.Version}
	}
	var epoch [8]byte
	for d.epoch == 0 {
		if _, err := rand.Read(epoch[:]); err != nil {
			return fmt.Errorf("making an epoch for store %s: %w", o.Dir, err)
		}
		d.epoch = binary.BigEndian.Uint64(epoch[:])
	}
	b := d.db.NewBatch()
	defer b.Close()
	err = errors.Join(
		b.Set([]byte(keyFormat), append(binary.AppendUvarint(nil, uint64(o.Version)), o.Format...), nil), //nolint:gosec // Open refuses versions below 1
		b.Set([]byte(keyEpoch), epoch[:], nil),
		b.Commit(pebble.Sync),
	)
	if err != nil {
		return fmt.Errorf("creating store %s: %w", o.Dir, err)
	}
	d.clean = true
	return nil
}

func checkFormat(o Options, have []byte) error {
	e := &FormatError{Dir: o.Dir, WantName: o.Format, WantVersion: o.Version}
	v, n := binary.Uvarint(have)
	if n <= 0 || v > 1<<30 {
		return e
	}
	e.HaveName, e.HaveVersion = string(have[n:]), int(v)
	if e.HaveName == o.Format && e.HaveVersion == o.Version {
		return nil
	}
	return e
}

// get returns a copy of the value, nil where there is none.
func (d *DB) get(key string) ([]byte, error) {
	v, closer, err := d.db.Get([]byte(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := append([]byte{}, v...)
	return out, closer.Close()
}

func (d *DB) empty() (bool, error) {
	it, err := d.db.NewIter(nil)
	if err != nil {
		return false, err
	}
	any := it.First()
	return !any, errors.Join(it.Error(), it.Close())
}

// Pebble is the database itself. It is closed by [DB.Close] and by nobody else.
func (d *DB) Pebble() *pebble.DB { return d.db }

// Epoch is a random number, never 0, made with the store and kept with it. A
// cursor into this store names it, so that a cursor of a store that was since
// recreated is recognised.
func (d *DB) Epoch() uint64 { return d.epoch }

// CleanShutdown reports whether the store was new at Open or had been closed
// by [DB.Close]. After false, derived state deserves a check.
func (d *DB) CleanShutdown() bool { return d.clean }

// Abandon is Close for a store that cannot be trusted any more: it is not
// marked as cleanly closed.
func (d *DB) Abandon() error {
	d.closeOnce.Do(func() {
		if err := d.close(); err != nil {
			d.closeErr = fmt.Errorf("closing store: %w", err)
		}
	})
	return d.closeErr
}

// Close flushes what is in memory, marks the store as cleanly closed and
// releases it. Iterators and snapshots must be closed before. Calling it again
// returns the first result.
func (d *DB) Close() error {
	d.closeOnce.Do(func() {
		var mark error
		if !d.readOnly {
			mark = d.db.Set([]byte(keyClean), nil, pebble.Sync)
		}
		if err := errors.Join(mark, d.close()); err != nil {
			d.closeErr = fmt.Errorf("closing store: %w", err)
		}
	})
	return d.closeErr
}
