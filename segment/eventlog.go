// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// defaultRetention is how long events are kept where nobody says otherwise.
const defaultRetention = 400 * 24 * time.Hour

const minTime = math.MinInt64

// Event is one event of a contact: what it did by the calls of the tracking API,
// and what happened to its mail.
type Event = rule.Event

// storedEvent is an event as the store keeps it.
func (d *DB) storedEvent(e *rule.Event) *store.Event {
	var room [namesRoom]string
	record := d.schema.Encode(make([]byte, 0, 128), rule.Contact, nil)
	for _, name := range sortedNames(room[:0], e.Properties) {
		record = rule.AppendNamed(record, name, e.Properties[name])
	}
	return &store.Event{Time: e.Time, Name: e.Name, Message: e.Message, Account: e.Account, Properties: record}
}

func eventKey(contact uint64, e *rule.Event) store.EventKey {
	return store.EventKeyOf(contact, &store.Event{Time: e.Time, Message: e.Message})
}

// Events returns up to limit events of a contact that are not before a time,
// oldest first.
func (d *DB) Events(contact uint64, from time.Time, limit int) ([]Event, error) {
	start := int64(minTime)
	if !from.IsZero() {
		start = from.UnixMicro()
	}
	return d.events(contact, start, limit)
}

// event returns one event; false where there is none.
func (d *DB) event(k store.EventKey) (rule.Event, bool, error) {
	s, ok, err := d.store.Event(k)
	if err != nil || !ok {
		return rule.Event{}, false, err
	}
	e, err := eventOf(k.Contact, &s)
	if err != nil {
		return rule.Event{}, false, err
	}
	return *e, true, nil
}

func (d *DB) events(contact uint64, from int64, limit int) ([]rule.Event, error) {
	return eventList(d.store.Events, contact, from, limit)
}

// newest is events, but of those beyond the limit the oldest are left out: who does much
// every day would else be known by what it did weeks ago.
func (d *DB) newest(contact uint64, from int64, limit int) ([]rule.Event, error) {
	list, err := eventList(d.store.NewestEvents, contact, from, limit)
	slices.Reverse(list)
	return list, err
}

func eventList(read func(uint64, int64, func(store.Event) error) error, contact uint64, from int64, limit int) ([]rule.Event, error) {
	var list []rule.Event
	err := read(contact, from, func(s store.Event) error {
		if len(list) >= limit {
			return errEnough
		}
		e, err := eventOf(contact, &s)
		if err == nil {
			list = append(list, *e)
		}
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return list, err
}

// eventOf is a stored event as rules see it.
func eventOf(contact uint64, s *store.Event) (*rule.Event, error) {
	e := &rule.Event{Name: s.Name, Time: s.Time, Message: s.Message, Contact: contact, Account: s.Account}
	e.Properties = map[string]rule.Value{}
	if err := rule.Records(s.Properties, func(name string, v rule.Value) { e.Properties[name] = v }); err != nil {
		return nil, fmt.Errorf("properties of event %q of contact %d: %w", s.Name, contact, err)
	}
	return e, nil
}

// trimPage is how many events one commit of [DB.TrimEvents] removes, and how many
// contacts it looks at.
const trimPage = 1000

// TrimEvents removes the events that are older than the retention, the visitors
// that have left nothing else, and the message ids that are not looked up any
// more. It works in small commits, so others wait for it no longer than for an
// import, and returns how many events it removed. Once a day is often enough.
func (d *DB) TrimEvents(ctx context.Context, now time.Time) (int, error) {
	cutoff := now.Add(-d.keep)
	removed := 0
	for from := uint64(1); from != 0; {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		old, next, err := d.store.OldEvents(from, cutoff.UnixMicro(), trimPage)
		if err != nil {
			return removed, err
		}
		if len(old) > 0 {
			err = d.tidy(func(b *store.Batch) error {
				for _, k := range old {
					b.DeleteEvent(k)
				}
				return nil
			})
			if err != nil {
				return removed, fmt.Errorf("removing old events: %w", err)
			}
		}
		removed, from = removed+len(old), next
	}
	if err := d.trimVisitors(ctx, cutoff); err != nil {
		return removed, err
	}
	if err := d.trimStatistics(now); err != nil {
		return removed, err
	}
	err := d.tidy(func(b *store.Batch) error {
		b.DropTaken(day(now) - takenDays)
		return nil
	})
	if err != nil {
		return removed, fmt.Errorf("removing old message ids: %w", err)
	}
	return removed, nil
}

// tidy commits what changes nothing that anybody asks for.
func (d *DB) tidy(fn func(b *store.Batch) error) error {
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return errClosed
	}
	b := d.store.Batch()
	defer b.Close()
	if err := fn(b); err != nil {
		return err
	}
	return b.Commit()
}

// trimVisitors removes visitors who did nothing since a time.
func (d *DB) trimVisitors(ctx context.Context, cutoff time.Time) error {
	for from := uint64(1); from != 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var page []uint64
		next, seen := uint64(0), 0
		err := d.store.Visitors(from, func(id uint64, c store.Contact) error {
			if seen++; seen > trimPage {
				next = id
				return errEnough
			}
			if c.Created.Before(cutoff) && c.Identified < cutoff.UnixMicro() {
				page = append(page, id)
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		if len(page) > 0 {
			if err := d.tidy(func(b *store.Batch) error { return d.forgetVisitors(b, page) }); err != nil {
				return fmt.Errorf("removing old visitors: %w", err)
			}
		}
		from = next
	}
	return nil
}

// forgetVisitors removes those of a list that still are visitors without events.
func (d *DB) forgetVisitors(b *store.Batch, list []uint64) error {
	for _, id := range list {
		_, ok, e1 := d.store.Visitor(id)
		left, e2 := d.events(id, minTime, 1)
		ids, e3 := d.store.IDsOf(id)
		if err := errors.Join(e1, e2, e3); err != nil {
			return err
		}
		if !ok || len(left) > 0 {
			continue
		}
		b.DeleteVisitor(id)
		for _, p := range ids {
			b.Disown(p, id)
			if owner, err := d.store.Person(p); err != nil {
				return err
			} else if owner == id {
				b.Person(p, 0)
			}
		}
	}
	return nil
}

// engage makes a contact engaged by what it did.
func (t *tx) engage(id uint64, at time.Time, cause string) error {
	st := t.state(id)
	before := t.d.tiers.Of(history(st), at)
	engaged(st, seconds(at))
	after := t.d.tiers.Of(history(st), at)
	if after == before {
		return nil
	}
	c, err := t.person(id)
	if err != nil {
		return err
	}
	t.flip(store.Flip{
		Time: at, Contact: id, Address: addressKey(c.Address), Kind: FlipTier,
		From: before.String(), To: after.String(), Cause: strings.ToLower(cause),
	})
	t.told[id] = after
	return nil
}
