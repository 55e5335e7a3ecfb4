// SPDX-License-Identifier: Apache-2.0

package breaker

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// maxTiers is how many tiers a day tells apart; there are six.
const maxTiers = 16

// Window is counts of some days, oldest first. That of a cohort is what it is judged by;
// one of all mail is what its pools come from, see [Window.Pools].
type Window []Day

// Day is the counts of what was delivered on a day: all of it, and by tier.
type Day struct {
	Day    int32             `json:"day"` // from 1970-01-01
	Counts Counts            `json:"counts"`
	Tiers  map[string]Counts `json:"tiers,omitempty"`
}

// Add counts on a day and keeps so many days up to the newest one. tier may be "".
func (w *Window) Add(day int32, tier string, c Counts, days int) {
	days = min(max(days, 1), maxDays)
	i, found := slices.BinarySearchFunc(*w, day, func(d Day, day int32) int { return int(d.Day) - int(day) })
	if !found {
		*w = slices.Insert(*w, i, Day{Day: day})
	}
	d := &(*w)[i]
	d.Counts.Add(c)
	if _, known := d.Tiers[tier]; tier != "" && (known || len(d.Tiers) < maxTiers) {
		if d.Tiers == nil {
			d.Tiers = make(map[string]Counts)
		}
		sum := d.Tiers[tier]
		sum.Add(c)
		d.Tiers[tier] = sum
	}
	newest := (*w)[len(*w)-1].Day
	*w = slices.DeleteFunc(*w, func(d Day) bool { return int(d.Day) <= int(newest)-days })
}

// Clone is a copy that shares nothing with w.
func (w Window) Clone() Window {
	c := slices.Clone(w)
	for i := range c {
		c[i].Tiers = maps.Clone(c[i].Tiers)
	}
	return c
}

// Sum is all days together.
func (w Window) Sum() Counts {
	var c Counts
	for i := range w {
		c.Add(w[i].Counts)
	}
	return c
}

// Of is all days of one tier together.
func (w Window) Of(tier string) Counts {
	var c Counts
	for i := range w {
		c.Add(w[i].Tiers[tier])
	}
	return c
}

// Tier is the tier that most of the mail was for, "" where none is known.
func (w Window) Tier() string {
	of := make(map[string]uint64)
	for i := range w {
		for tier, c := range w[i].Tiers {
			of[tier] += max(c.Answered, c.Delivered)
		}
	}
	most := ""
	for _, tier := range slices.Sorted(maps.Keys(of)) {
		if of[tier] > of[most] {
			most = tier
		}
	}
	return most
}

// Take takes out of w what o counts: mail of those who are held is no example for others.
func (w Window) Take(o Window) {
	for i := range o {
		j := slices.IndexFunc(w, func(d Day) bool { return d.Day == o[i].Day })
		if j < 0 {
			continue
		}
		w[j].Counts = w[j].Counts.less(o[i].Counts)
		for tier, c := range o[i].Tiers {
			if have, ok := w[j].Tiers[tier]; ok {
				w[j].Tiers[tier] = have.less(c)
			}
		}
	}
}

// Pools are what a cohort is judged with, where w is all mail: the others of the tier that
// most of its own mail is for, and all others.
func (w Window) Pools(own Window) []Pool {
	var pools []Pool
	if tier := own.Tier(); tier != "" {
		pools = append(pools, Pool{"tier " + tier, w.Of(tier).less(own.Of(tier))})
	}
	return append(pools, Pool{"all", w.Sum().less(own.Sum())})
}

// less is c without o. No count falls below nothing, and no harm is left of whom none are:
// that would be all harm.
func (c Counts) less(o Counts) Counts {
	sub := func(a, b uint64) uint64 { return a - min(a, b) }
	c = Counts{
		Admitted: sub(c.Admitted, o.Admitted), Concluded: sub(c.Concluded, o.Concluded), Answered: sub(c.Answered, o.Answered),
		Delivered: sub(c.Delivered, o.Delivered), Reporting: sub(c.Reporting, o.Reporting), Bounced: sub(c.Bounced, o.Bounced),
		Spam: sub(c.Spam, o.Spam), Complained: sub(c.Complained, o.Complained), Unsubscribed: sub(c.Unsubscribed, o.Unsubscribed),
	}
	c.Bounced, c.Spam = min(c.Bounced, c.Answered), min(c.Spam, c.Answered)
	c.Complained, c.Unsubscribed = min(c.Complained, c.Reporting), min(c.Unsubscribed, c.Delivered)
	return c
}

// Encode is the stored form of a window that is no cohort's.
func (w Window) Encode() ([]byte, error) {
	b, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("storing counts of mail: %w", err)
	}
	return b, nil
}

// DecodeWindow reads the stored form. Errors wrap [ErrState].
func DecodeWindow(b []byte) (Window, error) {
	var w Window
	if len(b) > maxStored {
		return nil, fmt.Errorf("%w: %d octets, at most %d", ErrState, len(b), maxStored)
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if err := w.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	return w, nil
}

func (w Window) check() error {
	if len(w) > maxDays {
		return fmt.Errorf("%d days, at most %d", len(w), maxDays)
	}
	for i, d := range w {
		if i > 0 && d.Day <= w[i-1].Day || !d.Counts.sane() {
			return fmt.Errorf("the counts of day %d are none", d.Day)
		}
		if len(d.Tiers) > maxTiers {
			return errors.New("more tiers than there are")
		}
		for tier, c := range d.Tiers {
			if !c.sane() {
				return fmt.Errorf("the counts of tier %s on day %d are none", tier, d.Day)
			}
		}
	}
	return nil
}
