// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// comparison turns == and the four orders. Times may be shifted on either side,
// and distances compared (now - contact.x < days(30)); all of it becomes
// attribute op shifted instant, the form whose answer by time can be foreseen.
func (src *source) comparison(e ast.Expr, op Op, args []ast.Expr) Node {
	if src.typeOf(args[0]) == "duration" {
		return src.distance(e, op, args[0], args[1])
	}
	left, right := src.operand(args[0]), src.operand(args[1])
	if left == nil || right == nil {
		return Node{}
	}
	return src.orient(e, op, left, right)
}

// distance turns a - b op d into a op b + d.
func (src *source) distance(e ast.Expr, op Op, left, right ast.Expr) Node {
	if src.isDistance(right) {
		left, right, op = right, left, mirror(op)
	}
	if !src.isDistance(left) || src.isDistance(right) {
		src.fail(e, "this does not compare the distance of two times with a duration", "write now - contact.x < days(30)")
		return Node{}
	}
	args := left.AsCall().Args()
	a, b := src.operand(args[0]), src.operand(args[1])
	d, ok := src.span(right)
	if a == nil || b == nil || !ok || !src.shift(e, b, d) {
		return Node{}
	}
	return src.orient(e, op, a, b)
}

// isDistance reports whether e is one time minus another.
func (src *source) isDistance(e ast.Expr) bool {
	return e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Subtract && src.typeOf(e.AsCall().Args()[1]) == "time"
}

// mirror is the operator that says the same with its sides exchanged.
func mirror(op Op) Op {
	switch op {
	case OpLess:
		return OpGreater
	case OpAtMost:
		return OpAtLeast
	case OpGreater:
		return OpLess
	case OpAtLeast:
		return OpAtMost
	default:
		return op
	}
}

// orient puts the attribute left (else now), and what is added to it right.
func (src *source) orient(e ast.Expr, op Op, left, right *Operand) Node {
	if left.literal() || left.Now && right.reads() {
		left, right, op = right, left, mirror(op)
	}
	if left.literal() || left.Now && right.Now {
		src.fail(e, "this compares two constants", "one side must be an attribute")
		return Node{}
	}
	if left.Offset != 0 {
		if !src.shift(e, right, -left.Offset) {
			return Node{}
		}
		left.Offset = 0
	}
	if right.Boolean != nil && *right.Boolean && op == OpEqual {
		return test(OpIs, left, nil)
	}
	src.tierNames(e, left, right)
	src.comparable(e, op, left, right)
	if left.Attr == "tier" && op != OpEqual {
		src.fail(e, "tiers have no order in a rule", `write tier in ["active", "warm"]`)
	}
	return test(op, left, right)
}

// shift adds a duration to an operand of type time.
func (src *source) shift(e ast.Expr, o *Operand, d Duration) bool {
	if o.Time != nil {
		t := o.Time.Add(time.Duration(d))
		o.Time = &t
		if !representable(t) {
			src.fail(e, "the time is outside the years 1 to 9999", "")
			return false
		}
		return true
	}
	o.Offset += d
	if o.Offset > Duration(maxDuration) || o.Offset < -Duration(maxDuration) {
		src.fail(e, "the durations sum up to more than 36500d", "")
		return false
	}
	return true
}

// instant turns the calls that yield a time.
func (src *source) instant(e ast.Expr, call ast.CallExpr) *Operand {
	args := call.Args()
	if call.FunctionName() == "timestamp" {
		return src.timestamp(args[0])
	}
	if src.typeOf(e) != "time" { // a distance, where a time is needed
		src.fail(e, "the distance of two times cannot stand here", "write now - contact.x < days(30)")
		return nil
	}
	at, by := args[0], args[1]
	if src.typeOf(at) == "duration" {
		at, by = by, at
	}
	o := src.operand(at)
	d, ok := src.span(by)
	if o == nil || !ok {
		return nil
	}
	if call.FunctionName() == operators.Subtract {
		d = -d
	}
	if !src.shift(e, o, d) {
		return nil
	}
	return o
}

// timestamp reads the literal of timestamp("...").
func (src *source) timestamp(e ast.Expr) *Operand {
	text, ok := literalText(e)
	if !ok {
		src.fail(e, "timestamp takes a text written out", functionHint("timestamp"))
		return nil
	}
	t, err := parseInstant(text)
	switch {
	case err != nil:
		src.fail(e, err.Error(), "")
		return nil
	case !representable(t):
		src.fail(e, "the time is outside the years 1 to 9999", "")
		return nil
	case t.Nanosecond()%1000 != 0:
		src.fail(e, "the time is finer than a microsecond", "")
		return nil
	}
	return &Operand{Time: &t}
}

// span reads days(7), hours(12), duration("90m"), and sums of them.
func (src *source) span(e ast.Expr) (Duration, bool) {
	if e.Kind() != ast.CallKind {
		src.fail(e, "a duration must be written out", "write days(7) or hours(12)")
		return 0, false
	}
	call := e.AsCall()
	name := call.FunctionName()
	switch {
	case src.isDistance(e):
		src.fail(e, "the distance of two times cannot stand here", "write now - contact.x < days(30)")
		return 0, false
	case name == operators.Add, name == operators.Subtract:
		return src.sum(e, call)
	}
	arg := call.Args()[0]
	if name == "duration" {
		text, ok := literalText(arg)
		if !ok {
			src.fail(arg, "duration takes a text written out", functionHint(name))
			return 0, false
		}
		d, err := parseDuration(text)
		if err != nil {
			src.fail(arg, err.Error(), "")
		}
		return d, err == nil
	}
	unit := time.Hour
	if name == "days" {
		unit = day
	}
	return src.units(arg, name, unit)
}

// sum adds or subtracts two durations.
func (src *source) sum(e ast.Expr, call ast.CallExpr) (Duration, bool) {
	a, ok := src.span(call.Args()[0])
	b, also := src.span(call.Args()[1])
	if call.FunctionName() == operators.Subtract {
		b = -b
	}
	o := Operand{Offset: a}
	return a + b, ok && also && src.shift(e, &o, b)
}

// units reads the number of days(n) or hours(n); halves are fine.
func (src *source) units(arg ast.Expr, name string, unit time.Duration) (Duration, bool) {
	var n types.Double
	literal := false
	if arg.Kind() == ast.LiteralKind {
		n, literal = arg.AsLiteral().(types.Double)
	}
	if !literal {
		src.fail(arg, name+" takes a number written out", functionHint(name))
		return 0, false
	}
	if span := float64(n) * float64(unit); span > float64(maxDuration) || span < -float64(maxDuration) {
		src.fail(arg, "the duration is longer than 36500d", "")
		return 0, false
	}
	d := time.Duration(float64(n) * float64(unit))
	return Duration(d - d%time.Microsecond), true
}

func literalText(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}
