// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seguemta/segue/mta/wilson"
	"github.com/seguemta/segue/reputation/warmup"
)

const today = warmup.Day(20780) // 2026-11-23

// standard are the limits of a gate by default.
func standard() Limits {
	return Limits{Deferred: 0.10, Bounced: 0.05, Complained: 0.001, Unsubscribed: 0.01, StepBack: 3}
}

// TestGate judges one pooled sample after the other: what is held, what leads back.
func TestGate(t *testing.T) {
	for _, c := range []struct {
		name       string
		s          Sample
		hold, back string // a part of the text; "" = nothing
	}{
		{"nothing known", Sample{}, "", ""},
		{"one complaint of ten", Sample{Complaints: Ratio{1, 10}}, "", ""},
		{"two complaints are no sample, whatever the rate", Sample{Complaints: Ratio{2, 4}}, "", ""},
		{"three of twelve hundred may be chance", Sample{Complaints: Ratio{3, 1200}}, "", ""},
		{"three of five hundred are not", Sample{Complaints: Ratio{3, 500}}, "0.6 % (0.2 to 1.75 %, 3 of 500) complained of those delivered, above 0.1 %", ""},
		{"eight of a thousand lead back", Sample{Complaints: Ratio{8, 1000}}, "complained", "complained of those delivered, above 3 times 0.1 %"},
		{"much mail, just under the limit", Sample{Complaints: Ratio{99, 100_000}}, "", ""},
		{"deferrals at the limit", Sample{Counts: Counts{Attempted: 1000, Deferred: 100}}, "", ""},
		{"deferrals above it", Sample{Counts: Counts{Attempted: 1000, Deferred: 125}}, "12.5 % (10.6 to 14.7 %, 125 of 1,000) refused for reputation of those attempted, above 10 %", ""},
		{"half of all deferred", Sample{Counts: Counts{Attempted: 1000, Deferred: 500}}, "refused", "refused for reputation of those attempted, above 3 times 10 %"},
		{"bounces", Sample{Counts: Counts{Attempted: 200, Bounced: 20}}, "10 % (6.57 to 14.9 %, 20 of 200) bounced of those attempted, above 5 %", ""},
		{"unsubscribes stand in where complaints are unknown", Sample{Unsubscribes: Ratio{20, 1000}}, "unsubscribed where complaints are unknown, above 1 %", ""},
		{"a filter that takes part for spam holds", Sample{Filter: Yellow, Told: "SNDS for 192.0.2.1 on 2026-11-23"}, "SNDS for 192.0.2.1 on 2026-11-23 says yellow", ""},
		{"one that takes most leads back", Sample{Filter: Red, Told: "SNDS"}, "SNDS says red", "SNDS says red"},
		{"green is nothing", Sample{Filter: Green, Told: "SNDS"}, "", ""},
		{"two reasons are both told", Sample{Counts: Counts{Attempted: 100, Deferred: 50, Bounced: 40}}, "; ", "; "},
	} {
		l := standard()
		e := l.Judge(&c.s, &c.s)
		for _, x := range []struct{ what, got, want string }{{"hold", e.Hold, c.hold}, {"back", e.StepBack, c.back}} {
			if (x.got == "") != (x.want == "") || !strings.Contains(x.got, x.want) {
				t.Errorf("%s: %s is %q, want %q", c.name, x.what, x.got, x.want)
			}
		}
	}
	l := standard()
	l.StepBack = 0
	if e := l.Judge(&Sample{Filter: Red}, &Sample{Filter: Red}); e.StepBack != "" {
		t.Errorf("step_back = 0 is never: %q", e.StepBack)
	}
}

