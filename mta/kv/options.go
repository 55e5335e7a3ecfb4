// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Defaults of [Options].
const (
	// DefaultMemTableSize is 64 MiB. Smaller: mail that is delivered within
	// minutes reaches the tables and is written twice. Larger: 256 MiB measured
	// 560 MB of resident memory.
	DefaultMemTableSize = 64 << 20
	// DefaultCacheSize is what a store that shares no cache gets for blocks: 32
	// MiB holds the index and filter blocks of some ten gigabytes. Two memtables
	// come on top, see [NewCache].
	DefaultCacheSize = 32 << 20
)

// FS is the file system of a store. The name is here so that packages above
// the stores can pass one on without importing Pebble.
type FS = vfs.FS

// Options say where a store is and how much memory it may have.
type Options struct {
	Dir string // directory, made with its parents if absent; required
	FS  FS     // nil = the disk, with checks for operations that hang

	Format  string // name of the store's format; required
	Version int    // version of the format, from 1; required

	MemTableSize uint64 // bytes of one memtable, of which up to four exist; 0 = DefaultMemTableSize
	Cache        *Cache // block cache shared between stores; nil = one of DefaultCacheSize for this store
	ReadOnly     bool   // open an existing store without changing a byte of it

	Logger  *slog.Logger     // nil = discard
	OnFatal func(msg string) // the store cannot go on; must not return; nil = a line on standard error and [ExitStatus]
}

// Cache is a block cache that several stores share, so that one limit holds
// for all of them.
type Cache struct {
	c         *pebble.Cache
	memtables atomic.Int64 // two of every store that was opened with it
}

// NewCache makes a cache of size bytes. Its memory is taken on demand.
//
// Pebble counts memtables against the cache, so size bounds blocks and memtables
// of all its stores together. Give it at least twice the sum of their
// MemTableSize plus [DefaultCacheSize] for each: with less, a burst of writes
// leaves no room for blocks, and every read of a filter goes to disk (measured:
// half of the time of an import).
func NewCache(size int64) *Cache { return &Cache{c: pebble.NewCache(size)} }

// share notes the memtables of one more store and reports whether the cache
// still has room for blocks beside them all.
func (c *Cache) share(memTableSize uint64) bool {
	return c.memtables.Add(2*int64(memTableSize)) < c.c.MaxSize() //nolint:gosec // a memtable of 2^62 bytes fits nowhere
}

// Close gives up the maker's reference. The memory is freed when the last store
// that uses the cache is closed.
func (c *Cache) Close() { c.c.Unref() }

// pebble turns o into Pebble's options. The cache it sets when o has none
// carries a reference that the caller must drop after opening.
func (o *Options) pebble(h *health, fs vfs.FS) *pebble.Options {
	p := &pebble.Options{
		FS:       fs,
		ReadOnly: o.ReadOnly,
		// Pebble's default is the oldest format it can read.
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       o.MemTableSize,
		// Four: a flush that lags behind a burst must not stop acceptance.
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		// The default of 12 stops writes during an import.
		L0StopWritesThreshold: 40,
		LBaseMaxBytes:         256 << 20,
		BytesPerSync:          1 << 20,
		// Two cores are the smallest machine; compaction may have both.
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
		Logger:                     &logger{health: h},
		EventListener:              h.listener(),
	}
	if p.MemTableSize == 0 {
		p.MemTableSize = DefaultMemTableSize
	}
	if o.Cache != nil {
		p.Cache = o.Cache.c
		if !o.Cache.share(p.MemTableSize) {
			h.log.Warn("shared block cache is smaller than the memtables of its stores", slog.Int64("cache_bytes", o.Cache.c.MaxSize()),
				slog.Int64("memtable_bytes", o.Cache.memtables.Load()))
		}
	} else {
		p.Cache = pebble.NewCache(DefaultCacheSize + 2*int64(p.MemTableSize)) //nolint:gosec // a memtable of 2^62 bytes fits nowhere
	}
	for i := range p.Levels {
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return p
}

// health makes the watch over the store's disk.
func (o *Options) health() *health {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	store := strings.TrimLeft(strings.TrimPrefix(o.Format, "segue"), "- ")
	return &health{store: store, log: log.With(slog.String("store", store)), fatal: o.OnFatal, stderr: os.Stderr, exit: os.Exit}
}

func (h *health) listener() *pebble.EventListener {
	ended := func(err error) {
		if err == nil {
			h.worked()
		}
	}
	return &pebble.EventListener{
		BackgroundError: h.failed,
		FlushEnd:        func(i pebble.FlushInfo) { ended(i.Err) },
		CompactionEnd:   func(i pebble.CompactionInfo) { ended(i.Err) },
		LowDiskSpace: func(i pebble.LowDiskSpaceInfo) {
			h.log.Warn("disk space is low", slog.Uint64("available_bytes", i.AvailBytes), slog.Uint64("total_bytes", i.TotalBytes))
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			h.log.Warn("store stopped accepting writes", slog.String("reason", i.Reason))
		},
		WriteStallEnd: func() { h.log.Info("store accepts writes again") },
	}
}

// logger passes Pebble's own messages on. They name files and numbers, never
// keys or values, but at the level of debug only.
type logger struct{ health *health }

func (l *logger) Infof(format string, args ...any) {
	if l.health.log.Enabled(context.Background(), slog.LevelDebug) {
		l.health.log.Debug("pebble", slog.String("text", fmt.Sprintf(format, args...)))
	}
}

func (l *logger) Errorf(format string, args ...any) {
	l.health.log.Error("pebble reported an error", slog.String("text", fmt.Sprintf(format, args...)))
}

// Fatalf must not return: Pebble calls it with locks held, when its log cannot
// be written or a table is corrupt. Ending the process is right, for no 250 can be
// given any more.
func (l *logger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, a := range args {
		if e, ok := a.(error); ok {
			err = e
		}
	}
	l.health.end(fmt.Sprintf(format, args...), err) // the advice is by the cause
}

// Space reports the bytes that are free to this process and the size of the
// file system that holds dir, in bytes.
func Space(dir string) (free, total uint64, err error) {
	u, err := vfs.Default.GetDiskUsage(dir)
	if err != nil {
		return 0, 0, fmt.Errorf("reading the free space of %s: %w", dir, err)
	}
	return u.AvailBytes, u.TotalBytes, nil
}
