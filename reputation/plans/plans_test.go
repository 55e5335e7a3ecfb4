// SPDX-License-Identifier: Apache-2.0

package plans

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seguemta/segue/reputation/warmup"
)

// TestPublished holds figures that the publishers' pages have.
func TestPublished(t *testing.T) {
	if _, err := parse(published); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		plan, key string
		figures   map[int]int // by day
		stages    int
	}{
		{"sparkpost", "total", map[int]int{1: 200, 2: 500, 5: 5000, 8: 40_000, 10: 75_000, 14: 250_000, 15: 325_000, 21: 1_250_000, 25: 4_250_000, 28: 7_500_000, 29: 10_000_000}, 29},
		{"sendgrid-pdf", "total", map[int]int{1: 50, 5: 5000, 10: 100_000, 12: 250_000, 14: 600_000, 15: 1_000_000, 17: 4_000_000}, 17},
		{"sendgrid-automated", "total", map[int]int{1: 480, 2: 672, 7: 3624, 14: 38_088, 21: 401_616, 28: 176_395 * 24, 30: 345_735 * 24, 36: 2_603_222 * 24}, 36},
		{"sendgrid-marketing", "total", map[int]int{1: 50, 2: 100, 3: 200, 8: 6400}, 16},
		{"braze-conservative", "total", map[int]int{3: 50, 4: 100, 7: 500, 10: 1000, 12: 1000, 14: 2000, 15: 2000, 17: 4000, 21: 8000, 22: 16_000, 25: 32_000}, 36},
		{"braze-moderate", "total", map[int]int{1: 50, 8: 16_000, 10: 35_000, 12: 75_000, 14: 150_000, 15: 200_000, 17: 375_000, 21: 1_000_000}, 21},
		{"braze-aggressive", "total", map[int]int{8: 40_000, 14: 600_000, 17: 4_000_000}, 17},
		{"salesforce", "total", map[int]int{1: 50_000, 7: 50_000, 8: 100_000, 15: 200_000, 22: 400_000, 29: 800_000, 36: 1_600_000}, 36},
		{"responsys", "google", map[int]int{1: 10_000, 5: 10_000, 6: 12_500, 7: 12_500}, 7},
		{"responsys", "microsoft", map[int]int{3: 7500, 4: 10_000, 6: 15_000, 7: 15_000}, 7},
		{"responsys", "yahoo", map[int]int{3: 5000, 4: 7500}, 7},
		{"ipost", "total", map[int]int{1: 500, 3: 500, 4: 1000, 22: 64_000, 25: 96_000}, 45},
		{"momentum", "yahoo", map[int]int{1: 50_000, 28: 1_400_000, 29: 2_400_000}, 29},
		{"momentum", "google", map[int]int{14: 240_000, 15: 2_400_000}, 29},
		{"momentum", "aol", map[int]int{4: 24_000, 5: 240_000, 10: 240_000, 11: 2_400_000}, 29},
	} {
		p, ok := Find(c.plan)
		if !ok || len(p.Stages) != c.stages {
			t.Errorf("%s: known %v, %d stages, want %d", c.plan, ok, len(p.Stages), c.stages)
			continue
		}
		for day, want := range c.figures {
			if got := p.Stages[day-1].PerDay[c.key]; got != want {
				t.Errorf("%s, day %d: %s = %d, want %d", c.plan, day, c.key, got, want)
			}
		}
	}
	if _, ok := Find("none"); ok {
		t.Error("a schedule that nobody published")
	}
}

// TestPublishedCanBeUsed: every schedule is valid, says what it is, never shrinks,
// and limits every provider in every stage.
func TestPublishedCanBeUsed(t *testing.T) {
	names := make(map[string]bool)
	for _, p := range All() {
		plan := p.Plan()
		if err := plan.Validate(); err != nil || names[p.Name] || p.From == "" || p.Unit == "" {
			t.Errorf("%s: %v", p.Name, err)
		}
		names[p.Name] = true
		for i, s := range p.Stages {
			state := warmup.State{Stage: i}
			if a := plan.Allowance(state, "somebody"); !a.Limited || a.Allowed == 0 || a.Reserved == 0 {
				t.Errorf("%s, stage %d: %+v", p.Name, i+1, a)
			}
			for name, n := range s.PerDay {
				if i > 0 && n < p.Stages[i-1].PerDay[name] {
					t.Errorf("%s, stage %d: %s shrinks", p.Name, i+1, name)
				}
			}
		}
	}
	if !slices.Equal(Names(), []string{"sparkpost", "sendgrid-pdf", "sendgrid-automated", "sendgrid-marketing", "braze-conservative", "braze-moderate", "braze-aggressive", "salesforce", "responsys", "ipost", "momentum"}) {
		t.Error(Names())
	}
}

