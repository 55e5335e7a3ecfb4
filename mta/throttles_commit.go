// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/throttle"
)

// changes are what one commit writes.
type changes struct {
	states map[pair]*throttle.State
	acts   []throttle.Act
	of     []pair // of each act
	cursor *event.Cursor
}

func (t *throttles) change() *changes { return &changes{states: make(map[pair]*throttle.State)} }

func (c *changes) add(p pair, s *throttle.State, acts []throttle.Act) {
	c.states[p] = s
	for i := range acts {
		c.acts, c.of = append(c.acts, acts[i]), append(c.of, p)
	}
}

// commit makes states, the events of acts and the cursor durable at once, and puts in force
// what they say. Where only the cursor moves, it moves in memory: to read those events again
// changes nothing. After an error what is stored is read again.
func (t *throttles) commit(ctx context.Context, c *changes) error {
	if len(c.states) == 0 && (c.cursor == nil || c.cursor.Epoch == t.cursor.Epoch) {
		if c.cursor != nil {
			t.cursor = *c.cursor
		}
		return nil
	}
	if err := t.write(ctx, c); err != nil {
		t.stale = true
		return fmt.Errorf("storing limits of sources at providers: %w", err)
	}
	if c.cursor != nil {
		t.cursor = *c.cursor
	}
	maps.Copy(t.states, c.states)
	for i := range c.acts {
		t.report(ctx, &c.acts[i])
	}
	for i, p := range c.of {
		if !slices.Contains(c.of[:i], p) {
			t.enforce(p) // what is in force changes by acts alone
		}
	}
	return nil
}

func (t *throttles) write(ctx context.Context, c *changes) error {
	values := make(map[string][]byte)
	for p, s := range c.states {
		value, err := s.Encode()
		if err != nil {
			return err
		}
		values[p.stateName()] = value
	}
	events := make([]event.Event, len(c.acts))
	last := make(map[pair][]throttle.Act)
	for i := range c.acts {
		var err error
		if events[i], err = actEvent(&c.acts[i], c.of[i]); err != nil {
			return err
		}
		p := c.of[i]
		if last[p] == nil {
			last[p] = slices.Clone(t.acts[p])
		}
		last[p] = append(last[p], c.acts[i])
		last[p] = last[p][max(0, len(last[p])-lastActs):]
	}
	for p, list := range last {
		value, err := json.Marshal(list)
		if err != nil {
			return err
		}
		values[p.actsName()] = value
	}
	err := t.mail.Commit(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		for name, value := range values {
			tx.PutState(name, value)
		}
		for i := range events {
			tx.Event(&events[i])
		}
		if c.cursor != nil {
			tx.PutCursor(throttleCursor, *c.cursor)
		}
		return nil
	})
	if err == nil {
		maps.Copy(t.acts, last)
	}
	return err
}

// actEvent is an act as the log tells it.
func actEvent(a *throttle.Act, p pair) (event.Event, error) {
	evidence, err := json.Marshal(a)
	if err != nil {
		return event.Event{}, fmt.Errorf("writing an act: %w", err)
	}
	e := event.Event{
		Kind: event.Throttled, Act: string(a.Kind), Source: p.source, Provider: p.provider,
		Reason: a.String(), Evidence: string(evidence), Undo: a.Undo(),
	}
	if a.Target == throttle.TargetSegment {
		e.Segment = a.Name
	}
	return e, nil
}

// report tells an act to whoever reads the program's log.
func (t *throttles) report(ctx context.Context, a *throttle.Act) {
	level := slog.LevelInfo
	switch a.Kind {
	case throttle.Slow, throttle.Suspend, throttle.Alert:
		level = slog.LevelWarn
	case throttle.Resume, throttle.Raise, throttle.Recovered, throttle.Pinned, throttle.Unpinned, throttle.Cancelled:
	}
	t.log.Log(ctx, level, "limits of a source at a provider changed", slog.String("act", string(a.Kind)), slog.String("source", a.Source),
		slog.String("provider", a.Provider), slog.String("what", a.String()))
}

// enforce tells the queue what is in force of a source at a provider, where that has
// changed.
func (t *throttles) enforce(p pair) {
	if !t.configured(p) {
		return
	}
	before, ok := t.limits[p]
	if !ok {
		before = schedule.Limit{Source: p.source, Provider: p.provider}
	}
	if l := t.limit(p); l != before {
		t.limits[p] = l
		t.queue.Limit(l)
	}
	t.enforceHolds(p.provider)
}

// configured reports whether there are a source and a provider. Those that the configuration does
// not have any more have no mail, and hold nobody's: no command shows or cancels what is in force of them.
func (t *throttles) configured(p pair) bool {
	_, ok := t.normals[p.provider]
	return ok && slices.Contains(t.sources, p.source)
}

// limit is what is in force as the queue takes it. With a suspension go the figures that hold
// when it ends, so that nothing leaves at the normal rate between its end and our next act.
func (t *throttles) limit(p pair) schedule.Limit {
	policy, s := t.policy(p.provider), t.state(p)
	now := policy.Limits(s, t.settled())
	after := now
	if now.Suspended && !now.Until.IsZero() {
		after = policy.Limits(s, now.Until)
	}
	return schedule.Limit{
		Source: p.source, Provider: p.provider, Suspended: now.Suspended, Until: now.Until,
		Rate: after.Rate, Connections: after.Connections, PerConnection: after.PerConnection,
	}
}

// hold is a lane or a segment whose mail waits at a provider.
type hold struct {
	target throttle.Target
	name   string
}

// enforceHolds tells the queue what waits at a provider: mail of a lane or segment that is
// suspended for any source waits for all of them, because it is the mail that was refused.
func (t *throttles) enforceHolds(provider string) {
	var list []hold
	for p, s := range t.states {
		if p.provider == provider && t.configured(p) {
			for _, x := range t.policy(provider).Limits(s, t.settled()).Lanes {
				list = append(list, hold{x.Target, x.Name})
			}
		}
	}
	slices.SortFunc(list, func(a, b hold) int {
		return cmp.Or(cmp.Compare(a.target, b.target), strings.Compare(a.name, b.name))
	})
	list = slices.Compact(list)
	if slices.Equal(list, t.held[provider]) {
		return
	}
	t.held[provider] = list
	if len(list) == 0 {
		t.queue.HoldAt(other(provider), nil)
		return
	}
	t.queue.HoldAt(other(provider), func(c store.Class) bool {
		return slices.ContainsFunc(list, func(h hold) bool { return h.holds(c) })
	})
}

func (h hold) holds(c store.Class) bool {
	if h.target == throttle.TargetSegment {
		return h.name == c.Segment
	}
	return h.name == throttle.Lane{Stream: c.Stream, Segment: c.Segment, Tier: c.Tier, Pool: c.Pool}.String()
}
