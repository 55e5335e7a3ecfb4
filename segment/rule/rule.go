// SPDX-License-Identifier: Apache-2.0

// Package rule compiles and evaluates the rules of segments: CEL for people, a
// tree for machines, closures for speed. Start with [NewSchema], then
// [Schema.Compile] and [Rule.Match].
//
//	contact.status == "trial" && account.employees > 50
//
// It has no clock, no goroutine and no I/O; it does not know how contacts are
// stored or where tiers come from. What follows is the language.
//
// # Names
//
// A rule reads declared attributes, contact.x and account.x, and the built-in
// names tier (text), score (number), stage (text) and now (time). Types are
// text, number, boolean, time, list (a set of texts) and topics (numbers by
// name). All numbers are doubles: 50 and 50.0 are the same.
//
// # Conditions
//
//	==  !=  <  <=  >  >=            text, number, time; == and != also boolean
//	contact.subscribed              a boolean stands alone
//	contact.country in ["DE", "AT"] also with numbers
//	"vip" in contact.tags           also "crm" in account.intent, for topics
//	has_any(contact.tags, ["a"])    has_all, has_none
//	account.intent["crm"] > 0.5     one topic; also account.intent.crm
//	contact.name.startsWith("A")    endsWith, contains, matches (RE2, not anchored)
//	has(contact.phone)              is there a value at all
//	&&  ||  !  ( )  true  false     && binds stronger than ||
//
// Either side may be an attribute (contact.country == account.country). Times
// are timestamp("2026-01-02"), timestamp("2026-01-02T15:04:05Z"), now, and any
// of them with a duration added or subtracted: days(7), hours(12),
// duration("90m"). A day is 24 hours. now - contact.x < days(30) works too.
//
// # Missing values
//
// A condition that reads a missing value is false, has(x) included. != is the
// complement of ==, has_none that of has_any, and ! that of whatever follows:
// for every contact exactly one of r and !r is true. So contact.country !=
// "DE" is true for a contact without a country; if that is not meant, add
// has(contact.country). A present but empty list is not missing; a topics value
// without the asked topic is.
//
// # Forms
//
// CEL parses and type-checks the text; the checked tree becomes a [Node], which
// is what is stored; [Node.Print] writes it as canonical text, which compiles to
// the same Node; evaluation runs closures made from the Node and allocates
// nothing. A rule knows what it reads ([Rule.Reads]), whether its answer depends
// on time ([Rule.TimeDependent]) and when time alone changes it
// ([Rule.NextChange]).
//
// # Safety
//
// Whatever is unknown, ill-typed or beyond a limit is an [*Error] with its
// place, never a rule that matches everybody; a nil [*Rule] matches nobody.
// Text and trees may come from people who are not trusted.
package rule

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Rule is a compiled rule. It is immutable and safe for concurrent use.
type Rule struct {
	schema *Schema
	node   Node
	text   string
	match  predicate
	reads  []string
	time   bool
}

// Compile compiles CEL text. An error is an [*Error], or several joined; see
// [Faults].
func (s *Schema) Compile(text string) (*Rule, error) {
	if len(text) > MaxRule {
		return nil, &Error{Line: 1, Column: 1, Text: fmt.Sprintf("the rule has %d bytes, at most %d are possible", len(text), MaxRule)}
	}
	if !utf8.ValidString(text) {
		return nil, &Error{Line: 1, Column: 1, Text: "the rule is not UTF-8"}
	}
	src := s.analyze(text)
	var node Node
	if len(src.faults) == 0 {
		node = src.condition(src.tree.Expr())
	}
	if len(src.faults) > 0 {
		return nil, join(src.faults)
	}
	canonical, err := node.Print()
	if err != nil {
		return nil, &Error{Line: 1, Column: 1, Text: err.Error()}
	}
	return s.build(node, canonical)
}

// CompileNode compiles a stored tree. It goes through the text, so that one
// check decides about both; places in an error are those of [Node.Print].
func (s *Schema) CompileNode(n Node) (*Rule, error) {
	text, err := n.Print()
	if err != nil {
		return nil, &Error{Text: err.Error()}
	}
	return s.Compile(text)
}

// build makes the rule of a checked tree.
func (s *Schema) build(n Node, text string) (*Rule, error) {
	c := compiler{schema: s, reads: make(map[string]bool)}
	r := &Rule{schema: s, node: n, text: text, match: c.node(n)}
	if c.err != nil {
		return nil, &Error{Text: c.err.Error()}
	}
	for name := range c.reads {
		r.reads = append(r.reads, name)
	}
	slices.Sort(r.reads)
	r.time = c.time
	return r, nil
}

// errNode is a tree that the checker let through and the compiler does not
// know: a fault of this package.
var errNode = errors.New("the rule cannot be compiled; please report it")

// Match reports whether the rule holds. It allocates nothing. A nil Rule and a
// Values that is too small for the schema match nothing.
func (r *Rule) Match(v *Values) bool {
	return r != nil && len(v.Slots) >= len(r.schema.names) && r.match(v)
}

// Node returns the tree; the caller must not change what it points to.
func (r *Rule) Node() Node { return r.node }

// Text returns the canonical text.
func (r *Rule) Text() string { return r.text }

// Reads returns the names of the attributes and built-in names that the rule
// reads, sorted, without now.
func (r *Rule) Reads() []string { return slices.Clone(r.reads) }

// TimeDependent reports whether the rule reads now, so that its answer can
// change although no value does.
func (r *Rule) TimeDependent() bool { return r.time }
