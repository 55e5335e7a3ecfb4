// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

func stageKey(plan string, i int) string { return fmt.Sprintf("plan[%s].stage[%d]", plan, i) }

// plan reports stages that cannot be used as they are written.
func (k *checker) plan(p Plan) {
	switch key := fmt.Sprintf("plan[%s]", p.Name); {
	case len(p.Stages) > 0:
	case k.c.IsSet(key + ".stage"):
		k.fail(key+".stage", "is empty", "add a stage with [[plan.stage]]")
	default:
		k.fail(key, "has no stages", "add one with [[plan.stage]]")
	}
	for i, s := range p.Stages {
		key := stageKey(p.Name, i)
		k.admitted(key, s)
		k.volumes(key, s)
		if i > 0 {
			k.shrinking(key, p.Stages[i-1], s)
		}
	}
}

// admitted warns of a stage whose budget nobody can use.
func (k *checker) admitted(key string, s Stage) {
	written := k.c.IsSet(key + ".tiers")
	fillable := func(name string) bool { return k.c.fillable(name) }
	switch {
	case len(s.Tiers) == 0 && k.c.IsSet(key+".tiers[0]"), !written: // reported already
	case len(s.Tiers) == 0:
		k.warn(key+".tiers", "admits no tier: only transactional mail could use the stage", "name the tiers that it admits")
	case !slices.ContainsFunc(s.Tiers, fillable):
		k.warn(key+".tiers", "no contact can be in "+listed(s.Tiers), "look at the conditions of [[tier]]")
	}
	if s.NewShare > 0 && written && k.c.IsSet(key+".new_share") && !slices.Contains(s.Tiers, TierNew) {
		k.warn(key+".new_share", `is not used: the stage does not admit tier "new"`, `add "new" to tiers`)
	}
}

// volumes reports budgets that name no provider or do not add up to one.
func (k *checker) volumes(key string, s Stage) {
	if len(s.PerDay) == 0 {
		return
	}
	known := append([]string{PerDayDefault, PerDayOther, PerDayTotal}, k.c.providerNames()...)
	_, hasDefault := s.PerDay[PerDayDefault]
	total, hasTotal := s.PerDay[PerDayTotal]
	if !hasDefault && !hasTotal && !k.c.IsSet(key+".per_day.default") && !k.c.IsSet(key+".per_day.total") {
		k.fail(key+".per_day", "has neither default nor total: providers that it does not name would be without limit", "add default or total")
	}
	for _, name := range slices.Sorted(maps.Keys(s.PerDay)) {
		k.refer(key+".per_day."+quoteKey(name), "provider", name, known)
		if hasTotal && name != PerDayTotal && s.PerDay[name] > total && k.c.IsSet(key+".per_day."+name) {
			k.warn(key+".per_day."+name, fmt.Sprintf("%d is never reached: total is %d", s.PerDay[name], total), "")
		}
	}
}

// shrinking warns of a stage that allows less than the one before.
func (k *checker) shrinking(key string, before, after Stage) {
	for _, name := range slices.Sorted(maps.Keys(after.PerDay)) {
		limit, ok := before.PerDay[name]
		if !ok && name != PerDayTotal && name != PerDayOther {
			limit, ok = before.PerDay[PerDayDefault]
		}
		if ok && after.PerDay[name] < limit && k.c.IsSet(key+".per_day."+name) {
			k.warn(key+".per_day."+name, fmt.Sprintf("shrinks from %d to %d", limit, after.PerDay[name]), "a later stage allows at least as much as the one before")
		}
	}
}

// tiers warns of tiers that no contact can be in.
func (k *checker) tiers() {
	for _, t := range k.c.Tiers {
		if k.c.fillable(t.Name) {
			continue
		}
		switch key := fmt.Sprintf("tier[%s]", t.Name); {
		case t.Within > 0 && t.Beyond >= t.Within:
			k.warn(key, fmt.Sprintf("no contact can be in it: beyond %s and within %s exclude each other", t.Beyond, t.Within), "")
		case t.MaxSends > 0 && t.MinSends > t.MaxSends:
			k.warn(key, fmt.Sprintf("no contact can be in it: min_sends %d is above max_sends %d", t.MinSends, t.MaxSends), "")
		default:
			k.warn(key, "no contact can be in it: the tiers asked before take them all", "the order is dead, active, warm, cooling, new, dormant")
		}
	}
}

// history is what tiers are decided from.
type history struct {
	engaged bool     // whether there was a human engagement
	age     Duration // since the last engagement, or else since the first send
	sends   int      // since the last engagement, or else ever
}

// holds reports whether the conditions of a tier hold. New asks about sends
// ever, which the histories of engaged contacts here do not have: whoever
// engaged was never in it as far as this check is concerned.
func (t Tier) holds(h history) bool {
	if t.Name == TierNew && h.engaged {
		return false
	}
	if t.Within > 0 && (h.age > t.Within || !h.engaged && t.Name != TierNew) {
		return false
	}
	return h.age > t.Beyond-boolDuration(t.Beyond == 0) && h.sends >= t.MinSends && (t.MaxSends == 0 || h.sends <= t.MaxSends)
}

// boolDuration makes "longer than" include zero where there is no limit.
func boolDuration(b bool) Duration {
	if b {
		return 1
	}
	return 0
}

// fillable reports whether some history puts a contact into a tier. Between
// the limits that the tiers name nothing changes, so it is enough to try these.
func (c *Config) fillable(name string) bool {
	ages, sends := []Duration{0, math.MaxInt64}, []int{0, math.MaxInt}
	for _, t := range c.Tiers {
		ages = append(ages, t.Within, t.Beyond, t.Beyond+1)
		sends = append(sends, t.MinSends, t.MinSends-1, t.MaxSends, t.MaxSends+1)
	}
	for _, engaged := range []bool{true, false} {
		for _, age := range ages {
			for _, n := range sends {
				if n >= 0 && c.tierOf(history{engaged, age, n}) == name {
					return true
				}
			}
		}
	}
	return false
}

// tierOf returns the first tier whose conditions hold.
func (c *Config) tierOf(h history) string {
	for _, t := range c.Tiers {
		if t.holds(h) {
			return t.Name
		}
	}
	return TierCooling
}