func TestABadFileSaysWhere(t *testing.T) {
	for text, want := range map[string]string{
		"total 5":                             "line 1: total stands before the first plan",
		"plan a\nfrom b\nunit c\ntotal ~y":    `line 4: "~y" is not a number of recipients`,
		"plan a\nfrom b\nunit c\ntotal yx5":   `line 4: "y" is not how often a figure stands`,
		"plan a\nfrom b\nunit c\ntotal 2000x": `line 4: "" is not a number of recipients`,
		"plan a\ntotal 2000x5":                "line 2: more than 1000 stages",
		"plan a\ntotal -5":                    `line 2: "-5" is not a number of recipients`,
		"plan a\ntiers 1":                     "line 2: tiers need a stage and a name",
		"plan a\ntiers 0 new":                 `line 2: "0" is not the number of a stage`,
		"plan a\nfrom b":                      "plan a: a name, from, unit and figures are needed",
	} {
		if _, err := parse(text); err == nil || err.Error() != "bad file of schedules: "+want {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// three is a plan in which a tier joins late.
func three() warmup.Plan {
	return warmup.Plan{Name: "three", Stages: []warmup.Stage{
		{Tiers: []string{"active", "new"}, NewShare: 0.1, PerDay: map[string]int{"default": 100}},
		{Tiers: []string{"active", "new"}, NewShare: 0.1, PerDay: map[string]int{"default": 200}},
		{Tiers: []string{"active", "new", "warm"}, PerDay: map[string]int{"default": 400}},
	}}
}

// TestForecast plays a list: 350 active, 25 new and 300 warm contacts, two of
// five at google, from one source.
func TestForecast(t *testing.T) {
	f, err := Predict(Asked{
		Plan: three(), Sources: 1, PerWeek: 1,
		Tiers:  []Tier{{"active", 350}, {"new", 25}, {"warm", 300}},
		Shares: []Share{{"google", 2}, {"other", 3}},
	})
	if err != nil {
		t.Fatal(err)
	}
	type day struct{ sent, waiting map[string]int }
	for i, want := range []day{
		{map[string]int{"active": 180, "new": 20}, map[string]int{"active": 170, "new": 5, "warm": 300}},
		{map[string]int{"active": 170, "new": 5}, map[string]int{"warm": 300}},
	} {
		if got := f.Days[i]; !maps.Equal(got.Sent, want.sent) || !maps.Equal(got.Waiting, want.waiting) {
			t.Errorf("day %d: sent %v, waiting %v", i+1, got.Sent, got.Waiting)
		}
	}
	if f.Days[0].Allowed != 200 || f.Days[0].Stages["google"] != 1 || f.Days[1].Stages["google"] != 2 {
		t.Errorf("%+v", f.Days[:2])
	}
	// Nobody is left whom the stage admits, and only use leads to the next.
	if f.Left != 300 || !strings.HasPrefix(f.Warnings[0], "300 contacts are never reached: google: the stage does not admit warm; other: the stage does not admit warm") {
		t.Errorf("%d left, %q", f.Left, f.Warnings)
	}
	if !strings.HasPrefix(f.Warnings[1], "675 recipients a week and source are under 40,000") || !strings.Contains(f.Warnings[2], "38 recipients a day and source at google are under 1,000") {
		t.Errorf("%q", f.Warnings)
	}
	if !maps.Equal(f.Begins, map[string]int{"active": 1, "new": 1}) || f.Ends["active"] != 2 {
		t.Errorf("%v, %v", f.Begins, f.Ends)
	}
}

// TestForecastOfAMillion is what the manual shows.
func TestForecastOfAMillion(t *testing.T) {
	p, _ := Find("sparkpost")
	ask := Asked{Plan: p.Plan(), Sources: 2, PerWeek: 2, Tiers: []Tier{{"active", 600_000}, {"new", 100_000}, {"warm", 300_000}}}
	f, err := Predict(ask)
	if err != nil || f.Left != 0 || len(f.Warnings) != 0 {
		t.Fatalf("%v, %d left, %q", err, f.Left, f.Warnings)
	}
	if f.Begins["warm"] != 12 || len(f.Days) != 13 || f.Ends["warm"] != len(f.Days) {
		t.Errorf("warm goes on days %d to %d of %d", f.Begins["warm"], f.Ends["warm"], len(f.Days))
	}
	ask.Sources = 40
	if f, err = Predict(ask); err != nil || len(f.Warnings) != 0 {
		t.Errorf("50,000 a week and source: %v %q", err, f.Warnings)
	}
	ask.Sources = 60
	if f, err = Predict(ask); err != nil || !strings.HasSuffix(f.Warnings[len(f.Warnings)-1], "use 50 sources") {
		t.Errorf("%v %q", err, f.Warnings)
	}
	for _, bad := range []Asked{{Plan: ask.Plan, Tiers: ask.Tiers}, {Plan: ask.Plan, Sources: 1}, {Sources: 1, Tiers: ask.Tiers}} {
		if _, err := Predict(bad); err == nil {
			t.Errorf("%+v was answered", bad)
		}
	}
}

// TestForecastLosesNobody: whatever is asked, each contact is sent to once or left,
// no day sends more than it allows, and nobody whom the stage does not admit.
func TestForecastLosesNobody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := Asked{Sources: rapid.IntRange(1, 3).Draw(t, "sources"), Plan: three()}
		if rapid.Bool().Draw(t, "published") {
			p := rapid.SampledFrom(All()).Draw(t, "plan")
			a.Plan = p.Plan()
		}
		contacts := 0
		for _, name := range []string{"active", "new", "warm"} {
			n := a.Sources * rapid.IntRange(0, 3000).Draw(t, name)
			contacts += n
			a.Tiers = append(a.Tiers, Tier{name, n})
		}
		if rapid.Bool().Draw(t, "shares") {
			a.Shares = []Share{{"google", 5}, {"yahoo", 1}, {"other", 4}}
		}
		f, err := Predict(a)
		if err != nil {
			t.Fatal(err)
		}
		sent := f.Left
		for _, d := range f.Days {
			sent += d.Total
			sum := 0
			for _, n := range d.Sent {
				sum += n
			}
			warm := d.Sent["warm"] > 0 && a.Plan.Name == "three" && d.Stages["google"] < 3 && d.Stages["yahoo"] < 3 && d.Stages["other"] < 3
			if sum != d.Total || d.Allowed > 0 && d.Total > d.Allowed || warm {
				t.Fatalf("%+v", d)
			}
		}
		if sent != contacts {
			t.Fatalf("%d of %d contacts are accounted for", sent, contacts)
		}
	})
}
