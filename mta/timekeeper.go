// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/clock"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
)

const (
	// lookEvery is how often both clocks are looked at.
	lookEvery = 5 * time.Second
	// storeEvery is how often the time is stored for the next start.
	storeEvery = time.Minute
	// clockState is its name in the queue's store.
	clockState = "clock/now"
)

// timekeeper reads the two clocks of the machine for package clock, and carries
// its verdict to everything that lives by dates. Its readers take no lock.
type timekeeper struct {
	began  time.Time
	wall   func() time.Time // nil = the machine's
	state  atomic.Pointer[clock.State]
	orders chan chan error // to confirm the wall
	mail   *store.Store
	log    *slog.Logger
	set    func(ctx context.Context, from, to time.Time) error // the queue follows
	stored time.Duration                                       // when the time was last stored
}

// storedClock is what the next process begins with.
type storedClock struct {
	Now    time.Time `json:"now"`
	Frozen bool      `json:"frozen,omitempty"`
}

func newTimekeeper(wall func() time.Time, log *slog.Logger, reg prometheus.Registerer) *timekeeper {
	k := &timekeeper{began: time.Now(), wall: wall, orders: make(chan chan error), log: log}
	k.put(clock.Start(k.read()))
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "segue_clock_frozen",
		Help: "1 while the wall clock was set and is not believed yet: expiry, tiers, stages and budget days stand still.",
	}, func() float64 {
		if k.state.Load().Frozen() {
			return 1
		}
		return 0
	}))
	return k
}

func (k *timekeeper) put(s clock.State) { k.state.Store(&s) }

// read looks at both clocks. The monotonic one is Go's, which stands still while
// the machine is suspended. The wall loses Go's monotonic reading: with it two
// times would be one distance apart here, and another one where either was stored.
func (k *timekeeper) read() clock.Reading {
	now := time.Now()
	r := clock.Reading{Wall: now, Mono: now.Sub(k.began)}
	if k.wall != nil {
		r.Wall = k.wall()
	}
	r.Wall = r.Wall.Round(0)
	return r
}

// Now is the time that the engine lives by.
func (k *timekeeper) Now() time.Time { return k.state.Load().Now(k.read()) }

// Settled is Now, but stands still while the wall is not believed.
func (k *timekeeper) Settled() time.Time { return k.state.Load().Settled(k.read()) }

// resume compares the wall with what the last process stored.
func (k *timekeeper) resume(mail *store.Store) error {
	k.mail = mail
	value, err := mail.State(clockState)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the time of the last run: %w", err)
	}
	var s storedClock
	if err := json.Unmarshal(value, &s); err != nil {
		return fmt.Errorf("reading the time of the last run: %w", err)
	}
	k.put(clock.Resume(k.read(), s.Now, s.Frozen))
	return nil
}

// follow watches the clocks until ctx ends.
func (k *timekeeper) follow(ctx context.Context) {
	if k.state.Load().Frozen() {
		k.tell(ctx, clock.Froze, k.Now())
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		r := k.read()
		if r.Mono >= k.stored {
			k.store(ctx, nil)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.change(ctx, clock.State.Step)
		case done := <-k.orders:
			if k.change(ctx, clock.State.Confirm) {
				done <- nil
			} else {
				done <- api.Problem(http.StatusConflict, "the wall clock is believed: there is nothing to confirm", "")
			}
		}
	}
}

// change goes on to the next state and carries out what it means. It reports
// whether there was a change.
func (k *timekeeper) change(ctx context.Context, next func(clock.State, clock.Reading) (clock.State, clock.Change)) bool {
	old, r := k.state.Load(), k.read()
	s, c := next(*old, r)
	k.put(s)
	if c == clock.None {
		return false
	}
	from := old.Now(r)
	k.tell(ctx, c, from)
	if c == clock.Froze || k.set == nil {
		return true
	}
	if err := k.set(ctx, from, r.Wall); err != nil && ctx.Err() == nil {
		k.log.Error("following the clock failed, some retries may wait longer than they should", slog.Any("error", err))
	}
	return true
}

// clockEvidence is what the wall clock is or was not believed for.
type clockEvidence struct {
	Wall  time.Time `json:"wall"`
	Lived time.Time `json:"lived"` // by the time that had gone by
	Jump  float64   `json:"jump_seconds"`
}

// tell says what has changed: a log line, an event, and the record for the next start.
func (k *timekeeper) tell(ctx context.Context, c clock.Change, from time.Time) {
	wall := k.read().Wall
	e := event.Event{Kind: event.ClockSettled}
	switch c {
	case clock.Froze:
		e.Kind, e.Reason = event.ClockFrozen, "the wall clock was "+jumped(wall.Sub(from.Round(0)))
	case clock.Returned:
		e.Reason = "the wall clock is back where it should be"
	case clock.Accepted:
		e.Reason = fmt.Sprintf("the wall clock was steady for %v after it was %s", clock.Steady, jumped(wall.Sub(from.Round(0))))
	default:
		e.Reason = "an operator confirmed the wall clock, which was " + jumped(wall.Sub(from.Round(0)))
	}
	x := clockEvidence{Wall: wall.UTC(), Lived: from.Round(0).UTC(), Jump: wall.Sub(from.Round(0)).Seconds()}
	if c == clock.Froze {
		e = acted(e, actFrozen, x, "segue clock confirm")
		k.log.Warn("wall clock was set: expiry, tiers, stages and budget days stand still", slog.String("reason", e.Reason))
	} else {
		e = acted(e, actSettled, x, "") // it is lived by now: only the clock itself can be set again
		k.log.Warn("wall clock is believed again", slog.String("reason", e.Reason))
	}
	k.store(ctx, &e)
}

// store writes the time for the next start, beside an event where there is one.
func (k *timekeeper) store(ctx context.Context, e *event.Event) {
	r := k.read()
	s := k.state.Load()
	value, err := json.Marshal(storedClock{Now: s.Now(r).UTC(), Frozen: s.Frozen()})
	if err == nil {
		err = k.mail.Commit(ctx, func(tx *store.Tx) error {
			tx.PutState(clockState, value)
			if e != nil {
				tx.Event(e)
			}
			return nil
		})
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
		k.log.Error("storing the time failed", slog.Any("error", err))
	}
	k.stored = r.Mono + storeEvery
}

// jumped says in words how a clock was set.
func jumped(d time.Duration) string {
	if d < 0 {
		return "set back by " + (-d).Round(time.Second).String()
	}
	return "set ahead by " + d.Round(time.Second).String()
}

// warning is what operators are told while the wall is not believed; "" otherwise.
func (k *timekeeper) warning() string {
	s, r := k.state.Load(), k.read()
	if !s.Frozen() {
		return ""
	}
	return fmt.Sprintf("the wall clock was %s and is not believed for another %v, or until segue clock confirm: expiry, tiers, stages and budget days stand still",
		jumped(s.Jump(r)), s.Left(r).Round(time.Second))
}

// Clock implements api.Methods.
func (m methods) Clock(context.Context) (api.Clock, error) {
	s, r := m.time.state.Load(), m.time.read()
	c := api.Clock{Now: s.Now(r).UTC(), Wall: r.Wall.UTC(), Frozen: s.Frozen(), Jump: s.Jump(r).Seconds()}
	if c.Frozen {
		c.Believed = c.Wall.Add(s.Left(r))
	}
	return c, nil
}

// ConfirmClock implements api.Methods.
func (m methods) ConfirmClock(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case m.time.orders <- done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
