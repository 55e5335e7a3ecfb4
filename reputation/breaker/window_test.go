// SPDX-License-Identifier: Apache-2.0

package breaker

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/reputation/bounce"
)

// TestBreakerPools: the pools of a cohort are what all others did, of its tier and of all,
// whatever it did itself; and what was taken out of them is not there any more.
func TestBreakerPools(t *testing.T) {
	p := DefaultPolicy()
	rapid.Check(t, func(t *rapid.T) {
		var all, own, others, taken, left Window
		tiers := []string{"active", "new"}
		for range rapid.IntRange(1, 30).Draw(t, "n") {
			c, tier := drawCounts(t), rapid.SampledFrom(tiers).Draw(t, "tier")
			day := today + int32(rapid.IntRange(0, p.Days-1).Draw(t, "day"))
			all.Add(day, tier, c, p.Days)
			switch rapid.IntRange(0, 2).Draw(t, "whose") {
			case 0:
				own.Add(day, tier, c, p.Days)
				left.Add(day, tier, c, p.Days)
			case 1:
				others.Add(day, tier, c, p.Days)
				taken.Add(day, tier, c, p.Days)
			default:
				others.Add(day, tier, c, p.Days)
				left.Add(day, tier, c, p.Days)
			}
		}
		all.Add(today+int32(p.Days)-1, "", Counts{}, p.Days) // days go by it
		pools := all.Pools(own)
		if got := pools[len(pools)-1]; got.Name != "all" || got.Counts != others.Sum() {
			t.Fatalf("%+v, want %+v", got, others.Sum())
		}
		if tier := own.Tier(); tier != "" {
			if got := pools[0]; got.Name != "tier "+tier || got.Counts != others.Of(tier) {
				t.Fatalf("%+v, want %+v", got, others.Of(tier))
			}
			for _, x := range tiers {
				if a, b := own.Of(tier), own.Of(x); max(a.Answered, a.Delivered) < max(b.Answered, b.Delivered) {
					t.Fatalf("more of its mail is for %s than for %s", x, tier)
				}
			}
		}
		before := own.Clone()
		all.Take(taken)
		if all.Sum() != left.Sum() || all.Of("new") != left.Of("new") {
			t.Fatalf("%+v is left, want %+v", all.Sum(), left.Sum())
		}
		all.Take(all.Clone())
		if all.Sum() != (Counts{}) || !reflect.DeepEqual(own, before) {
			t.Fatalf("%+v is left of all; own %+v", all.Sum(), own)
		}
		b, err := own.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := DecodeWindow(b); err != nil || again.Sum() != own.Sum() || again.Tier() != own.Tier() {
			t.Fatalf("%+v, %v", again, err)
		}
	})
}

// TestBreakerPoolsOfWhatIsLeft: where more was taken out of a pool than was in it, no harm
// is left without the mail that did it.
func TestBreakerPoolsOfWhatIsLeft(t *testing.T) {
	var all, own Window
	all.Add(today, "new", Counts{Answered: 100, Delivered: 90, Reporting: 90, Bounced: 9, Spam: 9, Complained: 9, Unsubscribed: 9}, 7)
	own.Add(today, "new", Counts{Answered: 95, Delivered: 95, Reporting: 95}, 7)
	for _, p := range all.Pools(own) {
		if p.Counts != (Counts{Answered: 5, Bounced: 5, Spam: 5}) {
			t.Errorf("%+v", p)
		}
	}
}

// TestBreakerDue: between two observations Tick does something only where Due says so,
// and Next is never later than that.
func TestBreakerDue(t *testing.T) {
	p := DefaultPolicy()
	rapid.Check(t, func(t *rapid.T) {
		s, now := New(Batch, "a"), start()
		for range rapid.IntRange(1, 20).Draw(t, "n") {
			now = now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "hours")) * time.Hour)
			hand := Hand{By: "ann"}
			if rapid.Bool().Draw(t, "ends") {
				hand.Until = now.Add(30 * time.Hour)
			}
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0:
				p.Hold(s, now, hand)
			case 1:
				p.Override(s, now, hand)
			case 2:
				p.Release(s, now, "ann", "")
			case 3:
				p.Resize(s, now, 5000)
			case 4:
				p.Observe(s, Observation{Sent: now, Day: today, Sample: true, Counts: Counts{Admitted: 9, Concluded: 9, Answered: 9, Delivered: 9}})
			case 5:
				p.Observe(s, Observation{Sent: now, Day: today, Counts: Counts{Answered: 30, Concluded: 30, Bounced: 30}})
			default:
			}
			for len(p.Tick(s, now)) > 0 { // what was learnt is decided
			}
			next := p.Next(s, now)
			now = now.Add(time.Duration(rapid.IntRange(1, 200).Draw(t, "later")) * time.Hour)
			due := p.Due(s, now)
			copied := s.Clone()
			acts := p.Tick(copied, now)
			if len(acts) > 0 && acts[0].Kind == Warned {
				continue // said again each day of who goes against the evidence
			}
			if len(acts) > 0 && (!due || next.IsZero() || next.After(now)) {
				t.Fatalf("due %t, next %s, now %s: %s", due, next, now, acts[0])
			}
			a, err := s.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if len(acts) == 0 {
				if b, err := copied.Encode(); err != nil || !bytes.Equal(a, b) {
					t.Fatalf("without an act\n%s\n%s", a, b)
				}
			}
		}
	})
}

