// SPDX-License-Identifier: Apache-2.0

package tier

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// at is the now of the tests.
func at() time.Time { return time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC) }

func before(days int) time.Time { return at().Add(-time.Duration(days) * Day) }

func TestOfDefault(t *testing.T) {
	rules := Default()
	tests := []struct {
		name   string
		state  State
		want   Tier
		reason string
	}{
		{"nobody knows it", State{}, New, "new: never mailed"},
		{"first mails", State{FirstSent: before(3), Sends: 2}, New, "new: never engaged, first mailed 3 days ago, 2 mails unanswered; at most 4 mails within 30d"},
		{"exactly thirty days", State{FirstSent: before(30), Sends: 4}, New, ""},
		{"thirty-first day", State{FirstSent: before(31), Sends: 4}, Cooling, "cooling: never engaged, first mailed 31 days ago, 4 mails unanswered; neither engaged nor new, and not silent long enough to be dormant"},
		{"fifth mail", State{FirstSent: before(3), Sends: 5}, Cooling, ""},
		{"daily mails, first fortnight", State{FirstSent: before(14), Sends: 14}, Cooling, ""},
		{"clicked today", State{FirstSent: before(900), LastEngaged: before(0), Sends: 80}, Active, "active: last engaged just now, 0 mails unanswered; within 30d"},
		{"clicked yesterday", State{LastEngaged: before(1), SendsSinceEngagement: 1}, Active, "active: last engaged 1 day ago, 1 mail unanswered; within 30d"},
		{"month", State{LastEngaged: before(30), SendsSinceEngagement: 30}, Active, ""},
		{"past the month", State{LastEngaged: before(31), SendsSinceEngagement: 30}, Warm, ""},
		{"quarter", State{LastEngaged: before(91)}, Cooling, "cooling: last engaged 91 days ago, 0 mails unanswered; within 180d"},
		{"half a year, five mails", State{LastEngaged: before(200), SendsSinceEngagement: 5}, Cooling, ""},
		{"half a year, six mails", State{LastEngaged: before(200), SendsSinceEngagement: 6}, Dormant, "dormant: last engaged 200 days ago, 6 mails unanswered; more than 180d and at least 6 mails"},
		{"half a year, never engaged", State{FirstSent: before(181), Sends: 6}, Dormant, ""},
		{"a year, nine mails", State{LastEngaged: before(400), SendsSinceEngagement: 9}, Dormant, ""},
		{"a year, ten mails", State{LastEngaged: before(400), SendsSinceEngagement: 10}, Dead, "dead: last engaged 400 days ago, 10 mails unanswered; more than 365d and at least 10 mails"},
		{"a year, never engaged", State{FirstSent: before(366), Sends: 10}, Dead, ""},
		{"two years, never mailed", State{LastEngaged: before(800)}, Cooling, ""},
		{"given up", State{FirstSent: before(60), Sends: 3, Reengagement: before(1)}, Dead, "dead: re-engagement was given up on 2026-06-14 and nothing came back since"},
		{"came back", State{FirstSent: before(700), Sends: 30, Reengagement: before(40), LastEngaged: before(39)}, Warm, ""},
		{"import counts, dates nothing", State{SendsSinceEngagement: 40}, Cooling, "cooling: never engaged, mailed at an unknown time, 40 mails unanswered; neither engaged nor new, and not silent long enough to be dormant"},
		{"import dates the last mail only", State{LastSent: before(400), Sends: 12}, Dead, ""},
		{"clock went back", State{LastEngaged: before(-2)}, Active, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := rules.Of(tt.state, at()); got != tt.want {
				t.Errorf("Of = %s, want %s", got, tt.want)
			}
			reason := rules.Reason(tt.state, at())
			if !strings.HasPrefix(reason, tt.want.String()+": ") || tt.reason != "" && reason != tt.reason {
				t.Errorf("Reason = %q, want %q", reason, tt.reason)
			}
		})
	}
}

// literal is the table of the package comment, written down a second time with
// calendar instants and the default numbers, without the machinery of Rules.
func literal(s State, now time.Time) Tier {
	engaged := !s.LastEngaged.IsZero()
	unanswered := s.SendsSinceEngagement
	since := s.LastEngaged
	if !engaged {
		unanswered = max(unanswered, s.Sends)
		since = s.FirstSent
		if since.IsZero() {
			since = s.LastSent
		}
	}
	silentFor := func(d int) bool { return !since.IsZero() && now.After(since.Add(time.Duration(d)*Day)) }
	engagedWithin := func(d int) bool { return engaged && !silentFor(d) }
	neverMailed := s.FirstSent.IsZero() && s.LastSent.IsZero() && s.Sends == 0 && s.SendsSinceEngagement == 0
	gaveUp := !s.Reengagement.IsZero() && (!engaged || s.LastEngaged.Before(s.Reengagement))
	conditions := []struct {
		tier  Tier
		holds bool
	}{
		{Dead, gaveUp || silentFor(365) && unanswered >= 10},
		{Active, engagedWithin(30)},
		{Warm, engagedWithin(90)},
		{Cooling, engagedWithin(180)},
		{New, !engaged && (neverMailed || !since.IsZero() && !silentFor(30) && unanswered < 5)},
		{Dormant, silentFor(180) && unanswered >= 6},
	}
	for _, c := range conditions {
		if c.holds {
			return c.tier
		}
	}
	return Cooling
}

