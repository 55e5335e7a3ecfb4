// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/store"
)

// What follows brings news of a contact to all its queued mail, in whatever state
// that is: it reads that contact's mail and nothing else of the queue. Mail in
// flight gets the news at its conclusion. Each call returns when every change is durable,
// and may be repeated.

// Recheck reads the current state of a contact again for all its queued mail:
// what may not be sent any more is concluded, what changed its tier for the
// better moves.
func (q *Queue) Recheck(ctx context.Context, address rfc5321.Address) error {
	return q.eachOf(ctx, address, func(e store.Entry) (*act, error) {
		a, err := q.recheck(e)
		if !errors.Is(err, ErrLagging) {
			err = nil // what cannot be read is seen again by the check at the door
		}
		return a, err
	})
}

// recheck is what the state of a contact asks of one of its queued mails.
func (q *Queue) recheck(e store.Entry) (*act, error) {
	class := q.store.Class(e.Class)
	m, err := q.store.Message(e.ID.Message)
	if err != nil {
		return nil, err
	}
	tier, suppressed, err := q.o.Contacts.Check(&e, class, &m)
	if suppressed != "" {
		return &act{kind: event.Suppressed, reason: suppressed}, nil
	}
	if err != nil || tier == "" || tier == class.Tier {
		return nil, err
	}
	to := q.o.Relane(class, tier)
	if to == class || q.o.Lane(to).Rank >= q.o.Lane(class).Rank {
		return nil, nil // a demotion is seen when the mail is about to leave
	}
	return &act{kind: event.Relaned, reason: "tier is now " + tier, class: to}, nil
}

// Leave carries out what the policy of a segment says of the queued mail of a
// contact that left it, where the segment decided the lane. A contact that is back
// in the segment by now has not left it.
func (q *Queue) Leave(ctx context.Context, address rfc5321.Address, segment string) error {
	return q.eachOf(ctx, address, func(e store.Entry) (*act, error) { return q.leaving(e, segment) })
}

// LeaveAll is Leave for everybody whose queued mail a segment laned: its rule has
// changed, and nobody knows who left. It reads the whole queue, unless the segment
// keeps its mail.
func (q *Queue) LeaveAll(ctx context.Context, segment string) error {
	if l := q.o.Policy(store.Class{Segment: segment}).OnLeave; l != LeavingDrop && l != LeavingRelane {
		return nil
	}
	read := func(behind store.ID) ([]store.Entry, error) {
		from := behind
		if from != (store.ID{}) {
			from.Recipient++
		}
		list, err := q.List(from, page, func(_ *store.Entry, c store.Class) bool { return c.Segment == segment })
		if err != nil {
			return nil, fmt.Errorf("reading the mail of a segment: %w", err)
		}
		return list, nil
	}
	return q.pages(ctx, read, func(e store.Entry) (*act, error) { return q.leaving(e, segment) })
}

func (q *Queue) leaving(e store.Entry, segment string) (*act, error) {
	class := q.store.Class(e.Class)
	if class.Segment != segment || q.o.Lane(class).Transactional {
		return nil, nil
	}
	leaving := q.o.Policy(class).OnLeave
	if leaving != LeavingDrop && leaving != LeavingRelane {
		return nil, nil
	}
	m, err := q.store.Message(e.ID.Message)
	if errors.Is(err, store.ErrStale) {
		return nil, nil // concluded meanwhile
	}
	if err != nil {
		return nil, err
	}
	now, err := q.o.Contacts.Standing(&e, class, &m)
	if err != nil || slices.Contains(now.Segments, segment) {
		return nil, err
	}
	if leaving == LeavingDrop {
		return &act{kind: event.Dropped, reason: "left segment " + segment}, nil
	}
	return &act{kind: event.Relaned, reason: "left segment " + segment, class: now.Class, version: now.Version}, nil
}

// Erase concludes all queued mail of an address, held mail too, as dropped. It
// returns when that is durable, also for what was in flight, and says how many
// recipients it found.
func (q *Queue) Erase(ctx context.Context, address rfc5321.Address) (int, error) {
	found := make(map[store.ID]bool)
	err := q.eachOf(ctx, address, func(e store.Entry) (*act, error) {
		found[e.ID] = true
		return &act{kind: event.Dropped, reason: "erased", order: true}, nil
	})
	return len(found), err
}

// Retention is how long what is concluded can be read: its events, and what late
// feedback about it needs.
func (q *Queue) Retention() (events, sent time.Duration) {
	return q.o.EventRetention, q.o.SentRetention
}

// eachOf carries out an act on each queued mail of an address, where of gives one.
func (q *Queue) eachOf(ctx context.Context, address rfc5321.Address, of func(store.Entry) (*act, error)) error {
	read := func(behind store.ID) ([]store.Entry, error) {
		list, err := q.store.OfAddress(address.Key(), behind, page)
		if err != nil {
			return nil, fmt.Errorf("reading a contact's queued mail: %w", err)
		}
		return list, nil
	}
	return q.pages(ctx, read, of)
}

// pages carries out an act on every recipient that read gives, a page at a time:
// those behind an id, the zero one for the beginning.
func (q *Queue) pages(ctx context.Context, read func(behind store.ID) ([]store.Entry, error), of func(store.Entry) (*act, error)) error {
	var behind store.ID
	for {
		list, err := read(behind)
		if err != nil {
			return err
		}
		again, err := q.applyEach(ctx, list, of)
		switch {
		case err != nil:
			return err
		case again:
			continue
		case len(list) < page:
			return nil
		}
		behind = list[len(list)-1].ID
	}
}

// applyEach carries out what of asks of each recipient. It reports, after a moment,
// that the page must be read again where somebody else was about to change one.
func (q *Queue) applyEach(ctx context.Context, list []store.Entry, of func(store.Entry) (*act, error)) (again bool, err error) {
	var asked error
	err = q.applyAll(ctx, list, func(e store.Entry) *act {
		a, err := of(e)
		if err != nil && asked == nil {
			asked = err
		}
		return a
	})
	if errors.Is(err, errBusy) || errors.Is(err, ErrSuperseded) {
		return true, wait(ctx, busyWait)
	}
	return false, errors.Join(err, asked)
}
