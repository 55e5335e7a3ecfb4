// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"maps"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/breaker"
	"github.com/seguemta/segue/segment"
)

// proofs are what one change says about who is proven in which segment.
type proofs struct {
	now   map[string]segment.Set // proven from now on
	tried map[string]segment.Set // proven if the trial that begins now passes
	went  map[metKey]segment.Set // let go first for a batch
	over  []string               // segments whose trial has ended
	done  []metKey               // likewise batches
}

// metKey is a batch in a segment.
type metKey struct{ batch, segment string }

func (m metKey) state() string { return wentPrefix + m.batch + "\x00" + m.segment }

func (p *proofs) prove(name string, set segment.Set) {
	if p.now == nil {
		p.now = make(map[string]segment.Set)
	}
	p.now[name] = set
}

// encode adds what is to be stored.
func (p *proofs) encode(values map[string][]byte) error {
	sets := make(map[string]segment.Set)
	for name, set := range p.now {
		sets[provenPrefix+name] = set
	}
	for name, set := range p.tried {
		sets[triedPrefix+name] = set
	}
	for m, set := range p.went {
		sets[m.state()] = set
	}
	for name, set := range sets {
		value, err := set.Encode()
		if err != nil {
			return err
		}
		values[name] = value
	}
	return nil
}

// empty reports whether nothing changes.
func (p *proofs) empty() bool {
	return len(p.now)+len(p.tried)+len(p.went)+len(p.over)+len(p.done) == 0
}

// drop forgets what is over in the store.
func (p *proofs) drop(tx *store.Tx) {
	for _, name := range p.over {
		tx.DropState(triedPrefix + name)
	}
	for _, m := range p.done {
		tx.DropState(m.state())
	}
}

// prove follows what an act says about who is proven. A trial proves those who were
// members when it began: those who came since were not tried by it.
func (y *canary) prove(x *breakerChange, k cohortKey, act breaker.ActKind) {
	switch {
	case y == nil || !y.segments:
		return
	case k.kind == breaker.Batch && act == breaker.CanaryFailed:
		y.take(x, k.name)
		return
	case k.kind != breaker.Segment:
		return
	}
	p := &x.proven
	switch act {
	case breaker.CanaryBegun, breaker.HalfOpened:
		if p.tried == nil {
			p.tried = make(map[string]segment.Set)
		}
		p.tried[k.name] = y.members(k.name)
	case breaker.CanaryPassed, breaker.ClosedAgain:
		if set, ok := y.tried[k.name]; ok {
			p.prove(k.name, set)
		}
		p.over = append(p.over, k.name)
	case breaker.ReleasedByHand:
		p.prove(k.name, y.members(k.name))
		p.over = append(p.over, k.name)
	case breaker.CanaryFailed, breaker.Opened:
		p.over = append(p.over, k.name)
	default:
	}
}

// publish puts it in force. The lock of breakers is held.
func (y *canary) publish(p *proofs) {
	if y == nil {
		return
	}
	maps.Copy(y.proven, p.now)
	for _, name := range p.over {
		delete(y.tried, name)
	}
	maps.Copy(y.tried, p.tried)
	maps.Copy(y.went, p.went)
	for _, m := range p.done {
		delete(y.went, m)
	}
}

// met notes who went first for a batch.
func (y *canary) met(x *breakerChange, k cohortKey, ev *event.Event) {
	if y == nil || !y.segments || k.kind != breaker.Batch || ev.Segment == "" || ev.Contact == 0 {
		return
	}
	m := metKey{k.name, ev.Segment}
	set, ok := x.proven.went[m]
	if !ok {
		set = y.went[m]
	}
	if uint64(set.Len()) >= 2*y.b.policy.Most { //nolint:gosec // not negative
		return
	}
	if x.proven.went == nil {
		x.proven.went = make(map[metKey]segment.Set)
	}
	x.proven.went[m] = set.With([]uint64{ev.Contact})
}

// take gives who went first for a batch, by segment, and forgets them.
func (y *canary) take(x *breakerChange, batch string) map[string]segment.Set {
	sets := make(map[string]segment.Set)
	for m, set := range y.went {
		if m.batch == batch {
			sets[m.segment] = set
			x.proven.done = append(x.proven.done, m)
		}
	}
	return sets
}

// adopt proves the contacts of a batch that has passed in the segments for which their mail
// waited or went: they have been tried.
func (y *canary) adopt(ctx context.Context, k cohortKey) error {
	if y == nil || !y.segments || k.kind != breaker.Batch {
		return nil
	}
	if s := y.b.state(k); s == nil || s.Proven.IsZero() {
		return nil
	}
	waited := make(map[string][]uint64)
	err := y.parked(ctx, k, func(e *store.Entry) {
		if name := y.b.mail.Class(e.Class).Segment; name != "" && e.Contact != 0 {
			waited[name] = append(waited[name], e.Contact)
		}
	})
	if err != nil {
		return err
	}
	return y.b.change(ctx, func(x *breakerChange) error {
		went := y.take(x, k.name)
		for name := range went {
			waited[name] = went[name].AppendTo(waited[name])
		}
		for name, list := range waited {
			x.proven.prove(name, y.proven[name].With(list))
		}
		return nil
	})
}
