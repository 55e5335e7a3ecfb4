// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/complaint"
	"github.com/seguemta/segue/segment"
)

// Names in the queue's store: the consumer that keeps the complaint register, its
// cases (complaint/case/ID) and its counts (complaint/day/DATE/SEGMENT).
const (
	complaintCursor = "complaints"
	casePrefix      = "complaint/case/"
	tallyPrefix     = "complaint/day/"
)

const (
	tallyDays = 60                     // that reports can look back
	caseDays  = 400                    // that a closed case is kept
	watch     = time.Minute            // between two looks for overdue cases
	gather    = 500 * time.Millisecond // between two pages, so that busy days are few writes
)

// complaints is the register of complaints: a consumer of the event log that keeps a
// case of every complaint and counts by segment. Its cursor is stored in the batch of
// what it makes, so that one complaint makes one case, whenever the power goes.
type complaints struct {
	mail    *store.Store
	owner   string
	redact  func(*event.Event) bool
	contact func(rfc5321.Address) (uint64, error)
	now     func() time.Time
	settled func() time.Time // stands still while the clock is in doubt: nothing is overdue by a clock that jumped
	log     *slog.Logger

	mu      sync.Mutex
	cursor  event.Cursor
	open    map[uint64]complaint.Case
	trimmed time.Time
}

func (e *Engine) makeComplaints() error {
	c := &complaints{
		mail: e.mail, owner: e.c.Feedback.Owner, redact: e.people.Redact, now: e.o.Now, settled: e.time.Settled,
		log: e.log.With(slog.String("component", "complaints")), open: make(map[uint64]complaint.Case),
		contact: func(a rfc5321.Address) (uint64, error) {
			v, err := e.people.Look(a, segment.Mail{}, e.time.Settled())
			return v.ID, err
		},
	}
	var err error
	if c.cursor, err = e.mail.Cursor(complaintCursor); err != nil {
		return fmt.Errorf("opening the complaint register: %w", err)
	}
	if c.cursor.Epoch != e.mail.Epoch() {
		c.cursor = event.Cursor{Epoch: e.mail.Epoch()}
	}
	err = c.cases(func(x complaint.Case) error {
		if x.Status == complaint.Opened {
			c.open[x.ID] = x
		}
		return nil
	})
	e.complaints = c
	e.o.Registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "segue_complaints_open",
			Help: "Complaint cases that nobody closed yet: segue complaint ls.",
		}, c.gauge(func(*complaint.Case) bool { return true })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "segue_complaints_overdue",
			Help: "Complaint cases open for more than 24 hours.",
		}, c.gauge(func(x *complaint.Case) bool { return x.Overdue(c.settled()) })),
	)
	return err
}

// gauge counts open cases when it is read.
func (c *complaints) gauge(counts func(*complaint.Case) bool) func() float64 {
	return func() float64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		n := 0
		for _, x := range c.open {
			if counts(&x) {
				n++
			}
		}
		return float64(n)
	}
}

// consumed is the event up to which the register has followed.
func (c *complaints) consumed() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cursor.Sequence
}

// follow keeps the register until ctx ends.
func (c *complaints) follow(ctx context.Context) {
	look := time.NewTicker(watch)
	defer look.Stop()
	for ctx.Err() == nil {
		_, changed := c.mail.Durable()
		n, err := c.apply(ctx)
		if err == nil && n < eventPage {
			select {
			case <-ctx.Done():
			case <-changed:
				pause(ctx, gather)
			case <-look.C:
				err = errors.Join(c.warn(ctx), c.trim(ctx))
			}
		}
		if err != nil && ctx.Err() == nil {
			c.log.Error("keeping the complaint register failed, trying again", slog.Any("error", err))
			pause(ctx, time.Second)
		}
	}
}

// tallies are counts by the name they are stored under.
type tallies map[string]complaint.Tally

func tallyName(day, segment string) string { return tallyPrefix + day + "/" + segment }

// apply takes the next page of events.
func (c *complaints) apply(ctx context.Context) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list, err := c.mail.Events(c.cursor.Sequence, eventPage)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	counts := make(tallies)
	var fresh []complaint.Case
	for i := range list {
		e := &list[i]
		if err := c.count(counts, e); err != nil {
			return 0, err
		}
		if e.Kind == event.Complained {
			x, err := c.toCase(e)
			if err != nil {
				return 0, err
			}
			fresh = append(fresh, x)
		}
	}
	next := event.Cursor{Epoch: c.cursor.Epoch, Sequence: list[len(list)-1].Sequence}
	if err := c.write(ctx, next, counts, fresh); err != nil {
		return 0, err
	}
	c.cursor = next
	for _, x := range fresh {
		c.open[x.ID] = x
	}
	return len(list), nil
}

// count adds an event to the counts of its day and segment.
func (c *complaints) count(counts tallies, e *event.Event) error {
	if e.Kind != event.Delivered && e.Kind != event.Complained {
		return nil
	}
	name := tallyName(e.Time.UTC().Format(time.DateOnly), e.Segment)
	t := counts[name]
	if t == nil {
		t = complaint.Tally{}
		value, err := c.mail.State(name)
		if err == nil {
			err = json.Unmarshal(value, &t)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("reading the counts %s: %w", name, err)
		}
		counts[name] = t
	}
	t.Add(e)
	return nil
}

// toCase makes a case of a complaint.
func (c *complaints) toCase(e *event.Event) (complaint.Case, error) {
	c.redact(e)
	x := complaint.Open(e, c.owner)
	if x.Contact == 0 && x.Address != "" {
		if a, err := rfc5321.ParseAddress(x.Address); err == nil {
			if x.Contact, err = c.contact(a); err != nil {
				return x, fmt.Errorf("finding who complained: %w", err)
			}
		}
	}
	return x, nil
}

// write makes counts, cases, the events about them and the cursor durable at once.
func (c *complaints) write(ctx context.Context, next event.Cursor, counts tallies, fresh []complaint.Case) error {
	states := make(map[string][]byte)
	for name, t := range counts {
		value, err := json.Marshal(t)
		if err != nil {
			return fmt.Errorf("writing counts: %w", err)
		}
		states[name] = value
	}
	events := make([]event.Event, len(fresh))
	for i := range fresh {
		x := &fresh[i]
		value, err := json.Marshal(x)
		if err != nil {
			return fmt.Errorf("writing a case: %w", err)
		}
		states[caseName(x.ID)] = value
		events[i] = x.Event(event.CaseOpened, fmt.Sprintf("case %d, owner %s, due %s", x.ID, x.Owner, x.Due.UTC().Format(time.RFC3339)))
	}
	return c.mail.Commit(ctx, func(tx *store.Tx) error {
		for _, name := range slices.Sorted(maps.Keys(states)) {
			tx.PutState(name, states[name])
		}
		for i := range events {
			tx.Event(&events[i])
		}
		tx.PutCursor(complaintCursor, next)
		return nil
	})
}

// caseName sorts as the numbers do.
func caseName(id uint64) string { return fmt.Sprintf("%s%016x", casePrefix, id) }

// days reads the counts of the last n days.
func (c *complaints) days(n int) ([]complaint.Tally, error) {
	from := tallyName(c.now().UTC().AddDate(0, 0, 1-n).Format(time.DateOnly), "")
	var list []complaint.Tally
	err := c.mail.States(tallyPrefix, func(name string, value []byte) error {
		if name < from {
			return nil
		}
		var t complaint.Tally
		if err := json.Unmarshal(value, &t); err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		list = append(list, t)
		return nil
	})
	return list, err
}
