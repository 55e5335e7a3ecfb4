// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// oracle is the slow, obvious scheduler of budgets: whenever something may
// have changed it sorts all waiting mail by rank, age and id and gives the
// first that may go its tokens, until nobody may. It knows no lanes, windows,
// leases, connections or demand.
type oracle struct {
	bounds  *bounds
	classes map[ClassID]Class
	site    map[string]Resolved
	pools   map[string]string // pool -> its only source; "" = warm
	caps    map[BudgetKey]*oracleCap
	wait    map[backlogKey][]Item
	single  bool // no budget but the source's at a provider
}

type oracleCap struct {
	Cap
	used, usedNew int
}

// tokens counts one by one what the window has given out, the obvious way.
func (c *oracleCap) tokens(now time.Time, tier string) bool {
	if now.Before(c.Start) || !now.Before(c.End) || now.Before(c.Open) || !now.Before(c.Close) {
		return false
	}
	if len(c.Admit) > 0 && !slices.Contains(c.Admit, tier) {
		return false
	}
	width := c.Close.Sub(c.Open)
	out := 0
	for k := range c.Allowed {
		if !c.Pace || time.Duration(k)*width <= now.Sub(c.Open)*time.Duration(c.Allowed) {
			out++
		}
	}
	last := c.Allowed + c.Allowed/4
	for i, n := range c.Hours {
		if c.Start.Add(time.Duration(i+1) * time.Hour).After(now) { // within the last 24 hours
			last -= n
		}
	}
	reserve := 0
	for k := 1; k <= c.Reserved; k++ {
		if !c.Pace || time.Duration(k)*width <= now.Sub(c.Open)*time.Duration(c.Reserved) {
			reserve++
		}
	}
	if !now.Before(c.Close.Add(-width / 10)) {
		reserve = 0
	}
	left := min(out, last) - c.used
	if tier == tierNew {
		return left > 0
	}
	return left-max(0, reserve-c.usedNew) > 0
}

func (o *oracle) keys(k backlogKey) []BudgetKey {
	cl, prov := o.classes[k.class], o.site[k.domain].Provider
	src := o.pools[cl.Pool]
	if prov == "" {
		prov = Other
	}
	var list, opt []BudgetKey
	if src != "" {
		list = []BudgetKey{{Source: src, Provider: prov}}
		opt = []BudgetKey{{Source: src, Provider: Total}}
	}
	if cl.Plan != "" {
		for _, p := range []string{prov, Total} {
			opt = append(opt, BudgetKey{Plan: cl.Plan, Segment: cl.Segment, Tier: cl.Tier, Provider: p})
		}
	}
	for _, key := range opt {
		if o.caps[key] != nil {
			list = append(list, key)
		}
	}
	return list
}

func (o *oracle) may(now time.Time, k backlogKey) bool {
	src, prov := cmp.Or(o.pools[o.classes[k.class].Pool], "w1"), o.site[k.domain].Provider
	if o.bounds.isSuspended(now, pair{src, prov}) || o.bounds.isHeld(k.domain, k.class, prov) {
		return false
	}
	for _, key := range o.keys(k) {
		if c := o.caps[key]; c == nil || !c.tokens(now, o.classes[k.class].Tier) {
			return false
		}
	}
	return true
}

// follow takes over from the machine who left.
func (o *oracle) follow(w *world) {
	o.wait = map[backlogKey][]Item{}
	for k, list := range w.disk {
		o.wait[k] = slices.Clone(list)
	}
	for k, c := range o.caps {
		c.used, c.usedNew = w.m.budgets[k].used, w.m.budgets[k].usedNew
	}
}

// run gives out everything that can go now, and counts it by rank.
func (o *oracle) run(now time.Time) (sent []ID, ranks []int) {
	ranks = make([]int, 4)
	for {
		var heads []backlogKey
		for k, list := range o.wait {
			if len(list) > 0 && !list[0].Due.After(now) {
				heads = append(heads, k)
			}
		}
		slices.SortFunc(heads, func(a, b backlogKey) int {
			if x, y := o.classes[a.class].Rank, o.classes[b.class].Rank; x != y {
				return x - y
			}
			i, j := o.wait[a][0], o.wait[b][0]
			if older(i.Queued, i.ID, j.Queued, j.ID) {
				return -1
			}
			return 1
		})
		i := slices.IndexFunc(heads, func(k backlogKey) bool { return o.may(now, k) })
		if i < 0 {
			return sent, ranks
		}
		ranks[o.classes[heads[i].class].Rank]++
		k := heads[i]
		for _, key := range o.keys(k) {
			o.caps[key].used++
			if o.classes[k.class].Tier == tierNew {
				o.caps[key].usedNew++
			}
		}
		sent = append(sent, o.wait[k][0].ID)
		o.wait[k] = o.wait[k][1:]
	}
}

