// SPDX-License-Identifier: Apache-2.0

package warmup

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"
)

// TestPlans plays plans over days: one file each, the name is the sentence it shows.
func TestPlans(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		t.Helper()
		var p Plan
		var states map[string]State
		day := Day(20780)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			var b strings.Builder
			switch d.Cmd {
			case "plan":
				p, states = readPlan(t, d), map[string]State{}
				if err := p.Validate(); err != nil {
					return err.Error() + "\n"
				}
				return "ok\n"
			case "allowance":
				for _, a := range d.CmdArgs {
					x := p.Allowance(states[a.Key], a.Key)
					fmt.Fprintf(&b, "%s: limited %v, allowed %d, reserved %d, admits %v\n", a.Key, x.Limited, x.Allowed, x.Reserved, x.Admit)
				}
			case "skip":
				day += Day(number(t, d.CmdArgs[0].Key))
				return "today " + day.String() + "\n"
			case "day": // day google=180 other=20 [hold=...]
				e := readEvidence(d)
				for _, a := range d.CmdArgs {
					if a.Key == "hold" || a.Key == "back" {
						continue
					}
					ended := Ended{Day: day, Provider: a.Key, Used: number(t, a.Vals[0]), Allowed: p.Allowance(states[a.Key], a.Key).Allowed}
					if states[a.Key].Done {
						ended.Allowed = 1 << 30
					}
					s, why := p.Advance(states[a.Key], ended, e)
					states[a.Key] = s
					fmt.Fprintf(&b, "%s: %s\n", a.Key, why)
				}
				day++
			case "idle": // idle google=30: days without mail, each judged; what changed is told
				a := d.CmdArgs[0]
				for n := range number(t, a.Vals[0]) {
					s, why := p.Advance(states[a.Key], Ended{Day: day, Provider: a.Key}, Evidence{})
					if p.Position(s) != p.Position(states[a.Key]) {
						fmt.Fprintf(&b, "after %d days %s: %s\n", n+1, a.Key, why)
					}
					states[a.Key] = s
					day++
				}
			case "hold", "release", "advance", "step-back": // by hand
				for _, a := range d.CmdArgs {
					s, err := p.Steer(states[a.Key], Act(d.Cmd), day, "ann: a test")
					if err != nil {
						fmt.Fprintf(&b, "%s: %v\n", a.Key, err)
						continue
					}
					states[a.Key] = s
					fmt.Fprintf(&b, "%s: %s\n", a.Key, p.Reason(s))
				}
			case "why":
				for _, a := range d.CmdArgs {
					fmt.Fprintf(&b, "%s: own %v, %s\n", a.Key, p.Own(a.Key), p.Reason(states[a.Key]))
				}
			case "again":
				s, why := p.Advance(states[d.CmdArgs[0].Key], Ended{Day: day - 1, Provider: d.CmdArgs[0].Key, Used: 1000000, Allowed: 1000000}, Evidence{})
				fmt.Fprintf(&b, "%s: %s\n", d.CmdArgs[0].Key, why)
				if s != states[d.CmdArgs[0].Key] {
					t.Fatal("a day was judged twice")
				}
			default:
				t.Fatalf("unknown command %s", d.Cmd)
			}
			return b.String()
		})
	})
}

// readEvidence reads hold=(...) and back=(...).
func readEvidence(d *datadriven.TestData) Evidence {
	var e Evidence
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "hold":
			e.Hold = strings.Join(a.Vals, " ")
		case "back":
			e.StepBack = strings.Join(a.Vals, " ")
		}
	}
	return e
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// readPlan reads one stage a line: "tiers=active,new share=0.15 default=500 google=200".
func readPlan(t *testing.T, d *datadriven.TestData) Plan {
	t.Helper()
	var p Plan
	for _, a := range d.CmdArgs {
		if a.Key == "used" {
			p.Gate.Used, _ = strconv.ParseFloat(a.Vals[0], 64)
		}
	}
	for line := range strings.Lines(d.Input) {
		s := Stage{PerDay: map[string]int{}}
		for f := range strings.FieldsSeq(line) {
			k, v, _ := strings.Cut(f, "=")
			switch k {
			case "tiers":
				s.Tiers = strings.Split(v, ",")
			case "share":
				s.NewShare, _ = strconv.ParseFloat(v, 64)
			default:
				s.PerDay[k] = number(t, v)
			}
		}
		p.Stages = append(p.Stages, s)
	}
	return p
}

