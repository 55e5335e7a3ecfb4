// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"cmp"
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"pgregory.net/rapid"
)

// oracle is cel-go with its own standard library and evaluator, without any of
// our declarations: it parses the text, checks no types, coerces nothing, and
// gets the values as plain maps.
type oracle struct{ env *cel.Env }

func newOracle(t testing.TB) oracle {
	t.Helper()
	span := func(unit time.Duration) func(ref.Val) ref.Val {
		return func(v ref.Val) ref.Val {
			n, _ := v.ConvertToType(types.DoubleType).(types.Double)
			return types.Duration{Duration: time.Duration(float64(n) * float64(unit))}
		}
	}
	count := func(a, b ref.Val) (found, of int) {
		for it := b.(traits.Lister).Iterator(); it.HasNext() == types.True; of++ {
			if a.(traits.Container).Contains(it.Next()) == types.True {
				found++
			}
		}
		return found, of
	}
	lists := func(name string, holds func(found, of int) bool) cel.EnvOption {
		return cel.Function(name, cel.Overload(name, []*cel.Type{cel.DynType, cel.DynType}, cel.BoolType,
			cel.BinaryBinding(func(a, b ref.Val) ref.Val { return types.Bool(holds(count(a, b))) })))
	}
	unary := func(name string, f func(ref.Val) ref.Val) cel.EnvOption {
		return cel.Function(name, cel.Overload(name, []*cel.Type{cel.DynType}, cel.DurationType, cel.UnaryBinding(f)))
	}
	env, err := cel.NewEnv(
		cel.CrossTypeNumericComparisons(true),
		unary("days", span(24*time.Hour)), unary("hours", span(time.Hour)),
		lists("has_any", func(found, _ int) bool { return found > 0 }),
		lists("has_all", func(found, of int) bool { return found == of }),
		lists("has_none", func(found, _ int) bool { return found == 0 }),
	)
	if err != nil {
		t.Fatal(err)
	}
	return oracle{env}
}

func (o oracle) match(t *rapid.T, text string, s *Schema, v *Values) bool {
	parsed, issues := o.env.Parse(text)
	if issues.Err() != nil {
		t.Fatal(issues.Err())
	}
	program, err := o.env.Program(parsed)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := program.Eval(plain(s, v))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return got == types.True
}

// plain is a contact as cel-go likes it.
func plain(s *Schema, v *Values) map[string]any {
	scopes := map[string]map[string]any{"contact": {}, "account": {}}
	out := map[string]any{"contact": scopes["contact"], "account": scopes["account"], "now": v.Now}
	for slot, x := range v.Slots {
		var value any
		switch x.Type() {
		case Missing:
			continue
		case Text:
			value = x.Text()
		case Number:
			value = x.Number()
		case Boolean:
			value = x.Boolean()
		case Time:
			value = x.Time()
		case List:
			value = x.List()
		case Topics:
			scores := make(map[string]float64)
			for _, topic := range x.Topics() {
				scores[topic.Name] = topic.Score
			}
			value = scores
		}
		if scope, field, ok := strings.Cut(s.Name(slot), "."); ok {
			scopes[scope][field] = value
		} else {
			out[field+scope] = value
		}
	}
	return out
}

// Where nothing is missing, a rule says what cel-go's own evaluator says.
func TestMatchEqualsCEL(t *testing.T) {
	s, o := testSchema(t), newOracle(t)
	rapid.Check(t, func(t *rapid.T) {
		g := generator{t: t}
		text := tierFix(g.rule(3))
		r, err := s.Compile(text)
		if err != nil {
			t.Fatalf("%s\n%v", text, err)
		}
		for range 5 {
			v := g.values(s, 0)
			if got, want := r.Match(v), o.match(t, text, s, v); got != want {
				t.Fatalf("%s\n= %s\nMatch = %v, cel-go says %v for %v", text, r.Text(), got, want, plain(s, v))
			}
		}
	})
}

// walk is the slow second implementation: it reads the tree anew for every
// contact, by name, and knows no closures and no slots.
func walk(n Node, values map[string]Value, now time.Time) bool {
	switch n.Kind {
	case KindConst:
		return n.Value
	case KindNot:
		return !walk(n.Nodes[0], values, now)
	case KindAll, KindAny:
		stop := n.Kind == KindAny
		for _, child := range n.Nodes {
			if walk(child, values, now) == stop {
				return stop
			}
		}
		return !stop
	case KindTest, KindSegment:
	}
	left := look(n.Left, values, now)
	if left == nil {
		return false
	}
	switch n.Op {
	case OpIs:
		return left == true
	case OpHas:
		return true
	default:
	}
	return relate(n.Op, left, look(n.Right, values, now))
}