// TestBreakerForgets: only what has nothing to say is forgotten.
func TestBreakerForgets(t *testing.T) {
	p := DefaultPolicy()
	day := func(n int) time.Time { return start().AddDate(0, 0, n) }
	bad := Observation{Sent: start(), Day: today, Counts: Counts{Answered: 100, Bounced: 60}}
	for name, x := range map[string]struct {
		make           func(s *State)
		idle, harmless bool
	}{
		"nothing":  {func(*State) {}, true, true},
		"old mail": {func(s *State) { p.Observe(s, bad) }, true, false},
		"some mail": {func(s *State) {
			p.Observe(s, Observation{Sent: day(8), Day: today + 8, Counts: Counts{Answered: 100, Bounced: 2}})
		}, false, true},
		"new harm": {func(s *State) {
			p.Observe(s, Observation{Sent: day(8), Day: today + 8, Counts: Counts{Answered: 100, Bounced: 3}})
		}, false, false},
		"held":     {func(s *State) { p.Hold(s, day(8), Hand{By: "ann"}) }, false, false},
		"canary":   {func(s *State) { p.Resize(s, day(8), 100) }, false, false},
		"proven":   {func(s *State) { p.Release(s, day(8), "ann", "") }, false, false},
		"refused":  {func(s *State) { s.Refused = true }, false, false},
		"open":     {func(s *State) { p.Observe(s, bad); p.Tick(s, day(8)) }, false, false},
		"was open": {func(s *State) { s.Opened, s.Since = 1, day(1) }, false, false},
	} {
		s := New(Batch, "a")
		x.make(s)
		if idle, harmless := p.Idle(s, day(9), today+9), p.Harmless(s); idle != x.idle || harmless != x.harmless {
			t.Errorf("%s: idle %t, harmless %t", name, idle, harmless)
		}
	}
	s := New(Batch, "a")
	s.Opened, s.Since = 1, day(1)
	if !p.Idle(s, day(16), today+16) {
		t.Error("an opening of a fortnight ago is remembered")
	}
}

// TestBreakerClone: what becomes of a copy changes nothing of what it was made of.
func TestBreakerClone(t *testing.T) {
	p := DefaultPolicy()
	s := New(Batch, "a")
	p.Override(s, start(), Hand{By: "ann"})
	p.Resize(s, start(), 5000)
	o := Observation{Sent: start(), Day: today, Tier: "new", Counts: Counts{Admitted: 1, Answered: 9}}
	p.Observe(s, o)
	before, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	c := s.Clone()
	p.Observe(c, o)
	o.Sample = true
	p.Observe(c, o)
	c.Hand.By = "bob"
	if after, err := s.Encode(); err != nil || !bytes.Equal(after, before) {
		t.Errorf("%s is now %s", before, after)
	}
	if c.Window[0].Tiers["new"].Answered != 18 || c.Trial.Counts.Answered != 9 {
		t.Errorf("the copy: %+v", c)
	}
}

// TestBreakerCountsLateBounces: a notification of failure after the delivery is a bounce of
// somebody who counts already.
func TestBreakerCountsLateBounces(t *testing.T) {
	e := &event.Event{Kind: event.DSN, Verdict: string(bounce.Suppress)}
	if c, ok := From(e, true); !ok || c != (Counts{Bounced: 1}) {
		t.Errorf("%+v, %t", c, ok)
	}
	e.Verdict = string(bounce.Count)
	if c, ok := From(e, true); ok {
		t.Errorf("a mailbox that is full: %+v", c)
	}
}

// TestBreakerUndo: a shell reads back every name.
func TestBreakerUndo(t *testing.T) {
	for name, want := range map[string]string{
		"spring-26_a.b": "segue segment release --campaign spring-26_a.b",
		"it's $HOME":    `segue segment release --campaign 'it'\''s $HOME'`,
		"frühling":      "segue segment release --campaign 'frühling'",
	} {
		if got := Undo(Campaign, name); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := Undo(Segment, "trial"); got != "segue segment release trial" {
		t.Error(got)
	}
}

func TestBadWindows(t *testing.T) {
	many := make([]string, 17)
	for i := range many {
		many[i] = fmt.Sprintf("%q:{}", fmt.Sprint(i))
	}
	for text, want := range map[string]string{
		"{":                     "bad breaker state: unexpected end of JSON input",
		`[{"day":2},{"day":1}]`: "bad breaker state: the counts of day 1 are none",
		`[{"day":2,"tiers":{"new":{"bounced":9000000000000000000}}}]`: "bad breaker state: the counts of tier new on day 2 are none",
		`[{"day":2,"tiers":{` + strings.Join(many, ",") + `}}]`:       "bad breaker state: more tiers than there are",
		"[" + strings.Repeat(`{"day":2},`, 31) + `{"day":3}]`:         "bad breaker state: 32 days, at most 31",
		strings.Repeat(" ", maxStored+1):                              "bad breaker state: 65537 octets, at most 65536",
	} {
		if _, err := DecodeWindow([]byte(text)); !errors.Is(err, ErrState) || err.Error() != want {
			t.Errorf("%.90s: %v\nwant %s", text, err, want)
		}
	}
}

// FuzzDecodeWindow: counts that are accepted can be used.
func FuzzDecodeWindow(f *testing.F) {
	var w Window
	w.Add(today, "new", Counts{Answered: 5, Bounced: 1}, 7)
	w.Add(today+1, "", Counts{Delivered: 5}, 7)
	b, err := w.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("[]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := DecodeWindow(b)
		if err != nil {
			return
		}
		w.Add(today, "new", Counts{Answered: 1}, 7)
		p := DefaultPolicy()
		s := New(Segment, "a")
		s.Window = w.Clone()
		p.Tick(s, start(), w.Pools(s.Window)...)
		w.Take(s.Window)
		if _, err := w.Encode(); err != nil {
			t.Fatal(err)
		}
	})
}
