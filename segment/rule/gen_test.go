// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// at is the now of the tests.
func at() time.Time { return time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC) }

func testAttributes() []Attribute {
	return []Attribute{
		{"contact.status", Text},
		{"contact.country", Text},
		{"account.country", Text},
		{"account.industry", Text},
		{"contact.visits", Number},
		{"account.employees", Number},
		{"account.revenue", Number},
		{"contact.subscribed", Boolean},
		{"account.customer", Boolean},
		{"contact.trial_end", Time},
		{"contact.created", Time},
		{"account.renewal", Time},
		{"contact.tags", List},
		{"account.technologies", List},
		{"account.intent", Topics},
		{"contact.interests", Topics},
	}
}

func testSchema(t testing.TB) *Schema {
	t.Helper()
	s, err := NewSchema(testAttributes())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func compile(t testing.TB, s *Schema, text string) *Rule {
	t.Helper()
	r, err := s.Compile(text)
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return r
}

// texts, items and topics are small, so that random rules meet random values.
func texts() []string {
	return []string{"", "a", "A", "DE", "trial", "de\"\\", "ä\n\u2028", "trial end", "ab"}
}

func items() []string  { return []string{"a", "ab", "Salesforce", "Marketo", "x y", "ä"} }
func topics() []string { return []string{"crm", "erp", "e r", "in"} }
func numbers() []float64 {
	return []float64{-2.5, -1, 0, 0.5, 1, 2, 50, 51, 1000, 1e6, 9007199254740992, 1e21, 1.5e-7}
}

// generator draws rule texts. Every text it draws compiles.
type generator struct {
	t        *rapid.T
	events   bool     // also what is not asked of one contact's attributes alone
	inner    bool     // inside a condition about contacts
	segments []string // that rules may refer to
}

func pick[T any](g generator, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(g.t, label)
}

func (g generator) chance(percent int) bool {
	return rapid.IntRange(0, 99).Draw(g.t, "chance") < percent
}

func (g generator) rule(depth int) string {
	if depth == 0 || g.chance(30) {
		return g.leaf()
	}
	switch pick(g, "node", "and", "or", "not", "parens", "flat") {
	case "and":
		return "(" + g.rule(depth-1) + ") && (" + g.rule(depth-1) + ")"
	case "or":
		return g.rule(depth-1) + "||" + g.rule(depth-1)
	case "not":
		return "!(" + g.rule(depth-1) + ")"
	case "parens":
		return " ( " + g.rule(depth-1) + "\n)"
	default:
		parts := make([]string, rapid.IntRange(2, 6).Draw(g.t, "parts"))
		for i := range parts {
			parts[i] = g.leaf()
		}
		return strings.Join(parts, pick(g, "glue", " && ", " || "))
	}
}

func (g generator) leaf() string {
	if g.events && g.chance(60) {
		return g.eventLeaf()
	}
	op := pick(g, "op", "==", "!=", "<", "<=", ">", ">=")
	switch pick(g, "leaf", "text", "number", "boolean", "time", "in", "list", "method", "has", "const", "distance") {
	case "text":
		return g.sides(g.textAttr(), op, g.textAttr(), quoteAny(g, pick(g, "text", texts()...)))
	case "number":
		return g.sides(g.number(), op, g.number(), g.numberLiteral())
	case "boolean":
		attr := g.booleanAttr()
		if g.chance(50) {
			return pick(g, "not", "", "!", "!!") + attr
		}
		return g.sides(attr, pick(g, "op", "==", "!="), g.booleanAttr(), pick(g, "bool", "true", "false"))
	case "time":
		return g.sides(g.instant(g.timeAttr()), op, g.instant(g.timeAttr()), g.instant(pick(g, "time", "now", `timestamp("2026-06-15T12:00:00Z")`)))
	case "distance":
		a, b := g.instant(g.timeAttr()), g.instant(pick(g, "from", "now", g.timeAttr()))
		if g.chance(50) {
			a, b = b, a
		}
		if g.chance(50) {
			return a + " - (" + b + ") " + op + " " + g.span()
		}
		return g.span() + op + a + " - (" + b + ")"
	case "in":
		return g.in()
	case "list":
		return fmt.Sprintf("%s(%s, %s)", pick(g, "f", "has_any", "has_all", "has_none"), g.listAttr(), g.textList(items()))
	case "method":
		return g.method()
	case "has":
		return "has(" + pick(g, "attr", "contact.status", "account.employees", g.booleanAttr(), g.timeAttr(), g.listAttr(), "account.intent", "account.intent.crm") + ")"
	default:
		return pick(g, "const", "true", "false")
	}
}

// sides writes left op right, where right is an attribute or a literal, and
// sometimes the other way round.
func (g generator) sides(left, op, attr, literal string) string {
	right := literal
	if g.chance(25) {
		right = attr
	}
	if left == "score" && right == left {
		right = "50" // both change with time
	}
	if g.chance(25) {
		left, right = right, left
	}
	return left + pick(g, "blank", " ", "", "  ") + op + " " + right
}

func (g generator) textAttr() string {
	return pick(g, "attr", "contact.status", "contact.country", "account.country", "account.industry", "tier", "stage")
}

func (g generator) numberAttr() string {
	return pick(g, "attr", "contact.visits", "account.employees", "account.revenue", "score")
}

func (g generator) booleanAttr() string {
	return pick(g, "attr", "contact.subscribed", "account.customer")
}

func (g generator) timeAttr() string {
	return pick(g, "attr", "contact.trial_end", "contact.created", "account.renewal")
}

func (g generator) listAttr() string { return pick(g, "attr", "contact.tags", "account.technologies") }

func (g generator) topicAttr() string {
	return pick(g, "attr", "account.intent", "contact.interests")
}

func (g generator) number() string {
	return pick(g, "number", g.numberAttr(), g.topicAttr()+".crm", g.topicAttr()+"["+quoteAny(g, pick(g, "topic", topics()...))+"]")
}

func (g generator) numberLiteral() string {
	n := pick(g, "number", numbers()...)
	if g.chance(30) {
		return fmt.Sprint(n)
	}
	return formatNumber(n)
}

func (g generator) span() string {
	return pick(g, "span", "days(7)", "days(0.5)", "hours(36)", "days(-7)", `duration("90m")`, `duration("168h")`, "days(0)")
}

func (g generator) instant(base string) string {
	for g.chance(40) {
		base = pick(g, "shift", base+" + "+g.span(), base+"- "+g.span(), g.span()+" + "+base)
	}
	return base
}

func (g generator) textList(from []string) string {
	parts := make([]string, rapid.IntRange(1, 12).Draw(g.t, "items"))
	for i := range parts {
		parts[i] = quoteAny(g, pick(g, "item", from...))
	}
	return "[" + strings.Join(parts, ",") + "]"
}

func (g generator) in() string {
	switch pick(g, "in", "texts", "numbers", "list", "topics", "attr") {
	case "texts":
		attr := pick(g, "attr", "contact.status", "contact.country", "stage")
		return attr + " in " + g.textList(texts())
	case "numbers":
		parts := make([]string, rapid.IntRange(1, 5).Draw(g.t, "items"))
		for i := range parts {
			parts[i] = g.numberLiteral()
		}
		return g.number() + " in [" + strings.Join(parts, ", ") + "]"
	case "list":
		return quoteAny(g, pick(g, "item", items()...)) + " in " + g.listAttr()
	case "topics":
		return quoteAny(g, pick(g, "topic", topics()...)) + " in " + g.topicAttr()
	default:
		return "contact.status in " + pick(g, "of", g.listAttr(), g.topicAttr())
	}
}

func (g generator) method() string {
	name := pick(g, "method", "startsWith", "endsWith", "contains", "matches")
	arg := quoteAny(g, pick(g, "arg", texts()...))
	if name == "matches" {
		arg = quote(pick(g, "pattern", "^a", "a$", "tr.al", "(?i)de", "[[:upper:]]+", ""))
	} else if g.chance(25) {
		arg = pick(g, "attr", "contact.status", "account.country")
	}
	return g.textAttr() + "." + name + "(" + arg + ")"
}

// quoteAny writes a text in one of CEL's ways.
func quoteAny(g generator, s string) string {
	if g.chance(30) && !strings.ContainsAny(s, "\"\\\n'") {
		return "'" + s + "'"
	}
	return quote(s)
}

// tierFix removes what random texts get wrong about tier, which knows only six
// names and no order.
func tierFix(text string) string {
	return strings.ReplaceAll(text, "tier", "stage")
}

// values draws a contact; percent of its values are missing.
func (g generator) values(s *Schema, percent int) *Values {
	v := s.NewValues()
	v.Now = at()
	for slot := range s.Len() {
		_, t, _ := s.Slot(s.Name(slot))
		if !g.chance(percent) {
			v.Slots[slot] = g.value(t, percent)
		}
	}
	return v
}

func (g generator) value(t Type, percent int) Value {
	switch t {
	case Text:
		return TextValue(pick(g, "text", texts()...))
	case Number:
		return NumberValue(pick(g, "number", numbers()...))
	case Boolean:
		return BooleanValue(g.chance(50))
	case Time:
		days := rapid.IntRange(-16, 16).Draw(g.t, "half days")
		off := rapid.IntRange(-1, 1).Draw(g.t, "microseconds")
		return TimeValue(at().Add(time.Duration(days)*12*time.Hour + time.Duration(off)*time.Microsecond))
	case List:
		list := rapid.SliceOfN(rapid.SampledFrom(items()), 0, 4).Draw(g.t, "list")
		for i := range rapid.IntRange(0, 1).Draw(g.t, "long") * (few + 2) {
			list = append(list, fmt.Sprint("filler", i)) // long enough for a binary search
		}
		return ListValue(list...)
	default:
		scores := make(map[string]float64)
		for _, topic := range topics() {
			if !g.chance(percent) {
				scores[topic] = pick(g, "score", numbers()...)
			}
		}
		return TopicsValue(scores)
	}
}