func genTime(t *rapid.T, label string) time.Time {
	day := rapid.SampledFrom([]int{-1, 0, 1, 30, 90, 180, 365, rapid.IntRange(0, 900).Draw(t, label+" day")}).Draw(t, label)
	if day < 0 {
		return time.Time{}
	}
	return before(day).Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, label+" ns")))
}

func genState(t *rapid.T) State {
	sends := rapid.Uint32Range(0, 14)
	s := State{
		FirstSent: genTime(t, "first"), LastSent: genTime(t, "last"), LastEngaged: genTime(t, "engaged"),
		Sends: sends.Draw(t, "sends"), SendsSinceEngagement: sends.Draw(t, "since"),
	}
	if rapid.IntRange(0, 9).Draw(t, "given up") == 0 {
		s.Reengagement = genTime(t, "re-engagement")
	}
	return s
}

// genRules draws overrides until they make a valid set.
func genRules(t *rapid.T) Rules {
	r := Default()
	for tier := New; tier <= Dead; tier++ {
		if !rapid.Bool().Draw(t, "override") {
			continue
		}
		age := time.Duration(rapid.IntRange(1, 500).Draw(t, "days")) * Day
		sends := rapid.IntRange(0, 12).Draw(t, "sends")
		o := Override{Within: &age, MaxSends: &sends}
		if tier == Dormant || tier == Dead {
			o = Override{Beyond: &age, MinSends: &sends}
		}
		changed, err := r.Override(tier.String(), o)
		if err != nil {
			t.Fatal(err)
		}
		if changed.Validate() == nil {
			r = changed
		}
	}
	return r
}

func TestFirstMatchEqualsLiteral(t *testing.T) {
	rules := Default()
	rapid.Check(t, func(t *rapid.T) {
		s := genState(t)
		now := at().Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "later")) * Day)
		if got, want := rules.Of(s, now), literal(s, now); got != want {
			t.Fatalf("Of(%+v) = %s, literally %s", s, got, want)
		}
	})
}

// Every contact has exactly one tier: Of names one of the six, Reason gives the
// same one, and no tier asked before it holds.
func TestExactlyOneTier(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, s := genRules(t), genState(t)
		got := rules.Of(s, at())
		if _, err := Parse(got.String()); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(rules.Reason(s, at()), got.String()+": ") {
			t.Fatalf("Of = %s, Reason = %q", got, rules.Reason(s, at()))
		}
		matched := false
		for _, tier := range []Tier{Dead, Active, Warm, Cooling, New, Dormant} {
			if holds := rules.matches(tier, &s, at()); holds && !matched {
				matched = true
				if tier != got {
					t.Fatalf("Of = %s, but %s matches first", got, tier)
				}
			}
		}
		if !matched && got != Cooling {
			t.Fatalf("Of = %s, but nothing matches", got)
		}
	})
}

func TestEngagementMakesActive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, s := genRules(t), genState(t)
		s.LastEngaged, s.SendsSinceEngagement = at(), 0
		if s.Reengagement.After(at()) {
			s.Reengagement = at()
		}
		if got := rules.Of(s, at()); got != Active {
			t.Fatalf("Of = %s after engagement", got)
		}
	})
}

func TestTimeOnlyDemotes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, s := genRules(t), genState(t)
		now, current := at(), rules.Of(s, at())
		for range 40 {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "days")) * Day)
			next := rules.Of(s, now)
			if next.Rank() < current.Rank() {
				t.Fatalf("time alone promoted %s to %s at %s", current, next, now)
			}
			current = next
		}
	})
}

// NextChange is exact: constant until the nanosecond before, changed at it.
func TestNextChangeIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, s := genRules(t), genState(t)
		now := at()
		for range 8 {
			current := rules.Of(s, now)
			change, to, ok := rules.NextChange(s, now)
			end := change
			if !ok {
				end = now.Add(40000 * Day)
			} else if !change.After(now) || to == current || rules.Of(s, change) != to {
				t.Fatalf("change to %s at %s: Of = %s, before %s", to, change, rules.Of(s, change), current)
			}
			span := end.Sub(now)
			for _, probe := range []time.Duration{0, span / 3, span / 2, span - 1, time.Duration(rapid.Int64Range(0, int64(span)-1).Draw(t, "probe"))} {
				if got := rules.Of(s, now.Add(probe)); got != current {
					t.Fatalf("%s is %s already %s after now, promised until %s", current, got, probe, span)
				}
			}
			if !ok {
				return
			}
			now = change
		}
		t.Fatal("more than eight changes by time alone")
	})
}

