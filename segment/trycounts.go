// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// tryCounts counts the contacts of accounts for a definition that is tried: its
// conditions need not be among those that are counted all the time.
type tryCounts struct {
	d     *DB
	rs    *ruleset
	which []int // conditions that the definition reads
	feeds *feeds
	now   time.Time
	known map[uint64][]rule.Count // by account, in the order of which
	s     *subject                // the colleague
}

func (d *DB) tryCounts(rs *ruleset, at int, f *feeds, now time.Time) *tryCounts {
	c := &tryCounts{d: d, rs: rs, feeds: f, now: now, known: map[uint64][]rule.Count{}, s: &subject{}}
	for k := range rs.set.Counted() {
		if slices.Contains(rs.set.Affected(rule.Change{Counted: []int{k}}), at) {
			c.which = append(c.which, k)
		}
	}
	c.s.fit(rs)
	return c
}

// fill gives a subject the counts of its accounts.
func (c *tryCounts) fill(s *subject, from *stored) error {
	if len(c.which) == 0 {
		return nil
	}
	for _, v := range s.pairs {
		if v.Account == 0 {
			continue
		}
		list, ok := c.known[v.Account]
		if !ok {
			var err error
			if list, err = c.count(v.Account, from); err != nil {
				return fmt.Errorf("counting the contacts of account %d: %w", v.Account, err)
			}
			if len(c.known) >= walkAccounts {
				clear(c.known)
			}
			c.known[v.Account] = list
		}
		for n, k := range c.which {
			v.Counts[k] = list[n]
		}
	}
	return nil
}

// count asks each contact of an account. Of the segments that a condition refers
// to, the members count as they are.
func (c *tryCounts) count(account uint64, accounts *stored) ([]rule.Count, error) {
	list := make([]rule.Count, len(c.which))
	refers := refers(c.rs.texts(c.which))
	err := c.d.store.ContactsBehind(account, 0, func(contact uint64) error {
		record, err := c.d.stored().contact(contact)
		if errors.Is(err, store.ErrCorrupt) {
			return nil // it is gone since
		}
		if err != nil {
			return err
		}
		from := &stored{d: c.d, accounts: accounts.accounts, have: record, alone: accounts.alone}
		if from.past, err = c.d.trySeries(c.feeds, contact); err != nil {
			return err
		}
		if _, _, err := c.s.read(c.d, from, contact, c.now); err != nil {
			return err
		}
		if refers {
			c.d.referAll(c.rs, c.s)
		}
		for _, v := range c.s.pairs {
			if v.Account != account {
				continue
			}
			for n, k := range c.which {
				list[n].Of++
				if c.rs.set.Counted()[k].Match(v) {
					list[n].True++
				}
			}
		}
		return nil
	})
	return list, err
}

// texts is what conditions about contacts say.
func (rs *ruleset) texts(which []int) string {
	var b strings.Builder
	for _, k := range which {
		b.WriteString(rs.set.Counted()[k].Text())
	}
	return b.String()
}
