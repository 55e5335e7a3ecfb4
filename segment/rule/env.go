// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// Limits of a rule.
const (
	MaxRule    = 256 << 10 // bytes of text
	MaxDepth   = 16        // groups and negations inside each other
	MaxLeaves  = 200       // conditions
	MaxLits    = 10_000    // literals in lists, over the whole rule
	MaxPattern = 256       // bytes of a pattern for matches
	MaxEvents  = 64        // conditions on events
	MaxEvent   = 256       // bytes of the name of an event, a property, a seed or a segment
)

// parserDepth bounds how deep the parser descends: brackets, mostly.
const parserDepth = 100

// hasFunction is what has is to CEL, which reserves the plain name for its own
// macro. Ours also takes built-in names, and is type-checked like any function.
const hasFunction = "@has"

// newEnv declares the language of rules to CEL: what is not declared here does
// not exist, so the standard library is left out.
func newEnv(s *Schema) (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	options := []cel.EnvOption{
		cel.CustomTypeAdapter(registry),
		cel.CustomTypeProvider(&provider{Registry: registry, schema: s}),
		cel.EagerlyValidateDeclarations(true),
		cel.ParserRecursionLimit(parserDepth),
		cel.ParserExpressionSizeLimit(MaxRule),
		cel.ExpressionNodeLimit(4*MaxLits + 20*MaxLeaves),
		cel.Variable(contactScope, cel.ObjectType(contactScope)),
		cel.Variable(accountScope, cel.ObjectType(accountScope)),
		cel.Variable("now", cel.TimestampType),
		cel.Variable(propertyScope, cel.MapType(cel.StringType, cel.DynType)),
	}
	for slot := range firstAttribute {
		options = append(options, cel.Variable(s.names[slot], celType(s.types[slot])))
	}
	options = append(options, functions()...)
	return cel.NewCustomEnv(append(options, eventFunctions()...)...)
}

// celType is how CEL knows a type.
func celType(t Type) *cel.Type {
	switch t {
	case Text:
		return cel.StringType
	case Number:
		return cel.DoubleType
	case Boolean:
		return cel.BoolType
	case Time:
		return cel.TimestampType
	case List:
		return cel.ListType(cel.StringType)
	case Topics:
		return cel.MapType(cel.StringType, cel.DoubleType)
	default:
		return cel.NullType
	}
}

// functions declares operators and functions. CEL's evaluator never runs here,
// so they have types and no implementation.
func functions() []cel.EnvOption {
	text, number, boolean := cel.StringType, cel.DoubleType, cel.BoolType
	instant, span := cel.TimestampType, cel.DurationType
	list, topics := celType(List), celType(Topics)
	var out []cel.EnvOption
	declare := func(name string, result *cel.Type, signatures ...[]*cel.Type) {
		for _, args := range signatures {
			out = append(out, cel.Function(name, cel.Overload(overloadID(name, args), args, result)))
		}
	}
	pair := func(a, b *cel.Type) []*cel.Type { return []*cel.Type{a, b} }
	one := func(a *cel.Type) []*cel.Type { return []*cel.Type{a} }

	declare(operators.LogicalAnd, boolean, pair(boolean, boolean))
	declare(operators.LogicalOr, boolean, pair(boolean, boolean))
	declare(operators.LogicalNot, boolean, one(boolean))
	for _, name := range []string{operators.Equals, operators.NotEquals} {
		declare(name, boolean, pair(text, text), pair(number, number), pair(boolean, boolean), pair(instant, instant), pair(span, span))
	}
	for _, name := range []string{operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals} {
		declare(name, boolean, pair(text, text), pair(number, number), pair(instant, instant), pair(span, span))
	}
	declare(operators.In, boolean, pair(text, list), pair(number, cel.ListType(number)), pair(text, topics))
	declare(operators.Index, number, pair(topics, text))
	declare(operators.Add, instant, pair(instant, span), pair(span, instant))
	declare(operators.Subtract, instant, pair(instant, span))
	declare(operators.Subtract, span, pair(instant, instant), pair(span, span))
	declare(operators.Add, span, pair(span, span))
	declare("days", span, one(number))
	declare("hours", span, one(number))
	declare("duration", span, one(text))
	declare("timestamp", instant, one(text))
	declare(hasFunction, boolean, one(text), one(number), one(boolean), one(instant), one(list), one(topics))
	for _, name := range []string{"has_any", "has_all", "has_none"} {
		declare(name, boolean, pair(list, list))
	}
	for _, name := range []string{"startsWith", "endsWith", "contains", "matches"} {
		out = append(out, cel.Function(name, cel.MemberOverload(overloadID(name, pair(text, text)), pair(text, text), boolean)))
	}
	return out
}

// propertyScope is what the properties of an event are called in its filter.
const propertyScope = "property"

// eventFunctions declares what is asked of events, and of other contacts.
func eventFunctions() []cel.EnvOption {
	text, number, boolean := cel.StringType, cel.DoubleType, cel.BoolType
	instant, span, events := cel.TimestampType, cel.DurationType, cel.OpaqueType("events")
	var out []cel.EnvOption
	function := func(name string, result, arg *cel.Type) {
		out = append(out, cel.Function(name, cel.Overload(name, []*cel.Type{arg}, result)))
	}
	method := func(name string, result *cel.Type, args ...*cel.Type) {
		args = append([]*cel.Type{events}, args...)
		out = append(out, cel.Function(name, cel.MemberOverload(overloadID(name, args), args, result)))
	}
	function("events", events, text)
	function("segment", boolean, text)
	function("bucket", number, text)
	function("contacts", number, boolean)
	for _, name := range []string{"any_contact", "all_contacts", "no_contact"} {
		function(name, boolean, boolean)
	}
	method("within", events, span)
	method("between", events, span, span)
	method("where", events, boolean)
	for _, name := range []Function{Sum, Avg, Min, Max} {
		method(string(name), number, text)
	}
	method(string(Counting), number)
	method(string(DistinctDays), number)
	method(string(First), instant)
	method(string(Last), instant)
	return out
}

// overloadID names an overload by its argument types, as CEL wants each to have
// a name of its own.
func overloadID(name string, args []*cel.Type) string {
	var b strings.Builder
	b.WriteString(name)
	for _, a := range args {
		b.WriteByte('/')
		b.WriteString(a.String())
	}
	return b.String()
}

// provider tells CEL which attributes contact and account have.
type provider struct {
	*types.Registry
	schema *Schema
}

// FindStructType implements types.Provider.
func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if name == contactScope || name == accountScope {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return nil, false
}

// FindStructFieldType implements types.Provider.
func (p *provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	_, t, ok := p.schema.Slot(name + "." + field)
	if !ok {
		return nil, false
	}
	return &types.FieldType{Type: celType(t)}, true
}
