// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"strings"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/reputation/bounce"
	"github.com/seguemta/segue/reputation/evidence"
	"github.com/seguemta/segue/reputation/warmup"
)

// count adds what one event says to the cohort it belongs to.
func (e *evidences) count(more map[evidence.Key]evidence.Counts, ev *event.Event) error {
	switch ev.Kind {
	case event.Delivered, event.Deferred, event.Bounced:
		if ev.Code == 0 || ev.Source == "" {
			return nil // no receiver said anything
		}
		c, err := e.attempt(ev)
		if err == nil {
			e.add(more, cohort{warmup.DayOf(ev.Time, e.zone), ev.Source, ev.Provider, ev.SendingDomain, ev.Segment, ev.Tier}, c)
		}
		return err
	case event.DSN, event.Complained, event.Unsubscribed:
		return e.feedback(more, ev)
	default:
		return nil
	}
}

// attempt is what the reply to an attempt adds. A recipient counts once a day,
// source and provider as attempted and as deferred.
func (e *evidences) attempt(ev *event.Event) (evidence.Counts, error) {
	c := evidence.Counts{Attempted: 1}
	refused := reputed(ev)
	switch {
	case ev.Kind == event.Delivered:
		c.Delivered = 1
	case refused:
		c.Deferred = 1
	case ev.Kind == event.Bounced && hard(ev):
		c.Bounced = 1
	}
	if ev.Attempt <= 1 {
		return c, nil
	}
	err := before(e.mail, ev, func(x *event.Event) {
		same := x.Source == ev.Source && x.Provider == ev.Provider && warmup.DayOf(x.Time, e.zone) == warmup.DayOf(ev.Time, e.zone)
		if x.Kind != event.Deferred || x.Code == 0 || !same {
			return
		}
		c.Attempted = 0
		if reputed(x) {
			c.Deferred = 0
		}
	})
	return c, err
}

// reputed reports whether a reply refuses for the reputation of somebody.
func reputed(ev *event.Event) bool {
	return ev.Kind != event.Delivered && strings.HasPrefix(ev.Verdict, string(bounce.Reputation))
}

// hard reports whether a bounce is about the recipient.
func hard(ev *event.Event) bool {
	return ev.Verdict == string(bounce.Suppress) || ev.Verdict == string(bounce.Count)
}

// feedback counts what came after delivery, for the day of delivery.
func (e *evidences) feedback(more map[evidence.Key]evidence.Counts, ev *event.Event) error {
	var c evidence.Counts
	switch {
	case ev.Kind == event.Complained:
		c.Complained = 1
	case ev.Kind == event.Unsubscribed:
		c.Unsubscribed = 1
	case hard(ev):
		c.Bounced = 1
	default:
		return nil
	}
	sent, err := firstReport(e.mail, ev)
	if err != nil || sent == nil {
		return err
	}
	day := warmup.DayOf(sent.Time, e.zone)
	if warmup.DayOf(ev.Time, e.zone)-day >= evidence.Keep {
		return nil
	}
	e.add(more, cohort{day, sent.Source, sent.Provider, sent.Domain, sent.Segment, sent.Tier}, c)
	return nil
}

// cohort is whose mail of which day something is about.
type cohort struct {
	day                                     warmup.Day
	source, provider, domain, segment, tier string
}

// add counts for everybody who has a part in a cohort.
func (e *evidences) add(more map[evidence.Key]evidence.Counts, h cohort, c evidence.Counts) {
	if h.provider == "" {
		h.provider = schedule.Other
	}
	for _, k := range []evidence.Key{
		{Scope: evidence.Source, Name: h.source},
		{Scope: evidence.Domain, Name: h.domain},
		{Scope: evidence.Route, Name: evidence.Join(h.source, h.domain)},
		{Scope: evidence.Lane, Name: evidence.Join(h.segment, h.tier)},
	} {
		if k.Name == "" {
			continue // of an event from before domains were told
		}
		k.Provider, k.Day = h.provider, h.day
		sum := more[k]
		sum.Add(c)
		more[k] = sum
	}
}
