// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
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
