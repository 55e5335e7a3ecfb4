// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/bounce"
	"github.com/seguemta/segue/reputation/outage"
	"github.com/seguemta/segue/segment"
)

// outages lets the contacts database ask whether a provider's word can be believed.
// What it counts is stored with the cursor of the events that it counted, so that a
// crash loses and repeats nothing. That a doubt began or ended is told by the
// queue's log, which remembers what it has told.
type outages struct {
	log    *slog.Logger
	mu     sync.Mutex // over guard and dirty
	guard  *outage.Guard
	dirty  bool // there may be something to tell
	doubts *prometheus.GaugeVec
	made   *prometheus.CounterVec
}

var _ segment.Guard = (*outages)(nil)

func newOutages(log *slog.Logger, reg prometheus.Registerer) *outages {
	o := &outages{
		log: log, guard: outage.New(outage.Default()), dirty: true,
		doubts: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "segue_provider_outage",
			Help: "1 while a provider says of so many recipients that they do not exist that its word is provisional.",
		}, []string{"provider"}),
		made: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_provisional_suppressions_total",
			Help: "Hard bounces during an outage of their provider, whose suppression ends by itself.",
		}, []string{"provider"}),
	}
	reg.MustRegister(o.doubts, o.made)
	return o
}

// Restore implements segment.Guard.
func (o *outages) Restore(note []byte) error {
	g, err := outage.Restore(outage.Default(), note)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.guard = g
	return nil
}

// Watch implements segment.Guard.
func (o *outages) Watch(events []event.Event) (map[uint64]segment.Doubt, []byte, func(), error) {
	o.mu.Lock()
	next := o.guard.Clone()
	o.mu.Unlock()
	doubts := map[uint64]segment.Doubt{}
	made := map[string]int{}
	changed := false
	for i := range events {
		e := &events[i]
		fact, counts := factOf(e)
		if !counts {
			continue
		}
		v, change := next.Take(fact)
		changed = changed || change != nil
		if !v.Until.IsZero() && e.Verdict == string(bounce.Suppress) {
			doubts[e.Sequence] = segment.Doubt{Until: v.Until, Evidence: v.Evidence}
			made[other(e.Provider)]++
		}
	}
	note, err := next.Marshal()
	if err != nil {
		return nil, nil, nil, err
	}
	return doubts, note, func() {
		o.mu.Lock()
		o.guard, o.dirty = next, o.dirty || changed
		o.mu.Unlock()
		for provider, n := range made {
			o.made.WithLabelValues(provider).Add(float64(n))
		}
	}, nil
}

// factOf is what an event says about its provider. A domain that does not exist is
// what a resolver says: it counts for those without a provider, and so a resolver that
// lies is found out there.
func factOf(e *event.Event) (outage.Fact, bool) {
	f := outage.Fact{Time: e.Time, Provider: e.Provider, Attempted: true}
	switch e.Kind {
	case event.Delivered:
	case event.Bounced:
		f.Unknown = nobody(e)
	case event.DSN:
		f.Attempted, f.Unknown = false, nobody(e)
	default:
		return outage.Fact{}, false
	}
	return f, f.Attempted || f.Unknown
}

// nobody reports whether an event says that a mailbox or a domain does not exist.
func nobody(e *event.Event) bool {
	return e.Class == string(bounce.InvalidRecipient) || e.Class == string(bounce.BadDomain)
}

// outagePrefix begins the names under which the queue's store keeps the doubts that
// were told.
const outagePrefix = "outage/"

// told is a doubt that was told.
type told struct {
	Since       time.Time `json:"since"`
	Until       time.Time `json:"until,omitzero"` // over since
	Evidence    string    `json:"evidence"`
	Provisional int       `json:"provisional,omitempty"` // suppressions of before that were made provisional
}

// outageUndo is the command that lifts what a provider said in error up to a time.
func outageUndo(provider string, since, until time.Time) string {
	return fmt.Sprintf("segue suppression undo --provider %s --since %s --until %s --reason outage", provider,
		since.UTC().Format(time.RFC3339), until.Add(time.Second).UTC().Format(time.RFC3339))
}

// settle tells what began or ended since it was last told: it makes the suppressions of the
// doubtful hour provisional, too, then writes the event. It may be repeated after a crash.
func (o *outages) settle(ctx context.Context, db *segment.DB, mail *store.Store, now time.Time) error {
	o.mu.Lock()
	dirty, doubts := o.dirty, o.guard.Doubts()
	o.dirty = false
	o.mu.Unlock()
	if !dirty {
		return nil
	}
	err := o.tell(ctx, db, mail, doubts, now)
	if err != nil {
		o.mu.Lock()
		o.dirty = true
		o.mu.Unlock()
	}
	return err
}

