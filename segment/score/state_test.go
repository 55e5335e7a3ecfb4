// SPDX-License-Identifier: Apache-2.0

package score

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// done is one event of a random history.
type done struct {
	Name string
	At   int64
}

func genHistory(days int) *rapid.Generator[[]done] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) done {
		names := []string{"Pricing Viewed", "Case Study Read", "Email Link Clicked", "Email Opened", "Unsubscribed", "Other"}
		return done{rapid.SampledFrom(names).Draw(t, "name"), start() + rapid.Int64Range(0, int64(days)*dayMicro-1).Draw(t, "at")}
	}), 0, 40)
}

// slow is the value of a history at an instant by what the package comment says:
// each event fades on its own, and the events of a day share its cap.
func slow(o *Options, history []done, now int64) float64 {
	sum := 0.0
	for _, a := range o.Activities {
		count := map[int64]float64{}
		for _, e := range history {
			if e.Name == a.Event {
				count[time.UnixMicro(e.At).UTC().Truncate(day).Unix()]++
			}
		}
		for _, e := range history {
			if e.Name != a.Event {
				continue
			}
			points := a.Points
			if n := count[time.UnixMicro(e.At).UTC().Truncate(day).Unix()]; a.PerDay > 0 && n*math.Abs(points) > a.PerDay {
				points *= a.PerDay / (n * math.Abs(points))
			}
			sum += points * math.Pow(2, -float64(now-e.At)/float64(o.HalfLife.Microseconds()))
		}
	}
	return sum
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b)) }

// TestFoldInAnyOrder folds a history in two orders, through the binary form, and
// compares with adding it up.
func TestFoldInAnyOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := published()
		o.HalfLife = time.Duration(rapid.IntRange(1, 24*90).Draw(rt, "hours")) * time.Hour
		m := testModel(t, func(x *Options) { *x = o })
		history := genHistory(12).Draw(rt, "history")
		fold := func() (s State) {
			for _, e := range history {
				m.Fold(&s, event(e.Name, e.At))
				stored := s.Append(nil)
				again, err := Decode(stored)
				if err != nil || string(again.Append(nil)) != string(stored) {
					rt.Fatalf("%+v reads back as %+v: %v", s, again, err)
				}
				s = again
			}
			return s
		}
		now := start() + 12*dayMicro
		a := fold()
		slices.Reverse(history)
		b := fold()
		x, y := fading(new(m.Behaviour(&a)), now), fading(new(m.Behaviour(&b)), now)
		if want := slow(&o, history, now); !near(x, want) || !near(y, want) {
			rt.Fatalf("in order %g, in the other %g, added up %g", x, y, want)
		}
		for d := range 30 {
			v := new(m.Total(30, &a)).ValueAt(now + int64(d)*dayMicro)
			if !(v >= 30 && v <= 80) {
				rt.Fatalf("score %g is not within its clamps", v)
			}
		}
	})
}

// TestCapsHold folds clicks alone: no day gives more than its cap, at whatever
// instant one looks, whatever hour of the day the recipient's zone has at midnight.
func TestCapsHold(t *testing.T) {
	m := testModel(t, nil)
	rapid.Check(t, func(t *rapid.T) {
		var s State
		days := map[int64]bool{}
		for _, hour := range rapid.SliceOfN(rapid.IntRange(-14, 5*24+12), 1, 30).Draw(t, "hours") {
			at := after(time.Duration(hour) * time.Hour)
			m.Fold(&s, event("Email Link Clicked", at))
			days[dayOf(at)] = true
			for _, later := range []time.Duration{0, time.Hour, day, 7 * day} {
				if v := fading(new(m.Behaviour(&s)), s.at+later.Microseconds()); v > 20*float64(len(days))+1e-9 {
					t.Fatalf("%d days gave %g", len(days), v)
				}
			}
		}
		if len(s.used) != len(days) {
			t.Fatalf("%d days are remembered as %d", len(days), len(s.used))
		}
	})
	if dayOf(-1) != -1 || dayOf(0) != 0 || dayOf(-dayMicro) != -1 {
		t.Error("days before 1970 are others than before and after")
	}
	var s State
	for range 5 {
		m.Fold(&s, event("Email Link Clicked", after(day-time.Microsecond)))
	}
	if !near(s.value, 20) {
		t.Errorf("five clicks in the last microsecond of a day are %g", s.value)
	}
	m.Fold(&s, event("Email Link Clicked", after(day)))
	if !near(s.value, 30) {
		t.Errorf("one more in the first of the next makes %g", s.value)
	}
}

func TestForgottenDays(t *testing.T) {
	m, s := testModel(t, nil), State{}
	for i := range MaxDays + 8 {
		m.Fold(&s, event("Email Opened", after(time.Duration(i)*day)))
	}
	before := s.value
	if len(s.used) != MaxDays || m.Fold(&s, event("Email Opened", after(7*day))) || s.value != before {
		t.Errorf("%d days, and a forgotten one changed %g to %g", len(s.used), before, s.value)
	}
	if m.Fold(&s, event("Email Opened", after(8*day))); !near(s.value, before) || s.used[0].count != 2 {
		t.Errorf("a day that is known went beyond its cap: %g to %g", before, s.value)
	}
	if !m.Fold(&s, event("Pricing Viewed", after(0))) || s.value <= before {
		t.Error("an activity without a cap needs no day")
	}
	if n := len(s.Append(nil)); n > 700 {
		t.Errorf("%d bytes", n)
	}
}

func FuzzDecode(f *testing.F) {
	m, s := testModel(f, nil), State{}
	f.Add(s.Append(nil))
	for i := range 5 {
		m.Fold(&s, event("Email Opened", after(time.Duration(i)*day)))
		f.Add(s.Append(nil))
	}
	m.Fold(&s, event(EventComplaint, after(day)))
	f.Add(s.Append(nil))
	f.Fuzz(func(t *testing.T, value []byte) {
		s, err := Decode(value)
		if err != nil {
			return
		}
		m.Fold(&s, event("Email Opened", after(day)))
		m.Fold(&s, event("Pricing Viewed", after(2*day)))
		stored := s.Append(nil)
		again, err := Decode(stored)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(s) {
			t.Fatalf("%+v reads back as %+v: %v", s, again, err)
		}
		if v := new(m.Total(50, &s)).ValueAt(after(3 * day)); !(v >= 0 && v <= 100) {
			t.Fatalf("%+v scores %g", s, v)
		}
	})
}

func BenchmarkFold(b *testing.B) {
	m, s := testModel(b, nil), State{}
	e, at := event("Email Link Clicked", 0), start()
	b.ReportAllocs()
	for b.Loop() {
		at += 3600_000_000
		e.Time = at
		m.Fold(&s, e)
	}
}