func TestDaysOfDST(t *testing.T) {
	for _, c := range []struct {
		zone, day string
		hours     float64
		start     string
	}{
		{"UTC", "2026-11-23", 24, "2026-11-23T00:00:00Z"},
		{"Europe/Berlin", "2026-03-29", 23, "2026-03-29T00:00:00+01:00"},
		{"Europe/Berlin", "2026-10-25", 25, "2026-10-25T00:00:00+02:00"},
		{"America/Sao_Paulo", "2018-11-04", 23, "2018-11-04T01:00:00-02:00"}, // midnight is skipped
		{"America/Sao_Paulo", "2018-02-17", 25, "2018-02-17T00:00:00-02:00"}, // 23:00 comes twice
		{"Asia/Beirut", "2024-03-31", 23, "2024-03-31T01:00:00+03:00"},
		{"America/St_Johns", "2010-11-07", 25, "2010-11-07T00:00:00-02:30"}, // 00:01 goes back to 23:01
		{"Pacific/Apia", "2011-12-31", 24, "2011-12-31T00:00:00+14:00"},     // the 30th does not exist
		{"Australia/Lord_Howe", "2026-04-05", 24.5, "2026-04-05T00:00:00+11:00"},
	} {
		loc, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		at, _ := time.Parse(time.DateOnly, c.day)
		d := Day(at.Unix() / 86400)
		start, end := DayBounds(d, loc)
		if got := start.Format(time.RFC3339); got != c.start {
			t.Errorf("%s %s starts at %s, want %s", c.zone, d, got, c.start)
		}
		if got := end.Sub(start).Hours(); got != c.hours {
			t.Errorf("%s %s has %g hours, want %g", c.zone, d, got, c.hours)
		}
	}
}

// TestDaysAreAPartition says that every instant is in exactly one day, for a
// century of instants in awkward zones.
func TestDaysAreAPartition(t *testing.T) {
	var zones []*time.Location
	for _, z := range []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo"} {
		loc, err := time.LoadLocation(z)
		if err != nil {
			t.Fatal(err)
		}
		zones = append(zones, loc)
	}
	w := Window{8 * time.Hour, 20 * time.Hour}
	rapid.Check(t, func(t *rapid.T) {
		loc := rapid.SampledFrom(zones).Draw(t, "zone")
		at := time.Unix(rapid.Int64Range(-3e8, 3e9).Draw(t, "t"), 0)
		d := DayOf(at, loc)
		start, end := DayBounds(d, loc)
		if at.Before(start) || !at.Before(end) {
			t.Fatalf("%s in %s: day %s is %s to %s", at, loc, d, start, end)
		}
		if h := end.Sub(start); h < 22*time.Hour || h > 26*time.Hour {
			t.Fatalf("%s in %s has %s", d, loc, h)
		}
		o, c := w.Bounds(d, loc)
		if o.Before(start) || c.After(end) || !o.Before(c) {
			t.Fatalf("window of %s in %s: %s to %s", d, loc, o, c)
		}
	})
}

