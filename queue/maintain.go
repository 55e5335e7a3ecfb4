// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
)

const (
	expireEvery   = 5 * time.Second
	truncateEvery = time.Minute
	page          = 1000
)

// maintain expires what is too old and cuts what nobody needs any more.
func (q *Queue) maintain(ctx context.Context) {
	expire, truncate := time.NewTicker(expireEvery), time.NewTicker(truncateEvery)
	defer expire.Stop()
	defer truncate.Stop()
	q.resumeSetBack(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-expire.C:
			if err := q.expire(ctx); err != nil && ctx.Err() == nil {
				q.log.Error("expiring mail failed", slog.Any("error", err))
			}
		case <-truncate.C:
			if err := q.truncate(ctx); err != nil && ctx.Err() == nil {
				q.log.Error("truncating the event log failed", slog.Any("error", err))
			}
		}
	}
}

// expire ends mail whose time is over, in whatever state it is. What is in
// flight or being changed is passed over and seen again.
func (q *Queue) expire(ctx context.Context) error {
	now := q.o.Settled()
	var last *store.Entry
	for {
		list, err := q.store.Expired(now, last, page)
		if err != nil {
			return fmt.Errorf("reading the expiry index: %w", err)
		}
		if len(list) == 0 {
			break
		}
		err = q.applyAll(ctx, list, func(store.Entry) *act { return &act{kind: event.Expired, reason: "max_age passed"} })
		if err != nil && !errors.Is(err, errBusy) {
			return err
		}
		last = &list[len(list)-1]
	}
	if last != nil || minutes(now) == q.scanned {
		return nil // some may be left, or the cursor is where it would be put
	}
	err := q.store.Commit(ctx, func(tx *store.Tx) error {
		tx.PutExpiryCursor(now)
		return nil
	})
	if err == nil {
		q.scanned = minutes(now)
	}
	return err
}

func minutes(t time.Time) int64 { return t.Unix() / 60 }

// applyAll carries out an act on each recipient and waits until all are durable.
// The first error is returned after all have ended; a recipient that is
// concluded meanwhile is not an error.
func (q *Queue) applyAll(ctx context.Context, list []store.Entry, of func(store.Entry) *act) error {
	results := make(chan error, len(list))
	n := 0
	for _, e := range list {
		if a := of(e); a != nil {
			n++
			q.apply(e.ID, a, func(err error) { results <- err })
		}
	}
	var first error
	for range n {
		select {
		case err := <-results:
			if err != nil && first == nil && !errors.Is(err, ErrNotFound) {
				first = err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return first
}

// truncate cuts the event log behind every consumer and its retention, the sent
// index behind its own, and the counters of days long past.
func (q *Queue) truncate(ctx context.Context) error {
	now := q.o.Settled()
	passed := q.o.Consumed()
	keep := now.Add(-q.o.EventRetention)
	var until uint64 // what is before it is over, whatever its time
	for {
		list, err := q.store.Head(page)
		if err != nil {
			return fmt.Errorf("reading the head of the event log: %w", err)
		}
		n := 0
		for n < len(list) && list[n].Sequence <= passed && (list[n].Time.Before(keep) || list[n].Sequence < until) {
			n++
		}
		if n == 0 && len(list) > 0 && until == 0 {
			if until, err = q.afterAhead(&list[0], now); err != nil {
				return err
			}
			if until > 0 {
				continue
			}
		}
		if n == 0 {
			break
		}
		err = q.store.Commit(ctx, func(tx *store.Tx) error {
			tx.TruncateEvents(list[0].Sequence, list[n-1].Sequence, list[:n])
			return nil
		})
		if err != nil {
			return fmt.Errorf("truncating the event log: %w", err)
		}
		if n < page {
			break
		}
	}
	return q.forget(ctx, now)
}

// afterAhead finds the end of events from far ahead at the head of the log: a clock
// wrote them that was set back since, and they must not keep all that came after
// them until their date. They are over when the next one is; 0 = it is not.
func (q *Queue) afterAhead(e *event.Event, now time.Time) (uint64, error) {
	far, keep := now.Add(q.o.EventRetention), now.Add(-q.o.EventRetention)
	for seq := e.Sequence - 1; ; {
		list, err := q.store.Events(seq, page)
		if err != nil {
			return 0, fmt.Errorf("reading the event log: %w", err)
		}
		if len(list) == 0 {
			return 0, nil
		}
		for i := range list {
			if !list[i].Time.After(far) {
				if list[i].Time.Before(keep) {
					return list[i].Sequence, nil
				}
				return 0, nil
			}
		}
		seq = list[len(list)-1].Sequence
	}
}

// forget cuts the sent index and old counters.
func (q *Queue) forget(ctx context.Context, now time.Time) error {
	// The index goes by the days on which mail was accepted.
	day := uint32(max(now.Add(-q.o.SentRetention-q.o.MaxAge).Unix()/86400, 0)) //nolint:gosec // days since 1970 fit
	first, at, err := q.store.FirstMessage(day)
	if err != nil {
		return fmt.Errorf("reading the day marks: %w", err)
	}
	oldest, _, err := q.store.FirstMessage(0)
	if err != nil {
		return fmt.Errorf("reading the day marks: %w", err)
	}
	return q.store.Commit(ctx, func(tx *store.Tx) error {
		// Twice the longest span: a change of configuration finds what it asks for.
		tx.DropUsed(2 * max(q.o.ContactSpan, q.o.AccountSpan))
		if first > oldest {
			tx.TruncateSent(at, first)
		}
		today := now.Unix() / 86400
		var old []string
		tx.Counters(func(name string, _ store.Counter) {
			if _, d, ok := parseCounter(name); ok && int64(d) < today-14 {
				old = append(old, name)
			}
		})
		for _, name := range old {
			tx.DropCounter(name)
		}
		return nil
	})
}