func (o *outages) tell(ctx context.Context, db *segment.DB, mail *store.Store, doubts []outage.Change, now time.Time) error {
	before := map[string]told{}
	err := mail.States(outagePrefix, func(name string, value []byte) error {
		var t told
		if len(value) == 0 {
			return nil // it ended
		}
		err := json.Unmarshal(value, &t)
		before[strings.TrimPrefix(name, outagePrefix)] = t
		return err
	})
	if err != nil {
		return fmt.Errorf("reading the outages of providers: %w", err)
	}
	for i := range doubts {
		d := &doubts[i]
		o.doubts.WithLabelValues(d.Provider).Set(1)
		if _, ok := before[d.Provider]; ok {
			delete(before, d.Provider)
			continue
		}
		if err := o.began(ctx, db, mail, d, now); err != nil {
			return err
		}
	}
	for _, provider := range slices.Sorted(maps.Keys(before)) {
		o.doubts.WithLabelValues(provider).Set(0)
		e := event.Event{Kind: event.OutageEnded, Provider: named(provider), Reason: provider + " is itself again: its hard bounces suppress for good"}
		x := before[provider]
		x.Until = now
		if err := announce(ctx, mail, acted(e, actPermanent, x, outageUndo(provider, x.Since, now)), nil); err != nil {
			return err
		}
		o.log.Info("the outage of a provider is over", slog.String("provider", provider))
	}
	return nil
}

func (o *outages) began(ctx context.Context, db *segment.DB, mail *store.Store, d *outage.Change, now time.Time) error {
	n, err := db.Provisional(ctx, segment.Span{Provider: named(d.Provider), Since: d.Since, Until: now.Add(time.Second)},
		segment.Doubt{Until: now.Add(outage.Default().Provisional), Evidence: d.Evidence})
	if err != nil {
		return fmt.Errorf("making suppressions provisional: %w", err)
	}
	x := told{Since: d.Since, Evidence: d.Evidence, Provisional: n}
	value, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("storing an outage: %w", err)
	}
	e := event.Event{Kind: event.OutageBegan, Provider: named(d.Provider), Reason: d.Evidence}
	if err := announce(ctx, mail, acted(e, actProvisional, x, outageUndo(d.Provider, d.Since, now)), value); err != nil {
		return err
	}
	o.log.Warn("a provider says of too many recipients that they do not exist: its hard bounces suppress for a week only",
		slog.String("provider", d.Provider), slog.Time("since", d.Since), slog.Int("made_provisional", n), slog.String("evidence", d.Evidence))
	return nil
}

// announce writes an event and, in the same write, that it was told.
func announce(ctx context.Context, mail *store.Store, e event.Event, value []byte) error {
	return mail.Commit(ctx, func(tx *store.Tx) error {
		tx.PutState(outagePrefix+other(e.Provider), value)
		tx.Event(&e)
		return nil
	})
}

// named is the provider as events and suppressions have it: other has no name there.
func named(provider string) string {
	if provider == outage.Other {
		return ""
	}
	return provider
}

// now are the providers in doubt.
func (o *outages) now() []outage.Change {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.guard.Doubts()
}

// warnings are what Health says of it.
func (o *outages) warnings() []string {
	var list []string
	for _, d := range o.now() {
		list = append(list, d.Evidence+": its hard bounces suppress for a week only")
	}
	return list
}

// UndoSuppressions implements api.Methods.
func (m methods) UndoSuppressions(ctx context.Context, u api.Undo) (api.Undone, error) {
	switch {
	case u.Provider == "":
		return api.Undone{}, api.Problem(http.StatusBadRequest, "provider is missing", "name a provider of the configuration, or other")
	case u.Since.IsZero() || !u.Until.After(u.Since):
		return api.Undone{}, api.Problem(http.StatusBadRequest, "bad span", "since and until are needed, and until is the later")
	case u.Reason == "":
		return api.Undone{}, api.Problem(http.StatusBadRequest, "reason is missing", "say why, for whoever reads the log")
	case u.Provider != outage.Other && !slices.Contains(m.warm.providers, u.Provider):
		return api.Undone{}, noProvider(u.Provider, m.warm.providers)
	}
	span := segment.Span{Provider: named(u.Provider), Since: u.Since, Until: u.Until}
	n, err := m.people.Undo(ctx, span, "undone: "+u.Reason, u.DryRun)
	if err != nil || u.DryRun {
		return api.Undone{Lifted: n, DryRun: u.DryRun}, err
	}
	text := fmt.Sprintf("%d suppressions for hard bounces at %s from %s to %s lifted: %s", n, u.Provider,
		u.Since.UTC().Format(time.RFC3339), u.Until.UTC().Format(time.RFC3339), u.Reason)
	m.log.Info("suppressions undone", slog.String("provider", u.Provider), slog.Int("lifted", n), slog.String("reason", u.Reason))
	return api.Undone{Lifted: n}, m.tell(ctx, event.Event{Kind: event.SuppressUndone, Provider: span.Provider, Reason: text})
}
