// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/breaker"
	"github.com/seguemta/segue/reputation/warmup"
	"github.com/seguemta/segue/segment"
)

// Names in the queue's store: the cursor of the consumer that counts, the state of each
// cohort (breaker/segment/NAME, breaker/batch/NAME, breaker/campaign/NAME), and the counts
// of all mail.
const (
	breakerCursor = "breaker"
	breakerPrefix = "breaker/"
	poolName      = "breaker/pool/all"
)

const (
	react       = 100 * time.Millisecond // between two pages: what is counted is a write, and a bad list is to be stopped soon
	mostCohorts = 20_000                 // states above which batches and campaigns that did no harm are forgotten
)

// breakers hold the mail of segments, import batches and campaigns that do harm: a
// consumer of the event log that counts for each of them, decides, and answers the
// queue's question whether a recipient's mail goes. States, the acts that changed them and the
// cursor are one batch, so that each event counts once, whatever happens.
type breakers struct {
	mail    *store.Store
	log     *slog.Logger
	policy  *breaker.Policy
	zone    *time.Location
	settled func() time.Time // stands still while the clock is in doubt: no hold ends by a clock that jumped
	reports map[string]bool  // providers that report complaints

	write sync.Mutex // of whoever changes states: a page, an operator, the clock
	let   chan struct{}

	mu      sync.RWMutex                 // guards the rest, for moments
	states  map[cohortKey]*breaker.State // those here are never changed, only replaced
	all     breaker.Window               // all mail but that of segments that are held or on trial
	cursor  event.Cursor
	canary  *canary           // nil = nobody is tried first
	letting map[string]uint64 // holds to be looked at, each with the number of its last order
	orders  uint64
	trimmed warmup.Day

	aheadMu sync.Mutex
	ahead   map[string]uint64 // let go for a trial since its state was last changed: counting comes a moment later
}

// cohortKey names a segment, an import batch or a campaign.
type cohortKey struct {
	kind breaker.Kind
	name string
}

func (k cohortKey) state() string { return breakerPrefix + string(k.kind) + "/" + k.name }
func (k cohortKey) hold() string  { return breaker.HoldName(k.kind, k.name) }

// compare orders segments before campaigns and batches.
func (k cohortKey) compare(o cohortKey) int {
	if k.kind != o.kind {
		return -strings.Compare(string(k.kind), string(o.kind))
	}
	return strings.Compare(k.name, o.name)
}

// cutHold is the cohort whose mail is parked under a name.
func cutHold(hold string) (cohortKey, bool) {
	kind, name, ok := strings.Cut(hold, ":")
	k := cohortKey{breaker.Kind(kind), name}
	return k, ok && isKind(k.kind)
}

func isKind(k breaker.Kind) bool {
	return k == breaker.Segment || k == breaker.Batch || k == breaker.Campaign
}

// newBreakers reads what is stored and catches up with the log, so that the queue
// begins with what was decided before.
func newBreakers(c *config.Config, mail *store.Store, members func(segment string) segment.Set, settled func() time.Time, log *slog.Logger) (*breakers, error) {
	b := &breakers{
		mail: mail, log: log, policy: breakerPolicy(&c.Breaker), zone: c.BudgetZone.Std(), settled: settled, reports: make(map[string]bool),
		let: make(chan struct{}, 1), states: make(map[cohortKey]*breaker.State), letting: make(map[string]uint64), ahead: make(map[string]uint64),
	}
	for _, p := range c.Providers {
		b.reports[p.Name] = p.ReportsComplaints
	}
	if err := b.load(); err != nil {
		return nil, fmt.Errorf("reading breakers: %w", err)
	}
	if c.CanaryOn() {
		var err error
		if b.canary, err = newCanary(c, b, members); err != nil {
			return nil, err
		}
	}
	for {
		n, err := b.apply(context.Background())
		if err != nil {
			return nil, fmt.Errorf("counting for breakers: %w", err)
		}
		if n == 0 {
			break
		}
	}
	holds, err := mail.Holds()
	if err != nil {
		return nil, fmt.Errorf("reading what is held: %w", err)
	}
	for _, hold := range holds {
		if _, ok := cutHold(hold); ok {
			b.order(hold) // it was let go, or is switched off, since it was parked
		}
	}
	return b, b.change(context.Background(), func(x *breakerChange) error {
		if !c.Breaker.Enabled {
			x.switchOff()
		}
		x.endCanaries()
		return nil
	})
}

