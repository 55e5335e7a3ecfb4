// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"regexp"
	"slices"
)

// eventTest is a compiled filter of events.
type eventTest func(e *Event) bool

// filter makes a closure of a checked filter. The literal says of which type a
// property must be; a property of another type is as good as missing.
func filter(n Node) (eventTest, error) {
	switch n.Kind {
	case KindConst:
		value := n.Value
		return func(*Event) bool { return value }, nil
	case KindNot:
		inner, err := filter(n.Nodes[0])
		return func(e *Event) bool { return !inner(e) }, err
	case KindAll, KindAny:
		tests := make([]eventTest, len(n.Nodes))
		for i, child := range n.Nodes {
			var err error
			if tests[i], err = filter(child); err != nil {
				return nil, err
			}
		}
		stop := n.Kind == KindAny
		return func(e *Event) bool {
			for _, t := range tests {
				if t(e) == stop {
					return stop
				}
			}
			return !stop
		}, nil
	case KindTest:
		if n.Left.Property == "" || n.Op != OpIs && n.Op != OpHas && n.Right == nil {
			return nil, errNode
		}
		holds, err := propertyTest(n.Op, n.Right)
		name := n.Left.Property
		return func(e *Event) bool {
			x, ok := e.Properties[name]
			return ok && holds(x)
		}, err
	default:
		return nil, errNode
	}
}

// propertyTest is what a condition asks of a property that is there.
func propertyTest(op Op, o *Operand) (func(x Value) bool, error) {
	switch {
	case op == OpHas:
		return func(x Value) bool { return x.kind != Missing }, nil
	case op == OpIs:
		return func(x Value) bool { return x.Boolean() }, nil
	case op == OpMatches:
		re, err := regexp.Compile(*o.Text)
		return func(x Value) bool { return x.kind == Text && re.MatchString(x.text) }, err
	case o.Text != nil:
		holds, literal := textTest(op), *o.Text
		return func(x Value) bool { return x.kind == Text && holds(x.text, literal) }, nil
	case o.Number != nil:
		r, literal := relationOf(op), *o.Number
		return func(x Value) bool { return x.kind == Number && compare(r, x.Number(), literal) }, nil
	case o.Boolean != nil:
		literal := *o.Boolean
		return func(x Value) bool { return x.kind == Boolean && x.Boolean() == literal }, nil
	case o.Time != nil:
		r, literal := relationOf(op), o.Time.UnixMicro()
		return func(x Value) bool {
			at, ok := propertyTime(x)
			return ok && compare(r, at, literal)
		}, nil
	case len(o.Texts) > 0:
		in := oneOf(o.Texts)
		return func(x Value) bool { return x.kind == Text && in(x.text) }, nil
	case len(o.Numbers) > 0:
		sorted := slices.Sorted(slices.Values(o.Numbers))
		return func(x Value) bool {
			_, found := slices.BinarySearch(sorted, x.Number())
			return found && x.kind == Number
		}, nil
	default:
		return nil, errNode
	}
}

// propertyTime is a property as an instant: JSON knows times as texts only.
func propertyTime(x Value) (int64, bool) {
	if x.kind == Text {
		t, err := parseInstant(x.text)
		if err != nil {
			return 0, false
		}
		x = TimeValue(t)
	}
	return x.micro(), x.kind == Time
}
