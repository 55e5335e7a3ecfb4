// SPDX-License-Identifier: Apache-2.0

// Package store keeps accepted mail on disk: messages, recipients, schedule,
// event log, budget counters and the sent index, in one Pebble store. keys.go is
// the format document.
//
// All writes pass one committer goroutine (see [Store.Commit]): it runs the
// operations that wait one after another against the current state, gathers
// their writes in one batch, and syncs it; an operation has happened when Commit
// returns nil, and not before. That gives three things that concurrent
// committers cannot: events are numbered in the order in which they become
// visible, a recipient's generation is checked and raised without a lock, and a
// reader that keeps below [Store.Durable] never sees what a power cut can take back.
//
// [Open] first. What the operations mean (delivering, retrying, moving) is the
// business of package queue; this package keeps the indexes of a recipient in
// step with its record ([Tx.Put], [Tx.Remove]) so that it always has exactly one
// owner, and [Verify] proves it.
package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seguemta/segue/mta/kv"
)

// Errors of operations.
var (
	// ErrClosed says that the store is closed or failed; nothing was written.
	ErrClosed = errors.New("queue store is closed")
	// ErrStale says that a recipient was changed or concluded since the caller
	// looked: the caller lost, and must look again or let go.
	ErrStale = errors.New("recipient has changed")
)

// eventGap is how many event numbers an open after a crash leaves out. A disk that
// lost what it had confirmed takes events back which consumers with a store of their
// own have seen; without the gap their numbers would come again and be skipped.
const eventGap = 1 << 20

// FormatVersion is the version of the keys and values of this package.
const FormatVersion = 1

// Options of a store.
type Options struct {
	Dir          string
	FS           kv.FS // nil = the disk
	Cache        *kv.Cache
	MemTableSize uint64 // bytes; 0 = 64 MiB
	Logger       *slog.Logger
	Now          func() time.Time // nil = time.Now
	OnFatal      func(string)     // see kv.Options

	// IDBlock is how many message ids are reserved at once; 0 = 100,000: a crash
	// skips at most so many, and a reservation costs one key per block.
	IDBlock uint64

	noSync bool // tests only: the control that must lose mail
}

// Store is an open queue store. Its methods are safe for concurrent use.
type Store struct {
	db    *kv.DB
	log   *slog.Logger
	now   func() time.Time
	sync  *pebble.WriteOptions
	block uint64

	ops    chan request
	groups chan *group
	quit   chan struct{}
	failed chan struct{} // closed when mu.failed is set
	wg     sync.WaitGroup
	opened bool // whether the last shutdown was clean

	// gate is held for reading while an operation is handed over, so that none
	// is handed to a committer that has gone.
	gate struct {
		sync.RWMutex
		shut bool
	}

	// Owned by the committer goroutine.
	state state

	mu struct {
		sync.Mutex
		durable uint64        // highest event sequence that is on disk
		changed chan struct{} // closed and replaced when durable rises
		failed  error
		classes map[ClassID]Class
	}
}

// state is what the committer goroutine alone reads and writes.
type state struct {
	nextMessage uint64
	idLimit     uint64
	nextEvent   uint64
	lastEvent   uint64 // the last one written: after a crash there is a gap before nextEvent
	nextClass   ClassID
	classIDs    map[Class]ClassID
	counters    map[string]*Counter
	day         uint32
	usage       usage
}

type request struct {
	op   Op
	done func(error)
}

// Op is one operation. It runs in the committer goroutine: it must be quick and
// must do all its reading and checking before its first write, because an error
// returned after a write fails the store.
type Op func(tx *Tx) error

// Open opens or creates the store and starts its committer.
func Open(o Options) (*Store, error) {
	db, err := kv.Open(kv.Options{
		Dir: o.Dir, FS: o.FS, Format: "segue-queue", Version: FormatVersion,
		MemTableSize: o.MemTableSize, Cache: o.Cache, Logger: o.Logger, OnFatal: o.OnFatal,
	})
	if err != nil {
		return nil, err
	}
	s := &Store{
		db: db, log: o.Logger, now: o.Now, sync: pebble.Sync, block: o.IDBlock,
		ops: make(chan request, 1024), groups: make(chan *group, 1), quit: make(chan struct{}), failed: make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.block == 0 {
		s.block = 100_000
	}
	if o.noSync {
		s.sync = pebble.NoSync
	}
	s.mu.changed = make(chan struct{})
	s.mu.classes = make(map[ClassID]Class)
	s.opened = db.CleanShutdown()
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening queue store %s: %w", o.Dir, err), db.Close())
	}
	s.wg.Add(2)
	go s.commitLoop()
	go s.syncLoop()
	return s, nil
}

