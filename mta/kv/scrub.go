// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrPinned says that somebody is reading an older state of the store: what was
// deleted since must stay readable, and stays on disk.
var ErrPinned = errors.New("an older state of the store is being read")

// rotations is after how many new logs none is left that was there before: one
// that is written to, and as many as Pebble keeps to write over.
const rotations = 8

// Scrub takes what was deleted or replaced before the call out of the files of
// the store: the keys with the prefixes and their values are in no table, and
// nothing is left in a log. It writes tables anew that hold such keys, and
// nothing else, and lets others write meanwhile. Where it fails it may be repeated;
// [ErrPinned] means later. Old files are removed soon after it returned.
//
// The list of tables (MANIFEST) names the first and the last key of each table.
// Where a deleted key was one of these it stays there until the list is written
// anew, twice: at the latest when the store was opened two times more.
func (d *DB) Scrub(ctx context.Context, prefixes [][]byte) error {
	if d.db.Metrics().Snapshots.Count > 0 {
		return ErrPinned
	}
	d.disk.fresh.Add(1)
	defer d.disk.fresh.Add(-1)
	// Two tables that overlap, and with them all others, cannot be moved as they
	// are: they are merged, and deletions end there.
	for range 2 {
		for _, key := range []string{keyScrubLow, keyScrubHigh} {
			if err := d.db.Set([]byte(key), nil, nil); err != nil {
				return fmt.Errorf("scrubbing the store: %w", err)
			}
		}
		if err := d.db.Flush(); err != nil {
			return fmt.Errorf("scrubbing the store: writing tables: %w", err)
		}
	}
	for _, p := range prefixes {
		if err := d.db.Compact(ctx, p, behind(p), false); err != nil {
			return fmt.Errorf("scrubbing the store: compacting: %w", err)
		}
	}
	for _, key := range []string{keyScrubLow, keyScrubHigh} {
		if err := d.db.Delete([]byte(key), nil); err != nil {
			return fmt.Errorf("scrubbing the store: %w", err)
		}
	}
	for range rotations - 2 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.db.Flush(); err != nil {
			return fmt.Errorf("scrubbing the store: beginning a new log: %w", err)
		}
	}
	if d.db.Metrics().Snapshots.Count > 0 {
		return ErrPinned // it may have begun before a table was written
	}
	return nil
}

// behind is the first key after all with a prefix, which does not end with 0xff
// alone.
func behind(prefix []byte) []byte {
	end := append([]byte{}, prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return append(prefix, 0xff)
}

// reuse opens a new log. Pebble has it written over an old one, whose bytes stay
// behind its end; while the store is scrubbed the old one goes instead.
func (d *disk) reuse(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if d.fresh.Load() == 0 {
		return d.FS.ReuseForWrite(old, name, c)
	}
	f, err := d.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	if err := d.Remove(old); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
