// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"slices"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/simulate"
)

// budgets are those of the demo for so many messages.
func budgets(n int) []api.Warmup {
	part := func(v int) int { return max(2, v*n/full) }
	list := []api.Warmup{{Source: coldSource, Provider: "total", Allowed: part(800)}, {Source: coldSource, Provider: "other", Allowed: part(150), Admit: []string{"active", "new"}}}
	for _, t := range simulate.Cast() {
		allowed := part(150)
		if t.Name == simulate.Google {
			allowed = part(300)
		}
		list = append(list, api.Warmup{Source: coldSource, Provider: t.Name, Allowed: allowed, Admit: []string{"active", "new"}})
	}
	return list
}

// people are candidates from a real population, in its order.
func crowd(seed uint64, n int, now time.Time) []candidate {
	p := simulate.NewPopulation(seed, n, now)
	providers := map[string]string{}
	for _, d := range p.Domains {
		providers[d.Name] = d.Provider
	}
	var list []candidate
	for i := range p.People {
		x := &p.People[i]
		if at := providers[x.Domain()]; at != "" {
			list = append(list, candidate{x.Domain(), at, x.Tier, x.Dead})
		}
	}
	return list
}

func TestOrdersOfTheColdSource(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)
	const n = 20_000
	list := crowd(1, n, now)
	var c Counterfactual
	for _, b := range budgets(n) {
		c.budget(&b)
	}
	day := now.Truncate(24 * time.Hour)
	byTier := firstOf(list, c.caps, day)
	equal := slices.Clone(c.caps)
	for i := range equal {
		equal[i].Admit, equal[i].Reserved = nil, 0
	}
	arrival := firstOf(list, equal, day)
	t.Logf("by tier %+v, by arrival %+v", byTier, arrival)
	if byTier.Recipients != 800 || arrival.Recipients != 800 {
		t.Errorf("the day has 800 recipients; in tier order %d left, in arrival order %d", byTier.Recipients, arrival.Recipients)
	}
	if byTier.Tiers["active"] != 720 || byTier.Tiers["new"] != 80 {
		t.Errorf("in tier order the active get all but the tenth that is kept for the new; got %v", byTier.Tiers)
	}

	// Arrival order, the slow and obvious way.
	left := map[string]int{}
	for _, b := range budgets(n) {
		left[b.Provider] = b.Allowed
	}
	want := First{Tiers: map[string]int{}}
	for i := range list {
		if x := &list[i]; left[x.provider] > 0 && left["total"] > 0 {
			left[x.provider]--
			left["total"]--
			want.add(x)
		}
	}
	if arrival.Dead != want.Dead || arrival.Tiers["dead"] != want.Tiers["dead"] {
		t.Errorf("in arrival order: got %+v, want %+v", arrival, want)
	}
	if arrival.Dead < 5*byTier.Dead {
		t.Errorf("arrival order hits %d dead addresses, tier order %d: there is nothing to show", arrival.Dead, byTier.Dead)
	}
}
