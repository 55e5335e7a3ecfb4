// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// history gives a contact events: each "name days ago", with properties a=1.
func history(t testing.TB, set *Set, v *Values, events ...string) {
	t.Helper()
	for i, text := range events {
		var e Event
		var ago int
		var a float64
		if _, err := fmt.Sscanf(text, "%s %d %f", &e.Name, &ago, &a); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		e.Time, e.Message, e.Properties = v.Now.Add(-time.Duration(ago)*day).UnixMicro(), fmt.Sprint(i), map[string]Value{"a": NumberValue(a)}
		for k := range set.Series() {
			if x, ok := set.Series()[k].Entry(&e); ok {
				v.Series[k].Add(x)
			}
		}
	}
}

func TestExplainEvents(t *testing.T) {
	s := testSchema(t)
	set := s.CompileSet([]Definition{
		{Name: "active", Where: `events("In").within(days(30)).count() >= 3`},
		{
			Name: "hot", Include: []string{"beta"}, Exclude: []string{"staff"},
			Where: `segment("active") && !(events("Order").where(property.a > 1).avg("a") < 5) && now - events("In").last() < days(7) && score > 20 && any_contact(role == "buyer") && contacts(tier == "new") < 2`,
		},
	})
	v := set.NewValues()
	v.Now = at()
	history(t, set, v, "In 1 0", "In 2 0", "In 29 0", "In 30 0", "Order 3 1")
	v.Decays[DecayScore] = Decay{Base: 5, Value: 40, At: at().Add(-day).UnixMicro(), HalfLife: day, Max: 50}
	v.Counts[0], v.Counts[1] = Count{1, 3}, Count{3, 3}
	s.Set(v, "lists", ListValue("beta"))
	v.Members.Set(0, set.Rule(0).Match(v))
	if !set.Rule(1).Match(v) {
		t.Error("whoever is in an included list is in the segment")
	}
	var got []string
	for i := range set.Len() {
		for _, c := range set.Rule(i).Explain(v) {
			got = append(got, c.String())
		}
	}
	want := strings.TrimSpace(`
events("In").within(days(30)).count() >= 3  [events("In").within(days(30)).count() = 3]  true
    segment("active")  [segment("active") = true]  true
    not events("Order").where(property.a > 1).avg("a") < 5  [events("Order").where(property.a > 1).avg("a") = missing]  false
    events("In").last() > now - days(7)  [events("In").last() = 2026-06-14T12:00:00Z, now - days(7) = 2026-06-08T12:00:00Z]  true
    score > 20  [score = 25]  true
    any_contact(role == "buyer")  [contacts(role == "buyer") = 1]  true
    contacts(tier == "new") < 2  [contacts(tier == "new") = 3]  false
  "beta" in lists  [lists = beta]  true
not "staff" in lists  [lists = beta]  false`)
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	s.Set(v, "lists", ListValue("beta", "staff"))
	if set.Rule(1).Match(v) {
		t.Error("whoever is in an excluded list is not in the segment")
	}
	v.Series = nil
	if set.Rule(0).Match(v) || set.Rule(0).Explain(v) != nil {
		t.Error("values of another set must match nothing")
	}
}

