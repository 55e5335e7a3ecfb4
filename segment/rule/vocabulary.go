// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// methodNames are what is called on a text, then what is called on events.
func methodNames() []string { return slices.Concat(textMethods(), eventMethods()) }

func textMethods() []string { return []string{"startsWith", "endsWith", "contains", "matches"} }

func eventMethods() []string {
	return []string{"within", "between", "where", "count", "sum", "avg", "min", "max", "distinct_days", "first", "last"}
}

// contactNames are the functions about the contacts of an account.
func contactNames() []string {
	return []string{"any_contact", "all_contacts", "no_contact", "contacts"}
}

func functionNames() []string {
	others := []string{"has", "has_any", "has_all", "has_none", "days", "hours", "duration", "timestamp", "events", "segment", "bucket"}
	return append(others, contactNames()...)
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
			hint = "rules know " + strings.Join(functionNames(), ", ") + "; on a text " + strings.Join(textMethods(), ", ") +
				"; on events " + strings.Join(eventMethods(), ", ")
		}
		src.fail(e, "unknown function "+shorten(name), hint)
	}
}

// unfit says why a function cannot stand where it does; "" where it can.
func (src *source) unfit(name string) (text, hint string) {
	switch {
	case src.filter && (name == operators.Add || name == operators.Subtract):
		return "where does not calculate", "compare a property with a value written out"
	case src.filter && (slices.Contains(contactNames(), name) || slices.Contains([]string{"events", "segment", "bucket"}, name)):
		return name + " cannot stand in where", "where reads only properties of the event: property.x"
	case src.inner && slices.Contains(contactNames(), name):
		return name + " cannot stand inside another condition about contacts", "ask it of the whole rule, beside the other one"
	default:
		return "", ""
	}
}
