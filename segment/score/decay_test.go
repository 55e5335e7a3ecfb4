// SPDX-License-Identifier: Apache-2.0

package score

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seguemta/segue/segment/rule"
)

// TestCross finds the instant at which a score falls below a level, exactly.
func TestCross(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rule.Decay{
			Base: float64(rapid.IntRange(-10, 60).Draw(t, "base")), Value: rapid.Float64Range(-50, 200).Draw(t, "value"),
			At: start(), HalfLife: time.Duration(rapid.Int64Range(int64(MinHalfLife), int64(90*day)).Draw(t, "half-life")), Max: 50,
		}
		level := rapid.Float64Range(0, 110).Draw(t, "level")
		now := start() + rapid.Int64Range(0, 100*dayMicro).Draw(t, "now")
		at, ok := d.Cross(level, false, now)
		if !ok {
			end := now + 1000*d.HalfLife.Microseconds()
			if d.ValueAt(now) >= level && d.ValueAt(end) < level && level > d.Base {
				t.Fatalf("%+v falls from %g to %g and never below %g", d, d.ValueAt(now), d.ValueAt(end), level)
			}
			return
		}
		if at <= now || d.ValueAt(now) < level || d.ValueAt(at-1) < level || d.ValueAt(at) >= level {
			t.Fatalf("%+v is %v before and %v at %d, level %g", d, d.ValueAt(at-1), d.ValueAt(at), at, level)
		}
		if x := now + (at-now)/2; d.ValueAt(x) < level {
			t.Fatalf("%+v is below %g already at %d", d, level, x)
		}
	})
	// 50 of fit and 40 of behaviour: 80 is 30 of behaviour, log2(4/3) half-lives away.
	d := rule.Decay{Base: 50, Value: 40, At: start(), HalfLife: 30 * day, Max: 50}
	at, ok := d.Cross(80, false, start())
	if want := after(time.Duration(math.Log2(4.0/3) * float64(30*day))); !ok || at-want > 1 || want-at > 1 {
		t.Errorf("at %d, wanted %d", at, want)
	}
}

// TestAccountScore compares with adding up the scores of the contacts at
// instants until the answer is to be renewed, and beyond by renewing it.
func TestAccountScore(t *testing.T) {
	for _, way := range []Account{AccountMax, AccountTop3} {
		m := testModel(t, func(o *Options) { o.Account = way })
		rapid.Check(t, func(t *rapid.T) {
			list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) rule.Decay {
				return rule.Decay{
					Base: float64(rapid.IntRange(0, 5).Draw(t, "fit") * 10), Value: float64(rapid.IntRange(-20, 120).Draw(t, "value")),
					At: start() - rapid.Int64Range(0, 40*dayMicro).Draw(t, "age"), HalfLife: 30 * day, Max: 50,
				}
			}), 1, 8).Draw(t, "contacts")
			want := func(now int64) float64 {
				var all []float64
				for i := range list {
					all = append(all, list[i].ValueAt(now))
				}
				slices.Sort(all)
				slices.Reverse(all)
				sum := all[0]
				if way == AccountTop3 {
					for _, x := range all[1:min(3, len(all))] {
						sum += x
					}
				}
				return sum
			}
			now := start()
			for range 100 {
				d, until := m.AccountScore(list, now)
				end := min(until, now+2000*dayMicro)
				for i := range int64(10) {
					at := now + (end-1-now)/9*i
					if got := d.ValueAt(at); !near(got, want(at)) {
						t.Fatalf("%d us later the account has %g, wanted %g", at-now, got, want(at))
					}
				}
				if now = until; until == Never {
					return
				}
			}
			t.Fatal("there is no end to the changes")
		})
	}
	if d, until := testModel(t, nil).AccountScore(nil, start()); d != (rule.Decay{}) || until != Never {
		t.Errorf("nobody scores %+v", d)
	}
}

func TestFill(t *testing.T) {
	m, s := testModel(t, nil), State{}
	v := testSchema(t).NewValues()
	m.Fold(&s, event("Pricing Viewed", after(0)))
	m.Fill(v, 30, &s)
	if v.Slots[rule.SlotFit].Number() != 30 || v.Decays[rule.DecayBehaviour].ValueAt(after(30*day)) != 10 || v.Decays[rule.DecayScore].ValueAt(after(30*day)) != 40 {
		t.Errorf("%+v", v)
	}
}

func BenchmarkDecay(b *testing.B) {
	m, s := testModel(b, nil), State{}
	m.Fold(&s, event("Pricing Viewed", start()))
	d, now, sum := m.Total(40, &s), start(), 0.0
	b.ReportAllocs()
	for b.Loop() {
		now += 1_000_000
		sum += d.ValueAt(now)
	}
	_ = sum
}

func BenchmarkCross(b *testing.B) {
	d := rule.Decay{Base: 50, Value: 40, At: start(), HalfLife: 30 * day, Max: 50}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := d.Cross(80, false, start()); !ok {
			b.Fatal("never")
		}
	}
}
