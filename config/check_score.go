// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
)

// scores reports points that are given for nothing, and keys of the other
// dimension. What a condition says is for mta.Check.
func (k *checker) scores() {
	for i, s := range k.c.Scores {
		path := fmt.Sprintf("score[%d]", i)
		if s.Dimension == "" {
			continue // said already
		}
		fit := s.Dimension == DimensionFit
		for _, key := range []struct {
			name        string
			empty       bool
			fit, needed bool
		}{
			{"where", s.Where == "", true, true},
			{"event", s.Event == "", false, true},
			{"filter", s.Filter == "", false, false},
			{"per_day", false, false, false},
		} {
			at := path + "." + key.name
			set := k.c.IsSet(at)
			switch {
			case key.fit != fit && set:
				k.fail(at, "is no key of dimension "+string(s.Dimension), scoreKeys(fit))
			case key.fit == fit && key.needed && !set:
				k.fail(path, "has no "+key.name, scoreKeys(fit))
			case key.fit == fit && key.empty && set:
				k.fail(at, "is empty", scoreKeys(fit))
			}
		}
		if s.Points == 0 && k.c.IsSet(path+".points") {
			k.fail(path+".points", "gives no points", "use a number above 0, or below to take away")
		}
		if s.PerDay > 0 && s.PerDay < math.Abs(s.Points) {
			k.warn(path+".per_day", fmt.Sprintf("is less than one event gives: %g of %g points", s.PerDay, s.Points), "")
		}
	}
}

// scoreKeys says which keys a dimension has.
func scoreKeys(fit bool) string {
	if fit {
		return "fit takes where: a condition of attributes"
	}
	return "behaviour takes event, and if needed filter and per_day"
}

// signal reports times that contradict each other.
func (k *checker) signal() {
	s := k.c.Signal
	if s.Hold <= s.LinksWithin {
		k.fail("signal.hold", fmt.Sprintf("%s is not longer than links_within, %s", s.Hold, s.LinksWithin), "the last link of a burst is followed so long after the first")
	}
	for _, a := range s.Agents {
		if len(a.Contains) < 3 {
			k.warn("signal.agent["+a.Contains+"]", "is part of most user agents", "use at least three characters")
		}
	}
}
