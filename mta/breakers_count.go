// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"maps"
	"slices"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/reputation/breaker"
	"github.com/seguemta/segue/reputation/warmup"
)

// apply counts the next page of events and decides what follows.
func (b *breakers) apply(ctx context.Context) (n int, err error) {
	err = b.change(ctx, func(x *breakerChange) error {
		list, err := b.mail.Events(b.cursor.Sequence, eventPage)
		if err != nil {
			return err
		}
		for i := range list {
			if err := x.count(&list[i]); err != nil {
				return err
			}
		}
		if n = len(list); n > 0 {
			x.cursor = event.Cursor{Epoch: b.mail.Epoch(), Sequence: list[n-1].Sequence}
		}
		x.decide()
		x.trim()
		return nil
	})
	return n, err
}

// decide asks the cohorts of which something was learnt, and those whose time has come.
func (x *breakerChange) decide() {
	list := slices.Collect(maps.Keys(x.states))
	for k, s := range x.b.states {
		if x.states[k] == nil && x.b.policy.Due(s, x.now) {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, cohortKey.compare)
	for _, k := range list {
		x.tick(k)
	}
}

// learnt is what an event says, and whose mail it is about.
type learnt struct {
	breaker.Observation
	cohorts [3]cohortKey
	trials  []string // that the recipient was let go for
}

// count adds what one event says to the cohorts that it belongs to. Transactional mail
// is never held, and is no evidence either.
func (x *breakerChange) count(ev *event.Event) error {
	if ev.Kind == event.Sampled {
		x.admitted(ev)
		return nil
	}
	counts, ok := breaker.From(ev, x.b.reports[ev.Provider])
	if !ok || ev.Stream == transactional {
		return nil
	}
	l := learnt{trials: ev.Sample}
	l.cohorts = [...]cohortKey{{breaker.Segment, ev.Segment}, {breaker.Batch, ev.Batch}, {breaker.Campaign, ev.Campaign}}
	l.Sent, l.Tier, l.Counts = ev.Time, ev.Tier, counts
	switch ev.Kind {
	case event.Complained, event.Unsubscribed, event.DSN:
		sent, err := firstReport(x.b.mail, ev)
		if err != nil || sent == nil {
			return err
		}
		l.Sent, l.trials = sent.Time, sent.Sample // the event has the rest as it was then
	default:
	}
	l.Day = int32(warmup.DayOf(l.Sent, x.b.zone))
	x.observe(&l)
	return nil
}

// observe adds to the cohorts, and to all mail where it counts for its segment as ever: the
// counts of all mail are those of the segments that are closed, and of mail without one.
func (x *breakerChange) observe(l *learnt) {
	ever := true
	for _, k := range l.cohorts {
		if k.name == "" {
			continue
		}
		s := x.state(k)
		o := l.Observation
		o.Sample = s.Sampled(l.trials)
		if k.kind == breaker.Segment {
			ever = !o.Sample && s.Phase == breaker.Closed && !o.Sent.Before(s.Fresh)
		}
		x.b.policy.Observe(s, o)
	}
	if ever {
		x.pools().Add(l.Day, l.Tier, l.Counts, x.b.policy.Days)
	}
	for _, trial := range l.trials {
		if k, ok := x.trial(trial); ok && !slices.Contains(l.cohorts[:], k) { // who left the segment since: its trial waits for the end of each
			o := l.Observation
			o.Sample = true
			x.b.policy.Observe(x.state(k), o)
		}
	}
}

// trial is the cohort whose running trial has a name.
func (x *breakerChange) trial(name string) (k cohortKey, runs bool) {
	kind, of, ok := breaker.CutTrial(name)
	k = cohortKey{kind, of}
	s := x.look(k)
	return k, ok && s != nil && s.TrialName() == name
}

// admitted counts a recipient that was let go for trials.
func (x *breakerChange) admitted(ev *event.Event) {
	for _, trial := range ev.Sample {
		kind, name, ok := breaker.CutTrial(trial)
		if !ok {
			continue
		}
		x.b.canary.met(x, cohortKey{kind, name}, ev)
		k, runs := x.trial(trial)
		if !runs {
			continue
		}
		x.b.policy.Observe(x.state(k), breaker.Observation{
			Sent: ev.Time, Day: int32(warmup.DayOf(ev.Time, x.b.zone)), Tier: ev.Tier, Sample: true, Counts: breaker.Counts{Admitted: 1},
		})
	}
}

// trim forgets, once a day, batches and campaigns of which nothing is known that matters.
// Where there are more than anybody has, those that did no harm begin anew.
func (x *breakerChange) trim() {
	b := x.b
	today := warmup.DayOf(x.now, b.zone)
	crowded := len(b.states) > mostCohorts
	if today <= b.trimmed && !crowded {
		return
	}
	b.trimmed = today
	for k, s := range b.states {
		idle := b.policy.Idle(s, x.now, int32(today)) || crowded && b.policy.Harmless(s)
		if idle && k.kind != breaker.Segment && x.states[k] == nil {
			x.forget = append(x.forget, k)
		}
	}
}
