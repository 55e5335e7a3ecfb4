// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
	"slices"
	"strings"
)

// typeFault puts what CEL's checker says into words for people who write
// rules. Only its message is left of the types by then.
func typeFault(message string) (say, hint string) {
	if strings.Contains(message, "node count exceeds") {
		return "the rule is too big", fmt.Sprintf("at most %d conditions and %d literals in lists are possible", MaxLeaves, MaxLits)
	}
	if wanted, ok := strings.CutPrefix(message, "expected type 'bool' but found '"); ok {
		return notCondition(typeName(strings.TrimSuffix(wanted, "'")))
	}
	if of, ok := strings.CutPrefix(message, "type '"); ok && strings.Contains(of, "field selection") {
		of, _, _ = strings.Cut(of, "'")
		return fmt.Sprintf("%s has no parts", article(typeName(of))), ""
	}
	rest, ok := strings.CutPrefix(message, "found no matching overload for '")
	name, args, found := strings.Cut(rest, "' applied to '")
	if !ok || !found {
		return "types do not fit: " + shorten(message), ""
	}
	args = strings.TrimSuffix(args, "'")
	target, args, method := strings.Cut(args, ".(")
	if !method {
		args = strings.TrimPrefix(target, "(")
	}
	if plainName(name) == "!" {
		return notCondition(typeName(strings.TrimSuffix(args, ")")))
	}
	list := splitTypes(strings.TrimSuffix(args, ")"))
	if method {
		return methodFault(name, target, list)
	}
	if len(list) == 2 {
		if say, hint := pairFault(plainName(name), list[0], list[1]); say != "" {
			return say, hint
		}
	}
	return fmt.Sprintf("%s does not take (%s)", plainName(name), typeNames(list)), functionHint(plainName(name))
}

// notCondition speaks of a value that stands where a condition must.
func notCondition(t string) (say, hint string) {
	if t == "events" {
		return "events are not a condition", eventsHint()
	}
	return article(t) + " is not a condition", "compare it with something"
}

func methodFault(name, target string, args []string) (say, hint string) {
	target = typeName(target)
	if slices.Contains(eventMethods(), name) {
		if target != "events" {
			return fmt.Sprintf("%s works on events, not on %s", name, article(target)), methodHint(name)
		}
		return fmt.Sprintf("%s does not take (%s)", name, typeNames(args)), methodHint(name)
	}
	if target != "text" {
		hint = ""
		switch {
		case target == "list" && name == "contains":
			hint = `write "x" in contact.list`
		case target == "events":
			hint = eventsHint()
		case target == "topics":
			hint = `write "x" in account.topics`
		}
		return fmt.Sprintf("%s works on a text, not on %s", name, article(target)), hint
	}
	return fmt.Sprintf("%s takes one text, not (%s)", name, typeNames(args)), `write contact.x.` + name + `("...")`
}

// pairFault speaks of operators with two sides; "" for anything else.
func pairFault(op, a, b string) (say, hint string) {
	left, right := typeName(a), typeName(b)
	switch op {
	case "==", "!=", "<", "<=", ">", ">=":
		if left == right {
			return fmt.Sprintf("%s does not compare %s with %s", op, article(left), article(right)), sameTypeHint(left)
		}
		return fmt.Sprintf("cannot compare %s with %s", article(left), article(right)), compareHint(left, right)
	case "&&", "||":
		return fmt.Sprintf("%s stands between two conditions, here between %s and %s", op, article(left), article(right)), "compare a value with something to make it a condition"
	case "in":
		if right == "text" {
			return "in does not search a text", `write contact.x.contains("...")`
		}
		return fmt.Sprintf("%s cannot be in %s", article(left), article(right)), `write contact.x in ["a", "b"], or "a" in contact.list`
	case "[_]":
		return fmt.Sprintf("%s cannot be indexed by %s", article(left), article(right)), `only topics can: account.topics["x"]; for a list write "x" in contact.list`
	case "+", "-":
		if left == "number" || right == "number" {
			return "rules do not calculate with numbers", "with times, write days(7) or hours(12); else import the result as an attribute of its own"
		}
		return fmt.Sprintf("%s and %s cannot be added or subtracted", article(left), article(right)), "only times can: now - days(30)"
	default:
		return "", ""
	}
}

