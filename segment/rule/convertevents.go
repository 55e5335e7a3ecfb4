// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"

	"cel.dev/cel-go/common/ast"
)

// aggregate turns events("x").within(days(7)).where(...).count(), of which the
// call is the last. What stands between may come in any order, each once.
func (src *source) aggregate(call ast.CallExpr) *Operand {
	out := &Events{Aggregate: Function(call.FunctionName())}
	if out.Aggregate.valued() {
		out.Property = src.literalName(call.Args()[0], out.Aggregate, "a property")
	}
	before := len(src.faults)
	at := call.Target()
	for ; at.Kind() == ast.CallKind && at.AsCall().IsMemberFunction(); at = at.AsCall().Target() {
		part := at.AsCall()
		switch name := part.FunctionName(); {
		case name == "where" && out.Where != nil, name != "where" && out.Older != 0:
			src.fail(part.Args()[0], "a second "+name+" of the same events", "join filters by &&; there is one window")
			return nil
		case name == "where":
			n := src.condition(part.Args()[0])
			out.Where = &n
		default:
			src.window(out, part.Args())
		}
		if len(src.faults) > before {
			return nil
		}
	}
	out.Name = src.literalName(at.AsCall().Args()[0], "events", "a name")
	return &Operand{Events: out}
}

// window reads within(older) and between(older, younger).
func (src *source) window(out *Events, args []ast.Expr) {
	older, ok := src.span(args[0])
	if !ok {
		return
	}
	if older <= 0 {
		src.fail(args[0], "a window of no length", "write within(days(30))")
		return
	}
	out.Older = older
	if len(args) == 1 {
		return
	}
	younger, ok := src.span(args[1])
	switch {
	case !ok:
	case younger < 0:
		src.fail(args[1], "an age is not negative", "write between(days(90), days(30))")
	case younger == older:
		src.fail(args[1], "a window of no length", "write between(days(90), days(30))")
	case younger > older:
		src.fail(args[1], "between names the older age first", fmt.Sprintf("write between(%s, %s)", spanText(younger), spanText(older)))
	default:
		out.Younger = younger
	}
}

// literalName reads the text that names something; "" after a fault.
func (src *source) literalName(e ast.Expr, of Function, what string) string {
	name, ok := literalText(e)
	switch {
	case !ok:
		src.fail(e, fmt.Sprintf("%s takes %s written out", of, what), functionHint(string(of)))
	case name == "" || len(name) > MaxEvent:
		src.fail(e, fmt.Sprintf("%s takes %s of 1 to %d bytes", of, what, MaxEvent), functionHint(string(of)))
	default:
		return name
	}
	return ""
}

func (src *source) bucket(arg ast.Expr) *Operand {
	seed := src.literalName(arg, "bucket", "a seed")
	if seed == "" {
		return nil
	}
	return &Operand{Bucket: seed}
}

// segment notes the reference; whether it leads anywhere is known when all
// rules are read.
func (src *source) segment(arg ast.Expr) Node {
	name := src.literalName(arg, "segment", "a name")
	src.refs = append(src.refs, reference{name: name, at: src.start(arg)})
	return Node{Kind: KindSegment, Segment: name}
}

func (src *source) contacts(op Op, arg ast.Expr) Node {
	n := src.condition(arg)
	return test(op, &Operand{Contacts: &n}, nil)
}

// propertyKey makes property.a of property["a"], which CEL would take for a topic.
func (src *source) propertyKey(e ast.Expr, call ast.CallExpr) {
	src.names(call.Args()[0])
	key, ok := literalText(call.Args()[1])
	if !ok {
		src.fail(call.Args()[1], "a property is named by a text written out", `write property["x"]`)
		return
	}
	e.SetKindCase(ast.NewExprFactory().NewSelect(e.ID(), call.Args()[0], key))
}

// propertyName is the name that property.a.b stands for; false for anything else.
func propertyName(e ast.Expr) (string, bool) {
	if e.Kind() != ast.SelectKind {
		return "", false
	}
	of, field := e.AsSelect().Operand(), e.AsSelect().FieldName()
	if of.Kind() == ast.IdentKind {
		return field, of.AsIdent() == propertyScope
	}
	outer, ok := propertyName(of)
	return outer + "." + field, ok
}

func (src *source) property(e ast.Expr, name string) *Operand {
	if name == "" || len(name) > MaxEvent {
		src.fail(e, fmt.Sprintf("a property is named by 1 to %d bytes written out", MaxEvent), "write property.x")
		return nil
	}
	return &Operand{Property: name}
}

// comparable finds comparisons that have the right types and no meaning.
func (src *source) comparable(e ast.Expr, op Op, left, right *Operand) {
	if left.Property != "" && !right.literal() {
		src.fail(e, "a property is compared with a value written out", "")
	}
	if left.Property != "" && right.Boolean != nil && op != OpEqual {
		src.fail(e, fmt.Sprintf("%s does not compare a boolean with a boolean", op), "use == or !=")
	}
	if decaying(left) && decaying(right) {
		src.fail(e, "two scores are compared, and both change with time", "compare each with a number")
	}
	if left.Events != nil {
		src.threshold(e, op, left.Events, right)
	}
}

// threshold refuses to count beyond what is kept: the answer would be wrong.
func (src *source) threshold(e ast.Expr, op Op, ev *Events, o *Operand) {
	counts := ev.Aggregate == Counting && ev.Older != 0 || ev.Aggregate == DistinctDays
	if !counts || o.Number == nil {
		return
	}
	r := relationOf(op)
	if n := *o.Number; n > MaxEntries || n == MaxEntries && r != less && r != greater|equal {
		src.fail(e, fmt.Sprintf("only the %d newest events are kept, so this cannot be counted", MaxEntries), fmt.Sprintf("compare with less than %d", MaxEntries))
	}
}
