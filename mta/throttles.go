// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/throttle"
)

// Names in the queue's store: the cursor of the consumer that watches what providers
// say, what it knows (throttle/SOURCE/PROVIDER), and what it did last
// (throttled/SOURCE/PROVIDER).
const (
	throttleCursor = "throttle"
	throttlePrefix = "throttle/"
	actsPrefix     = "throttled/"
)

// lastActs is how many acts of a source at a provider are kept for operators.
const lastActs = 10

// throttles slow and suspend sources where a provider says so: a consumer of the event
// log, whose states and the events of its acts are stored with its cursor. What is in
// force is told to the queue after that, and again at each start.
type throttles struct {
	mail    *store.Store
	queue   enforcer
	log     *slog.Logger
	settled func() time.Time // stands still while the clock is in doubt: no suspension ends by a clock that jumped
	enabled bool
	page    int                        // events of one commit
	sources []string                   // that are configured
	normals map[string]throttle.Normal // by provider that is configured, "" = other

	mu       sync.Mutex // guards what follows
	rules    *throttle.Rules
	policies map[string]*throttle.Policy
	states   map[pair]*throttle.State
	acts     map[pair][]throttle.Act // the last ones
	replies  lastReplies             // the last one of the log
	cursor   event.Cursor
	stale    bool                    // something failed: what is stored must be read again
	limits   map[pair]schedule.Limit // as the queue was told
	held     map[string][]hold       // by provider, as the queue was told
}

// enforcer is the queue as throttles see it.
type enforcer interface {
	Limit(l schedule.Limit)
	HoldAt(provider string, holds func(store.Class) bool)
}

// pair is a source at a provider ("" = other).
type pair struct{ source, provider string }

func (p pair) stateName() string { return throttlePrefix + p.source + "/" + p.provider }
func (p pair) actsName() string  { return actsPrefix + p.source + "/" + p.provider }

func (p pair) compare(q pair) int {
	return cmp.Or(cmp.Compare(p.source, q.source), cmp.Compare(p.provider, q.provider))
}

// newThrottles reads what is stored, catches up with the log, and tells the queue what is
// in force before it runs.
func newThrottles(c *config.Config, mail *store.Store, q enforcer, settled func() time.Time, log *slog.Logger) (*throttles, error) {
	rules, err := throttleRules(c)
	if err != nil {
		return nil, err
	}
	t := &throttles{
		mail: mail, queue: q, log: log, settled: settled, enabled: c.Throttle.Enabled, page: eventPage, normals: make(map[string]throttle.Normal),
		rules: rules, limits: make(map[pair]schedule.Limit), held: make(map[string][]hold),
	}
	for _, s := range c.Sources {
		t.sources = append(t.sources, s.Name)
	}
	t.normals[""] = throttle.Normal{Connections: c.Delivery.Connections, PerConnection: c.Delivery.PerConnection}
	for _, p := range c.Providers {
		t.normals[p.Name] = throttle.Normal{Rate: p.Rate.PerSecond(), Connections: p.Connections, PerConnection: p.PerConnection, Reports: p.ReportsComplaints}
	}
	if err := t.load(); err != nil {
		return nil, fmt.Errorf("reading the limits of sources at providers: %w", err)
	}
	if err := t.begin(); err != nil {
		return nil, fmt.Errorf("watching what providers say: %w", err)
	}
	for p := range t.states {
		t.enforce(p)
	}
	return t, nil
}

// load takes what is stored; what was known in memory is forgotten.
func (t *throttles) load() error {
	t.policies, t.states, t.acts = make(map[string]*throttle.Policy), make(map[pair]*throttle.State), make(map[pair][]throttle.Act)
	err := t.mail.States(throttlePrefix, func(name string, value []byte) error {
		s, err := throttle.Decode(value)
		if err != nil {
			return fmt.Errorf("state %s: %w", name, err)
		}
		t.states[pair{s.Source, s.Provider}] = s
		return nil
	})
	if err != nil {
		return err
	}
	for p := range t.states {
		value, err := t.mail.State(p.actsName())
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		var list []throttle.Act
		if err == nil {
			err = json.Unmarshal(value, &list)
		}
		if err != nil {
			return fmt.Errorf("state %s: %w", p.actsName(), err)
		}
		t.acts[p] = list
	}
	if t.cursor, err = t.mail.Cursor(throttleCursor); err != nil {
		return err
	}
	if err = t.replies.resume(t.mail, t.cursor.Sequence); err != nil {
		return err
	}
	t.stale = false
	return nil
}

