// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world is a set with its people as the engine holds them.
type world struct {
	slow
	set *Set
}

func newWorld(t interface{ Fatalf(string, ...any) }, s *Schema, defs []Definition, people []*person) *world {
	w := &world{slow{map[string]Definition{}, map[string]Node{}, people, at()}, s.CompileSet(defs)}
	for i, d := range defs {
		if err := w.set.Err(i); err != nil {
			t.Fatalf("%s: %s\n%v", d.Name, d.Where, err)
		}
		w.defs[d.Name], w.trees[d.Name] = d, w.set.Rule(i).Node()
	}
	return w
}

// values is what the engine sees of a person as a member of an account.
func (w *world) values(p *person, account uint64) *Values {
	v := w.set.NewValues()
	v.Now, v.Contact, v.Account, v.Decays = w.now, p.id, account, p.decays
	for _, from := range []map[string]Value{p.values, p.of[account]} {
		for name, x := range from {
			w.set.schema.Set(v, name, x)
		}
	}
	for i := range w.set.Series() {
		for k := range p.events {
			if e, ok := w.set.Series()[i].Entry(&p.events[k]); ok {
				v.Series[i].Add(e)
			}
		}
	}
	return v
}

// members evaluates every rule for every person: in the order of the set, first
// what is counted of contacts, then the rules.
func (w *world) members() map[uint64]Bits {
	out := map[uint64]Bits{}
	for _, p := range w.people {
		out[p.id] = make(Bits, (w.set.Len()+63)/64)
	}
	for _, i := range w.set.Order() {
		for _, p := range w.people {
			accounts := p.accounts
			if len(accounts) == 0 || !w.set.Rule(i).Paired() {
				accounts = []uint64{0}
			}
			out[p.id].Set(i, slices.ContainsFunc(accounts, func(account uint64) bool { return w.set.Rule(i).Match(w.filled(p, account, out)) }))
		}
	}
	return out
}

// filled is values with segments and counts.
func (w *world) filled(p *person, account uint64, members map[uint64]Bits) *Values {
	v := w.values(p, account)
	v.Members = members[p.id]
	if account == 0 {
		return v
	}
	for k := range w.set.Counted() {
		for _, other := range w.people {
			if !slices.Contains(other.accounts, account) {
				continue
			}
			ov := w.values(other, account)
			ov.Members = members[other.id]
			v.Counts[k].Of++
			if w.set.Counted()[k].Match(ov) {
				v.Counts[k].True++
			}
		}
	}
	return v
}

// Random rules x people x histories x times: whoever is in a segment is in it by
// the slow evaluator as well, and never in its complement.
func TestSetEqualsSlowEvaluator(t *testing.T) {
	s := testSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		g := generator{t: t, events: true}
		defs := g.definitions()
		for _, d := range defs {
			if len(d.Include)+len(d.Exclude) == 0 {
				defs = append(defs, Definition{Name: "not " + d.Name, Where: "!(" + d.Where + ")"})
			}
		}
		w := newWorld(t, s, defs, g.people(s, pick(g, "missing", 0, 30, 100)))
		for range 3 {
			w.now = at().Add(time.Duration(rapid.IntRange(-6, 20).Draw(t, "half days"))*12*time.Hour + time.Duration(rapid.IntRange(-1, 1).Draw(t, "us"))*time.Microsecond)
			members := w.members()
			for _, p := range w.people {
				for i, d := range defs {
					got, want := members[p.id].Has(i), w.member(d.Name, p)
					if got != want {
						t.Fatalf("%s: %s\n+%q -%q\nis %v at %s, the slow evaluator says %v for %+v", d.Name, w.set.Rule(i).Text(), d.Include, d.Exclude, got, w.now, want, p)
					}
				}
				w.complements(t, p, members)
			}
		}
	})
}

// complements: of a rule and its negation exactly one holds in each pair, and
// each can be explained.
func (w *world) complements(t *rapid.T, p *person, members map[uint64]Bits) {
	for _, account := range append([]uint64{0}, p.accounts...) {
		v := w.filled(p, account, members)
		for name := range w.defs {
			i, _ := w.set.Find(name)
			r := w.set.Rule(i)
			if k, ok := w.set.Find("not " + name); ok && r.Match(v) == w.set.Rule(k).Match(v) {
				t.Fatalf("%s and %s agree", r.Text(), w.set.Rule(k).Text())
			}
			for _, c := range r.Explain(v) {
				if c.Text == "" || c.Missing && c.Result && !strings.HasPrefix(c.Text, "has(") {
					t.Fatalf("%s is explained by %+v", r.Text(), c)
				}
			}
		}
	}
}

