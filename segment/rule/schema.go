// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
)

// Type is the type of an attribute, or of a [Value].
type Type uint8

// The types. Their numbers are stored; new ones go to the end.
const (
	Missing Type = iota // no value
	Text                // UTF-8
	Number              // IEEE double, finite
	Boolean
	Time   // microseconds, UTC, years 1 to 9999
	List   // set of texts
	Topics // text -> number
)

// String is the name that configuration uses.
func (t Type) String() string {
	switch t {
	case Missing:
		return "missing"
	case Text:
		return "text"
	case Number:
		return "number"
	case Boolean:
		return "boolean"
	case Time:
		return "time"
	case List:
		return "list"
	case Topics:
		return "topics"
	default:
		return fmt.Sprintf("type(%d)", uint8(t))
	}
}

// ParseType returns the type that configuration names.
func ParseType(name string) (Type, error) {
	for t := Text; t <= Topics; t++ {
		if t.String() == name {
			return t, nil
		}
	}
	return Missing, fmt.Errorf("unknown type %q (use text, number, boolean, time, list or topics)", name)
}

// Attribute declares one attribute: "contact.x" or "account.x" and its type.
type Attribute struct {
	Name string
	Type Type
}

// Slots of the built-in names. They come first in [Values.Slots]. Each is
// missing until something sets it.
const (
	SlotTier         = iota // text: the contact's tier
	SlotScore               // number: fit and behaviour together
	SlotStage               // text: the contact's stage in the funnel
	SlotFit                 // number: how well the contact fits
	SlotBehaviour           // number: how active it is
	SlotAccountScore        // number: of the pair's account
	SlotRole                // text: of the contact in the pair's account
	SlotTags                // list
	SlotLists               // list: the lists the contact is in
	SlotLanguage            // text
	SlotTimeZone            // text
	SlotSource              // text: where the contact came from
	SlotImportBatch         // text
	SlotConsentAt           // time
	SlotCreatedAt           // time
	firstAttribute
)

// builtins are the names of the slots above, in their order.
func builtins() []Attribute {
	return []Attribute{
		{"tier", Text},
		{"score", Number},
		{"stage", Text},
		{"fit", Number},
		{"behaviour", Number},
		{"account_score", Number},
		{"role", Text},
		{"tags", List},
		{"lists", List},
		{"language", Text},
		{"time_zone", Text},
		{"source", Text},
		{"import_batch", Text},
		{"consent_at", Time},
		{"created_at", Time},
	}
}

// Limits of a [Schema].
const (
	MaxAttributes = 1024
	MaxName       = 64 // bytes of an attribute's name after its dot
)

// Schema is the set of names that rules may read, each with its type and its
// slot. It is immutable and safe for concurrent use. Slots are numbers of one
// Schema in one process: what is stored goes by name.
type Schema struct {
	names []string // by slot
	types []Type   // by slot
	slots map[string]int
	env   *cel.Env
}

