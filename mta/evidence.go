// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/evidence"
	"github.com/seguemta/segue/reputation/warmup"
)

// Names in the queue's store: the cursor of the consumer that counts, and what
// it counts. A count is evidence/count/SCOPE/NAME/PROVIDER/DAY, a figure
// evidence/figure/KIND/NAME/DAY.
const (
	evidenceCursor = "evidence"
	countPrefix    = "evidence/count/"
	figurePrefix   = "evidence/figure/"
)

// evidences counts the queue's events for the gates of warm-up: a consumer of
// the log, whose cursor is stored with its counts.
type evidences struct {
	mail      *store.Store
	log       *slog.Logger
	zone      *time.Location
	settled   func() time.Time // stands still while the clock is in doubt: nothing is forgotten by a clock that jumped
	reports   map[string]bool  // providers that report complaints
	addresses map[string][]string
	domains   map[string]bool
	providers map[string]bool

	mu      sync.Mutex // guards book and cursor
	book    *evidence.Book
	cursor  event.Cursor
	trimmed warmup.Day
}

// newEvidences reads what is stored and catches up with the log, so that a day
// which ended while the engine was down is judged by all of its events.
func newEvidences(c *config.Config, mail *store.Store, settled func() time.Time, log *slog.Logger) (*evidences, error) {
	e := &evidences{
		mail: mail, log: log, zone: c.BudgetZone.Std(), settled: settled, book: evidence.NewBook(),
		reports: make(map[string]bool), addresses: make(map[string][]string), domains: make(map[string]bool), providers: map[string]bool{schedule.Other: true},
	}
	for _, p := range c.Providers {
		e.reports[p.Name], e.providers[p.Name] = p.ReportsComplaints, true
	}
	for _, d := range c.Domains {
		e.domains[d.Name] = true
	}
	for _, s := range c.Sources {
		for _, a := range s.Addresses {
			e.addresses[s.Name] = append(e.addresses[s.Name], a.String())
		}
	}
	if err := e.load(); err != nil {
		return nil, fmt.Errorf("reading evidence: %w", err)
	}
	for {
		n, err := e.apply(context.Background())
		if err != nil {
			return nil, fmt.Errorf("counting evidence: %w", err)
		}
		if n == 0 {
			return e, nil
		}
	}
}

func (e *evidences) load() error {
	err := e.mail.States(countPrefix, func(name string, value []byte) error {
		k, ok := parseCount(name)
		var c evidence.Counts
		if err := json.Unmarshal(value, &c); err != nil || !ok {
			return fmt.Errorf("state %s cannot be read: %w", name, err)
		}
		e.book.Set(k, c)
		return nil
	})
	if err != nil {
		return err
	}
	err = e.mail.States(figurePrefix, func(name string, value []byte) error {
		k, ok := parseFigure(name)
		var f evidence.Figure
		if err := json.Unmarshal(value, &f); err != nil || !ok {
			return fmt.Errorf("state %s cannot be read: %w", name, err)
		}
		e.book.SetFigure(k, f)
		return nil
	})
	if err != nil {
		return err
	}
	e.cursor, err = e.mail.Cursor(evidenceCursor)
	if e.cursor.Epoch != e.mail.Epoch() {
		e.cursor = event.Cursor{Epoch: e.mail.Epoch()}
	}
	return err
}

func countName(k evidence.Key) string {
	return countPrefix + strings.Join([]string{string(k.Scope), k.Name, k.Provider, strconv.Itoa(int(k.Day))}, "/")
}

// parseCount reads countName back. Only the name can hold a slash.
func parseCount(name string) (evidence.Key, bool) {
	p := strings.Split(strings.TrimPrefix(name, countPrefix), "/")
	if len(p) < 4 {
		return evidence.Key{}, false
	}
	last := len(p) - 1
	day, err := strconv.ParseInt(p[last], 10, 32)
	return evidence.Key{Scope: evidence.Scope(p[0]), Name: strings.Join(p[1:last-1], "/"), Provider: p[last-1], Day: warmup.Day(day)}, err == nil
}

func figureName(k evidence.FigureKey) string {
	return figurePrefix + strings.Join([]string{string(k.Kind), k.Name, strconv.Itoa(int(k.Day))}, "/")
}

func parseFigure(name string) (evidence.FigureKey, bool) {
	p := strings.Split(strings.TrimPrefix(name, figurePrefix), "/")
	if len(p) != 3 {
		return evidence.FigureKey{}, false
	}
	day, err := strconv.ParseInt(p[2], 10, 32)
	return evidence.FigureKey{Kind: evidence.Kind(p[0]), Name: p[1], Day: warmup.Day(day)}, err == nil
}

