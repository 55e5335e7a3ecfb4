// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// oneByOne is what [Evaluator] says, by [Rule.Match] and [Rule.NextChange].
func oneByOne(set *Set, pairs []*Values, which map[int]bool, count func(k int)) (in []bool, next time.Time, changes bool) {
	in = make([]bool, set.Len())
	holds := func(i int, v *Values) bool { return set.Rule(i).Match(v) }
	of := func(i int) []*Values {
		if set.Rule(i).Paired() {
			return pairs
		}
		return pairs[:1]
	}
	set.setStages(pairs)
	for _, i := range set.Order() {
		for _, k := range set.First(i) {
			count(k)
		}
		in[i] = which[i] && slices.ContainsFunc(of(i), func(v *Values) bool { return holds(i, v) })
		for _, v := range pairs {
			if set.Referred(i) {
				v.Members.Set(i, in[i])
			}
		}
		set.setStages(pairs)
	}
	for i := range in {
		for _, v := range of(i) {
			if at, ok := set.Rule(i).NextChange(v); which[i] && ok && (!changes || at.Before(next)) {
				next, changes = at, true
			}
		}
	}
	return in, next, changes
}

// several are definitions that share attributes and conditions.
func (g generator) several() []Definition {
	defs := g.definitions()
	for i := range defs {
		if where := defs[i].Where; g.chance(40) && !strings.Contains(where, "stage") && !strings.Contains(where, "segment(") { // no circles
			defs[i].Stage = pick(g, "stage", "x", "y")
		}
	}
	leaves := []string{`stage == "x"`, `!has(stage)`, `segment("s0")`, `role != "nobody"`, `events("A").count() >= 2`}
	for range 6 {
		leaves = append(leaves, tierFix(g.leaf()))
	}
	plain := generator{t: g.t}
	for range 4 {
		leaves = append(leaves, tierFix(plain.leaf()))
	}
	for i := range rapid.IntRange(0, 70).Draw(g.t, "rules") {
		parts := pick(g, "leaf", leaves...)
		for range rapid.IntRange(0, 3).Draw(g.t, "more") {
			parts += pick(g, "glue", " && ", " && ", " && ", " || ", " && !") + "(" + pick(g, "leaf", leaves...) + ")"
		}
		defs = append(defs, Definition{Name: fmt.Sprint("more", i), Where: parts})
	}
	return defs
}

// Asked together, rules answer as they do one by one, and change at the same
// instant; whoever asks sets counts before the rules that read them.
func TestEvaluatorEqualsMatch(t *testing.T) {
	s := testSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		g := generator{t: t, events: true}
		w := newWorld(t, s, g.several(), g.people(s, pick(g, "missing", 0, 30, 100)))
		all, e := w.set.Order(), w.set.NewEvaluator()
		for _, p := range w.people {
			which := rapid.SliceOfDistinct(rapid.SampledFrom(all), rapid.ID[int]).Draw(t, "which")
			if g.chance(50) {
				which = all
			}
			w.now = at().Add(time.Duration(rapid.IntRange(-6, 20).Draw(t, "half days")) * 12 * time.Hour)
			counts := rapid.SliceOfN(rapid.Uint64Range(0, 2), len(w.set.Counted()), -1).Draw(t, "counts")
			var pairs, others []*Values
			for _, account := range append(p.accounts, 0)[:max(len(p.accounts), 1)] {
				pairs, others = append(pairs, w.values(p, account)), append(others, w.values(p, account))
			}
			asked := map[int]bool{}
			for _, i := range which {
				asked[i] = true
			}
			var seen, want []string
			count := func(list []*Values, log *[]string) func(int) {
				return func(k int) {
					for _, v := range list {
						v.Counts[k] = Count{counts[k], 2}
					}
					*log = append(*log, fmt.Sprint(k, list[0].Members))
				}
			}
			in, next, changes := oneByOne(w.set, others, asked, count(others, &want))
			got := e.Ask(pairs, w.set.Select(which), count(pairs, &seen))
			for i := range in {
				if got.Has(i) != in[i] {
					t.Fatalf("rule %d, %s, is %v among others and %v alone for %+v", i, w.set.Rule(i).Text(), got.Has(i), in[i], p)
				}
			}
			if at, ok := e.NextChange(); ok != changes || !at.Equal(next) {
				t.Fatalf("together they change at %s, %v; one by one at %s, %v", at, ok, next, changes)
			}
			if !slices.Equal(seen, want) {
				t.Fatalf("counts were asked for %v, not %v", seen, want)
			}
		}
	})
}

