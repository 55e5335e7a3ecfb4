// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seguemta/segue/mta/wilson"
	"github.com/seguemta/segue/segment/stats"
	"github.com/seguemta/segue/segment/store"
)

// Results is what became of mail by a segment; see [Figures].
type Results = store.Results

// Day is a day of a segment, UTC.
type Day struct {
	Date    string // 2006-01-02
	Size    uint64 // members at its end
	Entered uint64
	Left    uint64
	Results Results
}

// Rate is one of the results as a share of another.
type Rate struct {
	What string
	Of   string // what the denominator counts
	wilson.Rate
}

// Overlap is what a segment shares with another one.
type Overlap struct {
	With string
	stats.Overlap
}

// Figures are the numbers of a segment.
type Figures struct {
	Info
	Entered, Left uint64 // in the last 24 hours, by whole hours
	Warnings      []stats.Warning
	Overlaps      []Overlap // the largest ones first; nil in a list
	Days          []Day     // oldest first; nil in a list
	Results       Results   // of the last 30 days
	Rates         []Rate    // of the same
}

// Limits of figures.
const (
	ResultDays  = 30 // that [Figures.Results] sums
	maxOverlaps = 5
)

// Figures returns the numbers of a segment, false where there is none of that
// name.
func (d *DB) Figures(ctx context.Context, name string) (Figures, bool, error) {
	list := d.Segments()
	at := slices.IndexFunc(list, func(s Info) bool { return s.Name == name })
	if at < 0 {
		return Figures{}, false, nil
	}
	fill, err := d.filled(ctx)
	if err != nil {
		return Figures{}, true, err
	}
	f, err := d.figures(&list[at], list, fill)
	if err != nil {
		return f, true, err
	}
	if f.Days, err = d.history(&f.Info); err != nil {
		return f, true, err
	}
	for _, x := range f.Days[max(0, len(f.Days)-ResultDays):] {
		f.Results.Add(x.Results)
	}
	f.Rates = rates(&f.Results)
	return f, true, nil
}

// rates are the shares that people ask for, each with its denominator.
func rates(r *Results) []Rate {
	return []Rate{
		{"delivered", "sent", wilson.Interval(r.Delivered, r.Sent)},
		{"bounced", "sent", wilson.Interval(r.Bounced, r.Sent)},
		{"complained", "delivered", wilson.Interval(r.Complained, r.Delivered)},
		{"unsubscribed", "delivered", wilson.Interval(r.Unsubscribed, r.Delivered)},
		{"opened", "delivered", wilson.Interval(r.Opened, r.Delivered)},
		{"opened by machines", "delivered", wilson.Interval(r.OpenedByMachine, r.Delivered)},
		{"clicked", "delivered", wilson.Interval(r.Clicked, r.Delivered)},
		{"clicked by machines", "delivered", wilson.Interval(r.ClickedByMachine, r.Delivered)},
	}
}

// figures computes what a list of segments shows.
func (d *DB) figures(s *Info, list []Info, fill *fieldFill) (Figures, error) {
	f := Figures{Info: *s, Warnings: []stats.Warning{}}
	var err error
	if f.Entered, f.Left, err = d.lastDay(s.Name); err != nil {
		return f, err
	}
	f.Overlaps = d.overlaps(s, list)
	f.Warnings, err = d.warnings(&f, fill)
	return f, err
}

// lastDay is who entered and left in the last 24 hours: those that are whole, and
// this one.
func (d *DB) lastDay(name string) (entered, left uint64, err error) {
	now := d.settled()
	today, _ := hourOf(now)
	days := map[uint32]store.Flow{}
	for _, day := range []uint32{today, today - min(today, 1)} {
		if days[day], _, err = d.peekFlow(name, day); err != nil {
			return 0, 0, err
		}
	}
	for n := range 24 {
		day, hour := hourOf(now.Add(-time.Duration(n) * time.Hour))
		f := days[day]
		entered, left = entered+f.Entered[hour], left+f.Left[hour]
	}
	return entered, left, nil
}

// peekFlow reads a day of a segment, from memory or the store.
func (d *DB) peekFlow(name string, day uint32) (store.Flow, bool, error) {
	d.live.mu.RLock()
	defer d.live.mu.RUnlock()
	if f := d.stats.flows[dayKey{name, day}]; f != nil {
		return f.Flow, true, nil
	}
	return d.store.Flow(name, day)
}

