// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"hash/fnv"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/breaker"
)

var _ queue.Gate = (*breakers)(nil)

// Ask implements queue.Gate. Where all is quiet it costs three looks into a map.
func (b *breakers) Ask(e *store.Entry, class store.Class, m *store.Message) queue.Passage {
	b.mu.RLock()
	defer b.mu.RUnlock()
	p := b.passage(e, [...]cohortKey{{breaker.Segment, class.Segment}, {breaker.Batch, e.Batch}, {breaker.Campaign, m.Campaign}})
	if k, ok := cutHold(p.Hold); ok {
		b.canary.notice(k, b.states[k])
	}
	return p
}

// Goes implements queue.Gate.
func (b *breakers) Goes(e *store.Entry, sample []string) {
	b.aheadMu.Lock()
	defer b.aheadMu.Unlock()
	for _, trial := range sample {
		if !slices.Contains(e.Sample, trial) {
			b.ahead[trial]++
		}
	}
}

// aheadOf is how many were let go for the trial of a state since it was last changed.
func (b *breakers) aheadOf(s *breaker.State) uint64 {
	if s.Trial == nil {
		return 0
	}
	b.aheadMu.Lock()
	defer b.aheadMu.Unlock()
	return b.ahead[s.TrialName()]
}

// caughtUp says that a state counts whom it let go. The lock is held.
func (b *breakers) caughtUp(k cohortKey) {
	if s := b.states[k]; s != nil && s.Trial != nil {
		b.aheadMu.Lock()
		defer b.aheadMu.Unlock()
		delete(b.ahead, s.TrialName())
	}
}

// passage asks the cohorts of a recipient. Who is of the sample of one of them goes for the
// trials of the others, too. The lock is held.
func (b *breakers) passage(e *store.Entry, of [3]cohortKey) queue.Passage {
	p := queue.Passage{Go: true}
	var waits []string // trials that others go first for
	for _, k := range of {
		s := b.states[k]
		if (s == nil || s.Phase == breaker.Closed && s.Hand == nil) && !b.canary.unproven(k, e) {
			continue
		}
		a := b.asks(k, e)
		switch {
		case a.Go && a.Sample:
			p.Sample = append(p.Sample, s.TrialName())
		case a.Go:
		case !a.Waits:
			return queue.Passage{Hold: k.hold(), Why: explain(k, a.Why)}
		default:
			waits = append(waits, s.TrialName())
			if p.Hold == "" {
				p.Hold, p.Why = k.hold(), explain(k, a.Why)
			}
		}
	}
	if len(waits) > 0 && len(p.Sample) == 0 {
		return queue.Passage{Hold: p.Hold, Why: p.Why}
	}
	return queue.Passage{Go: true, Sample: append(p.Sample, waits...)}
}

// asks is what a cohort says of a recipient. The lock is held.
func (b *breakers) asks(k cohortKey, e *store.Entry) breaker.Answer {
	s, unproven := b.states[k], b.canary.unproven(k, e)
	switch {
	case s == nil && !unproven:
		return breaker.Answer{Go: true}
	case s == nil:
		s = breaker.New(k.kind, k.name)
	}
	c := contactOf(s, e)
	c.Ahead = b.aheadOf(s)
	if unproven {
		c.Proven, c.Entered = false, s.Proven.Add(1) // later than what is proven
	}
	return b.policy.Asks(s, b.settled(), c)
}

// explain is why mail does not go, and the command that lets it.
func explain(k cohortKey, text string) string {
	return text + "; release: " + breaker.Undo(k.kind, k.name)
}

// contactOf is a recipient as breakers ask about it.
func contactOf(s *breaker.State, e *store.Entry) breaker.Contact {
	c := breaker.Contact{ID: e.Contact, Proven: true, Sampled: s.Sampled(e.Sample)}
	if c.ID == 0 { // admitted before anybody knew it: all of those must not be one
		h := fnv.New64a()
		_, _ = io.WriteString(h, e.Address.Key()) // a hash takes everything
		c.ID = h.Sum64()
	}
	return c
}

// goes reports whether mail parked under the hold of a cohort is given back: as far as that
// cohort is concerned it goes, or it is of the sample of another. The queue asks about all
// of them when it is about to leave.
func (b *breakers) goes(k cohortKey, e *store.Entry, class store.Class) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.asks(k, e).Go || b.passage(e, [...]cohortKey{{breaker.Segment, class.Segment}, {breaker.Batch, e.Batch}, k}).Go
}

