// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

// counterName is the text form of a budget and its day. Names hold no slash. A
// domain is written only where there is one: the others keep the names they have had.
func counterName(k schedule.BudgetKey, day schedule.Day) string {
	name := strings.Join([]string{k.Source, k.Plan, k.Segment, k.Tier, k.Provider, strconv.Itoa(int(day))}, "/")
	if k.Domain != "" {
		name += "/" + k.Domain
	}
	return name
}

// parseCounter reads counterName back.
func parseCounter(name string) (schedule.BudgetKey, schedule.Day, bool) {
	p := strings.Split(name, "/")
	if len(p) != 6 && len(p) != 7 {
		return schedule.BudgetKey{}, 0, false
	}
	day, err := strconv.ParseInt(p[5], 10, 32)
	k := schedule.BudgetKey{Source: p[0], Plan: p[1], Segment: p[2], Tier: p[3], Provider: p[4]}
	if len(p) == 7 {
		k.Domain = p[6]
	}
	return k, schedule.Day(day), err == nil
}

// used reads the durable counter of a budget on a day.
type used = func(schedule.BudgetKey, schedule.Day) store.Counter

// roll ends a budget day and begins the next: reputation decides about stages,
// its state is made durable, and only then are the new caps in force.
func (q *Queue) roll(now time.Time) error {
	return q.decide(now, func(now time.Time, used used) ([]Change, error) { return q.o.Budgets.Roll(now, used), nil })
}

// Steer changes reputation state by hand, between the ends of two days: what
// change returns is stored, and then the caps are asked for anew. It is called from
// the queue's own goroutine, as Budgets is; its error is Steer's, and changes nothing.
func (q *Queue) Steer(ctx context.Context, change func(now time.Time, used func(schedule.BudgetKey, schedule.Day) store.Counter) ([]Change, error)) error {
	done := make(chan error, 1)
	q.mail.act(func(now time.Time) { done <- q.decide(now, change) }) //nolint:contextcheck // what was ordered is carried out, whether the caller waits or not
	return q.answer(ctx, done)
}

func (q *Queue) decide(now time.Time, change func(time.Time, used) ([]Change, error)) error {
	var counters map[string]store.Counter
	read := func(k schedule.BudgetKey, d schedule.Day) store.Counter { return counters[counterName(k, d)] }
	err := q.store.Commit(context.Background(), func(tx *store.Tx) error {
		counters = make(map[string]store.Counter)
		tx.Counters(func(name string, c store.Counter) { counters[name] = c })
		changes, err := change(now, read)
		if err != nil {
			return err
		}
		for _, c := range changes {
			tx.PutState(c.Name, c.Value)
			for i := range c.Events {
				tx.Event(&c.Events[i])
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing warm-up state: %w", err)
	}
	q.setCaps(now, read)
	return nil
}

func (q *Queue) setCaps(now time.Time, read used) {
	q.dayEnd = now.Add(24 * time.Hour)
	caps := q.o.Budgets.Caps(now, read)
	for _, c := range caps {
		q.machine.Step(now, c)
		if c.End.Before(q.dayEnd) {
			q.dayEnd = c.End
		}
	}
	q.counts.setCaps(caps)
}

// lease makes the right to spend durable before anything is spent.
func (q *Queue) lease(l schedule.Lease) {
	name := counterName(l.Key, l.Day)
	allowed := q.counts.allowed(l.Key)
	q.store.Submit(func(tx *store.Tx) error {
		c := tx.Counter(name)
		c.Leased, c.Allowed = max(c.Leased, l.Total), allowed
		tx.PutCounter(name, c)
		return nil
	}, func(err error) {
		if err == nil {
			q.mail.fact(schedule.Leased(l))
		}
	})
}

// charge counts a recipient against the budgets of its transaction: once per
// source and day.
func (q *Queue) charge(tx *store.Tx, t *schedule.Transaction, class store.Class, r *store.Recipient) {
	if len(t.Charges) == 0 || (r.Charged == t.Source && r.ChargeDay == int32(t.Day)) {
		return
	}
	r.Charged, r.ChargeDay = t.Source, int32(t.Day)
	for _, k := range t.Charges {
		name := counterName(k, t.Day)
		c := tx.Counter(name)
		c.Used++
		if class.Tier == "new" {
			c.UsedNew++
		}
		c.Hours[q.counts.hour(t.Day, tx.Now())]++
		tx.PutCounter(name, c)
		q.counts.spend(k, t.Day)
	}
}
