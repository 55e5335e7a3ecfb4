// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"math"
	"slices"
	"strings"
)

// sieve is what the value of one slot says about all rules of a set. Of a value,
// the conditions that it decides see no more than which of the literals it is, or
// between which it lies: that is its class. For each class, the rules are known that none
// of those conditions excludes; the conditions themselves have said so, once, of
// a value of the class.
type sieve struct {
	slot  int
	kind  Type
	texts map[string]int // class of a text that is a literal
	marks []int64        // literal numbers and times, sorted, in the order of sortable
	masks []Bits         // by class
}

// Classes of every sieve; from classFirst on are those of what is present.
const (
	classMissing = iota
	classFirst
)

// sieveSize bounds the words of the masks of one sieve: beyond it, each rule is asked.
const sieveSize = 1 << 17

// passes returns the rules, by place, that a value does not exclude.
func (x *sieve) passes(v *Value) Bits {
	if v.kind != x.kind {
		return x.masks[classMissing]
	}
	switch v.kind {
	case Text:
		if class, ok := x.texts[v.text]; ok {
			return x.masks[class]
		}
		return x.masks[classFirst]
	case Number, Time:
		return x.masks[x.classOf(v.sortable())]
	case Boolean:
		return x.masks[classFirst+int(v.bits&1)]
	default:
		return x.masks[classFirst]
	}
}

// classOf is the class of a number or a time: below the first literal, equal to
// it, between it and the second, and so on.
func (x *sieve) classOf(at int64) int {
	lo, hi := 0, len(x.marks)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); x.marks[mid] < at {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	class := classFirst + 2*lo
	if lo < len(x.marks) && x.marks[lo] == at {
		class++
	}
	return class
}

// sortable is a number or a time as an integer that sorts alike. Neighbouring
// integers are neighbouring numbers; 0 and -0 are one.
func (v *Value) sortable() int64 {
	at := v.micro()
	if v.kind == Number && at < 0 {
		at = (at ^ math.MaxInt64) + 1
	}
	return at
}

// atSortable is the value of a sortable integer.
func atSortable(kind Type, at int64) Value {
	if kind == Number && at < 0 {
		at = (at - 1) ^ math.MaxInt64
	}
	return Value{kind: kind, bits: uint64(at)} //nolint:gosec // the bits of an int64
}

// newSieves makes the sieves of a set, and returns the conditions that they decide.
func (t *Set) newSieves() Bits {
	decided := make(Bits, words(len(t.together.conditions)))
	by := make([]*sieve, t.schema.Len())
	of := make([][]int, t.schema.Len()) // conditions by slot
	for k := range t.together.conditions {
		slot := -1
		if n := t.together.conditions[k].node; t.sieved(n, &slot) && slot >= 0 {
			if by[slot] == nil {
				by[slot] = &sieve{slot: slot, kind: t.schema.types[slot], texts: make(map[string]int)}
			}
			by[slot].collect(n)
			of[slot] = append(of[slot], k)
		}
	}
	v := t.NewValues()
	for slot, x := range by {
		if x == nil {
			continue
		}
		classes := x.classes()
		if len(classes)*words(len(t.rules)) > sieveSize {
			continue
		}
		for _, k := range of[slot] {
			decided.Set(k, true)
		}
		for _, value := range classes {
			v.Slots[slot] = value
			x.masks = append(x.masks, t.maskOf(of[slot], v))
		}
		v.Slots[slot] = Value{}
		t.together.sieves = append(t.together.sieves, *x)
	}
	return decided
}

// maskOf is the rules that none of the conditions excludes.
func (t *Set) maskOf(conditions []int, v *Values) Bits {
	mask := make(Bits, words(len(t.rules)))
	for w := range mask {
		mask[w] = math.MaxUint64
	}
	for _, k := range conditions {
		if c := &t.together.conditions[k]; !c.test(v) {
			mask.without(c.users)
		}
	}
	return mask
}

// sieved reports whether a condition reads one slot alone, and sees no more of it
// than its class. It notes the slot. The stage is none: it follows from the answers.
func (t *Set) sieved(n *Node, slot *int) bool {
	switch n.Kind {
	case KindNot, KindAll, KindAny:
		for i := range n.Nodes {
			if !t.sieved(&n.Nodes[i], slot) {
				return false
			}
		}
		return true
	case KindTest:
	default:
		return false
	}
	if n.Left == nil || n.Left.Attr == "" || n.Left.Topic != "" || decaying(n.Left) || !classed(n) {
		return false
	}
	at, ok := t.schema.slots[n.Left.Attr]
	if !ok || at == SlotStage || *slot >= 0 && *slot != at {
		return false
	}
	*slot = at
	return true
}

// classed reports whether a test compares its left side with literals so that it
// tells classes apart only.
func classed(n *Node) bool {
	switch n.Op {
	case OpIs, OpHas:
		return true
	case OpEqual:
		return n.Right.literal()
	case OpLess, OpAtMost, OpGreater, OpAtLeast:
		return n.Right.Number != nil || n.Right.Time != nil
	case OpIn:
		return len(n.Right.Texts)+len(n.Right.Numbers) > 0
	default:
		return false
	}
}

// collect notes the literals of a condition.
func (x *sieve) collect(n *Node) {
	for i := range n.Nodes {
		x.collect(&n.Nodes[i])
	}
	if n.Right == nil {
		return
	}
	for _, s := range n.Right.Texts {
		x.texts[s] = 0
	}
	if n.Right.Text != nil {
		x.texts[*n.Right.Text] = 0
	}
	numbers := n.Right.Numbers
	if n.Right.Number != nil {
		numbers = append(slices.Clone(numbers), *n.Right.Number)
	}
	for _, number := range numbers {
		if v := NumberValue(number); v.kind == Number {
			x.marks = append(x.marks, v.sortable())
		}
	}
	if n.Right.Time != nil {
		v := Value{kind: Time, bits: uint64(n.Right.Time.UnixMicro())}
		x.marks = append(x.marks, v.sortable())
	}
}

// classes returns a value of each class. Where no value is of a class, that of
// another one stands there.
func (x *sieve) classes() []Value {
	list := []Value{classMissing: {}}
	switch x.kind {
	case Text:
		other := Value{kind: Text}
		for _, there := x.texts[other.text]; there; _, there = x.texts[other.text] {
			other.text += "x"
		}
		list = append(list, other)
		for s := range x.texts {
			x.texts[s] = len(list)
			list = append(list, Value{kind: Text, text: strings.Clone(s)})
		}
	case Number, Time:
		slices.Sort(x.marks)
		x.marks = slices.Compact(x.marks)
		for i, mark := range x.marks {
			if i == 0 {
				list = append(list, atSortable(x.kind, mark-1))
			}
			list = append(list, atSortable(x.kind, mark), atSortable(x.kind, mark+1))
		}
		if len(x.marks) == 0 {
			list = append(list, Value{kind: x.kind})
		}
	case Boolean:
		list = append(list, Value{kind: Boolean}, Value{kind: Boolean, bits: 1})
	default:
		list = append(list, Value{kind: x.kind, set: &set{}})
	}
	return list
}
