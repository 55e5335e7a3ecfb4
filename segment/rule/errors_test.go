// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestRules runs testdata/*: each case is a rule, and what becomes of it: its
// canonical text with what it reads, or its faults word for word.
func TestRules(t *testing.T) {
	s := testSchema(t)
	datadriven.Walk(t, "testdata/rules", func(t *testing.T, path string) {
		t.Helper()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			if d.Cmd != "rule" {
				t.Fatalf("unknown command %s", d.Cmd)
			}
			r, err := s.Compile(d.Input)
			if err != nil {
				if len(Faults(err)) == 0 {
					t.Errorf("%v is not made of faults", err)
				}
				return err.Error() + "\n"
			}
			out := r.Text() + "\nreads: " + strings.Join(r.Reads(), " ")
			if r.TimeDependent() {
				out += " (and now)"
			}
			return out + "\n"
		})
	})
}

// TestSets runs testdata/sets/*: definitions, one on a line, as "name: where"
// and after a semicolon "+list" and "-list" for included and excluded ones and
// "=stage", and what becomes of them.
func TestSets(t *testing.T) {
	s := testSchema(t)
	datadriven.Walk(t, "testdata/sets", func(t *testing.T, path string) {
		t.Helper()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			var defs []Definition
			for line := range strings.Lines(d.Input) {
				name, where, _ := strings.Cut(strings.TrimSpace(line), ":")
				def := Definition{Name: name}
				where, lists, _ := strings.Cut(where, ";")
				for word := range strings.FieldsSeq(lists) {
					if list, ok := strings.CutPrefix(word, "+"); ok {
						def.Include = append(def.Include, list)
					}
					if list, ok := strings.CutPrefix(word, "-"); ok {
						def.Exclude = append(def.Exclude, list)
					}
					if stage, ok := strings.CutPrefix(word, "="); ok {
						def.Stage = stage
					}
				}
				def.Where = strings.TrimSpace(where)
				defs = append(defs, def)
			}
			set := s.CompileSet(defs)
			var out strings.Builder
			for _, i := range set.Order() {
				if err := set.Err(i); err != nil {
					fmt.Fprintf(&out, "%s! %v\n", defs[i].Name, err)
					if set.Rule(i).Match(set.NewValues()) || set.Rule(i) != nil {
						t.Errorf("%s has an error and a rule", defs[i].Name)
					}
					continue
				}
				fmt.Fprintf(&out, "%s: %s\n", defs[i].Name, set.Rule(i).Text())
			}
			for i, spec := range set.Series() {
				filter := ""
				if spec.Filter != nil {
					filter, _ = spec.Filter.Print()
				}
				fmt.Fprintf(&out, "series %d: %s [%s] %s\n", i, spec.Event, filter, spec.Property)
			}
			for i := range set.Counted() {
				fmt.Fprintf(&out, "counted %d: %s\n", i, set.Counted()[i].Text())
			}
			return out.String()
		})
	})
}

