// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
)

// Gate says of marketing mail that is about to leave whether it goes: breakers
// and canaries hold the mail of whole cohorts. It is never asked for transactional mail.
type Gate interface {
	// Ask is called from connections and from the committer, for every recipient: it
	// must answer from memory. It changes nothing: of a recipient it may be asked often.
	Ask(e *store.Entry, class store.Class, m *store.Message) Passage
	// Goes is told of a recipient that leaves now for the trials of its Passage, before an event
	// says so: a trial that has enough can ask for no more. To be asked alone is not to leave.
	Goes(e *store.Entry, sample []string)
}

// Passage is the answer of a Gate.
type Passage struct {
	Go bool
	// Hold is the name under which mail that does not go is parked: that of the
	// cohort, such as "segment:trial", "batch:2026-05" or "campaign:spring". Whoever
	// lets the cohort go again calls [Queue.ReleaseHold].
	Hold string
	Why  string // it does not go, and which command lets it
	// Sample are the trials that mail which goes is let go for, as
	// breaker.State.TrialName names them. The recipient keeps them: each of its
	// events has them, and the record of the sent index. Of those that are new to it
	// an event of kind sampled tells before it is sent.
	Sample []string
}

// maxSamples bounds the trials that a recipient keeps: one for each cohort that it
// belongs to, and a few that are over.
const maxSamples = 8

// passage asks the gate, if there is one to ask.
func (q *Queue) passage(e *store.Entry, class store.Class, m *store.Message) Passage {
	if q.o.Gate == nil || q.o.Lane(class).Transactional {
		return Passage{Go: true}
	}
	return q.o.Gate.Ask(e, class, m)
}

// sampled reads who of a job is let go for a trial that is new to it. It is called
// before anything is written.
func (p *prepared) sampled(tx *store.Tx, seats []*seat) ([]*seat, error) {
	var list []*seat
	for _, s := range seats {
		fresh := slices.DeleteFunc(slices.Clone(p.samples[s.ID]), func(name string) bool { return slices.Contains(s.Sample, name) })
		if len(fresh) == 0 {
			continue
		}
		_, err := tx.Owned(s.ID, s.Generation)
		if errors.Is(err, store.ErrStale) {
			continue // its conclusion will find out
		}
		if err != nil {
			return nil, err
		}
		p.samples[s.ID] = fresh
		list = append(list, s)
	}
	return list, nil
}

// letGo writes for which trials those go who found room, and tells of each trial
// that is new to a recipient. Nothing is sent before that is durable: a crash
// repeats mail of a trial, it does not let go others instead.
func (q *Queue) letGo(tx *store.Tx, p *prepared, seats []*seat) {
	for _, s := range seats {
		if s.full != nil {
			continue
		}
		next := s.Recipient
		next.Sample = slices.Concat(s.Sample, p.samples[s.ID])
		next.Sample = next.Sample[max(0, len(next.Sample)-maxSamples):]
		e := q.event(s.ID, &next, p.job.Message)
		e.Kind, e.Sample = event.Sampled, p.samples[s.ID]
		s.Recipient = tx.Put(s.ID, s.Recipient, next)
		tx.Event(&e)
	}
}

// holdAnew asks the gate for mail under one of its holds that leaves the lane for
// which it was parked: it may belong to another cohort now.
func (q *Queue) holdAnew(id store.ID, old, next *store.Recipient, m *store.Message) {
	if old.Hold == "" {
		return
	}
	before := q.passage(&store.Entry{ID: id, Recipient: *old}, q.store.Class(old.Class), m)
	if before.Go || before.Hold != old.Hold {
		return // by an operator, or about to be released
	}
	next.Hold = ""
	if after := q.passage(&store.Entry{ID: id, Recipient: *next}, q.store.Class(next.Class), m); !after.Go {
		next.Hold = after.Hold
	}
}

// ReleaseHold gives back to their lanes those parked under a name whom let allows
// (nil = all), due as they were, and says how many they were. The gate must answer by
// then as it will from now on: who was asked before is parked when the walk begins, and
// who is parked later is asked again. It reads a page at a time, and is called again
// where it failed or was cut off.
func (q *Queue) ReleaseHold(ctx context.Context, hold string, let func(*store.Entry, store.Class) bool) (int, error) {
	// What the committer took before this is on disk when this is.
	if err := q.store.Commit(ctx, func(*store.Tx) error { return nil }); err != nil {
		return 0, fmt.Errorf("releasing %s: %w", hold, err)
	}
	released := 0
	var behind store.ID
	for {
		list, err := q.store.Parked(hold, behind, page)
		if err != nil {
			return released, fmt.Errorf("reading the mail under hold %s: %w", hold, err)
		}
		var ids []store.ID
		for i := range list {
			if let == nil || let(&list[i], q.store.Class(list[i].Class)) {
				ids = append(ids, list[i].ID)
			}
		}
		n, err := q.DoAll(ctx, ids, releasing(hold))
		if released += n; err != nil {
			return released, fmt.Errorf("releasing %s: %w", hold, err)
		}
		if len(list) < page {
			return released, nil
		}
		behind = list[len(list)-1].ID
	}
}

// releasing gives back who is parked under a name, due as it was.
func releasing(hold string) Order {
	return func(*Queue, store.ID) (*act, error) {
		return &act{kind: event.Released, hold: hold, reason: hold + " is let go"}, nil
	}
}

// AskAll asks the gate now for the waiting mail that keep selects (nil = all), and parks
// what it holds, instead of when that is about to leave. It says how many it parked. It
// reads the whole queue.
func (q *Queue) AskAll(ctx context.Context, keep func(*store.Entry, store.Class) bool) (int, error) {
	parked := 0
	var from store.ID
	for {
		list, err := q.List(from, page, func(e *store.Entry, c store.Class) bool {
			return e.Hold == "" && (keep == nil || keep(e, c))
		})
		if err != nil {
			return parked, fmt.Errorf("reading the queue: %w", err)
		}
		var ids []store.ID
		for i := range list {
			m, err := q.store.Message(list[i].ID.Message)
			if errors.Is(err, store.ErrStale) {
				continue // concluded meanwhile
			}
			if err != nil {
				return parked, fmt.Errorf("reading a message of the queue: %w", err)
			}
			if !q.passage(&list[i], q.store.Class(list[i].Class), &m).Go {
				ids = append(ids, list[i].ID)
			}
		}
		n, err := q.DoAll(ctx, ids, gating())
		if parked += n; err != nil {
			return parked, fmt.Errorf("parking what the gate holds: %w", err)
		}
		if len(list) < page {
			return parked, nil
		}
		last := list[len(list)-1].ID
		from = store.ID{Message: last.Message, Recipient: last.Recipient + 1}
	}
}

// gating parks a waiting recipient, if the gate still holds it.
func gating() Order {
	return func(*Queue, store.ID) (*act, error) { return &act{kind: event.Held, gated: true}, nil }
}
