// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDecay(t *testing.T) {
	d := Decay{Base: 10, Value: 80, At: at().UnixMicro(), HalfLife: 30 * day, Max: 50}
	for days, want := range map[int]float64{-30: 60, 0: 60, 15: 60, 30: 50, 60: 30, 90: 20, 120: 15, 30 * 1100: 10} {
		if got := d.ValueAt(at().Add(time.Duration(days) * day).UnixMicro()); got != want {
			t.Errorf("after %d days it is %v, want %v", days, got, want)
		}
	}
	for level, days := range map[float64]int{50: 30, 30: 60, 15: 120, 10.3125: 240} {
		if got, ok := d.Cross(level, true, d.At); !ok || got != at().Add(time.Duration(days)*day).UnixMicro() {
			t.Errorf("%v is reached at %s, %v", level, time.UnixMicro(got).UTC(), ok)
		}
		if got, ok := d.Cross(level, false, d.At); !ok || got != at().Add(time.Duration(days)*day).UnixMicro()+1 {
			t.Errorf("%v is passed at %s, %v", level, time.UnixMicro(got).UTC(), ok)
		}
	}
	for _, none := range []Decay{{Base: 10, Value: -5, HalfLife: day, Max: 5}, {Base: 10, Value: 5, Max: 5}, {}} {
		if got, ok := none.Cross(5, false, 0); ok || none.ValueAt(1) != none.Base {
			t.Errorf("%+v crosses at %d", none, got)
		}
	}
}

// A crossing is the first microsecond: before it the score is above, from it on
// it is not.
func TestCrossIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Decay{
			Base: float64(rapid.IntRange(-50, 50).Draw(t, "base")), Value: rapid.Float64Range(1e-6, 1e6).Draw(t, "value"), At: at().UnixMicro(),
			HalfLife: time.Duration(rapid.Int64Range(1, 400*24*3600).Draw(t, "half-life")) * time.Second, Max: rapid.SampledFrom([]float64{50, 1e9, math.Inf(1)}).Draw(t, "max"),
		}
		now := d.At + rapid.Int64Range(-dayMicros, 100*dayMicros).Draw(t, "now")
		level := rapid.SampledFrom([]float64{d.Base, d.Base + d.Value/2, d.Base + rapid.Float64Range(-1, 60).Draw(t, "level")}).Draw(t, "of")
		for _, reached := range []bool{false, true} {
			below := func(at int64) bool { x := d.ValueAt(at); return x < level || reached && x <= level }
			when, ok := d.Cross(level, reached, now)
			switch {
			case ok && (when <= now || below(when-1) || !below(when)):
				t.Fatalf("%+v crosses %v (%v) at %d, where it is %v, before %v", d, level, reached, when, d.ValueAt(when), d.ValueAt(when-1))
			case !ok && !below(now) && below(now+gone*d.HalfLife.Microseconds()):
				t.Fatalf("%+v crosses %v (%v) some day, and Cross says it does not", d, level, reached)
			}
		}
	})
}

// Shares are stable, even, and of different seeds independent.
func TestBucket(t *testing.T) {
	set := testSchema(t).CompileSet([]Definition{{Name: "a", Where: `bucket("a") < 0.1`}, {Name: "b", Where: `bucket("b") < 0.1`}})
	v := set.NewValues()
	count := [3]int{}
	for id := range uint64(100_000) {
		v.Contact = id
		a, b := set.Rule(0).Match(v), set.Rule(1).Match(v)
		for i, in := range []bool{a, b, a && b} {
			if in {
				count[i]++
			}
		}
	}
	if count != [3]int{9835, 10023, 984} { // about 10000, 10000 and 1000; and never others, or contacts change their share
		t.Errorf("shares of %v", count)
	}
}
