// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// source is one text on its way through CEL: parsed, its names checked and its
// integers made doubles by us, its types checked by CEL.
type source struct {
	schema   *Schema
	tree     *ast.AST
	faults   []*Error
	literals int // items of all lists so far
	refs     []reference
	stage    common.Location // where it first reads the stage, nil = nowhere
	filter   bool            // inside where
	inner    bool            // inside a condition about an account's contacts
}

// reference is where a rule refers to a segment.
type reference struct {
	name  string
	at    common.Location
	stage bool // by reading the stage, of which that segment gives one
}

// analyze parses and checks a text; faults are collected in the source.
func (s *Schema) analyze(text string) *source {
	src := &source{schema: s}
	parsed, issues := s.env.Parse(text)
	if issues.Err() != nil {
		// One syntax fault breeds others; only the first means something.
		src.report(issues.Errors()[:1], func(e *cel.Error) (string, string) { return syntaxFault(e, text) })
		return src
	}
	src.tree = parsed.NativeRep()
	src.names(src.tree.Expr())
	if len(src.faults) > 0 {
		return src
	}
	checked, issues := s.env.Check(parsed)
	if issues.Err() != nil {
		src.report(issues.Errors()[:min(len(issues.Errors()), maxFaults)], func(e *cel.Error) (string, string) { return typeFault(e.Message) })
		return src
	}
	src.tree = checked.NativeRep()
	return src
}

// report takes over CEL's faults in our words.
func (src *source) report(errs []*cel.Error, say func(*cel.Error) (text, hint string)) {
	for _, e := range errs {
		text, hint := say(e)
		at := e.Location
		if src.tree != nil {
			ast.PreOrderVisit(src.tree.Expr(), ast.NewExprVisitor(func(x ast.Expr) {
				if x.ID() == e.ExprID {
					at = src.start(x)
				}
			}))
		}
		src.faults = append(src.faults, faultAt(at, text, hint))
	}
}

func faultAt(at common.Location, text, hint string) *Error {
	e := &Error{Line: at.Line(), Column: at.Column() + 1, Text: text, Hint: hint}
	if e.Line < 1 || e.Column < 1 {
		e.Line, e.Column = 1, 1
	}
	return e
}

func (src *source) fail(at ast.Expr, text, hint string) {
	src.faults = append(src.faults, faultAt(src.start(at), text, hint))
}

// start is where an expression begins for the reader: an attribute at its first
// letter, a method call at what it is called on, an operator at its sign.
func (src *source) start(e ast.Expr) common.Location {
	for {
		switch {
		case e.Kind() == ast.SelectKind:
			e = e.AsSelect().Operand()
		case e.Kind() == ast.CallKind && e.AsCall().IsMemberFunction():
			e = e.AsCall().Target()
		case e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Index:
			e = e.AsCall().Args()[0]
		default:
			at := src.tree.SourceInfo().GetStartLocation(e.ID())
			if e.Kind() == ast.CallKind {
				if name := plainName(e.AsCall().FunctionName()); isIdentifier(name) && name != "in" {
					return common.NewLocation(at.Line(), max(0, at.Column()-len(name))) // CEL points at the bracket
				}
			}
			return at
		}
	}
}

// plainName is a function or an operator as people write it.
func plainName(name string) string { return strings.Trim(name, "@_") }

// names walks the parsed tree before CEL sees it: it finds unknown names, for
// which we know better hints than CEL, and turns integer literals into doubles.
func (src *source) names(e ast.Expr) {
	switch e.Kind() {
	case ast.IdentKind:
		src.ident(e)
	case ast.LiteralKind:
		src.number(e)
	case ast.SelectKind:
		src.selection(e)
	case ast.CallKind:
		src.call(e)
	case ast.ListKind:
		for _, item := range e.AsList().Elements() {
			src.names(item)
		}
	default:
		src.fail(e, "rules know no maps and no messages", "")
	}
}

func (src *source) number(e ast.Expr) {
	var n float64
	var exact bool
	switch v := e.AsLiteral().(type) {
	case types.Int:
		n, exact = float64(v), v <= maxExact && v >= -maxExact
	case types.Uint:
		n, exact = float64(v), v <= maxExact
	case types.String, types.Bool, types.Double:
		return
	case types.Null:
		src.fail(e, "rules know no null", "write has(contact.x) or !has(contact.x)")
		return
	default:
		src.fail(e, "rules know no bytes", "write a text without b in front")
		return
	}
	if !exact {
		src.fail(e, "the number is too large to be exact", "numbers are exact up to 9007199254740992; write it as a text, or with an exponent")
		return
	}
	e.SetKindCase(ast.NewExprFactory().NewLiteral(e.ID(), types.Double(n)))
}