// The instants by hand, for every kind of condition that time changes.
func TestNextChangeOfEvents(t *testing.T) {
	micro := func(days, more int) string {
		return at().Add(time.Duration(days)*day + time.Duration(more)*time.Microsecond).Format(time.RFC3339Nano)
	}
	for _, tt := range []struct{ text, events, want string }{
		{`events("A").within(days(30)).count() >= 3`, "A 1 0,A 2 0,A 29 0", micro(1, 0)}, // the oldest leaves
		{`events("A").within(days(30)).count() >= 3`, "A 1 0,A 2 0", "never"},
		{`events("A").within(days(30)).count() == 1`, "A 1 0,A 2 0", micro(28, 0)},
		{`events("A").within(days(30)).count() == 0`, "A 1 0,A 10 0", micro(29, 0)}, // silence
		{`events("A").between(days(30), days(5)).count() > 0`, "A 1 0", micro(4, 0)},
		{`events("A").between(days(30), days(5)).count() > 0`, "A 6 0", micro(24, 0)},
		{`events("A").count() > 1`, "A 1 0,A -2 0", micro(2, 0)}, // from a clock that is ahead
		{`events("A").within(days(3)).sum("a") > 5`, "A 1 2,A 2 4", micro(1, 0)},
		{`events("A").within(days(3)).avg("a") > 5`, "A 1 9,A 2 0", micro(1, 0)},
		{`events("A").within(days(3)).max("a") > 5`, "A 1 2,A 2 9", micro(1, 0)},
		{`events("A").within(days(3)).min("a") > 5`, "A 1 9,A 2 3", micro(1, 0)},
		{`has(events("A").within(days(3)).min("a"))`, "A 1 9,A 2 3", micro(2, 0)},
		{`events("A").within(days(3)).distinct_days() >= 2`, "A 1 0,A 1 0,A 2 0", micro(1, 0)},
		{`now - events("A").last() < days(7)`, "A 1 0,A 2 0", micro(6, 0)},
		{`now - events("A").first() <= days(7)`, "A 1 0,A 2 0", micro(5, 1)},
		{`events("A").within(days(3)).first() < timestamp("2026-06-14")`, "A 1 0,A 2 0", micro(1, 0)},
		{`events("A").count() > 0 && events("B").count() > 0`, "A 1 0", "never"},
		{`events("A").within(days(3)).count() > events("A").between(days(6), days(3)).count()`, "A 1 0", micro(2, 0)},
		{`score > 20`, "", micro(1, 0)},
		{`score < 20`, "", micro(1, 1)},
		{`score <= contact.visits`, "", micro(1, 0)},
		{`score in [10, 20]`, "", micro(1, 0)},
	} {
		set := testSchema(t).CompileSet([]Definition{{Where: tt.text}})
		if set.Err(0) != nil {
			t.Fatal(set.Err(0))
		}
		v := set.NewValues()
		v.Now = at()
		v.Decays[DecayScore] = Decay{Value: 40, At: at().UnixMicro(), HalfLife: day, Max: 50}
		set.schema.Set(v, "contact.visits", NumberValue(20))
		if tt.events != "" {
			history(t, set, v, strings.Split(tt.events, ",")...)
		}
		got := "never"
		if change, ok := set.Rule(0).NextChange(v); ok {
			got = change.Format(time.RFC3339Nano)
		}
		if got != tt.want {
			t.Errorf("%s changes %s, want %s", tt.text, got, tt.want)
		}
	}
}

// Where a rule speaks of one account, events of others enter and leave without
// changing anything.
func TestNextChangeOfAPair(t *testing.T) {
	set := testSchema(t).CompileSet([]Definition{{Where: `role != "x" && events("A").within(days(30)).count() >= 2`}})
	v := set.NewValues()
	v.Now, v.Account = at(), 1
	add := func(ago int, account uint64) {
		v.Series[0].Add(Entry{Time: at().Add(-time.Duration(ago) * day).UnixMicro(), Hash: uint32(ago), Account: account})
	}
	for _, ago := range []int{29, 28, 5} {
		add(ago, 2) // another account's
	}
	add(10, 1)
	add(20, 0)
	change := func() string {
		next, ok := set.Rule(0).NextChange(v)
		if !ok {
			return "never"
		}
		return fmt.Sprint(set.Rule(0).Match(v), " for ", next.Sub(at()))
	}
	if got := change(); got != "true for 240h0m0s" {
		t.Errorf("two events of the account: %s", got)
	}
	v.Account = 3
	if got := change(); got != "never" {
		t.Errorf("one event of no account: %s", got)
	}
	add(-1, 2)
	add(-2, 3)
	if got := change(); got != "false for 48h0m0s" {
		t.Errorf("with an event that is to come: %s", got)
	}
}

