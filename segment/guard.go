// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/store"
)

// Guard judges the hard bounces of a write by what else happens at their provider:
// a provider that says of everybody that they do not exist is in error.
type Guard interface {
	// Restore is called once, at Open, with the note of the last write that is durable;
	// nil = there is none.
	Restore(note []byte) error
	// Watch takes the events of one write, in their order, and returns those whose
	// suppression holds only for a time, by sequence, and a note that is stored in the same
	// write. kept is called when that is durable, and not at all where it failed.
	Watch(events []event.Event) (doubts map[uint64]Doubt, note []byte, kept func(), err error)
}

// Doubt says for how long a suppression holds that may be an error, and why.
type Doubt struct {
	Until    time.Time
	Evidence string
}

func (d *DB) restoreGuard() error {
	if d.guard == nil {
		return nil
	}
	note, err := d.store.Guard()
	if err != nil {
		return fmt.Errorf("reading the note of the guard: %w", err)
	}
	return d.guard.Restore(note)
}

// watch lets the guard see the events of this write.
func (t *tx) watch(events []event.Event) (kept func(), err error) {
	if t.d.guard == nil {
		return func() {}, nil
	}
	doubts, note, kept, err := t.d.guard.Watch(events)
	if err != nil {
		return nil, err
	}
	t.doubts = doubts
	t.b.Guard(note)
	return kept, nil
}

// provisional puts an end to a suppression.
func provisional(x *store.Suppression, doubt Doubt) {
	x.Expires = doubt.Until
	x.Evidence = bounded("provisional, " + doubt.Evidence + "; " + x.Evidence)
}

// Span selects suppressions for hard bounces: those that mail events made at a
// provider within a time.
type Span struct {
	Provider     string // "" = those without a name
	Since, Until time.Time
}

func (s Span) holds(x *store.Suppression) bool {
	return x.Reason == ReasonHardBounce && x.Source == SourceEvent && x.Provider == s.Provider && x.Scope == ScopeAll &&
		!x.Created.Before(s.Since) && x.Created.Before(s.Until)
}

// Provisional makes the suppressions of a span hold only for a time; those that
// end sooner stay as they are. It returns how many it changed.
func (d *DB) Provisional(ctx context.Context, span Span, doubt Doubt) (int, error) {
	return d.eachHardBounce(ctx, span, func(t *tx, x *store.Suppression) bool {
		if !x.Expires.IsZero() && !x.Expires.After(doubt.Until) {
			return false
		}
		provisional(x, doubt)
		t.suppress = append(t.suppress, *x)
		return true
	})
}

// Undo lifts the suppressions of a span, which were a provider's error. Those of somebody
// who was erased stay. cause is for whoever reads the log. With dry it only counts.
func (d *DB) Undo(ctx context.Context, span Span, cause string, dry bool) (int, error) {
	return d.eachHardBounce(ctx, span, func(t *tx, x *store.Suppression) bool {
		if t.d.erased.bars(x.Hash) {
			return false
		}
		if !dry {
			t.lifts = append(t.lifts, markKey{x.Hash, x.Scope})
			t.flip(store.Flip{Time: t.d.now(), Address: x.Address, Kind: FlipLifted, Scope: x.Scope, Cause: cause})
		}
		return true
	})
}

// spanStep is how many suppressions one write of a span changes.
const spanStep = 500

// eachHardBounce changes the suppressions of a span, a step at a time so that others write
// in between, and counts those that change reports.
func (d *DB) eachHardBounce(ctx context.Context, span Span, change func(t *tx, x *store.Suppression) bool) (int, error) {
	total := 0
	var behind store.Hash
	var scope string
	for {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		var page []store.Suppression
		err := d.store.Suppressions(behind, scope, func(x store.Suppression) error {
			if !span.holds(&x) {
				return nil
			}
			page = append(page, x)
			if len(page) == spanStep {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return total, fmt.Errorf("reading suppressions: %w", err)
		}
		if len(page) == 0 {
			return total, nil
		}
		n, err := d.changeHardBounces(page, span, change)
		if total += n; err != nil {
			return total, err
		}
		behind, scope = page[len(page)-1].Hash, page[len(page)-1].Scope
	}
}

// changeHardBounces changes a page, as far as it is still so.
func (d *DB) changeHardBounces(page []store.Suppression, span Span, change func(t *tx, x *store.Suppression) bool) (int, error) {
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return 0, errClosed
	}
	t := d.begin()
	defer t.close()
	n := 0
	for i := range page {
		now, err := d.store.SuppressionsOf(page[i].Hash)
		if err != nil {
			return 0, fmt.Errorf("reading suppressions: %w", err)
		}
		for j := range now {
			if span.holds(&now[j]) && change(t, &now[j]) {
				n++
			}
		}
	}
	if len(t.suppress)+len(t.lifts) == 0 {
		return n, nil
	}
	return n, t.commit()
}