func TestLimits(t *testing.T) {
	s := testSchema(t)
	many := func(n int, glue string, f func(i int) string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = f(i)
		}
		return strings.Join(parts, glue)
	}
	leaf := func(int) string { return "contact.subscribed" }
	event := func(i int) string { return fmt.Sprintf(`events("A").within(days(%d)).count() > 1`, i+1) }
	number := func(i int) string { return strconv.Itoa(i) }
	nested := func(n int) string {
		return strings.Repeat("contact.subscribed && (contact.subscribed || (", n) + "contact.subscribed" + strings.Repeat("))", n)
	}
	tests := []struct {
		name, text, want string
	}{
		{"200 conditions", many(MaxLeaves, " && ", leaf), ""},
		{"201 conditions", many(MaxLeaves+1, " || ", leaf), "1:1: the rule has more than 200 conditions"},
		{"big", many(13000, "||", func(int) string { return "contact.visits==1" }), "1:1: the rule is too big (at most 200 conditions and 10000 literals in lists are possible)"},
		{"deep", nested(8), ""},
		{"too deep", nested(9), "1:1: the rule is nested deeper than 16"},
		{"64 conditions on events", many(MaxEvents, " && ", event), ""},
		{"65 conditions on events", many(MaxEvents+1, " && ", event), "1:1: the rule has more than 64 conditions on events"},
		{"brackets", strings.Repeat("(", 20) + "true" + strings.Repeat(")", 20), ""},
		{"brackets without end", strings.Repeat("(", 5000) + "true" + strings.Repeat(")", 5000), "1:1: the rule is nested too deep (at most 16 groups stand inside each other)"},
		{"negations", strings.Repeat("!", 20000) + "contact.subscribed", ""},
		{"10000 literals", "account.employees in [" + many(MaxLits, ",", number) + "]", ""},
		{"10001 literals", "account.employees in [" + many(MaxLits+1, ",", number) + "]", "1:22: the lists of the rule have more than 10000 items (import a list attribute instead)"},
		{"pattern", `contact.status.matches("` + strings.Repeat("a", MaxPattern) + `")`, ""},
		{"long pattern", `contact.status.matches("` + strings.Repeat("a", MaxPattern+1) + `")`, "1:24: the pattern has 257 bytes, at most 256 are possible"},
		{"long rule", `contact.status == "` + strings.Repeat("a", MaxRule) + `"`, "1:1: the rule has 262164 bytes, at most 262144 are possible"},
		{"not UTF-8", "contact.status == \"\xff\"", "1:1: the rule is not UTF-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := s.Compile(tt.text)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Fatalf("got %s\nwant %s", shorten(got), tt.want)
			}
			if (r == nil) != (err != nil) {
				t.Fatal("a rule with an error, or neither")
			}
		})
	}
}

