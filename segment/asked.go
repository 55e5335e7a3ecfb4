// SPDX-License-Identifier: Apache-2.0

package segment

import "github.com/seguemta/segue/segment/rule"

// asked is rules that are asked together after something about a contact changed.
type asked struct {
	which  []int
	choice rule.Selection // of those, the ones that can be asked
	whole  bool           // they see more of a contact than its tier and its series
}

// changed is what makes rules be asked.
type changed struct {
	series uint64 // by number, below keyedSeries
	tier   bool
}

const (
	keyedSeries = 64
	// askedMost bounds what a ruleset keeps: of rules that read many series, any
	// may be asked together.
	askedMost = 1024
)

// askedAfter is the rules that may answer differently when some series changed,
// and the tier. The caller holds d.write.
func (rs *ruleset) askedAfter(series []int, tier bool) *asked {
	k, keyed := changed{tier: tier}, true
	for _, i := range series {
		k.series |= 1 << i
		keyed = keyed && i < keyedSeries
	}
	if x := rs.asked[k]; x != nil && keyed {
		return x
	}
	what := rule.Change{Series: series}
	if tier {
		what.Slots = []int{rule.SlotTier}
	}
	x := rs.askedFor(what)
	if len(rs.asked) >= askedMost {
		clear(rs.asked)
	}
	if keyed {
		rs.asked[k] = x
	}
	return x
}

// askedFor is the rules to ask when something about a contact changed: all, where
// that may change what its colleagues are asked about.
func (rs *ruleset) askedFor(what rule.Change) *asked {
	which := rs.set.Affected(what)
	what.Segments = which
	if len(rs.set.AffectedCounted(what)) > 0 {
		return rs.all
	}
	x := &asked{which: which, choice: rs.choice(which)}
	for _, i := range which {
		x.whole = x.whole || rs.seesRecord(i)
	}
	return x
}

// seesRecord reports whether a rule sees more of a contact than its tier and its
// series.
func (rs *ruleset) seesRecord(i int) bool {
	r := rs.list[i].rule
	if r == nil {
		return false
	}
	for _, name := range r.Reads() {
		if name != "tier" {
			return true
		}
	}
	return r.Paired()
}