// Values at and beside literals, and at the ends of what is possible, are of the
// right class.
func TestSieve(t *testing.T) {
	s := testSchema(t)
	ends := []float64{0, math.SmallestNonzeroFloat64, 1, 50, math.MaxFloat64}
	var values []Value
	var defs []Definition
	for _, end := range ends {
		for _, n := range []float64{end, -end} {
			for _, op := range []string{"==", "!=", "<", "<=", ">", ">="} {
				defs = append(defs, Definition{Name: fmt.Sprint(len(defs)), Where: fmt.Sprintf("contact.visits %s %v", op, n)})
			}
			values = append(values, NumberValue(n), NumberValue(math.Nextafter(n, 1)), NumberValue(math.Nextafter(n, -1)), NumberValue(n+0.5))
		}
	}
	set := s.CompileSet(defs)
	if len(set.together.sieves) != 1 {
		t.Fatalf("%d sieves for one attribute", len(set.together.sieves))
	}
	e, v := set.NewEvaluator(), set.NewValues()
	v.Now = at()
	for _, x := range append(values, Value{}, TextValue("1")) {
		v.Slots[set.schema.slots["contact.visits"]] = x
		got := e.Ask([]*Values{v}, set.Select(set.Order()), nil)
		for i := range defs {
			if want := set.Rule(i).Match(v); got.Has(i) != want {
				t.Errorf("%s is %v for %v", defs[i].Where, got.Has(i), x)
			}
		}
	}
}

// A set with more literals than sieves have room for is asked all the same.
func TestSieveTooLarge(t *testing.T) {
	s := testSchema(t)
	var defs []Definition
	for i := range 2100 {
		defs = append(defs, Definition{Name: fmt.Sprint(i), Where: fmt.Sprintf(`contact.visits < %d && contact.status == "trial"`, i)})
	}
	set := s.CompileSet(defs)
	if len(set.together.sieves) != 1 {
		t.Fatalf("%d sieves, the one of the text is expected", len(set.together.sieves))
	}
	e, v := set.NewEvaluator(), set.NewValues()
	s.Set(v, "contact.visits", NumberValue(2000))
	s.Set(v, "contact.status", TextValue("trial"))
	got := e.Ask([]*Values{v}, set.Select(set.Order()), nil)
	for i := range defs {
		if got.Has(i) != (i > 2000) {
			t.Fatalf("%s is %v for 2000", defs[i].Where, got.Has(i))
		}
	}
}

func TestEvaluatorDoesNotAllocate(t *testing.T) {
	set := testSchema(t).CompileSet(eventRules(100))
	e, pairs, which := set.NewEvaluator(), []*Values{busy(t, set)}, set.Select(set.Order())
	e.Ask(pairs, which, nil)
	if n := testing.AllocsPerRun(100, func() { e.Ask(pairs, which, nil) }); n != 0 {
		t.Errorf("asking together allocates %v times", n)
	}
}

func BenchmarkEvaluator500(b *testing.B) {
	set := testSchema(b).CompileSet(eventRules(500))
	e, pairs, which := set.NewEvaluator(), []*Values{busy(b, set)}, set.Select(set.Order())
	b.ReportAllocs()
	for b.Loop() {
		e.Ask(pairs, which, nil)
	}
}