// breakerPolicy is the policy of a configuration. A warning comes at the same part of the limit as
// by default.
func breakerPolicy(c *config.Breaker) *breaker.Policy {
	p := breaker.DefaultPolicy()
	for l, stop := range map[*breaker.Limit]float64{&p.Bounced: c.Bounced, &p.Complained: c.Complained, &p.Spam: c.Spam, &p.Unsubscribed: c.Unsubscribed} {
		if !c.Enabled {
			stop = 0
		}
		l.Warn, l.Stop = l.Warn/l.Stop*stop, stop
	}
	p.Events, p.Wait = uint64(c.Events), c.Wait.Std() //nolint:gosec // not negative
	return p
}

// switchOff lets go whom evidence holds; what an operator holds stays.
func (x *breakerChange) switchOff() {
	for _, s := range x.b.known() {
		if s.Phase != breaker.Closed {
			hand := s.Hand
			k := cohortKey{s.Kind, s.Name}
			x.act(k, func(s *breaker.State) []breaker.Act {
				return x.b.policy.Release(s, x.now, "the configuration", "[breaker] enabled = false")
			})
			x.state(k).Hand = hand
		}
	}
}

// endCanaries ends those that the configuration has no more. Their mail goes, and what a report
// and the metrics say of it, and what becomes of the sample, must not be that of a canary.
func (x *breakerChange) endCanaries() {
	for _, s := range x.b.known() {
		if s.Phase == breaker.Closed && (s.Trial != nil || s.Refused) && !x.b.canary.tries(s.Kind) {
			x.act(cohortKey{s.Kind, s.Name}, func(s *breaker.State) []breaker.Act { return s.Untry(x.now, "by the configuration") })
		}
	}
}

func (b *breakers) load() error {
	err := b.mail.States(breakerPrefix, func(name string, value []byte) error {
		var err error
		if name == poolName {
			b.all, err = breaker.DecodeWindow(value)
		} else {
			var s *breaker.State
			if s, err = breaker.Decode(value); err == nil {
				b.states[cohortKey{s.Kind, s.Name}] = s
			}
		}
		if err != nil {
			return fmt.Errorf("state %s cannot be read: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.cursor, err = b.mail.Cursor(breakerCursor)
	if err != nil || b.cursor.Epoch == b.mail.Epoch() {
		return err
	}
	return b.begin()
}

// begin starts with what comes next. What is in the log of an older version was sent while
// nobody was held for it, and would take long to read.
func (b *breakers) begin() error {
	durable, _ := b.mail.Durable()
	b.cursor = event.Cursor{Epoch: b.mail.Epoch(), Sequence: durable}
	return b.mail.Commit(context.Background(), func(tx *store.Tx) error {
		tx.PutCursor(breakerCursor, b.cursor)
		return nil
	})
}

// consumed is the event up to which everything is counted.
func (b *breakers) consumed() uint64 {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.cursor.Sequence
}

// follow counts and decides until ctx ends.
func (b *breakers) follow(ctx context.Context) {
	step := func(ctx context.Context) (bool, time.Duration, error) {
		n, err := b.apply(ctx)
		if n > 0 && n < eventPage {
			pause(ctx, react)
		}
		return n > 0, b.due(), err
	}
	followTimed(ctx, b.mail, step, func(err error) { b.log.Error("counting for breakers failed, trying again", slog.Any("error", err)) })
}

// due is how long nothing has to be decided without new events; 0 = for ever.
func (b *breakers) due() time.Duration {
	now, first := b.settled(), time.Time{}
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, s := range b.states {
		if next := b.policy.Next(s, now); !next.IsZero() && (first.IsZero() || next.Before(first)) {
			first = next
		}
	}
	if first.IsZero() {
		return 0
	}
	return first.Sub(now)
}
