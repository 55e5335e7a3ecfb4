// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// contact sets values by name from the spelling that imports use.
func contact(t testing.TB, s *Schema, pairs ...string) *Values {
	t.Helper()
	v := s.NewValues()
	v.Now = at()
	for i := 0; i < len(pairs); i += 2 {
		_, typ, ok := s.Slot(pairs[i])
		if !ok {
			t.Fatalf("%s is not declared", pairs[i])
		}
		value, err := ParseValue(typ, pairs[i+1])
		if err != nil || !s.Set(v, pairs[i], value) {
			t.Fatalf("%s = %s: %v", pairs[i], pairs[i+1], err)
		}
	}
	return v
}

// The segments that people ask for, as far as they need no events.
func TestSegments(t *testing.T) {
	s := testSchema(t)
	acme := []string{
		"tier", "active", "score", "85", "contact.status", "trial", "contact.trial_end", "2026-06-20", "account.employees", "120",
		"contact.country", "DE", "account.country", "AT", "account.industry", "healthcare", "contact.subscribed", "true",
		"account.technologies", "Salesforce|Marketo|SAP", "account.intent", "crm=0.8|erp=0.1", "contact.created", "2026-06-10", "contact.tags", "webinar|pricing",
		"account.revenue", "2500000",
	}
	v := contact(t, s, acme...)
	for text, want := range map[string]bool{
		`contact.status == "trial" && account.employees > 50`:                                                                 true,
		`contact.status == "trial" && contact.trial_end > now && contact.trial_end - now < days(7) && account.employees > 50`: true,  // high-value trial
		`contact.status == "trial" && contact.trial_end > now && contact.trial_end - now < days(4) && account.employees > 50`: false, //
		`has_all(account.technologies, ["Salesforce", "Marketo"])`:                                                            true,  // uses both
		`has_all(account.technologies, ["Salesforce", "HubSpot"])`:                                                            false,
		`account.employees >= 1 && account.employees <= 10`:                                                                   false, // size bands
		`account.employees >= 11 && account.employees <= 50`:                                                                  false,
		`account.employees >= 51 && account.employees <= 200`:                                                                 true,
		`account.employees >= 201 && account.employees <= 1000`:                                                               false,
		`account.employees > 1000`:                                                                                            false,
		`account.industry in ["healthcare", "finance", "education"]`:                                                          true,
		`contact.country in ["DE", "AT", "CH"] && contact.country != account.country`:                                         true,
		`score >= 80`:               true,  // sales-ready
		`score >= 50 && score < 80`: false, // nurture
		`tier in ["active", "warm"] && !(tier == "new")`:             true,
		`account.intent["crm"] > 0.5`:                                true, // intent of a provider
		`account.intent["hr"] > 0.5`:                                 false,
		`now - contact.created < days(7)`:                            true, // newly signed up
		`now - contact.created < days(5)`:                            false,
		`has_any(contact.tags, ["pricing", "demo"])`:                 true, // interests
		`has_none(contact.tags, ["competitor"])`:                     true,
		`!has(account.customer)`:                                     true,  // progressive profiling: not known yet
		`contact.status != "churned"`:                                true,  // complement
		`account.industry.startsWith("73")`:                          false, // hierarchical codes
		`contact.status.matches("(?i)^TRIAL$")`:                      true,
		`account.revenue > 1000000 && account.revenue <= 10000000.0`: true,
		`true`: true,
	} {
		if got := compile(t, s, text).Match(v); got != want {
			t.Errorf("%s is %v", text, got)
		}
	}
}

// Every operator, with the literal on either side, below, at and above it; the
// expectation is Go's own operator.
func TestOperatorsAtTheEdge(t *testing.T) {
	s := testSchema(t)
	for op, want := range map[string]func(a, b int) bool{
		"==": func(a, b int) bool { return a == b }, "!=": func(a, b int) bool { return a != b },
		"<": func(a, b int) bool { return a < b }, "<=": func(a, b int) bool { return a <= b },
		">": func(a, b int) bool { return a > b }, ">=": func(a, b int) bool { return a >= b },
	} {
		for _, sides := range [][2]string{
			{"account.employees", "2"},
			{"account.employees", "contact.visits"},
			{"contact.status", `"2"`},
			{"contact.created", "now"},
			{"contact.created + days(3)", "now + hours(72)"},
			{"contact.created", "account.renewal - days(5)"},
			{"contact.created - now", "days(0)"},
			{"contact.created - account.renewal", "days(-5)"},
			{`account.intent["crm"]`, "2"},
		} {
			left, right := compile(t, s, sides[0]+" "+op+" "+sides[1]), compile(t, s, sides[1]+" "+op+" "+sides[0])
			for n := 1; n <= 3; n++ {
				text := string(rune('0' + n))
				created := at().Add(time.Duration(n-2) * time.Microsecond).Format(time.RFC3339Nano)
				v := contact(t, s, "account.employees", text, "contact.visits", "2", "contact.status", text, "contact.created", created,
					"account.renewal", at().Add(5*day).Format(time.RFC3339Nano), "account.intent", "crm="+text)
				if left.Match(v) != want(n, 2) {
					t.Errorf("%s is %v for %d against 2", left.Text(), left.Match(v), n)
				}
				if right.Match(v) != want(2, n) {
					t.Errorf("%s %s %s became %s, which is %v for 2 against %d", sides[1], op, sides[0], right.Text(), right.Match(v), n)
				}
			}
		}
	}
}