// begin catches up with the log. The first time it begins at its end: what providers said
// before anybody watched is no reason to act now. Where rules are switched off, what
// they have in force ends, and when they are switched on again it is the first time.
func (t *throttles) begin() error {
	ctx := context.Background()
	if t.cursor.Epoch != t.mail.Epoch() || !t.enabled {
		durable, _ := t.mail.Durable()
		c := t.change()
		c.cursor = &event.Cursor{Epoch: t.mail.Epoch(), Sequence: durable}
		if !t.enabled {
			c.cursor.Epoch = 0
			for _, p := range slices.SortedFunc(maps.Keys(t.states), pair.compare) {
				s := t.states[p]
				c.add(p, s, t.policy(p.provider).Cancel(s, t.settled(), throttle.TargetSource, "", "throttle.enabled = false"))
			}
		}
		if err := t.commit(ctx, c); err != nil {
			return err
		}
	}
	for {
		more, _, err := t.step(ctx)
		if err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
}

// follow watches until ctx ends.
func (t *throttles) follow(ctx context.Context) {
	followTimed(ctx, t.mail, t.step, func(err error) {
		t.log.Error("watching what providers say failed, trying again", slog.Any("error", err))
	})
}

// consumed is the event up to which everything was observed.
func (t *throttles) consumed() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cursor.Sequence
}

// step takes the next page of events and does what is due.
func (t *throttles) step(ctx context.Context) (more bool, wait time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next(ctx)
}

func (t *throttles) next(ctx context.Context) (more bool, wait time.Duration, err error) {
	if t.stale {
		if err := t.load(); err != nil {
			return false, 0, fmt.Errorf("reading the limits of sources at providers: %w", err)
		}
	}
	c, now := t.change(), t.settled()
	list, err := t.mail.Events(t.cursor.Sequence, t.page)
	if err != nil {
		return false, 0, err
	}
	for i := range list {
		if err := t.observe(c, &list[i]); err != nil {
			t.stale = true
			return false, 0, err
		}
	}
	if n := len(list); n > 0 {
		c.cursor = &event.Cursor{Epoch: t.cursor.Epoch, Sequence: list[n-1].Sequence}
		if more = n == t.page; more {
			now = list[n-1].Time // what comes next was before now
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(t.states), pair.compare) {
		s := t.states[p]
		if acts := t.policy(p.provider).Tick(s, now); len(acts) > 0 {
			c.add(p, s, acts)
		}
	}
	if err := t.commit(ctx, c); err != nil {
		return false, 0, err
	}
	return more, t.due(now), nil
}

// observe gives an event to the state that it is about.
func (t *throttles) observe(c *changes, e *event.Event) error {
	o, ok := throttle.From(e)
	if !ok || !t.enabled {
		return nil
	}
	o.Reply.Text = nameless(o.Reply.Text, e.Address)
	p := pair{e.Source, e.Provider}
	if o.Outcome == throttle.Complained {
		sent, err := firstReport(t.mail, e)
		if err != nil || sent == nil {
			return err
		}
		p = pair{sent.Source, sent.Provider}
	} else {
		o.Repeated = t.replies.repeats(e)
	}
	if p.source == "" {
		return nil // it never left
	}
	o.Transactional = e.Stream == transactional
	s := t.state(p)
	c.add(p, s, t.policy(p.provider).Observe(s, e.Time, o))
	return nil
}

// state is that of a pair, made where there is none.
func (t *throttles) state(p pair) *throttle.State {
	s := t.states[p]
	if s == nil {
		s = throttle.New(p.source, p.provider)
		t.states[p] = s
	}
	return s
}

// policy is the rules for a provider.
func (t *throttles) policy(provider string) *throttle.Policy {
	p := t.policies[provider]
	if p == nil {
		p = t.rules.For(provider, t.normals[provider], throttle.Damping{})
		t.policies[provider] = p
	}
	return p
}

// due is how long from now on nothing happens by itself; 0 = for ever.
func (t *throttles) due(now time.Time) time.Duration {
	var first time.Time
	for p, s := range t.states {
		if at := t.policy(p.provider).Next(s); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if first.IsZero() {
		return 0
	}
	return max(first.Sub(now), 1)
}
