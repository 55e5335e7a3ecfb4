// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

// largeBody is the size from which a body is written ahead of its message, so
// that it does not hold up the group it would be part of.
const largeBody = 1 << 20

// Submission is an admitted message.
type Submission struct {
	Message    store.Message // Recipients, Remaining and Size are filled in
	Body       []byte        // header and text, CRLF
	Recipients []Recipient
}

// Recipient is an admitted recipient.
type Recipient struct {
	Address    rfc5321.Address
	Contact    uint64 // 0 = unknown
	Class      store.Class
	Batch      string   // the import that made the contact
	Version    uint64   // of the deciding segment
	Segments   []string // all it is in
	Due        time.Time
	Wait       string    // what a policy makes it wait for until Due; "" = none does
	Base       time.Time // when it would be due without that policy
	Expires    time.Time
	Suppressed string // why it may not be mailed: concluded at once
	Dropped    string // why a policy drops it: concluded at once
	Ignored    string // a segment that was asked for in vain
}

// Enqueue makes a message durable and returns its id: a nil error means that
// the message survives a power cut. An error means that nothing was accepted,
// or, where ctx ended first, that it is not known.
func (q *Queue) Enqueue(ctx context.Context, s *Submission) (uint64, error) {
	if len(s.Recipients) == 0 {
		return 0, errors.New("enqueuing a message: it has no recipients")
	}
	m := s.Message
	m.Size = int64(len(s.Body))
	m.Recipients = uint32(len(s.Recipients)) //nolint:gosec // the listener bounds them
	m.Remaining = 0
	for i := range s.Recipients {
		if s.Recipients[i].stays() {
			m.Remaining++
		}
	}
	var mid uint64
	var queued []store.Entry
	body := s.Body
	if len(body) >= largeBody && m.Remaining > 0 {
		var err error
		if mid, err = q.store.WriteBody(ctx, body); err != nil {
			return 0, err
		}
		body = nil
	}
	done := make(chan error, 1)
	q.store.Submit(func(tx *store.Tx) error {
		if err := ctx.Err(); err != nil {
			return err // nobody waits for it any more
		}
		if mid == 0 {
			mid = tx.NewMessage()
		}
		if m.Remaining > 0 {
			tx.AddMessage(mid, &m, body)
		}
		queued = q.accept(tx, mid, &m, s.Recipients)
		return nil
	}, func(err error) {
		if err == nil {
			q.mail.act(func(now time.Time) { q.queued(now, queued) })
		}
		done <- err
	})
	select {
	case err := <-done:
		if err != nil {
			return 0, fmt.Errorf("committing a message: %w", err)
		}
		return mid, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// stays reports whether a recipient is to be sent at all.
func (r *Recipient) stays() bool { return r.Suppressed == "" && r.Dropped == "" }

// accept writes the recipients of a new message and what happened to them.
func (q *Queue) accept(tx *store.Tx, mid uint64, m *store.Message, list []Recipient) []store.Entry {
	queued := make([]store.Entry, 0, len(list))
	for i := range list {
		in := &list[i]
		id := store.ID{Message: mid, Recipient: uint32(i)}
		class, _ := tx.Class(in.Class)
		r := store.Recipient{
			Address: in.Address, Contact: in.Contact, Class: class, Version: in.Version, Batch: in.Batch,
			Due: latest(in.Due, tx.Now()), Queued: tx.Now(), Expires: latest(in.Expires, tx.Now()), Wait: in.Wait, Base: in.Base,
		}
		if in.stays() {
			queued = append(queued, store.Entry{ID: id, Recipient: tx.Add(id, r)})
		}
		e := q.event(id, &r, m)
		e.Kind, e.Segments = event.Accepted, in.Segments
		tx.Event(&e)
		if in.Ignored != "" {
			e := q.event(id, &r, m)
			e.Kind, e.Reason = event.SegmentIgnored, "contact is not in segment "+in.Ignored
			tx.Event(&e)
		}
		if !in.stays() {
			e := q.event(id, &r, m)
			e.Kind, e.Reason = event.Dropped, in.Dropped
			if in.Suppressed != "" {
				e.Kind, e.Reason = event.Suppressed, in.Suppressed
			}
			tx.Event(&e)
		}
	}
	return queued
}

// latest is t, or now where t is over: what is overdue is due now, and what
// expired on its way in stands where expiry still looks.
func latest(t, now time.Time) time.Time {
	if t.Before(now) {
		return now
	}
	return t
}

func (q *Queue) queued(now time.Time, list []store.Entry) {
	for i := range list {
		e := &list[i]
		q.owned.heard = max(q.owned.heard, e.Sequence)
		q.step(now, schedule.Queued{Domain: e.Address.Domain, Class: schedule.ClassID(e.Class), Item: item(e)})
	}
}
