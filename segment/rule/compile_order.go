// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"math"
	"slices"
)

// relation is the set of outcomes for which an ordering operator holds: less,
// equal, greater. It saves a closure inside the closure.
type relation uint8

const (
	less relation = 1 << iota
	equal
	greater
)

func relationOf(op Op) relation {
	switch op {
	case OpLess:
		return less
	case OpAtMost:
		return less | equal
	case OpGreater:
		return greater
	case OpAtLeast:
		return greater | equal
	default:
		return equal
	}
}

// compare reports whether a stands to b as r asks.
func compare[T int64 | float64](r relation, a, b T) bool {
	switch {
	case a < b:
		return r&less != 0
	case a > b:
		return r&greater != 0
	default:
		return r&equal != 0
	}
}

// numbers compares a number attribute, or one topic, with a literal or another.
func (c *compiler) numbers(n Node) predicate {
	r := relationOf(n.Op)
	if n.Right.Number != nil && n.Left.Events != nil && n.Left.Events.Aggregate == Counting {
		g, literal := c.gauge(n.Left.Events), *n.Right.Number
		return func(v *Values) bool { return compare(r, g.count(v), literal) }
	}
	if n.Right.Number != nil && n.Left.Attr != "" && n.Left.Topic == "" && !decaying(n.Left) {
		slot, _ := c.slot(n.Left)
		literal := *n.Right.Number
		return func(v *Values) bool {
			x := &v.Slots[slot]
			return x.kind == Number && compare(r, math.Float64frombits(x.bits), literal)
		}
	}
	return bothSides(r, c.number(n.Left), c.number(n.Right))
}

// bothSides compares what two sides read; where one is missing it is false.
func bothSides[T int64 | float64](r relation, left, right func(*Values) (T, bool)) predicate {
	return func(v *Values) bool {
		a, ok := left(v)
		if !ok {
			return false
		}
		b, ok := right(v)
		return ok && compare(r, a, b)
	}
}

// number reads one side of a comparison of numbers; false where it is missing.
func (c *compiler) number(o *Operand) func(*Values) (float64, bool) {
	if o.Number != nil {
		literal := *o.Number
		return func(*Values) (float64, bool) { return literal, true }
	}
	switch {
	case o.Events != nil:
		return c.gauge(o.Events).number
	case o.Bucket != "":
		seed := seedOf(o.Bucket)
		return func(v *Values) (float64, bool) { return bucketOf(seed, v.Contact), true }
	case o.Contacts != nil:
		i := c.counted(o.Contacts)
		return func(v *Values) (float64, bool) { return float64(v.Counts[i].True), true }
	}
	slot, _ := c.slot(o)
	if k := slices.Index(decayNames(), o.Attr); k >= 0 {
		return func(v *Values) (float64, bool) {
			if d := &v.Decays[k]; d.HalfLife > 0 {
				return d.ValueAt(v.Now.UnixMicro()), true
			}
			x := &v.Slots[slot]
			return math.Float64frombits(x.bits), x.kind == Number
		}
	}
	if topic := o.Topic; topic != "" {
		return func(v *Values) (float64, bool) { return v.Slots[slot].topic(topic) }
	}
	return func(v *Values) (float64, bool) {
		x := &v.Slots[slot]
		return math.Float64frombits(x.bits), x.kind == Number
	}
}

// times compares instants in microseconds. The left side is an attribute, or
// now against a literal.
func (c *compiler) times(n Node) predicate {
	r := relationOf(n.Op)
	offset := micros(n.Right.Offset)
	if n.Left.Events != nil || n.Right.Events != nil {
		return bothSides(r, c.instant(n.Left), c.instant(n.Right))
	}
	if n.Left.Now {
		literal := n.Right.Time.UnixMicro()
		return func(v *Values) bool { return compare(r, v.Now.UnixMicro(), literal) }
	}
	left, _ := c.slot(n.Left)
	switch {
	case n.Right.Time != nil:
		literal := n.Right.Time.UnixMicro()
		return func(v *Values) bool {
			x := &v.Slots[left]
			return x.kind == Time && compare(r, x.micro(), literal)
		}
	case n.Right.Now:
		return func(v *Values) bool {
			x := &v.Slots[left]
			return x.kind == Time && compare(r, x.micro(), v.Now.UnixMicro()+offset)
		}
	default:
		right, _ := c.slot(n.Right)
		return func(v *Values) bool {
			x, y := &v.Slots[left], &v.Slots[right]
			return x.kind == Time && y.kind == Time && compare(r, x.micro(), y.micro()+offset)
		}
	}
}

// instant reads one side of a comparison of times, its offset added; false where
// it is missing.
func (c *compiler) instant(o *Operand) func(*Values) (int64, bool) {
	offset := micros(o.Offset)
	switch {
	case o.Time != nil:
		literal := o.Time.UnixMicro()
		return func(*Values) (int64, bool) { return literal, true }
	case o.Now:
		return func(v *Values) (int64, bool) { return v.Now.UnixMicro() + offset, true }
	case o.Events != nil:
		g := c.gauge(o.Events)
		return func(v *Values) (int64, bool) {
			at, ok := g.instant(v)
			return at + offset, ok
		}
	default:
		slot, _ := c.slot(o)
		return func(v *Values) (int64, bool) {
			x := &v.Slots[slot]
			return x.micro() + offset, x.kind == Time
		}
	}
}
