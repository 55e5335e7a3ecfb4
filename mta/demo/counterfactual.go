// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"cmp"
	"slices"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/schedule"
)

// First is whom the first messages of the cold source reach.
type First struct {
	Recipients int            `json:"recipients"`
	Tiers      map[string]int `json:"tiers"`
	Dead       int            `json:"dead_addresses"` // mailboxes that do not exist
}

// Counterfactual compares orders over the same recipients and the same budget.
type Counterfactual struct {
	Source  string `json:"source"`
	Run     First  `json:"this_run"`      // what the engine did
	Tier    First  `json:"tier_order"`    // the scheduler alone, ranks by tier
	Arrival First  `json:"arrival_order"` // the scheduler alone, all ranks equal

	caps []schedule.Cap
}

// budget takes one budget of the cold source.
func (c *Counterfactual) budget(b *api.Warmup) {
	c.Source = b.Source
	c.caps = append(c.caps, schedule.Cap{
		Key: schedule.BudgetKey{Source: b.Source, Provider: b.Provider}, Allowed: b.Allowed,
		Reserved: int(float64(b.Allowed) * newShare), Admit: b.Admit,
	})
}

// candidate is a recipient who could have had one of the first messages.
type candidate struct {
	domain, provider, tier string
	dead                   bool
}

// tellFirst finds out whom the cold source's first messages reached, and whom they
// would have.
func (r *run) tellFirst() {
	c := &r.report.First
	c.Run.Tiers = make(map[string]int)
	type arrived struct {
		order int
		candidate
	}
	var list []arrived
	for _, f := range r.tally.fates {
		p := r.people.Find(f.address)
		if p == nil {
			continue
		}
		x := candidate{p.Domain(), r.world.Provider(p.Domain()), f.lane.Tier, p.Dead}
		if f.tried[c.Source] {
			c.Run.add(&x)
		}
		if f.lane.Stream == "marketing" && f.last != event.Suppressed && x.provider != "" {
			list = append(list, arrived{f.order, x})
		}
	}
	slices.SortFunc(list, func(a, b arrived) int { return cmp.Compare(a.order, b.order) })
	candidates := make([]candidate, len(list))
	for i := range list {
		candidates[i] = list[i].candidate
	}
	day := r.began.UTC().Truncate(24 * time.Hour)
	c.Tier = firstOf(candidates, c.caps, day)
	equal := slices.Clone(c.caps)
	for i := range equal {
		equal[i].Admit, equal[i].Reserved = nil, 0
	}
	for i := range candidates {
		candidates[i].provider = r.world.Provider(candidates[i].domain)
	}
	c.Arrival = firstOf(candidates, equal, day)
}

func (f *First) add(x *candidate) {
	f.Recipients++
	f.Tiers[x.tier]++
	if x.dead {
		f.Dead++
	}
}

// twin drives the scheduler without a disk, a network or a clock: everything
// that leaves is delivered at once.
type twin struct {
	m     *schedule.Machine
	now   time.Time
	ready schedule.Ready
	list  []candidate
	disk  map[place][]schedule.Item
	first First
}

// place is where mail waits.
type place struct {
	domain string
	class  schedule.ClassID
}