// follow counts until ctx ends.
func (e *evidences) follow(ctx context.Context) {
	followLog(ctx, e.mail, e.apply, func(err error) { e.log.Error("counting evidence failed, trying again", slog.Any("error", err)) })
}

// consumed is the event up to which everything is counted.
func (e *evidences) consumed() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cursor.Sequence
}

// apply counts the next page of events: counts and cursor in one batch, so that
// each event counts once, whatever happens.
func (e *evidences) apply(ctx context.Context) (int, error) {
	from := e.consumed()
	list, err := e.mail.Events(from, eventPage)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	more := make(map[evidence.Key]evidence.Counts)
	for i := range list {
		if err := e.count(more, &list[i]); err != nil {
			return 0, err
		}
	}
	return len(list), e.store(ctx, more, event.Cursor{Epoch: e.mail.Epoch(), Sequence: list[len(list)-1].Sequence})
}

// store writes what was counted, with the cursor. Where nothing was, the cursor moves
// in memory alone: to read those events again after a crash counts nothing either.
func (e *evidences) store(ctx context.Context, more map[evidence.Key]evidence.Counts, cursor event.Cursor) error {
	e.mu.Lock()
	for k, c := range more {
		sum := e.book.Counts(k)
		sum.Add(c)
		more[k] = sum
	}
	e.mu.Unlock()
	if len(more) > 0 {
		err := e.mail.Commit(ctx, func(tx *store.Tx) error {
			for k, c := range more {
				value, err := json.Marshal(c)
				if err != nil {
					return fmt.Errorf("writing a count: %w", err)
				}
				tx.PutState(countName(k), value)
			}
			tx.PutCursor(evidenceCursor, cursor)
			return nil
		})
		if err != nil {
			return fmt.Errorf("storing counts: %w", err)
		}
	}
	e.mu.Lock()
	for k, c := range more {
		e.book.Set(k, c)
	}
	e.cursor = cursor
	e.mu.Unlock()
	return e.trim(ctx)
}

// trim forgets what is older than receivers remember, once a day.
func (e *evidences) trim(ctx context.Context) error {
	today := warmup.DayOf(e.settled(), e.zone)
	e.mu.Lock()
	if today <= e.trimmed {
		e.mu.Unlock()
		return nil
	}
	e.trimmed = today
	counts, figures := e.book.Old(today - evidence.Keep + 1)
	e.mu.Unlock()
	if len(counts)+len(figures) == 0 {
		return nil
	}
	return e.mail.Commit(ctx, func(tx *store.Tx) error {
		for _, k := range counts {
			tx.DropState(countName(k))
		}
		for _, k := range figures {
			tx.DropState(figureName(k))
		}
		return nil
	})
}

// judge is the evidence about a budget at the end of a day. since is the first
// day that no step back has answered yet. followers are the providers that have no state
// of their own: a total speaks for each of them and for all together.
func (e *evidences) judge(k schedule.BudgetKey, l evidence.Limits, day, since warmup.Day, followers []string) warmup.Evidence {
	e.mu.Lock()
	defer e.mu.Unlock()
	providers := []string{k.Provider}
	if k.Provider == schedule.Total {
		providers = followers
	}
	var asked []evidence.Asked
	for _, p := range providers {
		asked = append(asked, e.asked(k, p))
	}
	return e.book.Judge(&l, day, since, asked...)
}

// sample pools what is known about a budget at one provider.
func (e *evidences) sample(k schedule.BudgetKey, provider string, from, to warmup.Day) evidence.Sample {
	a := e.asked(k, provider)
	a.From, a.To = from, to
	return e.book.Sample(a)
}

// asked is the evidence about a budget at one provider, on no day yet.
func (e *evidences) asked(k schedule.BudgetKey, provider string) evidence.Asked {
	a := evidence.Asked{Scope: evidence.Lane, Name: evidence.Join(k.Segment, k.Tier), Provider: provider, Reports: e.reports[provider]}
	switch {
	case k.Domain != "":
		a.Scope, a.Name = evidence.Domain, k.Domain
	case k.Source != "":
		a.Scope, a.Name, a.Addresses = evidence.Source, k.Source, e.addresses[k.Source]
	}
	return a
}

// pooled is the evidence about a budget of seven days up to one.
func (e *evidences) pooled(k schedule.BudgetKey, to warmup.Day, followers []string) evidence.Sample {
	e.mu.Lock()
	defer e.mu.Unlock()
	if k.Provider != schedule.Total {
		return e.sample(k, k.Provider, to-evidence.Days+1, to)
	}
	var s evidence.Sample
	for _, p := range followers {
		s.Add(e.sample(k, p, to-evidence.Days+1, to))
	}
	return s
}
