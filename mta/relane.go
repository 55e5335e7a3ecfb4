// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/segment"
)

// relaneCursor is the name of the cursor, in the queue's store, of the consumer
// that brings changes of contacts to queued mail.
const relaneCursor = "relane"

// relane brings changes of contacts to mail already queued until ctx ends.
func (c *contacts) relane(ctx context.Context, q *queue.Queue) {
	for ctx.Err() == nil {
		n, err := c.relanePage(ctx, q)
		switch {
		case errors.Is(err, queue.ErrLagging):
			pause(ctx, time.Second)
		case err != nil && ctx.Err() == nil:
			c.log.Error("bringing changed contacts to queued mail failed, trying again", slog.Any("error", err))
			pause(ctx, time.Second)
		case n == 0:
			select {
			case <-ctx.Done():
			case <-c.db.Flips():
			}
		}
	}
}

func (c *contacts) relanePage(ctx context.Context, q *queue.Queue) (int, error) {
	cursor, err := c.mail.Cursor(relaneCursor)
	if err != nil {
		return 0, err
	}
	if cursor.Epoch != c.db.Epoch() {
		cursor = event.Cursor{Epoch: c.db.Epoch()}
	}
	flips, err := c.db.ReadFlips(cursor.Sequence, 500)
	if err != nil || len(flips) == 0 {
		return 0, err
	}
	if err := c.bring(ctx, q, flips); err != nil {
		return 0, err
	}
	cursor.Sequence = flips[len(flips)-1].Sequence
	acts, err := c.acts(flips)
	if err != nil {
		return 0, err
	}
	err = c.mail.Commit(ctx, func(tx *store.Tx) error {
		for i := range acts {
			tx.Event(&acts[i])
		}
		tx.PutCursor(relaneCursor, cursor)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("keeping the place in the changes of contacts: %w", err)
	}
	return len(flips), c.db.TruncateFlips(cursor.Sequence)
}

// acts are the events of suppressions that came and went by a rule. They are written
// with the place in the flips, so that each is told once.
func (c *contacts) acts(flips []segment.Flip) ([]event.Event, error) {
	var list []event.Event
	for i := range flips {
		f := &flips[i]
		e := event.Event{Address: f.Address, Contact: f.Contact, Scope: f.Scope}
		switch {
		case f.Address == "":
			continue
		case segment.ByConsent(f):
			e.Kind, e.Reason = event.SuppressLift, segment.ReasonUnsubscribe+" lifted by "+f.Cause
		case f.Kind == segment.FlipSuppressed && f.Cause == segment.ReasonSoftBounce:
			why, err := c.evidence(f)
			if err != nil {
				return nil, err
			}
			e.Kind, e.Reason = event.SuppressAdded, f.Cause+": "+why
		default:
			continue
		}
		list = append(list, e)
	}
	return list, nil
}

// evidence is what a suppression that was just added rests on.
func (c *contacts) evidence(f *segment.Flip) (string, error) {
	address, err := rfc5321.ParseAddress(f.Address)
	if err != nil {
		return "", nil
	}
	have, err := c.db.SuppressionsOf(address)
	if err != nil {
		return "", err
	}
	for i := range have {
		if have[i].Scope == f.Scope {
			return have[i].Evidence + ", until " + have[i].Expires.Format(time.DateOnly), nil
		}
	}
	return "", nil
}

// Kinds of flips that ask the policy of a segment.
const (
	flipEntered = "entered" // changes no queued mail: its lane was decided before
	flipLeft    = "left"
	flipRebuilt = "rebuilt" // the rule of a segment was changed: nobody is named
)

// news is what changed for one contact.
type news struct {
	address rfc5321.Address
	recheck bool     // tier or suppression
	left    []string // segments
}

// bring carries a page of changes to queued mail. What changed several times is
// looked at once, and many contacts at a time: most of the work is waiting for the disk,
// and a suppression must not wait for the changes before it one by one.
func (c *contacts) bring(ctx context.Context, q *queue.Queue, flips []segment.Flip) error {
	list, rebuilt := c.sort(flips)
	for _, name := range rebuilt {
		if err := q.LeaveAll(ctx, name); err != nil {
			return err
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	slots := make(chan struct{}, relaneAtOnce)
	for _, n := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := n.bring(ctx, q); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// relaneAtOnce is how many contacts' mail is looked at at a time.
const relaneAtOnce = 64

// sort gathers a page of changes by contact, in the order in which they came.
func (c *contacts) sort(flips []segment.Flip) (list []*news, rebuilt []string) {
	of := make(map[string]*news)
	for i := range flips {
		f := &flips[i]
		switch {
		case f.Kind == flipEntered:
			continue
		case f.Kind == flipRebuilt:
			if !slices.Contains(rebuilt, f.Segment) {
				rebuilt = append(rebuilt, f.Segment)
			}
			continue
		case f.Address == "":
			continue // a visitor without an address has no mail
		}
		n := of[f.Address]
		if n == nil {
			address, err := rfc5321.ParseAddress(f.Address)
			if err != nil {
				c.log.Error("a changed contact has no address that can be read", slog.Uint64("contact", f.Contact))
				continue
			}
			n = &news{address: address}
			of[f.Address] = n
			list = append(list, n)
		}
		if f.Kind != flipLeft {
			n.recheck = true
		} else if !slices.Contains(n.left, f.Segment) {
			n.left = append(n.left, f.Segment)
		}
	}
	return list, rebuilt
}

// bring carries the news to the contact's mail. A suppression comes first: what is
// concluded needs no lane.
func (n *news) bring(ctx context.Context, q *queue.Queue) error {
	if n.recheck {
		if err := q.Recheck(ctx, n.address); err != nil {
			return err
		}
	}
	for _, name := range n.left {
		if err := q.Leave(ctx, n.address, name); err != nil {
			return err
		}
	}
	return nil
}
