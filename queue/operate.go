// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// Status is what is known of one recipient.
type Status struct {
	ID      store.ID
	State   string // waiting | held | in_flight | concluded
	Record  store.Recipient
	Message store.Message
	Class   store.Class
	Why     schedule.Reason
	Events  []event.Event
}

// Why says where a recipient is, what it waits for and what has happened to it.
func (q *Queue) Why(ctx context.Context, id store.ID) (*Status, error) {
	s := &Status{ID: id}
	events, err := q.store.Timeline(id.Message)
	if err != nil {
		return nil, fmt.Errorf("reading the events of a message: %w", err)
	}
	for i := range events {
		if events[i].Recipient == id.Recipient {
			s.Events = append(s.Events, events[i])
		}
	}
	s.Record, err = q.store.Recipient(id)
	if errors.Is(err, store.ErrStale) {
		if len(s.Events) == 0 {
			return nil, ErrNotFound
		}
		s.State = "concluded"
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	if s.Message, err = q.store.Message(id.Message); err != nil {
		return nil, notFound(err)
	}
	s.Class = q.store.Class(s.Record.Class)
	return s, q.ask(ctx, func(now time.Time) {
		s.State = "waiting"
		if s.Record.Hold != "" {
			s.State = "held"
			s.Why = schedule.Reason{Code: schedule.WhyHeld, Text: "held under " + s.Record.Hold + " until released"}
			e := store.Entry{ID: id, Recipient: s.Record}
			if p := q.passage(&e, s.Class, &s.Message); !p.Go && p.Hold == s.Record.Hold {
				s.Why.Text = "held under " + p.Hold + ": " + p.Why
			}
			return
		}
		e := store.Entry{ID: id, Recipient: s.Record}
		s.Why = q.machine.Why(now, s.Record.Address.Domain, schedule.ClassID(s.Record.Class), item(&e))
		if s.Record.Wait != "" && s.Record.Due.After(now) {
			s.Why = schedule.Reason{Code: WhyPolicy, Text: s.Record.Wait, Until: s.Record.Due, Expected: s.Record.Due}
		}
		if until, lagging := q.lagging[schedule.ClassID(s.Record.Class)]; lagging {
			s.Why = schedule.Reason{Code: WhyContacts, Text: "contact state lags behind its events: marketing mail waits", Until: until}
		}
		if _, flying := q.owned.flying[id]; flying {
			s.State = "in_flight"
		}
	})
}

// ask runs f in the machine's goroutine and waits for it.
func (q *Queue) ask(ctx context.Context, f func(now time.Time)) error {
	done := make(chan error, 1)
	q.mail.act(func(now time.Time) {
		f(now)
		done <- nil
	})
	return q.answer(ctx, done)
}

// Counted waits until everything that was accepted or concluded before the call
// is part of the counts: they follow the commits a moment later.
func (q *Queue) Counted(ctx context.Context) error { return q.ask(ctx, func(time.Time) {}) }

// Pause stops a source, at one provider or at all ("" ), until a time; the zero
// time lifts it.
func (q *Queue) Pause(source, provider string, until time.Time) {
	q.mail.fact(schedule.Paused{Source: source, Provider: provider, Until: until})
}

// List reads up to limit recipients that are not concluded, from an id on.
func (q *Queue) List(from store.ID, limit int, keep func(*store.Entry, store.Class) bool) ([]store.Entry, error) {
	var list []store.Entry
	stop := errors.New("enough")
	err := q.store.Recipients(from, func(e store.Entry) error {
		if len(list) == limit {
			return stop
		}
		if keep == nil || keep(&e, q.store.Class(e.Class)) {
			list = append(list, e)
		}
		return nil
	})
	if errors.Is(err, stop) {
		err = nil
	}
	return list, err
}

// ListDomain is List for the recipients at one domain. It does not read the rest
// of the queue, unless some of the domain's mail is held: holds are not kept by domain.
func (q *Queue) ListDomain(ctx context.Context, domain string, from store.ID, limit int, keep func(*store.Entry, store.Class) bool) ([]store.Entry, error) {
	if err := q.Counted(ctx); err != nil { // a hold that was answered is among the held
		return nil, err
	}
	if q.counts.held(domain) {
		return q.List(from, limit, func(e *store.Entry, c store.Class) bool {
			return e.Address.Domain == domain && (keep == nil || keep(e, c))
		})
	}
	const idsAtOnce = 10_000
	var list []store.Entry
	for more := true; more; {
		var ids []store.ID
		var err error
		if ids, more, err = q.store.OfDomain(domain, from, max(limit, idsAtOnce)); err != nil {
			return nil, err
		}
		for _, id := range ids {
			from = store.ID{Message: id.Message, Recipient: id.Recipient + 1}
			r, err := q.store.Recipient(id)
			if errors.Is(err, store.ErrStale) {
				continue // it left meanwhile
			}
			if err != nil {
				return nil, err
			}
			if e := (store.Entry{ID: id, Recipient: r}); keep == nil || keep(&e, q.store.Class(r.Class)) {
				list = append(list, e)
			}
			if len(list) == limit {
				return list, nil
			}
		}
	}
	return list, nil
}

// Flying are the recipients in flight.
func (q *Queue) Flying(ctx context.Context) (map[store.ID]bool, error) {
	m := make(map[store.ID]bool)
	return m, q.ask(ctx, func(time.Time) {
		for id := range q.owned.flying {
			m[id] = true
		}
	})
}
