// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/simulate"
)

// recipient names one recipient of one message.
type recipient struct {
	message uint64
	index   uint32
}

// fate is what the event log says of one recipient.
type fate struct {
	lane    Lane // its counts stay zero
	address string
	order   int        // of acceptance, from 0
	last    event.Kind // accepted, deferred, held, or what concluded it
	next    time.Time  // of a deferral
	tried   map[string]bool
}

// tally follows the event log.
type tally struct {
	api      api.Methods
	people   *simulate.Population
	provider func(domain string) string

	after   uint64
	fates   map[recipient]*fate
	kinds   map[event.Kind]int // recipients, each counted once, and feedback
	retries int                // deferred attempts
	moved   time.Time          // when something happened last
}

func newTally(a api.Methods, people *simulate.Population, provider func(string) string) *tally {
	return &tally{api: a, people: people, provider: provider, fates: make(map[recipient]*fate), kinds: make(map[event.Kind]int)}
}

// eventPage is how many events are asked for at a time.
const eventPage = 5000

// read takes what is new in the log.
func (t *tally) read(ctx context.Context, now time.Time) error {
	for {
		list, err := t.api.Events(ctx, t.after, eventPage)
		if err != nil {
			return fmt.Errorf("reading events: %w", err)
		}
		for i := range list {
			t.add(&list[i])
			t.after, t.moved = list[i].Sequence, now
		}
		if len(list) < eventPage {
			return nil
		}
	}
}

func (t *tally) add(e *event.Event) {
	key := recipient{e.Message, e.Recipient}
	f := t.fates[key]
	switch e.Kind {
	case event.Accepted:
		if f == nil {
			f = &fate{order: len(t.fates), address: e.Address, tried: make(map[string]bool)}
			t.fates[key] = f
		}
		t.kinds[event.Accepted]++
		f.lane.Provider = t.provider(e.Domain)
	case event.DSN, event.Complained:
		t.kinds[e.Kind]++ // about mail that was delivered: its fate stands
		return
	case event.Delivered, event.Deferred, event.Bounced, event.Expired, event.Suppressed, event.Dropped, event.Held, event.Released, event.Relaned:
	default:
		return
	}
	if f == nil {
		t.kinds["unknown"]++ // an outcome of something that was never accepted
		return
	}
	t.turn(f, e)
}

// turn changes a fate.
func (t *tally) turn(f *fate, e *event.Event) {
	if f.last.Final() {
		t.kinds["twice"]++ // concluded before
	}
	l := &f.lane
	l.Stream, l.Segment, l.Tier, l.Pool = e.Stream, e.Segment, e.Tier, e.Pool
	if e.Source != "" {
		l.Source = e.Source
		f.tried[e.Source] = true
	}
	if e.Provider != "" {
		l.Provider = e.Provider
	}
	f.next = time.Time{}
	switch e.Kind {
	case event.Deferred:
		f.next = e.Next
		t.retries++
	case event.Released, event.Relaned:
		e.Kind = event.Accepted
	default:
	}
	f.last = e.Kind
	if e.Kind.Final() {
		t.kinds[e.Kind]++
	}
}

// pending reports whether a retry is planned before a time.
func (t *tally) pending(before time.Time) bool {
	for _, f := range t.fates {
		if f.last == event.Deferred && f.next.After(t.moved) && f.next.Before(before) {
			return true
		}
	}
	return false
}

// open is how many recipients are not concluded.
func (t *tally) open() int {
	k := t.kinds
	return k[event.Accepted] - k[event.Delivered] - k[event.Bounced] - k[event.Expired] - k[event.Suppressed] - k[event.Dropped]
}

// totals counts the fates, all of them.
func (t *tally) totals() Totals {
	var sum Totals
	for _, f := range t.fates {
		sum.count(f.last)
	}
	return sum
}

// lanes counts the fates by lane, provider and source.
func (t *tally) lanes() map[Lane]*Totals {
	lanes := make(map[Lane]*Totals)
	for _, f := range t.fates {
		sum := lanes[f.lane]
		if sum == nil {
			sum = &Totals{}
			lanes[f.lane] = sum
		}
		sum.count(f.last)
	}
	return lanes
}