func TestWindows(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	const h = time.Hour
	for w, want := range map[Window]string{
		{8 * h, 20 * h}: "", {0, 24 * h}: "", {}: "",
		{20 * h, 8 * h}: "bad window: 20:00-08:00 crosses midnight, where the day's budget ends; use two plans or a window within a day",
		{8 * h, 8 * h}:  "bad window: 08:00-08:00 is empty; leave it out for the whole day",
		{8 * h, 25 * h}: "bad window: 08:00-25:00 leaves the day",
	} {
		if err := w.Validate(); (err == nil) != (want == "") || (err != nil && err.Error() != want) {
			t.Errorf("%s: %v, want %q", w, err, want)
		}
	}
	spring := Day(20541) // 2026-03-29: 02:00 becomes 03:00
	w := Window{2*time.Hour + 30*time.Minute, 24 * time.Hour}
	if o, c := w.Bounds(spring, berlin); c.Sub(o) <= 20*time.Hour || c.Sub(o) >= 22*time.Hour {
		t.Errorf("02:30-24:00 on the day without 02:30: %s to %s", o, c)
	}
}

// TestClimb holds the rules over random plans and days: a stage is only left
// upwards by use, never skipped, and only fallen behind by forgetting; where a plan grows, so does
// what is allowed.
func TestClimb(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Plan{Gate: Gate{Used: rapid.SampledFrom([]float64{0, 0.5, 1}).Draw(t, "gate")}}
		n := 0
		for range rapid.IntRange(1, 6).Draw(t, "stages") {
			n += rapid.IntRange(1, 500).Draw(t, "step")
			p.Stages = append(p.Stages, Stage{PerDay: map[string]int{Default: n}, NewShare: 0.15})
		}
		gate := p.Gate.Used
		if gate == 0 {
			gate = 0.9
		}
		var s State
		day, before, fell := Day(100), 0, false
		for range 30 {
			a := p.Allowance(s, "google")
			if !s.Done && (!fell && a.Allowed < before || a.Reserved > a.Allowed) {
				t.Fatalf("allowed fell from %d to %d (reserved %d)", before, a.Allowed, a.Reserved)
			}
			before = a.Allowed
			used := rapid.IntRange(0, max(0, a.Allowed)).Draw(t, "used")
			if rapid.Bool().Draw(t, "full") {
				used = a.Allowed
			}
			day += Day(rapid.IntRange(1, 5).Draw(t, "missed"))
			next, why := p.Advance(s, Ended{Day: day, Provider: "google", Used: used, Allowed: a.Allowed}, Evidence{})
			enough := float64(used) >= gate*float64(a.Allowed)-1e-6
			from, to := p.Position(s), p.Position(next)
			fell = to < from
			switch {
			case why == "" || why != next.Why:
				t.Fatalf("%q, kept %q", why, next.Why)
			case fell && (s.Kept == 0 || day-s.Kept <= Grace) || to > from+1:
				t.Fatalf("from stage %d to %d: %s", from, to, why)
			case fell && to == 0 && day-s.Kept < Memory && s.Peak == len(p.Stages) && s.Peak > Memory-Grace:
				t.Fatalf("all is forgotten after %d days", day-s.Kept)
			case day-next.Kept >= Memory && to != 0:
				t.Fatalf("%d idle days, and still at %d", day-next.Kept, to)
			case !fell && !s.Done && enough != (to > from):
				t.Fatalf("used %d of %d with gate %g: %s", used, a.Allowed, gate, why)
			}
			s = next
		}
	})
}

func TestEveryProviderHasAnAllowance(t *testing.T) {
	p := Plan{Stages: []Stage{{PerDay: map[string]int{Total: 70}}}}
	got := map[string]int{}
	for _, k := range []string{"google", Other, Total} {
		got[k] = p.Allowance(State{}, k).Allowed
	}
	if want := map[string]int{"google": 70, Other: 70, Total: 70}; !maps.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if a := (&Plan{}).Allowance(State{}, "google"); !a.Limited || a.Allowed != 0 {
		t.Fatalf("a plan without stages allows %+v", a)
	}
	if keys := sortedKeys(map[string]int{"b": 1, "a": 2}); !slices.Equal(keys, []string{"a", "b"}) {
		t.Fatal(keys)
	}
}