// TestGateNeedsTheLowEnd holds the rule over random samples and limits.
func TestGateNeedsTheLowEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		of := rapid.Uint64Range(0, 100_000).Draw(t, "of")
		hits := rapid.Uint64Range(0, of).Draw(t, "hits")
		limit := rapid.Float64Range(0, 1).Draw(t, "limit")
		l := Limits{Deferred: limit, Bounced: 1, Complained: 1, Unsubscribed: 1, StepBack: 2}
		s := Sample{Counts: Counts{Attempted: of, Deferred: hits}}
		e, low := l.Judge(&s, &s), wilson.Interval(hits, of).Low
		if held := e.Hold != ""; held != (hits >= 3 && low > limit) {
			t.Fatalf("%d of %d, limit %v: %q", hits, of, limit, e.Hold)
		}
		if back := e.StepBack != ""; back != (hits >= 3 && low > 2*limit) {
			t.Fatalf("%d of %d, limit %v: back %q", hits, of, limit, e.StepBack)
		}
	})
}

// TestComplaintsAreUnknownWhereNobodyReports pools a week at three providers.
func TestComplaintsAreUnknownWhereNobodyReports(t *testing.T) {
	b := NewBook()
	for d := today - 9; d <= today; d++ {
		b.Set(Key{Source, "a1", "yahoo", d}, Counts{Attempted: 100, Delivered: 90, Complained: 1})
		b.Set(Key{Source, "a1", "google", d}, Counts{Attempted: 100, Delivered: 80, Complained: 1, Unsubscribed: 2})
		b.Set(Key{Route, Join("a1", "example.com"), "google", d}, Counts{Delivered: 40})
	}
	ask := func(provider string, reports bool) Sample {
		return b.Sample(Asked{Scope: Source, Name: "a1", Provider: provider, From: today - Days + 1, To: today, Reports: reports})
	}
	yahoo, google := ask("yahoo", true), ask("google", false)
	if yahoo.Complaints != (Ratio{7, 630}) || yahoo.Unsubscribes.Of != 0 || yahoo.Attempted != 700 {
		t.Errorf("yahoo, seven days: %+v", yahoo)
	}
	if google.Complaints != (Ratio{}) || google.Unsubscribes != (Ratio{14, 560}) {
		t.Errorf("google reports nobody: %+v", google)
	}
	if text := google.Text(); text != "700 attempted, 560 delivered, 0 refused for reputation, 0 bounced, complaints unknown, 14 unsubscribed" {
		t.Error(text)
	}
	google.Add(yahoo)
	if google.Complaints != (Ratio{7, 630}) || google.Attempted != 1400 {
		t.Errorf("together, complaints are a share of the mail at those who report: %+v", google)
	}

	// A figure of Postmaster Tools makes two of the days known: by the mail of that domain.
	b.SetFigure(FigureKey{Postmaster, "example.com", today}, Figure{Provider: "google", Complained: 0.1})
	b.SetFigure(FigureKey{Postmaster, "example.com", today - 1}, Figure{Provider: "google", Complained: 0})
	b.SetFigure(FigureKey{Postmaster, "example.net", today - 2}, Figure{Provider: "google", Complained: 0.5}) // not this source's mail
	if s := ask("google", false); s.Complaints != (Ratio{4, 80}) || s.Unsubscribes != (Ratio{10, 400}) {
		t.Errorf("with figures: %+v", s)
	}
	d := b.Sample(Asked{Scope: Domain, Name: "example.com", Provider: "google", From: today, To: today})
	if d.Complaints.Of != 0 {
		t.Errorf("a domain that sent nothing has no rate: %+v", d)
	}
}

func TestSNDSSpeaksAboutTheAddressesOfASource(t *testing.T) {
	b := NewBook()
	b.Set(Key{Source, "a1", "microsoft", today}, Counts{Attempted: 1000, Delivered: 1000})
	b.SetFigure(FigureKey{SNDS, "192.0.2.1", today - 1}, Figure{Provider: "microsoft", Filter: Red})
	b.SetFigure(FigureKey{SNDS, "192.0.2.1", today}, Figure{Provider: "microsoft", Complained: 0.004, Filter: Green})
	b.SetFigure(FigureKey{SNDS, "192.0.2.9", today}, Figure{Provider: "microsoft", Complained: 0.9, Filter: Red})
	a := Asked{Scope: Source, Name: "a1", Provider: "microsoft", From: today - 6, To: today, Addresses: []string{"192.0.2.1"}}
	s := b.Sample(a)
	if s.Complaints != (Ratio{4, 1000}) || s.Filter != Green || s.Told != "SNDS for 192.0.2.1 on 2026-11-23" {
		t.Errorf("%+v: the last day counts for the filter", s)
	}
	a.Provider = "google"
	if s := b.Sample(a); s.Filter != "" || s.Complaints.Of != 0 {
		t.Errorf("SNDS says nothing about google: %+v", s)
	}
	// A second figure of the day takes the place of the first.
	b.SetFigure(FigureKey{SNDS, "192.0.2.1", today}, Figure{Provider: "microsoft", Filter: Yellow})
	a.Provider = "microsoft"
	if s := b.Sample(a); s.Filter != Yellow || s.Complaints != (Ratio{0, 1000}) {
		t.Errorf("after the second: %+v", s)
	}
}