func TestExplain(t *testing.T) {
	s := testSchema(t)
	v := contact(t, s, "contact.status", "trial", "account.employees", "20", "contact.trial_end", "2026-06-20", "account.intent", "crm=0.8", "contact.tags", "a|b")
	r := compile(t, s, `contact.status == "trial" && account.employees > 50 && !(contact.subscribed || "vip" in contact.tags) && (contact.trial_end < now + days(7) || account.intent.erp > contact.visits) && contact.country == account.country && true`)
	var got []string
	for _, c := range r.Explain(v) {
		got = append(got, c.String())
	}
	want := strings.Split(strings.TrimSpace(`
contact.status == "trial"  [contact.status = trial]  true
account.employees > 50  [account.employees = 20]  false
  not contact.subscribed  [contact.subscribed = missing]  false
  not "vip" in contact.tags  [contact.tags = a|b]  false
  contact.trial_end < now + days(7)  [contact.trial_end = 2026-06-20T00:00:00Z, now + days(7) = 2026-06-22T12:00:00Z]  true
  account.intent["erp"] > contact.visits  [account.intent["erp"] = missing, contact.visits = missing]  false
contact.country == account.country  [contact.country = missing, account.country = missing]  false
true  true`), "\n")
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if c := compile(t, s, `contact.country != "DE"`).Explain(v); len(c) != 1 || !c[0].Negated || !c[0].Missing || c[0].Result || c[0].Depth != 0 {
		t.Errorf("a single condition explains as %+v", c)
	}
	if (*Rule)(nil).Explain(v) != nil || r.Explain(&Values{}) != nil {
		t.Error("nothing to explain, and something explained")
	}
}