// heldBy is why mail parked under a name waits, and until when where that is known; "" where
// no breaker holds it.
func (b *breakers) heldBy(hold string, e *store.Entry) (text string, until time.Time) {
	k, ok := cutHold(hold)
	if !ok {
		return "", until
	}
	b.mu.RLock()
	s, a := b.states[k], b.asks(k, e)
	b.mu.RUnlock()
	switch {
	case a.Go:
		return string(k.kind) + " " + k.name + " is let go: the mail that was held is being given back", until
	case s != nil && s.Hand != nil:
		until = s.Hand.Until
	case s != nil:
		until = s.Until
	}
	return explain(k, a.Why), until
}

// order notes that the mail of a cohort is to be parked under its hold, or given back. The lock
// is held, or nobody else knows b yet.
func (b *breakers) order(hold string) {
	b.orders++
	b.letting[hold] = b.orders
	select {
	case b.let <- struct{}{}:
	default:
	}
}

// release parks and gives back the mail of cohorts that have changed, until ctx ends. What a
// crash leaves parked is looked at again at the next start.
func (b *breakers) release(ctx context.Context, q *queue.Queue) {
	for ctx.Err() == nil {
		hold, order, ok := b.ordered()
		if !ok {
			select {
			case <-ctx.Done():
			case <-b.let:
			}
			continue
		}
		if err := b.giveBack(ctx, q, hold, order); err != nil && ctx.Err() == nil {
			b.log.Error("parking mail or giving it back failed, trying again", slog.String("hold", hold), slog.Any("error", err))
			pause(ctx, time.Second)
		}
	}
}

// ordered is one of the holds that are to be looked at.
func (b *breakers) ordered() (hold string, order uint64, ok bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for hold, order := range b.letting {
		return hold, order, true
	}
	return "", 0, false
}

// park parks what waits of a cohort that is held. Each would be parked where it is about to
// leave, but until then it stands in the way of others: it takes their connections and
// their rate.
func (b *breakers) park(ctx context.Context, q *queue.Queue, k cohortKey) error {
	s := b.state(k)
	if s == nil || s.Phase == breaker.Closed && !s.Refused && s.Hand == nil {
		return nil
	}
	_, err := q.AskAll(ctx, func(e *store.Entry, class store.Class) bool {
		switch k.kind {
		case breaker.Segment:
			return class.Segment == k.name
		case breaker.Batch:
			return e.Batch == k.name
		default:
			return true // its message knows
		}
	})
	return err
}

// giveBack parks or gives back the mail of a cohort that has changed.
func (b *breakers) giveBack(ctx context.Context, q *queue.Queue, hold string, order uint64) error {
	k, ok := cutHold(hold)
	if err := b.park(ctx, q, k); err != nil {
		return err
	}
	if s := b.state(k); ok && s != nil && s.Phase == breaker.HalfOpen {
		if err := b.measure(ctx, q, k); err != nil {
			return err
		}
	}
	if err := b.canary.adopt(ctx, k); err != nil {
		return err
	}
	n, err := q.ReleaseHold(ctx, hold, func(e *store.Entry, class store.Class) bool { return b.goes(k, e, class) })
	if err != nil {
		return err
	}
	if n > 0 {
		b.log.Info("held mail was given back", slog.String("hold", hold), slog.Int("recipients", n))
	}
	left, err := b.mail.Parked(hold, store.ID{}, 1)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		b.canary.notice(k, b.state(k)) // some may have come since its trial began
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.letting[hold] == order { // nobody has changed it meanwhile
		delete(b.letting, hold)
	}
	return nil
}

// measure tells a half-open breaker how much mail waits under its hold: a small cohort
// sends more of its mail as a trial than a large one.
func (b *breakers) measure(ctx context.Context, q *queue.Queue, k cohortKey) error {
	waiting := uint64(0)
	if _, err := q.ReleaseHold(ctx, k.hold(), func(*store.Entry, store.Class) bool { waiting++; return false }); err != nil {
		return err
	}
	return b.change(ctx, func(x *breakerChange) error {
		if s := x.look(k); s != nil && s.Phase == breaker.HalfOpen && s.Trial.Size < waiting {
			b.policy.Resize(x.state(k), x.now, waiting)
		}
		return nil
	})
}
