// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"regexp"
	"slices"
	"strings"
)

// predicate is a compiled condition.
type predicate func(v *Values) bool

// compiler makes closures of a checked tree, and notes what it reads.
type compiler struct {
	set     *Set
	pair    bool // the rule is asked of a contact and one account
	reads   map[string]bool
	uses    uses
	tickers []ticker
	err     error
}

// uses is what a rule reads besides slots, by number in its set.
type uses struct{ series, counted, segments []int }

func (c *compiler) use(in *[]int, n int) int {
	if !slices.Contains(*in, n) {
		*in = append(*in, n)
	}
	return n
}

func (c *compiler) broken() predicate {
	c.err = errNode
	return func(*Values) bool { return false }
}

func (c *compiler) node(n Node) predicate {
	switch n.Kind {
	case KindConst:
		value := n.Value
		return func(*Values) bool { return value }
	case KindNot:
		inner := c.node(n.Nodes[0])
		return func(v *Values) bool { return !inner(v) }
	case KindAll:
		return all(c.nodes(n.Nodes))
	case KindAny:
		return anyOf(c.nodes(n.Nodes))
	case KindSegment:
		i, ok := c.set.names[n.Segment]
		if !ok {
			return c.broken()
		}
		c.use(&c.uses.segments, i)
		return func(v *Values) bool { return v.Members.Has(i) }
	case KindTest:
		test := c.test(n)
		c.tick(n, test)
		return test
	default:
		return c.broken()
	}
}

func (c *compiler) nodes(nodes []Node) []predicate {
	out := make([]predicate, len(nodes))
	for i, n := range nodes {
		out[i] = c.node(n)
	}
	return out
}

// all has a case of its own for the commonest sizes: a loop costs as much as
// the conditions.
func all(p []predicate) predicate {
	switch len(p) {
	case 2:
		a, b := p[0], p[1]
		return func(v *Values) bool { return a(v) && b(v) }
	case 3:
		a, b, c := p[0], p[1], p[2]
		return func(v *Values) bool { return a(v) && b(v) && c(v) }
	default:
		return func(v *Values) bool {
			for _, f := range p {
				if !f(v) {
					return false
				}
			}
			return true
		}
	}
}

func anyOf(p []predicate) predicate {
	if len(p) == 2 {
		a, b := p[0], p[1]
		return func(v *Values) bool { return a(v) || b(v) }
	}
	return func(v *Values) bool {
		for _, f := range p {
			if f(v) {
				return true
			}
		}
		return false
	}
}

// slot resolves an attribute and notes that the rule reads it.
func (c *compiler) slot(o *Operand) (int, Type) {
	slot, t, ok := c.set.schema.Slot(o.Attr)
	if !ok {
		c.err = errNode
		return 0, Missing
	}
	c.reads[o.Attr] = true
	if o.Topic != "" {
		t = Number
	}
	return slot, t
}

// operandType is the type of either side of a comparison.
func (c *compiler) operandType(o *Operand) Type {
	switch {
	case o.Attr != "":
		_, t := c.slot(o)
		return t
	case o.Events != nil && o.Events.Aggregate.instant():
		return Time
	case o.Events != nil, o.Bucket != "", o.Contacts != nil:
		return Number
	case o.Text != nil:
		return Text
	case o.Number != nil:
		return Number
	case o.Boolean != nil:
		return Boolean
	default:
		return Time
	}
}

func (c *compiler) test(n Node) predicate {
	switch n.Op {
	case OpIs:
		slot, _ := c.slot(n.Left)
		return func(v *Values) bool { return v.Slots[slot].kind == Boolean && v.Slots[slot].bits == 1 }
	case OpAnyContact, OpAllContacts:
		return c.ofContacts(n)
	case OpHas:
		if n.Left.Events != nil {
			return c.happened(n.Left)
		}
		slot, t := c.slot(n.Left)
		if k := slices.Index(decayNames(), n.Left.Attr); k >= 0 {
			return func(v *Values) bool { return v.Decays[k].HalfLife > 0 || v.Slots[slot].kind == t }
		}
		return func(v *Values) bool { return v.Slots[slot].kind == t }
	case OpEqual, OpLess, OpAtMost, OpGreater, OpAtLeast:
		return c.comparison(n)
	case OpIn:
		return c.membership(n)
	case OpStartsWith, OpEndsWith, OpContains:
		return c.textPair(n, textTest(n.Op))
	case OpMatches:
		return c.pattern(n)
	case OpHasAny, OpHasAll:
		return c.list(n)
	default:
		return c.broken()
	}
}

func (c *compiler) comparison(n Node) predicate {
	switch c.operandType(n.Left) {
	case Text:
		if slot, _ := c.slot(n.Left); n.Op == OpEqual && n.Right.Text != nil {
			literal := *n.Right.Text
			return func(v *Values) bool {
				x := &v.Slots[slot]
				return x.kind == Text && x.text == literal
			}
		}
		return c.textPair(n, textTest(n.Op))
	case Number:
		return c.numbers(n)
	case Boolean:
		return c.booleans(n)
	case Time:
		return c.times(n)
	default:
		return c.broken()
	}
}

// textTest is what an operator asks of two present texts.
func textTest(op Op) func(a, b string) bool {
	switch op {
	case OpEqual:
		return func(a, b string) bool { return a == b }
	case OpLess:
		return func(a, b string) bool { return a < b }
	case OpAtMost:
		return func(a, b string) bool { return a <= b }
	case OpGreater:
		return func(a, b string) bool { return a > b }
	case OpAtLeast:
		return func(a, b string) bool { return a >= b }
	case OpStartsWith:
		return strings.HasPrefix
	case OpEndsWith:
		return strings.HasSuffix
	default:
		return strings.Contains
	}
}

// textPair compares a text attribute with a literal or another attribute.
func (c *compiler) textPair(n Node, holds func(a, b string) bool) predicate {
	left, _ := c.slot(n.Left)
	if n.Right.Text != nil {
		literal := *n.Right.Text
		return func(v *Values) bool {
			x := &v.Slots[left]
			return x.kind == Text && holds(x.text, literal)
		}
	}
	right, _ := c.slot(n.Right)
	return func(v *Values) bool {
		x, y := &v.Slots[left], &v.Slots[right]
		return x.kind == Text && y.kind == Text && holds(x.text, y.text)
	}
}

func (c *compiler) pattern(n Node) predicate {
	slot, _ := c.slot(n.Left)
	re, err := regexp.Compile(*n.Right.Text)
	if err != nil {
		return c.broken()
	}
	return func(v *Values) bool {
		x := &v.Slots[slot]
		return x.kind == Text && re.MatchString(x.text)
	}
}

func (c *compiler) booleans(n Node) predicate {
	left, _ := c.slot(n.Left)
	if n.Right.Boolean != nil {
		var bits uint64
		if *n.Right.Boolean {
			bits = 1
		}
		return func(v *Values) bool { return v.Slots[left].kind == Boolean && v.Slots[left].bits == bits }
	}
	right, _ := c.slot(n.Right)
	return func(v *Values) bool {
		x, y := &v.Slots[left], &v.Slots[right]
		return x.kind == Boolean && y.kind == Boolean && x.bits == y.bits
	}
}