// TestBudgetsAgainstOracle gives machine and oracle the same mail and the same
// budgets over two days, with instant deliveries and no lack of connections, and compares
// after every event who left.
func TestBudgetsAgainstOracle(t *testing.T) {
	for seed := range uint64(24) {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { budgetRun(t, seed) }) {
			return
		}
	}
}

func budgetRun(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t, Options{Window: 2 + r.IntN(12), Connections: 10_000})
	o := &oracle{
		bounds: w.bounds, classes: map[ClassID]Class{}, site: map[string]Resolved{}, pools: map[string]string{},
		caps: map[BudgetKey]*oracleCap{}, wait: map[backlogKey][]Item{},
	}
	// With one budget per lane (odd seeds) the very recipients must agree. Where a lane
	// spends from several budgets, it claims with all that is due while the
	// oracle weighs single recipients: of one rank, ages may then interleave differently, and
	// how many of each rank left must agree.
	o.single = seed%2 == 1
	tiers := []string{"active", "warm", "new", "dormant"}
	for i, name := range []string{"a1", "a2", ""} {
		pool := fmt.Sprint("p", i)
		o.pools[pool] = name
		if name == "" {
			name = "w1"
		}
		w.step(DefineSource{Name: name, Budgeted: name != "w1"})
		w.step(DefinePool{Name: pool, Members: []Member{{name, 1}}})
	}
	for id := range ClassID(8) {
		c := Class{Segment: "s", Tier: tiers[r.IntN(4)], Pool: fmt.Sprint("p", r.IntN(3)), Rank: r.IntN(4), Weight: 1 + r.IntN(8)}
		if r.IntN(4) == 0 {
			c.Plan = "gentle"
		}
		o.classes[id+1] = c
		w.step(DefineClass{ID: id + 1, Class: c})
	}
	provs := []string{"google", "yahoo", ""}
	for i := range 7 {
		d := fmt.Sprintf("d%d.example", i)
		f := Resolved{Domain: d, Provider: provs[r.IntN(3)]}
		f.Site = f.Provider + fmt.Sprint("mx", r.IntN(3))
		o.site[d], w.sites[d] = f, f
	}
	// Every domain is looked up beforehand: mail whose lookup is under way
	// claims no budget, which the oracle does not know.
	w.step(DefineClass{ID: 100, Class: Class{Pool: "p2", Weight: 1}})
	for i := range 7 {
		w.queue(fmt.Sprintf("d%d.example", i), 100, Item{ID: ID{uint64(i + 1), 0}, Due: w.now, Queued: w.now})
	}
	w.deliver()
	hours := map[BudgetKey]*[24]int{}
	for day := range 2 {
		giveCaps(r, w, o, day, hours)
		playDay(t, r, w, o, hours)
	}
}

// giveCaps draws the budgets of a day and tells both.
func giveCaps(r *rand.Rand, w *world, o *oracle, day int, hours map[BudgetKey]*[24]int) {
	start := w.start.Add(time.Duration(day) * 24 * time.Hour)
	w.now = start
	give := func(k BudgetKey) {
		c := Cap{
			Key: k, Day: Day(start.Unix() / 86400), Start: start, End: start.Add(24 * time.Hour), Allowed: r.IntN(25), Pace: r.IntN(2) == 0,
		}
		c.Open, c.Close = c.Start, c.End
		if r.IntN(2) == 0 {
			c.Open, c.Close = start.Add(8*time.Hour), start.Add(20*time.Hour)
		}
		if r.IntN(3) == 0 {
			c.Reserved = r.IntN(c.Allowed + 1)
		}
		if r.IntN(4) == 0 {
			c.Admit = []string{"active", "new"}
		}
		if h := hours[k]; h != nil {
			c.Hours = *h
		}
		hours[k] = &[24]int{}
		o.caps[k] = &oracleCap{Cap: c}
		w.step(c)
	}
	for _, s := range []string{"a1", "a2"} {
		for _, p := range []string{"google", "yahoo", Other} {
			give(BudgetKey{Source: s, Provider: p})
		}
		if !o.single && (r.IntN(2) == 0 || hours[BudgetKey{Source: s, Provider: Total}] != nil) {
			give(BudgetKey{Source: s, Provider: Total})
		}
	}
	for _, tier := range []string{"active", "new"} {
		for _, p := range []string{"google", Total} {
			k := BudgetKey{Plan: "gentle", Segment: "s", Tier: tier, Provider: p}
			if !o.single && (r.IntN(2) == 0 || hours[k] != nil) {
				give(k)
			}
		}
	}
}

