// SPDX-License-Identifier: Apache-2.0

package wilson

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestWilson holds the published figures, as people read them.
func TestWilson(t *testing.T) {
	for _, c := range []struct {
		hits, of  uint64
		low, high string
		text      string
	}{
		{0, 100, "0 %", "3.7 %", "0 % (under 3.7 %, 0 of 100)"},
		{1, 100, "0.18 %", "5.45 %", "1 % (0.18 to 5.45 %, 1 of 100)"},
		{1, 1000, "0.02 %", "0.56 %", "0.1 % (0.02 to 0.56 %, 1 of 1,000)"},
		{15, 5000, "0.18 %", "0.49 %", "0.3 % (0.18 to 0.49 %, 15 of 5,000)"},
		{0, 3000, "0 %", "0.13 %", "0 % (under 0.13 %, 0 of 3,000)"},
		{100, 100, "96.3 %", "100 %", "100 % (96.3 to 100 %, 100 of 100)"},
		{7, 5, "56.6 %", "100 %", "100 % (56.6 to 100 %, 5 of 5)"},
		{0, 0, "0 %", "100 %", "unknown (0 of 0)"},
		{1, math.MaxUint64, "under 0.01 %", "under 0.01 %", "under 0.01 % (under 0.01 to under 0.01 %, 1 of 18,446,744,073,709,551,615)"},
	} {
		r := Interval(c.hits, c.of)
		if low, high := Percent(r.Low), Percent(r.High); low != c.low || high != c.high || r.String() != c.text {
			t.Errorf("%d of %d: %s to %s, %q; want %s to %s, %q", c.hits, c.of, low, high, r, c.low, c.high, c.text)
		}
	}
	if high := Interval(0, 3000).High; high >= 0.0013 {
		t.Errorf("0 of 3,000: the true rate is under 0.13 %%, not %v", high)
	}
}

// TestWilsonHoldsWhatItPromises draws from known rates and counts how often the
// interval holds the truth.
func TestWilsonHoldsWhatItPromises(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, p := range []float64{0.003, 0.02, 0.18, 0.5, 0.97} {
		const rounds, of = 4000, 400
		held := 0
		for range rounds {
			hits := uint64(0)
			for range of {
				if rng.Float64() < p {
					hits++
				}
			}
			if r := Interval(hits, of); r.Low <= p && p <= r.High {
				held++
			}
		}
		if share := float64(held) / rounds; share < 0.93 || share > 0.985 {
			t.Errorf("a rate of %v lay in %v of the intervals, not in 95 %%", p, share)
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	for share, want := range map[float64]string{
		0: "0 %", 1: "100 %", 0.0018: "0.18 %", 0.0545: "5.45 %", 0.1: "10 %", 0.12345: "12.3 %", 0.00001: "under 0.01 %", -0.05: "-5 %", -0.000001: "0 %",
	} {
		if got := Percent(share); got != want {
			t.Errorf("%v: %q, want %q", share, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 123456: "123,456", 1234567: "1,234,567"} {
		if got := Count(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