// NewSchema checks the declarations, reports every bad one, and assigns slots in
// the order given, after the built-in names.
func NewSchema(attributes []Attribute) (*Schema, error) {
	s := &Schema{slots: make(map[string]int)}
	for _, b := range builtins() {
		s.add(b)
	}
	var errs []error
	if len(attributes) > MaxAttributes {
		return nil, fmt.Errorf("%d attributes are declared, at most %d are possible", len(attributes), MaxAttributes)
	}
	for _, a := range attributes {
		if err := checkName(a.Name); err != nil {
			errs = append(errs, err)
			continue
		}
		if a.Type < Text || a.Type > Topics {
			errs = append(errs, fmt.Errorf("attribute %s has no type (use text, number, boolean, time, list or topics)", a.Name))
			continue
		}
		if _, twice := s.slots[a.Name]; twice {
			errs = append(errs, fmt.Errorf("attribute %s is declared twice", a.Name))
			continue
		}
		s.add(a)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	env, err := newEnv(s)
	if err != nil {
		return nil, fmt.Errorf("declaring attributes to CEL: %w", err)
	}
	s.env = env
	return s, nil
}

func (s *Schema) add(a Attribute) {
	s.slots[a.Name] = len(s.names)
	s.names = append(s.names, a.Name)
	s.types = append(s.types, a.Type)
}

// checkName reports why a name cannot be declared.
func checkName(name string) error {
	scope, field, ok := strings.Cut(name, ".")
	if !ok || scope != contactScope && scope != accountScope {
		return fmt.Errorf("attribute %q must be named contact.x or account.x", name)
	}
	if !isIdentifier(field) || len(field) > MaxName {
		return fmt.Errorf("attribute %q: after the dot come 1 to %d letters, digits and underscores, no digit first", name, MaxName)
	}
	if isWord(field) {
		return fmt.Errorf("attribute %q: %s is a word of the language", name, field)
	}
	return nil
}

// isWord reports whether CEL takes a name for something else, even after a dot.
func isWord(name string) bool {
	return name == "true" || name == "false" || name == "null" || name == "in"
}

func isIdentifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// Slot returns where a name's value stands in [Values.Slots], and its type;
// false for a name that is not declared.
func (s *Schema) Slot(name string) (int, Type, bool) {
	slot, ok := s.slots[name]
	if !ok {
		return 0, Missing, false
	}
	return slot, s.types[slot], true
}

// Len is the number of slots, built-in names included.
func (s *Schema) Len() int { return len(s.names) }

// Name returns the name of a slot.
func (s *Schema) Name(slot int) string { return s.names[slot] }

// Attributes returns the declarations sorted by name, without built-in names.
func (s *Schema) Attributes() []Attribute {
	out := make([]Attribute, 0, s.Len()-firstAttribute)
	for slot := firstAttribute; slot < s.Len(); slot++ {
		out = append(out, Attribute{s.names[slot], s.types[slot]})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Values is what one evaluation sees: a contact, one of its accounts (the pair),
// and the instant. Reuse it between contacts: [Values.Clear], fill, match. Times
// compare at the microsecond, so Now is cut to it.
//
// A score whose Decay has a half-life is what that says for Now; one without is
// what its slot says.
type Values struct {
	Slots   []Value
	Now     time.Time
	Contact uint64        // for bucket
	Account uint64        // of the pair, 0 = none
	Series  []Series      // by number of [Set.Series]
	Members Bits          // by number of the rule: the segments the contact is in
	Counts  []Count       // by number of [Set.Counted], of the pair's account
	Decays  [decays]Decay // DecayScore and so on
}

// NewValues returns a Values for rules that stand alone, in which everything is
// missing; [Set.NewValues] is for those of a [Set].
func (s *Schema) NewValues() *Values { return &Values{Slots: make([]Value, s.Len())} }

// Clear makes everything missing; Now stays.
func (v *Values) Clear() {
	clear(v.Slots)
	v.clear()
}

// ClearSlots is Clear for who sets no other slots.
func (v *Values) ClearSlots(slots []int) {
	for _, slot := range slots {
		v.Slots[slot] = Value{}
	}
	v.clear()
}

func (v *Values) clear() {
	for i := range v.Series {
		v.Series[i].Reset()
	}
	clear(v.Members)
	clear(v.Counts)
	v.Contact, v.Account, v.Decays = 0, 0, [decays]Decay{}
}

// SetTier sets the built-in tier, by name.
func (v *Values) SetTier(name string) { v.Slots[SlotTier] = TextValue(name) }

// Set sets a named value, and reports false where the name is not declared or
// the value is of another type.
func (s *Schema) Set(v *Values, name string, value Value) bool {
	slot, t, ok := s.Slot(name)
	if !ok || value.Type() != t && value.Type() != Missing {
		return false
	}
	v.Slots[slot] = value
	return true
}
