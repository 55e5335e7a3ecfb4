// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// eventLeaf draws a condition on events, segments, scores, buckets or contacts.
func (g generator) eventLeaf() string {
	op := pick(g, "op", "==", "!=", "<", "<=", ">", ">=")
	kinds := []string{"number", "number", "number", "time", "time", "distance", "has", "in", "decay", "bucket", "list", "role"}
	if len(g.segments) > 0 {
		kinds = append(kinds, "segment", "segment")
	}
	if !g.inner {
		kinds = append(kinds, "contacts", "contacts")
	}
	switch pick(g, "event leaf", kinds...) {
	case "number":
		return g.sides(g.aggregate(false), op, pick(g, "other", g.aggregate(false), "contact.visits"), g.small())
	case "time":
		shift := pick(g, "shift", "", "", " + "+g.age(), " - "+g.age())
		return g.sides(g.aggregate(true)+shift, op, pick(g, "other", g.aggregate(true), "contact.created")+shift, "now - "+g.age())
	case "distance":
		return "now - " + g.aggregate(true) + " " + op + " " + g.age()
	case "has":
		return "has(" + pick(g, "of", g.aggregate(true), g.aggregateOf("avg"), g.aggregateOf("min"), "score", "tags") + ")"
	case "in":
		return pick(g, "of", g.aggregate(false), "fit") + " in [0, 1, " + g.small() + "]"
	case "decay":
		return g.sides(pick(g, "score", decayNames()...), op, pick(g, "level", "contact.visits", g.aggregateOf("count")), g.small())
	case "bucket":
		return `bucket("` + pick(g, "seed", "a", "b") + `") ` + op + " " + pick(g, "share", "0.1", "0.5", "contact.visits")
	case "list":
		return quote(pick(g, "list", items()...)) + " in " + pick(g, "of", "lists", "tags")
	case "role":
		return "role " + pick(g, "op", "==", "!=") + " " + quote(pick(g, "role", texts()...))
	case "segment":
		return `segment("` + pick(g, "segment", g.segments...) + `")`
	default:
		g.inner = true
		inner := g.rule(1)
		return pick(g, "contacts", "any_contact("+inner+")", "all_contacts("+inner+")", "no_contact("+inner+")", "contacts("+inner+") "+op+" "+pick(g, "n", "0", "1", "2"))
	}
}

// small is a number that counts and sums of a few events meet.
func (g generator) small() string { return pick(g, "small", "0", "1", "2", "3", "0.5", "-1", "50") }

// age is a positive span on the grid of half days, on which events stand.
func (g generator) age() string {
	return pick(g, "age", "hours(12)", "days(1)", "days(2.5)", "hours(36)", `duration("48h")`, "days(7)")
}

func (g generator) aggregate(instant bool) string {
	if instant {
		return g.aggregateOf(pick(g, "f", "first", "last"))
	}
	return g.aggregateOf(pick(g, "f", "count", "count", "count", "distinct_days", "sum", "avg", "min", "max"))
}

func (g generator) aggregateOf(f string) string {
	parts := []string{`events("` + pick(g, "event", "A", "B") + `")`}
	switch pick(g, "window", "ever", "within", "within", "between") {
	case "within":
		parts = append(parts, "within("+g.age()+")")
	case "between":
		parts = append(parts, pick(g, "between", "between(days(2), days(1))", "between(days(7), hours(12))", "between(hours(36), days(0))"))
	}
	if g.chance(40) {
		parts = append(parts, "where("+g.filter(2)+")")
		if g.chance(20) && len(parts) == 3 {
			parts[1], parts[2] = parts[2], parts[1]
		}
	}
	arg := ""
	if Function(f).valued() {
		arg = quote(pick(g, "property", "a", "b.c"))
	}
	return strings.Join(parts, ".") + "." + f + "(" + arg + ")"
}

func (g generator) filter(depth int) string {
	if depth > 0 && g.chance(40) {
		return pick(g, "filter", "!("+g.filter(depth-1)+")", "("+g.filter(depth-1)+" && "+g.filter(depth-1)+")", "("+g.filter(depth-1)+" || "+g.filter(depth-1)+")")
	}
	op := pick(g, "op", "==", "!=", "<", "<=", ">", ">=")
	return pick(g, "test",
		"property.a "+op+" "+g.small(), g.small()+" "+op+" property.a", `property["b.c"] `+op+" "+g.small(),
		"property.plan "+op+` "pro"`, `property.plan in ["pro", "team"]`, "property.a in [1, 2]", `property.plan.startsWith("p")`,
		`"pro" != property.plan`, `property.plan.matches("o$")`, "property.ok", "property.ok == false", "property.ok != true",
		"has(property.a)", `has(property["x y"])`, `property["x y"] == "`+pick(g, "x", "", "a")+`"`, "property.at "+op+` timestamp("2026-06-15")`, "true")
}

