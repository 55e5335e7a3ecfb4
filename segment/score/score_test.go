// SPDX-License-Identifier: Apache-2.0

package score

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/segment/rule"
)

const day = 24 * time.Hour

// start is the first instant of a UTC day.
func start() int64 { return time.Date(2026, 6, 15, 0, 0, 0, 0, time.UTC).UnixMicro() }

func after(d time.Duration) int64 { return start() + d.Microseconds() }

func testSchema(t testing.TB) *rule.Schema {
	t.Helper()
	s, err := rule.NewSchema([]rule.Attribute{
		{Name: "account.industry", Type: rule.Text},
		{Name: "account.employees", Type: rule.Number},
		{Name: "contact.country", Type: rule.Text},
		{Name: "contact.signed_at", Type: rule.Time},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// published is the published example, with points that take away.
func published() Options {
	return Options{
		Fit: []FitRule{
			{`account.industry == "software"`, 30},
			{`account.employees >= 50`, 20},
			{`contact.country in ["DE", "AT", "CH"]`, 10},
			{`account.industry == "email"`, -100},
		},
		Activities: []Activity{
			{Event: "Pricing Viewed", Points: 20},
			{Event: "Case Study Read", Points: 15},
			{Event: "Email Link Clicked", Points: 10, PerDay: 20},
			{Event: "Email Opened", Points: 5, PerDay: 5},
			{Event: "Unsubscribed", Points: -50},
		},
		FitMax: 50, BehaviourMax: 50, HalfLife: 30 * day,
	}
}

func testModel(t testing.TB, change func(*Options)) *Model {
	t.Helper()
	o := published()
	if change != nil {
		change(&o)
	}
	m, err := New(testSchema(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func event(name string, at int64) *rule.Event { return &rule.Event{Name: name, Time: at} }

func TestFitIsClamped(t *testing.T) {
	m, s := testModel(t, nil), testSchema(t)
	for _, x := range []struct {
		industry, country string
		employees, want   float64
	}{
		{"software", "DE", 500, 50}, // 60 of 50
		{"software", "FR", 500, 50},
		{"software", "DE", 10, 40},
		{"", "AT", 0, 10},
		{"", "", 0, 0},
		{"email", "DE", 500, 0}, // -70
	} {
		v := s.NewValues()
		s.Set(v, "account.industry", rule.TextValue(x.industry))
		s.Set(v, "contact.country", rule.TextValue(x.country))
		s.Set(v, "account.employees", rule.NumberValue(x.employees))
		if got := m.Fit(v); got != x.want {
			t.Errorf("%+v: fit is %g", x, got)
		}
		sum := 0.0
		for _, r := range m.Reasons(v) {
			if r.Holds {
				sum += r.Points
			}
		}
		if min(max(sum, 0), 50) != x.want {
			t.Errorf("%+v: reasons say %g", x, sum)
		}
	}
}

// TestActivitiesOfAnySpelling: an activity is written as people write it.
func TestActivitiesOfAnySpelling(t *testing.T) {
	m, s := testModel(t, func(o *Options) {
		o.Activities = append(o.Activities, Activity{Event: "user signed in", Points: 7})
	}), State{}
	m.Fold(&s, event("Signed In", start()))
	if got := m.Behaviour(&s); got.ValueAt(start()) != 7 {
		t.Errorf("behaviour is %g, want 7", got.ValueAt(start()))
	}
}

func TestHalfLife(t *testing.T) {
	m, s := testModel(t, nil), State{}
	m.Fold(&s, event("Pricing Viewed", after(0)))
	d := m.Behaviour(&s)
	for days, want := range map[int64]float64{0: 20, 30: 10, 60: 5, 300: 20.0 / 1024} {
		if got := d.ValueAt(start() + days*dayMicro); got != want {
			t.Errorf("after %d days %g, wanted %g", days, got, want)
		}
	}
	m.Fold(&s, event("Pricing Viewed", after(30*day)))
	total := m.Total(40, &s)
	if got := total.ValueAt(after(30 * day)); got != 70 {
		t.Errorf("after another, 40 of fit and behaviour are %g", got)
	}
	if got := m.Describe(&s, after(60*day)); got != "15.0 of 50: 30.0 on 2026-07-15, half of it every 30d" {
		t.Error(got)
	}
	for range 4 {
		m.Fold(&s, event("Pricing Viewed", after(30*day)))
	}
	if total = m.Total(40, &s); total.ValueAt(after(30*day)) != 90 {
		t.Errorf("110 of 50 are %g", total.ValueAt(after(30*day)))
	}
}

func TestComplaintFreezes(t *testing.T) {
	m := testModel(t, nil)
	var first, last, mixed State
	m.Fold(&first, event(EventComplaint, after(0)))
	m.Fold(&first, event("Pricing Viewed", after(time.Hour)))
	m.Fold(&last, event("Pricing Viewed", after(time.Hour)))
	m.Fold(&last, event("Email Opened", after(time.Hour)))
	m.Fold(&last, event(EventComplaint, after(2*time.Hour)))
	for _, s := range []State{first, last} {
		d := m.Total(50, &s)
		if !s.Frozen() || d.ValueAt(after(3*time.Hour)) != 0 || string(s.Append(nil)) != string(first.Append(nil)) {
			t.Errorf("%+v scores %g", s, d.ValueAt(after(3*time.Hour)))
		}
	}
	if !strings.Contains(m.Describe(&first, after(0)), "a complaint ended it") {
		t.Error(m.Describe(&first, after(0)))
	}
	m.Fold(&mixed, event("Pricing Viewed", after(0)))
	m.Fold(&mixed, event("Unsubscribed", after(0)))
	if d := m.Total(50, &mixed); d.ValueAt(after(0)) != 50 || mixed.value != -30 {
		t.Errorf("after an unsubscription %g of %g", d.ValueAt(after(0)), mixed.value)
	}
	m.Fold(&mixed, event("Pricing Viewed", after(0)))
	m.Fold(&mixed, event("Case Study Read", after(0)))
	if d := m.Behaviour(&mixed); d.ValueAt(after(0)) != 5 {
		t.Errorf("points below 0 are forgotten: %g", d.ValueAt(after(0)))
	}
}

func TestMachinesScoreNothing(t *testing.T) {
	m, s := testModel(t, nil), State{}
	for _, name := range []string{"Email Opened", "Email Link Clicked", "Pricing Viewed"} {
		e := event(name, after(0))
		e.Properties = map[string]rule.Value{PropertyMachine: rule.BooleanValue(true)}
		if m.Fold(&s, e) || !s.IsZero() {
			t.Errorf("%s of a machine: %+v", name, s)
		}
		e.Properties[PropertyMachine] = rule.BooleanValue(false)
		if !m.Fold(&s, e) {
			t.Errorf("%s of a person counts nothing", name)
		}
		s = State{}
	}
	if m.Fold(&s, event("Something Else", after(0))) || m.Fold(&s, event("Pricing Viewed", math.MaxInt64)) {
		t.Error("an event that is nothing changed something")
	}
}

func TestNewFinds(t *testing.T) {
	_, err := New(testSchema(t), Options{
		Fit: []FitRule{
			{`account.industri == "software"`, 10},
			{`score > 10`, 10},
			{`contact.signed_at > now - days(3)`, 10},
			{`account.employees > 10`, 0},
		},
		Activities: []Activity{{Points: 1}, {Event: "A", Points: math.NaN()}, {Event: "A", Points: 1, PerDay: -1}, {Event: EventComplaint, Points: -5}},
		FitMax:     -1, BehaviourMax: math.Inf(1), HalfLife: time.Minute, Account: 7,
	})
	for _, want := range []string{
		"fit_max is -1", "behaviour_max is +Inf", "half_life is 1m0s", "account score 7",
		"fit rule 1: where: 1:", "did you mean", "fit rule 2: where: 1:1: a fit rule may not read score",
		"fit rule 3: where: 1:1: a fit rule may not depend on the time", "fit rule 4: points: 0 are no points",
		"behaviour rule 1: event: it is empty", "behaviour rule 2: points: NaN", "behaviour rule 3: per_day: -1 is no cap",
		"behaviour rule 4: event: \"Email Marked as Spam\" gives no points",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}

func TestFilters(t *testing.T) {
	m := testModel(t, func(o *Options) {
		o.Activities = []Activity{
			{Event: "Order", Filter: `property.total > 100 && property.currency == "EUR"`, Points: 30},
			{Event: "Order", Points: 1},
			{Event: `Say "Hi"`, Filter: `property.to.name.startsWith("A")`, Points: 5, PerDay: 5},
		}
	})
	text, number := rule.TextValue, rule.NumberValue
	for _, x := range []struct {
		event      string
		properties map[string]rule.Value
		want       float64
	}{
		{"Order", map[string]rule.Value{"total": number(101), "currency": text("EUR")}, 31},
		{"Order", map[string]rule.Value{"total": number(101), "currency": text("USD")}, 1},
		{"Order", map[string]rule.Value{"total": text("101"), "currency": text("EUR")}, 1},
		{"Order", nil, 1},
		{`Say "Hi"`, map[string]rule.Value{"to.name": text("Ada")}, 5},
		{`Say "Hi"`, map[string]rule.Value{"to.name": text("Bob")}, 0},
	} {
		var s State
		e := event(x.event, after(0))
		e.Properties = x.properties
		m.Fold(&s, e)
		if s.value != x.want {
			t.Errorf("%s %v gives %g, wanted %g", x.event, x.properties, s.value, x.want)
		}
	}
}

func TestCounts(t *testing.T) {
	m := testModel(t, nil)
	for name, want := range map[string]bool{"Pricing Viewed": true, EventComplaint: true, "Email Delivered": false} {
		if m.Counts(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func TestFiltersThatAreNone(t *testing.T) {
	for filter, want := range map[string]string{
		`property.total >`:                              "1:17: ",
		`contact.country == "DE"`:                       "1:1: ",
		`property.x == 1).within(days(3)`:               "1:1: it is not one condition",
		`true).count() > 0 || events("B").where(true`:   "1:1: it is not one condition",
		`true).count() > 0 || (contact.country == "DE"`: "",
		`property.x == 1).sum("y"`:                      "1:",
	} {
		_, err := New(testSchema(t), Options{Activities: []Activity{{Event: "A", Filter: filter, Points: 1}}, HalfLife: 30 * day})
		if bad, ok := errors.AsType[*RuleError](err); !ok || bad.Key != "filter" || !strings.Contains(err.Error(), "filter: "+want) {
			t.Errorf("%s: %v", filter, err)
		}
	}
	for where, want := range map[string]string{
		`events("A").count() > 1`:                 "a fit rule may not read events",
		`any_contact(contact.country == "DE")`:    "a fit rule may not ask other contacts",
		`segment("vip")`:                          "vip",
		`behaviour > 1`:                           "may not read behaviour",
		`events("A").within(days(3)).count() > 1`: "a fit rule may not read events",
	} {
		_, err := New(testSchema(t), Options{Fit: []FitRule{{where, 1}}, HalfLife: 30 * day})
		if bad, ok := errors.AsType[*RuleError](err); !ok || bad.Key != "where" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", where, err)
		}
	}
	_, err := New(testSchema(t), Options{Fit: []FitRule{{`"vip" in tags && language == "de" && role == "buyer" && bucket("a") < 0.5`, 1}}, HalfLife: 30 * day})
	if err != nil {
		t.Errorf("what is known of a contact: %v", err)
	}
}

func TestKey(t *testing.T) {
	base := testModel(t, nil).Key()
	for i, change := range []func(*Options){
		func(o *Options) { o.HalfLife = 31 * day },
		func(o *Options) { o.Activities[0].Points = 21 },
		func(o *Options) { o.Activities[2].PerDay = 21 },
		func(o *Options) { o.Activities = o.Activities[1:] },
	} {
		if testModel(t, change).Key() == base {
			t.Errorf("change %d: states of the other model are taken for this one's", i)
		}
	}
	whole := testModel(t, nil).Identity()
	for i, change := range []func(*Options){
		func(o *Options) { o.BehaviourMax = 10 },
		func(o *Options) { o.FitMax = 10 },
		func(o *Options) { o.Fit = o.Fit[1:] },
		func(o *Options) { o.Fit[0].Points = 31 },
		func(o *Options) { o.Account = AccountTop3 },
	} {
		m := testModel(t, change)
		if m.Key() != base {
			t.Errorf("change %d: what is asked at reading makes states unreadable", i)
		}
		if m.Identity() == whole {
			t.Errorf("change %d: scores of the other model are taken for this one's", i)
		}
	}
	if testModel(t, func(o *Options) { o.HalfLife = 31 * day }).Identity() == whole {
		t.Error("another half-life is the same model")
	}
}
