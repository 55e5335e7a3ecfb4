// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"cmp"
	"maps"
	"slices"
)

// nesting is the order in which the conditions about contacts are asked among
// the rules. A condition may refer to a segment that asks about contacts itself:
// its answers are known one round of counting later.
type nesting struct {
	first  [][]int // by rule: the conditions that it is the first to read
	levels []int   // by rule
	inner  []int   // by condition
	told   []told  // by condition
}

func (t *Set) newNesting() nesting {
	x := nesting{first: make([][]int, t.Len()), levels: make([]int, t.Len()), inner: make([]int, len(t.counted)), told: make([]told, len(t.counted))}
	seen := make([]bool, len(t.counted))
	for _, i := range t.order {
		r := t.rules[i]
		if r == nil {
			continue
		}
		for _, k := range r.uses.counted {
			if !seen[k] {
				seen[k] = true
				x.first[i] = append(x.first[i], k)
				x.inner[k] = x.highest(t.counted[k].uses.segments)
			}
			x.levels[i] = max(x.levels[i], x.inner[k]+1)
		}
		x.levels[i] = max(x.levels[i], x.highest(r.uses.segments))
		t.tell(&r.whole, x.told)
	}
	return x
}

func (x *nesting) highest(rules []int) int {
	level := 0
	for _, i := range rules {
		level = max(level, x.levels[i])
	}
	return level
}

// told is which counts of a condition the rules tell apart.
type told struct {
	some, all, exact bool
	levels           []float64
}

// tell collects how a tree looks at counts.
func (t *Set) tell(n *Node, list []told) {
	for i := range n.Nodes {
		t.tell(&n.Nodes[i], list)
	}
	for _, side := range [][2]*Operand{{n.Left, n.Right}, {n.Right, n.Left}} {
		o, other := side[0], side[1]
		if o == nil || o.Contacts == nil {
			continue
		}
		k, err := t.countedOf(o.Contacts)
		if err != nil {
			continue // the rule did not compile either
		}
		x := &list[k]
		switch {
		case n.Op == OpAnyContact:
			x.some = true
		case n.Op == OpAllContacts:
			x.all = true
		case other != nil && other.Number != nil:
			x.levels = append(x.levels, *other.Number)
		default:
			x.exact = true
		}
	}
}

// First is the conditions about contacts, by number, to ask before a rule: it
// reads them, and none before it in [Set.Order] does. The caller must not change it.
func (t *Set) First(i int) []int { return t.nesting.first[i] }

// Level is how many rounds of counting contacts must be through before a rule
// can be asked: 0 where it reads no count, neither itself nor by a segment that
// it refers to.
func (t *Set) Level(i int) int { return t.nesting.levels[i] }

// CountedLevel is the same for a condition about contacts. A rule that reads it
// is of a higher level.
func (t *Set) CountedLevel(k int) int { return t.nesting.inner[k] }

// Tells reports whether a rule can tell one count of a condition from another.
func (t *Set) Tells(k int, a, b Count) bool {
	x := &t.nesting.told[k]
	full := func(c Count) bool { return c.Of > 0 && c.True == c.Of }
	if x.exact && a.True != b.True || x.some && (a.True > 0) != (b.True > 0) || x.all && full(a) != full(b) {
		return true
	}
	return slices.ContainsFunc(x.levels, func(level float64) bool {
		return cmp.Compare(float64(a.True), level) != cmp.Compare(float64(b.True), level)
	})
}

// Reads is [Rule.Reads] for the condition.
func (c *Counted) Reads() []string { return slices.Sorted(maps.Keys(c.reads)) }
