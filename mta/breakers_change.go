// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/breaker"
)

// breakerChange is what one writer changes: it becomes durable at once, and holds from
// then on.
type breakerChange struct {
	b       *breakers
	now     time.Time // settled
	states  map[cohortKey]*breaker.State
	all     breaker.Window
	counted bool // all has changed
	acts    []breaker.Act
	letting map[string]bool // holds whose mail is to be parked, or given back
	begun   bool            // a trial begins
	forget  []cohortKey
	proven  proofs
	cursor  event.Cursor // zero = stays
}

// change carries out f, one after the other, and makes what it did durable. An error of
// f changes nothing.
func (b *breakers) change(ctx context.Context, f func(x *breakerChange) error) error {
	b.write.Lock()
	defer b.write.Unlock()
	x := &breakerChange{b: b, now: b.settled(), states: make(map[cohortKey]*breaker.State), letting: make(map[string]bool)}
	if err := f(x); err != nil {
		return err
	}
	x.tried()
	if err := x.store(ctx); err != nil {
		return err
	}
	x.publish(ctx)
	return nil
}

// look is a cohort's state for reading; nil where nothing is known of it.
func (x *breakerChange) look(k cohortKey) *breaker.State {
	if s := x.states[k]; s != nil {
		return s
	}
	return x.b.state(k)
}

// state is a cohort's state for writing, made where there is none.
func (x *breakerChange) state(k cohortKey) *breaker.State {
	s := x.states[k]
	if s != nil {
		return s
	}
	if s = x.b.state(k); s != nil {
		s = s.Clone()
	} else {
		s = breaker.New(k.kind, k.name)
	}
	x.states[k] = s
	return s
}

// did notes what was done with a cohort: each act is told, and has mail parked or given back.
func (x *breakerChange) did(k cohortKey, acts []breaker.Act) {
	x.acts = append(x.acts, acts...)
	for i := range acts {
		x.b.canary.prove(x, k, acts[i].Kind)
		switch acts[i].Kind {
		case breaker.Warned:
			continue
		case breaker.HalfOpened, breaker.TriedAgain, breaker.CanaryBegun:
			x.begun = true
		default:
		}
		x.letting[k.hold()] = true
	}
}

// tried has the mail given back that another trial has just begun for: who is of its sample may
// be parked under the hold of any cohort on trial.
func (x *breakerChange) tried() {
	if !x.begun {
		return
	}
	for k := range x.b.states {
		if x.look(k).Trial != nil {
			x.letting[k.hold()] = true
		}
	}
}

// tick lets a cohort's evidence and the time decide.
func (x *breakerChange) tick(k cohortKey) {
	_, learnt := x.states[k]
	acts := x.act(k, func(s *breaker.State) []breaker.Act {
		return x.b.policy.Tick(s, x.now, x.pool().Pools(s.Window)...)
	})
	if len(acts) == 0 && !learnt {
		delete(x.states, k) // nothing to store
	}
}

// act does something with a cohort. What a segment is judged by is taken out of the counts
// of all mail: it is spent, and no example for others.
func (x *breakerChange) act(k cohortKey, f func(s *breaker.State) []breaker.Act) []breaker.Act {
	s := x.state(k)
	closed, window := s.Phase == breaker.Closed, s.Window
	acts := f(s)
	x.did(k, acts)
	if k.kind == breaker.Segment && closed && len(window) > 0 && (s.Phase != breaker.Closed || len(s.Window) == 0) {
		x.pools().Take(window)
	}
	return acts
}

// pool is the counts of all mail for reading.
func (x *breakerChange) pool() breaker.Window {
	if x.counted {
		return x.all
	}
	return x.b.all // nobody else writes
}

// pools is the counts of all mail for writing.
func (x *breakerChange) pools() *breaker.Window {
	if !x.counted {
		x.all, x.counted = x.b.all.Clone(), true
	}
	return &x.all
}

// empty reports whether there is nothing to store. Where a page held nothing that counts the
// cursor moves in memory alone: to read those events again after a crash counts nothing either.
func (x *breakerChange) empty() bool {
	return len(x.states)+len(x.forget)+len(x.acts) == 0 && x.proven.empty() && !x.counted
}

// store makes the change durable in one batch.
func (x *breakerChange) store(ctx context.Context) error {
	if x.empty() {
		return nil
	}
	values := make(map[string][]byte)
	for k, s := range x.states {
		value, err := s.Encode()
		if err != nil {
			return err
		}
		values[k.state()] = value
	}
	if x.counted {
		value, err := x.all.Encode()
		if err != nil {
			return err
		}
		values[poolName] = value
	}
	if err := x.proven.encode(values); err != nil {
		return err
	}
	events := make([]event.Event, len(x.acts))
	for i := range x.acts {
		var err error
		if events[i], err = eventOf(&x.acts[i]); err != nil {
			return err
		}
	}
	// Whoever waits for it may go: what is stored must hold from now on.
	err := x.b.mail.Commit(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			tx.PutState(name, values[name])
		}
		for _, k := range x.forget {
			tx.DropState(k.state())
		}
		x.proven.drop(tx)
		for i := range events {
			tx.Event(&events[i])
		}
		if x.cursor != (event.Cursor{}) {
			tx.PutCursor(breakerCursor, x.cursor)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing breakers: %w", err)
	}
	return nil
}

// publish puts the change in force.
func (x *breakerChange) publish(ctx context.Context) {
	b := x.b
	b.mu.Lock()
	for k, s := range x.states {
		b.caughtUp(k)
		b.states[k] = s
	}
	for _, k := range x.forget {
		delete(b.states, k)
	}
	for hold := range x.letting {
		b.order(hold)
	}
	if x.counted {
		b.all = x.all
	}
	b.canary.publish(&x.proven)
	if x.cursor != (event.Cursor{}) {
		b.cursor = x.cursor
	}
	b.mu.Unlock()
	for i := range x.acts {
		a, level := &x.acts[i], slog.LevelInfo
		if a.Kind == breaker.Opened || a.Kind == breaker.CanaryFailed || a.Kind == breaker.Warned {
			level = slog.LevelWarn
		}
		b.log.Log(ctx, level, "a breaker acted", slog.String("act", string(a.Kind)), slog.String(string(a.Cohort), a.Name), slog.String("reason", a.String()))
	}
}

// eventOf is an act as the log tells it.
func eventOf(a *breaker.Act) (event.Event, error) {
	evidence, err := json.Marshal(a)
	if err != nil {
		return event.Event{}, fmt.Errorf("writing an act: %w", err)
	}
	e := event.Event{Kind: event.Breaker, Act: string(a.Kind), Reason: a.String(), Evidence: string(evidence), Undo: a.Undo()}
	switch a.Cohort {
	case breaker.Segment:
		e.Segment = a.Name
	case breaker.Batch:
		e.Batch = a.Name
	case breaker.Campaign:
		e.Campaign = a.Name
	}
	return e, nil
}

// state is a cohort's state as it holds now, not to be changed; nil where nothing is known.
func (b *breakers) state(k cohortKey) *breaker.State {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.states[k]
}

// known are all cohorts of which something is known, in order.
func (b *breakers) known() []*breaker.State {
	b.mu.RLock()
	defer b.mu.RUnlock()
	list := make([]*breaker.State, 0, len(b.states))
	for _, k := range slices.SortedFunc(maps.Keys(b.states), cohortKey.compare) {
		list = append(list, b.states[k])
	}
	return list
}