// Whatever is not a well-formed tree is refused before it becomes text.
func TestCompileNodeRefuses(t *testing.T) {
	s := testSchema(t)
	tests := []struct{ tree, want string }{
		{`{"kind":"test","op":"==","left":{"attr":"contact.status"},"right":{"text":"x\" || true || \""}}`, ""},
		{`{}`, `a node is of unknown kind ""`},
		{`{"kind":"event"}`, `a node is of unknown kind "event"`},
		{`{"kind":"all"}`, "a group of 0 conditions; it needs 2 or more"},
		{`{"kind":"any","nodes":[{"kind":"const","value":true}]}`, "a group of 1 conditions; it needs 2 or more"},
		{`{"kind":"not","nodes":[]}`, "a node of kind not has 0 nodes, it needs 1"},
		{`{"kind":"const","op":"=="}`, `a node of kind "const" has fields of another`},
		{`{"kind":"test","value":true}`, `a node of kind "test" has fields of another`},
		{`{"kind":"test","op":"=="}`, `a condition with "==" lacks a side, or has one too many`},
		{`{"kind":"test","op":"is","left":{"attr":"contact.subscribed"},"right":{"now":true}}`, `a condition with "is" lacks a side, or has one too many`},
		{`{"kind":"test","op":"|| true ||","left":{"attr":"contact.status"},"right":{"text":"x"}}`, `a condition has the unknown operator "|| true ||"`},
		{`{"kind":"test","op":"==","left":{"attr":"true || contact.status"},"right":{"text":"x"}}`, `"true || contact.status" is no name`},
		{`{"kind":"test","op":"==","left":{"attr":"contact.status","now":true},"right":{"text":"x"}}`, "one side of a condition holds 2 things, it needs 1"},
		{`{"kind":"test","op":"==","left":{"attr":"contact.status"},"right":{"texts":[]}}`, "one side of a condition holds 0 things, it needs 1"},
		{`{"kind":"test","op":"==","left":{"attr":"contact.status"},"right":{"text":"x","offset":"1d"}}`, "a topic or an offset stands without what it belongs to"},
		{`{"kind":"test","op":"==","left":{"attr":"contact.created"},"right":{"now":true,"offset":"40000d"}}`, `reading a rule's tree: duration "40000d" is longer than 36500d`},
		{`{"kind":"test","op":"==","left":{"attr":"contact.created"},"right":{"time":"2026-01-02T00:00:00.1234567Z"}}`, "a time is outside the years 1 to 9999 or finer than a microsecond"},
		{`{"kind":"test","op":"==","left":{"attr":"contact.nme"},"right":{"text":"x"}}`, "1:1: unknown attribute contact.nme (declare it as [[attribute]], or use a declared one)"},
		{`{"kind":"test","op":"==","left":{"attr":"contact.status"},"right":{"number":5}}`, "1:16: cannot compare a text with a number (a text stands in quotes, a number does not)"},
		{`{"kind":"test","op":"has","left":{"attr":"account.intent","topic":"x"}}`, "has needs an attribute"},
		{strings.Repeat(`{"kind":"not","nodes":[`, 40) + `{"kind":"const"}` + strings.Repeat(`]}`, 40), "the rule is nested deeper than 16"},
		{`{"kind":"const","vlaue":true}`, `reading a rule's tree: json: unknown field "vlaue"`},
		{`{"kind":"const"} {}`, "reading a rule's tree: something follows it"},
	}
	for _, tt := range tests {
		n, err := ParseNode([]byte(tt.tree))
		if err == nil {
			var r *Rule
			if r, err = s.CompileNode(n); err == nil && r.Match(s.NewValues()) {
				t.Errorf("%s became %s, which matches a contact without values", tt.tree, r.Text())
			}
		}
		if got := fmt.Sprint(err); got != tt.want && (tt.want != "" || err != nil) {
			t.Errorf("%s\n got %s\nwant %s", tt.tree, got, tt.want)
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	_, err := NewSchema([]Attribute{
		{"contact.ok", Text},
		{"contact.ok", Number},
		{"employees", Number},
		{"contact.first name", Text},
		{"contact.in", Text},
		{"account.1st", Text},
		{"account." + strings.Repeat("x", MaxName+1), Text},
		{"account.size", Missing},
	})
	want := strings.Join([]string{
		"attribute contact.ok is declared twice",
		`attribute "employees" must be named contact.x or account.x`,
		`attribute "contact.first name": after the dot come 1 to 64 letters, digits and underscores, no digit first`,
		`attribute "contact.in": in is a word of the language`,
		`attribute "account.1st": after the dot come 1 to 64 letters, digits and underscores, no digit first`,
		`attribute "account.` + strings.Repeat("x", MaxName+1) + `": after the dot come 1 to 64 letters, digits and underscores, no digit first`,
		"attribute account.size has no type (use text, number, boolean, time, list or topics)",
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if _, err := NewSchema(make([]Attribute, MaxAttributes+1)); err == nil {
		t.Error("a schema beyond the limit")
	}
	for _, name := range []string{"package", "as", "if", "for", "size", "contact", "now", "tier", "type", "string", "has", "_x", "X9"} {
		s, err := NewSchema([]Attribute{{"contact." + name, Text}})
		if err != nil {
			t.Fatal(err)
		}
		v := s.NewValues()
		s.Set(v, "contact."+name, TextValue("a"))
		if !compile(t, s, "has(contact."+name+") && contact."+name+` == "a"`).Match(v) {
			t.Errorf("contact.%s does not work", name)
		}
	}
	if _, err := ParseType("string"); err == nil || errors.Unwrap(err) != nil {
		t.Errorf("ParseType of a word that is no type: %v", err)
	}
	for typ := Text; typ <= Topics; typ++ {
		if got, err := ParseType(typ.String()); err != nil || got != typ {
			t.Errorf("type %s reads as %s, %v", typ, got, err)
		}
	}
}
