// SPDX-License-Identifier: Apache-2.0

package score

import (
	"cmp"
	"math"
	"slices"

	"github.com/seguemta/segue/segment/rule"
)

// Most is of how many contacts an account's score is made.
func (m *Model) Most() int {
	if m.options.Account == AccountTop3 {
		return 3
	}
	return 1
}

// Decay is a score for any instant by what is kept of it. All scores of a model
// fade alike.
func (m *Model) Decay(base, value float64, at int64) rule.Decay {
	return rule.Decay{Base: base, Value: value, At: at, HalfLife: m.options.HalfLife, Max: m.options.BehaviourMax}
}

// Order is what scores with the same base are compared by: the one with the
// greater order is at no time the lower one.
func (m *Model) Order(d *rule.Decay) float64 {
	if d.Value <= 0 {
		return math.Inf(-1)
	}
	return math.Log2(d.Value) + float64(d.At)/float64(m.options.HalfLife.Microseconds())
}

// Contenders leaves of the scores of an account's contacts those that its score may
// ever be made of by time alone, whatever the present is: a contact is out where
// enough others have a base and an order that are both no lower. What is left is
// mostly one or three for each base. The list is changed.
func (m *Model) Contenders(list []rule.Decay) []rule.Decay {
	slices.SortFunc(list, func(a, b rule.Decay) int {
		return cmp.Or(cmp.Compare(b.Base, a.Base), cmp.Compare(m.Order(&b), m.Order(&a)))
	})
	most := m.Most()
	best := make([]float64, 0, most+1) // the highest orders so far, all with a base that is no lower
	n := 0
	for i := range list {
		order := m.Order(&list[i])
		at, _ := slices.BinarySearchFunc(best, order, func(a, b float64) int { return cmp.Compare(b, a) })
		for at < len(best) && best[at] == order {
			at++
		}
		if at == most {
			continue
		}
		best = slices.Insert(best, at, order)
		best = best[:min(len(best), most)]
		list[n] = list[i]
		n++
	}
	return list[:n]
}

// turns bounds the parts of a score that are followed.
const turns = 1000

// Turn is the first instant after now at which an account's score stands to one of
// some levels otherwise than now (below it, at it, above it); [Never] if time alone
// makes no such difference. The list is that of [Model.AccountScore]; it may be an
// instant at which nothing changes yet, never one that is too late.
func (m *Model) Turn(list []rule.Decay, levels []float64, now int64) int64 {
	if len(list) == 0 || len(levels) == 0 {
		return Never
	}
	first, until := m.AccountScore(list, now)
	d, at := first, now
	for range turns {
		next := int64(Never)
		for _, level := range levels {
			for _, reached := range [...]bool{false, true} {
				if x, ok := d.Cross(level, reached, at); ok {
					next = min(next, x)
				}
			}
		}
		if next <= until || until == Never {
			return next
		}
		at = until
		if d, until = m.AccountScore(list, at); !sameSide(first.ValueAt(now), d.ValueAt(at), levels) {
			return at
		}
	}
	return at
}

// Tells reports whether the scores of two lists stand to one of the levels
// otherwise than each other at an instant.
func (m *Model) Tells(a, b []rule.Decay, levels []float64, now int64) bool {
	if (len(a) == 0) != (len(b) == 0) {
		return true
	}
	x, _ := m.AccountScore(a, now)
	y, _ := m.AccountScore(b, now)
	return !sameSide(x.ValueAt(now), y.ValueAt(now), levels)
}

func sameSide(a, b float64, levels []float64) bool {
	return !slices.ContainsFunc(levels, func(level float64) bool { return cmp.Compare(a, level) != cmp.Compare(b, level) })
}
