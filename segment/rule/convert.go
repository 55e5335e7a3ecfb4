// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// condition turns a checked expression into a tree. What CEL's types allow and
// rules do not (two constants, a computed pattern) is found here. After a fault
// the tree is not used.
func (src *source) condition(e ast.Expr) Node {
	if e.Kind() == ast.LiteralKind {
		if b, ok := e.AsLiteral().(types.Bool); ok {
			return Node{Kind: KindConst, Value: bool(b)}
		}
	}
	if e.Kind() == ast.CallKind {
		if n, ok := src.callCondition(e, e.AsCall()); ok {
			return n
		}
	}
	if t := src.typeOf(e); t != "boolean" && t != "property" {
		say, hint := notCondition(t)
		src.fail(e, say, hint)
		return Node{}
	}
	return test(OpIs, src.operand(e), nil)
}

// test makes a condition; right may be nil.
func test(op Op, left, right *Operand) Node {
	return Node{Kind: KindTest, Op: op, Left: left, Right: right}
}

// not makes the complement, without a double negation.
func not(n Node) Node {
	switch n.Kind {
	case KindNot:
		return n.Nodes[0]
	case KindConst:
		return Node{Kind: KindConst, Value: !n.Value}
	default:
		return Node{Kind: KindNot, Nodes: []Node{n}}
	}
}

// typeOf is our word for the type that CEL found.
func (src *source) typeOf(e ast.Expr) string { return typeName(src.tree.GetType(e.ID()).String()) }

// callCondition turns an operator or a function that yields a condition; false
// for one that yields a value.
func (src *source) callCondition(e ast.Expr, call ast.CallExpr) (Node, bool) {
	args := call.Args()
	switch name := call.FunctionName(); name {
	case operators.LogicalAnd:
		return src.group(e, KindAll, name), true
	case operators.LogicalOr:
		return src.group(e, KindAny, name), true
	case operators.LogicalNot:
		return not(src.condition(args[0])), true
	case operators.NotEquals:
		return not(src.comparison(e, OpEqual, args)), true
	case operators.Equals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return src.comparison(e, Op(plainName(name)), args), true
	case operators.In:
		return src.membership(e, args[0], args[1]), true
	case hasFunction:
		return src.presence(args[0]), true
	case "segment":
		return src.segment(args[0]), true
	case "any_contact", "all_contacts":
		return src.contacts(Op(name), args[0]), true
	case "no_contact":
		return not(src.contacts(OpAnyContact, args[0])), true
	case "startsWith", "endsWith", "contains", "matches":
		return src.textTest(Op(name), call.Target(), args[0]), true
	case "has_none":
		return not(src.listTest(e, OpHasAny, args)), true
	case "has_any", "has_all":
		return src.listTest(e, Op(name), args), true
	default:
		return Node{}, false
	}
}

// group flattens a && b && c, whatever the brackets, into one node.
func (src *source) group(e ast.Expr, kind Kind, name string) Node {
	n := Node{Kind: kind}
	var walk func(ast.Expr)
	walk = func(e ast.Expr) {
		if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == name {
			for _, arg := range e.AsCall().Args() {
				walk(arg)
			}
			return
		}
		if child := src.condition(e); child.Kind == kind {
			n.Nodes = append(n.Nodes, child.Nodes...)
		} else {
			n.Nodes = append(n.Nodes, child)
		}
	}
	walk(e)
	return n
}

// presence turns has(contact.x), and has(account.topics.x), which asks for a key.
func (src *source) presence(arg ast.Expr) Node {
	o := src.operand(arg)
	switch {
	case o == nil:
		return Node{}
	case o.Events != nil && !o.Events.Aggregate.empties():
		src.fail(arg, string(o.Events.Aggregate)+" is never missing", "compare it with 0")
		return Node{}
	case o.Attr == "" && o.Property == "" && o.Events == nil || o.Offset != 0:
		src.fail(arg, "has needs an attribute", "write has(contact.x)")
		return Node{}
	case o.Topic != "":
		topic := o.Topic
		return test(OpIn, &Operand{Text: &topic}, &Operand{Attr: o.Attr})
	default:
		return test(OpHas, o, nil)
	}
}

// operand turns one side of a condition; nil after a fault.
func (src *source) operand(e ast.Expr) *Operand {
	switch e.Kind() {
	case ast.LiteralKind:
		return literalOperand(e)
	case ast.IdentKind:
		if e.AsIdent() == "now" {
			return &Operand{Now: true}
		}
		if e.AsIdent() == stageName && src.stage == nil {
			src.stage = src.start(e)
		}
		return &Operand{Attr: e.AsIdent()}
	case ast.SelectKind:
		if name, ok := propertyName(e); ok {
			return src.property(e, name)
		}
		sel := e.AsSelect()
		if sel.Operand().Kind() == ast.IdentKind {
			return &Operand{Attr: sel.Operand().AsIdent() + "." + sel.FieldName()}
		}
		if of := src.operand(sel.Operand()); of != nil {
			return src.topicOf(e, of, sel.FieldName())
		}
	case ast.CallKind:
		return src.computed(e, e.AsCall())
	default:
	}
	src.fail(e, "this cannot stand on one side of a condition", "use an attribute, a literal or now")
	return nil
}

// topicOf is one topic of a topics attribute.
func (src *source) topicOf(e ast.Expr, of *Operand, name string) *Operand {
	if name == "" {
		src.fail(e, "a topic needs a name", "")
		return nil
	}
	of.Topic = name
	return of
}