// newestFlows is the days of a segment in memory.
func (d *DB) newestFlows(name string, fn func(day uint32, f store.Flow)) {
	d.live.mu.RLock()
	defer d.live.mu.RUnlock()
	for k, f := range d.stats.flows {
		if k.name == name {
			fn(k.day, f.Flow)
		}
	}
}

// history is every day that is kept, from the first that something is known of. A
// day on which nobody came or went has the size of the one before.
func (d *DB) history(s *Info) ([]Day, error) {
	today, _ := hourOf(d.settled())
	first := today - min(today, keptDays-1)
	begin := today
	results, flows := map[uint32]Results{}, map[uint32]store.Flow{}
	take := func(day uint32, f store.Flow) {
		if day >= first {
			flows[day], begin = f, min(begin, day)
		}
	}
	if err := d.store.FlowSince(s.Name, first, take); err != nil {
		return nil, err
	}
	d.newestFlows(s.Name, take)
	err := d.store.ResultsSince(s.Name, first, func(day uint32, r store.Results) { results[day], begin = r, min(begin, day) })
	if err != nil {
		return nil, err
	}
	days := make([]Day, 0, today-begin+1)
	size := uint64(0)
	for day := begin; day <= today; day++ {
		f, known := flows[day]
		if known {
			size = f.Size
		}
		x := Day{Date: time.Unix(int64(day)*86400, 0).UTC().Format(time.DateOnly), Size: size, Results: results[day]}
		for h := range f.Entered {
			x.Entered, x.Left = x.Entered+f.Entered[h], x.Left+f.Left[h]
		}
		days = append(days, x)
	}
	days[len(days)-1].Size = uint64(s.Members) //nolint:gosec // a size
	return days, nil
}

// overlaps is the segments that share most with one.
func (d *DB) overlaps(s *Info, list []Info) []Overlap {
	found := []Overlap{}
	if s.Members == 0 {
		return found
	}
	for i := range list {
		if o := &list[i]; o.Name != s.Name && o.Members > 0 {
			if x := d.overlap(s.Name, o.Name); x.Both > 0 {
				found = append(found, Overlap{o.Name, x})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b Overlap) int {
		switch {
		case a.Smaller != b.Smaller:
			return sign(b.Smaller > a.Smaller)
		case a.Jaccard != b.Jaccard:
			return sign(b.Jaccard > a.Jaccard)
		}
		return 0
	})
	return found[:min(len(found), maxOverlaps)]
}

func sign(less bool) int {
	if less {
		return 1
	}
	return -1
}

// overlap holds the lock for one pair: who writes waits no longer.
func (d *DB) overlap(a, b string) stats.Overlap {
	d.live.mu.RLock()
	defer d.live.mu.RUnlock()
	rs := d.live.current
	x, y := rs.find(a), rs.find(b)
	if x < 0 || y < 0 || rs.list[x].roster == nil || rs.list[y].roster == nil {
		return stats.Overlap{}
	}
	p, q := rs.list[x].roster.bits, rs.list[y].roster.bits
	return stats.Share(p.GetCardinality(), q.GetCardinality(), p.AndCardinality(q))
}

// held says for how long something that was computed is told again.
type held struct{ made, until time.Time }

// Bounds of how old it may be: at least a little, so that asking often costs
// nothing, and so long that computing takes 2 % of the time.
const (
	holdAtLeast = time.Second
	holdCost    = 50
)

func (h held) holds(now time.Time) bool { return now.Before(h.until) && !now.Before(h.made) }

// hold begins now, for what took since an instant.
func (d *DB) hold(since time.Time) held {
	now := d.now()
	return held{made: now, until: now.Add(max(holdAtLeast, holdCost*now.Sub(since)))}
}

// overview is the figures of all segments.
type overview struct {
	held
	list []Figures
}

// Overview returns the figures of every segment in order, without days, overlaps
// and results. They are of this moment, or a second old; where there is much to
// compare, a few minutes.
func (d *DB) Overview(ctx context.Context) ([]Figures, error) {
	d.stats.looking.Lock()
	defer d.stats.looking.Unlock()
	now, told := d.now(), &d.stats.told
	if told.holds(now) {
		return told.list, nil
	}
	fill, err := d.filled(ctx)
	if err != nil {
		return nil, err
	}
	list := d.Segments()
	out := make([]Figures, 0, len(list))
	for i := range list {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f, err := d.figures(&list[i], list, fill)
		if err != nil {
			return nil, fmt.Errorf("figures of segment %q: %w", list[i].Name, err)
		}
		f.Overlaps = nil
		out = append(out, f)
	}
	*told = overview{list: out, held: d.hold(now)}
	return out, nil
}