func (src *source) ident(e ast.Expr) {
	name := e.AsIdent()
	_, _, ok := src.schema.Slot(name)
	switch {
	case (name == propertyScope) != src.filter && (ok || name == "now" || name == propertyScope):
		src.misplaced(e, name)
		return
	case ok, name == "now", name == propertyScope:
		return
	}
	if name == contactScope || name == accountScope {
		src.fail(e, name+" is no value by itself", "write "+name+".x for one of its attributes")
		return
	}
	src.fail(e, "unknown name "+shorten(name), src.meant(name))
}

// misplaced speaks of a property outside of a filter, and of anything else
// within one.
func (src *source) misplaced(e ast.Expr, name string) {
	if src.filter {
		src.fail(e, "where reads only properties of the event, not "+shorten(name), "write property.x; what is asked of the contact stands outside of where")
		return
	}
	src.fail(e, "a property stands only in the filter of events", `write events("x").where(property.y > 1)`)
}

// meant finds the declared name that somebody who wrote name had in mind.
func (src *source) meant(name string) string {
	if hint := wordHint(name); hint != "" {
		return hint
	}
	scope, field, dotted := strings.Cut(name, ".")
	if !dotted {
		scope, field = "", name
	}
	if near := src.nearest(scope, field); near != "" {
		return "did you mean " + near + "?"
	}
	if dotted {
		return "declare it as [[attribute]], or use a declared one"
	}
	return "attributes are written contact.x and account.x; a text stands in quotes"
}

// nearest looks for field: as it is in any scope, then misspelt in its own
// scope, then misspelt in any.
func (src *source) nearest(scope, field string) string {
	own, all := []string{}, []string{"now"}
	whole := map[string]string{"now": "now"} // by field; contact wins over account
	for slot := src.schema.Len() - 1; slot >= 0; slot-- {
		name := src.schema.names[slot]
		s, f, ok := strings.Cut(name, ".")
		if !ok {
			s, f = "", name
		}
		if s == scope {
			own = append(own, f)
		}
		all = append(all, f)
		if old, known := whole[f]; !known || strings.HasPrefix(old, accountScope) {
			whole[f] = name
		}
	}
	if name, ok := whole[field]; ok {
		return name
	}
	if near := nearest(field, own); near != "" {
		return strings.TrimPrefix(scope+"."+near, ".")
	}
	return whole[nearest(field, all)]
}

func (src *source) selection(e ast.Expr) {
	sel := e.AsSelect()
	scope := sel.Operand()
	if scope.Kind() != ast.IdentKind || scope.AsIdent() == "now" || scope.AsIdent() == propertyScope {
		src.names(scope)
		return
	}
	if _, _, builtin := src.schema.Slot(scope.AsIdent()); builtin {
		src.fail(e, scope.AsIdent()+" has no parts", "")
		return
	}
	name := scope.AsIdent() + "." + sel.FieldName()
	if _, _, ok := src.schema.Slot(name); !ok {
		src.fail(e, "unknown attribute "+shorten(name), src.meant(name))
	} else if src.filter {
		src.misplaced(e, name)
	}
}

func (src *source) call(e ast.Expr) {
	call := e.AsCall()
	name := call.FunctionName()
	if !slices.Contains(methodNames(), name) && !slices.Contains(functionNames(), name) && !slices.Contains(operatorNames(), name) {
		src.unknownCall(e, name)
		return
	}
	method := slices.Contains(methodNames(), name)
	if call.IsMemberFunction() != method {
		if method {
			src.fail(e, name+" needs something in front of it", methodHint(name))
		} else {
			src.fail(e, name+" is not called on a value", "write "+name+"(...)")
		}
		return
	}
	if text, hint := src.unfit(name); text != "" {
		src.fail(e, text, hint)
		return
	}
	if method {
		src.names(call.Target())
	}
	if src.filter && name == operators.Index {
		src.propertyKey(e, call)
		return
	}
	filter, inner := src.filter, src.inner
	src.filter = filter || name == "where"
	src.inner = inner || slices.Contains(contactNames(), name)
	for _, arg := range call.Args() {
		src.names(arg)
	}
	src.filter, src.inner = filter, inner
	if name == "has" {
		e.SetKindCase(ast.NewExprFactory().NewCall(e.ID(), hasFunction, call.Args()...))
	}
}
