// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/breaker"
	"github.com/seguemta/segue/segment"
)

// Names in the queue's store, each of a set of contacts: those that are proven in a segment,
// those that the running trial of one proves if it passes, and those of a batch that went
// first for a segment.
const (
	canaryPrefix = "canary/"
	provenPrefix = "canary/proven/"
	triedPrefix  = "canary/tried/"
	wentPrefix   = "canary/went/" // then the batch, a zero byte and the segment
)

// firstGather is how long mail of an unproven cohort gathers before its canary begins, and before
// more of it is counted: the first to be asked are the most engaged, and of few all go.
const firstGather = time.Minute

// canary knows who is unproven, and begins the trials of those. An import batch is
// unproven until its trial has passed; so is, in a segment, whoever was no member when
// its last trial that passed began. Of a batch that is unproven the segment does not ask, and
// when the batch passes, those of it whose mail waited or went are proven in their
// segments too: nobody waits for two trials.
//
// Who is proven is a set of contact ids for each segment, and another one while a trial
// runs: at most twice what the members themselves take. They change with the acts of
// breakers, in the same batch. A nil canary tries nobody.
type canary struct {
	b        *breakers
	members  func(segment string) segment.Set
	batches  bool
	segments bool
	wake     chan struct{}

	// Guarded by the lock of b.
	proven map[string]segment.Set // of segments
	tried  map[string]segment.Set
	went   map[metKey]segment.Set

	mu      sync.Mutex
	noticed map[cohortKey]uint64 // mail that waits for a trial to begin, or for a smaller share to be told
}

// newCanary reads who is proven.
func newCanary(c *config.Config, b *breakers, members func(segment string) segment.Set) (*canary, error) {
	canaryPolicy(b.policy, &c.Canary)
	y := &canary{
		b: b, members: members, batches: c.Canary.Batches, segments: c.Canary.Segments, wake: make(chan struct{}, 1),
		proven: make(map[string]segment.Set), tried: make(map[string]segment.Set),
		noticed: make(map[cohortKey]uint64), went: make(map[metKey]segment.Set),
	}
	configured := make(map[string]bool)
	for i := range c.Segments {
		configured[c.Segments[i].Name] = true
	}
	gone, err := y.load(configured)
	if err == nil && len(gone) > 0 {
		err = b.mail.Commit(context.Background(), func(tx *store.Tx) error {
			for _, name := range gone {
				tx.DropState(name)
			}
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("reading who is proven: %w", err)
	}
	return y, nil
}

// load reads the sets of segments that there are, and names the others.
func (y *canary) load(configured map[string]bool) (gone []string, err error) {
	err = y.b.mail.States(canaryPrefix, func(state string, value []byte) error {
		set, err := segment.DecodeSet(value)
		if err != nil {
			return fmt.Errorf("state %s: %w", state, err)
		}
		proven, isProven := strings.CutPrefix(state, provenPrefix)
		tried, isTried := strings.CutPrefix(state, triedPrefix)
		batch, of, isWent := strings.Cut(strings.TrimPrefix(state, wentPrefix), "\x00")
		switch {
		case isProven && configured[proven]:
			y.proven[proven] = set
		case isTried && configured[tried]:
			y.tried[tried] = set
		case isWent && configured[of]:
			y.went[metKey{batch, of}] = set
		default:
			gone = append(gone, state)
		}
		return nil
	})
	return gone, err
}

// canaryPolicy puts the figures of [canary] into a policy.
func canaryPolicy(p *breaker.Policy, c *config.Canary) {
	p.Share, p.Concluded = c.Share, c.Concluded
	p.Least, p.Most = uint64(c.Least), uint64(c.Most) //nolint:gosec // not negative
	p.After, p.Unknown = c.After.Std(), c.Unknown.Std()
}

// tries reports whether cohorts of a kind are tried first.
func (y *canary) tries(kind breaker.Kind) bool {
	return y != nil && (kind == breaker.Batch && y.batches || kind == breaker.Segment && y.segments)
}

// unproven reports whether a cohort must be tried before the mail of a recipient of it
// goes. The lock of breakers is held.
func (y *canary) unproven(k cohortKey, e *store.Entry) bool {
	if k.name == "" || !y.tries(k.kind) {
		return false
	}
	switch k.kind {
	case breaker.Batch:
		s := y.b.states[k]
		return s == nil || s.Proven.IsZero()
	case breaker.Segment:
		if s := y.b.states[k]; s != nil && s.LetGo(e.Queued) {
			return false // also that of those who are no members any more, whom a release does not prove
		}
		return !y.proven[k.name].Has(e.Contact) && !y.unproven(cohortKey{breaker.Batch, e.Batch}, e)
	default:
		return false
	}
}

// notice is told of mail that waits while its cohort, whose state is s, can be tried.
func (y *canary) notice(k cohortKey, s *breaker.State) {
	if !y.tries(k.kind) || s != nil && (s.Phase != breaker.Closed || s.Refused) {
		return
	}
	y.mu.Lock()
	y.noticed[k]++
	y.mu.Unlock()
	select {
	case y.wake <- struct{}{}:
	default:
	}
}

// run begins trials, and tells those that run how large their cohorts have become, until
// ctx ends.
func (y *canary) run(ctx context.Context, q *queue.Queue) {
	for y != nil && ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-y.wake:
		}
		pause(ctx, firstGather)
		for _, k := range y.due() {
			if err := y.measure(ctx, q, k); err != nil && ctx.Err() == nil {
				y.b.log.Error("counting who waits for a canary failed, trying again", slog.String("hold", k.hold()), slog.Any("error", err))
				y.notice(k, y.b.state(k))
			}
		}
	}
}

