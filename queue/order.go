// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
)

// Order is what an operator asks of a recipient: [Holding], [Releasing],
// [Dropping] or [Moving].
type Order func(q *Queue, id store.ID) (*act, error)

// Holding parks a recipient under a name until it is released.
func Holding(name string) Order {
	return func(*Queue, store.ID) (*act, error) { return &act{kind: event.Held, hold: name}, nil }
}

// Releasing gives a parked or waiting recipient back to its lane, due now.
func Releasing() Order {
	return func(*Queue, store.ID) (*act, error) {
		return &act{kind: event.Released, reason: "released by an operator"}, nil
	}
}

// Dropping concludes a recipient as dropped. In flight, it is dropped only if the
// attempt under way does not deliver it.
func Dropping(reason string) Order {
	return func(*Queue, store.ID) (*act, error) { return &act{kind: event.Dropped, reason: reason}, nil }
}

// Moving puts a recipient into another pool.
func Moving(pool string) Order {
	return func(q *Queue, id store.ID) (*act, error) {
		r, err := q.store.Recipient(id)
		if err != nil {
			return nil, notFound(err)
		}
		to := q.store.Class(r.Class)
		to.Pool, to.Plan = pool, ""
		return &act{kind: event.Relaned, reason: "moved by an operator", class: to}, nil
	}
}

// busyWait is how soon a recipient that is being changed is tried again.
const busyWait = 50 * time.Millisecond

// Do carries out an order on one recipient and returns when it is durable. On a
// recipient in flight it applies at its conclusion and is answered then
// ([ErrNotFound] where that is a delivery); where ctx ends before that, it still applies.
func (q *Queue) Do(ctx context.Context, id store.ID, o Order) error {
	a, err := o(q, id)
	if err != nil {
		return err
	}
	a.order = true
	for {
		done := make(chan error, 1)
		q.apply(id, a, func(err error) { done <- err })
		err := q.answer(ctx, done)
		if !errors.Is(err, errBusy) {
			return err
		}
		if err := wait(ctx, busyWait); err != nil {
			return err
		}
	}
}

// DoAll carries out an order on many recipients, which share their syncs, and
// returns when it is durable for all that are not in flight: to those it applies
// at their conclusion, which nobody waits for here. It returns how many it
// reached; those that have left the queue are not among them.
func (q *Queue) DoAll(ctx context.Context, ids []store.ID, o Order) (int, error) {
	reached := 0
	for {
		busy, n, err := q.doEach(ctx, ids, o)
		if reached += n; err != nil || len(busy) == 0 {
			return reached, err
		}
		if err := wait(ctx, busyWait); err != nil {
			return reached, err
		}
		ids = busy
	}
}

// doEach is one round of DoAll: who was being changed, and how many were reached.
func (q *Queue) doEach(ctx context.Context, ids []store.ID, o Order) (busy []store.ID, reached int, first error) {
	type result struct {
		id  store.ID
		err error
	}
	results := make(chan result, len(ids))
	for _, id := range ids {
		answer := func(err error) { results <- result{id, err} }
		if a, err := o(q, id); err != nil {
			answer(err)
		} else {
			q.apply(id, a, answer)
		}
	}
	for range ids {
		select {
		case r := <-results:
			switch {
			case r.err == nil:
				reached++
			case errors.Is(r.err, errBusy):
				busy = append(busy, r.id)
			case !errors.Is(r.err, ErrNotFound) && first == nil:
				first = r.err
			}
		case <-ctx.Done():
			return nil, reached, context.Cause(ctx)
		case <-q.ended:
			return nil, reached, ErrStopping
		}
	}
	return busy, reached, first
}

// answer waits for what the machine's goroutine answers.
func (q *Queue) answer(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-q.ended:
		return ErrStopping
	}
}