func TestAffected(t *testing.T) {
	s := testSchema(t)
	names := []string{"top", "visits", "events", "both", "committee", "time", "staff", "lone"}
	defs := []Definition{
		{Name: "top", Where: `segment("both") && contact.subscribed`},
		{Name: "visits", Where: `contact.visits > 1`},
		{Name: "events", Where: `events("A").count() > 1`},
		{Name: "both", Where: `segment("visits") || segment("events")`},
		{Name: "committee", Where: `any_contact(segment("events") && role == "x" && events("B").count() > 1)`},
		{Name: "time", Where: `contact.created < now`},
		{Name: "staff", Where: `account.employees > 1`, Exclude: []string{"staff"}},
		{Name: "lone", Where: `stage == "x"`},
	}
	set := s.CompileSet(defs)
	slot := func(name string) []int { n, _, _ := s.Slot(name); return []int{n} }
	number := func(name string) int { return slices.Index(names, name) }
	for _, tt := range []struct {
		name   string
		change Change
		want   string
	}{
		{"nothing", Change{}, ""},
		{"a slot", Change{Slots: slot("contact.visits")}, "visits both top"},
		{"two slots", Change{Slots: append(slot("contact.visits"), SlotStage)}, "visits both top lone"},
		{"a list", Change{Slots: []int{SlotLists}}, "staff"},
		{"a series", Change{Series: []int{0}}, "events both top"},
		{"a series of counted contacts only", Change{Series: []int{1}}, ""},
		{"a count", Change{Counted: []int{0}}, "committee"},
		{"a segment", Change{Segments: []int{number("both")}}, "top"},
		{"accounts", Change{Pairs: true}, "committee staff"},
		{"time", Change{Time: true}, "events both top time"},
	} {
		var got []string
		for _, i := range set.Affected(tt.change) {
			got = append(got, names[i])
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s affects %v, want %s", tt.name, got, tt.want)
		}
	}
	for _, change := range []Change{{Series: []int{1}}, {Slots: []int{SlotRole}}, {Segments: []int{number("events")}}, {Time: true}, {Pairs: true}} {
		if got := set.AffectedCounted(change); !slices.Equal(got, []int{0}) {
			t.Errorf("%+v affects counted %v", change, got)
		}
	}
	if got := set.AffectedCounted(Change{Series: []int{0}, Slots: []int{SlotTier}}); len(got) != 0 {
		t.Errorf("what the condition does not read affects %v", got)
	}
}

// A key changes with the definition, with what it refers to and with the types
// of what it reads, and with nothing else.
func TestKeys(t *testing.T) {
	compile := func(attributes []Attribute, a, b string) *Set {
		s, err := NewSchema(attributes)
		if err != nil {
			t.Fatal(err)
		}
		return s.CompileSet([]Definition{{Name: "a", Where: a}, {Name: "b", Where: b}})
	}
	b := `segment("a") || any_contact(segment("a"))`
	old := compile(testAttributes(), `has(contact.visits)`, b)
	same := compile(append(testAttributes(), Attribute{"contact.new", Text}), ` has( contact.visits )`, b)
	if old.Key(0) != same.Key(0) || old.Key(1) != same.Key(1) || old.Counted()[0].Key() != same.Counted()[0].Key() || old.Key(0) == old.Key(1) {
		t.Error("the same rules have other keys")
	}
	attributes := testAttributes()
	attributes[4].Type = Text // contact.visits
	for _, other := range []*Set{compile(testAttributes(), `has(contact.status)`, b), compile(attributes, `has(contact.visits)`, b)} {
		if old.Key(0) == other.Key(0) || old.Key(1) == other.Key(1) || old.Counted()[0].Key() == other.Counted()[0].Key() {
			t.Error("other rules have the same keys")
		}
	}
	lists := testSchema(t).CompileSet([]Definition{{Name: "a", Where: "true"}, {Name: "b", Where: "true", Include: []string{"x"}}, {Name: "c", Where: "true", Exclude: []string{"x"}}})
	if lists.Key(0) == lists.Key(1) || lists.Key(1) == lists.Key(2) {
		t.Error("lists do not change the key")
	}
}
