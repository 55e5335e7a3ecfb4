// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/evidence"
	"github.com/seguemta/segue/reputation/warmup"
)

// steered is the event that an act by hand is told as.
func steered(b *budgetOf, act warmup.Act, why string, x *stageEvidence) event.Event {
	kind, done, undo := event.StageAdvanced, actAdvanced, warmup.StepBack
	switch act {
	case warmup.Hold:
		kind, done, undo = event.StageHeld, actHeld, warmup.Release
	case warmup.Release:
		kind, done, undo = event.StageReleased, actReleased, warmup.Hold
	case warmup.StepBack:
		kind, done, undo = event.StageBack, actBack, warmup.Forward
	case warmup.Forward:
	}
	return acted(of(b.key, kind, why), done, x, stageUndo(b.key, undo))
}

// named are the budgets that an order means.
func (w *warmups) named(o *api.WarmupAct) []*budgetOf {
	var list []*budgetOf
	for i := range w.list {
		b := &w.list[i]
		k := b.key
		if k.Source == o.Source && k.Domain == o.Domain && k.Segment == o.Segment && k.Tier == o.Tier && (o.Provider == "" || k.Provider == o.Provider) {
			list = append(list, b)
		}
	}
	return list
}

// steer carries out an order on every budget that it means and that allows it; an
// error says why none does. It is called between two steps of the queue.
func (w *warmups) steer(now time.Time, o *api.WarmupAct) ([]queue.Change, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	today := warmup.DayOf(now, w.zone)
	by := o.By
	if o.Reason != "" {
		by += ": " + o.Reason
	}
	list := w.named(o)
	if len(list) == 0 {
		return nil, notFound("no warm-up has this name: segue warmup show lists them")
	}
	var changes []queue.Change
	var refused error
	for _, b := range list {
		p := w.plans[b.plan]
		if !p.Own(b.key.Provider) {
			refused = errors.Join(refused, fmt.Errorf("%s follows the total, which can be steered", b.key.Provider))
			continue
		}
		from := p.Position(w.states[b.key])
		s, err := p.Steer(w.states[b.key], warmup.Act(o.Action), today, by)
		if err != nil {
			refused = errors.Join(refused, fmt.Errorf("%s: %w", b.key.Provider, err))
			continue
		}
		if s.Day == 0 {
			s.Day = today - 1 // what was before it is not judged by what it is now
		}
		x := stageEvidence{From: from + 1, To: p.Position(s) + 1, Stages: len(p.Stages), By: by}
		changes = append(changes, w.change(b, s, []event.Event{steered(b, warmup.Act(o.Action), p.Reason(s), &x)}))
	}
	if len(changes) == 0 {
		return nil, api.Problem(http.StatusConflict, "nothing was changed", strings.ReplaceAll(refused.Error(), "\n", "; "))
	}
	return changes, nil
}

// SteerWarmup implements api.Methods. An act is durable and in force when it
// returns.
func (m methods) SteerWarmup(ctx context.Context, o api.WarmupAct) error {
	o.By = strings.TrimSpace(o.By)
	if o.By == "" {
		o.By = "an operator"
	}
	return m.queue.Steer(ctx, func(now time.Time, _ func(schedule.BudgetKey, schedule.Day) store.Counter) ([]queue.Change, error) {
		return m.warm.steer(now, &o)
	})
}

// AddEvidence implements api.Methods. All rows are taken or none.
func (m methods) AddEvidence(ctx context.Context, in api.Evidence) (api.EvidenceAdded, error) {
	figures := make(map[evidence.FigureKey]evidence.Figure)
	for i := range in.Rows {
		k, f, err := m.evidence.figure(&in.Rows[i])
		if err != nil {
			return api.EvidenceAdded{}, api.Problem(http.StatusBadRequest, "bad evidence", fmt.Sprintf("row %d: %v", i+1, err))
		}
		figures[k] = f
	}
	if len(figures) == 0 {
		return api.EvidenceAdded{}, api.Problem(http.StatusBadRequest, "bad evidence", "there are no rows")
	}
	return api.EvidenceAdded{Rows: len(in.Rows)}, m.evidence.put(ctx, figures)
}

// put stores figures; one about the same thing and day takes the place of the
// one before.
func (e *evidences) put(ctx context.Context, figures map[evidence.FigureKey]evidence.Figure) error {
	err := e.mail.Commit(ctx, func(tx *store.Tx) error {
		for k, f := range figures {
			value, err := json.Marshal(f)
			if err != nil {
				return fmt.Errorf("writing a figure: %w", err)
			}
			tx.PutState(figureName(k), value)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing evidence: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for k, f := range figures {
		e.book.SetFigure(k, f)
	}
	return nil
}

// figure checks one imported row.
func (e *evidences) figure(r *api.EvidenceRow) (evidence.FigureKey, evidence.Figure, error) {
	k := evidence.FigureKey{Kind: evidence.Kind(r.Kind), Name: strings.ToLower(r.Key)}
	f := evidence.Figure{Provider: r.Provider, Filter: evidence.Filter(r.Filter)}
	day, err := time.Parse(time.DateOnly, r.Day)
	if err != nil {
		return k, f, fmt.Errorf("day %q is not a date such as 2026-11-23", r.Day)
	}
	k.Day = warmup.DayOf(day, time.UTC)
	today := warmup.DayOf(e.settled(), e.zone)
	if k.Day > today+1 || k.Day <= today-evidence.Keep {
		return k, f, fmt.Errorf("day %s is not one of the last %d", r.Day, evidence.Keep)
	}
	if f.Provider == "" {
		f.Provider = k.Kind.Provider()
	}
	rate := r.SpamRate
	switch k.Kind {
	case evidence.Postmaster:
		if r.Filter != "" || r.ComplaintRate != 0 {
			return k, f, errors.New("postmaster has a spam_rate and nothing else")
		}
		if !e.domains[k.Name] {
			return k, f, fmt.Errorf("%q is none of our domains", r.Key)
		}
	case evidence.SNDS:
		rate = r.ComplaintRate
		if r.SpamRate != 0 || f.Filter != evidence.Green && f.Filter != evidence.Yellow && f.Filter != evidence.Red {
			return k, f, errors.New("snds has a filter (green, yellow or red) and a complaint_rate")
		}
		if !e.ours(k.Name) {
			return k, f, fmt.Errorf("%q is the address of no source", r.Key)
		}
	default:
		return k, f, fmt.Errorf("there is no kind %q, only postmaster and snds", r.Kind)
	}
	if !e.providers[f.Provider] {
		return k, f, fmt.Errorf("there is no provider %q: say which of ours it is about", f.Provider)
	}
	if !(rate >= 0 && rate <= 1) {
		return k, f, fmt.Errorf("a rate of %v is not between 0 and 1", rate)
	}
	f.Complained = rate
	return k, f, nil
}

// ours reports whether an address is that of a source.
func (e *evidences) ours(address string) bool {
	for _, list := range e.addresses {
		if slices.Contains(list, address) {
			return true
		}
	}
	return false
}
