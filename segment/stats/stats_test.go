// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"math"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/wilson"
)

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		segment, rest wilson.Rate
		want          string
		significant   bool
	}{
		{wilson.Interval(21, 117), wilson.Interval(40, 117), "17.9 %, the rest 34.2 %: lower", true},
		{wilson.Interval(40, 117), wilson.Interval(21, 117), "34.2 %, the rest 17.9 %: higher", true},
		{wilson.Interval(1, 100), wilson.Interval(15, 5000), "1 %, the rest 0.3 %: not significant", false}, // three times as many, and noise
		{wilson.Interval(0, 50), wilson.Interval(0, 3000), "0 %, the rest 0 %: not significant", false},
		{wilson.Interval(24, 7832), wilson.Interval(8, 7832), "0.31 %, the rest 0.1 %: higher", true},
		{wilson.Interval(3, 1000), wilson.Interval(1, 1000), "0.3 %, the rest 0.1 %: not significant", false},
		{wilson.Interval(0, 0), wilson.Interval(15, 5000), "not comparable: one side has nothing", false},
		{wilson.Interval(15, 5000), wilson.Interval(0, 0), "not comparable: one side has nothing", false},
	} {
		got := Compare(c.segment, c.rest)
		if got.String() != c.want || got.Significant != c.significant {
			t.Errorf("%v beside %v: %q, %v; want %q", c.segment, c.rest, got, got.Significant, c.want)
		}
		if back := Compare(c.rest, c.segment); math.Abs(back.Low+got.High) > 1e-12 || back.Significant != got.Significant {
			t.Errorf("%v beside %v is not the mirror image", c.rest, c.segment)
		}
	}
	// Newcombe's own example: 56 of 70 against 48 of 80, 0.0524 to 0.3339.
	if c := Compare(wilson.Interval(56, 70), wilson.Interval(48, 80)); math.Abs(c.Low-0.0524) > 5e-5 || math.Abs(c.High-0.3339) > 5e-5 {
		t.Errorf("56 of 70 against 48 of 80: %.4f to %.4f", c.Low, c.High)
	}
}

func TestNeeded(t *testing.T) {
	for _, c := range []struct {
		a, b float64
		want uint64
	}{
		{0.001, 0.003, 7833},
		{0.02, 0.04, 1141},
		{0.18, 0.34, 117},
		{0.34, 0.18, 117},
		{0, 1, 2},
		{0.1, 0.1, 0},
		{-1, 0.5, 0},
		{0.5, 2, 0},
		{math.NaN(), 0.5, 0},
	} {
		if got := Needed(c.a, c.b); got != c.want {
			t.Errorf("to tell %v from %v takes %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestShare(t *testing.T) {
	for _, c := range []struct {
		a, b, both uint64
		want       string
	}{
		{100, 50, 40, "40 in both: 80 % of the smaller, 36.4 % of either"},
		{100, 100, 100, "100 in both: 100 % of the smaller, 100 % of either"},
		{100, 50, 0, "0 in both: 0 % of the smaller, 0 % of either"},
		{0, 50, 0, "0 in both: 0 % of the smaller, 0 % of either"},
		{10, 20, 30, "10 in both: 100 % of the smaller, 50 % of either"},
	} {
		if got := Share(c.a, c.b, c.both).String(); got != c.want {
			t.Errorf("%d, %d and %d: %q, want %q", c.a, c.b, c.both, got, c.want)
		}
	}
}

// TestWarnings holds every warning just before, at and behind its limit.
func TestWarnings(t *testing.T) {
	const day = 24 * time.Hour
	say := func(w Warning, ok bool) string {
		if !ok {
			return ""
		}
		return w.Kind + ": " + w.Text
	}
	for _, c := range []struct{ name, got, want string }{
		{"few: none", say(Few(0)), ""},
		{"few: 1", say(Few(1)), "few_members: 1 contact, under 100: without a single complaint its true rate may still be 79.3 %; to tell 2 % clicks from 4 % takes 1,141 messages"},
		{"few: 99", say(Few(99)), "few_members: 99 contacts, under 100: without a single complaint its true rate may still be 3.74 %; to tell 2 % clicks from 4 % takes 1,141 messages"},
		{"few: 100", say(Few(100)), ""},

		{"empty: since yesterday", say(Empty(0, day)), ""},
		{"empty: a week", say(Empty(0, 7*day)), "empty: empty for 7 days: its rule may never hold, segue segment explain shows why"},
		{"empty: not", say(Empty(1, 99*day)), ""},

		{"overlap: 80 %", say(Overlapping(Share(100, 50, 40), "b")), ""},
		{"overlap: 82 %", say(Overlapping(Share(100, 50, 41), "b")), "overlap: overlaps with b: 41 are in both, 82 % of the smaller and 37.6 % of either; who is in both goes by the one that comes first in order"},
		{"overlap: both empty", say(Overlapping(Share(0, 0, 0), "b")), ""},

		{"field: 20 %", say(Thin("contact.sic", 200, 1000)), ""},
		{"field: 19.9 %", say(Thin("contact.sic", 199, 1000)), "thin_field: its rule reads contact.sic, which 199 of 1,000 contacts have (19.9 %): the others are judged as if it were missing"},
		{"field: nobody to ask", say(Thin("contact.sic", 0, 0)), ""},
		{"field: more than all", say(Thin("contact.sic", 9, 5)), ""},

		{"jump: a quarter", say(Jump(1000, 1250, day)), ""},
		{"jump: more", say(Jump(1000, 1251, day)), "size_jump: grew by 25.1 % within 1 day, from 1,000 to 1,251: look for an import or a change of its rule"},
		{"jump: down", say(Jump(1000, 700, 12*time.Hour)), "size_jump: shrank by 30 % within 12 hours, from 1,000 to 700: look for an import or a change of its rule"},
		{"jump: small", say(Jump(10, 109, day)), ""},
		{"jump: from nothing", say(Jump(0, 5000, day)), "size_jump: grew within 1 day, from 0 to 5,000: look for an import or a change of its rule"},
		{"jump: none", say(Jump(5000, 5000, day)), ""},

		{"unused: 89 days", say(Unused(false, 89*day)), ""},
		{"unused: never", say(Unused(false, 90*day)), "unused: never used in 90 days: no message went by it"},
		{"unused: once", say(Unused(true, 91*day)), "unused: not used for 91 days: no message went by it"},
	} {
		if c.got != c.want {
			t.Errorf("%s:\n%q, want\n%q", c.name, c.got, c.want)
		}
	}
}