func TestOldDaysAreForgotten(t *testing.T) {
	b := NewBook()
	b.Set(Key{Source, "a1", "yahoo", today - Keep}, Counts{Attempted: 1})
	b.Set(Key{Source, "a1", "yahoo", today}, Counts{Attempted: 5})
	b.SetFigure(FigureKey{SNDS, "192.0.2.1", today - Keep}, Figure{Provider: "microsoft"})
	counts, figures := b.Old(today - Keep + 1)
	if !slices.Equal(counts, []Key{{Source, "a1", "yahoo", today - Keep}}) || len(figures) != 1 {
		t.Errorf("%v, %v", counts, figures)
	}
	if counts, figures = b.Old(today - Keep + 1); len(counts)+len(figures) != 0 {
		t.Errorf("twice: %v, %v", counts, figures)
	}
	sum := b.Counts(Key{Source, "a1", "yahoo", today})
	sum.Add(Counts{Attempted: 1, Delivered: 1, Deferred: 1, Bounced: 1, Complained: 1, Unsubscribed: 1})
	if sum != (Counts{Attempted: 6, Delivered: 1, Deferred: 1, Bounced: 1, Complained: 1, Unsubscribed: 1}) {
		t.Errorf("%+v", sum)
	}
}

// TestProvidersThatShareAState: each speaks for itself, and where none does, all together.
func TestProvidersThatShareAState(t *testing.T) {
	l := standard()
	l.StepBack = 2
	asked := []Asked{{Scope: Source, Name: "a1", Provider: "google"}, {Scope: Source, Name: "a1", Provider: "yahoo"}}
	for _, c := range []struct {
		name          string
		google, yahoo Counts
		since         warmup.Day
		hold, back    string
	}{
		{"nothing", Counts{Attempted: 1000}, Counts{Attempted: 1000}, 0, "", ""},
		{"one of them", Counts{Attempted: 1000}, Counts{Attempted: 1000, Bounced: 80}, 0, "at yahoo: 8 %", ""},
		{"both", Counts{Attempted: 1000, Bounced: 200}, Counts{Attempted: 1000, Bounced: 80}, 0, "; at yahoo: 8 %", "at google: 20 %"},
		{"neither alone", Counts{Attempted: 15, Bounced: 2}, Counts{Attempted: 15, Bounced: 2}, 0, "13.3 %", ""},
		{"what was answered leads back no more", Counts{Attempted: 1000, Bounced: 200}, Counts{}, today + 1, "at google: 20 %", ""},
	} {
		b := NewBook()
		b.Set(Key{Source, "a1", "google", today}, c.google)
		b.Set(Key{Source, "a1", "yahoo", today}, c.yahoo)
		e := b.Judge(&l, today, c.since, asked...)
		for _, x := range []struct{ what, got, want string }{{"hold", e.Hold, c.hold}, {"back", e.StepBack, c.back}} {
			if (x.got == "") != (x.want == "") || !strings.Contains(x.got, x.want) {
				t.Errorf("%s: %s is %q, want %q", c.name, x.what, x.got, x.want)
			}
		}
		one := b.Judge(&l, today, c.since, asked[1])
		if strings.Contains(one.Hold, "at yahoo") || (one.Hold == "") != (c.yahoo.Bounced < 60) {
			t.Errorf("%s: yahoo alone: %q", c.name, one.Hold)
		}
	}
}
