// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/complaint"
)

// put stores a case that changed, with an event that says so.
func (c *complaints) put(ctx context.Context, x complaint.Case, kind event.Kind, reason string) error {
	value, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("writing a case: %w", err)
	}
	e := x.Event(kind, reason)
	e.Time = c.now()
	c.redact(&e)
	return c.mail.Commit(ctx, func(tx *store.Tx) error {
		tx.PutState(caseName(x.ID), value)
		tx.Event(&e)
		return nil
	})
}

// warn says once of each case that it is overdue.
func (c *complaints) warn(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.settled()
	for id, x := range c.open {
		if x.Warned || !x.Overdue(now) {
			continue
		}
		x.Warned = true
		if err := c.put(ctx, x, event.CaseOverdue, fmt.Sprintf("case %d was due %s: segue complaint show %d", id, x.Due.UTC().Format(time.RFC3339), id)); err != nil {
			return fmt.Errorf("warning of a case: %w", err)
		}
		c.open[id] = x
	}
	return nil
}

// close ends a case.
func (c *complaints) close(ctx context.Context, id uint64, note string) (complaint.Case, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x, err := c.one(id)
	if err != nil {
		return x, err
	}
	if err := x.Close(note, c.now()); err != nil {
		return x, err
	}
	// It does both or neither, whatever becomes of the caller.
	if err := c.put(context.WithoutCancel(ctx), x, event.CaseClosed, fmt.Sprintf("case %d: %s", id, x.Note)); err != nil {
		return x, fmt.Errorf("closing case %d: %w", id, err)
	}
	delete(c.open, id)
	return x, nil
}

// one reads a case; store.ErrNotFound where there is none of that number.
func (c *complaints) one(id uint64) (complaint.Case, error) {
	var x complaint.Case
	value, err := c.mail.State(caseName(id))
	if err != nil {
		return x, err
	}
	if err := json.Unmarshal(value, &x); err != nil {
		return x, fmt.Errorf("reading case %d: %w", id, err)
	}
	return x, nil
}

// cases calls f for every case, in the order of their numbers.
func (c *complaints) cases(f func(complaint.Case) error) error {
	return c.mail.States(casePrefix, func(name string, value []byte) error {
		var x complaint.Case
		if err := json.Unmarshal(value, &x); err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		return f(x)
	})
}

// trim forgets, once a day, counts, closed cases and names of reports that are too old.
func (c *complaints) trim(ctx context.Context) error {
	now := c.settled()
	if now.Sub(c.trimmed) < trimEvery {
		return nil
	}
	var old []string
	from := tallyName(now.UTC().AddDate(0, 0, -tallyDays).Format(time.DateOnly), "")
	err := errors.Join(c.mail.States(tallyPrefix, func(name string, _ []byte) error {
		if name < from {
			old = append(old, name)
		}
		return nil
	}), c.cases(func(x complaint.Case) error {
		if x.Status == complaint.Closed && x.Closed.Before(now.AddDate(0, 0, -caseDays)) {
			old = append(old, caseName(x.ID))
		}
		return nil
	}), c.mail.States(takenPrefix, func(name string, value []byte) error {
		if at, err := strconv.ParseInt(string(value), 10, 64); err == nil && time.Unix(at, 0).Before(now.AddDate(0, 0, -tallyDays)) {
			old = append(old, name)
		}
		return nil
	}))
	if err != nil {
		return err
	}
	err = c.mail.Commit(ctx, func(tx *store.Tx) error {
		for _, name := range old {
			tx.DropState(name)
		}
		return nil
	})
	if err == nil {
		c.trimmed = now
	}
	return err
}

// forget takes a person who is erased out of the cases about it.
func (c *complaints) forget(ctx context.Context, address rfc5321.Address) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var changed []complaint.Case
	err := c.cases(func(x complaint.Case) error {
		if same(x.Address, address.String()) {
			x.Address, x.Contact = "", 0
			changed = append(changed, x)
		}
		return nil
	})
	if err != nil || len(changed) == 0 {
		return err
	}
	states := make(map[string][]byte)
	for _, x := range changed {
		value, err := json.Marshal(x)
		if err != nil {
			return fmt.Errorf("writing a case: %w", err)
		}
		states[caseName(x.ID)] = value
		if _, ok := c.open[x.ID]; ok {
			c.open[x.ID] = x
		}
	}
	return c.mail.Commit(ctx, func(tx *store.Tx) error {
		for name, value := range states {
			tx.PutState(name, value)
		}
		return nil
	})
}
