// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
	"testing"
	"time"
)

// eventRules are n rules with two event conditions each, over a few series.
func eventRules(n int) []Definition {
	defs := make([]Definition, n)
	for i := range defs {
		defs[i] = Definition{Name: fmt.Sprint("s", i), Where: fmt.Sprintf(
			`contact.visits > %d && events("E%d").within(days(%d)).count() >= 3 && events("E%d").where(property.n > 1).between(days(90), days(2)).count() < 100`, i%7, i%5, 20+i%40, i%3)}
		if i%10 == 9 {
			defs[i].Where += fmt.Sprintf(` && (segment("s%d") || "beta" in lists)`, i-1)
		}
	}
	return defs
}

// busy is a contact with a hundred events in each series, a day apart.
func busy(t testing.TB, set *Set) *Values {
	t.Helper()
	v := set.NewValues()
	v.Now = at()
	for i := range v.Series {
		for n := range 100 {
			v.Series[i].Add(Entry{Time: at().Add(time.Duration(n-100) * 20 * time.Hour).UnixMicro(), Hash: uint32(n), Value: float64(n)})
		}
	}
	set.schema.Set(v, "contact.visits", NumberValue(50))
	for i := range set.Len() {
		if err := set.Err(i); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func TestMatchOfEventsDoesNotAllocate(t *testing.T) {
	set := testSchema(t).CompileSet(append(eventRules(10),
		Definition{Name: "all", Where: `events("E0").sum("n") >= 0 && has(events("E0").avg("n")) && events("E1").distinct_days() > 1 && events("E2").max("n") > events("E2").within(days(50)).min("n") && now - events("E3").last() < days(30)`},
		Definition{Name: "pair", Where: `role != "x" && events("E0").count() > 1 && events("E1").last() > events("E1").first()`},
		Definition{Name: "more", Where: `bucket("a") < 1 && score > 1 && contacts(role == "x") >= 2 && any_contact(score > 1) && all_contacts(tier == "new") && segment("all")`},
	))
	v := busy(t, set)
	v.Decays[DecayScore] = Decay{Value: 40, At: at().UnixMicro(), HalfLife: day, Max: 50}
	for i := range v.Counts {
		v.Counts[i] = Count{2, 2}
	}
	v.Series[0].Add(Entry{Time: at().UnixMicro(), Account: 5})
	for _, i := range set.Order() {
		v.Members.Set(i, set.Rule(i).Match(v))
		if n := testing.AllocsPerRun(200, func() { set.Rule(i).Match(v) }); n != 0 || !v.Members.Has(i) {
			t.Errorf("%s is %v and allocates %v times", set.Rule(i).Text(), v.Members.Has(i), n)
		}
	}
	e := Event{Name: "E0", Time: 1, Message: "m", Properties: map[string]Value{"n": NumberValue(2)}}
	for i := range set.Series() {
		if n := testing.AllocsPerRun(200, func() { set.Series()[i].Entry(&e) }); n != 0 {
			t.Errorf("Entry allocates %v times", n)
		}
	}
}

func BenchmarkMatchEvents(b *testing.B) {
	set := testSchema(b).CompileSet(eventRules(10))
	v := busy(b, set)
	b.ReportAllocs()
	for b.Loop() {
		for i := range set.Len() {
			set.Rule(i).Match(v)
		}
	}
}

func BenchmarkSetOf500(b *testing.B) {
	set := testSchema(b).CompileSet(eventRules(500))
	v := busy(b, set)
	b.ReportAllocs()
	for b.Loop() {
		for _, i := range set.Order() {
			v.Members.Set(i, set.Rule(i).Match(v))
		}
	}
}

func BenchmarkNextChange(b *testing.B) {
	set := testSchema(b).CompileSet(eventRules(10))
	v := busy(b, set)
	b.ReportAllocs()
	for b.Loop() {
		for i := range set.Len() {
			set.Rule(i).NextChange(v)
		}
	}
}

func BenchmarkAffected(b *testing.B) {
	set := testSchema(b).CompileSet(eventRules(500))
	b.ReportAllocs()
	for b.Loop() {
		set.Affected(Change{Series: []int{0}})
	}
}

func BenchmarkCompileSet(b *testing.B) {
	s := testSchema(b)
	defs := eventRules(500)
	b.ReportAllocs()
	for b.Loop() {
		s.CompileSet(defs)
	}
}

func BenchmarkSeries(b *testing.B) {
	v := busy(b, testSchema(b).CompileSet(eventRules(1)))
	data := v.Series[0].Append(nil)
	b.ReportMetric(float64(len(data)), "bytes")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Series[0].Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}