func TestNextChange(t *testing.T) {
	s := testSchema(t)
	v := contact(t, s, "contact.trial_end", "2026-06-20", "contact.created", "2026-06-01", "contact.subscribed", "true")
	tests := []struct{ text, want string }{
		{`contact.trial_end < now`, "2026-06-20T00:00:00.000001Z"},
		{`contact.trial_end <= now`, "2026-06-20T00:00:00Z"},
		{`contact.trial_end < now + days(3)`, "2026-06-17T00:00:00.000001Z"},
		{`now - contact.created < days(30) && contact.subscribed`, "2026-07-01T00:00:00Z"},
		{`now - contact.created < days(30) && !contact.subscribed`, "never"},
		{`contact.trial_end < now || contact.subscribed`, "never"},
		{`now >= timestamp("2026-12-24")`, "2026-12-24T00:00:00Z"},
		{`now >= timestamp("2025-12-24")`, "never"},
		{`account.renewal < now`, "never"},
		{`contact.subscribed`, "never"},
	}
	for _, tt := range tests {
		got := "never"
		if change, ok := compile(t, s, tt.text).NextChange(v); ok {
			got = change.Format(time.RFC3339Nano)
		}
		if got != tt.want {
			t.Errorf("%s changes %s, want %s", tt.text, got, tt.want)
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	s := testSchema(t)
	v := contact(t, s, "contact.status", "trial", "account.employees", "120", "account.technologies", "Marketo|Salesforce", "account.intent", "crm=0.8",
		"contact.trial_end", "2026-06-20", "contact.country", "DE", "contact.tags", "vip")
	for _, text := range benchmarkRules() {
		r := compile(t, s, text)
		if !r.Match(v) {
			t.Errorf("%s does not hold, so not all of it ran", text)
		}
		if n := testing.AllocsPerRun(200, func() { r.Match(v) }); n != 0 {
			t.Errorf("%s allocates %v times", text, n)
		}
	}
	record := s.Encode(nil, Account, v.Slots)
	if n := testing.AllocsPerRun(200, func() { record = s.Encode(record[:0], Account, v.Slots) }); n != 0 {
		t.Errorf("Encode into room allocates %v times", n)
	}
}

func benchmarkRules() map[string]string {
	return map[string]string{
		"text":    `contact.status == "trial"`,
		"trial":   `contact.status == "trial" && account.employees > 50`,
		"four":    `contact.status == "trial" && account.employees > 50 && account.employees <= 200 && account.intent["crm"] > 0.5`,
		"mixed":   `contact.country in ["DE", "AT", "CH"] && "vip" in contact.tags && contact.trial_end > now - days(30) && account.employees >= 3`,
		"lists":   `has_all(account.technologies, ["Salesforce", "Marketo"]) && has_none(contact.tags, ["competitor", "test"])`,
		"methods": `contact.status.startsWith("tri") && contact.status.contains("ia")`,
		"pattern": `contact.status.matches("^tri")`,
		"missing": `!(account.revenue > 5) && !has(contact.created) && contact.visits != 3`,
	}
}

// A schema and a rule are shared: under -race this finds what is not.
func TestConcurrentUse(t *testing.T) {
	s := testSchema(t)
	shared := compile(t, s, `contact.status.matches("^tri") && now > timestamp("2026-01-01")`)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			v := contact(t, s, "contact.status", "trial")
			for name, text := range benchmarkRules() {
				if _, err := s.Compile(text); err != nil || !shared.Match(v) || len(shared.Explain(v)) != 2 {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkMatch(b *testing.B) {
	s := testSchema(b)
	v := contact(b, s, "contact.status", "trial", "account.employees", "120", "account.technologies", "Marketo|Salesforce", "account.intent", "crm=0.8",
		"contact.trial_end", "2026-06-20", "contact.country", "DE", "contact.tags", "vip")
	for name, text := range benchmarkRules() {
		r := compile(b, s, text)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Match(v)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	s := testSchema(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Compile(`contact.status == "trial" && account.employees > 50`); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	s := testSchema(b)
	v := contact(b, s, "contact.status", "trial", "contact.country", "DE", "contact.visits", "3", "contact.subscribed", "true",
		"contact.trial_end", "2026-06-20", "contact.created", "2026-06-01", "contact.tags", "vip|webinar")
	record := s.Encode(nil, Contact, v.Slots)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Decode(record, v.Slots); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzCompile: whatever the text, Compile returns a rule or faults with a
// place; a rule prints as itself.
func FuzzCompile(f *testing.F) {
	for _, text := range benchmarkRules() {
		f.Add(text)
	}
	for _, text := range []string{
		"", "true", "((", `contact.status == "`, "now - contact.created < days(1) - hours(2)", "contact.visits in [1, 2.5, -3]", "has(account.intent.crm)",
		"!!(contact.subscribed != false)", "contact.status == 'a\\u00e4\\x41'", "a && b || c", "1 == 1 ? 2 : 3", "[1].map(x, x)", "contact.visits == -0.0", "\x00", "contact.`a b`",
		`events("A").between(days(9), hours(1)).where(property.a > 1 && property["b c"] in ["x"]).sum("a") >= 2`, `now - events("A").last() < days(3)`,
		`segment("x") || bucket("x") < .5`, `any_contact(role == "x") && contacts(score > 5) > 1 && no_contact(true)`, `has(events("A").where(property.in.x).avg("x"))`,
		`events("A").where(property["a"]["b"].c == timestamp("2026-01-01")).first() != now - days(1)`,
	} {
		f.Add(text)
	}
	s := testSchema(f)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 2000 {
			return // the parser is slow, and longer texts teach nothing
		}
		r, err := s.Compile(text)
		if err != nil {
			faults := Faults(err)
			if r != nil || len(faults) == 0 {
				t.Fatalf("%q: %v, %v", text, r, err)
			}
			for _, fault := range faults {
				if fault.Line < 1 || fault.Column < 1 || fault.Text == "" {
					t.Fatalf("%q: a fault without a place: %+v", text, fault)
				}
			}
			return
		}
		again, err := s.Compile(r.Text())
		if err != nil || again.Text() != r.Text() {
			t.Fatalf("%q prints as %q, and that as %v, %v", text, r.Text(), again, err)
		}
		v := r.Set().NewValues()
		if again.Match(v) != r.Match(v) {
			t.Fatalf("%q and %q differ", text, r.Text())
		}
		r.Explain(v)
		r.NextChange(v)
	})
}

func FuzzParseNode(f *testing.F) {
	f.Add([]byte(`{"kind":"test","op":"==","left":{"attr":"contact.status"},"right":{"text":"x\" || true"}}`))
	f.Add([]byte(`{"kind":"not","nodes":[{"kind":"test","op":"in","left":{"text":"a"},"right":{"attr":"contact.tags"}}]}`))
	f.Add([]byte(`{"kind":"any","nodes":[{"kind":"const","value":true},{"kind":"test","op":"<","left":{"attr":"contact.created"},"right":{"now":true,"offset":"-7d"}}]}`))
	f.Add([]byte(`{"kind":"test","op":"\u003e","left":{"events":{"name":"A","older":"7d","younger":"1d","aggregate":"sum","property":"n","where":{"kind":"test","op":"is","left":{"property":"a.b"}}}},"right":{"number":2}}`))
	f.Add([]byte(`{"kind":"test","op":"\u003c","left":{"bucket":"a"},"right":{"number":0.1}}`))
	f.Add([]byte(`{"kind":"test","op":"any_contact","left":{"contacts":{"kind":"segment","segment":"x"}}}`))
	f.Add([]byte(`{"kind":"test","op":"==","left":{"contacts":{"kind":"const","value":true}},"right":{"number":0}}`))
	s := testSchema(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := ParseNode(data)
		if err != nil {
			return
		}
		r, err := s.CompileNode(n)
		if err != nil {
			return
		}
		v := r.Set().NewValues()
		nobody := question{slow: &slow{now: v.Now}, me: &person{}, pair: true}
		if got, want := r.Match(v), nobody.ask(n); got != want {
			t.Fatalf("%s became %s, which is %v; the tree says %v", data, r.Text(), got, want)
		}
	})
}