func playDay(t *testing.T, r *rand.Rand, w *world, o *oracle, hours map[BudgetKey]*[24]int) {
	t.Helper()
	next := uint64(w.now.Unix())
	begin := w.now
	for w.now.Sub(begin) < 23*time.Hour {
		for range r.IntN(4) {
			d, cl := fmt.Sprintf("d%d.example", r.IntN(7)), ClassID(1+r.IntN(8))
			age := time.Duration(r.IntN(7200)) * time.Second
			for range 1 + r.IntN(12) {
				next++
				it := Item{ID: ID{next, 0}, Due: w.now, Queued: w.now.Add(-age)}
				if r.IntN(5) == 0 {
					it.Due = w.now.Add(time.Duration(r.IntN(10_000)) * time.Second)
				}
				w.queue(d, cl, it)
				k := backlogKey{d, cl}
				i, _ := slices.BinarySearchFunc(o.wait[k], it, compareItems)
				o.wait[k] = slices.Insert(o.wait[k], i, it)
			}
		}
		stopSome(r, w)
		before := map[BudgetKey]int{}
		for k, c := range o.caps {
			before[k] = c.used
		}
		n := len(w.sent)
		w.deliver()
		want, ranks := o.run(w.now)
		var got []ID
		gotRanks := make([]int, 4)
		for _, tr := range w.sent[n:] {
			got = append(got, tr.Items[0].ID)
			gotRanks[o.classes[tr.Class].Rank]++
		}
		if !o.single && slices.Equal(ranks, gotRanks) {
			o.follow(w)
		} else if a, b := sorted(got), sorted(want); !slices.Equal(a, b) {
			t.Fatalf("at %s: machine sent %d, oracle %d\nonly machine: %v\nonly oracle: %v",
				w.at(w.now), len(a), len(b), w.describe(o, minus(a, b)), w.describe(o, minus(b, a)))
		}
		for k, c := range o.caps {
			hours[k][int(w.now.Sub(begin).Hours())] += c.used - before[k]
		}
		w.jump(r)
	}
}

// stopSome suspends a source at a provider, holds a class there, or ends either.
func stopSome(r *rand.Rand, w *world) {
	prov := []string{"google", "yahoo", Other}[r.IntN(3)]
	switch r.IntN(6) {
	case 0:
		l := Limit{Source: []string{"a1", "a2", "w1"}[r.IntN(3)], Provider: prov, Suspended: r.IntN(2) == 0}
		if r.IntN(3) > 0 {
			l.Until = w.now.Add(time.Duration(r.IntN(4*3600)) * time.Second)
		}
		w.step(l)
	case 1:
		w.step(Hold{Class: ClassID(r.IntN(9)), Provider: prov, Off: r.IntN(2) == 0})
	}
}

// jump moves to when the machine wants to be asked, or somewhere at random:
// Wake must not be later than the next thing the oracle would do.
func (w *world) jump(r *rand.Rand) {
	w.now = w.now.Add(time.Duration(1+r.IntN(3600)) * time.Second)
	if r.IntN(3) > 0 && w.r.Wake.Before(w.now) && !w.r.Wake.IsZero() {
		w.now = w.r.Wake
	}
}

func sorted(list []ID) []ID {
	return slices.SortedFunc(slices.Values(list), func(a, b ID) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
}

func minus(a, b []ID) []ID {
	return slices.DeleteFunc(slices.Clone(a), func(id ID) bool { return slices.Contains(b, id) })
}

// describe names items for a failure.
func (w *world) describe(o *oracle, ids []ID) (out []string) {
	add := func(k backlogKey, it Item) {
		if slices.Contains(ids, it.ID) {
			c, s := o.classes[k.class], o.site[k.domain]
			out = append(out, fmt.Sprintf("\n%s class %d rank %d tier %s %s>%s/%s queued %s due %s", it.ID.text(), k.class, c.Rank, c.Tier, c.Pool, s.Provider, s.Site, w.at(it.Queued), w.at(it.Due)))
		}
	}
	for k, list := range o.wait {
		for _, it := range list {
			add(k, it)
		}
	}
	for k, list := range w.disk {
		for _, it := range list {
			add(k, it)
		}
	}
	for _, tr := range w.sent {
		add(backlogKey{tr.Domain, tr.Class}, tr.Items[0])
	}
	return out
}
