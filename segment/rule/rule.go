// SPDX-License-Identifier: Apache-2.0

// Package rule compiles and evaluates the rules of segments: CEL for people, a
// tree for machines, closures for speed. Start with [NewSchema], then
// [Schema.CompileSet], [Set.NewValues] and [Rule.Match].
//
//	contact.status == "trial" && events("Signed In").within(days(30)).count() >= 3
//
// It has no clock, no goroutine and no I/O; it does not know how contacts are
// stored or where tiers come from. What follows is the language; the operator's
// manual has it with examples, in segments.md.
//
// # Names
//
// A rule reads declared attributes, contact.x and account.x, and the built-in
// names:
//
//	tier                         text: of the contact
//	stage                        text: that of the first segment with one that the contact is in
//	score, fit, behaviour        number: scores; they fade as time goes on
//	account_score                number: of the account
//	role                         text: of the contact in the account
//	tags, lists                  list: of the contact
//	language, time_zone          text
//	source, import_batch         text: where the contact came from
//	consent_at, created_at, now  time
//
// Types are text, number, boolean, time, list (a set of texts) and topics
// (numbers by name). All numbers are doubles: 50 and 50.0 are the same.
//
// # Conditions
//
//	==  !=  <  <=  >  >=            text, number, time; == and != also boolean
//	contact.subscribed              a boolean stands alone
//	contact.country in ["DE", "AT"] also with numbers
//	"vip" in tags                   also "crm" in account.intent, for topics
//	has_any(tags, ["a", "b"])       has_all, has_none
//	account.intent["crm"] > 0.5     one topic; also account.intent.crm
//	account.sic.startsWith("73")    endsWith, contains, matches (RE2, not anchored)
//	has(contact.phone)              is there a value at all
//	segment("hot leads")            is the contact in that segment
//	bucket("test 7") < 0.1          a tenth of all contacts, always the same
//	&&  ||  !  ( )  true  false     && binds stronger than ||
//
// Either side may be an attribute (contact.country == account.country). Times
// are timestamp("2026-01-02"), timestamp("2026-01-02T15:04:05Z"), now, and any
// of them with a duration added or subtracted: days(7), hours(12),
// duration("90m"). A day is 24 hours. now - contact.x < days(30) works too.
//
// # Events
//
// events("Name") is what the contact did. It may be narrowed to a window and by
// a filter, and ends with what is made of it:
//
//	events("Order").count() >= 3                            ever
//	events("Order").within(days(30)).count() == 0           age below 30 days
//	events("Order").between(days(90), days(30)).count() > 0 30 days or older, below 90
//	events("Order").where(property.total > 100 && property.currency == "EUR").count() > 0
//
//	.count()  .distinct_days()  .sum("total")               0 where there is no event
//	.avg("total")  .min("total")  .max("total")             missing where there is none
//	.first()  .last()                                       times, missing where there is none
//
// An event of the future has not happened yet. Days are those of UTC. Of each
// kind of event that rules ask for, the 2,000 newest are kept one by one; older
// ones count only without a window, and not for distinct_days. So a count in a
// window is compared with less than 2,000. sum, avg, min and max look at events
// of which the property is a number.
//
// A filter reads property.x, property.a.b for what lies in an object, and
// property["any name"]. It compares with values written out, whose type says
// what the property must be: property.n > 1 is false where n is the text "2".
// Times may be texts as RFC 3339 writes them.
//
// # Accounts
//
// A rule that reads account.x, account_score, role, or asks about an account's
// contacts, is asked once for each account of the contact, and one yes is
// enough: all account.x of a rule speak of the same account. An event that was
// done for one account counts for that one only, others for all. A rule that
// reads nothing of accounts counts all events.
//
//	any_contact(role == "buyer" && tier == "active")  all_contacts, no_contact
//	contacts(role == "buyer") >= 3
//
// The condition speaks of each contact of the account in turn, the one whose
// segment it is included; one such condition cannot stand inside another.
//
// # Missing values
//
// A condition that reads a missing value is false, has(x) included. != is the
// complement of ==, has_none that of has_any, no_contact that of any_contact,
// and ! that of whatever follows: for every contact (and account) exactly one of
// r and !r is true. So contact.country != "DE" is true for a contact without a
// country; if that is not meant, add has(contact.country). A present but empty
// list is not missing; a topics value without the asked topic is.
//
// # Forms
//
// CEL parses and type-checks the text; the checked tree becomes a [Node], which
// is what is stored; [Node.Print] writes it as canonical text, which compiles to
// the same Node; evaluation runs closures made from the Node and allocates
// nothing. An [Evaluator] asks all rules of a set at once, and says the same. A
// rule knows what it reads ([Rule.Reads], [Set.Affected]), whether its answer
// depends on time ([Rule.TimeDependent]) and when time alone changes it
// ([Rule.NextChange]).
//
// Rules do not see events but what those leave behind: a [Series] for each
// [SeriesSpec], which rules share.
//
// # Safety
//
// Whatever is unknown, ill-typed or beyond a limit is an [*Error] with its
// place, never a rule that matches everybody; a nil [*Rule] matches nobody, and
// so does one that refers to a segment whose rule is broken, or to itself. Text
// and trees may come from people who are not trusted.
package rule

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"cel.dev/cel-go/common"
)