// relate is what an operator says of two plain Go values.
func relate(op Op, left, right any) bool {
	if right == nil {
		return false
	}
	switch op {
	case OpEqual:
		return order(left, right) == 0
	case OpLess:
		return order(left, right) < 0
	case OpAtMost:
		return order(left, right) <= 0
	case OpGreater:
		return order(left, right) > 0
	case OpAtLeast:
		return order(left, right) >= 0
	case OpIn:
		return holds(right, left)
	case OpStartsWith:
		return strings.HasPrefix(left.(string), right.(string))
	case OpEndsWith:
		return strings.HasSuffix(left.(string), right.(string))
	case OpContains:
		return strings.Contains(left.(string), right.(string))
	case OpMatches:
		return regexp.MustCompile(right.(string)).MatchString(left.(string))
	case OpHasAny:
		return slices.ContainsFunc(right.([]string), func(s string) bool { return holds(left, s) })
	case OpHasAll:
		return !slices.ContainsFunc(right.([]string), func(s string) bool { return !holds(left, s) })
	default:
		panic("unknown operator " + op)
	}
}

// look is what an operand stands for as a plain Go value, nil where missing.
func look(o *Operand, values map[string]Value, now time.Time) any {
	switch {
	case o == nil:
		return nil
	case o.Text != nil:
		return *o.Text
	case o.Number != nil:
		return *o.Number
	case o.Boolean != nil:
		return *o.Boolean
	case o.Time != nil:
		return *o.Time
	case o.Texts != nil:
		return o.Texts
	case o.Numbers != nil:
		return o.Numbers
	case o.Now:
		return now.Add(time.Duration(o.Offset))
	}
	v := values[o.Attr]
	switch v.Type() {
	case Text:
		return v.Text()
	case Number:
		return v.Number()
	case Boolean:
		return v.Boolean()
	case Time:
		return v.Time().Add(time.Duration(o.Offset))
	case List:
		return v.List()
	case Topics:
		scores := make(map[string]float64)
		for _, topic := range v.Topics() {
			scores[topic.Name] = topic.Score
		}
		if o.Topic == "" {
			return scores
		}
		if score, ok := scores[o.Topic]; ok {
			return score
		}
	case Missing:
	}
	return nil
}

func order(a, b any) int {
	switch a := a.(type) {
	case string:
		return strings.Compare(a, b.(string))
	case float64:
		return cmp.Compare(a, b.(float64))
	case time.Time:
		return a.Compare(b.(time.Time))
	default:
		if a == b {
			return 0
		}
		return 1
	}
}

func holds(set, item any) bool {
	switch set := set.(type) {
	case []string:
		return slices.Contains(set, item.(string))
	case []float64:
		return slices.Contains(set, item.(float64))
	default:
		_, ok := set.(map[string]float64)[item.(string)]
		return ok
	}
}

func named(s *Schema, v *Values) map[string]Value {
	out := make(map[string]Value)
	for slot, x := range v.Slots {
		out[s.Name(slot)] = x
	}
	return out
}

// Where values are missing, a rule says what the slow walk over its tree says,
// and the negated rule says the exact opposite.
func TestMatchEqualsWalk(t *testing.T) {
	s := testSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		g := generator{t: t}
		text := tierFix(g.rule(3))
		r, err := s.Compile(text)
		if err != nil {
			t.Fatalf("%s\n%v", text, err)
		}
		not, err := s.Compile("!(" + text + ")")
		if err != nil {
			t.Fatalf("!(%s)\n%v", text, err)
		}
		for range 8 {
			v := g.values(s, 30)
			got := r.Match(v)
			if want := walk(r.Node(), named(s, v), v.Now); got != want {
				t.Fatalf("%s\n= %s\nMatch = %v, walking says %v for %v", text, r.Text(), got, want, plain(s, v))
			}
			if not.Match(v) == got {
				t.Fatalf("%s\nand its negation %s are both %v for %v", r.Text(), not.Text(), got, plain(s, v))
			}
		}
	})
}

