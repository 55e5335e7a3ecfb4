// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
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
}

// analyze parses and checks a text; faults are collected in the source.
func (s *Schema) analyze(text string) *source {
	src := &source{schema: s}
	parsed, issues := s.env.Parse(text)
	if issues.Err() != nil {
		// One syntax fault breeds others; only the first means something.
		src.report(issues.Errors()[:1], func(e *cel.Error) (string, string) { return syntaxFault(e.Message, text) })
		return src
	}
	src.tree = parsed.NativeRep()
	src.names(src.tree.Expr())
	if len(src.faults) > 0 {
		return src
	}
	checked, issues := s.env.Check(parsed)
	if issues.Err() != nil {
		src.report(issues.Errors(), func(e *cel.Error) (string, string) { return typeFault(e.Message) })
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
	switch v := e.AsLiteral().(type) {
	case types.Int:
		n = float64(v)
	case types.Uint:
		n = float64(v)
	case types.String, types.Bool, types.Double:
		return
	case types.Null:
		src.fail(e, "rules know no null", "write has(contact.x) or !has(contact.x)")
		return
	default:
		src.fail(e, "rules know no bytes", "write a text without b in front")
		return
	}
	if n > maxExact || n < -maxExact {
		src.fail(e, "the number is too large to be exact", "numbers are exact up to 9007199254740992; write it as a text, or with an exponent")
		return
	}
	e.SetKindCase(ast.NewExprFactory().NewLiteral(e.ID(), types.Double(n)))
}

func (src *source) ident(e ast.Expr) {
	name := e.AsIdent()
	if _, _, ok := src.schema.Slot(name); ok || name == "now" {
		return
	}
	if name == contactScope || name == accountScope {
		src.fail(e, name+" is no value by itself", "write "+name+".x for one of its attributes")
		return
	}
	src.fail(e, "unknown name "+shorten(name), src.meant(name))
}

// meant finds the declared name that somebody who wrote name had in mind.
func (src *source) meant(name string) string {
	switch strings.ToLower(name) {
	case "and":
		return "write && for and"
	case "or":
		return "write || for or"
	case "not":
		return "write ! for not"
	}
	scope, field, dotted := strings.Cut(name, ".")
	if !dotted {
		scope, field = "", name
	}
	for _, s := range []string{contactScope, accountScope} {
		if _, _, ok := src.schema.Slot(s + "." + field); ok {
			return "did you mean " + s + "." + field + "?"
		}
	}
	if _, _, builtin := src.schema.Slot(field); dotted && builtin {
		return "did you mean " + field + "?"
	}
	var fields []string // declared in this scope, with what they are called in it
	for slot, declared := range src.schema.names {
		s, f, _ := strings.Cut(declared, ".")
		switch {
		case slot < firstAttribute && !dotted:
			fields = append(fields, declared)
		case dotted && s == scope, slot >= firstAttribute && s != scope && (!dotted || scope != contactScope && scope != accountScope):
			fields = append(fields, f)
		}
	}
	if near := nearest(field, append(fields, "now")); near != "" {
		if _, _, builtin := src.schema.Slot(near); builtin || near == "now" {
			return "did you mean " + near + "?"
		}
		return src.meant(scope + "." + near)
	}
	if dotted {
		return "declare it as [[attribute]], or use a declared one"
	}
	return "attributes are written contact.x and account.x; a text stands in quotes"
}

func (src *source) selection(e ast.Expr) {
	sel := e.AsSelect()
	scope := sel.Operand()
	if scope.Kind() != ast.IdentKind || scope.AsIdent() == "now" {
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
			src.fail(e, name+" needs something in front of it", `write contact.x.`+name+`("...")`)
		} else {
			src.fail(e, name+" is not called on a value", "write "+name+"(...)")
		}
		return
	}
	if method {
		src.names(call.Target())
	}
	for _, arg := range call.Args() {
		src.names(arg)
	}
	if name == "has" {
		e.SetKindCase(ast.NewExprFactory().NewCall(e.ID(), hasFunction, call.Args()...))
	}
}

func methodNames() []string { return []string{"startsWith", "endsWith", "contains", "matches"} }

func functionNames() []string {
	return []string{"has", "has_any", "has_all", "has_none", "days", "hours", "duration", "timestamp"}
}

func operatorNames() []string {
	return []string{
		operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot,
		operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals,
		operators.In, operators.Index, operators.Add, operators.Subtract,
	}
}

func (src *source) unknownCall(e ast.Expr, name string) {
	switch name {
	case operators.Conditional:
		src.fail(e, "rules know no a ? b : c", "write (a && b) || (!a && c)")
	case operators.Multiply, operators.Divide, operators.Modulo, operators.Negate:
		src.fail(e, "rules do not calculate with numbers", "import the result as an attribute of its own")
	case "size":
		src.fail(e, "unknown function size", `ask has_any, has_all, has_none, or compare with ""`)
	default:
		hint := didYouMean(name, slices.Concat(functionNames(), methodNames()))
		if hint == "" {
			hint = "rules know " + strings.Join(functionNames(), ", ") + ", and on a text " + strings.Join(methodNames(), ", ")
		}
		src.fail(e, "unknown function "+shorten(name), hint)
	}
}

// syntaxFault puts what CEL's parser says into words for people who write rules.
func syntaxFault(message, text string) (say, hint string) {
	message = strings.TrimPrefix(message, "Syntax error: ")
	message, _, _ = strings.Cut(message, " expecting ")
	_, token, _ := strings.Cut(message, "'")
	token = strings.TrimSuffix(token, "'")
	switch {
	case strings.TrimSpace(text) == "":
		return "the rule is empty", "write true for a rule that everybody matches"
	case strings.Contains(message, "<EOF>"):
		return "the rule ends too early", "something is missing after the last word, or a bracket is not closed"
	case strings.HasPrefix(message, "token recognition error"):
		return "unexpected " + shorten(strings.TrimSpace(token)), symbolHint(token)
	case strings.HasPrefix(message, "mismatched input"), strings.HasPrefix(message, "extraneous input"), strings.HasPrefix(message, "no viable alternative"):
		return "unexpected " + shorten(token), wordHint(token)
	case strings.Contains(message, "recursion"), strings.Contains(message, "nesting"):
		return "the rule is nested too deep", fmt.Sprintf("at most %d groups stand inside each other", MaxDepth)
	default:
		return "syntax: " + shorten(strings.ReplaceAll(message, "\n", " ")), ""
	}
}

func symbolHint(token string) string {
	switch strings.TrimSpace(token)[:min(1, len(strings.TrimSpace(token)))] {
	case "=":
		return "write == to compare"
	case "&":
		return "write && for and"
	case "|":
		return "write || for or"
	case `"`, "'":
		return "the text is not closed"
	default:
		return ""
	}
}

func wordHint(token string) string {
	switch strings.ToLower(token) {
	case "and":
		return "write && for and"
	case "or":
		return "write || for or"
	case "not":
		return "write ! for not"
	default:
		return ""
	}
}