// firstOf is whom a source reaches with one day's budget, when all candidates wait.
// Caps that admit tiers make it spend by tier; caps that admit everybody, in the
// order of arrival.
func firstOf(list []candidate, caps []schedule.Cap, day time.Time) First {
	t := &twin{
		m: schedule.New(schedule.Options{}), now: day.Add(12 * time.Hour), list: list,
		disk: make(map[place][]schedule.Item), first: First{Tiers: make(map[string]int)},
	}
	byTier := slices.ContainsFunc(caps, func(c schedule.Cap) bool { return len(c.Admit) > 0 })
	t.step(schedule.DefineSource{Name: coldSource, Budgeted: true})
	t.step(schedule.DefinePool{Name: "first", Members: []schedule.Member{{Source: coldSource, Weight: 1}}})
	t.step(schedule.DefineProvider{Connections: 1, PerConnection: len(list) + 1})
	for _, c := range caps {
		c.Day, c.Start, c.End = schedule.Day(day.Unix()/int64((24*time.Hour).Seconds())), day, day.Add(24*time.Hour) //nolint:gosec // days fit
		c.Open, c.Close, c.Pace = c.Start, c.End, false
		t.step(c)
		if c.Key.Provider != schedule.Other && c.Key.Provider != schedule.Total {
			t.step(schedule.DefineProvider{Name: c.Key.Provider, Connections: 1, PerConnection: len(list) + 1})
		}
	}
	for i, name := range tiers() {
		class := schedule.Class{Stream: "marketing", Tier: name, Pool: "first", Weight: 1}
		if byTier {
			class.Rank = i
		}
		t.step(schedule.DefineClass{ID: schedule.ClassID(i + 1), Class: class})
	}
	for i := range list {
		t.queue(i)
	}
	for busy := true; busy; {
		busy = t.turn()
	}
	return t.first
}

func (t *twin) step(f schedule.Fact) { t.m.Step(t.now, f) }

// queue lets candidate i wait. Its number is its id and its age.
func (t *twin) queue(i int) {
	x := &t.list[i]
	at := place{x.domain, schedule.ClassID(tierRank(x.tier) + 1)}                   //nolint:gosec // six
	age := t.now.Add(-time.Hour).Add(time.Duration(i) * time.Microsecond)           // before now, in order
	it := schedule.Item{ID: schedule.ID{Message: uint64(i)}, Due: age, Queued: age} //nolint:gosec // an index
	t.disk[at] = append(t.disk[at], it)
	t.step(schedule.Queued{Domain: at.domain, Class: at.class, Item: it})
}

// turn does what the scheduler asks for, and reports whether it asked for anything.
func (t *twin) turn() bool {
	t.m.Take(t.now, &t.ready)
	r := &t.ready
	for _, l := range r.Load {
		t.load(l)
	}
	for _, l := range r.Lease {
		t.step(schedule.Leased(l))
	}
	for _, d := range r.Resolve {
		provider := ""
		for i := range t.list {
			if t.list[i].domain == d {
				provider = t.list[i].provider
				break
			}
		}
		t.step(schedule.Resolved{Domain: d, Site: provider, Provider: provider, Until: t.now.Add(time.Hour)})
	}
	for _, c := range r.Close {
		t.step(schedule.ConnDown{Conn: c})
	}
	for i := range r.Dial {
		t.step(schedule.ConnUp{Conn: r.Dial[i].Conn})
		t.leave(r.Dial[i].Conn, &r.Dial[i].Transaction)
	}
	for i := range r.Send {
		t.leave(r.Send[i].Conn, &r.Send[i].Transaction)
	}
	return len(r.Load)+len(r.Lease)+len(r.Resolve)+len(r.Close)+len(r.Dial)+len(r.Send) > 0
}

func (t *twin) load(l schedule.Load) {
	list := t.disk[place{l.Domain, l.Class}]
	from := 0
	if !l.After.Due.IsZero() {
		from, _ = slices.BinarySearchFunc(list, l.After.ID.Message+1, func(it schedule.Item, id uint64) int { return cmp.Compare(it.ID.Message, id) })
	}
	page := list[from:min(len(list), from+l.Limit)]
	t.step(schedule.Loaded{Domain: l.Domain, Class: l.Class, Items: slices.Clone(page), More: from+len(page) < len(list)})
}

// leave delivers a transaction.
func (t *twin) leave(c schedule.Conn, x *schedule.Transaction) {
	at := place{x.Domain, x.Class}
	for _, it := range x.Items {
		t.first.add(&t.list[it.ID.Message])
		i, ok := slices.BinarySearchFunc(t.disk[at], it.ID.Message, func(have schedule.Item, id uint64) int { return cmp.Compare(have.ID.Message, id) })
		if ok {
			t.disk[at] = slices.Delete(t.disk[at], i, i+1)
		}
	}
	t.step(schedule.Concluded{Conn: c, Usable: true})
}