func TestOverride(t *testing.T) {
	day := func(n int) *time.Duration { d := time.Duration(n) * Day; return &d }
	n := func(i int) *int { return &i }
	tests := []struct {
		tier string
		o    Override
		want string // error of Override, else of Validate, else ""
	}{
		{"active", Override{Within: day(45)}, ""},
		{"active", Override{}, ""},
		{"new", Override{Within: day(14), MaxSends: n(2)}, ""},
		{"dead", Override{Beyond: day(200), MinSends: n(20)}, ""},
		{"actve", Override{}, `unknown tier "actve" (use new, active, warm, cooling, dormant or dead)`},
		{"active", Override{Beyond: day(3)}, "tier active takes within, not beyond"},
		{"dormant", Override{Within: day(3), MaxSends: n(3)}, "tier dormant takes beyond, not within\ntier dormant takes min_sends, not max_sends"},
		{"warm", Override{Within: day(-1)}, "tier warm: within must be more than 0 and at most 36500d"},
		{"dead", Override{MinSends: n(-1)}, "tier dead: min_sends must be 0 to 2147483647"},
		{"active", Override{Within: day(90)}, "tier warm: within (90d) must be longer than that of active (90d), which is asked first"},
		{"cooling", Override{Within: day(60)}, "tier cooling: within (60d) must be longer than that of warm (90d), which is asked first"},
		{"dead", Override{Beyond: day(100), MinSends: n(3)}, "tier dead: beyond (100d) must not be shorter than within of cooling (180d): dead is asked first\ntier dormant: beyond (180d) and min_sends (6) leave it nobody, dead takes them all"},
	}
	for _, tt := range tests {
		r, err := Default().Override(tt.tier, tt.o)
		if err == nil {
			err = r.Validate()
		}
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s %+v:\n got %s\nwant %s", tt.tier, tt.o, got, tt.want)
		}
	}
	r, err := Default().Override("active", Override{Within: day(45)})
	if err != nil {
		t.Fatal(err)
	}
	s := State{LastEngaged: before(40)}
	if base := Default(); base.Of(s, at()) != Warm || r.Of(s, at()) != Active || r.Rule(Active).Within != 45*Day {
		t.Error("an override must change its copy, and only that")
	}
}

func TestNames(t *testing.T) {
	for rank, tier := range All() {
		if tier.Rank() != rank {
			t.Errorf("%s has rank %d, stands at %d", tier, tier.Rank(), rank)
		}
		text, err := json.Marshal(tier)
		var back Tier
		if err != nil || json.Unmarshal(text, &back) != nil || back != tier {
			t.Errorf("%s does not survive JSON: %s", tier, text)
		}
	}
	var back Tier
	if err := json.Unmarshal([]byte(`"hot"`), &back); !errors.Is(err, ErrUnknown) {
		t.Errorf("reading %q: %v", "hot", err)
	}
	if _, err := Tier(9).MarshalText(); !errors.Is(err, ErrUnknown) || Tier(9).String() != "tier(9)" {
		t.Error("a number that is no tier must not be written")
	}
	if Default().Validate() != nil {
		t.Error("the defaults must be valid")
	}
}

func TestOfDoesNotAllocate(t *testing.T) {
	rules := Default()
	s := State{FirstSent: before(500), LastEngaged: before(200), Sends: 50, SendsSinceEngagement: 8}
	now := at()
	if n := testing.AllocsPerRun(100, func() { rules.Of(s, now) }); n != 0 {
		t.Errorf("Of allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { rules.NextChange(s, now) }); n != 0 {
		t.Errorf("NextChange allocates %v times", n)
	}
}

func BenchmarkOf(b *testing.B) {
	rules := Default()
	s := State{FirstSent: before(500), LastEngaged: before(200), Sends: 50, SendsSinceEngagement: 8}
	now := at()
	b.ReportAllocs()
	for b.Loop() {
		rules.Of(s, now)
	}
}

// Only the names that a tier prints are read, each as that tier.
func FuzzParse(f *testing.F) {
	for _, t := range All() {
		f.Add(t.String())
	}
	f.Add("")
	f.Add("Active")
	f.Add("Tier(9)")
	f.Fuzz(func(t *testing.T, name string) {
		if tier, err := Parse(name); err == nil && tier.String() != name {
			t.Errorf("%q was read as %q", name, tier)
		}
	})
}
