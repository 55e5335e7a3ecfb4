// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"math"
	"slices"
	"time"
)

// Decay is a score that fades: Base + clamp(Value * 2^-((t-At)/HalfLife), 0,
// Max). A half-life of 0 is no decay at all: see [Values].
type Decay struct {
	Base     float64
	Value    float64
	At       int64 // microseconds since 1970
	HalfLife time.Duration
	Max      float64
}

// The scores that may decay, by their place in [Values].Decays.
const (
	DecayScore = iota
	DecayFit
	DecayBehaviour
	DecayAccountScore
	decays
)

// decayNames are the names of these scores, in the order of the constants.
func decayNames() []string { return []string{"score", "fit", "behaviour", "account_score"} }

func decaying(o *Operand) bool { return slices.Contains(decayNames(), o.Attr) }

// gone is how many half-lives leave nothing of any double.
const gone = 2200

// ValueAt is the score at an instant, in microseconds since 1970. It never
// rises with time.
func (d *Decay) ValueAt(now int64) float64 {
	if d.Value <= 0 || d.HalfLife < time.Microsecond {
		return d.Base
	}
	halves := (float64(now) - float64(d.At)) / float64(d.HalfLife.Microseconds())
	return d.Base + min(max(d.Value*math.Exp2(-halves), 0), d.Max)
}

// Cross returns the first instant after now at which the score is below level,
// or, with reached, not above it; false where it is so already, or never will be.
func (d *Decay) Cross(level float64, reached bool, now int64) (int64, bool) {
	below := func(at int64) bool {
		x := d.ValueAt(at)
		return x < level || reached && x == level
	}
	if d.Value <= 0 || d.HalfLife < time.Microsecond || below(now) {
		return 0, false
	}
	half := float64(d.HalfLife.Microseconds())
	end := float64(d.At) + gone*half
	if end >= math.MaxInt64/2 {
		end = math.MaxInt64 / 2
	}
	hi := int64(end)
	if hi <= now || !below(hi) {
		return 0, false
	}
	lo := now
	// The closed form is right but for rounding: a few steps around it bracket
	// the microsecond. Where the level is the base, it is at infinity.
	if exact := float64(d.At) + half*math.Log2(d.Value/(level-d.Base)); exact > float64(lo) && exact < float64(hi) {
		lo, hi = bracket(int64(exact), lo, hi, below)
	}
	for lo+1 < hi {
		if mid := lo + (hi-lo)/2; below(mid) {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi, true
}

// bracket narrows lo, where below does not hold, and hi, where it does, to the
// surroundings of a guess.
func bracket(guess, lo, hi int64, below func(int64) bool) (int64, int64) {
	for step := int64(2); ; step *= 8 {
		if at := guess - step; at > lo && !below(at) {
			lo = at
		}
		if at := guess + step; at < hi && below(at) {
			hi = at
		}
		if hi-lo <= 2*step {
			return lo, hi
		}
	}
}
