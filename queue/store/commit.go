// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
)

// maxGroup bounds the bytes of one batch, so that a group of large messages
// does not delay the small ones behind it.
const maxGroup = 4 << 20

// group is the operations that share one batch.
type group struct {
	batch *pebble.Batch
	done  []func(error)
	errs  []error
	last  uint64 // event sequence reached
	err   error  // applying failed
	sync  bool   // applied: the disk is to be waited for
}

// Commit runs op and returns when its writes are on disk (nil), or when it was
// refused: by itself, because the store is closed or failed, or because ctx
// ended before it ran. It may still run after ctx ended: the caller then does not
// know the outcome, and must not read what op assigns.
func (s *Store) Commit(ctx context.Context, op Op) error {
	done := make(chan error, 1)
	s.Submit(op, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Submit is Commit without the wait: done is called once, from the committer's
// goroutines, in the order of the operations; it must not block or call Commit.
func (s *Store) Submit(op Op, done func(error)) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.gate.shut {
		done(ErrClosed)
		return
	}
	s.ops <- request{op: op, done: done}
}

// WriteBody stores a large body ahead of its message, outside of the committer's
// batch, and returns the message's id. The parts need no sync of their own: the
// log is written in order, so the sync of the header's commit covers them. A body
// whose header never comes is removed at the next open.
func (s *Store) WriteBody(ctx context.Context, body []byte) (uint64, error) {
	var mid uint64
	if err := s.Commit(ctx, func(tx *Tx) error {
		mid = tx.NewMessage()
		tx.set(key64(prefixOrphan, mid), nil)
		return nil
	}); err != nil {
		return 0, fmt.Errorf("reserving a message id: %w", err)
	}
	for part := uint32(0); len(body) > 0; part++ {
		n := min(len(body), BodyPart)
		if err := s.db.Pebble().Set(bodyKey(mid, part), body[:n], pebble.NoSync); err != nil {
			return 0, fmt.Errorf("writing a body: %w", err)
		}
		body = body[n:]
	}
	return mid, nil
}

func (s *Store) commitLoop() {
	defer s.wg.Done()
	defer close(s.groups)
	for {
		select {
		case r := <-s.ops:
			s.groups <- s.build(r)
		case <-s.quit:
			s.drain()
			return
		}
	}
}

// drain runs what was submitted before quit, so that no caller waits for good.
func (s *Store) drain() {
	for {
		select {
		case r := <-s.ops:
			s.groups <- s.build(r)
		default:
			return
		}
	}
}

// build runs first and whatever else waits, and applies their batch without
// waiting for the disk. There is no timer: while one group syncs the next
// gathers, so groups grow with load by themselves.
func (s *Store) build(first request) *group {
	g := &group{batch: s.db.Pebble().NewBatch()}
	tx := &Tx{s: s, batch: g.batch, now: s.now().UTC(), rcpts: map[ID]*Recipient{}, messages: map[uint64]*Message{}, sent: map[ID]*Sent{}}
	if err := s.Err(); err != nil {
		g.err = err
	}
	s.run(g, tx, first)
	for g.err == nil && g.batch.Len() < maxGroup {
		select {
		case r := <-s.ops:
			s.run(g, tx, r)
			continue
		default:
		}
		break
	}
	g.last = s.state.lastEvent
	if g.err == nil {
		g.err = s.apply(g.batch)
		g.sync = g.err == nil && s.sync.Sync
	}
	if g.err != nil {
		s.fail(g.err)
	}
	return g
}

func (s *Store) apply(b *pebble.Batch) error {
	if !s.sync.Sync {
		return s.db.Pebble().Apply(b, s.sync)
	}
	return s.db.Pebble().ApplyNoSyncWait(b, s.sync)
}

func (s *Store) run(g *group, tx *Tx, r request) {
	g.done = append(g.done, r.done)
	if g.err != nil {
		g.errs = append(g.errs, ErrClosed)
		return
	}
	before := tx.writes
	err := r.op(tx)
	if tx.err != nil {
		err = tx.err
	}
	g.errs = append(g.errs, err)
	if err != nil && tx.writes != before {
		g.err = fmt.Errorf("operation failed after it had written: %w", err)
	}
}

func (s *Store) syncLoop() {
	defer s.wg.Done()
	for g := range s.groups {
		if g.sync {
			if err := g.batch.SyncWait(); err != nil {
				s.fail(err)
			}
		}
		if g.err == nil {
			// Also where it was an earlier group that failed: the log ends there.
			g.err = s.Err()
		}
		if g.err == nil {
			s.raise(g.last)
		}
		for i, done := range g.done {
			err := g.errs[i]
			if err == nil {
				err = g.err
			}
			done(err)
		}
		if err := g.batch.Close(); err != nil {
			s.log.Error("closing a batch failed", slog.Any("error", err))
		}
	}
}

// fail makes every later operation fail: after a write error nobody knows what
// is on disk, so the only safe act is to stop and read it again.
func (s *Store) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.failed == nil {
		s.mu.failed = fmt.Errorf("%w after a write error: %w", ErrClosed, err)
		close(s.failed)
		s.log.Error("queue store failed", slog.Any("error", err))
	}
}

func (s *Store) raise(last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last > s.mu.durable {
		s.mu.durable = last
		close(s.mu.changed)
		s.mu.changed = make(chan struct{})
	}
}