// person is a contact with its history as it came in: unsorted, repeated.
type person struct {
	id       uint64
	accounts []uint64
	values   map[string]Value            // what is the contact's
	of       map[uint64]map[string]Value // what belongs to its pair with an account
	decays   [decays]Decay
	events   []Event
}

// people draws the contacts of a small world with two accounts.
func (g generator) people(s *Schema, percent int) []*person {
	shared := map[uint64]map[string]Value{1: {}, 2: {}} // the accounts' own attributes
	people := make([]*person, rapid.IntRange(1, 4).Draw(g.t, "people"))
	for i := range people {
		p := &person{id: uint64(rapid.IntRange(0, 1000).Draw(g.t, "id")), values: map[string]Value{}, of: map[uint64]map[string]Value{}}
		p.accounts = pick(g, "accounts", nil, []uint64{1}, []uint64{2}, []uint64{1, 2})
		for slot := range s.Len() {
			name := s.Name(slot)
			if strings.HasPrefix(name, "account.") || name == "role" || name == "account_score" {
				continue
			}
			if !g.chance(percent) {
				p.values[name] = g.value(s.types[slot], percent)
			}
		}
		for _, a := range p.accounts {
			for slot := range s.Len() {
				if name := s.Name(slot); strings.HasPrefix(name, "account.") && !g.chance(percent) && i == 0 {
					shared[a][name] = g.value(s.types[slot], percent)
				}
			}
			p.of[a] = map[string]Value{"role": TextValue(pick(g, "role", texts()...))}
			maps.Copy(p.of[a], shared[a])
		}
		for k := range p.decays {
			if g.chance(50) {
				p.decays[k] = g.decay()
			}
		}
		for range rapid.IntRange(0, 12).Draw(g.t, "events") {
			e := g.event()
			p.events = append(p.events, e)
			if g.chance(20) {
				p.events = append(p.events, e)
			}
		}
		people[i] = p
	}
	slices.SortFunc(people, func(a, b *person) int { return int(a.id) - int(b.id) })
	return slices.CompactFunc(people, func(a, b *person) bool { return a.id == b.id })
}

func (g generator) decay() Decay {
	return Decay{
		Base: pick(g, "base", 0.0, 1, 40), Value: pick(g, "value", 0.0, -3, 0.5, 10, 100, 1e6),
		At:       at().Add(time.Duration(rapid.IntRange(-100, 10).Draw(g.t, "hours")) * time.Hour).UnixMicro(),
		HalfLife: pick(g, "half-life", time.Hour, 24*time.Hour, 30*24*time.Hour, time.Duration(0)), Max: pick(g, "max", 50.0, 1, 1e9),
	}
}

// event draws an event on the grid of half days, or a microsecond beside it.
func (g generator) event() Event {
	e := Event{
		Name: pick(g, "name", "A", "A", "B"), Account: pick(g, "account", uint64(0), 0, 1, 2, 3), Properties: map[string]Value{},
		Message: fmt.Sprint("m", rapid.IntRange(0, 3).Draw(g.t, "message")),
	}
	half := rapid.IntRange(-20, 3).Draw(g.t, "half days")
	off := rapid.IntRange(-1, 1).Draw(g.t, "microseconds")
	e.Time = at().Add(time.Duration(half)*12*time.Hour + time.Duration(off)*time.Microsecond).UnixMicro()
	put := func(name string, values ...Value) {
		if g.chance(70) {
			e.Properties[name] = pick(g, name, values...)
		}
	}
	put("a", NumberValue(1), NumberValue(2), NumberValue(-0.5), NumberValue(50), TextValue("1"))
	put("b.c", NumberValue(3), NumberValue(0))
	put("plan", TextValue("pro"), TextValue("team"), TextValue(""), NumberValue(1))
	put("ok", BooleanValue(true), BooleanValue(false), TextValue("true"))
	put("x y", TextValue("a"), TextValue(""))
	put("at", TimeValue(at()), TextValue("2026-06-15"), TextValue("2026-06-14T23:59:59.999999Z"), TextValue("soon"))
	return e
}

// definitions draws a set without circles, in any order.
func (g generator) definitions() []Definition {
	n := rapid.IntRange(1, 4).Draw(g.t, "definitions")
	defs := make([]Definition, n)
	for i := range defs {
		h := g
		h.segments = nil
		for k := range i {
			h.segments = append(h.segments, fmt.Sprint("s", k))
		}
		defs[i] = Definition{Name: fmt.Sprint("s", i), Where: tierFix(h.rule(2))}
		if g.chance(20) {
			defs[i].Include = []string{pick(g, "include", items()...)}
		}
		if g.chance(20) {
			defs[i].Exclude = []string{pick(g, "exclude", items()...)}
		}
	}
	return rapid.Permutation(defs).Draw(g.t, "order")
}
