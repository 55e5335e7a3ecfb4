// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

// setBackState is the name of the state that says that due times are still to
// be brought forward after the clock was set back.
const setBackState = "clock/back"

// setBack is a step back of the clock that due times on disk must follow.
type setBack struct {
	From     time.Time     `json:"from"` // what the clock said before
	By       time.Duration `json:"by"`
	Sequence uint64        `json:"sequence"` // records with a later one were written by the new clock
}

// ClockSet says that Now has stepped from one time to another, and returns when
// everything that waits has followed. Ahead, mail whose time has come leaves as
// after a downtime. Back, a retry waits no longer than it would have, and what
// was due stays due; a not-before that a submitter asked for is a date and stays.
// The budget day is looked up again either way.
func (q *Queue) ClockSet(ctx context.Context, from, to time.Time) error {
	by := from.Sub(to)
	q.mail.act(func(now time.Time) {
		q.dayEnd = time.Time{} // this turn looks up the day
		if by > 0 {
			q.machine.Step(now, schedule.SetBack{By: by})
			for class := range q.lagging {
				q.lagging[class] = now
			}
		}
	})
	if by <= 0 {
		return nil
	}
	// Whoever shares a batch with this one, or came before, may have reckoned by the old clock.
	if err := q.store.Commit(ctx, func(*store.Tx) error { return nil }); err != nil {
		return fmt.Errorf("waiting for what the old clock has written: %w", err)
	}
	last, _ := q.store.Durable()
	value, err := json.Marshal(setBack{From: from, By: by, Sequence: last})
	if err != nil {
		return fmt.Errorf("writing down that the clock was set back: %w", err)
	}
	q.stepped.Lock()
	defer q.stepped.Unlock()
	err = q.store.Commit(ctx, func(tx *store.Tx) error {
		tx.PutState(setBackState, value)
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing that the clock was set back: %w", err)
	}
	return q.bringForward(ctx)
}

// resumeSetBack finishes what a stop interrupted.
func (q *Queue) resumeSetBack(ctx context.Context) {
	q.stepped.Lock()
	defer q.stepped.Unlock()
	if err := q.bringForward(ctx); err != nil && ctx.Err() == nil {
		q.log.Error("bringing due times forward after the clock was set back failed", slog.Any("error", err))
	}
}

// bringForward moves due times that the clock from before a step back has
// written. It may be repeated: what was moved has a later sequence.
func (q *Queue) bringForward(ctx context.Context) error {
	value, err := q.store.State(setBackState)
	if errors.Is(err, store.ErrNotFound) || err == nil && len(value) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading whether the clock was set back: %w", err)
	}
	var back setBack
	if err := json.Unmarshal(value, &back); err != nil {
		return fmt.Errorf("reading whether the clock was set back: %w", err)
	}
	a := &act{kind: event.Released, reason: fmt.Sprintf("the clock was set back by %v", back.By.Round(time.Second)), back: &back}
	var after store.ID
	for {
		list, err := q.List(after, page, func(e *store.Entry, _ store.Class) bool { return back.moves(&e.Recipient, q.o.Now()) })
		if err != nil {
			return fmt.Errorf("reading what waits: %w", err)
		}
		err = q.applyAll(ctx, list, func(store.Entry) *act { return a })
		switch {
		case errors.Is(err, errBusy):
			if err := wait(ctx, busyWait); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("bringing due times forward: %w", err)
		case len(list) < page:
			return q.store.Commit(ctx, func(tx *store.Tx) error {
				tx.PutState(setBackState, nil)
				return nil
			})
		}
		after = list[len(list)-1].ID
	}
}

// moves reports whether a due time is to be brought forward.
func (b *setBack) moves(r *store.Recipient, now time.Time) bool {
	if r.Sequence > b.Sequence || r.Hold != "" || !r.Due.After(now) {
		return false
	}
	return !r.Due.After(b.From) || r.Attempts > 0
}

// bring makes mail due now if it was due by the clock before, else after the
// rest of its wait. The source it keeps for that wait it keeps as long.
func (b *setBack) bring(r *store.Recipient, now time.Time) {
	r.Due = latest(r.Due.Add(-b.By), now)
	if r.Pin != "" {
		r.PinUntil = r.PinUntil.Add(-b.By)
	}
}