// load reads the numbers that go on and repairs what a crash can leave: bodies
// whose header never came.
func (s *Store) load() error {
	s.state = state{classIDs: make(map[Class]ClassID), counters: make(map[string]*Counter), nextClass: 1}
	limit, err := s.number(nameNextMessage)
	if err != nil {
		return err
	}
	s.state.nextMessage, s.state.idLimit = max(limit, 1), max(limit, 1)
	last, err := s.lastEvent()
	if err != nil {
		return err
	}
	s.state.lastEvent, s.state.nextEvent = last, last+1
	if !s.opened {
		s.state.nextEvent += eventGap
	}
	s.mu.durable = last
	if err := s.loadClasses(); err != nil {
		return err
	}
	err = s.scan([]byte{prefixDay}, nil, func(k, _ []byte) error {
		s.state.day = binary.BigEndian.Uint32(k[1:]) // the last one stays
		return nil
	})
	if err != nil {
		return err
	}
	if err := errors.Join(s.loadCounters(), s.loadReservations()); err != nil {
		return err
	}
	return s.removeOrphans()
}

func (s *Store) loadClasses() error {
	return s.scan([]byte("nclass"), nil, func(k, v []byte) error {
		id := ClassID(binary.BigEndian.Uint32(k[len(k)-4:]))
		c, err := decodeClass(v)
		if err != nil {
			return err
		}
		s.state.classIDs[c] = id
		s.mu.classes[id] = c
		s.state.nextClass = max(s.state.nextClass, id+1)
		return nil
	})
}

// loadCounters reads the budgets. After a crash the lease counts as used: some
// of it may have been, and a cap is never exceeded.
func (s *Store) loadCounters() error {
	return s.scan([]byte{prefixBudget}, nil, func(k, v []byte) error {
		c, err := decodeCounter(v)
		if err != nil {
			return err
		}
		if !s.opened && c.Leased > c.Used {
			// Nobody knows the hour; the last one limits a rolling day for longest.
			c.Hours[len(c.Hours)-1] += c.Leased - c.Used
			c.Used = c.Leased
		}
		s.state.counters[string(k[1:])] = &c
		return nil
	})
}

func (s *Store) removeOrphans() error {
	batch := s.db.Pebble().NewBatch()
	err := s.scan([]byte{prefixOrphan}, nil, func(k, _ []byte) error {
		from := append([]byte{prefixBody}, k[1:]...)
		if err := batch.DeleteRange(from, upper(from), nil); err != nil {
			return err
		}
		return batch.Delete(k, nil)
	})
	if err != nil {
		return err
	}
	if err := batch.Commit(s.sync); err != nil {
		return fmt.Errorf("removing bodies without a message: %w", err)
	}
	return nil
}

// Close waits for the operations under way, gives unused leases back and closes
// the store. A store that failed is not marked as cleanly closed: what was
// leased counts as used when it is opened again. A second Close does nothing.
func (s *Store) Close() error {
	if err := s.Commit(context.Background(), returnLeases); err != nil && !errors.Is(err, ErrClosed) {
		s.log.Error("giving budget leases back failed", slog.Any("error", err))
	}
	s.gate.Lock()
	again := s.gate.shut
	s.gate.shut = true
	s.gate.Unlock()
	if again {
		return nil
	}
	close(s.quit)
	s.wg.Wait()
	end := s.db.Close
	if s.Err() != nil {
		end = s.db.Abandon
	}
	if err := end(); err != nil {
		return fmt.Errorf("closing queue store: %w", err)
	}
	return nil
}

func returnLeases(tx *Tx) error {
	for name, c := range tx.s.state.counters {
		if c.Leased != c.Used {
			c.Leased = c.Used
			tx.putCounter(name, c)
		}
	}
	return nil
}

// Clean reports whether the store had been closed properly before this Open.
func (s *Store) Clean() bool { return s.opened }

// Epoch names this store's event sequence.
func (s *Store) Epoch() uint64 { return s.db.Epoch() }

// Durable is the sequence of the last event that a power cut cannot take back,
// and a channel that is closed when it rises.
func (s *Store) Durable() (uint64, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.durable, s.mu.changed
}

// Err is why the store takes no more operations, or nil.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.failed
}

// Failed is closed when the store takes no more operations because a write
// failed. Whoever sends mail must stop then: no outcome can be recorded.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Trouble is why the store cannot write its tables, "" where it can; see [kv.DB.Trouble].
func (s *Store) Trouble() string { return s.db.Trouble() }

// Disk is how the disk under the store has behaved.
func (s *Store) Disk() kv.Disk { return s.db.Disk() }

// Class is the class of a number; the zero Class where there is none.
func (s *Store) Class(id ClassID) Class {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.classes[id]
}

// Classes are all interned classes.
func (s *Store) Classes() map[ClassID]Class {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.mu.classes)
}
