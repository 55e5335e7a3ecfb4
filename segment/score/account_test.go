// SPDX-License-Identifier: Apache-2.0

package score

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/seguemta/segue/segment/rule"
)

// someScores draws the scores of an account's contacts: few fits, and what fades of
// any age.
func someScores(most int) *rapid.Generator[[]rule.Decay] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) rule.Decay {
		return rule.Decay{
			Base: float64(rapid.IntRange(0, 5).Draw(t, "fit") * 10), Value: float64(rapid.IntRange(-20, 120).Draw(t, "value")),
			At: start() - rapid.Int64Range(0, 40*dayMicro).Draw(t, "age"), HalfLife: 30 * day, Max: 50,
		}
	}), 0, most)
}

// TestContenders holds that the score of an account is that of the contenders, now
// and at any later time, and that many contacts leave few of them.
func TestContenders(t *testing.T) {
	for _, way := range []Account{AccountMax, AccountTop3} {
		m := testModel(t, func(o *Options) { o.Account = way })
		rapid.Check(t, func(t *rapid.T) {
			list := someScores(40).Draw(t, "contacts")
			some := m.Contenders(slices.Clone(list))
			if len(some) > 6*m.Most() {
				t.Fatalf("%d contenders of six fits", len(some))
			}
			for range 5 {
				now := start() + rapid.Int64Range(0, 900*dayMicro).Draw(t, "now")
				a, _ := m.AccountScore(list, now)
				b, _ := m.AccountScore(some, now)
				if x, y := a.ValueAt(now), b.ValueAt(now); !near(x, y) {
					t.Fatalf("all score %g, the contenders %g", x, y)
				}
			}
		})
	}
}

// TestTurn holds that until its turn a score stands to the levels as it did, and that
// from turn to turn the end of all changes is reached.
func TestTurn(t *testing.T) {
	for _, way := range []Account{AccountMax, AccountTop3} {
		m := testModel(t, func(o *Options) { o.Account = way })
		rapid.Check(t, func(t *rapid.T) {
			list := someScores(8).Draw(t, "contacts")
			levels := []float64{20.3, 77.7, 131.1}
			value := func(at int64) float64 {
				x, _ := m.AccountScore(list, at)
				return x.ValueAt(at)
			}
			now := start()
			for range 20 {
				next := m.Turn(list, levels, now)
				if next <= now {
					t.Fatalf("the turn is %d us ago", now-next)
				}
				end := min(next, now+5000*dayMicro)
				for i := range int64(10) {
					if at := now + (end-1-now)/9*i; !sameSide(value(now), value(at), levels) {
						t.Fatalf("%g became %g before its turn", value(now), value(at))
					}
				}
				if now = next; next == Never {
					return
				}
			}
			t.Fatal("there is no end to the turns")
		})
	}
	m := testModel(t, nil)
	if m.Turn(nil, []float64{1}, 0) != Never || m.Turn([]rule.Decay{{Base: 5}}, nil, 0) != Never {
		t.Error("nothing has a turn")
	}
}

// TestTells compares what lists make of an account.
func TestTells(t *testing.T) {
	m := testModel(t, nil)
	one := func(base float64) []rule.Decay { return []rule.Decay{m.Decay(base, 0, start())} }
	for _, x := range []struct {
		a, b []rule.Decay
		want bool
	}{
		{nil, nil, false}, {nil, one(5), true}, {one(5), one(9), false}, {one(5), one(10), true}, {one(10), one(11), true}, {one(11), one(50), false},
	} {
		if got := m.Tells(x.a, x.b, []float64{10}, start()); got != x.want {
			t.Errorf("from %v to %v a level of 10 tells %v", x.a, x.b, got)
		}
	}
	if d := m.Decay(1, -3, start()); !math.IsInf(m.Order(&d), -1) {
		t.Errorf("what is below 0 fades: %g", m.Order(&d))
	}
}
