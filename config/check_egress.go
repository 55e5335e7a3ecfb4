// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"strings"
)

// sources reports sources that cannot be told apart or are not used.
func (k *checker) sources() {
	if len(k.c.Sources) == 0 && !k.c.IsSet("source[0]") {
		k.fail("source", "there is none: mail has no way out", "declare one with [[source]]")
	}
	first := make(map[Addr]string)
	for _, s := range k.c.Sources {
		families := make(map[bool]bool)
		for i, a := range s.Addresses {
			key := fmt.Sprintf("source[%s].addresses[%d]", s.Name, i)
			if families[a.Is4()] {
				k.fail(key, "is a second address of one family", "a source has one IPv4 and one IPv6 address; declare another source")
			}
			families[a.Is4()] = true
			if other, taken := first[a]; taken && other != s.Name {
				k.warn(key, fmt.Sprintf("%s is also the address of source %q", a, other), "receivers see one sender: budgets and reputation of both are one")
				continue
			}
			first[a] = s.Name
		}
		used := func(p Pool) bool {
			return slices.ContainsFunc(p.Members, func(m Member) bool { return m.Source == s.Name })
		}
		if s.Name != "" && len(k.c.Pools) > 0 && !slices.ContainsFunc(k.c.Pools, used) {
			k.warn(fmt.Sprintf("source[%s]", s.Name), "is in no pool: nothing leaves through it", "name it in a [[pool.member]]")
		}
	}
}

// pools reports pools through which nothing could leave.
func (k *checker) pools() {
	if len(k.c.Pools) == 0 && !k.c.IsSet("pool[0]") {
		k.fail("pool", "there is none: mail has no way out", "declare one with [[pool]] and [[pool.member]]")
	}
	known := names(k.c.Sources, func(s Source) string { return s.Name })
	for _, p := range k.c.Pools {
		key, total := fmt.Sprintf("pool[%s]", p.Name), 0
		for _, m := range p.Members {
			total += m.Weight
			k.refer(fmt.Sprintf("%s.member[%s].source", key, m.Source), "source", m.Source, known)
		}
		switch {
		case k.c.IsSet(key + ".member[0]"): // reported already
		case len(p.Members) == 0 && !k.c.IsSet(key+".member"):
			k.fail(key, "is empty", "add a source with [[pool.member]]")
		case len(p.Members) == 0:
			k.fail(key+".member", "is empty", "add a source with [[pool.member]]")
		case total == 0:
			k.fail(key, "no member has a weight above 0: nothing leaves through it", "give one of its members a weight")
		}
	}
}

// overflows reports where excess would not get anywhere.
func (k *checker) overflows() {
	next := make(map[string]string)
	for _, p := range k.c.Pools {
		key := fmt.Sprintf("pool[%s].overflow", p.Name)
		switch {
		case p.Excess == Overflow && p.Overflow == "":
			k.fail(key, "is missing", `excess = "overflow" needs the name of another pool`)
		case p.Excess != Overflow && p.Excess != "" && p.Overflow != "":
			k.warn(key, fmt.Sprintf("is not used while excess is %q", p.Excess), `set excess to "overflow"`)
		case p.Excess == Overflow && p.Overflow == p.Name:
			k.fail(key, "overflows into itself", "name another pool")
		case p.Excess == Overflow:
			next[p.Name] = p.Overflow
		}
		k.refer(key, "pool", p.Overflow, k.c.poolNames())
	}
	seen := make(map[string]bool)
	for _, p := range k.c.Pools {
		if cycle := cycleOf(p.Name, next); cycle != nil && !seen[p.Name] {
			for _, name := range cycle {
				seen[name] = true
			}
			k.fail(fmt.Sprintf("pool[%s].overflow", p.Name), "overflows in a circle: "+strings.Join(cycle, " -> "), "let the last of them hold or refuse")
		}
	}
}

// cycleOf returns the pools of the circle that a pool is part of, from it and
// back to it, nil when it is in none.
func cycleOf(start string, next map[string]string) []string {
	path := []string{start}
	for at := next[start]; at != ""; at = next[at] {
		path = append(path, at)
		if at == start {
			return path
		}
		if len(path) > len(next)+1 {
			return nil
		}
	}
	return nil
}

// providers reports sites that would belong to several providers, or none.
func (k *checker) providers() {
	first := make(map[string]string)
	claim := func(key, kind, value string) {
		if earlier, taken := first[kind+value]; taken {
			file, line := k.c.Position(earlier)
			k.fail(key, fmt.Sprintf("%q is already claimed", value), fmt.Sprintf("by %s at %s:%d; a site has one provider", earlier, file, line))
			return
		}
		first[kind+value] = key
	}
	for _, p := range k.c.Providers {
		key := fmt.Sprintf("provider[%s]", p.Name)
		if slices.Contains([]string{PerDayDefault, PerDayOther, PerDayTotal}, p.Name) {
			k.fail(key+".name", fmt.Sprintf("%q has a meaning of its own in per_day", p.Name), "choose another name")
		}
		if len(p.MX) == 0 && len(p.Domains) == 0 && !k.c.IsSet(key+".mx") && !k.c.IsSet(key+".domains") {
			k.fail(key, "matches nothing", "set mx or domains")
		}
		for i, pattern := range p.MX {
			claim(fmt.Sprintf("%s.mx[%d]", key, i), "mx ", pattern)
		}
		for i, domain := range p.Domains {
			claim(fmt.Sprintf("%s.domains[%d]", key, i), "domain ", domain)
		}
		if p.TotalConnections > 0 && p.TotalConnections < p.Connections {
			k.warn(key+".total_connections", fmt.Sprintf("is below connections: no source ever gets %d", p.Connections), "")
		}
	}
}
