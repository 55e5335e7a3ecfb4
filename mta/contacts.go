// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/seguemta/segue/mta/admit"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/segment"
)

// maxLag is how far contact state may be behind its events before marketing
// mail waits: mail must not go out on a state that a complaint has changed.
const maxLag = 30 * time.Second

// contacts plugs the contacts database into admission and queue, which do not
// know it, and carries events one way and changes the other.
type contacts struct {
	db      *segment.DB
	mail    *store.Store
	log     *slog.Logger
	now     func() time.Time
	settled func() time.Time // stands still while the clock is in doubt: nobody changes tier by time alone
	stream  func(name string) admit.Stream
	lane    func(stream, segment, tier, domain string) store.Class // as admission chooses it
	zones   zones
	outages *outages
}

// Look implements admit.Contacts.
func (c *contacts) Look(address rfc5321.Address, mail admit.Mail, _ time.Time) (admit.Contact, error) {
	v, err := c.db.Look(address, segment.Mail(mail), c.settled())
	if err != nil {
		return admit.Contact{}, err
	}
	out := admit.Contact{ID: v.ID, Tier: v.Tier, Suppressed: reason(v.Suppressed), Zone: c.zones.of(v.Person.Zone), Batch: v.Person.Batch}
	for _, m := range v.Segments {
		out.Segments = append(out.Segments, admit.Segment{Name: m.Name, Version: m.Version})
	}
	return out, nil
}

func reason(s *segment.Suppression) string {
	if s == nil {
		return ""
	}
	return s.Reason + " (" + s.Scope + ")"
}

// Check implements queue.Contacts. A suppression that is known holds, also for
// transactional mail, however far the rest is behind.
func (c *contacts) Check(e *store.Entry, class store.Class, m *store.Message) (tier, suppressed string, err error) {
	tier, s, err := c.db.Check(e.Contact, e.Address, mailOf(class, m), c.settled())
	if err != nil {
		return "", "", fmt.Errorf("reading a contact: %w", err)
	}
	lag, err := c.lag(c.now())
	if err != nil {
		return "", reason(s), err
	}
	if lag > maxLag {
		return "", reason(s), queue.ErrLagging
	}
	if c.stream(class.Stream).Transactional {
		tier = "" // transactional mail does not obey tiers
	}
	return tier, reason(s), nil
}

// mailOf is what suppressions ask about queued mail.
func mailOf(class store.Class, m *store.Message) segment.Mail {
	return segment.Mail{Stream: class.Stream, Domain: m.Domain, List: m.List}
}

func (c *contacts) lag(now time.Time) (time.Duration, error) {
	durable, _ := c.mail.Durable()
	return c.db.Lag(event.Cursor{Epoch: c.mail.Epoch(), Sequence: durable}, now, func(behind uint64) (time.Time, error) {
		list, err := c.mail.Events(behind, 1)
		if err != nil || len(list) == 0 {
			return now, err // they have been followed since, and removed
		}
		return list[0].Time, nil
	})
}

// eventPage is how many events one batch of the contacts store takes.
const eventPage = 2000

// follow applies the queue's events to the contacts until ctx ends.
func (c *contacts) follow(ctx context.Context) {
	followLog(ctx, c.mail, c.apply, func(err error) {
		c.log.Error("applying events to contacts failed, marketing mail waits until it succeeds", slog.Any("error", err))
	})
}

// apply takes the next page of events.
func (c *contacts) apply(ctx context.Context) (int, error) {
	cursor := c.db.Cursor()
	if cursor.Epoch != c.mail.Epoch() {
		cursor.Sequence = 0
	}
	list, err := c.mail.Events(cursor.Sequence, eventPage)
	if err != nil {
		return 0, err
	}
	if len(list) > 0 {
		if err := c.db.Apply(ctx, c.mail.Epoch(), list); err != nil {
			return 0, err
		}
	}
	return len(list), c.outages.settle(ctx, c.db, c.mail, c.now())
}

// consumed is the event up to which the contacts have followed.
func (c *contacts) consumed() uint64 {
	cursor := c.db.Cursor()
	if cursor.Epoch != c.mail.Epoch() {
		return 0
	}
	return cursor.Sequence
}

// trimEvery is how often old events of contacts are removed.
const trimEvery = 24 * time.Hour

// trim removes old events of contacts until ctx ends. now stands still while the
// clock is not believed: a clock that jumped ahead must not remove everything.
func (c *contacts) trim(ctx context.Context, now func() time.Time) {
	for ctx.Err() == nil {
		n, err := c.db.TrimEvents(ctx, now())
		switch {
		case err != nil && ctx.Err() == nil:
			c.log.Error("removing old events of contacts failed, it is tried again tomorrow", slog.Any("error", err))
		case n > 0:
			c.log.Info("old events of contacts removed", slog.Int("events", n))
		}
		pause(ctx, trimEvery)
	}
}