func literalOperand(e ast.Expr) *Operand {
	switch v := e.AsLiteral().(type) {
	case types.String:
		s := string(v)
		return &Operand{Text: &s}
	case types.Double:
		n := float64(v) + 0 // no -0: it would not survive printing
		return &Operand{Number: &n}
	case types.Bool:
		b := bool(v)
		return &Operand{Boolean: &b}
	default:
		return nil
	}
}

// computed turns the calls that yield a value: topics by key, and times.
func (src *source) computed(e ast.Expr, call ast.CallExpr) *Operand {
	args := call.Args()
	switch call.FunctionName() {
	case "count", "sum", "avg", "min", "max", "distinct_days", "first", "last":
		return src.aggregate(call)
	case "bucket":
		return src.bucket(args[0])
	case "contacts":
		n := src.condition(args[0])
		return &Operand{Contacts: &n}
	case operators.Index:
		of, key := src.operand(args[0]), src.operand(args[1])
		if of == nil || key == nil {
			return nil
		}
		if key.Text == nil {
			src.fail(args[1], "a topic is named by a text written out", "")
			return nil
		}
		return src.topicOf(e, of, *key.Text)
	case operators.Add, operators.Subtract, "timestamp":
		return src.instant(e, call)
	}
	if src.typeOf(e) == "boolean" {
		src.fail(e, "a condition is not compared with something", "write a && b, or !a")
	} else {
		src.fail(e, "this cannot stand on one side of a condition", "use an attribute, a literal or now")
	}
	return nil
}

// listTest turns has_any and has_all.
func (src *source) listTest(e ast.Expr, op Op, args []ast.Expr) Node {
	left, right := src.operandOrList(args[0]), src.operandOrList(args[1])
	if left == nil || right == nil {
		return Node{}
	}
	if left.Attr == "" || len(right.Texts) == 0 {
		src.fail(e, "the first argument must be an attribute, the second a list written out", functionHint("has_any"))
	}
	return test(op, left, right)
}

// textTest turns the methods of texts.
func (src *source) textTest(op Op, target, arg ast.Expr) Node {
	left, right := src.operand(target), src.operand(arg)
	if left == nil || right == nil {
		return Node{}
	}
	if left.Property != "" && right.Text == nil {
		src.fail(arg, "a property is compared with a value written out", "")
	}
	if left.Attr == "" && left.Property == "" {
		src.fail(target, string(op)+" is asked of an attribute, not of a literal", "turn it round")
	}
	if op == OpMatches {
		src.pattern(arg, right)
	}
	return test(op, left, right)
}

func (src *source) pattern(e ast.Expr, o *Operand) {
	if o.Text == nil {
		src.fail(e, "a pattern must be written out", "")
		return
	}
	if len(*o.Text) > MaxPattern {
		src.fail(e, fmt.Sprintf("the pattern has %d bytes, at most %d are possible", len(*o.Text), MaxPattern), "")
		return
	}
	if _, err := regexp.Compile(*o.Text); err != nil {
		src.fail(e, strings.TrimPrefix(err.Error(), "error parsing regexp: "), "patterns are RE2; a backslash is written twice")
	}
}

// membership turns in.
func (src *source) membership(e, item, of ast.Expr) Node {
	left, right := src.operandOrList(item), src.operandOrList(of)
	if left == nil || right == nil {
		return Node{}
	}
	switch {
	case right.Property != "":
		src.fail(of, "a property is no list", `write property.x in ["a", "b"], or property.x == "a"`)
	case !left.reads() && !right.reads():
		src.fail(e, "this compares two constants", "one side must be an attribute")
	case left.Number != nil, left.Boolean != nil:
		src.fail(item, "only a text can be in a list or in topics", "")
	}
	src.tierNames(e, left, right)
	return test(OpIn, left, right)
}

// operandOrList is operand, or a list of literals of one type.
func (src *source) operandOrList(e ast.Expr) *Operand {
	if e.Kind() != ast.ListKind {
		return src.operand(e)
	}
	out := &Operand{}
	for _, item := range e.AsList().Elements() {
		var o *Operand
		if item.Kind() == ast.LiteralKind {
			o = literalOperand(item)
		}
		switch {
		case o == nil || o.Boolean != nil:
			src.fail(item, "a list holds texts or numbers written out", "")
			return nil
		case o.Text != nil:
			out.Texts = append(out.Texts, *o.Text)
		default:
			out.Numbers = append(out.Numbers, *o.Number)
		}
	}
	src.literals += len(out.Texts) + len(out.Numbers)
	switch {
	case len(out.Texts) == 0 && len(out.Numbers) == 0:
		src.fail(e, "the list is empty", "")
	case len(out.Texts) > 0 && len(out.Numbers) > 0:
		src.fail(e, "the list mixes texts and numbers", "")
	case src.literals > MaxLits:
		src.fail(e, fmt.Sprintf("the lists of the rule have more than %d items", MaxLits), "import a list attribute instead")
	default:
		return out
	}
	return nil
}

// tiers are the values of the built-in tier.
func tiers() []string { return []string{"new", "active", "warm", "cooling", "dormant", "dead"} }

// tierNames finds comparisons of tier with a name that no tier has: such a
// condition would be false for ever, and say nothing.
func (src *source) tierNames(e ast.Expr, left, right *Operand) {
	if left.Attr != "tier" || right.Attr != "" {
		return
	}
	names := right.Texts
	if right.Text != nil {
		names = []string{*right.Text}
	}
	for _, name := range names {
		if !slices.Contains(tiers(), name) {
			hint := didYouMean(name, tiers())
			if hint == "" {
				hint = "tiers are " + strings.Join(tiers(), ", ")
			}
			src.fail(e, fmt.Sprintf("no tier is named %q", shorten(name)), hint)
		}
	}
}