// Text -> tree -> text, and by way of JSON, loses nothing; equal sets have equal
// keys.
func TestFixpointOfSets(t *testing.T) {
	s := testSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		defs := generator{t: t, events: true}.definitions()
		set := s.CompileSet(defs)
		printed, stored := slices.Clone(defs), slices.Clone(defs)
		for i := range defs {
			if err := set.Err(i); err != nil {
				t.Fatalf("%s\n%v", defs[i].Where, err)
			}
			printed[i].Where = set.Rule(i).Text()
			data, err := json.Marshal(set.Rule(i).Node())
			if err != nil {
				t.Fatal(err)
			}
			node, err := ParseNode(data)
			if err != nil || !reflect.DeepEqual(node, set.Rule(i).Node()) {
				t.Fatalf("%s: %v", data, err)
			}
			if stored[i].Where, err = node.Print(); err != nil {
				t.Fatalf("%s: %v", data, err)
			}
		}
		for _, other := range []*Set{s.CompileSet(printed), s.CompileSet(stored)} {
			for i := range defs {
				if other.Err(i) != nil || other.Rule(i).Text() != set.Rule(i).Text() || !reflect.DeepEqual(other.Rule(i).Node(), set.Rule(i).Node()) || other.Key(i) != set.Key(i) {
					t.Fatalf("%s\nprinted as %s\n%v", defs[i].Where, set.Rule(i).Text(), other.Err(i))
				}
			}
			if len(other.Series()) != len(set.Series()) || len(other.Counted()) != len(set.Counted()) || !slices.Equal(other.Order(), set.Order()) {
				t.Fatal("the printed set has another shape")
			}
		}
	})
}

// NextChange is exact for events that enter and leave windows and for scores that
// decay: constant until the microsecond before, changed at it. All events and
// windows of the generator stand on a grid of half days, so that every instant
// at which anything can happen is looked at.
func TestNextChangeOfEventsIsExact(t *testing.T) {
	s := testSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		g := generator{t: t, events: true}
		parts := make([]string, rapid.IntRange(1, 3).Draw(t, "parts"))
		for i := range parts {
			parts[i] = pick(g, "not", "", "!") + "(" + tierFix(g.eventLeaf()) + ")"
		}
		text := strings.Join(parts, pick(g, "glue", " && ", " || "))
		w := newWorld(t, s, []Definition{{Name: "a", Where: text}}, g.people(s, 20))
		account := uint64(0)
		if len(w.people[0].accounts) > 0 {
			account = w.people[0].accounts[0]
		}
		v := w.filled(w.people[0], account, nil)
		r := w.set.Rule(0)
		matchAt := func(micro int64) bool {
			later := *v
			later.Now = time.UnixMicro(micro).UTC()
			return r.Match(&later)
		}
		for range 60 {
			now, answer := v.Now.UnixMicro(), r.Match(v)
			change, ok := r.NextChange(v)
			end := change.UnixMicro()
			if !ok {
				end = now + 400*dayMicros
			}
			for grid := now - now%(dayMicros/2); grid <= min(end, now+30*dayMicros)+dayMicros/2; grid += dayMicros / 2 {
				for off := int64(-3); off <= 3; off++ {
					if probe := grid + off; probe >= now && probe < end && matchAt(probe) != answer {
						t.Fatalf("%s changes at %s, promised %s, %v", text, time.UnixMicro(probe).UTC(), change, ok)
					}
				}
			}
			for _, probe := range []int64{end - 1, rapid.Int64Range(now, end-1).Draw(t, "probe")} {
				if matchAt(probe) != answer {
					t.Fatalf("%s changes at %s, promised %s, %v", text, time.UnixMicro(probe).UTC(), change, ok)
				}
			}
			if !ok {
				return
			}
			if matchAt(end) == answer {
				t.Fatalf("%s does not change at %s", text, change)
			}
			v.Now = change
		}
	})
}
