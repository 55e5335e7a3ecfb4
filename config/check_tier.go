// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
)

// silence reports whether a tier is about silence: dormant and dead.
func (t Tier) silence() bool { return t.Name == TierDormant || t.Name == TierDead }

// tiers reports conditions that a tier does not have, and warns of tiers that
// no contact can be in.
func (k *checker) tiers() {
	for _, t := range k.c.Tiers {
		path := fmt.Sprintf("tier[%s]", t.Name)
		for _, key := range []struct {
			name, instead string
			used          bool
		}{
			{"within", "beyond", !t.silence()},
			{"beyond", "within", t.silence()},
			{"min_sends", "max_sends", t.silence()},
			{"max_sends", "min_sends", !t.silence()},
		} {
			if !key.used && k.c.IsSet(path+"."+key.name) {
				k.fail(path+"."+key.name, "is no condition of tier "+t.Name, "it takes "+key.instead)
			}
		}
		if !k.c.fillable(t.Name) {
			k.warn(path, "no contact can be in it: the tiers asked before take them all", "the order is dead, active, warm, cooling, new, dormant")
		}
	}
}

// history is what tiers are decided from.
type history struct {
	engaged bool     // whether there was a human engagement
	age     Duration // since the last engagement, or else since the first send
	sends   int      // without an answer
}

// holds reports whether the condition of a tier holds.
func (t Tier) holds(h history) bool {
	switch {
	case t.silence():
		return h.age > t.Beyond && h.sends >= t.MinSends
	case t.MaxSends > 0 && h.sends > t.MaxSends:
		return false
	case t.Name == TierNew:
		return !h.engaged && (h.age <= t.Within || h.sends == 0)
	default:
		return h.engaged && h.age <= t.Within
	}
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

// tierOf returns the first tier whose condition holds.
func (c *Config) tierOf(h history) string {
	for _, t := range c.Tiers {
		if t.holds(h) {
			return t.Name
		}
	}
	return TierCooling
}