func sameTypeHint(t string) string {
	switch t {
	case "list":
		return "use has_any, has_all, has_none or in"
	case "topics":
		return `compare one topic: account.topics["x"] > 0.5`
	case "boolean":
		return "use == or !="
	default:
		return ""
	}
}

func compareHint(a, b string) string {
	either := func(t string) bool { return a == t || b == t }
	switch {
	case either("events"):
		return eventsHint()
	case either("list"):
		return `write "x" in contact.list, or use has_any, has_all, has_none`
	case either("topics"):
		return `compare one topic: account.topics["x"] > 0.5`
	case either("time") && either("text"):
		return `write timestamp("2026-01-02")`
	case either("time") && either("duration"):
		return "write now - days(30) for an instant"
	case either("duration"):
		return "write days(7) or hours(12) for a duration"
	case either("number") && either("text"):
		return "a text stands in quotes, a number does not"
	case either("boolean"):
		return "a boolean is compared with true or false, or stands alone"
	default:
		return ""
	}
}

func functionHint(name string) string {
	switch name {
	case "days", "hours":
		return "write " + name + "(7)"
	case "has":
		return "write has(contact.x)"
	case "duration":
		return `write duration("36h")`
	case "timestamp":
		return `write timestamp("2026-01-02")`
	case "has_any", "has_all", "has_none":
		return "write " + name + `(contact.list, ["a", "b"])`
	case "events":
		return eventsHint()
	case "segment":
		return `write segment("the name of one")`
	case "bucket":
		return `write bucket("a word") < 0.1 for a tenth of the contacts`
	case "contacts":
		return `write contacts(role == "buyer") >= 3`
	case "any_contact", "all_contacts", "no_contact":
		return "write " + name + `(role == "buyer")`
	case "sum", "avg", "min", "max":
		return methodHint(name)
	default:
		return ""
	}
}

func eventsHint() string { return `count them: events("Signed In").within(days(30)).count() >= 3` }

// methodHint shows how a method is written.
func methodHint(name string) string {
	switch name {
	case "within":
		return `write events("x").within(days(30)).count()`
	case "between":
		return `write events("x").between(days(90), days(30)).count(), the older age first`
	case "where":
		return `write events("x").where(property.y > 1).count()`
	case "sum", "avg", "min", "max":
		return `write events("x").` + name + `("property")`
	case "count", "distinct_days", "first", "last":
		return `write events("x").` + name + "()"
	default:
		return `write contact.x.` + name + `("...")`
	}
}

// splitTypes splits CEL's list of types at the commas outside of brackets.
func splitTypes(list string) []string {
	var out []string
	depth, from := 0, 0
	for i := range len(list) {
		switch list[i] {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				out = append(out, strings.TrimSpace(list[from:i]))
				from = i + 1
			}
		}
	}
	if last := strings.TrimSpace(list[from:]); last != "" {
		out = append(out, last)
	}
	return out
}

func typeNames(list []string) string {
	names := make([]string, len(list))
	for i, t := range list {
		names[i] = typeName(t)
	}
	return strings.Join(names, ", ")
}

// article puts a type into a sentence.
func article(t string) string {
	if t == "topics" || t == "events" || t == "properties" {
		return t
	}
	return "a " + t
}

// typeName is our word for a type of CEL.
func typeName(t string) string {
	switch {
	case t == "string":
		return "text"
	case t == "double", t == "int", t == "uint":
		return "number"
	case t == "bool":
		return "boolean"
	case strings.HasSuffix(t, "imestamp"):
		return "time"
	case strings.HasSuffix(t, "uration"):
		return "duration"
	case t == "list(double)":
		return "list of numbers"
	case strings.HasPrefix(t, "list("):
		return "list"
	case t == "map(string, dyn)":
		return "properties"
	case t == "dyn": // only properties are
		return "property"
	case strings.HasPrefix(t, "map("):
		return "topics"
	default:
		return t
	}
}