// Rule is a compiled rule. It is immutable and safe for concurrent use.
type Rule struct {
	match   predicate // what every evaluation reads stands together
	room    room
	tickers []ticker
	paired  bool

	set   *Set
	node  Node // of Where
	whole Node // with include and exclude
	text  string
	reads []string
	uses  uses
}

// room is how much of a [Values] the rule needs.
type room struct{ slots, series, counts, members int }

func (c *compiler) room() room {
	most := func(used []int) int {
		if len(used) == 0 {
			return 0
		}
		return slices.Max(used) + 1
	}
	return room{len(c.set.schema.names), most(c.uses.series), most(c.uses.counted), (most(c.uses.segments) + 63) / 64}
}

func (n *room) fits(v *Values) bool {
	return len(v.Slots) >= n.slots && len(v.Series) >= n.series && len(v.Counts) >= n.counts && len(v.Members) >= n.members
}

// Compile compiles CEL text, as a set of one rule: it cannot refer to segments,
// and its series are those of its own [Rule.Set]. An error is an [*Error], or several joined; see
// [Faults].
func (s *Schema) Compile(text string) (*Rule, error) {
	t := s.CompileSet([]Definition{{Where: text}})
	return t.Rule(0), t.Err(0)
}

// parse makes the tree of a text, and its canonical text.
func (s *Schema) parse(text string) (*parsed, error) {
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
	return &parsed{node, canonical, src.refs, src.stage}, nil
}

// parsed is a rule before it knows others.
type parsed struct {
	node  Node
	text  string
	refs  []reference
	stage common.Location // where it first reads the stage, nil = nowhere
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

// errNode is a tree that the checker let through and the compiler does not
// know: a fault of this package.
var errNode = errors.New("the rule cannot be compiled; please report it")

// Match reports whether the rule holds. It allocates nothing. A nil Rule and a
// Values that is too small for the schema match nothing.
func (r *Rule) Match(v *Values) bool {
	return r != nil && r.room.fits(v) && r.match(v)
}

// Node returns the tree of the text; the caller must not change what it points to.
func (r *Rule) Node() Node { return r.node }

// Text returns the canonical text.
func (r *Rule) Text() string { return r.text }

// Reads returns the names of the attributes and built-in names that the rule
// reads, sorted, without now.
func (r *Rule) Reads() []string { return slices.Clone(r.reads) }

// TimeDependent reports whether the answer can change although no value does:
// the rule reads now, events, or a score that may decay.
func (r *Rule) TimeDependent() bool { return len(r.tickers) > 0 }

// Set returns the set that the rule was compiled in.
func (r *Rule) Set() *Set { return r.set }

// Paired reports whether the rule reads account.x, account_score, role, or the
// contacts of an account: it is asked once for each of the contact's accounts,
// and the contact is in the segment when it holds for one. Without an account it
// is asked once with those values missing. A rule that is not paired counts the
// events of all accounts.
func (r *Rule) Paired() bool { return r != nil && r.paired }