// A condition that reads a missing value is false; its complement is true. The
// texts are spelt out, not taken from the tree.
func TestMissing(t *testing.T) {
	s := testSchema(t)
	v := s.NewValues()
	v.Now = at()
	for _, text := range []string{
		`contact.status == ""`, `contact.status < "z"`, `contact.status >= ""`, `contact.status == account.country`,
		`account.employees < 5`, `account.employees >= 5`, `account.employees == account.employees`, `score >= 0`, `stage == "x"`, `tier == "new"`,
		`contact.subscribed`, `contact.subscribed == false`, `contact.subscribed == true`,
		`contact.trial_end < now`, `contact.trial_end >= now`, `now - contact.created < days(1)`,
		`contact.status in ["a"]`, `account.employees in [1]`, `"a" in contact.tags`, `"crm" in account.intent`, `account.intent.crm < 1`,
		`has_any(contact.tags, ["a"])`, `has_all(contact.tags, ["a"])`,
		`contact.status.startsWith("")`, `contact.status.matches("")`, `has(contact.status)`, `has(account.intent.crm)`,
	} {
		if compile(t, s, text).Match(v) {
			t.Errorf("%s holds for a contact without values", text)
		}
		if !compile(t, s, "!("+text+")").Match(v) {
			t.Errorf("!(%s) does not hold for a contact without values", text)
		}
	}
	for _, text := range []string{`contact.status != ""`, `account.employees != 5`, `contact.subscribed != true`, `contact.trial_end != now`, `has_none(contact.tags, ["a"])`} {
		if !compile(t, s, text).Match(v) {
			t.Errorf("%s does not hold for a contact without values, although it is a complement", text)
		}
	}
	s.Set(v, "contact.tags", ListValue())
	if compile(t, s, `has_all(contact.tags, ["a"])`).Match(v) || !compile(t, s, `has(contact.tags)`).Match(v) {
		t.Error("an empty list is present, and holds nothing")
	}
	if (*Rule)(nil).Match(v) || compile(t, s, "true").Match(&Values{}) {
		t.Error("a nil rule and a Values of another schema must match nothing")
	}
}

// Text -> tree -> text -> tree is at its end after one step, also by way of JSON.
func TestFixpoint(t *testing.T) {
	s := testSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		text := tierFix(generator{t: t}.rule(4))
		r, err := s.Compile(text)
		if err != nil {
			t.Fatalf("%s\n%v", text, err)
		}
		again, err := s.Compile(r.Text())
		if err != nil {
			t.Fatalf("%s\nprinted as %s\n%v", text, r.Text(), err)
		}
		if again.Text() != r.Text() || !reflect.DeepEqual(again.Node(), r.Node()) {
			t.Fatalf("%s\nprinted as %s\nprinted as %s", text, r.Text(), again.Text())
		}
		data, err := json.Marshal(r.Node())
		if err != nil {
			t.Fatal(err)
		}
		node, err := ParseNode(data)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		stored, err := s.CompileNode(node)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if !reflect.DeepEqual(node, r.Node()) || stored.Text() != r.Text() || !slices.Equal(stored.Reads(), r.Reads()) {
			t.Fatalf("%s\nthrough JSON %s\nis %s", r.Text(), data, stored.Text())
		}
	})
}

// NextChange is exact: constant until the microsecond before, changed at it.
func TestNextChangeIsExact(t *testing.T) {
	s := testSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		g := generator{t: t}
		parts := make([]string, rapid.IntRange(1, 4).Draw(t, "parts"))
		for i := range parts {
			parts[i] = g.sides(g.timeAttr(), pick(g, "op", "==", "!=", "<", "<=", ">", ">="), g.instant("now"), g.instant("now"))
		}
		text := strings.Join(parts, pick(g, "glue", " && ", " || "))
		r, err := s.Compile(text)
		if err != nil {
			t.Fatalf("%s\n%v", text, err)
		}
		v := g.values(s, 20)
		for range 20 {
			answer := r.Match(v)
			change, ok := r.NextChange(v)
			end := change
			if !ok {
				end = v.Now.Add(400 * day)
			}
			span := end.Sub(v.Now)
			for _, later := range []time.Duration{0, span / 2, span - time.Microsecond, time.Duration(rapid.Int64Range(0, int64(span)-1000).Draw(t, "probe"))} {
				if r.Match(&Values{Slots: v.Slots, Now: v.Now.Add(later)}) != answer {
					t.Fatalf("%s changes %s after now, promised %s", text, later, span)
				}
			}
			if !ok {
				return
			}
			if r.Match(&Values{Slots: v.Slots, Now: change}) == answer {
				t.Fatalf("%s does not change at %s", text, change)
			}
			v.Now = change
		}
		t.Fatal("more changes than conditions can make")
	})
}