// due are the cohorts whose trial must begin, or of which much more mail waits than the
// trial knows.
func (y *canary) due() []cohortKey {
	y.mu.Lock()
	noticed := maps.Clone(y.noticed)
	y.mu.Unlock()
	var list []cohortKey
	for k, n := range noticed {
		if s := y.b.state(k); s == nil || s.Trial == nil || n >= s.Trial.Size/10 {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, cohortKey.compare)
	return list
}

// measure parks what waits of an unproven cohort, counts it, and begins its trial with
// that or tells the one that runs: the sample is chosen from all of it, and not from those
// whose lanes come first.
func (y *canary) measure(ctx context.Context, q *queue.Queue, k cohortKey) error {
	_, err := q.AskAll(ctx, func(e *store.Entry, class store.Class) bool {
		return k.kind == breaker.Batch && e.Batch == k.name || k.kind == breaker.Segment && class.Segment == k.name
	})
	if err != nil {
		return err
	}
	y.mu.Lock()
	delete(y.noticed, k) // they are counted now
	y.mu.Unlock()
	n := uint64(0)
	err = y.parked(ctx, k, func(e *store.Entry) {
		y.b.mu.RLock()
		defer y.b.mu.RUnlock()
		if y.unproven(k, e) {
			n++
		}
	})
	if err != nil || n == 0 {
		return err
	}
	return y.b.change(ctx, func(x *breakerChange) error {
		x.act(k, func(s *breaker.State) []breaker.Act {
			if s.Trial == nil {
				return y.b.policy.Resize(s, x.now, n)
			}
			if n += s.Trial.Counts.Admitted; n > s.Trial.Size {
				x.letting[k.hold()] = true // some of those who wait are of the sample
			}
			return y.b.policy.Resize(s, x.now, n)
		})
		return nil
	})
}

// parked calls f for everybody who is parked under the hold of a cohort.
func (y *canary) parked(ctx context.Context, k cohortKey, f func(e *store.Entry)) error {
	var behind store.ID
	for {
		list, err := y.b.mail.Parked(k.hold(), behind, eventPage)
		if err != nil {
			return err
		}
		for i := range list {
			f(&list[i])
		}
		if len(list) < eventPage {
			return nil
		}
		behind = list[len(list)-1].ID
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
